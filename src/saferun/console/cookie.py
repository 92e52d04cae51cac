"""The cookie by which a browser says whose session it is of."""

from starlette.requests import Request as Asked
from starlette.responses import Response

from saferun.console.session import LASTS
from saferun.console.shield import is_loopback


def token(asked: Asked) -> str | None:
    """The token that a browser has sent, None for none."""
    return asked.cookies.get(_name(asked))


def give(answer: Response, asked: Asked, token: str) -> None:
    """Have the browser keep a token, for as long as a session holds."""
    answer.set_cookie(
        _name(asked),
        token,
        max_age=int(LASTS),
        httponly=True,
        samesite="strict",
        secure=_secure(asked),
    )


def take(answer: Response, asked: Asked) -> None:
    """Have the browser forget it."""
    answer.delete_cookie(_name(asked), httponly=True, samesite="strict", secure=_secure(asked))


def _name(asked: Asked) -> str:
    # Cookies are not kept apart by port, so that is in it.
    host = asked.headers.get("host", "")
    return f"saferun-{asked.url.port or 80}" if is_loopback(host) else "__Host-saferun"


def _secure(asked: Asked) -> bool:
    """Whether a cookie is for TLS alone: wherever it could be read on its way."""
    host, origin = asked.headers.get("host", ""), asked.headers.get("origin", "")
    return not is_loopback(host) or origin.startswith("https://")
