"""Values too large for an entry: found beside the ledger again, where they are still held."""

from collections.abc import Mapping
from typing import Any

import msgspec

from saferun.ledger import Blobs, blob_hash


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


def found(fields: Mapping[str, Any], key: str, blobs: Blobs) -> Any:
    """A field's whole value; its placeholder where that is no longer held, or does not fit."""
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
