"""How far each place outside has the ledger: what the store remembers of it.

None of this vouches for anything: whoever owns the store can write it anew. What does is the
note that a witness has signed, and what lies in the places themselves.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from saferun.store import sqlite
from saferun.store.locks import FileLock
from saferun.store.reading import Reader, undamaged


class Anchored(NamedTuple):
    """What is known of one place.

    It took `note`, a checkpoint over `size` entries, at `time`; nothing yet where that is 0.
    It was last `tried` then, and `failed` is why it has not taken that checkpoint; `against`
    where the reason speaks against the ledger. Times are microseconds since 1970, UTC.
    """

    name: str
    size: int
    time: int
    note: bytes
    tried: int
    failed: str | None
    against: bool


def anchored(reader: Reader) -> list[Anchored]:
    """How far each place outside has the ledger, as the store remembers it, by name."""
    rows = reader.every(
        "SELECT name, size, time, note, tried, failed, against FROM anchor ORDER BY name",
        schema=4,
    )
    with undamaged(reader.path):
        return [msgspec.convert((*row[:-1], bool(row[-1])), Anchored) for row in rows]


def keep_anchored(path: Path, places: Sequence[Anchored]) -> None:
    """Remember what has become of some places, in one short transaction.

    Raises StoreError where it cannot be written.
    """
    with sqlite.explained(path):
        lock = FileLock(path.with_name(path.name + ".lock"))
        lock.acquire()
        try:
            connection = sqlite.connect(path, "full")
            try:
                with sqlite.transaction(connection):
                    connection.executemany(
                        "INSERT OR REPLACE INTO anchor VALUES (?, ?, ?, ?, ?, ?, ?)", places
                    )
            finally:
                connection.close()
        finally:
            lock.close()
