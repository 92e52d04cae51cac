"""What is read of a file that somebody may have rewritten: never more than a store would write.

A row may hold any type that SQLite has, and as much of it as fits on the disk. What is too much,
or of another type, is not read at all; how it is taken is said beside each.
"""

import sqlite3
from pathlib import Path

from saferun.ledger import Frontier, Head
from saferun.ledger.entry import MAX_BODY, MAX_NUMBER
from saferun.ledger.note import MAX_NOTE
from saferun.ledger.tree import HASH_BYTES
from saferun.store.sqlite import ChangedError

BODY = f"CASE WHEN typeof(body) = 'blob' AND length(body) <= {MAX_BODY} THEN body END"
"""An entry's body, NULL where it could be none: no reader takes that for an entry."""

LEAF = f"CASE WHEN typeof(leaf) = 'blob' AND length(leaf) = {HASH_BYTES} THEN leaf ELSE x'' END"
"""An entry's leaf, empty where it could be none: no entry has that."""

NOTE = f"CASE WHEN typeof(note) = 'blob' AND length(note) <= {MAX_NOTE} THEN note ELSE x'' END"
"""A signed note, empty where it could be none: nothing signed that."""

_FRONTIER = HASH_BYTES * 64 + 8
"""Bytes of a frontier, at most: a hash for each bit of the size, and the size."""

_HEAD = (
    f"SELECT size, CASE WHEN typeof(frontier) = 'blob' AND length(frontier) <= {_FRONTIER}"  # noqa: S608 - a number of ours
    " THEN frontier END FROM head WHERE seq = -1"
)


def head(connection: sqlite3.Connection, path: Path) -> Head:
    """The size and frontier that the ledger says it has; those of nothing without a head.

    Raises ChangedError where that is none that a store writes. Whether it is that of the entries
    is not looked at.
    """
    row = connection.execute(_HEAD).fetchone()
    if row is None:
        return Head(0, Frontier().encode())
    size, frontier = row
    if type(size) is not int or not 0 <= size <= MAX_NUMBER or frontier is None:
        raise ChangedError(path, "its head is none that a store writes")
    return Head(size, frontier)
