"""What is kept of a limit or a tool and says no more than nothing would: it may be forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from saferun.admission import HEALTH, spent
from saferun.control import Breaker, Charge, Health, Limit
from saferun.control import breaker as breakers
from saferun.control import limit as limits

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND

windowed = st.builds(
    lambda most, window, summed: Limit(
        id="w", max=most, per=("user",), window=window, sum="args.x 5 7" if summed else None
    ),
    st.integers(1, 50),
    st.integers(1, 10**12),
    st.booleans(),
)
paced = st.builds(
    lambda most, window, burst: Limit(id="r", max=most, per=("user",), window=window, burst=burst),
    st.integers(1, 5_000),
    st.integers(1, 10**12),
    st.integers(1, 50),
)
moments = st.lists(st.integers(0, 10**12), min_size=1, max_size=20)


@given(windowed | paced, moments, st.integers(0, 3 * 10**12))
def test_a_spent_limit_decides_as_one_that_nothing_was_counted_of(limit, offsets, later):
    charge = Charge(limit, 0)
    state = None
    for offset in sorted(offsets):
        state = limits.counted(charge, state, NOW + offset)
    now = NOW + max(offsets) + later
    if spent({limit.name: state}, now):
        assert limits.used(limit, state, now) == 0
        assert limits.over(charge, state, now) == limits.over(charge, None, now)
        again = limits.counted(charge, state, now)
        assert limits.used(limit, again, now) == limits.used(
            limit, limits.counted(charge, None, now), now
        )
        # It stays so: what others still remember is never worth more later.
        assert spent({limit.name: state}, now + later)


@given(windowed | paced, moments)
def test_a_limit_with_an_end_is_spent_in_time(limit, offsets):
    state = None
    for offset in sorted(offsets):
        state = limits.counted(Charge(limit, 0), state, NOW + offset)
    end = NOW + max(offsets) + 3 * limit.window * len(offsets) + 60
    assert spent({limit.name: state}, end)


@given(st.integers(0, 100), st.integers(0, 10**16))
def test_a_total_is_never_spent(total, later):
    limit = Limit(id="t", max=100, per=("run",))
    summed = Limit(id="s", max=100, per=("run",), sum="args.1~2 3")
    assert not spent({limit.name: total}, NOW + later)
    assert not spent({summed.name: total}, NOW + later)


def test_a_group_is_spent_when_all_of_it_is():
    over, under_way = [(0, 3)], [(NOW // SECOND, 3)]
    assert spent({"a calls 60000000": over}, NOW)
    assert not spent({"a calls 60000000": over, "b calls 60000000": under_way}, NOW)
    assert spent({}, NOW)


@given(
    st.lists(
        st.tuples(st.integers(0, 1_200), st.booleans(), st.integers(0, 10**8)),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 3_600),
)
def test_a_spent_breaker_decides_as_one_of_which_nothing_is_known(calls, later):
    settings = Breaker(min_calls=3)
    health, now = Health(), NOW
    for number, (seconds, failed, cost) in enumerate(calls):
        now += seconds * SECOND
        passed = breakers.admits(settings, health, now, call=number, retry=False)
        health = breakers.completed(
            settings, passed.health, now, call=number, seed=7, failed=failed, cost=cost
        )
    now += later * SECOND
    if spent({HEALTH: health}, now):
        assert health.state == "closed"
        for retry in (False, True):
            kept = breakers.admits(settings, health, now, call=99, retry=retry)
            fresh = breakers.admits(settings, Health(), now, call=99, retry=retry)
            assert (kept.verdict, kept.why, kept.probe) == (fresh.verdict, fresh.why, fresh.probe)
    if health.opened:
        assert not spent({HEALTH: health}, now + 10**15)
    else:
        assert spent({HEALTH: health}, now + 20 * 60 * SECOND)
