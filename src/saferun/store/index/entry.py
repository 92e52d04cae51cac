"""An entry that was found, held against the ledger: its bytes have to give its leaf."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from saferun.ledger import Entry, EntryError, leaf_hash, read
from saferun.store.index.columns import is_leaf
from saferun.store.reading import Reader
from saferun.store.synopsis import run_of


class Hit(NamedTuple):
    """An entry that was found, as the ledger has it.

    `verdict` is its own, or that of the decision that it settles. An entry that lies in an
    archive which is not at hand has no body here and no `entry`: that it was found is what the
    index says alone, and so are its `time` and what is `known` of it. They are empty otherwise.
    """

    seq: int
    body: bytes
    entry: Entry | None
    verdict: str | None = None
    time: int | None = None
    known: Mapping[str, str] = MappingProxyType({})


def held(reader: Reader, seq: int) -> Hit | None:
    """The entry of a number as the ledger has it, None where it is gone or was changed.

    One that lies in an archive which the reader has not is there, and has no body.
    """
    row = reader.row(seq)
    if row is None:
        return None
    body, leaf = row
    if body == b"":
        return Hit(seq, b"", None) if is_leaf(leaf) and seq < reader.archived() else None
    entry = intact(seq, body, leaf)
    return None if entry is None else Hit(seq, body, entry, verdict(reader, entry))


def verdict(reader: Reader, entry: Entry) -> str | None:
    """The verdict of an entry, or of the decision that it settles, where that can be read."""
    of = entry.fields.get("of")
    if of is None:
        own = entry.fields.get("verdict")
        return own if isinstance(own, str) else None
    row = reader.row(of) if 0 <= of < entry.seq else None
    decision = None if row is None else intact(of, *row)
    return None if decision is None or "of" in decision.fields else verdict(reader, decision)


def intact(seq: int, body: object, leaf: object) -> Entry | None:
    """The entry of a row, None where it is not the one that its leaf vouches for."""
    if not isinstance(body, bytes) or leaf_hash(body) != leaf:
        return None
    try:
        entry = read(body)
    except EntryError:
        return None
    return entry if entry.seq == seq else None


def claim(body: object) -> str | None:
    """The run that a changed entry says it is of."""
    try:
        return run_of(read(body)) if isinstance(body, bytes) else None
    except EntryError:
        return None
