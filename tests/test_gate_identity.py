"""One call is one call: asked again it gets the recorded decision, and it starts once."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarding import enforcing, entries, observing, statuses, verdicts
from saferun import Call, Gate, Outcome
from saferun.call import RunRef
from saferun.policy import loads

LIMITED = """
version: 1
name: limited
tools:
  pay:
    effect: write
    args: {x: {type: integer}}
    limits: [{id: twice, max: 2, per: run}]
"""

RUN = RunRef(run_id="r-1", root="r-1")


def call(
    x: int = 1, call_id: str | None = "c-1", run: RunRef | None = RUN, tool: str = "pay"
) -> Call:
    return Call(tool=tool, args={"x": x}, call_id=call_id, run=run)


def test_the_same_call_gets_the_recorded_decision_and_starts_once():
    gate = observing()
    first, second = gate.check(call()), gate.check(call())
    assert (first.starts, second.starts) == (True, False)
    assert (first.seq, first.verdict) == (second.seq, second.verdict)
    assert second.outcome is None
    assert len(verdicts(gate)) == 1


def test_after_the_end_it_gets_the_recorded_outcome():
    gate = observing()
    gate.settle(gate.check(call()), Outcome(status="ok", result={"paid": 5}, latency=7))
    again = gate.check(call())
    assert not again.starts
    assert again.outcome == Outcome(status="ok", result={"paid": 5}, latency=7)


def test_a_denial_is_repeated_and_recorded_once():
    gate = enforcing("version: 1\nname: closed\n")
    first, second = gate.check(call()), gate.check(call())
    assert first.verdict == second.verdict == "deny"
    assert first.for_model == second.for_model
    assert verdicts(gate) == ["deny"]


@pytest.mark.parametrize(
    "other",
    [
        call(x=2),
        call(call_id="c-2"),
        call(tool="refund"),
        call(run=RunRef(run_id="r-2", root="r-2")),
        call(run=None),
    ],
    ids=["arguments", "call id", "tool", "run", "no run"],
)
def test_whatever_else_differs_it_is_another_call(other):
    gate = observing()
    first, second = gate.check(call()), gate.check(other)
    assert first.starts
    assert second.starts
    assert first.seq != second.seq


def test_calls_without_an_id_are_each_their_own():
    gate = observing()
    assert gate.check(call(call_id=None)).starts
    assert gate.check(call(call_id=None)).starts


def test_a_repeated_call_counts_once():
    gate = enforcing(LIMITED)
    for _ in range(5):
        gate.check(call(x=1, call_id="a"))
    assert gate.check(call(x=1, call_id="b")).starts
    assert gate.check(call(x=1, call_id="c")).verdict == "deny"


def test_of_many_threads_that_ask_at_once_one_starts():
    gate = observing()
    ready = threading.Barrier(8)

    def ask(_: int) -> bool:
        ready.wait()
        return gate.check(call()).starts

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1
    assert len(verdicts(gate)) == 1


async def test_of_many_tasks_that_ask_at_once_one_starts():
    gate = observing()
    found = await asyncio.gather(*(gate.acheck(call()) for _ in range(8)))
    assert sum(decision.starts for decision in found) == 1


def test_two_gates_on_one_store_know_each_other_s_calls():
    first, second = observing(), observing()
    assert first.check(call()).starts
    assert not second.check(call()).starts


def test_what_never_started_is_decided_again():
    gate = observing()
    gate.settle(gate.check(call()), Outcome(status="not_started"))
    assert gate.check(call()).starts
    assert verdicts(gate) == ["allow", "allow"]


async def test_a_check_that_was_cancelled_leaves_the_call_to_be_made_again():
    gate = observing()
    task = asyncio.create_task(gate.acheck(call()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.store.flush()
    assert (await gate.acheck(call())).starts


# The key for the tool.


def test_the_idempotency_key_is_the_same_for_repetitions_and_for_them_alone():
    gate = observing()
    first, again = gate.check(call()), gate.check(call())
    others = [
        gate.check(call(x=2)),
        gate.check(call(call_id="c-2")),
        gate.check(call(call_id=None)),
    ]
    assert first.idempotency_key == again.idempotency_key
    assert len({first.idempotency_key, *(other.idempotency_key for other in others)}) == 4


def test_the_idempotency_key_gives_no_argument_away():
    gate = observing()
    assert gate.check(call(x=4_111)).idempotency_key.startswith("saferun-")
    assert "4111" not in gate.check(call(x=4_111)).idempotency_key


def test_a_call_that_is_made_again_after_a_refusal_to_start_keeps_its_key():
    gate = observing()
    first = gate.check(call())
    gate.settle(first, Outcome(status="not_started"))
    assert gate.check(call()).idempotency_key == first.idempotency_key


# Ids that come from models.

HOSTILE = ["", "a\0b", "\ud800", "x" * 10_000_000, "\x1b[2J", "c\n", "\u202eevil", "é"]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_an_id_that_cannot_be_recorded_is_denied_under_a_policy(hostile):
    gate = enforcing()
    decision = gate.check(call(call_id=hostile))
    assert decision.verdict == "deny"
    assert "call id" in decision.for_model
    assert len(decision.for_model) < 300
    assert decision.seq is not None


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_where_nothing_is_denied_it_is_left_out(hostile):
    gate = observing()
    decision = gate.check(call(call_id=hostile))
    assert decision.starts
    assert "call" not in entries(gate, "decision")[0]


@pytest.mark.parametrize("harmless", ["call_0", "[red]bold[/red]", "<b>", "'; DROP TABLE call; --"])
def test_markup_in_an_id_is_only_text(harmless):
    gate = enforcing()
    assert gate.check(call(call_id=harmless)).starts
    assert not gate.check(call(call_id=harmless)).starts
    assert entries(gate, "decision")[0]["call"] == harmless


@given(st.text(max_size=300) | st.just("x" * 257))
def test_no_id_makes_the_gate_unavailable(call_id):
    gate = _shared()
    assert gate.check(call(call_id=call_id, run=None)).seq is not None


_open: list[Gate] = []


def _shared() -> Gate:
    if not _open or _open[0].store.closed:
        _open[:] = [enforcing()]
    return _open[0]


# Arguments that only a gate of one's own can be given.


@pytest.mark.parametrize("args", [{"x": "\ud800"}, {"x": float("nan")}, {"x": object()}])
def test_arguments_that_were_not_taken_down_are_denied_and_break_nothing(args):
    gate = enforcing()
    assert gate.check(Call(tool="pay", args=args)).verdict == "deny"
    assert gate.check(call()).starts


def test_arguments_that_are_too_large_are_denied_with_their_size():
    gate = enforcing()
    decision = gate.check(Call(tool="pay", args={"x": "x" * (17 * 1024 * 1024)}))
    assert decision.verdict == "deny"
    assert "17,825,800 bytes, and 16,777,216 is the most" in decision.for_model
    assert decision.seq is not None


# Whose run it is.


def bound(**about) -> Call:
    user = about.pop("user", None)
    ref = RunRef(run_id="r-9", root="r-9", user={} if user is None else {"id": user}, **about)
    return Call(tool="pay", args={"x": 1}, run=ref)


@pytest.mark.parametrize("taken", [{"agent": "a"}, {"user": "u"}, {"tenant": "t"}, {}])
@pytest.mark.parametrize("by", [{"agent": "b"}, {"user": "v"}, {"tenant": "s"}])
def test_a_run_belongs_to_whom_used_it_first(taken, by):
    gate = enforcing()
    assert gate.check(bound(**taken)).starts
    assert gate.check(bound(**taken)).starts
    decision = gate.check(bound(**by))
    assert decision.verdict == "deny"
    assert "this run id belongs to another agent, user, tenant" in decision.for_model


def test_a_run_s_own_words_may_change_between_its_calls():
    gate = enforcing()
    assert gate.check(bound(prompt="one")).starts
    assert gate.check(bound(prompt="two")).starts
    assert len(entries(gate, "run")) == 1


def test_a_policy_named_twice_is_one_gate_each_on_one_store():
    first, second = Gate(policy=loads(LIMITED)), Gate(policy=loads(LIMITED))
    assert first.check(call(call_id="a")).starts
    assert second.check(call(call_id="b")).starts
    assert first.check(call(call_id="c")).verdict == "deny"


def test_outcomes_of_repeated_calls_are_settled_once():
    gate = observing()
    first, again = gate.check(call()), gate.check(call())
    gate.settle(again, Outcome(status="ok"))
    gate.settle(first, Outcome(status="ok"))
    gate.settle(first, Outcome(status="error"))
    assert statuses(gate) == ["ok"]
