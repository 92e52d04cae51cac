"""Aligning two sequences: which elements of the one stand for which of the other. Pure.

As people read a difference and never in more time than n log n, whatever is compared:

1. What both begin and end with belongs together.
2. What occurs in both just once, and in the same order, are anchors (patience diff, Bram Cohen).
   Between anchors, the same again.
3. Where there are none, and few differences, the shortest way from one to the other (Myers 1986),
   as far as `EFFORT` goes.
4. Where that is too far, the n-th occurrence of an element stands for the n-th of the other, as
   far as their order agrees.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise

Pair = tuple[int, int]

EFFORT = 200
"""Differences up to which the shortest way is looked for. Its work grows with their square."""

BUDGET = 2_000_000
"""Steps that all such looking may take together."""


def aligned(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Pair]:
    """The places of elements that are the same and stand for each other, both ascending."""
    return sorted(_Alignment(one, other).pairs())


class _Alignment:
    def __init__(self, one: Sequence[Hashable], other: Sequence[Hashable]) -> None:
        self._one, self._other = one, other
        self._left = BUDGET

    def pairs(self) -> list[Pair]:
        found: list[Pair] = []
        waiting = [(0, len(self._one), 0, len(self._other))]
        while waiting:
            first, last, begin, end = waiting.pop()
            one, other = self._one, self._other
            while first < last and begin < end and one[first] == other[begin]:
                found.append((first, begin))
                first, begin = first + 1, begin + 1
            while first < last and begin < end and one[last - 1] == other[end - 1]:
                last, end = last - 1, end - 1
                found.append((last, end))
            if first == last or begin == end:
                continue
            self._left -= last - first + end - begin
            # Anchors between anchors may be many floors of them, one at a time.
            anchors = self._anchors(first, last, begin, end) if self._left > 0 else []
            if not anchors:
                found += self._without(first, last, begin, end)
                continue
            found += anchors
            edges = [(first - 1, begin - 1), *anchors, (last, end)]
            waiting += ((a + 1, c, b + 1, d) for (a, b), (c, d) in pairwise(edges))
        return found

    def _anchors(self, first: int, last: int, begin: int, end: int) -> list[Pair]:
        mine, theirs = Counter(self._one[first:last]), Counter(self._other[begin:end])
        places = {
            self._other[at]: at
            for at in range(begin, end)
            if theirs[self._other[at]] == 1 and mine[self._other[at]] == 1
        }
        common = [
            (at, places[self._one[at]]) for at in range(first, last) if self._one[at] in places
        ]
        return _ascending(common)

    def _without(self, first: int, last: int, begin: int, end: int) -> list[Pair]:
        one, other = self._one[first:last], self._other[begin:end]
        found = self._shortest(one, other)
        if found is None:
            found = _by_occurrence(one, other)
        return [(first + at, begin + there) for at, there in found]

    def _shortest(self, one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Pair] | None:
        """The pairs of the shortest way, None where it is longer than it is worth."""
        n, m = len(one), len(other)
        if abs(n - m) > EFFORT or self._left <= 0:
            return None
        furthest = {1: 0}
        trail: list[dict[int, int]] = []
        for effort in range(min(n + m, EFFORT) + 1):
            trail.append(dict(furthest))
            for diagonal in range(-effort, effort + 1, 2):
                down = diagonal == -effort or (
                    diagonal != effort
                    and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
                )
                x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
                y = x - diagonal
                start = x
                while 0 <= y < m and x < n and one[x] == other[y]:
                    x, y = x + 1, y + 1
                furthest[diagonal] = x
                self._left -= 1 + x - start
                if x >= n and y >= m:
                    return _traced(trail, n, m)
            if self._left <= 0:
                return None
        return None


def _traced(trail: list[dict[int, int]], x: int, y: int) -> list[Pair]:
    found: list[Pair] = []
    for effort in range(len(trail) - 1, -1, -1):
        before, diagonal = trail[effort], x - y
        down = diagonal == -effort or (
            diagonal != effort and before.get(diagonal - 1, -1) < before.get(diagonal + 1, -1)
        )
        above = diagonal + 1 if down else diagonal - 1
        old_x = before[above] if effort else 0
        old_y = old_x - above if effort else 0
        while x > old_x and y > old_y:
            x, y = x - 1, y - 1
            found.append((x, y))
        x, y = old_x, old_y
    return found


def _by_occurrence(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Pair]:
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, element in enumerate(other):
        places[element].append(place)
    met: Counter[Hashable] = Counter()
    common: list[Pair] = []
    for place, element in enumerate(one):
        theirs = places.get(element, [])
        if met[element] < len(theirs):
            common.append((place, theirs[met[element]]))
        met[element] += 1
    return _ascending(common)


def _ascending(pairs: Sequence[Pair]) -> list[Pair]:
    """The longest part of pairs, which ascend in the first place, that ascends in the second."""
    ends: list[int] = []
    which: list[int] = []
    before: list[int] = []
    for place, (_, there) in enumerate(pairs):
        at = bisect_left(ends, there)
        before.append(which[at - 1] if at else -1)
        if at == len(ends):
            ends.append(there)
            which.append(place)
        else:
            ends[at], which[at] = there, place
    found: list[Pair] = []
    at = which[-1] if which else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]
