"""A clock that stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """The time of a gate under test, as its store tells it.

    Args:
        now: the time that it begins with; without a zone, it is meant as UTC.

    """

    def __init__(self, now: datetime = START) -> None:
        whole = now if now.tzinfo is not None else now.replace(tzinfo=UTC)
        self._now = round(whole.timestamp() * 1_000_000)

    def __call__(self) -> int:
        """Microseconds since 1970, UTC."""
        return self._now

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now / 1_000_000, UTC)

    def advance(self, span: timedelta | float) -> None:
        """Go on by that much: a timedelta, or seconds. Raises ValueError for less than nothing."""
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        if seconds < 0:
            raise ValueError("a clock does not go back; the store would not believe it")
        self._now += round(seconds * 1_000_000)
