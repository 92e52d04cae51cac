"""Proofs that a reader can check without the ledger: RFC 6962, section 2.1.

*Inclusion*: this leaf is number `index` in the tree of `size` leaves that has this root.
*Consistency*: the tree of `old` leaves is the beginning of the tree of `new` leaves.

They are made from the roots of perfect subtrees, of which a proof over n leaves needs in
the order of log² n, and checked by the algorithms of RFC 9162 (sections 2.1.3.2 and
2.1.4.2), which hash what the proof has and never look at a ledger. A proof is worth what
its roots are worth: hold it against a checkpoint.
"""

from collections.abc import Sequence

from saferun.errors import SafeRunError
from saferun.ledger.tree import HASH_BYTES, Frontier, Nodes, node_hash, subtree_root

MAX_HASHES = 64
"""The most hashes that a proof is read with. A tree of 2^63 leaves needs no more than 64."""


class ProofError(SafeRunError):
    """A proof that cannot be: of an entry or a size that the tree does not have."""


def inclusion(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The proof that leaf `index` is in the tree of `size` leaves: from its sibling up.

    Raises:
        ProofError: the tree has no such leaf.

    """
    if not 0 <= index < size:
        raise ProofError(f"There is no entry {index} in a ledger of {size} entries.")
    first, stop = 0, size
    down: list[bytes] = []
    while stop - first > 1:
        middle = first + _left(stop - first)
        if index < middle:
            down.append(subtree_root(middle, stop, nodes))
            stop = middle
        else:
            down.append(subtree_root(first, middle, nodes))
            first = middle
    return down[::-1]


def consistency(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """The proof that the tree of `old` leaves is the beginning of that of `new` leaves.

    It is empty where both are the same tree, and where the old one had no leaf.

    Raises:
        ProofError: the old tree is not the smaller one.

    """
    if not 0 <= old <= new:
        raise ProofError(f"A ledger of {old} entries is no beginning of one of {new}.")
    if old in (0, new):
        return []
    first, stop = 0, new
    down: list[bytes] = []
    while stop != old:
        middle = first + _left(stop - first)
        if old <= middle:
            down.append(subtree_root(middle, stop, nodes))
            stop = middle
        else:
            down.append(subtree_root(first, middle, nodes))
            first = middle
    # A subtree that begins at leaf 0 is the old tree itself, whose root the reader has.
    if first:
        down.append(subtree_root(first, stop, nodes))
    return down[::-1]


def proves_inclusion(
    hashes: Sequence[bytes], index: int, size: int, leaf: bytes, root: bytes
) -> bool:
    """Whether the proof leads from that leaf, at that index, to that root."""
    if not (0 <= index < size and _shaped(hashes, leaf, root)):
        return False
    at, last, node = index, size - 1, leaf
    for sibling in hashes:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            # The last leaf of a level without a partner moves up as it is.
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        at >>= 1
        last >>= 1
    return last == 0 and node == root


def proves_consistency(
    hashes: Sequence[bytes], old: int, new: int, old_root: bytes, new_root: bytes
) -> bool:
    """Whether the proof leads from the old root to the old and to the new root."""
    if not (0 <= old <= new and _shaped(hashes, old_root, new_root)):
        return False
    if old == new:
        return not hashes and old_root == new_root
    if old == 0:
        return not hashes and old_root == Frontier().root()
    path = list(hashes)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before = node_hash(sibling, before)
            after = node_hash(sibling, after)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            after = node_hash(after, sibling)
        at >>= 1
        last >>= 1
    return last == 0 and before == old_root and after == new_root


def _left(leaves: int) -> int:
    """How many of so many leaves, two at least, go to the left: the largest power of two below."""
    return 1 << (leaves - 1).bit_length() - 1


def _shaped(hashes: Sequence[bytes], *others: bytes) -> bool:
    return len(hashes) <= MAX_HASHES and all(len(each) == HASH_BYTES for each in (*hashes, *others))
