"""How calls end: recorded as what it was, and to the caller exactly as without a guard."""

import asyncio
import concurrent.futures
import threading
import traceback

import msgspec
import pytest

import saferun
from guarding import Asked, approve, enforcing, entries, observing, statuses, verdicts
from saferun import ApprovalExpired, Denied, Gate, GateUnavailable, guard, listening
from saferun.approval import Question, Vote
from saferun.policy import loads

ASKS = """
version: 1
name: asks
tools:
  tool:
    effect: write
    args: {x: {}}
    rules: [{id: always, ask: true, message: Everything is asked about.}]
"""


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


ENDINGS = [
    (ValueError("bad"), "error", "ValueError: bad"),
    (KeyError("k"), "error", "KeyError: 'k'"),
    (TimeoutError("late"), "timeout", "TimeoutError: late"),
    (concurrent.futures.TimeoutError(), "timeout", "TimeoutError: "),
    (StopAsyncIteration(), "error", "StopAsyncIteration: "),
    (Unreadable(), "error", "Unreadable: (its text cannot be read)"),
    (OSError(2, "half of a pair \udcff"), "error", "FileNotFoundError: [Errno 2] half of a pair ?"),
    (ExceptionGroup("many", [ValueError("x")]), "error", "ExceptionGroup: many (1 sub-exception)"),
    (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt: "),
    (SystemExit(3), "cancelled", "SystemExit: 3"),
    (asyncio.CancelledError(), "cancelled", "CancelledError: "),
    (GeneratorExit(), "cancelled", "GeneratorExit: "),
]


@pytest.mark.parametrize(
    ("error", "status", "said"), ENDINGS, ids=[type(error).__name__ for error, *_ in ENDINGS]
)
def test_an_exception_is_recorded_and_reaches_the_caller_as_it_is(error, status, said):
    def fail():
        raise error

    gate = observing()
    with pytest.raises(type(error)) as raised:
        guard(fail, gate=gate)()
    assert raised.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    (entry,) = entries(gate, "outcome")
    assert (entry["status"], entry["error"]) == (status, said)
    assert "result" not in entry


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("late"), OSError("x")])
async def test_a_coroutine_s_exception_reaches_the_caller_as_it_is(error):
    async def fail():
        raise error

    gate = observing()
    with pytest.raises(type(error)) as raised:
        await guard(fail, gate=gate)()
    assert raised.value is error
    assert len(statuses(gate)) == 1


def test_the_traceback_still_shows_where_the_tool_failed():
    def deep():
        raise ValueError("here")

    def fail():
        deep()

    with pytest.raises(ValueError) as raised:
        guard(fail)()
    shown = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert shown[-2:] == ["fail", "deep"]


def test_the_cause_that_a_tool_gives_is_kept():
    cause = KeyError("first")

    def fail():
        raise ValueError("second") from cause

    with pytest.raises(ValueError) as raised:
        guard(fail)()
    assert raised.value.__cause__ is cause


def test_a_long_error_is_recorded_up_to_a_bound():
    def fail():
        raise ValueError("x" * 100_000)

    gate = observing()
    with pytest.raises(ValueError):
        guard(fail, gate=gate)()
    (entry,) = entries(gate, "outcome")
    assert len(entry["error"]) == 2_000


def test_a_result_and_its_latency_are_recorded():
    gate = observing()
    assert guard(lambda: {"ok": [1, None]}, name="tool", gate=gate)() == {"ok": [1, None]}
    (entry,) = entries(gate, "outcome")
    assert entry["result"] == {"ok": [1, None]}
    assert entry["latency"] >= 0
    assert entry["of"] == entries(gate, "decision")[0]["seq"]


def test_a_result_is_handed_on_as_the_very_object():
    made = object()
    assert guard(lambda: made, name="tool", gate=enforcing())() is made


@pytest.mark.parametrize("result", [float("nan"), "\ud800", {1: {2}}, {(1,): 2}, 2**5000, b"\xff"])
def test_a_result_that_cannot_be_recorded_is_handed_on_all_the_same(result):
    gate = observing()
    assert guard(lambda: result, name="tool", gate=gate)() is result
    assert statuses(gate) == ["ok"]


def test_a_result_that_is_too_large_is_recorded_by_its_size():
    gate = observing()
    large = "x" * (17 * 1024 * 1024)
    assert guard(lambda: large, name="tool", gate=gate)() is large
    (entry,) = entries(gate, "outcome")
    assert entry["result"]["$omitted"].endswith("bytes")


# Cancellation.


async def test_a_task_that_is_cancelled_while_the_tool_runs_is_recorded_as_that():
    began = asyncio.Event()

    async def work():
        began.set()
        await asyncio.Event().wait()

    gate = observing()
    task = asyncio.create_task(guard(work, gate=gate)())
    await began.wait()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert raised.value.args == ("enough",)
    assert statuses(gate) == ["cancelled"]


async def test_a_tool_that_goes_on_after_a_cancellation_is_recorded_as_it_ends():
    began = asyncio.Event()

    async def work():
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved"

    gate = observing()
    task = asyncio.create_task(guard(work, gate=gate)())
    await began.wait()
    task.cancel()
    assert await task == "saved"
    assert statuses(gate) == ["ok"]


async def test_a_timeout_around_the_call_is_a_cancellation_of_the_tool():
    scope = asyncio.timeout(None)

    async def work():
        scope.reschedule(asyncio.get_running_loop().time())
        await asyncio.Event().wait()

    gate = observing()
    safe = guard(work, gate=gate)
    with pytest.raises(TimeoutError):
        async with scope:
            await safe()
    assert statuses(gate) == ["cancelled"]


async def test_a_timeout_inside_the_tool_is_a_timeout():
    async def work():
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    gate = observing()
    with pytest.raises(TimeoutError):
        await guard(work, gate=gate)()
    assert statuses(gate) == ["timeout"]


async def test_a_task_that_is_cancelled_before_the_decision_starts_nothing():
    ran = []

    async def work():
        ran.append(1)

    gate = observing()
    task = asyncio.create_task(guard(work, gate=gate)())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert ran == []
    assert statuses(gate) in ([], ["not_started"])
    assert len(statuses(gate)) == len(verdicts(gate))


async def test_a_task_that_is_cancelled_while_a_person_is_asked_withdraws_the_question():
    asked, answered = threading.Event(), threading.Event()

    def answer(_: Question) -> Vote | None:
        asked.set()
        answered.wait(5)
        return Vote(approved=True, by="dana")

    ran = []

    async def tool(x):
        ran.append(x)

    gate = enforcing(ASKS, answer)
    task = asyncio.create_task(guard(tool, gate=gate)(1))
    await asyncio.to_thread(asked.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answered.set()
    assert ran == []
    told = [entry["event"] for entry in entries(gate, "approval")]
    assert told[:2] == ["requested", "cancelled"]
    assert "approved" not in told


async def test_one_cancelled_call_disturbs_none_of_its_siblings():
    began = asyncio.Event()

    async def work(x):
        if x == 1:
            began.set()
            await asyncio.Event().wait()
        await began.wait()
        return x

    gate = observing()
    safe = guard(work, gate=gate)
    tasks = [asyncio.create_task(safe(x)) for x in range(4)]
    await began.wait()
    tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [done[0], done[2], done[3]] == [0, 2, 3]
    assert sorted(statuses(gate)) == ["cancelled", "ok", "ok", "ok"]


# What is decided on is what runs.


@pytest.mark.parametrize("asynchronous", [False, True])
def test_arguments_that_change_while_a_person_is_asked_do_not_change_for_the_tool(asynchronous):
    lines = [{"sku": "A", "count": 1}]

    def answer(question: Question) -> Vote:
        lines[0]["count"] = 1_000
        lines.append({"sku": "B", "count": 1})
        return approve(question)

    got = []

    async def atool(x):
        got.append(x)

    gate = enforcing(ASKS, answer)
    if asynchronous:
        asyncio.run(guard(atool, name="tool", gate=gate)(lines))
    else:
        guard(lambda x: got.append(x), name="tool", gate=gate)(lines)
    assert got == [[{"sku": "A", "count": 1}]]
    assert entries(gate, "decision")[-1]["args"] == {"x": got[0]}


def test_a_channel_cannot_change_what_runs():
    def answer(question: Question) -> Vote:
        question.args["x"]["amount"] = 1_000
        return approve(question)

    got = []
    guard(lambda x: got.append(x), name="tool", gate=enforcing(ASKS, answer))({"amount": 1})
    assert got == [{"amount": 1}]


def test_a_listener_cannot_change_what_runs():
    def meddle(decision):
        decision.args["x"] = 1_000

    saferun.on_decision(meddle)
    try:
        got = []
        guard(lambda x: got.append(x), name="tool", gate=enforcing())(1)
    finally:
        listening.stop_listening(meddle)
    assert got == [1]


def test_a_tool_that_changes_its_arguments_changes_nothing_for_the_caller_or_the_ledger():
    def tool(x):
        x.append("added")
        return x

    gate = enforcing()
    given = [1]
    assert guard(tool, gate=gate)(given) == [1, "added"]
    assert given == [1]
    assert entries(gate, "decision")[0]["args"] == {"x": [1]}


def test_a_tool_that_is_only_observed_gets_the_caller_s_own_objects():
    given = [1]
    guard(lambda x: x.append(2), name="tool", gate=observing())(given)
    assert given == [1, 2]


# Denials.


def test_a_denial_carries_its_decision_and_one_sentence_and_nothing_else():
    gate = enforcing("version: 1\nname: closed\ntools: {other: {effect: read}}\n")
    safe = guard(lambda: 1, name="tool", gate=gate)
    try:
        raise ValueError("secret")
    except ValueError:
        with pytest.raises(Denied) as raised:
            safe()
    denied = raised.value
    assert str(denied) == denied.for_model == denied.decision.for_model
    assert denied.__cause__ is None
    assert denied.__suppress_context__
    assert "secret" not in "".join(traceback.format_exception(denied))


def test_what_a_failing_channel_says_reaches_nobody():
    def answer(_: Question) -> Vote:
        raise RuntimeError("token=very-secret-token")

    gate = enforcing(ASKS, answer, timeout=0.1)
    with pytest.raises(ApprovalExpired) as raised:
        guard(lambda x: x, name="tool", gate=gate)(1)
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_what_a_failing_gate_says_reaches_no_model(caplog):
    gate = observing()

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("secret path /var/keys")

    gate._store = Broken()
    with pytest.raises(GateUnavailable) as raised:
        guard(lambda x: x, name="tool", gate=gate)(1)
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_a_lease_that_has_passed_is_decided_again(monkeypatch):
    gate = observing()
    check, ages = gate.check, [-1.0, 60.0]

    def slept(call, **options):
        decision = check(call, **options)
        return msgspec.structs.replace(decision, start_by=decision.start_by - 60 + ages.pop(0))

    monkeypatch.setattr(gate, "check", slept)
    assert guard(lambda: 5, name="tool", gate=gate)() == 5
    assert statuses(gate) == ["not_started", "ok"]


def test_two_gates_of_one_store_share_its_ledger():
    first, second = observing(), Gate(policy=loads("version: 1\nname: open\ndefault: allow\n"))
    guard(lambda: 1, name="one", gate=first)()
    guard(lambda: 2, name="two", gate=second)()
    assert [entry["tool"] for entry in entries(first, "decision")] == ["one", "two"]


def test_nobody_is_asked_twice_for_one_call():
    channel = Asked(approve)
    gate = Gate(policy=loads(ASKS), approvals=channel)
    assert guard(lambda x: x, name="tool", gate=gate)(1) == 1
    assert len(channel.questions) == 1
