"""Breakers: when a tool is left alone, how it is tried again, and what is bounded meanwhile."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.control.amount import MAX, MICRO
from saferun.control.breaker import PROBES_KEPT, Breaker, Health, admits, completed, tally

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOON = 1_760_000_040 * SECOND  # the beginning of a minute
SEED = 7

PLAIN = Breaker(jitter=0.0)


class Tool:
    """One tool at one time, as a store would treat it."""

    def __init__(self, settings: Breaker = PLAIN, *, seed: int = SEED, now: int = NOON) -> None:
        self.settings = settings
        self.seed = seed
        self.now = now
        self.health = Health()
        self.calls = 0

    def start(self, *, retry: bool = False):
        self.calls += 1
        found = admits(self.settings, self.health, self.now, call=self.calls, retry=retry)
        if found.verdict == "allow":
            self.health = found.health
        return found

    def end(self, call: int, failed: bool | None = False, latency: int = 0, cost: int = 0) -> str:
        self.health = completed(
            *(self.settings, self.health, self.now),
            call=call,
            seed=self.seed,
            failed=failed,
            latency=latency,
            cost=cost,
        )
        return self.health.state

    def use(self, *fates: bool | None, latency: int = 0, cost: int = 0) -> str:
        """Calls that go through and end at once."""
        for failed in fates:
            assert self.start().verdict == "allow"
            self.end(self.calls, failed, latency, cost)
        return self.health.state

    def broken(self) -> "Tool":
        assert self.use(*[True] * self.settings.min_calls) == "open"
        return self

    def on_trial(self) -> "Tool":
        self.now = self.health.until
        found = self.start()
        assert (found.verdict, found.probe, self.health.state) == ("allow", True, "half-open")
        return self


def test_a_tool_opens_with_the_very_call_that_reaches_the_minimum() -> None:
    tool = Tool()
    assert tool.use(*[True] * 19) == "closed"
    assert tool.use(True) == "open"


def test_the_minimum_may_be_reached_by_a_success() -> None:
    tool = Tool()
    assert tool.use(*[True] * 19) == "closed"
    assert tool.use(False) == "open"


def test_a_tool_opens_at_exactly_the_rate_and_not_below() -> None:
    below = Tool()
    assert below.use(*[False] * 11, *[True] * 9) == "closed"
    at = Tool()
    assert at.use(*[False] * 10, *[True] * 10) == "open"


@pytest.mark.parametrize("hundredths", range(1, 101))
def test_a_rate_in_hundredths_is_met_exactly(hundredths) -> None:
    tool = Tool(Breaker(failure_rate=hundredths / 100, min_calls=100))
    assert tool.use(*[False] * (101 - hundredths), *[True] * (hundredths - 1)) == "closed"
    tool = Tool(Breaker(failure_rate=hundredths / 100, min_calls=100))
    assert tool.use(*[False] * (100 - hundredths), *[True] * hundredths) == "open"


def test_two_failures_in_three_open_though_never_many_in_a_row() -> None:
    tool = Tool()
    assert tool.use(*[True, True, False] * 6) == "closed"
    assert tool.use(True, True) == "open"


def test_slow_calls_open_without_any_failure() -> None:
    tool = Tool(Breaker(slow_after=2 * SECOND))
    assert tool.use(*[False] * 4, latency=2 * SECOND) == "closed"
    assert tool.use(*[False] * 15, latency=2 * SECOND + 1) == "closed"
    assert tool.use(False, latency=2 * SECOND + 1) == "open"


def test_no_call_is_slow_unless_the_settings_say_when() -> None:
    assert Tool().use(*[False] * 100, latency=10 * MINUTE) == "closed"


def test_failures_split_over_processes_add_up_wherever_the_record_travels() -> None:
    packed = msgspec.msgpack.encode(Health())
    for call in range(20):
        # Each call is seen by a process that has nothing but the record.
        tool = Tool(now=NOON + call * SECOND)
        tool.health = msgspec.msgpack.decode(packed, type=Health)
        tool.use(True)
        packed = msgspec.msgpack.encode(tool.health)
    assert msgspec.msgpack.decode(packed, type=Health).state == "open"


def test_what_is_older_than_a_minute_does_not_count() -> None:
    tool = Tool()
    tool.use(*[True] * 19)
    tool.now += MINUTE
    assert tool.use(True) == "closed"
    assert tally(tool.health, tool.now).calls == 1


def test_what_says_nothing_of_the_tool_changes_nothing() -> None:
    tool = Tool()
    tool.use(*[True] * 19)
    before = tool.health
    assert tool.use(*[None] * 50) == "closed"
    assert tool.health is before


def test_letting_a_call_through_a_closed_breaker_changes_nothing() -> None:
    tool = Tool()
    tool.use(False)
    assert admits(PLAIN, tool.health, NOON, call=2, retry=False).health is tool.health


def test_while_it_is_open_it_says_when_it_may_be_tried_again() -> None:
    tool = Tool().broken()
    before = tool.health
    found = tool.start()
    assert (found.verdict, found.why, found.until) == ("deny", "open", NOON + 30 * SECOND)
    assert found.health is before
    tool.now = NOON + 30 * SECOND - 1
    assert tool.start().verdict == "deny"
    tool.now += 1
    assert tool.start().probe


def test_of_twenty_calls_at_once_two_are_probes() -> None:
    tool = Tool().broken()
    tool.now = tool.health.until
    found = [tool.start() for _ in range(20)]
    assert [each.verdict for each in found] == ["allow"] * 2 + ["deny"] * 18
    assert {(each.why, each.until) for each in found[2:]} == {("half-open", tool.now + MINUTE)}


def test_enough_successes_close_it_with_a_clean_sheet() -> None:
    tool = Tool().broken().on_trial()
    assert tool.end(tool.calls) == "half-open"
    assert tool.use(False) == "half-open"
    assert tool.use(False) == "closed"
    assert tally(tool.health, tool.now)[:3] == (0, 0, 0)
    # The failures that opened it are less than a minute old, and do not open it again.
    assert tool.use(True) == "closed"


def test_any_failure_of_a_probe_opens_it_again() -> None:
    tool = Tool().broken().on_trial()
    tool.end(tool.calls)
    assert tool.use(False) == "half-open"
    assert tool.use(True) == "open"
    assert (tool.health.opened, tool.health.until - tool.now) == (2, 60 * SECOND)


def test_openings_grow_up_to_the_longest_and_start_over_once_it_is_well() -> None:
    tool, lengths = Tool().broken(), []
    for _ in range(8):
        lengths.append((tool.health.until - tool.health.since) // SECOND)
        tool.on_trial()
        assert tool.end(tool.calls, failed=True) == "open"
    assert lengths == [30, 60, 120, 240, 480, 600, 600, 600]
    tool.on_trial()
    tool.end(tool.calls)
    assert tool.use(False, False) == "closed"
    tool.now += MINUTE
    tool.broken()
    assert tool.health.until - tool.health.since == 30 * SECOND


def test_slow_successes_alone_do_not_close_it() -> None:
    settings = Breaker(jitter=0.0, slow_after=SECOND)
    tool = Tool(settings).broken().on_trial()
    tool.end(tool.calls, latency=2 * SECOND)
    assert tool.use(False, latency=2 * SECOND) == "half-open"
    assert tool.use(False, latency=2 * SECOND) == "open"
    assert tool.health.opened == 2
    tool.on_trial()
    tool.end(tool.calls, latency=2 * SECOND)
    tool.use(False, latency=2 * SECOND)
    assert tool.use(False) == "closed"


def test_probes_that_crashed_give_their_places_back() -> None:
    tool = Tool().broken().on_trial()
    assert tool.start().probe
    assert tool.start().why == "half-open"
    tool.now += MINUTE - 1
    assert tool.start().why == "half-open"
    tool.now += 1
    assert tool.start().probe
    assert tool.start().probe
    assert tool.start().why == "half-open"


def test_a_probe_that_was_cancelled_gives_its_place_back_and_decides_nothing() -> None:
    tool = Tool().broken().on_trial()
    first = tool.calls
    assert tool.start().probe
    assert tool.end(first, failed=None) == "half-open"
    assert tool.start().probe
    assert tool.start().why == "half-open"
    assert tool.health.good == 0


def test_a_probe_that_outlasts_its_lease_still_decides() -> None:
    # Else a tool that takes longer than a lease would never be seen to be well.
    tool = Tool().broken().on_trial()
    probes = [tool.calls]
    for _ in range(2):
        tool.now += MINUTE
        tool.start()
        probes.append(tool.calls)
    assert [tool.end(call) for call in probes] == ["half-open", "half-open", "closed"]


def test_a_call_from_before_it_opened_counts_but_decides_no_trial() -> None:
    tool = Tool()
    tool.start()
    early = tool.calls
    tool.broken().on_trial()
    probe, before = tool.calls, tally(tool.health, tool.now)
    assert tool.end(early, failed=True) == "half-open"
    after = tally(tool.health, tool.now)
    assert (after.calls, after.failed) == (before.calls + 1, before.failed + 1)
    assert tool.end(early) == "half-open"
    assert tool.health.good == 0
    assert tool.end(probe, failed=True) == "open"


def test_a_probe_of_an_earlier_trial_does_not_decide_a_later_one() -> None:
    tool = Tool().broken().on_trial()
    late = tool.calls
    assert tool.start().probe
    assert tool.end(tool.calls, failed=True) == "open"
    tool.on_trial()
    assert tool.end(late, failed=True) == "half-open"


@given(st.integers(0, 2**64), st.floats(0, 0.99), st.integers(1, 12))
def test_jitter_stays_within_its_bounds_and_is_the_same_each_time(seed, jitter, times) -> None:
    settings = Breaker(jitter=jitter)
    lengths = []
    for _ in range(2):
        tool = Tool(settings, seed=seed).broken()
        for _ in range(times - 1):
            tool.on_trial()
            tool.end(tool.calls, failed=True)
        lengths.append(tool.health.until - tool.health.since)
    plain = min(30 * SECOND * 2 ** (times - 1), 600 * SECOND)
    assert lengths[0] == lengths[1]
    assert plain * (1 - jitter) - 1 <= lengths[0] <= plain * (1 + jitter) + 1


def test_tools_that_broke_together_are_not_tried_together() -> None:
    lengths = {Tool(Breaker(), seed=seed).broken().health.until - NOON for seed in range(100)}
    assert len(lengths) == 100
    assert max(lengths) - min(lengths) > 10 * SECOND


@given(st.integers(0, 400 * 24 * 60) | st.integers(0, 60))
def test_a_clock_that_goes_back_keeps_no_tool_closed_off_for_longer_than_said(minutes) -> None:
    tool = Tool().broken()
    length = tool.health.until - tool.health.since
    tool.now -= minutes * MINUTE
    # Twice: once for what the clock lacks, which is under one length, or it is over at once.
    waited = 0
    while not tool.start().probe:
        tool.now += SECOND
        waited += SECOND
    assert waited <= 2 * length
    # The two places are taken, their owners crash, and the clock goes back once more.
    assert tool.start().probe
    tool.now -= minutes * MINUTE
    waited = 0
    while not tool.start().probe:
        tool.now += SECOND
        waited += SECOND
    assert waited <= 2 * tool.settings.lease
    tool.use(False)
    assert tool.use(False, False) == "closed"


def test_a_clock_that_goes_back_far_counts_from_then_on() -> None:
    tool = Tool()
    tool.use(*[True] * 19, cost=1)
    tool.now -= 60 * MINUTE
    assert tool.use(True) == "closed"
    assert tally(tool.health, tool.now) == (1, 1, 0, 0, 0, 0, 0)
    assert tool.use(*[True] * 19) == "open"


def test_a_clock_that_goes_back_a_little_loses_no_failure() -> None:
    tool = Tool()
    for _ in range(20):
        tool.now -= SECOND
        tool.use(True)
    assert tool.health.state == "open"


def test_ten_retries_fit_however_few_calls_there_are() -> None:
    tool = Tool()
    assert [tool.start(retry=True).verdict for _ in range(11)] == ["allow"] * 10 + ["deny"]


def test_a_tenth_of_the_calls_may_be_retries() -> None:
    tool = Tool()
    tool.use(*[False] * 129)
    assert sum(tool.start(retry=True).verdict == "allow" for _ in range(30)) == 12
    tool.use(False)
    assert [tool.start(retry=True).verdict for _ in range(2)] == ["allow", "deny"]


def test_a_refused_retry_consumes_nothing_and_says_when_one_fits() -> None:
    tool = Tool()
    for _ in range(10):
        tool.start(retry=True)
    tool.now += 15 * SECOND
    before = tool.health
    found = tool.start(retry=True)
    assert (found.verdict, found.why, found.until) == ("deny", "retry-budget", NOON + MINUTE)
    assert found.health is before
    assert tool.start().verdict == "allow"
    tool.now = found.until - 1
    assert tool.start(retry=True).verdict == "deny"
    tool.now += 1
    assert tool.start(retry=True).verdict == "allow"


def test_where_no_retry_is_allowed_no_time_allows_one() -> None:
    tool = Tool(Breaker(retry_min=0, retry_share=0.0))
    tool.use(*[False] * 30)
    found = tool.start(retry=True)
    assert (found.verdict, found.until) == ("deny", None)


def test_a_sudden_rise_in_cost_asks_a_person() -> None:
    tool = Tool()
    for _ in range(15):
        tool.use(False, cost=MICRO)
        tool.now += MINUTE
    # 15 dollars in 15 minutes: five in one are not more than five times as much.
    tool.use(*[False] * 5, cost=MICRO)
    assert tool.start().verdict == "allow"
    tool.use(False, cost=1)
    found = tool.start()
    assert (found.verdict, found.why, found.until) == ("ask", "cost-spike", tool.now + MINUTE)
    tool.now = found.until - 1
    assert tool.start().verdict == "ask"
    tool.now += 1
    assert tool.start().verdict == "allow"


def test_below_the_floor_no_rise_in_cost_asks() -> None:
    tool = Tool()
    tool.use(False, cost=1)
    tool.now += MINUTE
    assert tool.use(False, cost=MICRO) == "closed"
    assert tool.start().verdict == "allow"
    tool.end(tool.calls, None, cost=1)
    assert tool.start().verdict == "ask"


def test_a_tool_that_has_only_begun_may_cost_what_it_costs_up_to_a_bound() -> None:
    tool = Tool()
    tool.use(False, cost=5 * MICRO)
    assert tool.start().verdict == "allow"
    tool.use(False, cost=1)
    assert tool.start().verdict == "ask"


def test_what_a_tool_usually_costs_is_taken_over_the_minutes_in_which_it_cost_anything() -> None:
    tool = Tool()
    tool.use(False, cost=MICRO)
    tool.now += MINUTE
    # A dollar in its first minute, and four in its second: that is no fifteenth of a dollar.
    tool.use(False, cost=4 * MICRO)
    assert tool.start().verdict == "allow"


def test_a_person_who_lets_a_call_through_a_spike_lets_it_count() -> None:
    tool = Tool(Breaker(jitter=0.0, lease=1)).broken()
    tool.end(0, None, cost=6 * MICRO)
    tool.now = tool.health.until
    found = tool.start(retry=True)
    assert (found.verdict, found.probe, found.health.state) == ("ask", True, "half-open")
    assert tally(found.health, tool.now).retried == 1
    assert tool.health.state == "open"


def test_no_spike_is_looked_for_where_it_is_off() -> None:
    tool = Tool(Breaker(spike=None))
    tool.use(*[False] * 10, cost=100 * MICRO)
    assert tool.start().verdict == "allow"


def test_what_a_cancelled_call_cost_is_spent_all_the_same() -> None:
    tool = Tool()
    tool.use(None, cost=5)
    assert tally(tool.health, tool.now) == (0, 0, 0, 0, 5, 0, 0)


def test_the_record_stays_small_whatever_happens() -> None:
    tool = Tool(Breaker(probes=1_000, lease=1, min_calls=1 << 40, spike=None))
    for _ in range(200):
        tool.use(True, None, False, cost=MAX)
        tool.start(retry=True)
        tool.now += 7 * SECOND
    tool.settings = Breaker(probes=1_000, lease=1, min_calls=1, spike=None)
    tool.use(True)
    tool.now = tool.health.until
    for _ in range(500):
        tool.now += 7 * SECOND
        tool.start()
        tool.end(0, cost=MAX)
    assert (len(tool.health.probing), len(tool.health.window)) == (PROBES_KEPT, 6)
    assert len(tool.health.history) == 15
    packed = msgspec.msgpack.encode(tool.health)
    assert len(packed) < 2048
    assert msgspec.msgpack.decode(packed, type=Health) == tool.health


def test_more_probes_than_are_remembered_are_not_let_through() -> None:
    tool = Tool(Breaker(probes=1_000)).broken()
    tool.now = tool.health.until
    assert sum(tool.start().verdict == "allow" for _ in range(100)) == PROBES_KEPT


def test_settings_that_are_left_as_they_are_say_nothing() -> None:
    assert msgspec.json.encode(Breaker()) == b"{}"
    assert msgspec.json.encode(Breaker(probes=3)) == b'{"probes":3}'
