"""Checkpoints of a ledger in memory, as places are offered them."""

from collections.abc import Sequence

from ledger.book import ORIGIN, Book, tree_of
from saferun.anchor import Offered, Patience
from saferun.anchor.place import Place
from saferun.ledger import Checkpoint, Signer, Verifier, leaf_hash, sign_checkpoint
from saferun.ledger.tree import node_hash

SIGNER = Signer(ORIGIN, b"s" * 32)


class Tree:
    """Proofs by the definitions in RFC 6962, section 2.1, word for word."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.bodies = list(bodies)

    def root(self, size: int) -> bytes:
        return tree_of(self.bodies[:size]).root()

    def proof(self, old: int, new: int) -> list[bytes]:
        return subproof(old, self.bodies[:new], True)


def mth(bodies: Sequence[bytes]) -> bytes:
    if len(bodies) == 1:
        return leaf_hash(bodies[0])
    k = split(len(bodies))
    return node_hash(mth(bodies[:k]), mth(bodies[k:]))


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def subproof(m: int, bodies: Sequence[bytes], b: bool) -> list[bytes]:
    n = len(bodies)
    if m == n:
        return [] if b else [mth(bodies)]
    k = split(n)
    if m <= k:
        return [*subproof(m, bodies[:k], b), mth(bodies[k:])]
    return [*subproof(m - k, bodies[k:], False), mth(bodies[:k])]


def bodies(calls: int) -> list[bytes]:
    """2 entries more for each call, and 2 before."""
    return Book().calls(calls).bodies


def offered(of: Sequence[bytes], signer: Signer = SIGNER, history: Tree | None = None) -> Offered:
    checkpoint = Checkpoint(signer.name, len(of), tree_of(of).root())
    note = sign_checkpoint(checkpoint, signer)
    return Offered(note, checkpoint, [Verifier(signer.vkey())], history or Tree(of))


def take(place: Place, what: Offered, last: int = 0, seconds: float = 30.0) -> bytes:
    return place.take(what, last, Patience(seconds))
