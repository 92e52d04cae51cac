"""`/metrics` of the console, for those who may read it.

Figures name tools, rules and tenants. So whoever reads them is logged in, or has the token that
the configuration names; and only where it names none, a program on this machine may read them.
"""

import hmac
import os
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from saferun.config import Config
from saferun.store import Store
from saferun.telemetry.exposition import CONTENT_TYPE, metrics

_HERE = frozenset(("127.0.0.1", "::1"))

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def scraping(
    store: Store, settings: Config, session: Callable[[Request], object | None]
) -> Callable[[Request], Awaitable[Response]]:
    """What answers for `/metrics`. `session` gives who is logged in, None for nobody."""

    async def answer(asked: Request) -> Response:
        if await run_in_threadpool(session, asked) is None:
            refused = _refused(asked, settings)
            if refused is not None:
                return refused
        text = await run_in_threadpool(metrics, store.path, store.now())
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return answer


def _refused(asked: Request, settings: Config) -> Response | None:
    named = settings.metrics.token_env
    if named is None:
        if _from_here(asked, settings):
            return None
        return PlainTextResponse(
            "Log in first, or name a token as token_env under [metrics] and send it.", 401
        )
    token = os.environ.get(named, "")
    scheme, _, sent = asked.headers.get("authorization", "").partition(" ")
    # An empty token is none that anybody could have.
    known = bool(token) and scheme.lower() == "bearer"
    if known and hmac.compare_digest(sent.strip().encode(), token.encode()):
        return None
    return PlainTextResponse(
        "Send the token of these metrics as a bearer token.",
        401,
        headers={"www-authenticate": "Bearer"},
    )


def _from_here(asked: Request, settings: Config) -> bool:
    """Whether a program on this machine asks, and no proxy on it for somebody elsewhere."""
    if settings.approval.url is not None or asked.client is None:
        return False
    return asked.client.host in _HERE and not any(name in asked.headers for name in _FORWARDED)
