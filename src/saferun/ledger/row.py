"""One stored entry by itself: whether its bytes are those that were written, and are an entry."""

from typing import TypeAlias

from saferun.ledger.entry import EntryError, Parsed, parse
from saferun.ledger.kind import (
    ArchiveEntry,
    KeyEntry,
    LedgerEntry,
    OutcomeEntry,
    RecoveryEntry,
    RestartEntry,
)
from saferun.ledger.report import Wrong
from saferun.ledger.tree import leaf_hash

Row: TypeAlias = tuple[int, bytes, bytes | None]
"""Sequence number, body, and the stored leaf hash, None where none was stored.

The body of an entry that was archived is empty.
"""

ENDS = (OutcomeEntry, RecoveryEntry)
"""Kinds that say what came of a decision."""

TURNS = (LedgerEntry, KeyEntry, RestartEntry, ArchiveEntry)
"""Kinds that change what holds for other entries, and are few."""


def examined(seq: int, body: bytes, stored: bytes | None) -> tuple[bytes, Parsed]:
    """The leaf of an entry and what it says, by itself."""
    # A database file may have been given columns of any type.
    if type(body) is not bytes:
        raise Wrong(seq, f"Entry {seq} is not stored as bytes, or as too many of them.")
    leaf = leaf_hash(body)
    if stored is not None and stored != leaf:
        raise Wrong(
            seq, f"Entry {seq} was changed: its bytes do not give the leaf stored beside them."
        )
    try:
        parsed = parse(body)
    except EntryError as problem:
        raise Wrong(seq, f"Entry {seq} {problem.what}.") from None
    if parsed.seq != seq:
        raise Wrong(seq, f"Entry {seq} was put there from elsewhere: it says {parsed.seq}.")
    return leaf, parsed
