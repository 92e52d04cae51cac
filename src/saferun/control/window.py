"""Windows: no stretch of time as long as the window holds more than is allowed.

What happened is added up by slices, a sixtieth of the window each. A slice counts for as long
as any part of it may lie within the window, so a window lasts at most a sixtieth longer than it
says and never less, however the calls fall.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeAlias

from saferun.control.amount import MAX

SLICES = 60

Slices: TypeAlias = Sequence[Sequence[int]]
"""Number and amount of each slice in which something was counted, the oldest first."""


def slice_of(window: int, now: int) -> int:
    """The number of the slice that a time lies in."""
    return now // _length(window)


def held(state: Slices, window: int, now: int) -> int:
    """What the window holds at `now`."""
    oldest = _oldest(window, now)
    total = 0
    for number, amount in state:
        if number >= oldest:
            total += amount
    return total


def moved(state: Slices, window: int, at: int, amount: int, now: int) -> list[Sequence[int]]:
    """The state with an amount more in slice `at`, which may be negative, and without the past.

    What is taken back from a slice that holds less, or that has left the window, leaves nothing
    owed. A slice holds `amount.MAX` at most: what a call cost in truth is known only afterwards,
    and from its tool.
    """
    oldest = _oldest(window, now)
    if state and state[-1][0] == at and state[0][0] >= oldest:
        there = state[-1][1] + amount
        return [*state[:-1], (at, min(MAX, there))] if there > 0 else list(state[:-1])
    kept = [each for each in state if each[0] >= oldest and each[0] != at]
    there = sum(each for number, each in state if number == at) + amount
    if at >= oldest and there > 0:
        kept.append((at, min(MAX, there)))
        if len(kept) > 1 and kept[-2][0] > at:
            kept.sort(key=itemgetter(0))
    return kept


def free_at(state: Slices, window: int, room: int, now: int) -> int | None:
    """When the window holds at most `room`, in microseconds; None where it never does."""
    if room < 0:
        return None
    oldest = _oldest(window, now)
    total = held(state, window, now)
    last = None
    for number, amount in state:
        if total <= room:
            break
        if number >= oldest:
            total -= amount
            last = number
    # Its last moment has left the window then.
    return now if last is None else (last + 1) * _length(window) + window


def _length(window: int) -> int:
    return max(1, window // SLICES)


def _oldest(window: int, now: int) -> int:
    """The oldest slice of which some part is still in the window that ends at `now`."""
    return (now - window) // _length(window)
