"""A run as a file to take away, for an audience: what would go out in it, and then the file.

Whoever may look at a run may take it along, viewers too: nothing goes out here that these pages do
not show them. What is sensitive stays sealed, as it does on the pages. Looking reads; the file is
made by a form, since that may sign a checkpoint. It is under no name by the time that it is sent.

A run that takes longer, or is more, than anybody waits for is left to the command line.
"""

import contextlib
import io
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from starlette.requests import Request as Asked
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from saferun.approval import inert
from saferun.audience import AUDIENCES, Audience, AudienceError, Count, Showing
from saferun.config import SigningTable
from saferun.console import carried
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.listed import run_link
from saferun.console.sent import Fields, one
from saferun.console.session import Session
from saferun.errors import SafeRunError
from saferun.incident import SUFFIX, IncidentError, Outgoing, family, pack, weigh
from saferun.ledger import Blobs
from saferun.replay import Playback
from saferun.store import Reader
from saferun.store.index import Index

ENTRIES = 30_000
"""Entries that go into one file from here."""

VALUES = 512 << 20
"""Bytes of large values that are read for it."""

PATIENCE = 60.0
"""Seconds that it may take."""

AT_ONCE = 2
"""Files that are made at the same time."""

WAITING = 0.5
"""Seconds that one more waits for its turn: as long as it does, a thread answers nobody else."""

PATHS = 20
"""Parts and paths that are hidden as well."""

MAX_ID = 250
CHUNK = 1 << 16

WHOM: Mapping[str, tuple[str, str]] = {
    "public": ("Anybody", "what was decided and when, and neither on what nor for whom"),
    "team": ("The team", "all but for whom it was, and on which machine"),
    "full": ("Whoever may see all", "the run as it is recorded; only this can be run again"),
}
"""The audiences, the most careful first: that one is chosen until somebody says otherwise."""


class TooMuchError(SafeRunError):
    """A run that is more than goes out from here."""


class _Wanted(NamedTuple):
    """What somebody has asked for."""

    run: str
    whom: str
    hide: str

    def audience(self) -> Audience:
        """Raises AudienceError."""
        paths = [each for each in re.split(r"[\s,]+", self.hide) if each]
        if len(paths) > PATHS:
            raise AudienceError(f"That is more than {PATHS} parts and paths.")
        return Audience(name=self.whom, parts=AUDIENCES[self.whom]).but("hide", paths)


class _Opened(NamedTuple):
    """A run that is at hand, and what goes out of it."""

    history: Index
    showing: Showing
    out: Outgoing
    progress: Callable[[int], None]


class Exports:
    """The page on which a run is taken along, of one store."""

    def __init__(self, history: History, signing: SigningTable, face: Face) -> None:
        self._history = history
        self._signing = signing
        self._face = face
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        return [
            Route("/export", self._face.page(self._page)),
            Route("/export", self._face.act(self._sent), methods=["POST"]),
        ]

    def _page(self, asked: Asked, session: Session) -> Response:
        said = asked.query_params
        return self._shown(session, _wanted(said.get("id"), said.get("for"), said.get("hide")))

    def _shown(self, session: Session, wanted: _Wanted, refused: str | None = None) -> Response:
        content, counts = None, list[Count]()
        try:
            with self._opened(wanted) as found:
                if found is None:
                    return self._face.shown("missing.html", session, status=404)
                if refused is None:
                    content = weigh(
                        found.history, wanted.run, redact=found.out, progress=found.progress
                    )
                    counts = found.showing.counts
        except (AudienceError, IncidentError, TooMuchError) as problem:
            refused = inert(str(problem), 600)
        return self._face.shown(
            "export.html",
            session,
            status=200 if refused is None else 400,
            run=wanted.run,
            name=inert(wanted.run, 80),
            link=run_link(wanted.run),
            whom=WHOM,
            wanted=wanted,
            refused=refused,
            content=content,
            lines=[(each, _sample(each.sample)) for each in counts],
        )

    def _sent(self, _: Asked, session: Session, fields: Fields) -> Response:
        wanted = _wanted(one(fields, "id"), one(fields, "for"), one(fields, "hide"))
        try:
            with self._opened(wanted) as found:
                if found is None:
                    return self._face.shown("missing.html", session, status=404)
                name = re.sub(r"[^A-Za-z0-9._-]+", "-", found.out.run(wanted.run)).strip(".-")
                name = name[:80] or "run"
                if one(fields, "as") == "page":
                    made = self._as_page(found, wanted.run)
                    return _Taken(io.BytesIO(made), f"{name}.html", "text/html; charset=utf-8")
                file = self._as_incident(found, wanted.run)
                return _Taken(file, f"{name}{SUFFIX}", "application/zip")
        except (AudienceError, IncidentError, TooMuchError) as problem:
            return self._shown(session, wanted, inert(str(problem), 600))
        except OSError as problem:
            why = f"The file cannot be made on this machine: {problem.strerror}."
            return self._shown(session, wanted, inert(why, 600))

    def _as_page(self, found: _Opened, run_id: str) -> bytes:
        play = Playback(found.history, run_id, opens=False)
        return carried.page(play, found.showing, time.time_ns() // 1000, found.progress)

    def _as_incident(self, found: _Opened, run_id: str) -> BinaryIO:
        with tempfile.TemporaryDirectory(prefix="saferun-export-") as folder:
            file = Path(folder) / f"run{SUFFIX}"
            signer = found.history.reader.signer(given=self._signing)
            pack(
                found.history,
                run_id,
                file,
                signer=signer,
                redact=found.out,
                progress=found.progress,
            )
            # It is gone from the disk once nobody reads it any more, whatever happens to us.
            return file.open("rb")

    @contextlib.contextmanager
    def _opened(self, wanted: _Wanted) -> Iterator[_Opened | None]:
        """A run for a block; None where there is none of that id.

        Raises AudienceError, TooMuchError, StoreError and IndexingError.
        """
        audience = wanted.audience()
        if not self._free.acquire(timeout=WAITING):
            raise TooMuchError("Others are being made just now; try again in a minute.")
        try:
            until = time.monotonic() + PATIENCE
            with Reader(self._history.path) as reader:
                self._history.hold(reader)
                with Index(reader) as index:
                    index.build()
                    if not 0 < len(wanted.run) <= MAX_ID or not _extent(index, wanted.run):
                        yield None
                        return
                    showing = Showing(audience, secrets.token_bytes(32))
                    blobs = _bounded(reader.blob, until)
                    yield _Opened(index, showing, Outgoing(showing, blobs), _waiting(until))
        finally:
            self._free.release()


def _wanted(run: str | None, whom: str | None, hide: str | None) -> _Wanted:
    return _Wanted(
        run or "", whom if whom and whom in WHOM else "public", (hide or "").strip()[:1_000]
    )


def _extent(index: Index, run_id: str) -> int:
    """How many entries a run has with all that began within it. Raises TooMuchError."""
    many = 0
    for each in family(index, run_id):
        many += len(index.frames(each))
        if many > ENTRIES:
            raise TooMuchError(
                f"The run has more than {ENTRIES:,} entries; saferun run export writes it."
            )
    return many


def _waiting(until: float) -> Callable[[int], None]:
    def progress(_: int) -> None:
        if time.monotonic() > until:
            raise TooMuchError("It takes longer than a page can; saferun run export writes it.")

    return progress


def _bounded(blobs: Blobs, until: float) -> Blobs:
    read, waiting = 0, _waiting(until)

    def found(name: bytes) -> tuple[bytes, bytes] | None:
        nonlocal read
        waiting(0)
        held = blobs(name)
        read += 0 if held is None else len(held[1])
        if read > VALUES:
            raise TooMuchError("Its values are too large for a page; saferun run export writes it.")
        return held

    return found


class _Taken(StreamingResponse):
    """A file to keep, which is closed once it is sent, or nobody is there any more to take it."""

    def __init__(self, file: BinaryIO, name: str, kind: str) -> None:
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
        }
        super().__init__(iter(lambda: file.read(CHUNK), b""), media_type=kind, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _sample(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return inert(text[:400], 80)
