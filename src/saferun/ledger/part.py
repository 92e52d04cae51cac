"""A part of a ledger, examined without what comes before it."""

from collections.abc import Iterable

import msgspec

from saferun.ledger.commitment import Openings
from saferun.ledger.report import Wrong
from saferun.ledger.row import ENDS, TURNS, Row, examined
from saferun.ledger.story import Story
from saferun.ledger.tree import Frontier
from saferun.ledger.values import Blobs, LargeValues, missing_openings


class Part(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Entries that were examined by themselves: all that their place in the ledger decides.

    They are `first` to `stop`, without it. Where they are not `plain`, nothing else is said:
    something is wrong with them, or they change what holds for those after them, and they must
    be read in their order. `tree` and `trees` are encoded frontiers, of all of them and of
    those below the sizes that were asked for.
    """

    first: int
    stop: int
    plain: bool = False
    tree: bytes = b""
    trees: dict[int, bytes] = {}
    began: int = 0
    ended: int = 0
    open: list[int] = []
    unknown: list[int] = []
    settled: list[tuple[int, bool]] = []
    blobs_missing: int = 0
    sealed_missing: int = 0


def examine_part(
    rows: Iterable[Row],
    first: int,
    stop: int,
    sizes: Iterable[int],
    blobs: Blobs | None = None,
    openings: Openings | None = None,
) -> Part:
    """Examine the rows from `first` to `stop` without those before them.

    `first` is a multiple of a power of two that is no smaller than their number, so that their
    tree is a branch of the ledger's. `sizes` are those of checkpoints.
    """
    settled: list[tuple[int, bool]] = []
    story = Story(lambda _: False)
    tree, trees = Frontier(), {}
    large = None if blobs is None else LargeValues(blobs)
    due = frozenset(sizes)
    began = ended = blobs_missing = sealed_missing = 0
    try:
        for seq, body, stored in rows:
            if seq != first + tree.size:
                return Part(first=first, stop=stop)
            leaf, parsed = examined(seq, body, stored)
            entry = parsed.entry
            if parsed.time < ended or isinstance(entry, TURNS):
                return Part(first=first, stop=stop)
            began, ended = began or parsed.time, parsed.time
            if isinstance(entry, ENDS) and entry.of < first:
                settled.append((entry.of, entry.status == "unknown"))
            else:
                story.hear(seq, entry)
            if large is not None and entry.blobs:
                blobs_missing += large.missing(seq, entry.blobs)
            if openings is not None and entry.sealed:
                sealed_missing += missing_openings(seq, entry.sealed, openings)
            tree.append(leaf)
            if seq + 1 in due:
                trees[seq + 1] = tree.encode()
    except Wrong:
        return Part(first=first, stop=stop)
    if first + tree.size != stop:
        return Part(first=first, stop=stop)
    return Part(
        first=first,
        stop=stop,
        plain=True,
        tree=tree.encode(),
        trees=trees,
        began=began,
        ended=ended,
        open=sorted(story.open),
        unknown=sorted(story.unknown),
        settled=settled,
        blobs_missing=blobs_missing,
        sealed_missing=sealed_missing,
    )
