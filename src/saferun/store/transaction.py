"""One transaction being put together: what a batch of work reads and what it will write.

Entries get their sequence number and time here, under the write lock, and nothing is
written before every item of the batch has had its say. So an item that fails is simply
forgotten (`undo`), and the batch costs few statements however many calls it carries.

What other processes may have changed is read again unless the head says that nobody wrote
in between; see `Memory`.
"""

import functools
import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from saferun.call import Past
from saferun.errors import StoreError
from saferun.ledger import Frontier, leaf_hash, seal
from saferun.store.past import Pasts

_KEPT = 20_000
"""Counters and runs remembered between commits; past it the memory is dropped and read anew."""


_HEAD = "SELECT size, time, frontier FROM head WHERE seq = -1"


class Memory:
    """What this process remembers of the store between its commits.

    True for as long as the head row is where this process left it: whoever moves a counter or
    binds a run appends an entry with it. Dropped whole after any failed commit.
    """

    __slots__ = ("counters", "frontier", "open", "pasts", "runs", "size", "time")

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.size = -1
        self.time = 0
        self.counters: dict[bytes, int] = {}
        self.runs: dict[str, bytes] = {}
        self.open: set[int] = set()
        # Read from the ledger as it grows, so it stays true whoever wrote in between.
        self.pasts = Pasts()

    def drop(self) -> None:
        """Forget all of it, what was read of a commit that failed too."""
        self.forget()
        self.pasts.forget()

    def forget(self) -> None:
        """Forget what another process may have changed."""
        self.size = -1
        self.counters.clear()
        self.runs.clear()
        self.open.clear()


class Intent(NamedTuple):
    """A row of `head`: a call that may have started and has no outcome yet."""

    seq: int
    boot: str
    call: bytes | None
    approval: str | None


class Transaction:
    """The reads and writes of one batch. Not thread-safe: it lives under the write lock."""

    def __init__(
        self, connection: sqlite3.Connection, memory: Memory, clock: Callable[[], int]
    ) -> None:
        self._connection = connection
        self._memory = memory
        row = connection.execute(_HEAD).fetchone()
        if row is None:
            raise StoreError("The store has no head row; it is damaged, restore a backup.")
        size, time, frontier = row
        if size != memory.size:
            memory.forget()
            memory.frontier = Frontier.decode(frontier)
            memory.size = size
            memory.time = time
        # Entries never go back in time, whatever the host's clock does (threats, rule 14).
        self.now = max(clock(), time)
        self._size: int = size
        self._bodies: list[bytes] = []
        self._moved: list[bytes] = []
        self._counters: dict[bytes, int] = {}
        self._runs: list[tuple[str, int, bytes]] = []
        self._opened: list[Intent] = []
        self._settled: list[int] = []
        self._began: list[int] = []
        self._ended: list[int] = []
        self._writes: list[tuple[str, tuple[object, ...]]] = []
        self._mark = (0, 0, 0, 0)
        self._marked = (0, 0)

    def past(self, root: str) -> Past:
        """What a run and its children have done so far."""
        return self._memory.pasts.of(self, root)

    def append(self, rest: bytes) -> int:
        """Add an entry, given all of it but its number and time. Returns the number."""
        seq = self._size + len(self._bodies)
        self._bodies.append(seal(seq, self.now, rest))
        return seq

    def used(self, key: bytes) -> int:
        """What a counter stands at, with what this transaction has moved so far."""
        if key not in self._counters:
            found: int | None = self._memory.counters.get(key)
            if found is None:
                row = self._connection.execute(
                    "SELECT used FROM counter WHERE key = ?", (key,)
                ).fetchone()
                found = int(row[0]) if row is not None else 0
            self._counters[key] = found
        return self._counters[key]

    def move(self, key: bytes) -> None:
        self._counters[key] = self.used(key) + 1
        self._moved.append(key)

    def identity(self, run_id: str) -> bytes | None:
        """Whom a run is bound to, None where it is new."""
        for known, _, identity in self._runs:
            if known == run_id:
                return identity
        found = self._memory.runs.get(run_id)
        if found is None:
            row = self._connection.execute(
                "SELECT identity FROM run WHERE run_id = ?", (run_id,)
            ).fetchone()
            if row is not None:
                found = self._memory.runs[run_id] = row[0]
        return found

    def first_entry(self, run_id: str) -> int | None:
        """The number of the first entry of a run and its children, None where it is new."""
        found = [seq for known, seq, _ in self._runs if known == run_id]
        for (seq,) in self.rows(
            "SELECT seq FROM run WHERE run_id = ? UNION SELECT seq FROM family WHERE root = ?",
            *(run_id, run_id),
        ):
            assert isinstance(seq, int)
            found.append(seq)
        return min(found, default=None)

    def bind(self, run_id: str, seq: int, identity: bytes) -> None:
        self._runs.append((run_id, seq, identity))

    def open(self, intent: Intent) -> None:
        self._opened.append(intent)

    def settled(self, seq: int) -> None:
        """A call has its end: nothing is open there any more."""
        self._settled.append(seq)

    def is_open(self, seq: int, boot: str) -> bool:
        """Whether a call that `boot` admitted still has no end: a second one would be a lie."""
        if seq in self._ended or seq in self._settled:
            return False
        if seq in self._memory.open:
            return True
        return self.read("SELECT 1 FROM head WHERE seq = ? AND boot = ?", seq, boot) is not None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to commit."""
        return self._size == self._memory.size and not (
            self._bodies or self._writes or self._settled
        )

    def read(self, statement: str, *values: object) -> tuple[object, ...] | None:
        """One row, as earlier items of the batch have left it. See `rows`."""
        found = self.rows(statement, *values)
        return found[0] if found else None

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Rows as earlier items of the batch have left them; what this item wrote is not seen.

        So two checks of one call that meet in one batch still see each other.
        """
        self._send()
        return self._connection.execute(statement, values).fetchall()

    def write(self, statement: str, *values: object) -> None:
        """Have a statement run with the batch. It must not depend on the head or on counters."""
        self._writes.append((statement, values))

    def begin_item(self) -> None:
        """Another item of the batch begins: `undo` goes back to here.

        Not needed for an item that is alone: then everything is its own.
        """
        self._mark = (
            len(self._bodies),
            len(self._opened),
            len(self._settled),
            len(self._writes),
        )
        self._marked = (len(self._moved), len(self._runs))

    def undo(self) -> None:
        """Forget the item that is under way: one bad item never fails its batch."""
        for written, before in zip(
            (self._bodies, self._opened, self._settled, self._writes), self._mark, strict=True
        ):
            del written[before:]  # type: ignore[attr-defined]
        moves, runs = self._marked
        del self._runs[runs:]
        for key in self._moved[moves:]:
            self._counters[key] -= 1
        del self._moved[moves:]

    def flush(self) -> None:
        """Send everything to the database; the caller commits."""
        self.begin_item()
        self._send()
        if self._runs:
            self._connection.executemany("INSERT INTO run VALUES (?, ?, ?)", self._runs)
        if self._moved:
            self._connection.executemany(
                "INSERT INTO counter VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET used = excluded.used",
                [(key, self._counters[key]) for key in dict.fromkeys(self._moved)],
            )
        if self._size != self._memory.size:
            frontier = self._memory.frontier
            self._connection.execute(
                "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
                (frontier.size, self.now, frontier.encode()),
            )
            self._memory.size = frontier.size
            self._memory.time = self.now

    def _send(self) -> None:
        """Send what the items before this one wrote.

        Counters and runs wait for the end: they are read through this transaction and not
        from the database.
        """
        execute = self._connection.execute
        bodies, opened, settled, writes = self._mark
        if bodies:
            frontier = self._memory.frontier
            columns: list[object] = []
            for body in self._bodies[:bodies]:
                leaf = leaf_hash(body)
                frontier.append(leaf)
                columns += (self._size, body, leaf)
                self._size += 1
            execute(_many("INSERT INTO entry VALUES", "(?, ?, ?)", bodies), columns)
            del self._bodies[:bodies]
        if opened:
            began = self._opened[:opened]
            columns = [column for intent in began for column in intent]
            into = "INSERT INTO head (seq, boot, call, approval) VALUES"
            execute(_many(into, "(?, ?, ?, ?)", opened), columns)
            self._began += (intent.seq for intent in began)
            del self._opened[:opened]
        if settled:
            ended = self._settled[:settled]
            marks = ", ".join("?" * settled)
            execute(f"DELETE FROM head WHERE seq IN ({marks})", ended)  # noqa: S608 - marks alone
            self._ended += ended
            del self._settled[:settled]
        for statement, values in self._writes[:writes]:
            execute(statement, values)
        del self._writes[:writes]
        self._mark = (0, 0, 0, 0)

    def committed(self) -> None:
        """Remember what is now true; called after the commit, still under the lock."""
        memory = self._memory
        memory.open.update(self._began)
        memory.open.difference_update(self._ended)
        if len(memory.counters) + len(memory.runs) > _KEPT:
            memory.counters.clear()
            memory.runs.clear()
        memory.counters.update(self._counters)
        memory.runs.update((run_id, identity) for run_id, _, identity in self._runs)

    def landed(self) -> bool:
        """Whether a commit whose answer was lost is in the database after all."""
        frontier = self._memory.frontier
        row = self._connection.execute("SELECT size, frontier FROM head WHERE seq = -1").fetchone()
        return bool(row == (frontier.size, frontier.encode()))


@functools.lru_cache(maxsize=256)
def _many(beginning: str, row: str, rows: int) -> str:
    """One statement for all rows of a batch.

    SQLite lets other threads run at every statement. With one a row they would come between
    any two of them, and everybody waits for the one who commits.
    """
    return f"{beginning} {', '.join([row] * rows)}"
