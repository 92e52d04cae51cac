"""Rates: the cell rate algorithm against a leaky bucket that is reckoned in fractions."""

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from saferun.control import rate

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOON = 1_760_000_000 * SECOND


@dataclass
class Bucket:
    """A bucket that holds `burst` calls and leaks `most` of them in a window."""

    most: int
    window: int
    burst: int
    level: Fraction = Fraction(0)
    at: int = 0

    def __post_init__(self) -> None:
        self.pace = Fraction(self.most, self.window)

    def wait(self, now: int) -> None:
        self.level = max(Fraction(0), self.level - (now - self.at) * self.pace)
        self.at = now

    def fits(self, now: int) -> bool:
        left = max(Fraction(0), self.level - (now - self.at) * self.pace)
        return left + 1 <= self.burst


class Rate:
    """The same by the algorithm, as a limit uses it."""

    def __init__(self, most: int, window: int, burst: int) -> None:
        self.pace = {"most": most, "window": window}
        self.burst = burst
        self.state = 0

    def free_at(self, now: int) -> int:
        return rate.free_at(self.state, **self.pace, burst=self.burst, now=now)

    def takes(self, now: int) -> bool:
        if self.free_at(now) > now:
            return False
        self.state = rate.moved(self.state, **self.pace, now=now)
        return True

    def used(self, now: int) -> int:
        return rate.used(self.state, **self.pace, now=now)


settings = st.tuples(
    st.integers(1, 2_000),
    st.one_of(st.sampled_from([SECOND, MINUTE, HOUR, 24 * HOUR]), st.integers(1, HOUR)),
    st.integers(1, 20),
)
# How long until the next call: none, a moment, a while, or to the very edge, give or take one.
gaps = st.lists(
    st.one_of(
        st.just(0),
        st.integers(1, 3),
        st.integers(0, 2 * HOUR),
        st.sampled_from(["edge", "before", "after"]),
    ),
    max_size=60,
)


@given(settings, gaps)
@example((3, 10, 1), ["edge", "before", "edge", "after"] * 5)
@example((7, SECOND, 7), [0] * 8 + ["before", "edge"] * 10)
def test_it_lets_through_exactly_what_the_bucket_holds(setting, gaps) -> None:
    bucket, pace = Bucket(*setting, at=NOON), Rate(*setting)
    now = NOON
    for gap in gaps:
        if isinstance(gap, int):
            now += gap
        else:
            off = {"before": -1, "edge": 0, "after": 1}[gap]
            now = max(now, pace.free_at(now) + off)
        bucket.wait(now)
        fits = bucket.fits(now)
        assert pace.used(now) == -(-bucket.level // 1)
        assert pace.takes(now) is fits
        if fits:
            bucket.level += 1


@given(settings, gaps)
def test_when_it_says_that_a_call_fits_it_fits_and_not_a_microsecond_before(setting, gaps) -> None:
    bucket, pace = Bucket(*setting, at=NOON), Rate(*setting)
    now = NOON
    for gap in gaps:
        now += gap if isinstance(gap, int) else 0
        bucket.wait(now)
        free = pace.free_at(now)
        assert bucket.fits(max(free, now))
        if free > now:
            assert not bucket.fits(free - 1)
        else:
            assert pace.takes(now)
            bucket.level += 1


def test_the_steady_pace_goes_on_for_ever_without_drifting() -> None:
    # Ten thirds of a microsecond: rounded either way, it would show after some calls.
    pace = Rate(3, 10, 2)
    assert all(pace.takes(NOON - (-call * 10 // 3)) for call in range(3_000))
    assert pace.takes(NOON + 10_000)
    assert not pace.takes(NOON + 10_000)


def test_at_the_edge_of_the_window_there_is_no_second_burst() -> None:
    # A fixed window that begins anew each minute lets 20 through within two moments.
    pace = Rate(10, MINUTE, 10)
    before, after = NOON + MINUTE - 1, NOON + MINUTE
    assert sum(pace.takes(before) for _ in range(20)) == 10
    assert sum(pace.takes(after) for _ in range(20)) == 0
    assert pace.free_at(after) == before + MINUTE // 10


clocks = st.lists(
    st.tuples(
        st.integers(0, 20 * SECOND),
        # Which of two hosts asks, and by how much its clock jumps before it does.
        st.booleans(),
        st.sampled_from([0, 0, 0, 0, HOUR, -HOUR]),
    ),
    max_size=60,
)


@given(clocks, st.integers(1, 20), st.integers(1, 10))
def test_hosts_whose_clocks_jump_by_an_hour_never_get_more_than_the_pace(
    clocks, most, burst
) -> None:
    # As a store tells the time: the host's, or the highest seen where that is later.
    pace, bucket = Rate(most, MINUTE, burst), Bucket(most, MINUTE, burst, at=NOON)
    true, highest, off, taken = NOON, NOON, {False: 0, True: 0}, []
    for gap, host, jump in clocks:
        true += gap
        off[host] += jump
        highest = max(highest, true + off[host])
        bucket.wait(highest)
        if pace.takes(highest):
            assert bucket.fits(highest)
            bucket.level += 1
            taken.append((true, highest))
    # A jump forward is worth one burst, which is what any rest is worth, and a jump back nothing.
    jumps = sum(max(0, off) // HOUR for off in _highs(clocks))
    for first, (start, _) in enumerate(taken):
        for last in range(first, len(taken)):
            steady = (taken[last][0] - start) * Fraction(most, MINUTE)
            assert last - first + 1 <= burst * (1 + jumps) + steady


def _highs(clocks) -> list[int]:
    """How far each new highest offset lies above the one before: each is a rest at most."""
    off, highest, steps = {False: 0, True: 0}, 0, []
    for _, host, jump in clocks:
        off[host] += jump
        if off[host] > highest:
            steps.append(HOUR)
            highest = off[host]
    return steps


def test_a_clock_that_went_back_holds_the_pace_until_it_has_caught_up() -> None:
    pace = Rate(10, MINUTE, 2)
    highest = NOON + HOUR
    assert [pace.takes(highest) for _ in range(3)] == [True, True, False]
    # The store goes on saying the highest time.
    assert not pace.takes(max(NOON, highest))
    assert pace.takes(max(NOON + HOUR + 6 * SECOND, highest))


@given(st.integers(2_049, 5_000_000), st.sampled_from([SECOND, MINUTE, HOUR, 24 * HOUR]))
@example(10_007, SECOND)
@example(4_999_999, 24 * HOUR)
def test_a_very_fast_rate_errs_by_less_than_half_a_nanosecond_a_call_and_towards_no(
    most, window
) -> None:
    pace, exact = Rate(most, window, 1_000), Fraction(window, most)
    for _ in range(1_000):
        assert pace.takes(NOON)
    assert not pace.takes(NOON)
    # One place is free again after one step.
    assert exact <= pace.free_at(NOON) - NOON < exact + Fraction(1, 2_048) + 1
    parts = pace.state - rate.moved(0, **pace.pace, now=NOON)
    late = Fraction(parts, min(2_048, _parts(most, window))) - 999 * exact
    assert 0 <= late <= Fraction(999, 2_048)


def _parts(most: int, window: int) -> int:
    return Fraction(window, most).denominator


@given(
    st.integers(1, 10**9),
    st.sampled_from([1, SECOND, HOUR, 365 * 24 * HOUR]),
    st.integers(1, 10**6),
)
def test_the_state_fits_64_bits_for_the_next_fifty_years(most, window, burst) -> None:
    now = NOON + 50 * 365 * 24 * HOUR
    state = rate.moved(0, most=most, window=window, now=now)
    assert state < 1 << 63
