"""Erasure: what was kept of a subject can be read no more, and no proof breaks.

In this order, and a process that dies in between leaves what the next one finishes:

1. One transaction deletes the subject's key and openings, appends the entry that says so, and
   notes that the rest is due.
2. The key that wraps is renewed: a new one in a file of its own, on disk; then one transaction
   that wraps the keys of all other subjects anew and names it; then the old file is overwritten,
   and the new one takes its place. From here on, no copy of the deleted key opens anything,
   wherever it is left: in free pages, in the log, in an old backup of the database.
3. The log's pages are moved into the database, where what was deleted is zeros, and the log is
   cut. Readers can be in the way; then it is done at the next opening of the store.

Commitments stay where they are.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from saferun import files
from saferun.errors import StoreError
from saferun.ledger import ErasureEntry, encode
from saferun.store import sqlite, vault
from saferun.store.transaction import Transaction
from saferun.store.versions import vouch

if TYPE_CHECKING:
    from saferun.store.store import Store

DUE = "erasing"
"""Where the database says what of an erasure is still due."""

Due: TypeAlias = Literal["key", "log"]

PATIENCE = 10.0
"""Seconds to wait for readers that are in the way of the log's end."""

AT_ONCE = 1_000
"""Keys that are wrapped anew between two words on how far it is."""

log = logging.getLogger("saferun")


class Erased(msgspec.Struct, frozen=True):
    """A subject that was erased: how many values could be opened, and the entry that says so."""

    subject: bytes
    openings: int
    seq: int


_OVER = "PRAGMA secure_delete = ON"
"""For as long as the connection lasts: what it deletes is overwritten with zeros."""

EVERYBODY = "*"
"""The subject of an erasure that leaves nothing of anybody."""


class Erase(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the keys and openings of subjects, with an entry for each of whom any were kept.

    Without `subjects`, those of everybody, with one entry for all: it needs no key, and begins
    anew where the one that wraps is lost. `credential` is the keyed digest of the secret of the
    person by whom it is. Raises WrongSecretError where it is not theirs.
    """

    subjects: Sequence[bytes] | None
    by: str
    credential: bytes
    reason: str

    def apply(self, tx: Transaction) -> list[Erased]:
        vouch(tx, self.by, self.credential)
        if self.subjects is None:
            erased = self._everybody(tx)
        else:
            found = (self._one(tx, subject) for subject in dict.fromkeys(self.subjects))
            erased = [each for each in found if each is not None]
        if erased:
            tx.write("INSERT OR REPLACE INTO meta VALUES (?, 'key')", DUE)
        return erased

    def _one(self, tx: Transaction, subject: bytes) -> Erased | None:
        openings, keys = _kept(tx, subject)
        if not (openings or keys):
            return None
        tx.write(_OVER)
        tx.write("DELETE FROM opening WHERE subject = ?", subject)
        tx.write("DELETE FROM subject WHERE subject = ?", subject)
        return self._told(tx, subject, subject.hex(), openings)

    def _everybody(self, tx: Transaction) -> list[Erased]:
        openings, keys = _count(tx, "", ())
        if not (openings or keys):
            return []
        tx.write(_OVER)
        tx.write("DELETE FROM opening")
        tx.write("DELETE FROM subject")
        tx.write("DELETE FROM meta WHERE name = ?", vault.KEY)
        return [self._told(tx, b"", EVERYBODY, openings)]

    def _told(self, tx: Transaction, subject: bytes, named: str, openings: int) -> Erased:
        entry = ErasureEntry(subject=named, openings=openings, by=self.by, reason=self.reason)
        return Erased(subject, openings, tx.append(encode(entry)))


class Kept(msgspec.Struct, frozen=True):
    """How many values are kept of each subject, or of everybody. Writes nothing."""

    subjects: Sequence[bytes] | None

    def apply(self, tx: Transaction) -> list[int]:
        if self.subjects is None:
            return [_count(tx, "", ())[0]]
        return [_kept(tx, subject)[0] for subject in self.subjects]


def _kept(tx: Transaction, subject: bytes) -> tuple[int, int]:
    return _count(tx, "WHERE subject = ?", (subject,))


def _count(tx: Transaction, which: str, values: tuple[bytes, ...]) -> tuple[int, int]:
    row = tx.read(
        f"SELECT (SELECT count(*) FROM opening {which}),"  # noqa: S608 - constants alone
        f" (SELECT count(*) FROM subject {which})",
        *(values * 2),
    )
    return msgspec.convert(row, tuple[int, int])


def erase(
    store: "Store",
    subjects: Sequence[str] | None,
    *,
    tenant: str | None = None,
    by: str,
    credential: bytes,
    reason: str,
    patience: float = PATIENCE,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Erased], Due | None]:
    """Erase all that was kept of some people, by whatever name the calls have them.

    Args:
        store: where it is kept.
        subjects: the ids of users, or the values of the arguments that policies call `subject`;
            None for everybody, in all tenants.
        tenant: the tenant in whose runs; None for runs without one.
        by: the person who answers for it, and `credential` the keyed digest of their secret.
        credential: see `by`.
        reason: why, for people; it stands in the ledger.
        patience: seconds to wait for readers that are in the way.
        progress: told how many keys of other subjects are wrapped anew.

    Returns:
        What was erased, and what is still due: it is done at the next opening of the store.

    Raises:
        WrongSecretError: the secret is not that person's.
        StoreError: the store cannot be used, or the key of its subjects is missing. Where it
            says that something is deleted, that stays so, and the next opening goes on.

    """
    ids = None if subjects is None else [store.subject(tenant, each) for each in subjects]
    # What was decided before goes first: nothing of them may come after.
    store.flush()
    erased = store.commit(Erase(subjects=ids, by=by, credential=credential, reason=reason))
    try:
        return erased, finish(store, patience=patience, progress=progress)
    except StoreError as problem:
        raise StoreError(
            f"What was kept is deleted, and the rest of the erasure is still due: {problem}"
        ) from None


def finish(
    store: "Store",
    *,
    patience: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> Due | None:
    """Do what is still due of erasures, and say what is left. Raises StoreError."""
    with sqlite.explained(store.path):
        with store.alone() as connection:
            due = _due(connection)
            if due is None:
                return None
            _replace(connection, store.vault)
            if due == "key":
                _renew(connection, store, progress or _unheard)
        until = time.monotonic() + patience
        while not _cut(store):
            if time.monotonic() >= until:
                return "log"
            time.sleep(0.02)
    return None


def resume(store: "Store") -> None:
    """Do what an erasure has left, as the store is opened; trouble is told and waits."""
    try:
        finish(store)
    except StoreError as problem:
        log.warning("saferun: an erasure is not finished yet: %s", problem)


def _unheard(_: int) -> None:
    pass


def _due(connection: sqlite3.Connection) -> Due | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (DUE,)).fetchone()
    return None if row is None else msgspec.convert(row[0], Due)


def _name(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (vault.KEY,)).fetchone()
    return None if row is None else str(row[0])


def _replace(connection: sqlite3.Connection, kept: vault.Vault) -> None:
    """Put the new key in the place of the old one, if it is the one that wraps by now."""
    for draft in kept.next.parent.glob(f"{kept.next.name}.*"):
        vault.wipe(draft)
        draft.unlink()
    key = vault.read(kept.next)
    if key is not None and vault.named(key) == _name(connection):
        vault.wipe(kept.file)
        kept.next.replace(kept.file)
    elif kept.next.exists():
        # A renewal that never came to its commit: nothing is wrapped by this one.
        vault.wipe(kept.next)
        kept.next.unlink()
    else:
        return
    files.sync(kept.file.parent)


def _renew(connection: sqlite3.Connection, store: "Store", progress: Callable[[int], None]) -> None:
    kept, name = store.vault, _name(connection)
    if name is None:
        # Nothing is wrapped any more; whoever needs a key begins with a new one.
        vault.wipe(kept.file)
        kept.file.unlink(missing_ok=True)
        files.sync(kept.file.parent)
    else:
        old = kept.wrapping(name)
        key, new = vault.fresh()
        vault.put(kept.next, key)
    # The old key is destroyed after this commit, so this commit must be on disk.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_OVER)
    try:
        with sqlite.transaction(connection):
            if name is not None:
                _wrap_all(connection, lambda *row: vault.rewrapped(old, new, *row), progress)
                connection.execute(
                    "UPDATE meta SET value = ? WHERE name = ?", (vault.named(key), vault.KEY)
                )
            connection.execute("UPDATE meta SET value = 'log' WHERE name = ?", (DUE,))
    finally:
        if store.durability == "process":
            connection.execute("PRAGMA synchronous = NORMAL")
    _replace(connection, kept)


def _wrap_all(
    connection: sqlite3.Connection,
    wrap: Callable[[bytes, bytes], bytes],
    progress: Callable[[int], None],
) -> None:
    done, last = 0, b""
    while page := connection.execute(
        "SELECT subject, key FROM subject WHERE subject > ? ORDER BY subject LIMIT ?",
        (last, AT_ONCE),
    ).fetchall():
        connection.executemany(
            "UPDATE subject SET key = ? WHERE subject = ?",
            [(wrap(subject, wrapped), subject) for subject, wrapped in page],
        )
        done, last = done + len(page), page[-1][0]
        progress(done)


def _cut(store: "Store") -> bool:
    """Move the log's pages into the database and cut the log, unless somebody is reading it."""
    with store.alone() as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                connection.execute("DELETE FROM meta WHERE name = ? AND value = 'log'", (DUE,))
        except sqlite3.OperationalError:
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {sqlite.BUSY}")
    return not busy
