"""Whether the ledger vouches for an entry, looked at for that entry alone.

Verification reads a whole ledger and says whether it holds. Whoever looks at one frame wants to
know of its few entries at once: whether the bytes give the leaf, whether the leaf is still the one
that was indexed, and whether it leads to the root that the newest checkpoint has signed.

The checkpoint and its key lie beside the ledger. So this finds what was changed by somebody who
has not got the key; against one who has, only a checkpoint that was kept elsewhere helps, and
`ledger verify` holds all of the ledger against that.
"""

import contextlib
import os
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from saferun.errors import SafeRunError, StoreError
from saferun.ledger import Checkpoint, Frontier, NoteError, Verifier, leaf_hash, open_checkpoint
from saferun.ledger.proof import inclusion, proves_inclusion
from saferun.ledger.tree import Nodes
from saferun.store import Reader
from saferun.store.checkpoints import newest_checkpoint
from saferun.store.index import Index
from saferun.store.nodes import index_tree

NODES = 10_000
"""Nodes that are kept at hand. Only whole subtrees are among them, which never change."""

Standing: TypeAlias = Literal["signed", "unsigned", "changed", "doubtful", "archived", "redacted"]
"""`signed`: under the newest checkpoint. `unsigned`: newer than that, and in the ledger's tree.
`changed`: no longer what was written, or gone. `doubtful`: it does not lead to the root, so it or
an entry close to it was changed. `archived`: it lies in an archive that is not at hand.
`redacted`: in an incident file, it is there in other words than the ledger has."""


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """How one entry stands; `leaf` is its hash in hex, None where there is none."""

    seq: int
    standing: Standing
    says: str
    leaf: str | None = None


class _Tree(NamedTuple):
    """A tree that an entry can be held against."""

    size: int
    root: bytes
    signed: bool


def checkpoint(reader: Reader) -> Checkpoint | None:
    """The newest checkpoint that lies with a store, None where none of its keys has signed it."""
    note = newest_checkpoint(reader)
    if note is None:
        return None
    try:
        keys = [Verifier(vkey) for _, vkey in reader.named_keys().vkeys]
        return open_checkpoint(note, keys)
    except NoteError:
        # `ledger verify` says what is wrong with it.
        return None


class Vouching:
    """Holds entries of one store against its newest checkpoint, read once. Raises StoreError."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._reader = index.reader
        self._trees = [*self._signed(), *self._head()]
        self._nodes: dict[bool, Nodes] = {}

    def vouched(self, seq: int) -> Vouched:
        """How an entry stands now."""
        row = self._reader.row(seq)
        if row is None:
            return Vouched(seq=seq, standing="changed", says=f"Entry {seq} is gone.")
        body, leaf = row
        if body == b"" and self._reader.away(seq):
            said = f"Entry {seq} lies in an archive, which is not at hand."
            return Vouched(seq=seq, standing="archived", says=said)
        if not isinstance(body, bytes) or leaf_hash(body) != leaf:
            said = f"Entry {seq} was changed: its bytes do not give the leaf stored beside them."
            return Vouched(seq=seq, standing="changed", says=said)
        before = self._index.leaf(seq)
        if before is not None and before != leaf[: len(before)]:
            said = f"Entry {seq} was changed, and its leaf with it, since it was indexed."
            return Vouched(seq=seq, standing="changed", says=said)
        return self._held(seq, leaf)

    def _held(self, seq: int, leaf: bytes) -> Vouched:
        if self._reader.redacted(seq):
            said = f"Entry {seq} was redacted for this file: nothing proves what is left of it."
            return Vouched(seq=seq, standing="redacted", says=said)
        standing, said = self._placed(seq, leaf)
        return Vouched(seq=seq, standing=standing, says=said, leaf=leaf.hex())

    def _placed(self, seq: int, leaf: bytes) -> tuple[Standing, str]:
        tree = next((each for each in self._trees if seq < each.size), None)
        if tree is None:
            # It has come since.
            self._trees = [*self._signed(), *self._head()]
            tree = next((each for each in self._trees if seq < each.size), None)
        if tree is None:
            return (
                "changed",
                f"Entry {seq} is none that the ledger's head counts: it was put there.",
            )
        if not self._leads(seq, leaf, tree):
            has = "was signed" if tree.signed else "the ledger has"
            return "doubtful", (
                f"Entry {seq} does not lead to the root that {has}: it, or one close to it, was "
                "changed."
            )
        if tree.signed:
            return "signed", f"Entry {seq} is in the tree of {tree.size:,} entries that was signed."
        return "unsigned", f"Entry {seq} is in the ledger's tree, and no checkpoint covers it yet."

    def _leads(self, seq: int, leaf: bytes, tree: _Tree) -> bool:
        for kept in (True, False):
            # Nodes that are kept may be wrong; they are quicker, and no more than that.
            try:
                hashes = inclusion(seq, tree.size, self._nodes_of(kept=kept))
            except SafeRunError:
                continue
            if proves_inclusion(hashes, seq, tree.size, leaf, tree.root):
                return True
        return False

    def _nodes_of(self, *, kept: bool) -> Nodes:
        """The tree's nodes. What was worked out for one entry serves the next."""
        if kept not in self._nodes:
            path = self._reader.path
            if kept and os.access(path, os.W_OK):
                with contextlib.suppress(StoreError):
                    # Brought up to the newest entry, without which each look reads every leaf.
                    index_tree(path)
            self._nodes[kept] = lru_cache(NODES)(self._reader.tree(kept=kept))
        return self._nodes[kept]

    def _signed(self) -> list[_Tree]:
        found = checkpoint(self._reader)
        return [] if found is None else [_Tree(found.size, found.root, signed=True)]

    def _head(self) -> list[_Tree]:
        size, frontier = self._reader.head()
        try:
            return [_Tree(size, Frontier.decode(frontier).root(), signed=False)]
        except SafeRunError:
            return []
