"""Excerpts: some entries of a ledger, and what it takes to hold all of them against one root.

Between two entries lies what is left out. Each such gap is a row of perfect subtrees, the widest
that fit, whose roots stand for it:

    entry 0 | gap of entries 1 to 5: roots over 1, over 2 to 3, over 4 to 5 | entry 6 | ...

A tree that is grown from left to right, from the leaves of the entries and the roots of the gaps,
ends at the root of the whole. So one walk proves all entries at once, in the memory of a frontier,
and entries that lie together need nearly no proof at all.
"""

from collections.abc import Iterable, Iterator, Sequence

from saferun.ledger.proof import ProofError
from saferun.ledger.tree import HASH_BYTES, Nodes, node_hash, spans

KEPT = 4
"""Of the inner nodes of an excerpt, every so many levels one is given, for later proofs."""


def gaps(seqs: Iterable[int], size: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Before each entry, and at last before `size`: the level and place of each root of the gap.

    `seqs` ascend.

    Raises:
        ProofError: an entry does not lie after the one before it, or not in the tree.

    """
    due = 0
    for seq in seqs:
        if not due <= seq < size:
            raise ProofError(f"Entry {seq} has no place after {due} in a ledger of {size} entries.")
        yield seq, list(spans(due, seq))
        due = seq + 1
    yield size, list(spans(due, size))


def stand_ins(seqs: Sequence[int], size: int, nodes: Nodes) -> Iterator[tuple[int, list[bytes]]]:
    """The roots that stand for what is left out, gap by gap as `gaps` has them."""
    for seq, gap in gaps(seqs, size):
        yield seq, [nodes(level, place) for level, place in gap]


class Regrown:
    """The tree of an excerpt, grown from left to right.

    `nodes` gets each root that stands for a gap, and of the inner nodes those on each `KEPT`-th
    level: level, place and hash. It is for whoever is to prove entries of the excerpt later.
    """

    __slots__ = ("_hashes", "nodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.nodes: list[tuple[int, int, bytes]] = []
        self._hashes: list[bytes] = []

    def skip(self, upto: int, roots: Iterator[bytes]) -> None:
        """Add the gap up to an entry, whose roots come one by one.

        Raises:
            ProofError: that is no gap, a root is missing or is no hash.

        """
        if upto < self.size:
            raise ProofError(f"Entry {upto} stands twice, or after one that comes later.")
        for level, place in spans(self.size, upto):
            root = next(roots, b"")
            if len(root) != HASH_BYTES:
                raise ProofError(f"What stands for the entries before {upto} is not all there.")
            self.nodes.append((level, place, root))
            self._graft(level, root)

    def append(self, leaf: bytes) -> None:
        """Add an entry by its leaf."""
        self._graft(0, leaf)

    def root(self) -> bytes:
        """The root of what was added, at least one entry."""
        *wider, node = self._hashes
        for left in reversed(wider):
            node = node_hash(left, node)
        return node

    def frontier(self) -> bytes:
        """The same tree, as `Frontier.decode` takes it."""
        return self.size.to_bytes(8, "big") + b"".join(self._hashes)

    def _graft(self, level: int, root: bytes) -> None:
        place = self.size >> level
        self.size += 1 << level
        while place & 1:
            root = node_hash(self._hashes.pop(), root)
            level += 1
            place >>= 1
            if level % KEPT == 0:
                self.nodes.append((level, place, root))
        self._hashes.append(root)
