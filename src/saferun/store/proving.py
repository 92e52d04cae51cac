"""Proofs from a store: that an entry is in the ledger, and that it has only grown.

Every proof is held against the root that it is for before anybody gets it. One that does not
fit was made from nodes that are wrong, or from entries that were changed: the nodes are made
anew once, and after that it is the entries.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from saferun.errors import StoreError
from saferun.ledger import Checkpoint, EntryError, Frontier, KeyEntry, NoteError, leaf_hash, parse
from saferun.ledger.proof import consistency, inclusion, proves_consistency, proves_inclusion
from saferun.ledger.receipt import MAX_KEYS, Receipt
from saferun.ledger.succession import stated
from saferun.ledger.tree import Nodes
from saferun.store.archive import Archive
from saferun.store.checkpoints import newest_checkpoint
from saferun.store.nodes import index_tree
from saferun.store.reading import Reader

T = TypeVar("T")


def covering(reader: Reader, seq: int) -> tuple[bytes, Checkpoint] | None:
    """The newest checkpoint kept with the ledger, and what it says, if it covers that entry.

    Raises StoreError where it is none.
    """
    note = newest_checkpoint(reader)
    if note is None:
        return None
    try:
        said = stated(note)
    except NoteError:
        raise StoreError(
            f"The newest checkpoint of {reader.path} is none; run saferun ledger verify."
        ) from None
    return (note, said) if seq < said.size else None


def receipt(
    path: Path,
    seq: int,
    note: bytes,
    checkpoint: Checkpoint,
    *,
    archive: Archive | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """A receipt for entry `seq` under a checkpoint that covers it: the note, and what it says.

    Raises StoreError where there is no such entry, where it was archived and `archive` has it
    not, and where the ledger does not hold what the checkpoint vouches for.
    """
    with Reader(path, archive) as reader:
        if not 0 <= seq < checkpoint.size:
            raise StoreError(f"There is no entry {seq} below {checkpoint.size} in {path}.")
        body = reader.body(seq)
        if not body:
            raise StoreError(
                (archive.trouble if archive is not None else None)
                or f"Entry {seq} lies in an archive; name its folder with --archive FOLDER."
            )
        leaf = leaf_hash(body)

        def made(nodes: Nodes) -> list[bytes] | None:
            hashes = inclusion(seq, checkpoint.size, nodes)
            fits = proves_inclusion(hashes, seq, checkpoint.size, leaf, checkpoint.root)
            return hashes if fits else None

        hashes = _proven(reader, made, f"entry {seq}", progress)
        keys = key_entries(reader, MAX_KEYS, checkpoint.size)
        return Receipt(body, seq, tuple(hashes), note, tuple(keys))


def grown(
    path: Path,
    old: int,
    new: int,
    *,
    roots: tuple[bytes | None, bytes | None] = (None, None),
    progress: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """The proof that the first `old` entries are the beginning of the first `new`.

    `roots` are those that a checkpoint states, where somebody has one. The proof is held against
    the ledger's head as well, so that it is one of this ledger.
    Raises StoreError where the ledger is shorter, or does not hold what it should.
    """
    with Reader(path) as reader:
        head = reader.head()
        if type(head.frontier) is not bytes:
            raise StoreError(f"The head of {path} was changed; run saferun ledger verify.")
        whole = Frontier.decode(head.frontier)
        if not 0 <= old <= new <= whole.size:
            raise StoreError(
                f"{path} has {whole.size:,} entries: a proof goes from a size to one that is no "
                "smaller, and neither may be larger than that."
            )

        def made(nodes: Nodes) -> list[bytes] | None:
            hashes = consistency(old, new, nodes)
            before, after = (Frontier.at(size, nodes).root() for size in (old, new))
            rest = consistency(new, whole.size, nodes)
            fits = (
                roots[0] in (None, before)
                and roots[1] in (None, after)
                and proves_consistency(hashes, old, new, before, after)
                and proves_consistency(rest, new, whole.size, after, whole.root())
            )
            return hashes if fits else None

        return _proven(reader, made, f"the first {new:,} entries", progress)


def _proven(
    reader: Reader,
    made: Callable[[Nodes], T | None],
    what: str,
    progress: Callable[[int, int], None] | None,
) -> T:
    writable = os.access(reader.path, os.W_OK)
    if writable:
        index_tree(reader.path, progress=progress)
    proof = made(reader.tree())
    if proof is None:
        if writable:
            index_tree(reader.path, anew=True, progress=progress)
        proof = made(reader.tree(kept=False))
    if proof is None:
        raise StoreError(
            f"{reader.path} cannot prove {what}: the ledger was changed; run saferun ledger verify."
        )
    return proof


def key_entries(reader: Reader, most: int, size: int | None = None) -> list[bytes]:
    """The bodies of the newest `key` entries below `size`, or of all; the oldest first."""
    found: list[bytes] = []
    for seq in reversed(reader.landmarks(reader.head().size if size is None else size)):
        body = reader.body(seq)
        try:
            if isinstance(parse(body).entry, KeyEntry):
                found.append(body)
        except EntryError:
            # Archived or changed: it proves nothing then, and `ledger verify` says which.
            continue
        if len(found) == most:
            break
    return found[::-1]
