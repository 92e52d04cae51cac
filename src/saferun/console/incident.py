"""The console on an incident file: its runs, frame by frame, and on every page what they are from.

There is nothing here that anybody could answer, stop or change: no store, no people, no forms but
the one by which whoever has started it comes in. It listens on this machine alone, and what is in
the file is shown to nobody else who works on it.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from saferun.approval.inert import inert
from saferun.call import at
from saferun.console.before import History
from saferun.console.runs import Runs
from saferun.console.sent import Fields
from saferun.console.session import NOBODY, Session, Sessions
from saferun.console.shield import Shield
from saferun.console.threshold import Threshold
from saferun.incident import Incident, Opened

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger("saferun")

LISTED = 200
"""Runs and packages on the page of the file."""


class Banner(NamedTuple):
    """What stands on every page: which file this is, and how far it is verified."""

    tone: str
    icon: str
    name: str
    says: str


class Viewer(Threshold):
    """The console of one incident file that was opened: an ASGI application."""

    def __init__(self, opened: Opened, sessions: Sessions | None = None) -> None:
        super().__init__(
            sessions or Sessions(), "saferun open", "The incident file cannot be read now."
        )
        self.history = History(opened.path)
        self._opened = opened
        self._banner = banner(opened)
        self._runs = Runs(self.history, self)
        self.app: ASGIApp = Shield(
            Starlette(
                routes=[
                    Route("/", self.page(self._file)),
                    *self._runs.routes(),
                    *self.way_in(),
                ],
                exception_handlers=self.answers(),
            )
        )

    def close(self) -> None:
        """End what is live, so that nobody waits for it."""
        self.closed = True
        self._runs.close()

    def link(self) -> str:
        """What stands behind the address that whoever has started this comes in by, once."""
        return f"/enter#{self.sessions.link(NOBODY)}"

    def act(
        self, _: Callable[[Asked, Session, Fields], Response]
    ) -> Callable[[Asked], Awaitable[Response]]:
        """Nothing here acts, whatever is sent."""

        async def done(asked: Asked) -> Response:
            return self.outside(asked)

        return done

    def around(self, session: Session | None) -> dict[str, Any]:
        # Nothing here is anybody's to send, and nobody is told whose file it is before they are in.
        banner = self._banner if session is not None else None
        return {"csrf": "", "told": None, "ledger": "", "incident": banner}

    # The page of the file.

    def _file(self, _: Asked, session: Session) -> Response:
        incident = self._opened.incident
        said = incident.manifest
        packages = [
            (inert(name, 60), inert(version, 60))
            for name, version in list(said.environment.packages.items())[:LISTED]
        ]
        return self.shown(
            "incident.html",
            session,
            name=inert(self._opened.file.name, 200),
            summary=inert(incident.summary, 400),
            runs=[(inert(run, 80), f"/run?{urlencode({'id': run})}") for run in said.runs[:LISTED]],
            more=max(len(said.runs) - LISTED, 0),
            facts=list(_facts(incident)),
            packages=packages,
        )


def banner(opened: Opened) -> Banner:
    """How far a file is verified, in a line."""
    found = opened.incident
    name, many = inert(opened.file.name, 120), f"{found.manifest.entries:,} entries"
    origin = inert(found.manifest.origin, 120)
    redacted = len(found.manifest.redacted)
    but = f"; {redacted:,} are redacted, and nothing proves their words" if redacted else ""
    if found.by is not None:
        says = f"{many} of {origin}, verified by the key that was given{but}"
        return Banner("allow", "✓", name, says)
    if found.covered or found.signed:
        says = f"{many} that say they are of {origin}; no key from outside vouches for them{but}"
        return Banner("ask", "!", name, says)
    return Banner("ask", "!", name, f"{many} that nobody has signed{but}")


def _facts(found: Incident) -> Iterator[tuple[str, str]]:
    said = found.manifest
    yield "Ledger", inert(said.origin, 200)
    yield "Entries", f"{said.entries:,} of {said.size:,}, {found.proven:,} of them to the byte"
    yield "Written", f"{at(found.began)} to {at(found.ended)}"
    yield "Checkpoint", f"of {said.size:,} entries" if found.covered else "none covers them"
    yield "Signed", "by the ledger's key" if found.signed else "by nobody"
    yield (
        "Key from outside",
        inert(found.by, 300) if found.by is not None else "none vouches for it",
    )
    if said.redacted:
        yield (
            "Redacted",
            f"{_many(len(said.redacted), 'entry', 'entries')}, whose words nothing proves",
        )
    if said.left_out:
        yield "Left out", f"{_many(said.left_out, 'entry', 'entries')} of these runs"
    if found.values or found.missing:
        lacks = f", and {found.missing:,} that are not in the file" if found.missing else ""
        yield "Large values", f"{found.values:,}{lacks}"
    if found.sealed:
        yield "Sealed", f"{_many(found.sealed, 'value', 'values')}, which nothing in the file opens"
    if found.policies:
        yield "Policies", f"{_many(found.policies, 'version', 'versions')} that decided"
    yield "Made with", _made(found)


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _made(found: Incident) -> str:
    where = found.manifest.environment
    said = f"SafeRun {where.saferun}, Python {where.python}, {where.system} {where.machine}"
    return inert(said, 300)
