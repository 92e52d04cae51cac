"""What every answer has and every request has to have, whatever page it is for.

A page on somebody's machine can be reached by any site that is open in the same browser: by a
form that posts here, or under a name of its own that it has resolved to this address (DNS
rebinding). So the Host has to be one of ours, and whatever changes something has to come from a
page of ours. https://owasp.org/www-community/attacks/csrf, and RFC 6454 for what an origin is.
"""

import logging
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("saferun")

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))

CHANNELS = "/channels/"
"""Where channels are called back from outside: by programs, which no browser sends."""

PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types console replay"
)
"""The policy of our own pages: nothing inline, nothing from elsewhere, in nobody's frame."""

REPLIES = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
"""That of what channels answer: a page may bring its own style, and never a script."""

_SAFE = ("GET", "HEAD")


class Shield:
    """Stands in front of all pages. `url` is where the console is reached from outside."""

    def __init__(self, app: ASGIApp, url: str | None = None) -> None:
        self._app = app
        self._url = urlsplit(url) if url is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        ended = False

        async def guarded(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                _dress(MutableHeaders(scope=message), scope["path"])
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body")

        refused = self._refused(scope)
        try:
            if refused is not None:
                await PlainTextResponse(refused, 403)(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)
        except Exception as problem:
            # What it holds may be anybody's words: its kind alone is told.
            log.error("saferun: the console failed at a request: %s", type(problem).__name__)
            log.debug("saferun: the console's error", exc_info=problem)
            if not ended:
                # Half an answer is none: the connection is closed.
                raise

    def _refused(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or _name(host) not in self._names():
            return "The console is not called that; open it under the address that it has said."
        if scope["method"] in _SAFE:
            return None
        origin = headers.get("origin")
        if origin is None and scope["path"].startswith(CHANNELS):
            return None
        if origin is None or origin not in self._origins(host):
            return "That form was not sent from a page of this console."
        return None

    def _names(self) -> frozenset[str]:
        outside = None if self._url is None else self._url.hostname
        return LOOPBACK if outside is None else LOOPBACK | {outside}

    def _origins(self, host: str) -> Sequence[str]:
        here = [f"http://{host}"] if is_loopback(host) else []
        if self._url is not None:
            here.append(f"{self._url.scheme}://{self._url.netloc}")
        return here


def is_loopback(host: str) -> bool:
    """Whether what a Host header says is this machine alone."""
    return _name(host) in LOOPBACK


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?")


def _name(host: str) -> str | None:
    """The name in a Host header, which holds a name and a port and nothing else (RFC 9110, 7.2)."""
    found = _HOST.fullmatch(host)
    return None if found is None else found[1].strip("[]").lower()


def _dress(headers: MutableHeaders, path: str) -> None:
    headers["Content-Security-Policy"] = REPLIES if path.startswith(CHANNELS) else PAGES
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    # Not `no-referrer`: under that, browsers send `Origin: null` with our own forms.
    headers["Referrer-Policy"] = "same-origin"
    if path.startswith(CHANNELS):
        # Such a link is for one person, and for nobody's index.
        headers["X-Robots-Tag"] = "noindex, nofollow"
    if not path.startswith("/static/"):
        headers["Cache-Control"] = "no-store"
