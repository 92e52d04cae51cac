"""Values that an entry holds by hash: large ones, and those that are sealed."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from saferun.ledger.blob import SALT_BYTES, blob_hash
from saferun.ledger.commitment import Openings, opens
from saferun.ledger.report import Wrong

Blobs: TypeAlias = Callable[[bytes], tuple[bytes, bytes] | None]
"""From a blob's hash to its salt and value, None where they are no longer held."""


class LargeValues:
    """The large values that entries name. Each is read once: many entries may name one."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        # As many as are held, whose values take more than this does.
        self._sizes: dict[bytes, int] = {}

    def missing(self, seq: int, named: Mapping[str, int]) -> int:
        """How many of an entry's are not held. Raises Wrong where one does not fit."""
        missing = 0
        for name, size in named.items():
            blob = _hash(seq, name, "large")
            found = self._sizes.get(blob)
            if found is None:
                value = self._blobs(blob)
                if value is None:
                    missing += 1
                    continue
                found = self._sizes[blob] = _size(seq, blob, *value)
            if found != size:
                raise _changed(seq)
        return missing


def _size(seq: int, blob: bytes, salt: bytes, data: bytes) -> int:
    whole = type(salt) is type(data) is bytes and len(salt) == SALT_BYTES
    if not (whole and blob_hash(salt, data) == blob):
        raise _changed(seq)
    return len(data)


def _changed(seq: int) -> Wrong:
    return Wrong(seq, f"A large value of entry {seq} was changed: it does not fit its hash.")


def missing_openings(seq: int, sealed: Mapping[str, str], openings: Openings) -> int:
    """How many of an entry's sealed values cannot be opened. Raises Wrong where one does not fit.

    One that cannot be opened was erased, or is encrypted under a key that is not here.
    """
    missing = 0
    for name, path in sealed.items():
        commitment = _hash(seq, name, "sealed")
        found = openings(commitment)
        if found is None:
            missing += 1
            continue
        if found.path != path or not opens(commitment, found):
            raise Wrong(
                seq,
                f"A sealed value of entry {seq} was changed: its opening does not fit the "
                "commitment in the entry.",
            )
    return missing


def _hash(seq: int, name: str, what: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError:
        raise Wrong(seq, f"Entry {seq} names a {what} value by no hash.") from None
