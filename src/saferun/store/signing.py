"""Checkpoints: what the ledger is at one moment, signed, and never two that contradict each other.

1. The ledger is held against the high-water mark, its own last checkpoint: the frontier that was
   stored with that must give the root that its note states, and the entries that came since,
   hashed anew from their bytes, must lead from there to the head's frontier. What they say was
   archived must be signed. So it takes as long as there is new, and where anything is missing
   or changed nothing is signed.
2. What is to be signed is synced: a store with `process` durability may have answered for
   entries that are not on disk yet.
3. It is signed, outside of every lock: a signer elsewhere may take its time.
4. The note is left as the new high-water mark, and then committed: before anybody can have seen
   a checkpoint, the mark vouches for it.

A kill in between leaves the checkpoint before or the checkpoint after.

The high-water mark, `keys/LEDGER.checkpoint`, is the newest signed note once more, outside of
the database. A database may be an old copy (a backup that was restored, a disk that lost what
it had promised, a machine that took over) and cannot know it; the mark does. A store that is
behind its mark, or another than it, does not open, so nothing is decided on a history that has
lost its end, until a person has settled it: see `saferun ledger restart`.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from saferun.errors import SafeRunError, StoreError
from saferun.ledger import (
    ArchiveEntry,
    Checkpoint,
    EntryError,
    Frontier,
    NoteError,
    Signs,
    TreeError,
    Verifier,
    archived_by,
    leaf_hash,
    open_checkpoint,
    parse,
    sign_checkpoint,
)
from saferun.ledger.note import MAX_NOTE, signatures
from saferun.store import sqlite
from saferun.store.custody import PATIENCE
from saferun.store.keys import put
from saferun.store.locks import FileLock
from saferun.store.rows import BODY, LEAF, NOTE, head

ENTRIES = 1_000
"""Entries after which a checkpoint is due by itself."""

PAUSE = 1.0
"""Seconds between two checkpoints that are made by themselves."""

GRACE = 2.0
"""Seconds that a process which ends waits for a checkpoint that is under way."""

_MAX_STATED = 1 << 20
"""Bytes of what a store says of itself; the keys that it named are the longest of it."""

_PAGE = 1_000
_NEVER = 1 << 62

_ARCHIVE = b'"kind":"archive"'
_BEGINNING = 80
"""Bytes in which the kind of an entry stands, whatever its number and time."""

log = logging.getLogger("saferun")

Within: TypeAlias = Callable[[], AbstractContextManager[object]]


class Ledger(NamedTuple):
    """What the database says of its ledger: `vkeys` are the keys it has named, the newest last.

    `vkeys` is empty for one that was begun before format 4.
    """

    name: str
    origin: str
    vkeys: tuple[tuple[int, str], ...]

    @property
    def vkey(self) -> str | None:
        return self.vkeys[-1][1] if self.vkeys else None

    @property
    def former(self) -> set[str]:
        """The names under which it went before a restart."""
        return {vkey.partition("+")[0] for _, vkey in self.vkeys} - {self.origin}


def stated(connection: sqlite3.Connection) -> dict[str, str]:
    """What a database says of itself, by name: texts, and no more than a store has of them."""
    found = connection.execute(
        "SELECT name, CAST(value AS BLOB) FROM meta WHERE typeof(value) = 'text' LIMIT 1000"
    )
    known = {}
    with contextlib.suppress(sqlite3.DataError, sqlite3.OperationalError, UnicodeDecodeError):
        for name, value in found:
            if isinstance(name, str) and len(value) <= _MAX_STATED:
                known[name] = value.decode()
    return known


def ledger_of(connection: sqlite3.Connection) -> Ledger:
    """The ledger in a database. Raises StoreError where it does not say."""
    known = stated(connection)
    try:
        vkeys = msgspec.json.decode(known.get("vkeys", "[]"), type=tuple[tuple[int, str], ...])
        return msgspec.convert((known["ledger"], known["origin"], vkeys), Ledger)
    except (KeyError, msgspec.MsgspecError, TypeError):
        raise StoreError("What the store says of its ledger was changed; see a backup.") from None


def named(vkeys: Sequence[tuple[int, str]]) -> list[tuple[str, str]]:
    """The rows of `meta` that say which keys a ledger has named, and in which entries."""
    return [("vkey", vkeys[-1][1]), ("vkeys", msgspec.json.encode(vkeys).decode())]


def new_origin(ledger: str) -> str:
    """A name under which no ledger was ever signed."""
    return f"saferun/{ledger}/{secrets.token_hex(8)}"


def folder_of(path: Path) -> Path:
    """Where the keys of a store lie, and its high-water mark."""
    return path.parent / "keys"


# The high-water mark.


def mark_file(path: Path, ledger: str) -> Path:
    # The name comes from the database, so it may be no more than the name of a file.
    return folder_of(path) / f"{Path(ledger).name}.checkpoint"


class Mark(NamedTuple):
    """The newest checkpoint that was ever signed here. Its signature was not looked at."""

    checkpoint: Checkpoint
    note: bytes


def marked(path: Path, ledger: str) -> Mark | None:
    """The high-water mark of a store, None where nothing was signed yet. Raises StoreError."""
    file = mark_file(path, ledger)
    try:
        with file.open("rb") as kept:
            note = kept.read(MAX_NOTE)
        return Mark(Checkpoint.parse(note[: note.rfind(b"\n\n") + 1].decode()), note)
    except FileNotFoundError:
        return None
    except (NoteError, UnicodeDecodeError):
        why = "holds no checkpoint"
    except OSError as problem:
        why = f"cannot be read ({problem.strerror})"
    raise StoreError(
        f"{file} {why}, so nobody knows whether the store has lost its end; put the newest "
        "checkpoint that you have kept in its place."
    )


def hold(connection: sqlite3.Connection, path: Path) -> None:
    """Hold a store against its high-water mark.

    Raises StoreError where the mark vouches for more entries than there are, or for others.
    """
    ledger = ledger_of(connection)
    mark = marked(path, ledger.name)
    if mark is None or mark.checkpoint.origin in ledger.former:
        # In the latter case the ledger has gone on under another name since, and says so.
        return
    size, vouched = head(connection, path).size, mark.checkpoint
    if vouched.origin != ledger.origin:
        raise StoreError(
            f"{mark_file(path, ledger.name)} vouches for {vouched.size:,} entries of the ledger "
            f"{vouched.origin}, and {path} holds {size:,} of {ledger.origin}; put the store that "
            "belongs to it back, or keep each store in a folder of its own."
        )
    if size < vouched.size:
        raise _behind(path, ledger.name, vouched.size, size, "has")
    row = connection.execute(
        f"SELECT {NOTE} FROM checkpoint WHERE size = ?",  # noqa: S608 - a column of ours
        (vouched.size,),
    ).fetchone()
    if row is not None and row[0] == mark.note:
        return
    # Killed between mark and commit; or a copy from before the mark that has grown on its own.
    try:
        same = _tree(connection, vouched.size).root() == vouched.root
    except (TreeError, TypeError):
        same = False
    if not same:
        raise _behind(path, ledger.name, vouched.size, size, "has others among its")


def _behind(path: Path, ledger: str, vouched: int, size: int, has: str) -> StoreError:
    return StoreError(
        f"{path} has lost its end: its last checkpoint, in {mark_file(path, ledger)}, vouches for "
        f"{vouched:,} entries, and it {has} {size:,}; put the newest store back, or run saferun "
        "ledger restart to go on with the loss recorded."
    )


# One checkpoint.


class _Draft(NamedTuple):
    """What is to be signed, or `note` where that was signed already."""

    ledger: Ledger
    tree: Frontier
    note: bytes | None


def checkpoint(path: Path, signer: Signs, within: Within = nullcontext) -> bytes:
    """A signed note on the ledger as it is now: the newest one, or a new one where it has grown.

    `within` is a block that everything runs in which has the file open, and nothing else.

    Raises StoreError where the ledger is behind its mark, or no longer holds what its own last
    checkpoint vouched for, or where `signer` is not its key.
    """
    with within(), sqlite.explained(path), _open(path) as connection:
        draft = _draft(connection, path, signer)
        if draft.note is None:
            sync_log(path)
    note = draft.note
    if note is None:
        tree = draft.tree
        note = sign_checkpoint(Checkpoint(signer.name, tree.size, tree.root()), signer)
    with within(), sqlite.explained(path), alone(path, "signing"), _open(path) as connection:
        _leave(path, draft.ledger, Mark(Checkpoint(signer.name, draft.tree.size, b""), note))
        if draft.note is None:
            _commit(connection, path, draft.tree, note)
    return note


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        # Opened for writing, it would be made.
        raise StoreError(f"There is no store at {path} any more.")
    connection = sqlite.connect(path, "full")
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """A block that one process at a time is in: `lock` keeps out whoever writes the store."""
    lock = FileLock(path.with_name(f"{path.name}.{what}"))
    lock.acquire()
    try:
        yield
    finally:
        # Said, and not only closed: a child that was forked meanwhile has the file open too.
        lock.release()
        lock.close()


def _draft(connection: sqlite3.Connection, path: Path, signer: Signs) -> _Draft:
    (newest,) = connection.execute("SELECT max(size) FROM checkpoint").fetchone()
    hold(connection, path)
    # Key and head of one moment: from the entry that names a key on, that key signs.
    connection.execute("BEGIN")
    ledger = ledger_of(connection)
    encoded = head(connection, path).frontier
    connection.execute("COMMIT")
    if ledger.origin != signer.name or (ledger.vkey or signer.vkey()) != signer.vkey():
        raise StoreError(
            f"The key {signer.vkey()} is not that of the ledger {ledger.origin} now; nothing was "
            "signed. Where it was rotated just now, try again."
        )
    try:
        tree = Frontier.decode(encoded)
    except (TreeError, TypeError):
        raise _changed(path, "its head is none that a store writes") from None
    keys = [Verifier(vkey) for _, vkey in ledger.vkeys] or [Verifier(signer.vkey())]
    last = _last(connection, path, marked(path, ledger.name), ledger.origin, newest, keys)
    if last.note is not None and last.tree.encode() == tree.encode():
        return _Draft(ledger, tree, last.note)
    grown, known = last.tree, [*last.keys, Verifier(signer.vkey())]
    for seq, body in _bodies(connection, grown.size, tree.size):
        _hold_archived(path, seq, body, known if ledger.vkeys else None)
        grown.append(leaf_hash(body))
    if grown.encode() != tree.encode():
        raise _changed(
            path,
            f"its entries since the {last.size:,} that its last checkpoint vouches for do not lead "
            f"to the {tree.size:,} that its head counts: some are missing or were changed",
        )
    return _Draft(ledger, tree, None)


class _Last(NamedTuple):
    """The last checkpoint: the tree at its `size`, the note, and which keys have signed that.

    `tree` grows from there. `note` is None where it is not in the database yet.
    """

    tree: Frontier
    size: int
    note: bytes | None
    keys: Sequence[Verifier]


def _last(
    connection: sqlite3.Connection,
    path: Path,
    mark: Mark | None,
    origin: str,
    newest: int | None,
    keys: Sequence[Verifier],
) -> _Last:
    """The last checkpoint, as it states itself; `newest` was kept before the mark was read.

    That is the mark. The database may say more of itself, and nobody has ever signed it.
    """
    outside = mark if mark is not None and mark.checkpoint.origin == origin else None
    if outside is None and newest is None:
        return _Last(Frontier(), 0, None, ())
    # Without a mark of this name, a restart was killed, or the mark was taken away.
    size = newest if outside is None else outside.checkpoint.size
    if outside is not None and (newest or 0) > outside.checkpoint.size:
        raise _changed(path, "it holds a checkpoint that is newer than the last one signed")
    row = connection.execute(
        f"SELECT {NOTE}, frontier FROM checkpoint WHERE size = ?",  # noqa: S608
        (size,),
    ).fetchone()
    # A kill may have come between mark and commit.
    kept: Any
    kept, frontier = row or (None, None)
    note = kept if outside is None else outside.note
    # Its name may be one of before a restart, so any of the ledger's own may stand there.
    try:
        stated = open_checkpoint(note, keys)
        agrees = row is None or kept == note or open_checkpoint(kept, keys) == stated
        # Before format 4 it was not kept.
        tree = Frontier.decode(frontier) if frontier is not None else _tree(connection, stated.size)
        signed = [key for key, _ in signatures(note, keys)[1]]
    except (NoteError, TreeError, TypeError, AttributeError):
        agrees = False
    if not agrees:
        raise _changed(path, "its last checkpoint is none that it has signed")
    if (tree.size, tree.root()) != (stated.size, stated.root):
        raise _changed(
            path,
            f"it does not hold the {stated.size:,} entries that its last checkpoint vouches for: "
            "some are missing or were changed",
        )
    return _Last(tree, stated.size, kept, signed)


def _changed(path: Path, what: str) -> StoreError:
    return StoreError(f"{path}: {what}. Nothing was signed; run saferun ledger verify.")


def _tree(connection: sqlite3.Connection, size: int) -> Frontier:
    """The tree over so many entries, from the last checkpoint at or before it that has one."""
    row = connection.execute(
        "SELECT frontier FROM checkpoint WHERE size <= ? AND frontier IS NOT NULL"
        " ORDER BY size DESC LIMIT 1",
        (size,),
    ).fetchone()
    tree = Frontier() if row is None else Frontier.decode(row[0])
    for leaf in _leaves(connection, tree.size, size):
        tree.append(leaf)
    return tree


def regrown(connection: sqlite3.Connection, size: int) -> tuple[Frontier, Frontier, object]:
    """The trees over the first `size` entries and over all, read anew from the first to the last.

    The third is the frontier that the head has. They are shorter where an entry is missing.
    """
    count, frontier = connection.execute(
        "SELECT size, frontier FROM head WHERE seq = -1"
    ).fetchone()
    tree = Frontier()
    for leaf in _leaves(connection, 0, size):
        tree.append(leaf)
    at = tree.copy()
    for leaf in _leaves(connection, size, count):
        tree.append(leaf)
    return at, tree, frontier


def _hold_archived(path: Path, seq: int, body: bytes, keys: Sequence[Verifier] | None) -> None:
    """Raises StoreError where an entry says without the ledger's key that others were archived."""
    if _ARCHIVE not in body[:_BEGINNING]:
        return
    try:
        entry = parse(body).entry
    except EntryError:
        raise _changed(path, f"entry {seq} is none") from None
    if isinstance(entry, ArchiveEntry) and archived_by(entry, keys) is None:
        raise _changed(
            path, f"entry {seq} says what was archived, and the ledger's key has not signed that"
        )


def _bodies(connection: sqlite3.Connection, first: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Entries that no checkpoint vouches for yet. Ends early where one is missing or is empty.

    Nothing is archived before a checkpoint vouches for it.
    """
    at = first
    while at < size:
        page = connection.execute(
            f"SELECT seq, {BODY} FROM entry"  # noqa: S608 - a column of ours
            " WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            (at, size, _PAGE),
        ).fetchall()
        for seq, body in page:
            if seq != at or not isinstance(body, bytes) or not body:
                return
            yield seq, body
            at += 1
        if not page:
            return


def _leaves(connection: sqlite3.Connection, first: int, size: int) -> Iterator[bytes]:
    """The leaves of entries, hashed anew. Ends early where one is missing or is no entry."""
    at = first
    while at < size:
        page = connection.execute(
            f"SELECT seq, {BODY}, {LEAF} FROM entry"  # noqa: S608 - columns of ours
            " WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            (at, size, _PAGE),
        ).fetchall()
        for seq, body, leaf in page:
            if seq != at or not isinstance(body, bytes):
                # A rewritten row may hold any type that SQLite has; it ends what is right.
                return
            # One whose body lies in an archive has its leaf alone, and that was held against a
            # checkpoint before the body left.
            found = leaf if body == b"" else leaf_hash(body)
            if not isinstance(found, bytes) or len(found) != 32:
                return
            yield found
            at += 1
        if not page:
            return


def sync_log(path: Path) -> None:
    """Have all on disk that a reader of the database sees.

    That is in the log, or else was synced before the log began anew. Closing the log drops no
    lock: SQLite's lie on the database and on its shared memory.
    """
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path.with_name(path.name + "-wal"), os.O_RDWR | os.O_CLOEXEC)
        try:
            if sys.platform == "darwin":
                # Without it, a sync on macOS stops at the drive's cache.
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            else:
                os.fdatasync(fd)
        finally:
            os.close(fd)


def _commit(connection: sqlite3.Connection, path: Path, tree: Frontier, note: bytes) -> None:
    with alone(path, "lock"), sqlite.transaction(connection):
        # Somebody else may have signed the very same meanwhile.
        connection.execute(
            "INSERT OR IGNORE INTO checkpoint (size, note, frontier) VALUES (?, ?, ?)",
            (tree.size, note, tree.encode()),
        )


def _leave(path: Path, ledger: Ledger, new: Mark) -> None:
    """Leave a mark that is newer than the one that is there. Called by one at a time."""
    try:
        old = marked(path, ledger.name)
    except StoreError:
        return
    known = {ledger.origin, *ledger.former}
    if old is None or (
        old.checkpoint.origin in known
        and (old.checkpoint.origin != ledger.origin or old.checkpoint.size < new.checkpoint.size)
    ):
        put(mark_file(path, ledger.name), new.note)


# Checkpoints that are made by themselves.


class Checkpoints:
    """The checkpoints that one process makes of a store as that grows, and when it ends.

    In a thread of its own, which lives for one checkpoint: what signs is slow to load, a signer
    elsewhere may take seconds, and neither calls nor the keeper of the store may wait for it.
    """

    def __init__(
        self, path: Path, signer: Callable[[float], Signs | None] | None, within: Within
    ) -> None:
        self._path = path
        self._signer = signer
        self._within = within
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._starting = threading.Lock()
        self.due = -1
        """The size of the ledger from which on `begin` is to be called, -1 until it is known."""

    def expect(self, connection: sqlite3.Connection) -> None:
        """Find out when the first one is due."""
        if self.due < 0:
            (newest,) = connection.execute("SELECT max(size) FROM checkpoint").fetchone()
            self.due = _NEVER if self._signer is None else (newest or 0) + ENTRIES

    def begin(self) -> None:
        """Make a checkpoint soon, if one is due. Called off the path of calls."""
        with self._starting:
            if self._over.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self.due = _NEVER
            self._thread = threading.Thread(target=self._make, name="saferun-signing", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Make the last one of this process, in its own thread. Never raises."""
        with self._starting:
            self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(GRACE)
        self._sign(GRACE)

    def _make(self) -> None:
        while not self._over.is_set():
            try:
                size, newest = self._sizes()
            except (StoreError, sqlite3.Error, OSError):
                # What is wrong with the file is for the next commit to report.
                break
            if size < newest + ENTRIES:
                self.due = newest + ENTRIES
                return
            # The pause is that of all processes, and the mark says when anybody made one last.
            if self._over.wait(self._pause()):
                return
            if self._pause() == 0 and not self._sign():
                break
        if self._signer is None:
            return
        # Tried again after as many entries as a checkpoint would have been for.
        with contextlib.suppress(StoreError, sqlite3.Error, OSError):
            self.due = self._sizes()[0] + ENTRIES

    def _sizes(self) -> tuple[int, int]:
        """How many entries there are, and how many the newest checkpoint vouches for."""
        with self._within(), sqlite.explained(self._path):
            connection = sqlite.connect(self._path, "full", write=False, forks_wait=False)
            try:
                size, newest, self._name = connection.execute(
                    "SELECT size, coalesce((SELECT max(size) FROM checkpoint), 0),"
                    " (SELECT value FROM meta WHERE name = 'ledger') FROM head WHERE seq = -1"
                ).fetchone()
            finally:
                connection.close()
        return size, newest

    def _pause(self) -> float:
        with contextlib.suppress(OSError):
            # The host's clock may have been set: then the pause is only as long as it can be.
            age = time.time() - mark_file(self._path, self._name).stat().st_mtime
            return PAUSE - age if 0 <= age < PAUSE else 0.0
        return 0.0

    def _sign(self, patience: float = PATIENCE) -> bool:
        """Whether a checkpoint was made. Trouble is logged, and is never a call's trouble."""
        if self._signer is None:
            return False
        try:
            signer = self._signer(patience)
            if signer is None:
                log.info("saferun: no checkpoint of %s: its signing key is not here", self._path)
                self._signer = None
                return False
            checkpoint(self._path, signer, self._within)
        except SafeRunError as problem:
            log.warning("saferun: no checkpoint of %s was made: %s", self._path, problem)
            return False
        except (sqlite3.Error, OSError, RuntimeError) as problem:
            log.warning("saferun: no checkpoint of %s was made (%s)", self._path, problem)
            return False
        return True
