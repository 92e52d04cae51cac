"""Windows: slices against a log of everything, kept exactly."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from saferun.control import window
from saferun.control.amount import MAX

SECOND = 1_000_000
HOUR = 3_600 * SECOND
NOON = 1_760_000_000 * SECOND

lengths = st.one_of(
    st.sampled_from([SECOND, 60 * SECOND, HOUR, 24 * HOUR]),
    st.integers(60, 10_000),
    st.integers(1, HOUR),
)
# Gaps as parts of the window, so that what leaves it and what stays come up alike.
events = st.lists(
    st.tuples(st.fractions(0, Fraction(3, 2), max_denominator=240), st.integers(1, 10)),
    max_size=60,
)


def _slice(length: int) -> int:
    return max(1, length // 60)


def _played(length, events, most):
    """Let through what fits; what was, as (time, amount), with the state after each try."""
    state, log, now = (), [], NOON
    for part, amount in events:
        now += int(part * length)
        if window.held(state, length, now) + amount <= most:
            state = window.moved(state, length, window.slice_of(length, now), amount, now)
            log.append((now, amount))
        yield state, log, now


@given(lengths, events, st.integers(1, 40))
@example(60, [(Fraction(0), 1), (Fraction(1), 1)], 1)
@example(119, [(Fraction(0), 1), (Fraction(1), 1)], 1)
def test_no_stretch_as_long_as_the_window_ever_holds_more_than_is_allowed(
    length, events, most
) -> None:
    for _, log, now in _played(length, events, most):
        # Every stretch that holds most ends with an event; both its ends belong to it.
        assert sum(amount for at, amount in log if now - length <= at) <= most


@given(lengths, events, st.integers(1, 40))
def test_what_happened_leaves_at_most_a_sixtieth_later_than_it_should(length, events, most) -> None:
    for state, log, now in _played(length, events, most):
        exact = sum(amount for at, amount in log if at > now - length)
        late = sum(amount for at, amount in log if at > now - length - _slice(length))
        assert exact <= window.held(state, length, now) <= late


@given(lengths, events, st.integers(1, 40), st.integers(0, 40))
def test_when_it_says_that_room_is_free_it_is_and_not_a_microsecond_before(
    length, events, most, room
) -> None:
    for state, _, now in _played(length, events, most):
        when = window.free_at(state, length, room, now)
        assert window.held(state, length, when) <= room
        if window.held(state, length, now) <= room:
            assert when == now
        else:
            assert when > now
            assert window.held(state, length, when - 1) > room


@given(lengths, events, st.integers(1, 40))
def test_room_is_free_again_within_the_window_and_a_sixtieth(length, events, most) -> None:
    for state, _, now in _played(length, events, most):
        assert window.free_at(state, length, 0, now) <= now + length + _slice(length)


def test_room_that_there_never_is_has_no_time() -> None:
    assert window.free_at((), HOUR, -1, NOON) is None


@given(lengths, events, st.data())
def test_what_is_given_back_is_taken_from_where_it_was_counted(length, events, data) -> None:
    for state, log, now in _played(length, events, 40):
        if not log:
            continue
        at, amount = data.draw(st.sampled_from(log))
        back = window.moved(state, length, window.slice_of(length, at), -amount, now)
        without = list(log)
        without.remove((at, amount))
        again = ()
        for when, each in without:
            again = window.moved(again, length, window.slice_of(length, when), each, when)
        for later in (now, now + length // 3, now + length, now + 2 * length):
            assert window.held(back, length, later) == window.held(again, length, later)


def test_nothing_is_owed_where_more_is_given_back_than_was_counted() -> None:
    at = window.slice_of(HOUR, NOON)
    state = window.moved((), HOUR, at, 3, NOON)
    assert window.moved(state, HOUR, at, -5, NOON) == []
    assert window.moved(state, HOUR, at - 1, -5, NOON) == state
    assert window.moved(state, HOUR, at - 70, -5, NOON) == state


def test_a_settlement_that_comes_after_its_window_moves_nothing() -> None:
    at = window.slice_of(HOUR, NOON)
    assert window.moved((), HOUR, at, 100, NOON + 2 * HOUR) == []


def test_an_old_slice_takes_its_place_among_the_others() -> None:
    at = window.slice_of(HOUR, NOON)
    state = window.moved((), HOUR, at, 1, NOON)
    state = window.moved(state, HOUR, at - 3, 2, NOON)
    assert [tuple(each) for each in state] == [(at - 3, 2), (at, 1)]


@given(lengths, st.integers(1, 200))
def test_the_state_is_bounded_and_in_order(length, step) -> None:
    state, now = (), NOON
    for _ in range(300):
        now += max(1, length // step)
        state = window.moved(state, length, window.slice_of(length, now), 1, now)
        numbers = [number for number, _ in state]
        assert numbers == sorted(set(numbers))
        assert len(state) <= (62 if length >= SECOND else 121)


def test_a_state_is_never_changed_in_place() -> None:
    at = window.slice_of(HOUR, NOON)
    before = window.moved((), HOUR, at, 1, NOON)
    copy = [tuple(each) for each in before]
    window.moved(before, HOUR, at, 1, NOON)
    window.moved(before, HOUR, at + 1, 1, NOON + HOUR // 60)
    assert [tuple(each) for each in before] == copy


def test_a_slice_stays_within_64_bits_whatever_tools_say_their_calls_cost() -> None:
    at, state = window.slice_of(HOUR, NOON), ()
    for _ in range(10):
        state = window.moved(state, HOUR, at, MAX, NOON)
    assert window.held(state, HOUR, NOON) == MAX


def test_a_clock_that_goes_back_frees_nothing() -> None:
    state = window.moved((), HOUR, window.slice_of(HOUR, NOON), 5, NOON)
    assert window.held(state, HOUR, NOON - HOUR) == 5
