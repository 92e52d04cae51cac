"""When to go to which place: every so often, and sooner again after a place has failed.

`Schedule` decides and neither waits nor reads a clock, so that a thread, a test and an event
loop can all keep to it: ask it how long to `wait`, then which places are `due`, go there (in a
thread, from an event loop: a round is for waiting), and tell it what was `heard`. `follow` is
that loop for a process that does nothing else.
"""

import random
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from saferun.anchor.place import Place
from saferun.anchor.rounds import LAST, Round
from saferun.errors import SafeRunError

FIRST = 2.0
"""Seconds until a place that has failed once is tried again; they double with each failure."""


class Schedule:
    """Which places are due. Times are in seconds of one clock that never jumps.

    Args:
        names: the places.
        every: seconds between two visits to a place that goes well.
        chance: a number from 0 up to 1, another each time, that keeps many machines from
            returning to a witness at the same moment.

    """

    def __init__(
        self, names: Sequence[str], every: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._every = every
        self._chance = chance
        self._due = dict.fromkeys(names, float("-inf"))
        self._failures = dict.fromkeys(names, 0)

    def due(self, now: float) -> list[str]:
        """The places to go to now."""
        return [name for name, at in self._due.items() if at <= now]

    def wait(self, now: float) -> float:
        """Seconds until a place is due."""
        return max(0.0, min(self._due.values(), default=now + self._every) - now)

    def heard(self, now: float, took: dict[str, bool]) -> None:
        """How it went at some places: whether each took what it was offered."""
        for name, well in took.items():
            self._failures[name] = 0 if well else self._failures[name] + 1
            self._due[name] = now + (self._every if well else self._pause(self._failures[name]))

    def _pause(self, failures: int) -> float:
        """At least half of what it doubles to, and never more than `every`."""
        longest = min(self._every, FIRST * 2.0 ** min(failures - 1, 30))
        return longest * (1 + self._chance()) / 2


def follow(
    places: Sequence[Place],
    schedule: Schedule,
    go: Callable[[Sequence[Place], float | None], Round],
    tell: Callable[[Round | SafeRunError], None],
    leaving: threading.Event,
    clock: Callable[[], float] = monotonic,
) -> None:
    """Keep to the schedule until `leaving` is set, and go to all places once more then.

    `go` makes a round to some places, of at most that many seconds each, and `tell` hears what
    came of each. An error of the store is told like a place's, and tried again: it may be a
    disk that is full.
    """
    by_name = {place.name: place for place in places}
    while not leaving.wait(schedule.wait(clock())):
        names = schedule.due(clock())
        took = _told([by_name[name] for name in names], None, go, tell)
        schedule.heard(clock(), took)
    _told(places, LAST, go, tell)


def _told(
    places: Sequence[Place],
    most: float | None,
    go: Callable[[Sequence[Place], float | None], Round],
    tell: Callable[[Round | SafeRunError], None],
) -> dict[str, bool]:
    try:
        done = go(places, most)
    except SafeRunError as problem:
        tell(problem)
        return {place.name: False for place in places}
    tell(done)
    # What speaks against the ledger will not be better in two seconds.
    return {place.name: found.failed is None or found.against for place, found in done.places}
