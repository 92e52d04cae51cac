"""The Merkle tree of RFC 6962 over SHA-256, kept by its right edge alone.

A tree of n leaves is a row of perfect subtrees, one for each bit that is set in n,
the widest first. Their roots are all that is needed to append a leaf or to tell the
root of the whole tree, so a ledger of any length keeps a few hundred bytes here.

Whatever lies further left is found through `Nodes`, by perfect subtrees as well: the
one over 2^level leaves at `place` begins at leaf place * 2^level.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TypeAlias

from saferun.errors import SafeRunError

HASH_BYTES = 32

_SIZE_BYTES = 8

Nodes: TypeAlias = Callable[[int, int], bytes]
"""From level and place to the root of that perfect subtree. Level 0 has the leaves."""


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


def spans(first: int, stop: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that leaves `first` to `stop`, without it, are made of.

    Level and place of each, from left to right and each as wide as it can be.
    """
    while first < stop:
        level = (stop - first).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        yield level, first >> level
        first += 1 << level


def subtree_root(first: int, stop: int, nodes: Nodes) -> bytes:
    """The root over leaves `first` to `stop`, as RFC 6962 has it for a branch of a tree.

    There is at least one leaf, and `first` is a multiple of a power of two that is no
    smaller than the number of leaves: only then are these leaves a branch.
    """
    *wider, node = [nodes(level, place) for level, place in spans(first, stop)]
    for left in reversed(wider):
        node = node_hash(left, node)
    return node


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

    def graft(self, level: int, root: bytes) -> None:
        """Add a perfect subtree of 2^level leaves at once, by its root.

        Raises:
            TreeError: no such subtree can begin here. Nothing has changed then.

        """
        if self.size & ((1 << level) - 1):
            raise TreeError(f"No subtree of {1 << level} leaves begins at leaf {self.size}.")
        carry = self.size >> level
        while carry & 1:
            root = node_hash(self._hashes.pop(), root)
            carry >>= 1
        self._hashes.append(root)
        self.size += 1 << level

    def extend(self, more: "Frontier") -> None:
        """Add the leaves of a tree that was grown apart from this one.

        Raises:
            TreeError: as `graft`, before anything has changed: this tree's size is no
                multiple of a power of two that is no smaller than the other's.

        """
        for (level, _), root in zip(spans(0, more.size), more.subtrees(), strict=True):
            self.graft(level, root)

    def root(self) -> bytes:
        """The root of the whole tree; of an empty one, the hash of nothing (RFC 6962)."""
        if not self._hashes:
            return sha256(b"").digest()
        *wider, node = self._hashes
        for left in reversed(wider):
            node = node_hash(left, node)
        return node

    def subtrees(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, the widest first."""
        return tuple(self._hashes)

    def copy(self) -> "Frontier":
        """A frontier of the same tree that grows on its own."""
        return Frontier(self.size, self._hashes)

    def encode(self) -> bytes:
        """The size as eight bytes, big-endian, and the subtree roots, the widest first."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self._hashes)

    @classmethod
    def at(cls, size: int, nodes: Nodes) -> "Frontier":
        """The frontier that a tree had when it had that many leaves."""
        return cls(size, [nodes(level, place) for level, place in spans(0, size)])

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
