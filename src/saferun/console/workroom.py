"""Work that takes longer than anybody waits for a page: done aside, one at a time, and kept.

Whoever asks again finds it going on, or done. What was worked out is true of the ledger as it was,
so it says up to where.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from saferun.approval import inert
from saferun.errors import SafeRunError

log = logging.getLogger("saferun")

T = TypeVar("T")

Tell = Callable[[str, int, int], None]
"""Told how far some work is: what is being done, and how much of how much."""

PATIENCE = 0.8
"""Seconds that a page waits for work, so that most is shown at once."""

QUICK = 1.0
"""Seconds that work may take and still be done anew for each entry that is new."""

KEPT = 8
"""Results that are kept."""

AGAIN = 30.0
"""Seconds after which what has failed is tried again: it may have been for lack of room or time."""

QUEUE = 4
"""Pieces of work that wait for the one that is being done."""


class BusyError(SafeRunError):
    """Too much is being worked out already."""


class LeftError(Exception):
    """The console ends, and nobody waits for the rest."""


class Going(NamedTuple):
    """How far some work is."""

    what: str = "Waiting for its turn"
    done: int = 0
    total: int = 0


class Done(NamedTuple, Generic[T]):
    """What came of it, of the first `size` entries; without a result, `failed` says why."""

    result: T | None
    failed: str | None
    size: int


class _Job(Generic[T]):
    def __init__(self, size: int) -> None:
        self.size = size
        self.going = Going()
        self.over = threading.Event()
        self.took = 0.0
        self.ended = 0.0
        self.done: Done[T] | None = None

    def is_still_good(self, size: int, upto: int) -> bool:
        if self.done is None:
            return True
        if self.done.failed is not None and time.monotonic() - self.ended > AGAIN:
            return False
        return self.size >= (size if self.took < QUICK else min(upto, size))


class Workroom(Generic[T]):
    """All the work of one kind. Thread-safe."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Hashable, _Job[T]] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._left = threading.Event()

    def close(self) -> None:
        """Let go of what is being worked out."""
        self._left.set()

    def look(
        self, key: Hashable, size: int, upto: int, work: Callable[[Tell], T]
    ) -> Going | Done[T]:
        """What has come of some work on a ledger of `size` entries, begun now where it has not.

        What took long is not begun again for every new entry, only where more than the first
        `upto` count. Raises BusyError.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or not job.is_still_good(size, upto):
                job = self._begun(key, size, work)
            self._jobs.move_to_end(key)
        job.over.wait(PATIENCE)
        return job.going if job.done is None else job.done

    def _begun(self, key: Hashable, size: int, work: Callable[[Tell], T]) -> _Job[T]:
        if sum(each.done is None for each in self._jobs.values()) > QUEUE:
            raise BusyError("Much is being worked out already; look again in a minute.")
        job = self._jobs[key] = _Job(size)
        spare = [each for each, held in self._jobs.items() if held.done is not None]
        for old in spare[: max(len(self._jobs) - KEPT, 0)]:
            del self._jobs[old]
        threading.Thread(
            target=self._work, args=(job, work), name="saferun-working", daemon=True
        ).start()
        return job

    def _work(self, job: _Job[T], work: Callable[[Tell], T]) -> None:
        def tell(what: str, done: int, total: int) -> None:
            if self._left.is_set():
                raise LeftError
            job.going = Going(what, done, total)

        with self._turn:
            began = time.monotonic()
            result, failed = None, None
            try:
                tell("Reading the history", 0, 0)
                result = work(tell)
            except LeftError:
                failed = "The console has ended."
            except SafeRunError as problem:
                failed = inert(str(problem), 600)
            except Exception as problem:
                log.exception("saferun could not work something out for the console")
                failed = f"It ended with an error of its own, {type(problem).__name__}."
            job.ended = time.monotonic()
            job.took = job.ended - began
        job.done = Done(result, failed, job.size)
        job.over.set()
