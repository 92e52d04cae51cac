"""Values that lie beside the ledger, large or sealed: found again, where they are still held."""

from collections.abc import Mapping
from typing import Any

import msgspec

from saferun.ledger import Blobs, Openings, blob_hash, filled, opened


def named(fields: Mapping[str, Any], key: str) -> tuple[str, int] | None:
    """Hash and size of a value that lies beside the ledger; None where it stands in the entry.

    What a tool says can look like a placeholder. It is one only if the entry itself names it.
    """
    match fields.get(key):
        case {"$blob": {"sha256": str(name), "bytes": int(count)}} if name in fields.get(
            "blobs", ()
        ):
            return name, count
    return None


def found(
    fields: Mapping[str, Any], key: str, blobs: Blobs, openings: Openings | None = None
) -> Any:
    """A field's whole value, with what is sealed in it opened where `openings` are given.

    A placeholder stays where what it stands for is no longer held, or does not fit.
    """
    value = _whole(fields, key, blobs)
    if openings is None or not fields.get("sealed"):
        return value
    try:
        return opened(value, fields["sealed"], openings)
    except RecursionError:
        # Nested too deeply to be looked through; nobody could look at it either.
        return value


def left(fields: Mapping[str, Any], value: Any) -> list[bytes]:
    """The commitments of an entry that still stand in a value of it."""
    found: list[bytes] = []

    def note(commitment: bytes) -> Any:
        found.append(commitment)
        return msgspec.UNSET

    filled(value, fields.get("sealed", {}), note)
    return found


def _whole(fields: Mapping[str, Any], key: str, blobs: Blobs) -> Any:
    value = fields.get(key)
    beside = named(fields, key)
    if beside is None:
        return value
    try:
        held = blobs(bytes.fromhex(beside[0]))
        if held is not None and blob_hash(*held).hex() == beside[0]:
            return msgspec.json.decode(held[1])
    except (ValueError, TypeError, RecursionError):
        # The store's file was changed; `ledger verify` says how.
        pass
    return value
