"""Reading a store: its ledger, its runs, its checkpoints. Changes nothing that is history.

Long readers keep SQLite from reusing its log, so everything here reads in pages, each in a
transaction of its own.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

import msgspec

from saferun.config import SigningTable
from saferun.control import Switch
from saferun.errors import StoreError
from saferun.ledger import (
    ArchiveEntry,
    DecisionEntry,
    EntryError,
    Frontier,
    Head,
    Opening,
    Signs,
    leaf_hash,
    parse,
    read,
)
from saferun.store import sqlite
from saferun.store.anchors import Anchored
from saferun.store.custody import Custody
from saferun.store.locks import boots, lives
from saferun.store.nodes import Tree, landmarks
from saferun.store.signing import Ledger, folder_of, hold, ledger_of
from saferun.store.vault import KEPT, KEY, Vault
from saferun.store.versions import intact

if TYPE_CHECKING:
    from saferun.store.archive import Archive

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


class Extent(NamedTuple):
    """How large a store is and how fast it grows. Sizes are in bytes.

    `log` is its write-ahead log, and `reusable` what the database has freed and will fill again.
    `archived` of the entries have their bodies in an archive alone. `daily` are the entries of a
    day, over the last week, and `each` what one takes with all that belongs to it; None where
    there are too few to tell.
    """

    database: int
    log: int
    reusable: int
    entries: int
    archived: int
    daily: float | None
    each: float | None


FEW = 1_000
"""Entries below which nothing is said of what one takes: the file has a size of its own."""

_LEAF = 50
"""Bytes that an archived entry still takes, about: its number, its leaf and what holds them."""

WEEK = 7 * 86_400_000_000
_HOUR = 3_600_000_000


class Group(NamedTuple):
    """What the controls keep of one group: of one user by one policy, say, or of one tool.

    `time` is when it moved last. `about` says the group as pairs of a scope and its value, and
    `states` has what is kept, by the names of limits and `admission.HEALTH`.
    """

    key: int
    time: int
    about: list[tuple[str, str]]
    states: dict[str, Any]


class Loose(NamedTuple):
    """A call without a known end: it is still under way, or it is recorded as unknown.

    `seq` is its decision and `body` that entry, empty where it is archived or was changed. `said`
    is the entry that says that nobody knows, None where it is still under way. `alive` says
    whether the process that made it is still there: then it may yet do its work.
    """

    seq: int
    tool: str
    at: int
    body: bytes
    said: bytes | None
    alive: bool

    @property
    def decision(self) -> DecisionEntry | None:
        """What was decided, None where that cannot be read here."""
        found = parse(self.body).entry if self.body else None
        return found if isinstance(found, DecisionEntry) else None


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
        raise StoreError(f"What {path} keeps was changed; see a backup.") from None


class Reader:
    """A store's history. Use as a context manager.

    With an `archive`, entries that were archived have their bodies again, and their large
    values; what the archive lacks, or has and does not fit, it notes as its `trouble`.

    Raises StoreError where there is no store or it cannot be read.
    """

    def __init__(self, path: Path, archive: "Archive | None" = None) -> None:
        self.path = path
        self.archive = archive
        with sqlite.explained(path):
            self._connection = sqlite.connect(path, "full", write=False)
            known = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
        self.origin: str = known.get("origin", "")
        self.ledger: str = known.get("ledger", "")
        # The name comes from the database, so it may be no more than the name of a file.
        self._vault = Vault(path.parent / "keys", Path(self.ledger).name)

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

    def signer(self, origin: str | None = None, given: SigningTable | None = None) -> Signs | None:
        """Who signs for this ledger, None where the signing key is not here.

        Under another name, `origin`, it is whatever key lies here. `given` is what the
        configuration says of the key. Looking for one never makes one: a new key under an old
        name would vouch for anything.

        Raises StoreError where it is no key, or is not the one that the ledger has named.
        """
        ledger = self.named_keys()
        custody = self._custody(ledger, given)
        return custody.signer(origin or ledger.origin, ledger.vkey if origin is None else None)

    def missing_key(self) -> StoreError:
        """What to say where `signer` finds none."""
        return self._custody(self.named_keys()).missing()

    def _custody(self, ledger: Ledger, given: SigningTable | None = None) -> Custody:
        # The name comes from the database, so it may be no more than the name of a file.
        return Custody(folder_of(self.path), Path(ledger.name).name, given)

    def named_keys(self) -> Ledger:
        """The ledger's name and origin, and the keys that it has named, as they are now."""
        with sqlite.explained(self.path):
            return ledger_of(self._connection)

    @property
    def former(self) -> set[str]:
        """The names under which the ledger went before it was restarted."""
        return self.named_keys().former

    def hold(self) -> None:
        """Hold the store against its high-water mark. Raises StoreError where it is behind."""
        with sqlite.explained(self.path):
            hold(self._connection, self.path)

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
            yield from page if self.archive is None else map(self._completed, page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def row(self, seq: int) -> tuple[Any, Any] | None:
        """Body and leaf of one entry as they lie there, None where there is none.

        The body of one that is archived is empty, unless its archive is at hand.
        """
        row = self._one("SELECT body, leaf FROM entry WHERE seq = ?", seq)
        if row is None:
            return None
        _, body, leaf = self._completed((seq, row[0], row[1]))
        return body, leaf

    def body(self, seq: int) -> bytes:
        """The body of one entry as it is stored, as `row` gives it.

        Raises StoreError where there is none, or it is not stored as bytes.
        """
        row = self.row(seq)
        if row is None:
            raise StoreError(f"There is no entry {seq} in {self.path}.")
        if not isinstance(row[0], bytes):
            raise StoreError(f"Entry {seq} of {self.path} was changed; run saferun ledger verify.")
        return row[0]

    def _completed(self, row: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
        seq, body, leaf = row
        if self.archive is None or body != b"":
            return row
        return seq, self.archive.body(seq, leaf), leaf

    def leaves(self, upto: int) -> Iterator[bytes]:
        """The leaves of the entries before number `upto`, archived or not.

        Raises StoreError where one is missing or is none.
        """
        due = 0
        while due < upto:
            page = self._all(
                "SELECT seq, leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
                *(due, upto, _PAGE),
            )
            for seq, leaf in page:
                if seq != due or not isinstance(leaf, bytes):
                    break
                yield leaf
                due += 1
            if not page or due != page[-1][0] + 1:
                raise StoreError(
                    f"Entry {due} of {self.path} is missing or was changed; run saferun ledger "
                    "verify."
                )

    def bodies(self, seqs: Sequence[int]) -> Iterator[bytes]:
        """The bodies of some entries, in the order of `seqs`.

        One that is gone, or is not what its row says, is empty, which no reader takes for an
        entry: history that was changed is not shown as if it were history. See `away` for one
        that is archived.
        """
        for seq in seqs:
            row = self.row(seq)
            yield row[0] if row is not None and _intact(seq, *row) else b""

    def tree(self, *, kept: bool = True) -> Tree:
        """The roots of perfect subtrees, from those that are kept or from the leaves alone."""
        return Tree(self._connection, self.path, kept=kept)

    def landmarks(self, stop: int) -> list[int]:
        """The numbers of the entries below `stop` that change keys or name, or archive."""
        return landmarks(self._connection, self.path, stop)

    def blob(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and data of a large value, None where it is no longer held."""
        row = self._one("SELECT salt, data FROM blob WHERE hash = ?", name)
        if row is None:
            return None if self.archive is None else self.archive.blob(name)
        return row[0], row[1]

    def archived(self) -> int:
        """How many of the first entries lie in an archive."""
        row = self._one("SELECT max(size) FROM archive") if self._since(4) else None
        return 0 if row is None or not isinstance(row[0], int) else row[0]

    def archives(self) -> list[tuple[int, int, str]]:
        """First, size and root of each segment that was archived, as their entries say it.

        Raises StoreError where an entry does not say what is kept of it.
        """
        if not self._since(4):
            return []
        found: list[tuple[int, int, str]] = []
        for first, size, seq in self._all("SELECT first, size, seq FROM archive ORDER BY first"):
            try:
                entry = parse(next(self.bodies([seq]))).entry
            except EntryError:
                entry = None
            if not isinstance(entry, ArchiveEntry) or (entry.first, entry.size) != (first, size):
                raise StoreError(
                    f"What {self.path} keeps of its archives was changed; run saferun ledger "
                    "verify."
                )
            found.append((first, size, entry.root))
        return found

    def away(self, seq: int) -> bool:
        """Whether the body of an entry lies in an archive alone."""
        row = self._one("SELECT body = x'' FROM entry WHERE seq = ?", seq)
        return row is not None and bool(row[0]) and seq < self.archived()

    def began(self, run_id: str) -> int | None:
        """The number of the entry with which a run began, None where nobody knows the run."""
        row = self._one("SELECT seq FROM run WHERE run_id = ?", run_id)
        return None if row is None else int(row[0])

    def time(self, seq: int) -> int:
        """When an entry was written, in microseconds since 1970, UTC.

        Raises StoreError where it cannot be read.
        """
        try:
            return parse(next(self.bodies([seq]))).time
        except EntryError:
            raise StoreError(
                f"Entry {seq} of {self.path} cannot be read; run saferun ledger verify."
            ) from None

    def since(self, moment: int, first: int, size: int) -> int:
        """The number of the first entry from `first` on that is of `moment` or later.

        `size` where none is. A look at a few: times never go back.
        """
        while first < size:
            middle = (first + size) // 2
            if self.time(middle) < moment:
                first = middle + 1
            else:
                size = middle
        return first

    def open_calls(self) -> list[int]:
        """The numbers of the decisions that have no outcome yet."""
        return [row[0] for row in self._all("SELECT seq FROM head WHERE seq >= 0 ORDER BY seq")]

    def open_requests(self, now: int) -> set[str]:
        """The ids of the requests that wait for a person, or for their call to be made."""
        waiting = "SELECT id FROM approval WHERE state IN ('pending', 'approved') AND deadline > ?"
        return {row[0] for row in self._all(waiting, now)}

    def pinned(self, now: int) -> list[str]:
        """The runs, each with its children, that keep a version of a policy at that time."""
        return [row[0] for row in self._all("SELECT root FROM pin WHERE until > ?", now)]

    def extent(self) -> Extent:
        """How large the store is and how fast it grows, from a few rows alone."""
        database, log, reusable = self._sizes()
        size, archived = self.head().size, self.archived()
        held, daily = size - archived, None
        if held >= FEW:
            newest = self.time(size - 1)
            since = self.since(newest - WEEK, archived, size)
            over = max(newest - self.time(since), _HOUR)
            daily = (size - since) * 86_400_000_000 / over
        used = database - reusable - _LEAF * archived
        each = max(used, 0) / held if held >= FEW else None
        return Extent(database, log, reusable, size, archived, daily, each)

    def _sizes(self) -> tuple[int, int, int]:
        log = self.path.with_name(self.path.name + "-wal")
        # By its own account: what is new lies in the log, and not yet in the file.
        found = self._one(
            "SELECT page_count * page_size, freelist_count * page_size"
            " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
        assert found is not None
        return int(found[0]), log.stat().st_size if log.exists() else 0, int(found[1])

    def opening(self, commitment: bytes) -> Opening | None:
        """What opens a commitment: salt, path and value.

        None where nobody has it any more, where its key is not here, or where it was changed;
        `holds` tells the first from the others.
        """
        # Between looking for the key and looking into its file, it may have been renewed.
        for _ in range(3):
            row = self._sealed(KEPT, commitment)
            if row is None:
                return None
            found = self._vault.opening(commitment, row)
            if found is not None:
                return found
        return None

    def holds(self, commitment: bytes) -> bool:
        """Whether what opens a commitment is still kept, though perhaps not within reach here."""
        return self._sealed("SELECT 1 FROM opening WHERE hash = ?", commitment) is not None

    def subjects(self) -> int:
        """Of how many subjects anything is kept."""
        row = self._sealed("SELECT count(*) FROM subject")
        return 0 if row is None else int(row[0])

    def reaches(self) -> bool:
        """Whether the key is here that sensitive values are kept under, if any are."""
        row = self._sealed("SELECT value FROM meta WHERE name = ?", KEY)
        return row is None or self._vault.reaches(str(row[0]))

    def unfinished(self) -> str | None:
        """What is still due of an erasure: the renewal of the `key`, or the end of the `log`."""
        row = self._one("SELECT value FROM meta WHERE name = 'erasing'")
        return None if row is None else str(row[0])

    def _sealed(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        """A row of what is sealed; none in a store from before anything was."""
        version = self._one("PRAGMA user_version")
        return self._one(statement, *values) if version is not None and version[0] >= 4 else None

    def checkpoints(self, most: int | None = None) -> list[bytes]:
        """The signed notes that were kept with the ledger, the oldest first.

        Where there are more than `most`, about so many at even distances, with the newest.
        """
        step = 1
        if most is not None:
            (count,) = self._all("SELECT count(*) FROM checkpoint")[0]
            step = max(1, -(-count // most))
        found = self._all(
            "SELECT note FROM (SELECT note, size, row_number() OVER (ORDER BY size DESC) AS back"
            " FROM checkpoint) WHERE back % ? = 1 % ? ORDER BY size",
            *(step, step),
        )
        return [row[0] for row in found]

    def newest_checkpoint(self) -> bytes | None:
        """The signed note of the largest size that was kept with the ledger."""
        row = self._one("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
        return None if row is None else row[0]

    def anchors(self) -> list[Anchored]:
        """How far each place outside has the ledger, as the store remembers it, by name."""
        if not self._since(4):
            return []
        rows = self._all(
            "SELECT name, size, time, note, tried, failed, against FROM anchor ORDER BY name"
        )
        with _undamaged(self.path):
            return [msgspec.convert((*row[:-1], bool(row[-1])), Anchored) for row in rows]

    def runs(self, limit: int) -> list[str]:
        """The newest runs' ids, the newest first."""
        found = self._all("SELECT run_id FROM run ORDER BY seq DESC LIMIT ?", limit)
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
                    if name.split(" ")[1] == "calls":
                        # A call that is under way has been made; only what it sums may change.
                        continue
                    total[key, name] = total.get((key, name), 0) + amount
        return total

    def unknown(self, of: int | None = None, tool: str | None = None) -> Iterator[Loose]:
        """Calls of which nobody knows how they ended, by ascending number of their decision.

        All of them, or that one, or those of a tool. Raises StoreError.
        """
        last = -1 if of is None else of - 1
        stop = 1 << 62 if of is None else of + 1
        while True:
            page = self._later(
                "SELECT seq, tool, at, said FROM unknown WHERE seq > ? AND seq < ?"
                " AND (?3 IS NULL OR tool = ?3) ORDER BY seq LIMIT 1000",
                *(last, stop, tool),
            )
            for seq, name, at, said in page:
                body, told = self.bodies([seq, said])
                yield Loose(seq, name, at, body, told, self._alive(body))
            if len(page) < 1000:
                return
            last = page[-1][0]

    def unknowns(self) -> int:
        """How many calls there are of which nobody knows how they ended."""
        found = self._later("SELECT count(*) FROM unknown")
        return int(found[0][0]) if found else 0

    def under_way(self) -> Iterator[Loose]:
        """Calls without an outcome so far, by ascending number of their decision."""
        rows = self._all("SELECT seq, boot FROM head WHERE seq >= 0 ORDER BY seq")
        for seq, boot in rows:
            [body] = self.bodies([seq])
            tool, at = "", 0
            if body:
                made = parse(body)
                tool, at = getattr(made.entry, "tool", ""), made.time
            yield Loose(seq, tool, at, body, None, lives(boots(self.path), str(boot)))

    def _alive(self, body: bytes) -> bool:
        boot = parse(body).entry.boot if body else None
        return boot is not None and lives(boots(self.path), boot)

    def _later(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a table of schema 4; none in a store from before."""
        version = self._one("PRAGMA user_version")
        return self._all(statement, *values) if version is not None and version[0] >= 4 else []

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
        return self._all(statement, *values) if self._since(3) else []

    def _since(self, version: int) -> bool:
        found = self._one("PRAGMA user_version")
        return found is not None and found[0] >= version

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
