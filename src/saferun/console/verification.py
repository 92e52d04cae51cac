"""Whether the ledger is the one that was written: found out in the background, and remembered.

No page waits for it, and one runs at a time. What it finds is what `saferun ledger verify` finds
against what the witnesses and folders of the configuration have. It is remembered until the console
ends, and every page's head says it, with how long ago that was.
"""

import logging
import threading
import time
from pathlib import Path
from typing import NamedTuple

from saferun.anchor import evidence, places
from saferun.approval import inert
from saferun.call import span
from saferun.config import Config
from saferun.errors import SafeRunError
from saferun.ledger import Report
from saferun.ledger.report import counted
from saferun.store import Reader
from saferun.store.anchors import anchored
from saferun.store.examining import changed, doubted, examine, own_verifier
from saferun.store.sqlite import ChangedError
from saferun.store.verifying import LONG

log = logging.getLogger("saferun")


class Found(NamedTuple):
    """What a verification has found, when (microseconds since 1970, UTC), and how long it took."""

    report: Report
    at: int
    took: int


class Going(NamedTuple):
    """A verification that goes on: how many entries it has read, and of how many."""

    done: int
    total: int


class Head(NamedTuple):
    """What the head of every page says of the ledger; `bad` where it was tampered with."""

    said: str
    bad: bool = False


class _LeftError(Exception):
    """The console ends, and nobody waits for the rest."""


class Verification:
    """That of one store. Thread-safe."""

    def __init__(self, path: Path, settings: Config) -> None:
        self._path = path
        self._settings = settings
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._thread: threading.Thread | None = None
        self._going: Going | None = None
        self._found: Found | None = None
        self._failed: str | None = None

    @property
    def found(self) -> Found | None:
        """What the last one has found, None where there was none since the console began."""
        return self._found

    @property
    def going(self) -> Going | None:
        return self._going

    @property
    def failed(self) -> str | None:
        """Why the last one could not be made, inert; None where it could."""
        return self._failed

    def begin(self) -> bool:
        """Verify from now on. False where that is done already."""
        with self._lock:
            if self._going is not None or self._left.is_set():
                return False
            self._going = Going(0, 0)
            self._thread = threading.Thread(
                target=self._verify, name="saferun-verification", daemon=True
            )
            self._thread.start()
            return True

    def begin_short(self) -> None:
        """Verify where that is a matter of a second or so; a long ledger waits to be asked for."""
        try:
            with Reader(self._path) as reader:
                size = reader.head().size
        except SafeRunError:
            size = 0
        if size < LONG:
            self.begin()

    def wait(self, seconds: float) -> None:
        """Wait until none is under way, for so long at most."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def close(self) -> None:
        """Let go of one that goes on."""
        self._left.set()

    def _verify(self) -> None:
        began = time.monotonic_ns()
        try:
            report = self._report()
        except _LeftError:
            return
        except SafeRunError as problem:
            log.warning("saferun could not verify the ledger: %s", problem)
            self._failed = inert(str(problem), 400)
        except Exception as problem:
            log.exception("saferun could not verify the ledger")
            self._failed = f"It ended with an error of its own, {type(problem).__name__}."
        else:
            took = (time.monotonic_ns() - began) // 1000
            self._found, self._failed = Found(report, time.time_ns() // 1000, took), None
        finally:
            self._going = None

    def _report(self) -> Report:
        try:
            with Reader(self._path) as reader:
                total = reader.head().size

                def tell(done: int) -> None:
                    if self._left.is_set():
                        raise _LeftError
                    self._going = Going(done, total)

                tell(0)
                own = own_verifier(reader, self._settings.signing)
                outside = evidence(reader, places(self._settings))
                found = examine(reader, external=outside.checkpoints, own=own, progress=tell)
                return doubted(found, outside.doubt)
        except ChangedError as problem:
            return changed(problem)

    def head(self) -> Head:
        """How far the ledger was verified here, and how far it is held outside."""
        try:
            with Reader(self._path) as reader:
                size, anchors = reader.head().size, anchored(reader)
        except ChangedError:
            return Head("tampered with: the store was changed", bad=True)
        found = self._found
        if found is not None and found.report.problem is not None:
            seq = found.report.problem.seq
            return Head(
                "tampered with" if seq is None else f"tampered with: entry {seq:,}", bad=True
            )
        checked = "not verified since the console began"
        if found is not None:
            seconds = max(time.time_ns() // 1000 - found.at, 0) // 1_000_000
            ago = f"{seconds} s" if seconds < 60 else span(seconds * 1e6)
            # A length of time is never broken in the middle.
            when = f"{ago} ago".replace(" ", "\N{NO-BREAK SPACE}") if seconds > 4 else "just now"
            checked = f"{found.report.entries:,} found consistent {when}"
        outside = max((each.size for each in anchors), default=0)
        held = f"{outside:,} held outside" if outside else "none held outside"
        if found is not None and found.report.anchored:
            held += f", {found.report.anchored:,} verified against that"
        return Head(f"{counted(size)}, {checked}, {held}")
