"""Time in a store: never back, and never standing still while the host is behind."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from saferun.store.clock import AHEAD, Clock

NOON = 1_800_000_000_000_000
DAY = 86_400_000_000


class Host:
    def __init__(self) -> None:
        self.now = NOON
        self.runs = 0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.runs * 1000)


def test_the_hosts_time_is_the_time_where_it_is_not_behind() -> None:
    host = Host()
    assert host.clock().now(NOON - 5) == NOON


def test_while_the_host_is_behind_time_goes_on_at_the_pace_of_a_steady_clock() -> None:
    host = Host()
    clock = host.clock()
    assert clock.now(NOON + 365 * DAY) == NOON + 365 * DAY
    host.runs += 90
    assert clock.now(NOON + 365 * DAY) == NOON + 365 * DAY + 90


def test_it_is_never_before_what_somebody_else_has_written() -> None:
    host = Host()
    clock = host.clock()
    clock.now(NOON + 10)
    assert clock.now(NOON + 500) == NOON + 500
    host.runs += 7
    assert clock.now(NOON + 500) == NOON + 507


def test_once_the_host_has_caught_up_it_is_the_time_again() -> None:
    host = Host()
    clock = host.clock()
    clock.now(NOON + DAY)
    host.now += 2 * DAY
    assert clock.now(NOON + DAY) == NOON + 2 * DAY


def test_a_clock_of_ones_own_stands_still_while_it_is_behind() -> None:
    assert Clock(lambda: NOON).now(NOON + DAY) == NOON + DAY


def test_a_ledger_that_is_far_ahead_is_told_once(caplog) -> None:
    caplog.set_level(logging.WARNING, "saferun")
    clock = Host().clock()
    for _ in range(3):
        clock.now(NOON + 2 * AHEAD)
    assert [record.args for record in caplog.records] == [(120,)]


@given(st.lists(st.tuples(st.integers(-DAY, DAY), st.integers(0, DAY)), max_size=30))
def test_time_never_goes_back_whatever_the_host_does(steps) -> None:
    host = Host()
    clock = host.clock()
    newest = 0
    for set_by, ran in steps:
        host.now += set_by
        host.runs += ran
        now = clock.now(newest)
        assert now >= newest
        newest = now
