"""What holds of every trail: it is what it was told, it is bounded, and it costs the same."""

import copy
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.looping import SECOND, Running, digest, echoed, signed
from saferun.control.loop import Loops, Trail, echo

BOUND = 384 * 1024
"""Bytes that the trail of a run may take, whatever the run does."""

TOOLS = ("search", "read", "write")
RESULTS = (None, "", [], "page", ["a", "b"], {"error": "no"}, "done in 1.5s", "done in 2.5s")
ERRORS = (None, None, "KeyError: no", "TimeoutError: late")

steps = st.one_of(
    st.tuples(
        st.just("call"),
        st.sampled_from(TOOLS),
        st.integers(0, 3),
        st.sampled_from(RESULTS),
        st.sampled_from(ERRORS),
        st.integers(0, 30 * SECOND),
    ),
    st.tuples(
        st.sampled_from(["begin", "lose", "cancel", "refuse", "tell", "answer", "end unknown"]),
        st.sampled_from(TOOLS),
        st.integers(0, 3),
        st.integers(0, 30 * SECOND),
    ),
)


def told(trail: Trail, done: list[tuple[Any, ...]]) -> int:
    """Tell a trail what was done; the time at which that ends."""
    now = 1_700_000_000 * SECOND
    for seq, (what, tool, key, *rest) in enumerate(done):
        known = signed(tool, key=key)
        now += rest[-1]
        if what in ("call", "begin", "lose", "cancel"):
            trail.started(known, seq, now)
        if what == "call":
            trail.ended(seq, echoed(rest[0], error=rest[1]), now)
        elif what == "lose":
            trail.ended(seq, echo("unknown", None, None, digest), now)
        elif what == "cancel":
            trail.ended(seq, echo("cancelled", None, None, digest), now)
        elif what == "refuse":
            trail.refused(known, now)
        elif what == "tell":
            trail.told(now)
        elif what == "answer":
            trail.answered(known)
        elif what == "end unknown":
            trail.ended(seq + 10_000, echoed("page"), now)
    return now


@given(st.lists(steps, max_size=60), st.sampled_from(TOOLS), st.integers(0, 3), st.booleans())
def test_a_check_changes_nothing(done: list, tool: str, key: int, poll: bool) -> None:
    trail = Trail()
    now = told(trail, done)
    before = copy.deepcopy(trail)
    known = signed(tool, key=key)
    first = trail.check(Loops(), known, now, poll=poll, effect="read")
    trail.retried(known)
    assert trail == before
    assert trail.check(Loops(), known, now, poll=poll, effect="read") == first


@given(st.lists(steps, max_size=60))
def test_the_same_told_again_makes_an_equal_trail(done: list) -> None:
    one, two = Trail(), Trail()
    told(one, done)
    told(two, done)
    assert one == two


@given(st.lists(steps, min_size=1, max_size=60))
def test_a_call_that_was_never_made_is_at_most_barren(done: list) -> None:
    trail = Trail()
    now = told(trail, done)
    found = trail.check(Loops(), signed("search", key=99), now, poll=False, effect="read")
    assert found is None or found.signal == "barren"


@given(st.lists(steps, max_size=60), st.sampled_from(TOOLS), st.integers(0, 3))
def test_what_is_found_has_reached_what_it_names(done: list, tool: str, key: int) -> None:
    trail = Trail()
    now = told(trail, done)
    found = trail.check(Loops(), signed(tool, key=key), now, poll=False, effect="write")
    if found is None:
        return
    assert found.count >= found.limit or (found.step == "nudge" and found.count * 2 >= found.limit)
    assert found.message.count(tool) >= 1


def flood(running: Running, calls: int) -> None:
    for number in range(calls):
        running.made("get", {"value": number}, key=number)


def test_a_flood_of_new_calls_is_bounded_and_lifetime_counts_survive_it() -> None:
    running = Running()
    for number in range(30):
        running.made("read_inbox", ["mail"])
        running.made("think", "ok", thought=number)
    flood(running, 20_000)
    assert size(running.trail) <= BOUND
    for number in range(10):
        found = running.asked("read_inbox")
        assert found is None or found.step == "nudge"
        running.made("read_inbox", ["mail"])
        running.made("think", "ok", thought=30 + number)
    found = running.asked("read_inbox")
    assert found is not None
    assert (found.step, found.signal, found.count) == ("deny", "lifetime", 40)


def test_a_flood_of_repeats_of_every_height_is_bounded() -> None:
    running = Running()
    for number in range(6_000):
        running.made("get", {"value": number}, text=f"text of number {number}", key=number)
        for height in (2, 5, 17):
            if number % height == 0:
                running.made("get", number % 300, error=None, times=height, key=-(number % 300))
    for number in range(2_000):
        running.trail.started(signed("hang", key=number), 10**6 + number, running.now)
        running.trail.answered(signed("hang", key=number))
        running.trail.refused(signed(f"tool {number}"), running.now)
        running.made(f"tool {number}", [], query=f"word{chr(97 + number % 26)} of all {number}")
    assert size(running.trail) <= BOUND


def test_a_long_run_of_new_calls_is_never_refused_for_its_length() -> None:
    running = Running()
    for number in range(20_000):
        if number % 97 == 0:
            assert running.asked("get", key=number) is None
        running.made("get", "ok", key=number)


def test_a_step_of_a_long_run_costs_what_a_step_of_a_short_one_costs() -> None:
    costs = []
    for calls in (100, 10_000):
        running = Running()
        for number in range(calls):
            running.made("get", number % 2, key=number % 3)
            running.made("get", {"value": number}, key=number)
        costs.append(max(lines(running, number) for number in range(calls, calls + 20)))
    assert costs[1] <= costs[0] * 1.1, costs


def lines(running: Running, number: int) -> int:
    """Lines of the control that are run for one more call."""
    count = 0

    def count_lines(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if "saferun/control/loop" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return count_lines

    before = sys.gettrace()
    sys.settrace(count_lines)
    try:
        running.asked("get", key=number % 3)
        running.made("get", number % 2, key=number % 3)
    finally:
        sys.settrace(before)
    assert count > 0
    return count


def size(value: Any, seen: set[int] | None = None) -> int:
    """Bytes that a value takes with all that it holds."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    return sys.getsizeof(value) + sum(size(part, seen) for part in parts(value))


def parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            yield getattr(value, name)


@pytest.mark.parametrize("jump", [-3600 * SECOND, 3600 * SECOND])
def test_a_clock_that_jumps_does_not_wedge_a_run(jump: int) -> None:
    running = Running(poll=True)
    running.made("get_job", "running", after=0.5, times=5)
    running.now += jump
    found = running.asked("get_job")
    assert found is None or found.step == "nudge"
    running.made("get_job", {"done": True})
    assert running.asked("get_job") is None
