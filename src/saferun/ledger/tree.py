"""The Merkle tree of RFC 6962 over SHA-256, kept by its right edge alone.

A tree of n leaves is a row of perfect subtrees, one for each bit that is set in n,
the widest first. Their roots are all that is needed to append a leaf or to tell the
root of the whole tree, so a ledger of any length keeps a few hundred bytes here.
"""

from collections.abc import Sequence
from hashlib import sha256

from saferun.errors import SafeRunError

HASH_BYTES = 32

_SIZE_BYTES = 8


class TreeError(SafeRunError):
    """Bytes that are no frontier, or a leaf that is no hash."""


def leaf_hash(body: bytes) -> bytes:
    """The leaf of an entry: the hash of its stored bytes.

    Leaves and inner nodes hash under different first bytes (RFC 6962, section 2.1), so
    that nobody can pass two hashes off as an entry, or an entry as two hashes.
    """
    return sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree that only grows: the roots of its perfect subtrees."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        self.size = size
        self._hashes = list(hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf, as `leaf_hash` gives it. One inner node is hashed on average.

        Raises:
            TreeError: the leaf is not a hash of 32 bytes. Nothing has changed then.

        """
        if len(leaf) != HASH_BYTES:
            raise TreeError(f"A leaf is a hash of {HASH_BYTES} bytes, not of {len(leaf)}.")
        hashes = self._hashes
        size = self.size
        # Each trailing 1 bit of the size is a perfect subtree that now finds its equal,
        # as a carry ripples through a binary counter.
        while size & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the whole tree; of an empty one, the hash of nothing (RFC 6962)."""
        if not self._hashes:
            return sha256(b"").digest()
        *wider, node = self._hashes
        for left in reversed(wider):
            node = node_hash(left, node)
        return node

    def copy(self) -> "Frontier":
        """A frontier of the same tree that grows on its own."""
        return Frontier(self.size, self._hashes)

    def encode(self) -> bytes:
        """The size as eight bytes, big-endian, and the subtree roots, the widest first."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self._hashes)

    @classmethod
    def decode(cls, encoded: bytes) -> "Frontier":
        """The frontier that `encode` wrote.

        Raises:
            TreeError: there are more or fewer bytes than a tree of that size has.

        """
        size = int.from_bytes(encoded[:_SIZE_BYTES], "big")
        if len(encoded) != _SIZE_BYTES + HASH_BYTES * size.bit_count():
            raise TreeError(
                "The bytes are not a tree's frontier: their length is not that of their size."
            )
        return cls(
            size,
            [
                encoded[start : start + HASH_BYTES]
                for start in range(_SIZE_BYTES, len(encoded), HASH_BYTES)
            ],
        )
