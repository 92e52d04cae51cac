"""Where people come in and are shown pages, whatever console it is: of a store, or of a file.

Who is here is known by a session, which a one-time link begins; the console of a store has other
ways in beside it. A page is made in a thread of its own, from a template, and says on each what
that console says on each.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from saferun.console import cookie, rendering
from saferun.console.sent import form, one
from saferun.console.session import NOBODY, Session, Sessions, Who
from saferun.errors import SafeRunError

_HERE = Path(__file__).parent


class Threshold:
    """How one console lets people in and answers them.

    `command` is what it was started by, which gives a one-time link, and `unreadable` what is said
    where what it shows cannot be read.
    """

    def __init__(self, sessions: Sessions, command: str, unreadable: str) -> None:
        self.sessions = sessions
        self.closed = False
        self._command = command
        self._unreadable = unreadable
        self._pages = rendering.templates()

    # What each console has of its own.

    def session(self, asked: Asked) -> Session | None:
        """The session of whoever asks, if they are still who they were. Raises StoreError."""
        return self.sessions.of(cookie.token(asked))

    def outside(self, _: Asked) -> Response:
        """The answer to whoever is not logged in."""
        return RedirectResponse("/enter", 303)

    def around(self, _: Session | None) -> dict[str, Any]:
        """What every page says."""
        return {}

    def uninvited(self) -> None:
        """Somebody has tried a link that is none."""

    # What all of them have.

    def way_in(self) -> list[Route | Mount]:
        """Where a link leads in, and what the pages are dressed with."""
        return [
            Route("/enter", self._enter, methods=["GET", "POST"]),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]

    def page(
        self, show: Callable[[Asked, Session], Response]
    ) -> Callable[[Asked], Awaitable[Response]]:
        """A page for whoever is logged in."""

        async def shown(asked: Asked) -> Response:
            session = await run_in_threadpool(self.session, asked)
            if session is None:
                return self.outside(asked)
            return await run_in_threadpool(show, asked, session)

        return shown

    def shown(
        self, template: str, session: Session | None, *, status: int = 200, **about: Any
    ) -> Response:
        """A whole page."""
        told = session.told() if session is not None else None
        page = self._pages.get_template(template).render(
            who=session.who if session is not None else NOBODY,
            here=session is not None,
            **{
                "csrf": session.csrf if session is not None else "",
                "told": told,
                **self.around(session),
                **about,
            },
        )
        return HTMLResponse(page, status)

    def part(self, template: str, **about: Any) -> Response:
        """Part of a page, for one that stands already."""
        return HTMLResponse(self._pages.get_template(template).render(**about))

    def missing(self, asked: Asked) -> Response:
        """The page that says that there is none."""
        try:
            return self.shown("missing.html", self.session(asked), status=404)
        except SafeRunError as problem:
            return self._failed(asked, problem)

    def begun(self, asked: Asked, who: Who, path: str) -> Response:
        """Somebody has come in, and is led to a page."""
        # Whoever was here before in this browser is not any more.
        self.sessions.end(cookie.token(asked))
        answer = RedirectResponse(path, 303)
        cookie.give(answer, asked, self.sessions.begin(who))
        return answer

    def answers(self) -> dict[Any, Any]:
        """What is answered where something goes wrong, for the application."""
        return {SafeRunError: self._failed, 404: self._lost}

    async def _enter(self, asked: Asked) -> Response:
        about: dict[str, Any] = {"command": self._command}
        if asked.method != "POST":
            return self.shown("enter.html", None, refused=None, **about)
        who = self.sessions.enter(one(await form(asked), "code").strip().rpartition("#")[2])
        if who is None:
            await run_in_threadpool(self.uninvited)
            why = f"That link has been used, or is too old; {self._command} gives another."
            return self.shown("enter.html", None, status=401, refused=why, **about)
        return self.begun(asked, who, "/")

    def _failed(self, _: Asked, problem: Exception) -> Response:
        return rendering.failed(problem, self._unreadable)

    def _lost(self, asked: Asked, _: Exception) -> Response:
        return self.missing(asked)
