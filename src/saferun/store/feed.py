"""What becomes of requests to people, told to whoever waits for it.

One thread a process looks, for all who wait, on a connection of its own: at once where this
process has written an answer, and else as soon as SQLite says that somebody has written.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from saferun.approval import State
from saferun.errors import StoreError
from saferun.store import sqlite

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

log = logging.getLogger("saferun")

EVERY = 0.02
"""Seconds between two looks while anybody waits: a tenth of what it may take to be woken."""

_PATIENCE = 5.0
"""Seconds to wait for the thread's first look; a store that cannot be read has other troubles."""

_COLUMNS = "SELECT id, state, revision, moved, deadline FROM approval"


class Moved(NamedTuple):
    """How a request stands since entry `moved`; `deadline` in microseconds since 1970, UTC."""

    id: str
    state: State
    revision: int
    moved: int
    deadline: int


class _Waiter:
    """Somebody who waits until a request is no longer pending as they know it.

    They are told None where nothing more can be heard.
    """

    __slots__ = ("_tell", "revision")

    def __init__(self, revision: int, tell: Callable[[Moved | None], None]) -> None:
        self.revision = revision
        self._tell = tell

    def end(self) -> None:
        self._tell(None)

    def hear(self, moved: Moved) -> bool:
        """Take a move in; whether it was what was waited for."""
        if moved.state == "pending" and moved.revision == self.revision:
            return False
        self._tell(moved)
        return True


class Feed:
    """The requests of one store, as they move. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._new: list[str] = []
        self._waiters: dict[str, list[_Waiter]] = {}
        self._followers: list[Callable[[list[Moved]], None]] = []
        self._look = threading.Event()
        self._began = threading.Event()
        # Held while the file is looked at, so that a fork comes between two looks.
        self._reading = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._version = self._upto = -1
        self._thread: threading.Thread | None = None
        self._closed = False

    def poke(self) -> None:
        """Look now: this process has written of a request."""
        self._look.set()

    def wait(self, request: str, revision: int, seconds: float) -> Moved | None:
        """Wait until a request is no longer pending at `revision`; None where time ran out."""
        told: list[Moved] = []
        there = threading.Event()

        def tell(moved: Moved | None) -> None:
            if moved is not None:
                told.append(moved)
            there.set()

        with self._waiting(request, _Waiter(revision, tell)):
            there.wait(seconds)
        return told[0] if told else None

    async def await_(self, request: str, revision: int, seconds: float) -> Moved | None:
        """`wait`, awaiting instead of blocking."""
        from asyncio import get_running_loop, timeout

        loop = get_running_loop()
        future: Future[Moved | None] = loop.create_future()

        with self._waiting(request, _Waiter(revision, _telling(loop, future))):
            try:
                async with timeout(seconds):
                    return await future
            except TimeoutError:
                return None

    def follow(self, told: Callable[[list[Moved]], None]) -> Callable[[], None]:
        """Have `told` hear of every move from now on, on the feed's thread. Returns the end."""
        with self._lock:
            self._followers.append(told)
            self._hire()
        # From now on: what moves before the thread has seen where it begins would be missed.
        self._look.set()
        self._began.wait(_PATIENCE)

        def end() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._followers.remove(told)

        return end

    def close(self) -> None:
        """Tell nobody anything more, and keep nobody waiting for it."""
        with self._lock:
            self._closed = True
            waiting = [waiter for waiters in self._waiters.values() for waiter in waiters]
        for waiter in waiting:
            waiter.end()
        self._look.set()

    def before_fork(self) -> None:
        """Let go of the file: neither a connection nor a look at it may cross a fork."""
        self._reading.acquire()
        self._disconnect()

    def after_fork_in_parent(self) -> None:
        self._reading.release()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _waiting(self, request: str, waiter: _Waiter) -> Iterator[None]:
        with self._lock:
            self._waiters.setdefault(request, []).append(waiter)
            # It may have moved before anybody looked.
            self._new.append(request)
            self._hire()
        self._look.set()
        try:
            yield
        finally:
            with self._lock:
                left = self._waiters.get(request, [])
                with contextlib.suppress(ValueError):
                    left.remove(waiter)
                if not left:
                    self._waiters.pop(request, None)

    def _hire(self) -> None:
        if self._closed:
            raise StoreError(f"The store {self._path} is closed.")
        if self._thread is None:
            thread = threading.Thread(target=self._watch, name="saferun-feed", daemon=True)
            thread.start()
            # Only once it is there: a start that failed is tried again by the next who waits.
            self._thread = thread

    def _watch(self) -> None:
        while True:
            self._look.wait(EVERY)
            with self._lock:
                if self._closed or not (self._waiters or self._followers):
                    self._began.clear()
                    self._thread = None
                    break
                new, self._new = self._new, []
            self._look.clear()
            try:
                with self._reading:
                    moves = self._looked(new)
            except (sqlite3.Error, StoreError, msgspec.ValidationError):
                # Whoever waits has a deadline, and finds out by it what is wrong.
                with self._reading:
                    self._disconnect()
                with self._lock:
                    self._new = list(self._waiters)
                continue
            if moves:
                self._tell(moves)
        with self._reading:
            self._disconnect()
            self._version = self._upto = -1

    def _looked(self, new: list[str]) -> list[Moved]:
        """What has moved since the last look, and how those stand that were not looked at yet."""
        if self._connection is None:
            self._connection = sqlite.connect(self._path, "full", write=False, forks_wait=False)
            self._version = -1
        connection = self._connection
        if self._upto < 0:
            (self._upto,) = connection.execute(
                "SELECT coalesce(max(moved), 0) FROM approval"
            ).fetchone()
            self._began.set()
        (seen,) = connection.execute("PRAGMA data_version").fetchone()
        found = [
            row for each in new for row in connection.execute(f"{_COLUMNS} WHERE id = ?", (each,))
        ]
        if seen != self._version:
            rows = connection.execute(f"{_COLUMNS} WHERE moved > ?", (self._upto,)).fetchall()
            found += rows
            self._upto = max([self._upto, *(row[3] for row in rows)])
            self._version = seen
        return [msgspec.convert(row, Moved) for row in found]

    def _tell(self, moves: list[Moved]) -> None:
        with self._lock:
            followers = tuple(self._followers)
            heard = [
                (waiter, moved) for moved in moves for waiter in self._waiters.get(moved.id, ())
            ]
        for waiter, moved in heard:
            if waiter.hear(moved):
                with self._lock, contextlib.suppress(ValueError):
                    self._waiters.get(moved.id, []).remove(waiter)
        for told in followers:
            try:
                told(moves)
            except Exception:
                log.exception("saferun: somebody who follows requests has failed")


def _telling(
    loop: "AbstractEventLoop", future: "Future[Moved | None]"
) -> Callable[[Moved | None], None]:
    def take(moved: Moved | None) -> None:
        # Not where whoever waited was cancelled.
        if not future.done():
            future.set_result(moved)

    def tell(moved: Moved | None) -> None:
        # The loop may be gone by now, and with it everybody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(take, moved)

    return tell
