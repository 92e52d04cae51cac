"""Saving what can be read of a store whose file is torn, into a new one.

The torn file is never written to. In this order:

1. it and its log are copied aside, under the store's lock, while no process has it open;
2. the log's whole frames are applied to the copy, as SQLite would;
3. entries are looked for in every page of it (`pages`): each bears its own number and lies
   beside the hash of its bytes, so one that is found is known to be whole;
4. the longest unbroken run of them from entry 0 on is kept, as far as it verifies and the
   checkpoints agree: what comes after a gap could not be proven any more;
5. what follows from entries is made anew from them: which calls are open, unknown, or were made
   before, whose the runs are, what is stopped and which policy holds;
6. everything else is read by SQLite, table by table from both ends, as far as that goes.

A call that has no end among the entries kept is recorded as unknown when the new store is
opened. Checkpoints are kept also where they vouch for more than could be saved: nothing is then
signed that contradicts them, and verification says what is lost.
"""

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from saferun.call import canonical
from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.files import sync
from saferun.ledger import (
    ArchiveEntry,
    ControlEntry,
    DecisionEntry,
    EntryError,
    Frontier,
    KeyEntry,
    LedgerEntry,
    NoteError,
    OutcomeEntry,
    Parsed,
    PolicyEntry,
    RecoveryEntry,
    RestartEntry,
    RunEntry,
    Verifier,
    blob_hash,
    leaf_hash,
    open_checkpoint,
    parse,
    verify,
)
from saferun.store import pages, sqlite
from saferun.store.archive import Archive
from saferun.store.custody import Custody
from saferun.store.keys import Keys
from saferun.store.locks import FileLock, boots, lives
from saferun.store.own import spare
from saferun.store.signing import folder_of, marked, named
from saferun.store.transaction import NOBODY
from saferun.store.versions import intact

Progress: TypeAlias = Callable[[int, int], None]

LOST = "lost"
"""Where a store says what was lost when it was salvaged, and may be taken for erased: `sealed`."""

_BATCH = 1_000

_MADE_ANEW = frozenset(
    {
        *("entry", "head", "call", "unknown", "run", "family", "child", "trail"),
        *("meta", "node", "landmark", "archive", "frame"),
    }
)
"""Tables whose rows follow from the entries, or are looked at one by one."""


_UNREADABLE = (sqlite3.Error, UnicodeError, OverflowError, MemoryError)
"""What reading a torn file by SQLite comes to; what it says of it may be no text either."""


class Table(NamedTuple):
    """What became of a table: how many rows are saved, and whether those were all.

    Of one that is not `whole` it is not known how many rows are lost.
    """

    name: str
    saved: int
    whole: bool


class Salvaged(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved of a torn store, and what was lost.

    The first `entries` are saved, of `counted` that the store said it had, as far as that could
    be read. `found` ones were whole; those after the first gap are of no use to a ledger. The
    newest checkpoint vouches for `vouched`. `problem` says why the entries end where they do,
    and `open_calls` are recorded as unknown when the store is opened. `voided` requests to people
    were open, and count no more where anything is lost. Of `away` entries the bytes lie in an
    archive that was not at hand: what follows from those is not made anew.
    """

    origin: str
    entries: int
    found: int
    counted: int
    vouched: int
    open_calls: int
    voided: int
    away: int
    tables: tuple[Table, ...]
    problem: str | None = None

    @property
    def lost_entries(self) -> int:
        return max(0, max(self.counted, self.vouched) - self.entries)

    @property
    def whole(self) -> bool:
        """Whether nothing was lost, as far as anybody can tell."""
        return not self.lost_entries and all(table.whole for table in self.tables)

    @property
    def behind(self) -> bool:
        """Whether a checkpoint vouches for entries that are lost."""
        return self.vouched > self.entries


def salvage(
    torn: Path,
    new: Path,
    progress: Progress | None = None,
    archive: Archive | None = None,
    signing: SigningTable | None = None,
) -> Salvaged:
    """Save what can be read of the store at `torn` to a new one at `new`, which must not exist.

    `progress` is told how many bytes of how many were looked through. What follows from entries
    that are archived is made anew from the `archive`, as far as that has them. `signing` is what
    the configuration says of the key, which a ledger from before format 4 does not name itself.

    Raises StoreError where there is no such store, a process still has it open, `new` is there
    already, or not even the beginning of the ledger is left.
    """
    sqlite.check_location(new)
    if not torn.is_file():
        raise StoreError(f"There is no store at {torn}.")
    with sqlite.explained(new), _aside(torn, new) as folder:
        copy, draft = folder / "torn.db", folder / "new.db"
        _copied(torn, copy)
        with contextlib.closing(sqlite.connect(draft, "process")) as made:
            # It becomes a store only once it is whole, so it needs no log on the way.
            made.execute("PRAGMA journal_mode = MEMORY")
            sqlite.migrate(made)
            with sqlite.transaction(made):
                told = _Saving(copy, made, torn, progress, archive, signing).all()
        _put(draft, new)
    return told


@contextlib.contextmanager
def _aside(torn: Path, new: Path) -> Iterator[Path]:
    """A folder of our own beside the new store, gone afterwards whatever happens."""
    for each in (new, new.with_name(f"{new.name}-wal"), new.with_name(f"{new.name}-journal")):
        if each.exists() or each.is_symlink():
            raise StoreError(f"{each} is there already; name a file that is not.")
    spare(torn, new)
    if not new.parent.is_dir():
        raise StoreError(f"There is no folder {new.parent}; make it first.")
    folder = new.with_name(f".{new.name}.{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied(torn: Path, copy: Path) -> None:
    lock = FileLock(torn.with_name(torn.name + ".lock"))
    lock.acquire()
    try:
        alive = boots(torn)
        if alive.is_dir() and any(lives(alive, each.name) for each in alive.iterdir()):
            raise StoreError(f"A process still has {torn} open; stop your agents first.")
        shutil.copyfile(torn, copy)
        log = torn.with_name(torn.name + "-wal")
        if log.exists():
            aside = copy.with_name("log")
            shutil.copyfile(log, aside)
            pages.applied(aside, copy)
            aside.unlink()
    finally:
        lock.close()


def _put(draft: Path, new: Path) -> None:
    sync(draft)
    # A link, which never takes the place of another file.
    os.link(draft, new)
    sync(new.parent)


class _Old:
    """The torn store as SQLite can still read it."""

    def __init__(self, copy: Path) -> None:
        self._connection = sqlite3.connect(f"{copy.absolute().as_uri()}?immutable=1", uri=True)
        # Text that is none is for the row to fail by, and not for the whole table.
        self._connection.text_factory = lambda data: data.decode(errors="surrogateescape")
        # What could be no table of a store's might never come to an end, and is not read.
        self._foreign: set[str] = set()
        self.tables: dict[str, list[str]] | None = None
        with contextlib.suppress(*_UNREADABLE):
            sqlite.guarded(self._connection)
            found = sqlite.found_schema(self._connection)
            ours = sqlite.known_tables()
            self._foreign = {
                name for (kind, name), sql in found.items() if kind != "index" and sql not in ours
            }
            self.tables = {name: [] for kind, name in found if kind in ("table", "view")}
            for table, columns in self.tables.items():
                if table.isidentifier() and table not in self._foreign:
                    info = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
                    columns += [str(row[1]) for row in info]

    def close(self) -> None:
        self._connection.close()

    def lacks(self, table: str) -> bool:
        """Whether the store is known to have no such table: an older one, which lost nothing."""
        return self.tables is not None and bool(self.tables) and table not in self.tables

    def rows(self, table: str, columns: list[str], key: list[str]) -> "_Rows":
        """What can be read of a table, from its beginning and then from its end."""
        ways = () if table in self._foreign else ("", " DESC")
        return _Rows(self._connection, table, columns, key, ways)


class _Rows:
    """The rows of a table as far as they can be read; `whole` says afterwards if that was all."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        columns: list[str],
        key: list[str],
        ways: Sequence[str],
    ) -> None:
        self._connection = connection
        self._ways = ways
        self._about = (table, ", ".join(columns), key)
        self.whole = False

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        table, columns, key = self._about
        for way in self._ways:
            order = ", ".join(f"{each}{way}" for each in key)
            try:
                found = self._connection.execute(
                    f"SELECT {columns} FROM {table} ORDER BY {order}"  # noqa: S608 - names of ours
                )
                yield from found
            except _UNREADABLE:
                continue
            if not way:
                self.whole = True
            return


class _Saving:
    """One torn store on its way into a new one."""

    def __init__(
        self,
        copy: Path,
        made: sqlite3.Connection,
        torn: Path,
        progress: Progress | None,
        archive: Archive | None,
        signing: SigningTable | None,
    ) -> None:
        self._copy = copy
        self._made = made
        self._torn = torn
        self._progress = progress
        self._archive = archive
        self._signing = signing
        self._away = 0
        self._old = _Old(copy)
        self._tables: list[Table] = []
        self._story = _Story(made)

    def all(self) -> Salvaged:
        try:
            found = self._find()
            entries, problem = self._sound()
            checkpoints = self._copy_of("checkpoint")
            vouched, agreed = self._held_against_checkpoints(entries)
            if entries and not agreed:
                raise StoreError(
                    f"The entries that can be read of {self._torn} are not those that its own"
                    " checkpoint vouches for: they were changed. Restore a backup."
                )
            if agreed < entries:
                entries = agreed
                problem = "A checkpoint vouches for other entries from there on."
            if not entries:
                raise StoreError(
                    f"Not even entry 0 of {self._torn} can be read, or it is another's: there is"
                    " no ledger left to save. Restore a backup."
                )
            self._made.execute("DELETE FROM entry WHERE seq >= ?", (entries,))
            counted = self._follow(entries)
            vouched = max(vouched, self._marked())
            self._tables.append(checkpoints)
            self._others()
            self._tables.sort()
            if not all(each.whole for each in self._tables if each.name in ("opening", "subject")):
                # So that nobody takes what is lost for what was erased.
                self._made.execute("INSERT OR REPLACE INTO meta VALUES (?, 'sealed')", (LOST,))
            lost = max(counted or found, vouched) > entries
            voided = 0
            if lost or not all(table.whole for table in self._tables):
                # What was asked may have been answered, or used up, in what is lost.
                voided = self._made.execute(
                    "UPDATE approval SET state = 'cancelled' WHERE state IN ('pending', 'approved')"
                ).rowcount
                # And what somebody has let run without being asked about, they may have taken back.
                self._made.execute("DELETE FROM permit")
            if lost and problem is None:
                problem = f"From entry {entries} on, nothing can be read."
        finally:
            self._old.close()
        return Salvaged(
            origin=self._story.origin,
            entries=entries,
            found=found,
            counted=counted or found,
            vouched=vouched,
            open_calls=len(self._story.open),
            voided=voided,
            away=self._away,
            tables=tuple(self._tables),
            problem=problem if lost else None,
        )

    # Entries.

    def _find(self) -> int:
        """Take over every whole entry that lies in the file. Returns the highest number, plus 1."""
        # An archived one has no body; where its body is found too, that is the better of the two.
        into = (
            "INSERT INTO entry VALUES (?, ?, ?) ON CONFLICT (seq) DO UPDATE SET body ="
            " excluded.body, leaf = excluded.leaf WHERE body = x''"
        )
        batch: list[tuple[int, bytes, bytes]] = []
        for seq, (_, body, leaf) in pages.rows(self._copy, 3, self._progress):
            if body is None or leaf is None or seq < 0 or not _whole(seq, body, leaf):
                continue
            batch.append((seq, body, leaf))
            if len(batch) >= _BATCH:
                self._made.executemany(into, batch)
                batch.clear()
        self._made.executemany(into, batch)
        [highest] = self._made.execute("SELECT coalesce(max(seq) + 1, 0) FROM entry").fetchone()
        return int(highest)

    def _rows(self, upto: int | None = None) -> Iterator[tuple[int, bytes, bytes]]:
        last = -1
        while True:
            page = self._made.execute(
                "SELECT seq, body, leaf FROM entry WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?",
                (last, 1 << 62 if upto is None else upto, _BATCH),
            ).fetchall()
            yield from page
            if len(page) < _BATCH:
                return
            last = page[-1][0]

    def _sound(self) -> tuple[int, str | None]:
        """How many entries from the first on verify, and what ends them."""
        report = verify(self._rows())
        return report.entries, None if report.problem is None else report.problem.sentence

    def _held_against_checkpoints(self, entries: int) -> tuple[int, int]:
        """For how many entries the newest checkpoint vouches, and how many all agree with."""
        due: dict[int, bytes] = {}
        keys = list(self._keys(entries))
        for (note,) in self._made.execute("SELECT note FROM checkpoint ORDER BY size").fetchall():
            with contextlib.suppress(NoteError, TypeError, AttributeError, UnicodeDecodeError):
                stated = open_checkpoint(note, keys)
                due[stated.size] = stated.root
        frontier = Frontier()
        agreed = 0
        for _, _, leaf in self._rows(entries):
            frontier.append(leaf)
            root = due.get(frontier.size)
            if root is None:
                continue
            if root != frontier.root():
                # Up to here they are sound each, and not those that were signed.
                return max(due, default=0), agreed
            agreed = frontier.size
        return max(due, default=0), entries

    def _marked(self) -> int:
        """For how many entries the newest checkpoint vouches that lies outside of the database."""
        with contextlib.suppress(StoreError):
            mark = marked(self._torn, self._story.name)
            if mark is not None and mark.checkpoint.origin == self._story.origin:
                return mark.checkpoint.size
        return 0

    def _keys(self, entries: int) -> Iterator[Verifier]:
        """The keys that checkpoints of this ledger may be signed with: its entries name them."""
        kinds = [f'"kind":"{kind}"'.encode() for kind in ("ledger", "key", "restart")]
        found = self._made.execute(
            "SELECT body FROM entry WHERE seq < ? AND (instr(body, ?) OR instr(body, ?)"
            " OR instr(body, ?))",
            (entries, *kinds),
        )
        for (body,) in found.fetchall():
            entry = parse(body).entry
            if not isinstance(entry, LedgerEntry | KeyEntry | RestartEntry):
                # Somebody has quoted one.
                continue
            vkey = entry.vkey
            if vkey is None and isinstance(entry, LedgerEntry):
                name = Path(entry.name).name
                custody = Custody(folder_of(self._torn), name, self._signing)
                signer = custody.signer(entry.origin, None)
                vkey = None if signer is None else signer.vkey()
            with contextlib.suppress(NoteError):
                if vkey is not None:
                    yield Verifier(vkey)

    # What follows from them.

    def _follow(self, entries: int) -> int | None:
        """Make anew what follows from the entries. Returns how many the store counted."""
        held, groups, counted = self._head()
        kept = self._old_rows("unknown", ["seq", "held"], ["seq"])
        held.update((seq, data) for seq, data in kept if isinstance(data, bytes))
        self._runs(entries)
        for seq, body, leaf in self._rows():
            there = self._completed(seq, body, leaf)
            if there:
                self._story.hear(parse(there))
            else:
                self._away += 1
        self._story.tell(held)
        refusals = self._refusals(entries)
        frontier = Frontier()
        for _, _, leaf in self._rows():
            frontier.append(leaf)
        self._made.execute(
            "INSERT INTO head (seq, size, time, frontier, switches) VALUES (-1, ?, ?, ?, 1)",
            (entries, self._story.time, frontier.encode()),
        )
        self._meta()
        # Runs and most calls follow from the entries; what calls that are unknown counted
        # towards, and that a call was denied before, does not.
        self._tables += (
            Table("counters", groups, self._head_whole and kept.whole),
            Table("call", self._count("call"), refusals),
            Table("run", self._count("run"), whole=self._runs_whole or not self._away),
        )
        return counted

    def _head(self) -> tuple[dict[int, bytes], int, int | None]:
        """What open calls count towards, how many counters are saved, and the old head's count."""
        columns = ["seq", "size", "time", "about", "data", "held"]
        known = None if self._old.tables is None else self._old.tables.get("head")
        if known is not None:
            columns = [each for each in columns if each in known]
        rows = self._old.rows("head", columns, ["seq"])
        held: dict[int, bytes] = {}
        groups, counted, bad = 0, None, False
        for row in rows:
            told = dict(zip(columns, row, strict=True))
            seq = told["seq"]
            if type(seq) is not int:
                bad = True
            elif seq == -1 and type(told["size"]) is int:
                counted = told["size"]
            elif seq >= 0:
                if isinstance(told.get("held"), bytes):
                    held[seq] = told["held"]
            elif seq < -1 and _counts(told.get("about"), told.get("data")):
                put = self._made.execute(
                    "INSERT OR IGNORE INTO head (seq, time, about, data) VALUES (?, ?, ?, ?)",
                    (seq, told["time"], told["about"], told["data"]),
                )
                groups += put.rowcount
            elif seq < -1:
                bad = True
        self._head_whole = rows.whole and not bad
        return held, groups, counted

    def _completed(self, seq: int, body: bytes, leaf: bytes) -> bytes:
        """The body of an entry; empty where it is archived, and no archive at hand has it."""
        return body if body or self._archive is None else self._archive.body(seq, leaf)

    def _runs(self, entries: int) -> None:
        """Whom runs are bound to, as far as it can be read; the rest follows from the entries."""
        rows = self._old_rows("run", ["run_id", "seq", "identity"], ["run_id"])
        for run_id, seq, identity in rows:
            if not (type(run_id) is str and type(seq) is int and type(identity) is bytes):
                continue
            if not 0 <= seq < entries:
                continue
            with contextlib.suppress(EntryError, *_UNREADABLE):
                body = self._body(seq)
                # Of one that is archived there is the row's word alone.
                entry = parse(body).entry if body else None
                if entry is None or (isinstance(entry, RunEntry) and entry.run == run_id):
                    self._made.execute(
                        "INSERT OR IGNORE INTO run VALUES (?, ?, ?)", (run_id, seq, identity)
                    )
        self._runs_whole = rows.whole

    def _refusals(self, entries: int) -> bool:
        """Have calls that were denied for good be denied again. Whether all of them are known."""
        rows = self._old_rows("call", ["key", "decision"], ["key"])
        for key, seq in rows:
            if type(key) is not bytes or type(seq) is not int or not 0 <= seq < entries:
                continue
            with contextlib.suppress(EntryError):
                entry = parse(self._body(seq)).entry
                if (
                    isinstance(entry, DecisionEntry)
                    and entry.key == key.hex()
                    and not _starts(entry)
                ):
                    self._made.execute(
                        "INSERT OR IGNORE INTO call (key, decision) VALUES (?, ?)", (key, seq)
                    )
        return rows.whole

    def _meta(self) -> None:
        story = self._story
        known: dict[object, object] = dict(self._old_rows("meta", ["name", "value"], ["name"]))
        # The index of runs is derived, and begins anew.
        known.pop("indexed", None)
        digest = known.get("digest_key")
        if not isinstance(digest, str):
            digest = Keys.open(folder_of(self._torn), founding=False).digest_id
        known |= {"ledger": story.name, "origin": story.origin, "digest_key": digest}
        if story.vkeys:
            known |= named(story.vkeys)
        for name, value in known.items():
            with contextlib.suppress(*_UNREADABLE):
                self._made.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # Everything else.

    def _others(self) -> None:
        names = self._made.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (name,) in names:
            if name not in _MADE_ANEW and name != "checkpoint":
                self._tables.append(self._copy_of(str(name)))

    def _copy_of(self, table: str) -> Table:
        info = self._made.execute(f"PRAGMA table_info({table})").fetchall()
        columns = [row[1] for row in info]
        key = [row[1] for row in info if row[5]] or ["rowid"]
        if self._old.tables is not None and table in self._old.tables:
            columns = [each for each in columns if each in self._old.tables[table]]
        if self._old.lacks(table):
            return Table(table, self._count(table), whole=True)
        rows = self._old.rows(table, columns, key)
        marks = ", ".join("?" * len(columns))
        into = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
        bad = False
        for row in rows:
            if not _fits(table, row):
                bad = True
                continue
            try:
                self._made.execute(into, row)
            except _UNREADABLE:
                bad = True
        return Table(table, self._count(table), whole=rows.whole and not bad)

    def _old_rows(self, table: str, columns: list[str], key: list[str]) -> "_Rows":
        rows = self._old.rows(table, columns, key)
        rows.whole = self._old.lacks(table)
        return rows

    def _body(self, seq: int) -> bytes:
        row = self._made.execute("SELECT body, leaf FROM entry WHERE seq = ?", (seq,)).fetchone()
        return b"" if row is None else self._completed(seq, *row)

    def _count(self, table: str) -> int:
        [many] = self._made.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        return int(many)


class _Open(NamedTuple):
    """A decision that waits for its outcome."""

    at: int
    tool: str
    boot: str
    key: bytes | None
    approval: str | None
    said: int = -1


class _Story:
    """What follows from the entries, written to the new store as they are heard."""

    def __init__(self, made: sqlite3.Connection) -> None:
        self._made = made
        self.name = ""
        self.origin = ""
        self.vkeys: list[tuple[int, str]] = []
        self.time = 0
        self.open: dict[int, _Open] = {}
        self._unknown: dict[int, _Open] = {}
        self._stopped: dict[tuple[str, str], tuple[str, str | None, int]] = {}

    def hear(self, parsed: Parsed) -> None:
        entry, seq = parsed.entry, parsed.seq
        self.time = parsed.time
        match entry:
            case LedgerEntry():
                self.name, self.origin = entry.name, entry.origin
                if entry.vkey is not None:
                    self.vkeys.append((seq, entry.vkey))
            case KeyEntry():
                self.vkeys.append((seq, entry.vkey))
            case RestartEntry():
                self.origin = entry.origin
                self.vkeys.append((seq, entry.vkey))
            case DecisionEntry() if _starts(entry):
                key = None if entry.key is None else bytes.fromhex(entry.key)
                self.open[seq] = _Open(
                    parsed.time, entry.tool, entry.boot or "salvaged", key, entry.approval
                )
                if key is not None:
                    self._put("INSERT OR REPLACE INTO call VALUES (?, ?, NULL)", key, seq)
            case OutcomeEntry() | RecoveryEntry():
                self._ended(entry.of, seq, entry.status)
            case RunEntry(event="start"):
                self._begun(entry, seq)
            case ControlEntry(event="stopped"):
                about = (entry.by, entry.reason, parsed.time)
                self._stopped[entry.scope, entry.value or ""] = about
            case ControlEntry(event="resumed"):
                self._stopped.pop((entry.scope, entry.value or ""), None)
            case ArchiveEntry():
                self._put(
                    "INSERT OR REPLACE INTO archive VALUES (?, ?, ?)", entry.first, entry.size, seq
                )
            case PolicyEntry():
                self._put(
                    "INSERT OR IGNORE INTO assignment VALUES (?, ?, ?)",
                    *(entry.name, entry.serial, entry.note.encode()),
                )
            case _:
                pass

    def tell(self, held: dict[int, bytes]) -> None:
        """Write what is known only at the end. `held` is what calls count towards."""
        for seq, call in self.open.items():
            self._put(
                "INSERT INTO head (seq, boot, call, approval, held) VALUES (?, ?, ?, ?, ?)",
                *(seq, call.boot, call.key, call.approval, held.get(seq)),
            )
        for seq, call in self._unknown.items():
            self._put(
                "INSERT INTO unknown VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(seq, call.said, call.at, call.tool, call.key, call.approval, held.get(seq)),
            )
        for (scope, value), about in self._stopped.items():
            self._put("INSERT OR IGNORE INTO switch VALUES (?, ?, ?, ?, ?)", scope, value, *about)

    def _ended(self, of: int, seq: int, status: str) -> None:
        call = self.open.pop(of, None) or self._unknown.pop(of, None)
        if call is None:
            return
        if status == "unknown":
            self._unknown[of] = call._replace(said=seq)
        if call.key is not None and status == "not_started":
            self._put("DELETE FROM call WHERE key = ?", call.key)
        elif call.key is not None:
            self._put("UPDATE call SET outcome = ? WHERE key = ?", seq, call.key)

    def _begun(self, entry: RunEntry, seq: int) -> None:
        root = entry.root or entry.run
        if entry.imported is not None:
            identity = canonical.encode(("import", entry.imported))
        else:
            user = entry.user.get("id")
            above = () if entry.parent is None else (entry.parent,)
            whom = (entry.agent, user if isinstance(user, str) else None, entry.tenant)
            identity = canonical.encode((*whom, root, *above))
            # Nobody has seen all of it any more: whoever goes on with it reads it first.
            self._put("INSERT OR IGNORE INTO trail VALUES (?, ?)", root, NOBODY)
        self._put("INSERT OR IGNORE INTO run VALUES (?, ?, ?)", entry.run, seq, identity)
        if root != entry.run:
            self._put("INSERT OR IGNORE INTO family VALUES (?, ?)", root, seq)
            self._put("INSERT OR IGNORE INTO child VALUES (?, ?)", root, entry.run)

    def _put(self, statement: str, *values: object) -> None:
        self._made.execute(statement, values)


def _whole(seq: int, body: bytes, leaf: bytes) -> bool:
    if len(leaf) != 32:
        return False
    # What is archived has no body; its leaf is held against the tree later.
    return not body or (body.startswith(b'{"seq":%d,' % seq) and leaf_hash(body) == leaf)


def _starts(entry: DecisionEntry) -> bool:
    return entry.verdict == "allow" or entry.mode != "enforce"


def _counts(about: object, data: object) -> bool:
    """Whether that is what the controls keep of a group."""
    if not isinstance(about, bytes) or not isinstance(data, bytes):
        return False
    try:
        msgspec.msgpack.decode(about, type=list[tuple[str, str]])
        msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _fits(table: str, row: Iterable[Any]) -> bool:
    """Whether a row is what was written, where it says so itself."""
    values = list(row)
    try:
        if table == "blob":
            return bool(blob_hash(values[1], values[2]) == values[0])
        if table == "version":
            intact(values[0], values[3])
        if table == "approval":
            # What is sealed there has no form of its own; a page of it that is gone is empty.
            return isinstance(values[5], bytes) and (not values[5] or any(values[5]))
    except (StoreError, TypeError, ValueError, RecursionError):
        return False
    return True
