"""Reading a store: its ledger, its runs, its checkpoints. Changes nothing that is history.

Long readers keep SQLite from reusing its log, so everything here reads in pages, each in a
transaction of its own.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import msgspec

from saferun.control import Switch
from saferun.errors import StoreError
from saferun.ledger import (
    Checkpoint,
    EntryError,
    Frontier,
    Head,
    Signer,
    Verifier,
    leaf_hash,
    open_checkpoint,
    read,
    sign_checkpoint,
)
from saferun.store import sqlite
from saferun.store.keys import Keys
from saferun.store.locks import FileLock
from saferun.store.versions import intact

_PAGE = 2_000


class Health(NamedTuple):
    """What `doctor` says of a store. Sizes are in bytes."""

    ledger: str
    origin: str
    entries: int
    open_calls: int
    waiting: int
    size: int
    checkpoint: int | None


class Group(NamedTuple):
    """What the controls keep of one group: of one user by one policy, say, or of one tool.

    `time` is when it moved last. `about` says the group as pairs of a scope and its value, and
    `states` has what is kept, by the names of limits and `admission.HEALTH`.
    """

    key: int
    time: int
    about: list[tuple[str, str]]
    states: dict[str, Any]


Named: TypeAlias = Literal["agent", "user", "tenant"]


def _at(scope: Named) -> str:
    """Where the identity of a run has that name."""
    return f"$[{('agent', 'user', 'tenant').index(scope)}]"


_ABOUT = msgspec.msgpack.Decoder(list[tuple[str, str]])
_KEPT = msgspec.msgpack.Decoder(dict[str, Any])
_HELD = msgspec.msgpack.Decoder(list[tuple[int, str, int]])


@contextlib.contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, TypeError):
        # A rewritten row may hold any type that SQLite has.
        raise StoreError(f"What the controls keep in {path} was changed; see a backup.") from None


class Reader:
    """A store's history. Use as a context manager.

    Raises StoreError where there is no store or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with sqlite.explained(path):
            self._connection = sqlite.connect(path, "full", write=False)
            known = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
        self.origin: str = known.get("origin", "")
        self.ledger: str = known.get("ledger", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def signer(self, origin: str | None = None) -> Signer | None:
        """Who signs for this ledger, or for `origin`, None where the signing key is not here.

        Looking for the key never makes one: a new key under an old name would vouch for
        anything. Raises StoreError where it is no key.
        """
        # The name comes from the database, so it may be no more than the name of a file.
        seed = Keys.signing_only(self.path.parent / "keys", Path(self.ledger).name)
        return None if seed is None else Signer(origin or self.origin, seed)

    def head(self) -> Head:
        """The size and frontier that the ledger says it has; those of nothing without a head."""
        row = self._one("SELECT size, frontier FROM head WHERE seq = -1")
        return Head(0, Frontier().encode()) if row is None else Head(row[0], row[1])

    def rows(
        self, upto: int | None = None, *, after: int = -(1 << 63)
    ) -> Iterator[tuple[int, Any, Any]]:
        """Entries by ascending number as `ledger.verify` takes them, up to number `upto`.

        From the lowest number that there can be: a row before the first was put there.
        """
        last, stop = after, upto if upto is not None else 1 << 62
        while True:
            page = self._all(
                "SELECT seq, body, leaf FROM entry WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?",
                *(last, stop, _PAGE),
            )
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def bodies(self, seqs: Sequence[int]) -> Iterator[bytes]:
        """The bodies of some entries, in the order of `seqs`.

        One that is gone, or is not what its row says, is empty, which no reader takes for an
        entry: history that was changed is not shown as if it were history.
        """
        for seq in seqs:
            row = self._one("SELECT body, leaf FROM entry WHERE seq = ?", seq)
            yield row[0] if row is not None and _intact(seq, *row) else b""

    def blob(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and data of a large value, None where it is no longer held."""
        row = self._one("SELECT salt, data FROM blob WHERE hash = ?", name)
        return None if row is None else (row[0], row[1])

    def checkpoints(self) -> list[bytes]:
        """The signed notes that were kept with the ledger, the oldest first."""
        return [row[0] for row in self._all("SELECT note FROM checkpoint ORDER BY size")]

    def runs(self, limit: int) -> list[str]:
        """The newest runs' ids, the newest first."""
        found = self._all("SELECT run_id FROM run ORDER BY seq DESC LIMIT ?", limit)
        return [row[0] for row in found]

    def frames(self, run_id: str) -> list[int]:
        """The numbers of a run's entries, as far as the index goes; see `index`.

        Under `""`, which is no run's id, are those at which something else than a run was
        stopped or resumed.
        """
        found = self._all("SELECT seq FROM frame WHERE run_id = ? ORDER BY seq", run_id)
        return [row[0] for row in found]

    def first_entry(self, root: str) -> int:
        """The number of the first entry of a run and its children; the next one for a new run."""
        row = self._one(
            "SELECT min(seq) FROM (SELECT seq FROM run WHERE run_id = ?"
            " UNION ALL SELECT seq FROM family WHERE root = ?)",
            *(root, root),
        )
        return self.head().size if row is None or row[0] is None else int(row[0])

    def children(self, root: str) -> list[str]:
        """The ids of all runs that have begun within a run, or within a child of it."""
        return [row[0] for row in self._all("SELECT run_id FROM child WHERE root = ?", root)]

    def known(self, run_id: str) -> bool:
        return self._one("SELECT 1 FROM run WHERE run_id = ?", run_id) is not None

    def version(self, version: str) -> bytes:
        """A version of a policy, as `policy.restore` takes it.

        Raises StoreError where it is not kept, or is not what was kept.
        """
        row = self._one("SELECT data FROM version WHERE version = ?", version)
        if row is None:
            raise StoreError(f"The store has no version {version[:12]} of a policy.")
        return intact(version, row[0])

    def versions(self, name: str) -> list[tuple[str, int]]:
        """The versions kept of a policy, each with the time since which it is, oldest first."""
        found = "SELECT version, since FROM version WHERE name = ? ORDER BY since, version"
        return [(row[0], row[1]) for row in self._all(found, name)]

    def policies(self) -> list[str]:
        """The names of all policies of which a version is kept."""
        return [row[0] for row in self._all("SELECT DISTINCT name FROM version ORDER BY name")]

    def serial(self, name: str) -> int:
        """The number of the assignment that holds for a policy, 0 where there is none."""
        row = self._one("SELECT coalesce(max(serial), 0) FROM assignment WHERE name = ?", name)
        return 0 if row is None else int(row[0])

    def assignments(self, name: str) -> list[bytes]:
        """All that ever decided which versions hold for a policy, the oldest first."""
        found = "SELECT note FROM assignment WHERE name = ? ORDER BY serial"
        return [self._note(name, row[0]) for row in self._all(found, name)]

    def assignment(self, name: str) -> bytes | None:
        """What decides which versions of a policy hold now."""
        row = self._one(
            "SELECT note FROM assignment WHERE name = ? ORDER BY serial DESC LIMIT 1", name
        )
        return None if row is None else self._note(name, row[0])

    def _note(self, name: str, note: object) -> bytes:
        # A rewritten row may hold any type that SQLite has.
        if not isinstance(note, bytes):
            raise StoreError(f"what was published under {name!r} in {self.path} was changed")
        return note

    def knows(self, person: str) -> bool:
        """Whether a person is known by a secret."""
        return self._one("SELECT 1 FROM person WHERE name = ?", person) is not None

    def switches(self) -> list[Switch]:
        """What is stopped, the oldest first."""
        found = "SELECT scope, value, by, reason, since FROM switch ORDER BY since, scope, value"
        names = ("scope", "value", "by", "reason", "since")
        rows = [dict(zip(names, row, strict=True)) for row in self._controls(found)]
        with _undamaged(self.path):
            return [msgspec.convert({**row, "value": row["value"] or None}, Switch) for row in rows]

    def now(self) -> int:
        """Microseconds since 1970, UTC, and never before what the ledger has as its last time."""
        row = self._one("SELECT time FROM head WHERE seq = -1")
        return max(time.time_ns() // 1000, 0 if row is None else row[0])

    def groups(self) -> Iterator[Group]:
        """What the controls keep, group by group, in no order that means anything.

        Raises StoreError where it was changed.
        """
        last = -(1 << 63)
        while True:
            found = "SELECT key, time, about, data FROM control WHERE key > ? ORDER BY key LIMIT ?"
            page = self._controls(found, last, _PAGE)
            for key, moved, about, data in page:
                with _undamaged(self.path):
                    group = Group(key, moved, _ABOUT.decode(about), _KEPT.decode(data))
                yield group
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def held(self) -> dict[tuple[int, str], int]:
        """What calls that are under way may come to, by group and the name of the limit."""
        total: dict[tuple[int, str], int] = {}
        for (held,) in self._controls("SELECT held FROM head WHERE seq >= 0 AND held IS NOT NULL"):
            with _undamaged(self.path):
                for key, name, amount in _HELD.decode(held):
                    total[key, name] = total.get((key, name), 0) + amount
        return total

    def names(self, scope: Named, name: str) -> bool:
        """Whether any run was for that agent, user or tenant."""
        # A run that was brought in is bound to its file, which is no list of so many.
        found = self._one(
            "SELECT 1 FROM run WHERE json_valid(CAST(identity AS TEXT))"
            " AND json_array_length(CAST(identity AS TEXT)) IN (4, 5)"
            " AND json_extract(CAST(identity AS TEXT), ?) = ? LIMIT 1",
            *(_at(scope), name),
        )
        return found is not None

    def named(self, scope: Named) -> list[str]:
        """Agents, users or tenants that runs were for, a thousand of them at most."""
        found = self._all(
            "SELECT DISTINCT json_extract(CAST(identity AS TEXT), ?) FROM run"
            " WHERE json_valid(CAST(identity AS TEXT))"
            " AND json_array_length(CAST(identity AS TEXT)) IN (4, 5) LIMIT 1000",
            _at(scope),
        )
        return [name for (name,) in found if isinstance(name, str)]

    def agent(self, run_id: str) -> str | None:
        """The agent that a run is bound to, None where it said none or nobody knows the run."""
        found = self._one(
            "SELECT json_extract(CAST(identity AS TEXT), ?) FROM run WHERE run_id = ?"
            " AND json_valid(CAST(identity AS TEXT))",
            *(_at("agent"), run_id),
        )
        return found[0] if found is not None and isinstance(found[0], str) else None

    def _controls(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of what the controls keep; none in a store from before there were any."""
        version = self._one("PRAGMA user_version")
        return self._all(statement, *values) if version is not None and version[0] >= 3 else []

    def health(self) -> Health:
        newest = self._one("SELECT max(size) FROM checkpoint")
        waiting = self._one(
            "SELECT count(*) FROM approval WHERE state = 'pending' AND deadline > ?",
            time.time_ns() // 1000,
        )
        left = self._one("SELECT count(*) FROM head WHERE seq >= 0")
        assert newest is not None
        assert waiting is not None
        assert left is not None
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return Health(
            ledger=self.ledger,
            origin=self.origin,
            entries=self.head().size,
            open_calls=left[0],
            waiting=waiting[0],
            size=sum(file.stat().st_size for file in files if file.exists()),
            checkpoint=newest[0],
        )

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with sqlite.explained(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite.explained(self.path):
            return self._connection.execute(statement, values).fetchall()


def _intact(seq: int, body: object, leaf: object) -> bool:
    if not isinstance(body, bytes) or leaf_hash(body) != leaf:
        return False
    try:
        return read(body).seq == seq
    except EntryError:
        return False


def index(path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Bring the index of runs up to the newest entry: which entries are frames of which run.

    Derived from the ledger and kept off the path of calls, so it is behind until somebody
    looks. Pages are written under the store's write lock, each in a moment.
    """
    with sqlite.explained(path):
        connection = sqlite.connect(path, "process")
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            while _index_page(connection, lock, progress):
                pass
        finally:
            connection.close()
            lock.close()


def _index_page(
    connection: sqlite3.Connection, lock: FileLock, progress: Callable[[int, int], None] | None
) -> bool:
    done = int(
        connection.execute(
            "SELECT coalesce((SELECT value FROM meta WHERE name = 'indexed'), '0')"
        ).fetchone()[0]
    )
    (size,) = connection.execute("SELECT size FROM head WHERE seq = -1").fetchone()
    page = connection.execute(
        "SELECT seq, body FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?", (done, _PAGE)
    ).fetchall()
    if not page:
        return False
    frames = [(run, seq) for seq, body in page if (run := _run_of(body)) is not None]
    lock.acquire()
    try:
        with sqlite.transaction(connection):
            connection.executemany("INSERT OR IGNORE INTO frame VALUES (?, ?)", frames)
            connection.execute(
                "INSERT INTO meta VALUES ('indexed', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (str(page[-1][0] + 1),),
            )
    finally:
        lock.release()
    if progress is not None:
        progress(page[-1][0] + 1, size)
    return True


def _run_of(body: bytes) -> str | None:
    try:
        entry = read(body)
        run = entry.fields.get("run")
        if run is None and entry.kind == "control" and entry.fields["event"] in _TURNS:
            return ""
    except Exception:  # noqa: BLE001 - a rewritten entry is for `ledger verify` to report
        return None
    return run if isinstance(run, str) else None


_TURNS = ("stopped", "resumed")


def checkpoint(path: Path, signer: Signer) -> bytes:
    """A signed note on the ledger as it is now: the newest one, or a new one where it has grown.

    Only what is synced to disk is signed: the log is synced first, since a
    store with `process` durability may have answered for entries that are not on disk yet.
    Raises StoreError where the ledger no longer holds what its own last checkpoint vouched for.
    """
    _hold_against_the_last(path, signer)
    with sqlite.explained(path):
        lock = FileLock(path.with_name(path.name + ".lock"))
        lock.acquire()
        try:
            connection = sqlite.connect(path, "full")
            try:
                return _signed(connection, signer)
            finally:
                connection.close()
        finally:
            lock.close()


def _hold_against_the_last(path: Path, signer: Signer) -> None:
    # Before the lock: entries that a checkpoint covers never change, and reading them all takes
    # longer than any call should wait.
    with Reader(path) as reader:
        notes = reader.checkpoints()
        if not notes:
            return
        last = open_checkpoint(notes[-1], [Verifier(signer.vkey())], origin=signer.name)
        frontier = Frontier()
        for _, body, _ in reader.rows(last.size):
            if not isinstance(body, bytes):
                # A rewritten row may hold any type that SQLite has; it ends what is right.
                break
            frontier.append(leaf_hash(body))
    if (frontier.size, frontier.root()) != (last.size, last.root):
        raise StoreError(
            f"{path} does not hold the {last.size:,} entries that its last checkpoint vouches "
            "for: some are missing or were changed. Nothing was signed; run saferun ledger verify."
        )


def _signed(connection: sqlite3.Connection, signer: Signer) -> bytes:
    frontier = Frontier.decode(
        connection.execute("SELECT frontier FROM head WHERE seq = -1").fetchone()[0]
    )
    newest = connection.execute(
        "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"
    ).fetchone()
    if newest is not None and newest[0] == frontier.size:
        note: bytes = newest[1]
        return note
    note = sign_checkpoint(Checkpoint(signer.name, frontier.size, frontier.root()), signer)
    # A commit with synchronous=FULL syncs the whole log up to and with itself; the note goes
    # out of the door only after it.
    with sqlite.transaction(connection):
        connection.execute("INSERT INTO checkpoint VALUES (?, ?)", (frontier.size, note))
    return note
