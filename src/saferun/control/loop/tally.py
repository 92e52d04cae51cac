"""How often each of endlessly many things was seen, in bounded memory and without overcounting."""

from typing import TypeAlias

import msgspec

from saferun.control.loop.recent import Recent

_FLOORS = (1, 2, 4, 16)
"""From which count on a thing is kept in each tier."""

_FIRST, _FURTHER = 256, 64
"""How many things a tier keeps at least: those seen once, and those of each other tier."""

_Tier: TypeAlias = Recent[bytes, int]


def _tiers() -> list[_Tier]:
    return [Recent(_FIRST), *(Recent(_FURTHER) for _ in _FLOORS[1:])]


class Tally(msgspec.Struct):
    """Counts, each kept in the tier of its height.

    A flood can only push out what was seen as rarely as the flood itself: what is new pushes
    out what was seen once, and never what was seen often. A count that was pushed out starts
    over, so it may be too low and never too high; a sketch of counters would be wrong the
    other way round, and deny in a long run what had never been done before.
    """

    tiers: list[_Tier] = msgspec.field(default_factory=_tiers)

    def count(self, key: bytes) -> int:
        for tier in self.tiers:
            found = tier.get(key)
            if found is not None:
                return found
        return 0

    def put(self, key: bytes, count: int) -> None:
        """Let `count` be known, which is never less than before."""
        at = len(_FLOORS) - 1
        while _FLOORS[at] > count:
            at -= 1
        self.tiers[at].put(key, count)
        if count == _FLOORS[at] and at:
            self.tiers[at - 1].pop(key)
