"""One transaction being put together: what a batch of work reads and what it will write.

Entries get their sequence number and time here, under the write lock, and nothing is
written before every item of the batch has had its say. So an item that fails is simply
forgotten (`undo`), and the batch costs few statements however many calls it carries.

What other processes may have changed is read again unless the head says that nobody wrote
in between; see `Memory`.
"""

import functools
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from saferun.call import Past
from saferun.control import Switch
from saferun.errors import StoreError
from saferun.ledger import Frontier, leaf_hash, seal
from saferun.store.clock import Clock
from saferun.store.past import Pasts
from saferun.store.vault import Vault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEPT = 20_000
"""Groups and runs remembered between commits; past it the memory is dropped and read anew."""

MAX_HALTS = 1_000
"""Calls of what is stopped that are told apart; past it they are written down once more."""

NOBODY = ""
"""Who follows a run of which no process has seen all."""

_ROWS = 1_000
"""Rows that one statement writes: SQLite binds a bounded number of values."""

_HEAD = "SELECT size, time, frontier, switches, takeovers FROM head WHERE seq = -1"

Group: TypeAlias = Mapping[str, Any]
"""What the controls keep of one group, by name. Never changed in place."""

_encode = msgspec.msgpack.Encoder().encode


class Memory:
    """What this process remembers of the store between its commits.

    True for as long as the head row is where this process left it: whoever moves a group, turns
    a switch or binds a run appends an entry with it. Whom a run is bound to never changes, and
    who follows it only where another process takes over, which the head row counts; so these
    stay true longer. Dropped whole after any failed commit.
    """

    __slots__ = (
        *("followers", "frontier", "groups", "halts", "open", "pasts", "runs", "size"),
        *("switched", "switches", "takeovers", "time"),
    )

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.size = -1
        self.time = 0
        self.groups: dict[int, Group] = {}
        self.runs: dict[str, bytes] = {}
        self.followers: dict[str, str] = {}
        self.takeovers = -1
        # Which switches are on, as of the number that the head row counts them by.
        self.switched = -1
        self.switches: tuple[Switch, ...] = ()
        self.open: set[int] = set()
        # Calls of what is stopped, by what makes them the same: entry, time, and how many since.
        self.halts: dict[tuple[str, ...], tuple[int, int, int]] = {}
        # Read from the ledger as it grows, so it stays true whoever wrote in between.
        self.pasts = Pasts()

    def drop(self) -> None:
        """Forget all of it, what was read of a commit that failed too."""
        self.forget()
        self.pasts.forget()
        self.halts.clear()
        self.runs.clear()
        self.followers.clear()
        self.switched = -1

    def forget(self) -> None:
        """Forget what another process may have changed."""
        self.size = -1
        self.groups.clear()
        self.open.clear()


class Intent(NamedTuple):
    """A row of `head`: a call that may have started and has no outcome yet.

    `held` is what it counts towards; see `held.kept`.
    """

    seq: int
    boot: str
    call: bytes | None
    approval: str | None
    held: bytes | None = None


class Transaction:
    """The reads and writes of one batch. Not thread-safe: it lives under the write lock."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        memory: Memory,
        clock: Clock,
        stamp: bytes,
        vault: Vault,
    ) -> None:
        self.vault = vault
        self.made: dict[bytes, AESGCM] = {}
        self._connection = connection
        self._sent = False
        self._memory = memory
        self._stamp = stamp
        row = connection.execute(_HEAD).fetchone()
        if row is None:
            raise StoreError("The store has no head row; it is damaged, restore a backup.")
        size, time, frontier, switched, takeovers = row
        if type(size) is not int or type(time) is not int or type(frontier) is not bytes:
            raise StoreError("The store's head was changed; run saferun ledger verify.")
        if size < memory.size:
            # A backup was put in the place of what this process knows.
            memory.drop()
        if size != memory.size:
            memory.forget()
            memory.frontier = Frontier.decode(frontier)
            memory.size = size
            memory.time = time
        if takeovers != memory.takeovers:
            memory.followers.clear()
            memory.takeovers = takeovers
        if switched != memory.switched:
            memory.switches = self._switches()
            memory.switched = switched
        self.now = clock.now(time)
        self._size: int = size
        self._bodies: list[bytes] = []
        self._moved: list[tuple[int, Group]] = []
        self._groups: dict[int, Group] = {}
        self._about: dict[int, bytes] = {}
        self._followed: list[tuple[str, str]] = []
        self._switched = False
        self._taken = False
        self._runs: list[tuple[str, int, bytes]] = []
        self._opened: list[Intent] = []
        self._settled: list[int] = []
        self._began: list[int] = []
        self._ended: list[int] = []
        self._writes: list[tuple[str, tuple[object, ...]]] = []
        self._mark = (0, 0, 0)
        self._marked = (0, 0, 0, 0)

    def past(self, root: str) -> Past:
        """What a run and its children have done so far."""
        return self._memory.pasts.of(self, root)

    def append(self, rest: bytes) -> int:
        """Add an entry, given all of it but its number, time and writer. Returns the number."""
        seq = self._size + len(self._bodies)
        self._bodies.append(seal(seq, self.now, rest, self._stamp))
        return seq

    @property
    def size(self) -> int:
        """How many entries there are, with those of this transaction."""
        return self._size + len(self._bodies)

    def group(self, key: int) -> Group:
        """What the controls keep of a group, as this transaction has left it."""
        found = self._groups.get(key)
        if found is None:
            found = self._memory.groups.get(key)
            if found is None:
                row = self._connection.execute(
                    "SELECT data FROM control WHERE key = ?", (key,)
                ).fetchone()
                found = msgspec.msgpack.decode(row[0]) if row is not None else {}
                if not isinstance(found, dict):
                    raise StoreError("what the controls keep is damaged; restore a backup.")
            self._groups[key] = found
        return found

    def put(self, key: int, name: str, state: object, about: tuple[tuple[str, str], ...]) -> None:
        """Keep a new state of something in a group. `about` says the group for people."""
        before = self.group(key)
        self._moved.append((key, before))
        self._groups[key] = {**before, name: state}
        if key not in self._about:
            self._about[key] = _encode(about)

    @property
    def switches(self) -> tuple[Switch, ...]:
        """The switches that are on, with those that earlier items of the batch have turned."""
        if self._switched:
            self._send()
            return self._switches()
        return self._memory.switches

    def turn(self, switch: Switch, *, on: bool) -> bool:
        """Turn a switch; whether that changed anything."""
        value = switch.value or ""
        found = self.read("SELECT 1 FROM switch WHERE scope = ? AND value = ?", switch.scope, value)
        if (found is not None) is on:
            return False
        self._switched = True
        if on:
            self.write(
                "INSERT OR IGNORE INTO switch VALUES (?, ?, ?, ?, ?)",
                *(switch.scope, value, switch.by, switch.reason, self.now),
            )
        else:
            self.write("DELETE FROM switch WHERE scope = ? AND value = ?", switch.scope, value)
        return True

    def halted(self, same: tuple[str, ...], within: int) -> int | None:
        """The entry that has refused the same call within so many microseconds, if one has."""
        seq, time, count = self._memory.halts.get(same, (0, -within, 0))
        if self.now - time >= within:
            return None
        self._memory.halts[same] = (seq, time, count + 1)
        return seq

    def halt(self, same: tuple[str, ...], seq: int) -> None:
        """Note the entry that refuses a call of what is stopped."""
        if len(self._memory.halts) >= MAX_HALTS:
            self._memory.halts.clear()
        self._memory.halts[same] = (seq, self.now, 0)

    def repeats(self, same: tuple[str, ...]) -> int:
        """How often a call was refused since the last entry that says so, without one."""
        return self._memory.halts.get(same, (0, 0, 0))[2]

    def follower(self, root: str) -> str | None:
        """The process that has seen all of a run, `NOBODY` if none has, None for a new run."""
        for known, boot in reversed(self._followed):
            if known == root:
                return boot
        found = self._memory.followers.get(root)
        if found is None:
            row = self._connection.execute(
                "SELECT boot FROM trail WHERE root = ?", (root,)
            ).fetchone()
            if row is None:
                # Not remembered: another process may begin it at any moment.
                return None
            found = self._memory.followers[root] = str(row[0])
        return found

    def follow(self, root: str, boot: str) -> None:
        """Note who has seen all of a run; an entry of the run goes with it."""
        if self.follower(root) not in (None, boot):
            self._taken = True
        self._followed.append((root, boot))

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
            self._bodies or self._writes or self._settled or self._sent
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

    def body(self, seq: object) -> bytes:
        """The body of an entry that is known to be there."""
        row = self.read("SELECT body FROM entry WHERE seq = ?", seq)
        assert row is not None
        assert isinstance(row[0], bytes)
        return row[0]

    def write(self, statement: str, *values: object) -> None:
        """Have a statement run with the batch. It must not depend on the head or on groups."""
        self._writes.append((statement, values))

    def begin_item(self) -> None:
        """Another item of the batch begins: `undo` goes back to here.

        Not needed for an item that is alone: then everything is its own.
        """
        # What the item before has made can be read from here on.
        self.made.clear()
        self._mark = (len(self._bodies), len(self._settled), len(self._writes))
        self._marked = (
            *(len(self._moved), len(self._runs), len(self._followed), len(self._opened)),
        )

    def undo(self) -> None:
        """Forget the item that is under way: one bad item never fails its batch."""
        self.made.clear()
        for written, before in zip(
            (self._bodies, self._settled, self._writes), self._mark, strict=True
        ):
            del written[before:]  # type: ignore[attr-defined]
        moved, runs, followed, opened = self._marked
        del self._opened[opened:]
        del self._runs[runs:]
        del self._followed[followed:]
        for key, group in reversed(self._moved[moved:]):
            self._groups[key] = group
        del self._moved[moved:]

    def flush(self) -> None:
        """Send everything to the database; the caller commits."""
        self.begin_item()
        self._send()
        if self._runs:
            self._connection.executemany("INSERT INTO run VALUES (?, ?, ?)", self._runs)
        if self._followed:
            self._connection.executemany(
                "INSERT INTO trail VALUES (?, ?)"
                " ON CONFLICT (root) DO UPDATE SET boot = excluded.boot",
                self._followed,
            )
        if self._switched:
            self._connection.execute("UPDATE head SET switches = switches + 1 WHERE seq = -1")
        if self._taken:
            self._connection.execute("UPDATE head SET takeovers = takeovers + 1 WHERE seq = -1")
        if self._size != self._memory.size:
            self._turn_over()

    def _turn_over(self) -> None:
        """Write what changes with every commit: the head, calls that begin, groups that moved."""
        execute, frontier = self._connection.execute, self._memory.frontier
        if self._opened:
            into = "INSERT INTO head (seq, boot, call, approval, held) VALUES"
            columns = [column for intent in self._opened for column in intent]
            execute(_many(into, "(?, ?, ?, ?, ?)", len(self._opened)), columns)
            self._began += (intent.seq for intent in self._opened)
        keys = list(dict.fromkeys([key for key, _ in self._moved]))
        for at in range(0, len(keys), _ROWS):
            moved: list[object] = []
            for key in keys[at : at + _ROWS]:
                moved += (key, self.now, self._about[key], _encode(self._groups[key]))
            execute(_moves(len(moved) // 4), moved)
        execute(
            "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
            (frontier.size, self.now, frontier.encode()),
        )
        self._memory.size = frontier.size
        self._memory.time = self.now

    def _send(self) -> None:
        """Send what the items before this one wrote.

        Groups and runs wait for the end: they are read through this transaction and not
        from the database.
        """
        execute = self._connection.execute
        bodies, settled, writes = self._mark
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
        if settled:
            ended = self._settled[:settled]
            marks = ", ".join("?" * settled)
            execute(f"DELETE FROM head WHERE seq IN ({marks})", ended)  # noqa: S608 - marks alone
            self._ended += ended
            del self._settled[:settled]
        self._sent = self._sent or writes > 0
        for statement, values in self._writes[:writes]:
            execute(statement, values)
        del self._writes[:writes]
        self._mark = (0, 0, 0)

    def committed(self) -> None:
        """Remember what is now true; called after the commit, still under the lock."""
        memory = self._memory
        memory.open.update(self._began)
        memory.open.difference_update(self._ended)
        if len(memory.groups) + len(memory.runs) + len(memory.followers) > _KEPT:
            memory.groups.clear()
            memory.runs.clear()
            memory.followers.clear()
        memory.groups.update(self._groups)
        memory.followers.update(self._followed)
        memory.runs.update((run_id, identity) for run_id, _, identity in self._runs)

    def _switches(self) -> tuple[Switch, ...]:
        found = self._connection.execute(
            "SELECT scope, value, by, reason, since FROM switch ORDER BY since, scope, value"
        ).fetchall()
        return tuple(
            msgspec.convert(
                {"scope": scope, "value": value or None, "by": by, "reason": why, "since": since},
                Switch,
            )
            for scope, value, by, why, since in found
        )

    def landed(self) -> bool:
        """Whether a commit whose answer was lost is in the database after all."""
        frontier = self._memory.frontier
        row = self._connection.execute("SELECT size, frontier FROM head WHERE seq = -1").fetchone()
        return bool(row == (frontier.size, frontier.encode()))


@functools.lru_cache(maxsize=256)
def _moves(rows: int) -> str:
    """The statement for so many groups: those that are kept already move on."""
    into = _many("INSERT INTO head (seq, time, about, data) VALUES", "(?, ?, ?, ?)", rows)
    return f"{into} ON CONFLICT (seq) DO UPDATE SET time = excluded.time, data = excluded.data"


@functools.lru_cache(maxsize=256)
def _many(beginning: str, row: str, rows: int) -> str:
    """One statement for all rows of a batch.

    SQLite lets other threads run at every statement. With one a row they would come between
    any two of them, and everybody waits for the one who commits.
    """
    return f"{beginning} {', '.join([row] * rows)}"
