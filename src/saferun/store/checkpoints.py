"""The signed notes that a store has kept of its own ledger. None of them is believed here."""

from saferun.store.reading import Reader
from saferun.store.rows import NOTE


def kept_checkpoints(reader: Reader, most: int | None = None) -> list[bytes]:
    """The signed notes that were kept with the ledger, the oldest first.

    Where there are more than `most`, about so many at even distances, with the newest.
    """
    step = 1
    if most is not None:
        (count,) = reader.every("SELECT count(*) FROM checkpoint")[0]
        step = max(1, -(-count // most))
    found = reader.every(
        f"SELECT {NOTE} FROM checkpoint WHERE size IN (SELECT size FROM"  # noqa: S608
        " (SELECT size, row_number() OVER (ORDER BY size DESC) AS back FROM checkpoint)"
        " WHERE back % ? = 1 % ?) ORDER BY size",
        *(step, step),
    )
    return [row[0] for row in found]


def newest_checkpoint(reader: Reader) -> bytes | None:
    """The signed note of the largest size that was kept with the ledger."""
    row = reader.one(f"SELECT {NOTE} FROM checkpoint ORDER BY size DESC LIMIT 1")  # noqa: S608
    return None if row is None else row[0]
