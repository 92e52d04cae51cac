"""Stretches of time in the addresses of pages: from one minute up to another, in UTC."""

from collections.abc import Mapping
from datetime import UTC, datetime

from saferun.store.activity import Stretch
from saferun.store.moments import when

STRETCHES: Mapping[str, tuple[str, str, int, int]] = {
    "hour": ("Hour", "minute", 1, 60),
    "day": ("Day", "half hour", 30, 48),
    "week": ("Week", "four hours", 240, 42),
    "month": ("Month", "day", 1_440, 30),
}
"""Those that one can choose: what they are called, what a bar of them is, its minutes, and how many
bars there are."""


def written(microseconds: int) -> str:
    """A minute as an address has it: `2026-05-04T10:00Z`."""
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%dT%H:%MZ}"


def spoken(microseconds: int) -> str:
    """A minute for people: `2026-05-04 10:00Z`."""
    return written(microseconds).replace("T", " ")


def read(given: str, now: int, *, end: bool = False) -> int | None:
    """A time as people write it in an address or a form: see `when`. None where none is written.

    All times on these pages are in UTC, so what is entered is as well. Raises ValueError.
    """
    return when(given, now, end=end, zone=UTC) if given else None


def during(since: str, until: str, now: int) -> tuple[int, int] | None:
    """The time that an address speaks of, which may be open at one end; None for any time.

    Raises ValueError with a sentence where one end is none.
    """
    begin, end = read(since, now), read(until, now, end=True)
    if begin is None and end is None:
        return None
    return (begin or 0, (1 << 62) if end is None else end)


def between(times: tuple[int, int]) -> str:
    """A stretch of time in words: `from 2026-05-04 10:00Z up to 2026-05-04 11:00Z`."""
    since, until = times
    begin = [f"from {spoken(since)}"] if since else []
    return " ".join([*begin, *([f"up to {spoken(until)}"] if until < 1 << 62 else [])])


def links(stretch: Stretch, bar: int | None = None) -> dict[str, str]:
    """What leads to the runs of a stretch, or of one of its bars."""
    begin, end = stretch.during if bar is None else stretch.bar(bar)
    return {"since": written(begin), "until": written(end)}
