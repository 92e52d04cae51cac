"""An excerpt of a ledger, in a store's form: some of its entries under their own numbers.

Whatever reads a store reads it: runs, frames, the search index, whether an entry is vouched for.
Nothing writes to it: its file says in its header that it is no store of anybody's, and the gate
does not open it. What is left out is there by roots of subtrees, so that each entry that is there
can still be held against the root that was signed.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from saferun.errors import StoreError
from saferun.ledger.tree import HASH_BYTES, leaf_hash, node_hash
from saferun.store import sqlite
from saferun.store.rows import LEAF
from saferun.store.signing import named

NODES = 50_000
"""Nodes of an excerpt that are kept at hand."""

Row = tuple[object, ...]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What an excerpt says of its ledger.

    `vkeys` are the keys that it has named, each with its entry, and `frontier` the right edge of
    the tree at `size`. `note` is the signed checkpoint of that size, if there is one; `time` that
    of the newest entry that is there, in microseconds since 1970, UTC.
    """

    name: str
    origin: str
    vkeys: tuple[tuple[int, str], ...]
    size: int
    time: int
    frontier: bytes
    note: bytes | None


def row(seq: int, body: bytes) -> tuple[int, bytes, bytes]:
    """An entry as a store keeps it, with the leaf that its bytes give."""
    return seq, body, leaf_hash(body)


class Writing:
    """An excerpt as it is put together. Nobody can open it before it is `finish`ed.

    Raises StoreError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with sqlite.explained(path):
            self._connection = sqlite.connect(path, "process")
            sqlite.migrate(self._connection)
            # Nothing of it is worth keeping should this process end before it does.
            for pragma in ("journal_mode = OFF", "synchronous = OFF"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute("BEGIN")

    def entries(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Entries as `row` has them."""
        self._many("INSERT INTO entry VALUES (?, ?, ?)", rows)

    def nodes(self, rows: Iterable[tuple[int, int, bytes]]) -> None:
        """Level, place and root of subtrees. On level 0 it is the true leaf of a redacted entry."""
        self._many("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", rows)

    def landmarks(self, seqs: Iterable[int]) -> None:
        """The entries that say under which name and key the ledger went on."""
        self._many("INSERT INTO landmark VALUES (?)", ((seq,) for seq in seqs))

    def run(self, run_id: str, seq: int, identity: bytes) -> None:
        """A run, the entry that it begins with, and what it is bound to."""
        self._many("INSERT OR IGNORE INTO run VALUES (?, ?, ?)", [(run_id, seq, identity)])

    def child(self, root: str, run_id: str) -> None:
        self._many("INSERT OR IGNORE INTO child VALUES (?, ?)", [(root, run_id)])

    def blob(self, name: bytes, salt: bytes, data: bytes) -> None:
        self._many("INSERT INTO blob VALUES (?, ?, ?)", [(name, salt, data)])

    def version(self, version: str, name: str, data: bytes) -> None:
        self._many("INSERT INTO version VALUES (?, ?, ?, ?)", [(version, name, 0, data)])

    def finish(self, about: About) -> None:
        """Say whose it is, and have it read from now on, and never written."""
        vkeys = named(about.vkeys) if about.vkeys else []
        self._many(
            "INSERT INTO meta VALUES (?, ?)",
            [("ledger", about.name), ("origin", about.origin), *vkeys],
        )
        self._many(
            "INSERT INTO head (seq, size, time, frontier) VALUES (-1, ?, ?, ?)",
            [(about.size, about.time, about.frontier)],
        )
        if about.note is not None:
            self._many(
                "INSERT INTO checkpoint VALUES (?, ?, ?)",
                [(about.size, about.note, about.frontier)],
            )
        with sqlite.explained(self._path):
            self._connection.execute("COMMIT")
            self._connection.execute(f"PRAGMA application_id = {sqlite.EXCERPT}")
            self._connection.close()
            self._path.chmod(0o400)

    def close(self) -> None:
        """Leave off; what was written so far is for nobody."""
        self._connection.close()

    def _many(self, statement: str, rows: Iterable[Row]) -> None:
        with sqlite.explained(self._path):
            self._connection.executemany(statement, rows)


class Tree:
    """The roots of perfect subtrees of an excerpt's ledger, as `ledger.Nodes` wants them.

    Those that stand for what is left out, and those that contain an entry that is there: no proof
    of such an entry needs another. Raises StoreError for any other.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._known = lru_cache(NODES)(self._found)

    def __call__(self, level: int, place: int) -> bytes:
        with sqlite.explained(self._path):
            return self._known(level, place)

    def _found(self, level: int, place: int) -> bytes:
        stated = self._one("SELECT hash FROM node WHERE level = ? AND place = ?", level, place)
        if stated is not None:
            return stated
        if level > 0:
            return node_hash(*(self._known(level - 1, 2 * place + side) for side in (0, 1)))
        leaf = self._one(f"SELECT {LEAF} FROM entry WHERE seq = ?", place)  # noqa: S608
        if leaf is None:
            raise StoreError(f"Entry {place} was left out of {self._path}, and all around it.")
        return leaf

    def _one(self, statement: str, *values: int) -> bytes | None:
        row = self._connection.execute(statement, values).fetchone()
        if row is None or type(row[0]) is not bytes or len(row[0]) != HASH_BYTES:
            return None
        return bytes(row[0])


def is_redacted(connection: sqlite3.Connection, seq: int) -> bool:
    """Whether an entry of an excerpt is there in other words than the ledger has."""
    found = "SELECT 1 FROM node WHERE level = 0 AND place = ?"
    there = "SELECT 1 FROM entry WHERE seq = ?"
    return all(connection.execute(each, (seq,)).fetchone() for each in (found, there))
