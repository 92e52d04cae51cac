"""The tree's inner nodes, kept so that a proof reads hundreds of hashes and not a million.

    level 24   one hash for 16 million entries
    level 16   one for 65,536
    level 8    one for 256
    level 0    the leaves, which stand beside the entries

Derived from the leaves and kept off the path of calls, so they are behind until somebody
asks for a proof. Nothing trusts them: whoever makes a proof holds it against the root that
it is for, and has them made anew where it does not fit. The numbers of the few entries that
say under which name and key a ledger goes on, or up to where it was archived, are noted in
the same pass: who follows the keys need not read a million entries to find three.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from saferun.errors import StoreError
from saferun.ledger import Frontier
from saferun.ledger.entry import MAX_BODY
from saferun.ledger.tree import HASH_BYTES
from saferun.store import sqlite
from saferun.store.locks import FileLock
from saferun.store.rows import LEAF, head

STEP = 8
"""Levels from one that is kept to the next."""

_WIDTH = 1 << STEP
_BLOCKS = 16
"""Nodes of level 8 that are made at a time: 4,096 entries, read in some milliseconds."""

_KINDS = tuple(f'"kind":"{kind}"'.encode() for kind in ("key", "restart", "archive"))
_NOTED = (
    "SELECT seq FROM (SELECT seq, substr(body, 1, 96) AS start FROM entry"  # noqa: S608
    f" WHERE seq >= ? AND seq < ? AND typeof(body) = 'blob' AND length(body) <= {MAX_BODY})"
    " WHERE instr(start, ?) > 0 OR instr(start, ?) > 0 OR instr(start, ?) > 0 ORDER BY seq"
)
"""A body begins with its number, its time and its kind, and they take fewer bytes than that."""


class Tree:
    """The roots of perfect subtrees of one store's ledger, as `ledger.Nodes` wants them.

    `kept=False` makes them from the leaves alone, for when those that are kept are in doubt.
    Raises StoreError where a leaf is missing, or is none.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, kept: bool = True) -> None:
        self._connection = connection
        self._path = path
        self._kept = kept and connection.execute("PRAGMA user_version").fetchone()[0] >= 4

    def __call__(self, level: int, place: int) -> bytes:
        with sqlite.explained(self._path):
            return self._node(level, place)

    def _node(self, level: int, place: int) -> bytes:
        below = level // STEP * STEP
        if below == level and level:
            found = self._kept_hashes(level, place, place + 1)
            if place in found:
                return found[place]
            below -= STEP
        width = 1 << (level - below)
        tree = Frontier()
        for node in self._hashes(below, place * width, (place + 1) * width):
            tree.append(node)
        return tree.root()

    def _hashes(self, level: int, first: int, stop: int) -> Iterator[bytes]:
        if level == 0:
            yield from self._leaves(first, stop)
            return
        found = self._kept_hashes(level, first, stop)
        for place in range(first, stop):
            yield found[place] if place in found else self._node(level, place)

    def _leaves(self, first: int, stop: int) -> Iterator[bytes]:
        found = self._connection.execute(
            f"SELECT seq, {LEAF} FROM entry"  # noqa: S608 - a column of ours
            " WHERE seq >= ? AND seq < ? ORDER BY seq",
            (first, stop),
        )
        due = first
        for seq, leaf in found:
            if seq != due or not _is_hash(leaf):
                break
            yield leaf
            due += 1
        if due != stop:
            raise StoreError(
                f"Entry {due} of {self._path} is missing or has no leaf; run saferun ledger verify."
            )

    def _kept_hashes(self, level: int, first: int, stop: int) -> dict[int, bytes]:
        if not self._kept:
            return {}
        found = self._connection.execute(
            "SELECT place, hash FROM node WHERE level = ? AND place >= ? AND place < ?",
            (level, first, stop),
        )
        return {place: node for place, node in found if _is_hash(node)}


def _is_hash(value: object) -> bool:
    return type(value) is bytes and len(value) == HASH_BYTES


def landmarks(connection: sqlite3.Connection, path: Path, stop: int) -> list[int]:
    """The numbers, below `stop`, of entries of the kinds `key`, `restart` and `archive`.

    Those that are noted, and those among the entries that no node is kept for yet.
    """
    with sqlite.explained(path):
        noted: list[tuple[int]] = []
        done = 0
        if connection.execute("PRAGMA user_version").fetchone()[0] >= 4:
            noted = connection.execute(
                "SELECT seq FROM landmark WHERE seq < ? ORDER BY seq", (stop,)
            ).fetchall()
            done = _kept_until(connection, STEP) * _WIDTH
        newer = connection.execute(_NOTED, (done, stop, *_KINDS)).fetchall()
    return sorted({seq for (seq,) in (*noted, *newer) if seq >= 0})


def index_tree(
    path: Path, *, anew: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Bring the nodes up to the newest entry; `anew` throws away those that are there.

    A store of before there were any has none until it is next written to.

    Pages are written under the store's write lock, each in a moment.
    Raises StoreError where a leaf is missing, or is none.
    """
    with sqlite.explained(path):
        try:
            connection = sqlite.connect(path, "process")
        except sqlite.ExcerptError:
            # It came with those that it needs.
            return
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] < 4:
                return
            size = head(connection, path).size
            # Nobody made nodes of entries that are not there: the others are no better.
            if anew or _kept_until(connection, STEP) > size >> STEP:
                _write(connection, lock, [], [], anew=True)
            while _page(connection, path, lock, progress):
                pass
        finally:
            connection.close()
            lock.close()


def _page(
    connection: sqlite3.Connection,
    path: Path,
    lock: FileLock,
    progress: Callable[[int, int], None] | None,
) -> bool:
    size = head(connection, path).size
    tree = Tree(connection, path)
    made: list[tuple[int, int, bytes]] = []
    noted: list[tuple[int]] = []
    level = STEP
    while (size >> level) > 0:
        done = _kept_until(connection, level)
        # Of a level above, only what already stands on kept nodes: the next page has the rest.
        due = min(size >> level, done + _BLOCKS)
        if level > STEP:
            due = min(due, _kept_until(connection, level - STEP) >> STEP)
        made += [(level, place, tree(level, place)) for place in range(done, due)]
        if level == STEP:
            noted = connection.execute(_NOTED, (done << STEP, due << STEP, *_KINDS)).fetchall()
        level += STEP
    if not made:
        return False
    _write(connection, lock, made, noted)
    if progress is not None:
        progress(min(_kept_until(connection, STEP) << STEP, size), size)
    return True


def _kept_until(connection: sqlite3.Connection, level: int) -> int:
    (place,) = connection.execute(
        "SELECT coalesce(max(place), -1) FROM node WHERE level = ?", (level,)
    ).fetchone()
    return int(place) + 1


def _write(
    connection: sqlite3.Connection,
    lock: FileLock,
    made: list[tuple[int, int, bytes]],
    noted: list[tuple[int]],
    *,
    anew: bool = False,
) -> None:
    lock.acquire()
    try:
        with sqlite.transaction(connection):
            if anew:
                connection.execute("DELETE FROM node")
                connection.execute("DELETE FROM landmark")
            connection.executemany("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", made)
            connection.executemany("INSERT OR IGNORE INTO landmark VALUES (?)", noted)
    finally:
        lock.release()
