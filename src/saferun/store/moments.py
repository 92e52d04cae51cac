"""Times as people write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

_SPAN = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def when(given: str, now: int, *, end: bool = False, zone: tzinfo | None = None) -> int:
    """A time in microseconds since 1970, UTC: so long ago, or a date or time of ISO 8601.

    What names no zone is meant as `zone`, by default this machine's. With `end`, a date alone is
    its whole day. Raises ValueError with a sentence.
    """
    span = _SPAN.fullmatch(given)
    try:
        if span is not None:
            ago = timedelta(**{_UNITS[span[2]]: int(span[1])})
            return now - ago // timedelta(microseconds=1)
        at = datetime.fromisoformat(given)
        if end and _DAY.fullmatch(given):
            at += timedelta(days=1)
        if zone is not None and at.tzinfo is None:
            at = at.replace(tzinfo=zone)
        # Whole numbers all the way: a float would lose the last microseconds.
        return (at.astimezone() - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{given!r} is no time; write 2h or 7d for so long ago, or 2026-05-04 or "
            "2026-05-04T10:00Z."
        ) from None
