"""How much of what has happened when, counted from the search index: what an overview is made of.

A stretch of time is cut into bars, each of which begins and ends with a minute. What happened in a
bar are the entries of the index that were written in it and have what is asked for: a few sets of
bits, so that a month of a million entries takes no longer than an hour. `Choice.during` finds the
runs behind every figure.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from itertools import islice, pairwise
from typing import NamedTuple

from saferun.store import postings
from saferun.store.facets import DENIES, DID
from saferun.store.index import MINUTE, Index, Query
from saferun.store.postings import CHUNK
from saferun.store.synopsis import Trait

VALUES = 1_000
"""Tools, or rules, that are looked at in each chunk of entries: a model may name any number."""


TURNS = 1_000
"""Turns of breakers that are looked through for those that are open, the newest."""


class Stretch(NamedTuple):
    """A stretch of time: `bars` of so many minutes each, from minute `since` since 1970, UTC."""

    since: int
    minutes: int
    bars: int

    @property
    def until(self) -> int:
        return self.since + self.minutes * self.bars

    def bar(self, number: int) -> tuple[int, int]:
        """When a bar begins, and when the next one does, in microseconds since 1970, UTC."""
        begin = self.since + number * self.minutes
        return begin * MINUTE, (begin + self.minutes) * MINUTE

    @property
    def during(self) -> tuple[int, int]:
        """All of it, in microseconds since 1970, UTC."""
        return self.since * MINUTE, self.until * MINUTE


def latest(now: int, minutes: int, bars: int) -> Stretch:
    """The stretch that ends with the bar of `now`, which is in microseconds since 1970, UTC.

    Bars begin at the same minutes whoever looks when, so that two looks can be compared.
    """
    end = (now // MINUTE // minutes + 1) * minutes
    return Stretch(end - minutes * bars, minutes, bars)


class Often(NamedTuple):
    """Something that has happened, and how often."""

    name: str
    times: int


class Opened(NamedTuple):
    """A breaker that has opened and not closed since, of a tool for one tenant or for none.

    It is tried again from `until` on; both times are in microseconds since 1970, UTC.
    """

    tool: str
    tenant: str | None
    since: int
    until: int | None


class Activity(NamedTuple):
    """What happened in a stretch of time, bar by bar, and what did so most.

    `cost` is in micro-dollars. With `cut`, there were more tools or rules than were looked at.
    """

    stretch: Stretch
    counts: Mapping[Trait, Sequence[int]]
    cost: Sequence[int]
    rules: Sequence[Often]
    denied: Sequence[Often]
    failing: Sequence[Often]
    cut: bool


COUNTED: tuple[Trait, ...] = ("began", "called", "denied", "asked", "near", "failed")


def activity(index: Index, stretch: Stretch, most: int) -> Activity:
    """What the index has of a stretch of time, with the `most` frequent of each kind."""
    edges = [index.first_since(stretch.bar(number)[0]) for number in range(stretch.bars + 1)]
    sets = {trait: _sets(index, trait, edges) for trait in COUNTED}
    cost = [0] * stretch.bars
    for minute, spent in index.spent(stretch.since, stretch.until):
        cost[(minute - stretch.since) // stretch.minutes] += spent
    [rules], more = _often(index, DENIES, [sets["denied"]], most)
    [denied, failing], cut = _often(index, "tool", [sets["denied"], sets["failed"]], most)
    return Activity(
        stretch=stretch,
        counts={trait: _counted(found, edges) for trait, found in sets.items()},
        cost=cost,
        rules=rules,
        denied=denied,
        failing=failing,
        cut=cut or more,
    )


def _sets(index: Index, trait: Trait, edges: Sequence[int]) -> dict[int, int]:
    """The entries of a trait, chunk by chunk."""
    return dict(index.marks([[(DID, trait)]], edges[0], edges[-1]))


def _counted(sets: Mapping[int, int], edges: Sequence[int]) -> list[int]:
    """How many there are between each two edges."""
    counts = [0] * (len(edges) - 1)
    for base, marks in sets.items():
        for number, (first, size) in enumerate(pairwise(edges)):
            begin, end = max(first - base, 0), min(size - base, CHUNK)
            if begin < end:
                counts[number] += ((marks >> begin) & postings.between(0, end - begin)).bit_count()
    return counts


def _often(
    index: Index, facet: str, sets: Sequence[Mapping[int, int]], most: int
) -> tuple[list[list[Often]], bool]:
    """The values of a facet that the entries of each of some sets have most.

    And whether there were more than were looked at.
    """
    times: list[dict[str, int]] = [{} for _ in sets]
    cut = False
    # Where nothing of the kind has happened, no value is looked at.
    for base in sorted({base for each in sets for base in each}):
        marks = [postings.marked(each.get(base, 0)) for each in sets]
        values = index.sets(facet, base, VALUES)
        cut |= len(values) == VALUES
        for value, held in values:
            for found, some in zip(times, marks, strict=True):
                both = postings.common(held, some)
                if both:
                    found[value] = found.get(value, 0) + both
    ranked = [nlargest(most, found.items(), key=lambda each: (each[1], each[0])) for found in times]
    return [[Often(*each) for each in some] for some in ranked], cut


def opened(index: Index) -> list[Opened]:
    """The breakers that are open, as the ledger tells it, what opened last first."""
    query = Query(facets={"kind": ("control",), "status": ("opened", "closed")})
    found: dict[tuple[str, str | None], Opened | None] = {}
    for hit in islice(index.find(query), TURNS):
        if hit.entry is None:
            continue
        fields = hit.entry.fields
        of = fields.get("value") or "", fields.get("tenant")
        if of not in found:
            is_open = fields["event"] == "opened"
            found[of] = Opened(*of, hit.entry.time, fields.get("until")) if is_open else None
    return [each for each in found.values() if each is not None]
