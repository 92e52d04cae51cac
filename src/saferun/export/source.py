"""What is exported: entries in their order, each held against its leaf before it leaves."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from saferun.errors import SafeRunError
from saferun.ledger import Entry, EntryError, leaf_hash, read
from saferun.store import Reader
from saferun.store.index import Index, Query


class ExportError(SafeRunError):
    """What cannot be exported, or not to there: one sentence on why, and on what to do."""


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """A block that writes an export. What the system has against that is an ExportError."""
    try:
        yield
    except OSError as problem:
        raise ExportError(
            f"{path} cannot be written: {problem.strerror}; see to that, or name another place."
        ) from None


class Piece(NamedTuple):
    """One entry on its way out: its stored bytes, and what they say."""

    seq: int
    body: bytes
    entry: Entry


def bodies(reader: Reader, first: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Number and body of each entry from `first` up to, and without, `size`.

    Raises ExportError where one of them is missing, is not what its leaf vouches for, or lies in
    an archive that the reader has not.
    """
    expected = first
    for seq, body, leaf in reader.rows(size, after=first - 1):
        if seq != expected:
            raise ExportError(f"Entry {expected:,} is missing; run saferun ledger verify.")
        if body == b"" and seq < reader.archived():
            raise _away(reader, seq, size)
        if not isinstance(body, bytes) or leaf_hash(body) != leaf:
            raise ExportError(f"Entry {seq:,} was changed; run saferun ledger verify.")
        yield seq, body
        expected += 1
    if expected < size:
        raise ExportError(f"Entry {expected:,} is missing; run saferun ledger verify.")


def _away(reader: Reader, first: int, size: int) -> ExportError:
    """What to say of entries that lie in an archive, from `first` on."""
    if reader.archive is not None and reader.archive.trouble is not None:
        return ExportError(reader.archive.trouble)
    last = first
    for seq, body, _ in reader.rows(min(size, reader.archived()), after=first):
        if body != b"":
            break
        last = seq
    which, lie = (
        (f"entry {first:,}", "lies") if last == first else (f"entries {first:,} to {last:,}", "lie")
    )
    return ExportError(
        f"The {which} {lie} in an archive, and the store has no more than hashes of that; name "
        "its folder with --archive FOLDER."
    )


def pieces(reader: Reader, first: int, size: int) -> Iterator[Piece]:
    """All entries from `first` up to, and without, `size`, read. Raises ExportError."""
    for seq, body in bodies(reader, first, size):
        try:
            yield Piece(seq, body, read(body))
        except EntryError as problem:
            raise ExportError(f"Entry {seq:,} {problem.what}; run saferun ledger verify.") from None


def matching(index: Index, query: Query, first: int, size: int) -> Iterator[Piece]:
    """The entries from `first` up to, and without, `size` that a query is met by.

    Raises ExportError where one of them cannot be had.
    """
    # What an archive has and the index has not seen may be just what was asked for.
    unseen = index.lacking(first)
    if unseen is not None and unseen < size:
        raise _away(index.reader, unseen, size)
    for hit in index.find(query, newest=False, first=first):
        if hit.seq >= size:
            return
        if hit.entry is None:
            raise _away(index.reader, hit.seq, size)
        yield Piece(hit.seq, hit.body, hit.entry)
