"""Two runs side by side: which frames stand for each other, and where they first part. Pure.

Frames are aligned on what was done (kind, tool, and the arguments by their digest). Between those
that are the same, calls of one tool with other arguments stand for each other in their order, as
two model turns do; what is left was done in one run alone.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from saferun.replay.align import aligned
from saferun.replay.outline import Outline, Row

Part: TypeAlias = Literal["args", "verdict", "result", "cost", "said"]
"""What differs in a pair: `said` is a model's or a user's words."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Frames that stand for each other, by their numbers; None where one run has none.

    `differs` is empty where everything that can be compared is the same. Latencies always differ,
    and are not compared.
    """

    one: int | None
    other: int | None
    differs: tuple[Part, ...] = ()

    @property
    def same(self) -> bool:
        return self.one is not None and self.other is not None and not self.differs


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs beside each other. `first` is the place of the pair where they first part.

    They part where another thing was done, or decided, or came of it: not where only costs, or
    words of the model, are others. None where they never do. `ends` are the types of the errors
    that the two ended with, None for none, where both ended and not alike.
    """

    pairs: tuple[Pair, ...]
    first: int | None
    ends: tuple[str | None, str | None] | None = None

    @property
    def part(self) -> bool:
        """Whether they part: in a pair, or in how they ended."""
        return self.first is not None or self.ends is not None

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs are the same, differ, or are in one run alone."""
        return {
            "same": sum(pair.same for pair in self.pairs),
            "differ": sum(bool(pair.differs) for pair in self.pairs),
            "only_one": sum(pair.other is None for pair in self.pairs),
            "only_other": sum(pair.one is None for pair in self.pairs),
        }


def difference(one: Outline, other: Outline, *, keyed: bool = True) -> Difference:
    """How two runs differ. What it takes grows as n log n with their frames.

    Digests of arguments are keyed by the ledger: of two that are not `keyed` alike, what is
    written of the arguments is compared in their place.
    """
    # Calls from elsewhere have no digest.
    keyed = keyed and all(row.given is not None for row in (*_calls(one), *_calls(other)))
    exact = aligned(_tokens(one, keyed=keyed), _tokens(other, keyed=keyed))
    pairs: list[Pair] = []
    edges = [*exact, (len(one), len(other))]
    at, there = 0, 0
    for last, end in edges:
        pairs += _between(one.rows[at:last], other.rows[there:end])
        if (last, end) != edges[-1]:
            pairs.append(_compared(one.rows[last], other.rows[end], done_alike=True))
        at, there = last + 1, end + 1
    parts = (
        place
        for place, pair in enumerate(pairs)
        if _parts_company(pair) or _unmade(pair, one, other)
    )
    unlike = one.over and other.over and one.error != other.error
    ends = (one.error, other.error) if unlike else None
    return Difference(pairs=tuple(pairs), first=next(parts, None), ends=ends)


def _calls(outline: Outline) -> Iterator[Row]:
    return (row for row in outline.rows if row.kind == "call")


def _tokens(outline: Outline, *, keyed: bool) -> list[Hashable]:
    return [(row.kind, row.tool, row.given if keyed else row.plain) for row in outline.rows]


def _between(one: Sequence[Row], other: Sequence[Row]) -> Iterator[Pair]:
    """Frames between two that are the same: none of them was done with the same arguments."""
    loose = aligned([(row.kind, row.tool) for row in one], [(row.kind, row.tool) for row in other])
    at, there = 0, 0
    for last, end in [*loose, (len(one), len(other))]:
        yield from (Pair(one=row.number, other=None) for row in one[at:last])
        yield from (Pair(one=None, other=row.number) for row in other[there:end])
        if last < len(one) and end < len(other):
            yield _compared(one[last], other[end], done_alike=False)
        at, there = last + 1, end + 1


def _compared(one: Row, other: Row, *, done_alike: bool) -> Pair:
    differs: list[Part] = []
    if one.unmade or other.unmade:
        # What was never made has no decision and no end to be compared.
        what: Part = "args" if one.kind == "call" else "said"
        alike = done_alike if one.kind == "call" else one.gave == other.gave
        return Pair(one=one.number, other=other.number, differs=() if alike else (what,))
    if one.kind == "call":
        if not done_alike:
            differs.append("args")
        if (one.verdict, one.enforced, one.asked) != (other.verdict, other.enforced, other.asked):
            differs.append("verdict")
        known = one.gave is not None and other.gave is not None
        if one.status != other.status or (known and one.gave != other.gave):
            differs.append("result")
    elif one.gave != other.gave:
        differs.append("said")
    if one.cost != other.cost:
        differs.append("cost")
    return Pair(one=one.number, other=other.number, differs=tuple(differs))


def _unmade(pair: Pair, one: Outline, other: Outline) -> bool:
    """Whether a rerun was stopped there, at something else than the other has."""
    if not pair.differs or pair.one is None or pair.other is None:
        return False
    return one.row(pair.one).unmade or other.row(pair.other).unmade


def _parts_company(pair: Pair) -> bool:
    alone = pair.one is None or pair.other is None
    return alone or not {"args", "verdict", "result"}.isdisjoint(pair.differs)
