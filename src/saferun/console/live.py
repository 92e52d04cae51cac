"""Pages that are live: no more than fit, and of one browser no more than leave it room."""

import functools
from collections.abc import AsyncIterator, Callable

from sse_starlette import EventSourceResponse
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from saferun.console.session import Session

STREAMS = 64
"""Pages of one kind that are live at the same time, where nothing else is said of that kind.

More of them work, and are not live.
"""

STREAMS_EACH = 4
"""Pages of one session that are live at the same time, of whatever kind.

A browser has six connections to a server, for all of its pages: what is live holds one, and with
none left no page would open any more and no form be sent.
"""


class Streams:
    """The live pages of one kind. Of one event loop."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._open: set[object] = set()

    def answer(
        self, session: Session, tell: Callable[[], AsyncIterator[dict[str, str] | bytes]]
    ) -> Response:
        """What `tell` has to tell, as it happens; a sentence where there is no room for it."""
        most = STREAMS if self._most is None else self._most
        if len(self._open) >= most or session.live >= STREAMS_EACH:
            return PlainTextResponse("Too many pages are live; this one works without.", 503)
        # Counted at once: many may come together, and each of them begins later.
        place = object()
        self._open.add(place)
        session.live += 1
        return _Live(tell(), functools.partial(self._over, place, session))

    def _over(self, place: object, session: Session) -> None:
        self._open.remove(place)
        session.live -= 1


class _Live(EventSourceResponse):
    """What is told as it happens. However it ends, and if it never begins, `over` is called."""

    def __init__(
        self, moves: AsyncIterator[dict[str, str] | bytes], over: Callable[[], object]
    ) -> None:
        super().__init__(moves, ping=15)
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()
