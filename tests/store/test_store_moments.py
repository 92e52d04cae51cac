"""Times as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from saferun.store.moments import when

NOW = 1_763_942_400_000_000


@pytest.mark.parametrize(
    ("given", "seconds"), [("1s", 1), ("2h", 7_200), ("7d", 604_800), ("1w", 604_800)]
)
def test_so_long_ago_is_counted_from_now(given: str, seconds: int) -> None:
    assert when(given, NOW) == NOW - seconds * 1_000_000


def test_what_names_no_zone_is_of_the_zone_that_is_meant() -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    at = int(noon.timestamp()) * 1_000_000
    assert when("2026-05-04T12:00", NOW, zone=UTC) == at
    east = timezone(timedelta(hours=2))
    assert when("2026-05-04T12:00", NOW, zone=east) == at - 7_200_000_000
    assert when("2026-05-04T12:00Z", NOW, zone=east) == at


def test_a_date_alone_ends_with_its_day() -> None:
    begin = when("2026-05-04", NOW, zone=UTC)
    assert when("2026-05-04", NOW, end=True, zone=UTC) - begin == 86_400_000_000


@pytest.mark.parametrize("given", ["", "soon", "0d", "2026-13-01", "9999-12-31T99", "1y"])
def test_what_is_no_time_is_said(given: str) -> None:
    with pytest.raises(ValueError, match="is no time; write 2h or 7d"):
        when(given, NOW)
