"""How large a store is, how fast it grows, and what there is in it, in a few rows."""

import time
from typing import NamedTuple

from saferun.store.reading import Reader


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


def extent_of(reader: Reader) -> Extent:
    """How large the store is and how fast it grows, from a few rows alone."""
    database, log, reusable = _sizes(reader)
    size, archived = reader.head().size, reader.archived()
    held, daily = size - archived, None
    if held >= FEW:
        newest = reader.time(size - 1)
        since = reader.since(newest - WEEK, archived, size)
        over = max(newest - reader.time(since), _HOUR)
        daily = (size - since) * 86_400_000_000 / over
    used = database - reusable - _LEAF * archived
    each = max(used, 0) / held if held >= FEW else None
    return Extent(database, log, reusable, size, archived, daily, each)


def _sizes(reader: Reader) -> tuple[int, int, int]:
    log = reader.path.with_name(reader.path.name + "-wal")
    # By its own account: what is new lies in the log, and not yet in the file.
    found = reader.one(
        "SELECT page_count * page_size, freelist_count * page_size"
        " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    assert found is not None
    return int(found[0]), log.stat().st_size if log.exists() else 0, int(found[1])


def health_of(reader: Reader) -> Health:
    """What there is in a store, and how much of it waits."""
    newest = reader.one("SELECT max(size) FROM checkpoint")
    waiting = reader.one(
        "SELECT count(*) FROM approval WHERE state = 'pending' AND deadline > ?",
        time.time_ns() // 1000,
    )
    left = reader.one("SELECT count(*) FROM head WHERE seq >= 0")
    assert newest is not None
    assert waiting is not None
    assert left is not None
    files = (reader.path, reader.path.with_name(reader.path.name + "-wal"))
    return Health(
        ledger=reader.ledger,
        origin=reader.origin,
        entries=reader.head().size,
        open_calls=left[0],
        waiting=waiting[0],
        size=sum(file.stat().st_size for file in files if file.exists()),
        checkpoint=newest[0],
    )
