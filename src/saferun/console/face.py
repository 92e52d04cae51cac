"""What the console gives its pages: who asks, and how they are answered."""

from collections.abc import Callable
from typing import Any, Protocol

from starlette.requests import Request as Asked
from starlette.responses import Response

from saferun.console.sent import Fields
from saferun.console.session import Session


class Face(Protocol):
    """The console, as a group of its pages sees it."""

    closed: bool

    def page(self, show: Callable[[Asked, Session], Response]) -> Any:
        """A page for whoever is logged in."""

    def act(self, do: Callable[[Asked, Session, Fields], Response]) -> Any:
        """What a form of one of our pages does, for whoever has been shown that page."""

    def session(self, asked: Asked) -> Session | None:
        """The session of whoever asks, if they are still who they were. Raises StoreError."""

    def outside(self, asked: Asked) -> Response:
        """The answer to whoever is not logged in."""

    def shown(
        self, template: str, session: Session | None, *, status: int = 200, **about: Any
    ) -> Response:
        """A whole page."""

    def part(self, template: str, **about: Any) -> Response:
        """Part of a page, for one that stands already."""

    def missing(self, asked: Asked) -> Response:
        """The page that says that there is none."""
