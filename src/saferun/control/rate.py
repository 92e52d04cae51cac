"""Rates: so many in a while, evenly, by the generic cell rate algorithm (ITU-T I.371).

The whole state is one number, the time at which all that was let through would have come at
the steady pace. It counts in fractions of a microsecond that make the distance of two calls a
whole number, so that nothing is ever rounded off.

Where that would take finer ones than the 2048th part, the distance is rounded up to these: the
state fits 64 bits until the year 2112, and a rate of more than 2048 calls a window is slower than
it says by under half a nanosecond a call, never faster.

A rate is not a window: after a rest, `burst` calls come at once and the steady ones follow, so a
stretch as long as the window may see `most` of the steady ones beside the burst.
"""

from math import gcd

FINEST = 2048
"""How many parts of a microsecond the state counts at most."""


def free_at(state: int, *, most: int, window: int, burst: int, now: int) -> int:
    """When the next call fits, in microseconds; not after `now` where one fits now.

    `most` calls fit in a `window` of microseconds, and `burst` of them at once.
    """
    parts, step = _pace(most, window)
    ahead = max(state, now * parts) - (burst - 1) * step
    # Rounded up: at that microsecond it does fit.
    return -(-ahead // parts)


def moved(state: int, *, most: int, window: int, now: int) -> int:
    """The state after one call."""
    parts, step = _pace(most, window)
    return max(state, now * parts) + step


def used(state: int, *, most: int, window: int, now: int) -> int:
    """How many of the burst are taken at `now`."""
    parts, step = _pace(most, window)
    return max(0, -(-(state - now * parts) // step))


def _pace(most: int, window: int) -> tuple[int, int]:
    """How many parts a microsecond has, and how many of them lie between two calls."""
    parts = min(most // gcd(most, window), FINEST)
    return parts, -(-window * parts // most)
