"""Timestamps and durations: CEL's calendar, in nanoseconds that are counted exactly.

The one module of policies that knows of `datetime`, for dates and time zones alone: what
time it is now comes in as a value, like everything else.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from saferun.policy.expression.error import EvaluationError

SECOND = 1_000_000_000
_DAY = 86_400 * SECOND
_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE = 146_097
"""Days in 400 years, after which the calendar and its weekdays repeat."""

_FIRST = (date.min.toordinal() - _EPOCH) * _DAY
_LAST = (date.max.toordinal() - _EPOCH + 1) * _DAY - 1
_LONGEST = 2**63 - 1


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """A moment between the years 1 and 9999, in nanoseconds since 1970 in UTC."""

    nanos: int

    def __str__(self) -> str:
        days, rest = divmod(self.nanos, _DAY)
        day = date.fromordinal(days + _EPOCH)
        seconds, nanos = divmod(rest, SECOND)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        clock = f"{hour:02}:{minute:02}:{second:02}{_fraction(nanos)}"
        return f"{day.year:04}-{day.month:02}-{day.day:02}T{clock}Z"


class Duration(msgspec.Struct, frozen=True, order=True):
    """A span of at most some 292 years either way, in nanoseconds."""

    nanos: int

    def __str__(self) -> str:
        seconds, nanos = divmod(abs(self.nanos), SECOND)
        return f"{'-' if self.nanos < 0 else ''}{seconds}{_fraction(nanos)}s"


Zone: TypeAlias = Callable[[int], int]
"""How far local time is ahead of UTC, in nanoseconds, at a moment in nanoseconds."""


def timestamp(nanos: int) -> Timestamp:
    """Raises EvaluationError outside of the years 1 to 9999."""
    if not _FIRST <= nanos <= _LAST:
        raise EvaluationError("a timestamp lies outside of the years 1 to 9999")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    """Raises EvaluationError past 64 bits of nanoseconds."""
    if not -_LONGEST - 1 <= nanos <= _LONGEST:
        raise EvaluationError("a duration is longer than 292 years")
    return Duration(nanos)


_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_DURATION = re.compile(r"([+-]?)(?:0|((?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|ns))+))", re.ASCII)
_SPAN = re.compile(r"(\d*)\.?(\d*)(h|ms|m|s|us|ns)", re.ASCII)
_UNITS = {
    "h": 3_600 * SECOND,
    "m": 60 * SECOND,
    "s": SECOND,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)

_MAX_TEXT = 64
"""Characters. Nothing longer is a timestamp or a duration, and long digits cost to read."""


def read_timestamp(text: str) -> Timestamp:
    """A moment as RFC 3339 writes it. Raises EvaluationError where the text is none."""
    found = _TIMESTAMP.fullmatch(text[: _MAX_TEXT + 1])
    if found is None:
        raise EvaluationError(
            'a timestamp is written as RFC 3339 has it: "2026-01-31T09:00:00Z", '
            'or with "+02:00" for the "Z"'
        )
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        ahead = _offset(found[8], int(found[9]), int(found[10])) if found[8] else 0
    except ValueError:
        raise EvaluationError("there is no such date or time of day") from None
    whole = (moment.toordinal() - _EPOCH) * 86_400 + hour * 3_600 + minute * 60 + second
    return timestamp(whole * SECOND + int((found[7] or "").ljust(9, "0")) - ahead)


def read_duration(text: str) -> Duration:
    """A span such as `1h30m` or `1.5s`. Raises EvaluationError where the text is none."""
    found = _DURATION.fullmatch(text[: _MAX_TEXT + 1])
    if found is None:
        raise EvaluationError(
            'a duration is written as numbers with units of h, m, s, ms, us or ns: "1h30m"'
        )
    nanos = 0
    for whole, part, unit in _SPAN.findall(found[2] or ""):
        size = _UNITS[unit]
        nanos += int(whole or "0") * size + int(part or "0") * size // 10 ** len(part)
    return duration(-nanos if found[1] == "-" else nanos)


def zone(name: str) -> Zone:
    """The zone of a name as in `Europe/Berlin`, or of an offset as in `+02:00`.

    Raises EvaluationError for any other text. A zone's rules are read from the system once,
    here, and never while a condition is evaluated.
    """
    found = _OFFSET.fullmatch(name)
    try:
        if found is not None:
            ahead = _offset(found[1], int(found[2]), int(found[3]))
            return lambda _: ahead
        known = ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise EvaluationError(
            'a time zone is a name such as "Europe/Berlin" or an offset such as "+02:00"'
        ) from None
    return lambda nanos: _ahead(known, nanos)


def _offset(sign: str, hours: int, minutes: int) -> int:
    if hours > 23 or minutes > 59:
        raise ValueError
    ahead = (hours * 60 + minutes) * 60 * SECOND
    return -ahead if sign == "-" else ahead


_START = datetime(1970, 1, 1, tzinfo=UTC)


def _ahead(known: ZoneInfo, nanos: int) -> int:
    # A year from either end, where no zone has rules, its date cannot leave the calendar.
    safe = min(max(nanos, _FIRST + 366 * _DAY), _LAST - 366 * _DAY)
    moment = _START + timedelta(seconds=safe // SECOND)
    found = moment.astimezone(known).utcoffset() or timedelta()
    return round(found.total_seconds()) * SECOND


def calendar(field: str) -> Callable[[Timestamp, Zone], int]:
    """How a field such as `getFullYear` is taken from a moment in a zone."""
    take = _FIELDS[field]

    def taken(moment: Timestamp, zone: Zone) -> int:
        days, rest = divmod(moment.nanos + zone(moment.nanos), _DAY)
        cycles, day = divmod(days + _EPOCH - 1, _CYCLE)
        return take(date.fromordinal(day + 1), cycles, rest)

    return taken


_FIELDS: dict[str, Callable[[date, int, int], int]] = {
    "getFullYear": lambda day, cycles, _: day.year + 400 * cycles,
    "getMonth": lambda day, *_: day.month - 1,
    "getDate": lambda day, *_: day.day,
    "getDayOfMonth": lambda day, *_: day.day - 1,
    "getDayOfWeek": lambda day, *_: day.isoweekday() % 7,
    "getDayOfYear": lambda day, *_: day.timetuple().tm_yday - 1,
    "getHours": lambda _, __, rest: rest // (3_600 * SECOND),
    "getMinutes": lambda _, __, rest: rest // (60 * SECOND) % 60,
    "getSeconds": lambda _, __, rest: rest // SECOND % 60,
    "getMilliseconds": lambda _, __, rest: rest // 1_000_000 % 1_000,
}
"""Each from the day, the 400-year cycles before it, and the nanoseconds since midnight.

Months, days of the month, of the week (from Sunday) and of the year count from 0, and only
`getDate` counts from 1: so CEL has it.
"""

CALENDAR = tuple(_FIELDS)


def elapsed(field: str) -> Callable[[Duration], int]:
    """How a field such as `getHours` is taken from a duration: rounded towards zero.

    All but `getMilliseconds` count the whole span.
    """
    size, wrap = _PARTS[field]

    def taken(span: Duration) -> int:
        count = abs(span.nanos) // size % wrap if wrap else abs(span.nanos) // size
        return -count if span.nanos < 0 else count

    return taken


_PARTS = {
    "getHours": (3_600 * SECOND, 0),
    "getMinutes": (60 * SECOND, 0),
    "getSeconds": (SECOND, 0),
    "getMilliseconds": (1_000_000, 1_000),
}

ELAPSED = tuple(_PARTS)


def _fraction(nanos: int) -> str:
    """`.500`, `.123456`: in threes, as the runtime of CEL writes it."""
    if not nanos:
        return ""
    digits = f"{nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"
