"""The one writer of a store: group commit for threads, tasks and processes.

Whatever arrives while a commit is under way goes out together in the next one. Nobody is
the writer for good: the thread that finds the mutex free commits for all that are queued,
then wakes the next waiter to do the same, so no thread works for the others forever.

    mutex (this process) → file lock (all processes) → BEGIN IMMEDIATE

Nothing is answered before its commit. Work that `rides` is answered at once and joins the
next commit, at most `RIDE` seconds later; it stays queued until a commit holds it, so a
store that fails keeps refusing new calls until it can also write down what it owes.
"""

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from saferun.config import Durability
from saferun.errors import StoreError
from saferun.ledger import Signs
from saferun.store import sqlite
from saferun.store.clock import Clock
from saferun.store.locks import FileLock
from saferun.store.pruning import Pruning
from saferun.store.signing import Checkpoints
from saferun.store.transaction import Memory, Transaction
from saferun.store.vault import Vault
from saferun.store.wal import EVERY, Wal

RIDE = 0.02
"""Seconds that an outcome may wait for another commit to ride in (`process` durability)."""

BATCH = 64
"""Items a commit carries at most, so that the first of them never waits for a crowd."""

FIRST_CARE = 32
"""Commits after which a process is taken to stay, and the log is made ready for it."""

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

log = logging.getLogger("saferun")


class Work(Protocol[T_co]):
    """Something to be done in one transaction. It may raise; then it has done nothing."""

    def apply(self, tx: Transaction) -> T_co: ...


class Item(Generic[T]):
    """Work on its way: queued, then either `result` or `error`, then `done`."""

    __slots__ = ("_signal", "done", "error", "on_done", "result", "rides", "work")

    def __init__(self, work: Work[T], *, rides: bool = False) -> None:
        self.work = work
        self.rides = rides
        self.done = False
        self.result: T | None = None
        self.error: Exception | None = None
        self.on_done: Callable[[], None] | None = None
        # A SimpleQueue is the one primitive that a finalizer may touch at any moment.
        self._signal: SimpleQueue[None] | None = None if rides else SimpleQueue()

    def wake(self) -> None:
        if self._signal is not None:
            self._signal.put(None)

    def wait(self) -> None:
        """Wait to be woken, a second at most.

        The turn may have gone to an item whose thread was interrupted, and waits no more.
        """
        assert self._signal is not None
        with suppress(Empty):
            self._signal.get(timeout=1)

    def answer(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


class Writer:
    """Commits work to one SQLite file. Thread-safe; see the module for how."""

    def __init__(
        self,
        path: Path,
        durability: Durability,
        clock: Clock,
        stamp: Callable[[], bytes],
        vault: Vault,
        signer: Callable[[float], Signs | None] | None,
    ) -> None:
        self._path = path
        self._vault = vault
        self._stamp = stamp
        self._signer = signer
        self._durability: Durability = durability
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        """The state of a fresh process: at the start, and in a forked child."""
        # Never taken twice: `_mine` is asked first. A signal handler may come between any two
        # steps in Python; that this lock and its owner change in one is why it is this one.
        self._mutex = threading.RLock()
        self._mine: Callable[[], bool] = self._mutex._is_owned  # type: ignore[attr-defined]  # noqa: SLF001
        self._queue: deque[Item[object]] = deque()
        self._memory = Memory()
        self._connection: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._wal = Wal(self._path, self._durability)
        self._pruning = Pruning(self._path)
        self._checkpoints = Checkpoints(self._path, self._signer, self._wal.unsuspended)
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._keeper: threading.Thread | None = None
        self._hiring = threading.Lock()
        self._commits = 0
        self._awake = False
        self.closed = False

    def commit(self, work: Work[T]) -> T:
        """Have work done and durable; returns its result or raises what it raised."""
        if self._mine():
            # A signal handler has come between: what it waits for could never be done.
            raise StoreError("The store is committing in this very thread; call again later.")
        item = Item(work)
        self.enqueue(item)
        try:
            self.finish(item)
        except BaseException:
            # Interrupted, it stays queued: an outcome must be written all the same, and an
            # admission that nobody waits for is an intent whose end is unknown.
            item.rides = True
            self._rouse()
            raise
        return item.answer()

    def enqueue(self, item: Item[T]) -> None:
        """Queue work without waiting for it. Safe to call from a finalizer."""
        if self.closed:
            raise StoreError(f"The store {self._path} is closed.")
        self._queue.append(item)  # type: ignore[arg-type]

    def finish(self, item: Item[T]) -> None:
        """Wait for queued work, committing for everybody queued if nobody else does."""
        while not item.done:
            taken = False
            try:
                taken = self._mutex.acquire(blocking=False)
                # Whoever holds the mutex may have committed this item just before.
                if taken and not item.done:
                    self._drain()
            finally:
                # By one call, and nothing before it: an interrupt that came between a question
                # and this would leave the mutex held for good.
                try:
                    self._mutex.release()
                except RuntimeError:
                    # It was not taken.
                    pass
                else:
                    self._hand_over()
            if not taken:
                item.wait()

    def ride(self, work: Work[object]) -> None:
        """Queue work that nobody waits for; it is committed with the next call's or soon."""
        self.enqueue(Item(work, rides=True))
        self._rouse()

    def _rouse(self) -> None:
        """Have the keeper look after what rides, unless it is doing so already."""
        if not self._awake:
            self._awake = True
            self._call_keeper(None)

    def later(self, items: list[Item[T]], done: Callable[[], None]) -> None:
        """Have the keeper commit queued items and call `done` from its thread afterwards."""

        def work() -> None:
            for item in items:
                self.finish(item)
            done()

        self._call_keeper(work)

    def try_now(self, items: list[Item[T]]) -> bool:
        """Commit queued items on this thread if no other thread or process is writing."""
        if self._mine() or not self._mutex.acquire(blocking=False):
            return False
        try:
            if not self._opened()[1].try_acquire():
                return False
            self._drain(locked=True)
        except StoreError:
            # Opening failed; `later` reports it through the items.
            return False
        finally:
            self._mutex.release()
            self._hand_over()
        return all(item.done for item in items)

    def _hand_over(self) -> None:
        # After the release and not before: an item queued meanwhile either is seen here, or its
        # thread finds the mutex free. Items that ride wake nobody; their keeper comes for them.
        for item in tuple(self._queue):
            if not item.rides:
                item.wake()
                return

    def _opened(self) -> tuple[sqlite3.Connection, FileLock]:
        if self._lock is None:
            with sqlite.explained(self._path):
                self._lock = FileLock(self._path.with_name(self._path.name + ".lock"))
        if self._connection is None:
            self._connection = sqlite.connect(self._path, self._durability)
            self._checkpoints.expect(self._connection)
            self._memory.drop()
        return self._connection, self._lock

    def _drain(self, *, locked: bool = False) -> None:
        """Commit what is queued, under the mutex. Never raises but for interrupts."""
        batch: list[Item[object]] = []
        try:
            connection, lock = self._opened()
            if not locked:
                lock.acquire()
            try:
                # Taken only now: whatever came while the file lock was awaited goes with it.
                while self._queue and len(batch) < BATCH:
                    # Noted before it leaves the queue, where only who has the mutex takes from:
                    # an interrupt between the two loses nobody's work.
                    if not self._queue[0].done:
                        batch.append(self._queue[0])
                    self._queue.popleft()
                self._commit(connection, batch)
            finally:
                lock.release()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is the callers' answer
            self._failed(batch, problem)
        except BaseException as interrupt:
            self._failed(batch, StoreError(f"The commit was interrupted ({interrupt!r})."))
            raise
        for item in batch:
            if item.done:
                item.wake()
                if item.on_done is not None:
                    item.on_done()

    def _commit(self, connection: sqlite3.Connection, batch: list[Item[object]]) -> None:
        stamp = self._stamp()
        connection.execute("BEGIN IMMEDIATE")
        tx = Transaction(connection, self._memory, self._clock, stamp, self._vault)
        for item in batch:
            if len(batch) > 1:
                tx.begin_item()
            try:
                item.result = item.work.apply(tx)
            except sqlite3.Error:
                raise
            except Exception as problem:  # noqa: BLE001 - one bad item never fails its batch
                tx.undo()
                item.error = problem
        if tx.idle:
            connection.execute("ROLLBACK")
        else:
            tx.flush()
            try:
                connection.execute("COMMIT")
            except sqlite3.Error:
                if connection.in_transaction or not tx.landed():
                    raise
            tx.committed()
            self._commits += 1
            if self._commits == FIRST_CARE or self._commits % EVERY == 0:
                self._call_keeper(self.tend)
            if self._memory.size >= self._checkpoints.due:
                self._call_keeper(self._checkpoints.begin)
        for item in batch:
            item.done = True
            if item.error is not None and item.rides:
                log.error("saferun could not record %r: %s", item.work, item.error)

    def _failed(self, batch: list[Item[object]], problem: Exception) -> None:
        """Nothing of the batch is committed: answer those who wait, keep what rides."""
        self._memory.drop()
        if self._connection is not None:
            # A new connection for the next try: what this one thinks of the file may be wrong.
            self._connection.close()
            self._connection = None
        if isinstance(problem, (sqlite3.Error, OSError)):
            try:
                with sqlite.explained(self._path):
                    raise problem
            except StoreError as said:
                problem = said
        if not batch:
            while self._queue:
                batch.append(self._queue[0])
                self._queue.popleft()
        for item in reversed(batch):
            item.result = None
            item.error = None
            if item.rides:
                if not (self._queue and self._queue[0] is item):
                    self._queue.appendleft(item)
            else:
                item.error = problem
                item.done = True
                item.wake()

    # The keeper: one thread for what should not take the time of a call.

    def _call_keeper(self, work: Callable[[], None] | None) -> None:
        self._inbox.put(work)
        # Not waited for: a finalizer may have interrupted the very thread that is hiring.
        if self._keeper is None and self._hiring.acquire(blocking=False):
            try:
                if self._keeper is None:
                    keeper = threading.Thread(target=self._keep, name="saferun-store", daemon=True)
                    keeper.start()
                    # Only once it is there: a start that was interrupted is tried again.
                    self._keeper = keeper
            finally:
                self._hiring.release()

    def tend(self) -> None:
        """Look after the log and what is spent, on the thread that calls."""
        self._wal.tend(self.alone)
        with self._wal.unsuspended():
            self._pruning.go_on(self.alone)

    @contextlib.contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """Keep every writer out, of this process and of all others."""
        try:
            with self._mutex:
                connection, lock = self._opened()
                lock.acquire()
                try:
                    yield connection
                finally:
                    lock.release()
        finally:
            # Whoever found the mutex taken meanwhile waits to be woken.
            self._hand_over()

    def _keep(self) -> None:
        inbox = self._inbox
        while True:
            try:
                # Awake it looks every RIDE seconds; a ride that finds it awake need not call it.
                work = inbox.get(timeout=RIDE if self._awake else None)
            except Empty:
                self._awake = bool(self._queue)
                self.flush()
                continue
            if self.closed:
                return
            if work is not None:
                work()

    @property
    def last(self) -> int:
        """The time of the newest entry that this process knows of."""
        return self._memory.time

    def flush(self) -> None:
        """Commit what rides. On return, nothing that was queued before is still under way."""
        if self._mine():
            return
        with self._mutex:
            left = len(self._queue) + 1
            # Batch by batch; what a failing store cannot take stays queued.
            while 0 < len(self._queue) < left:
                left = len(self._queue)
                self._drain()
        self._hand_over()

    # Forks and the end.

    def before_fork(self) -> None:
        """Flush and close everything: an open SQLite connection must not cross a fork.

        A child with an inherited connection holds none of its locks and loses data without
        a word, so both locks stay held until the fork is over.
        """
        self._wal.suspend()
        self._mutex.acquire()
        if self._queue and self._connection is not None:
            self._drain()
        self._disconnect()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()
        self._wal.resume()
        self._hand_over()

    def after_fork_in_child(self) -> None:
        """A new life: the parent's queue, threads and locks are the parent's to finish."""
        closed = self.closed
        self._begin()
        self.closed = closed

    def close(self) -> None:
        """Commit what rides and let go of the file. Idempotent."""
        if self.closed:
            return
        if self._mine():
            # From a signal handler that has interrupted a commit: as soon as that is over.
            self._call_keeper(self.close)
            return
        self.flush()
        if self._commits:
            # Never for a store in which this process has done nothing.
            self._checkpoints.finish()
        self._wal.suspend()
        with self._mutex:
            self.closed = True
            self._inbox.put(None)
            self._disconnect()
        self._wal.resume()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
