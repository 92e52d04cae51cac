"""Controls as a caller meets them: what is said, what counts, and whom a person can overrule."""

import asyncio
import contextlib
import logging
import os
import pickle
import threading
from contextvars import copy_context

import pytest

import saferun
from guarding import Asked, enforcing, entries, observing, statuses, verdicts
from saferun import Gate, guard
from saferun.approval import Question, Vote
from saferun.control import Switch
from saferun.errors import (
    ApprovalExpired,
    BudgetExceeded,
    CircuitOpen,
    Deferred,
    Denied,
    LimitExceeded,
    LoopDetected,
    Rejected,
    Stopped,
)
from saferun.policy import loads
from saferun.run import Costs, current
from saferun.store import Enrol, Reader, Turn
from saferun.store.runs import any_run_for, names_of

LIMITED = """
version: 1
name: limited
tools:
  mail:
    effect: write
    args: {to: {type: string}}
    limits: [{id: few, max: 2, per: user, window: 1h%s}]
"""


def mail(to: str) -> str:
    return f"sent to {to}"


def _stop(gate: Gate, scope: str, value: str | None, *, on: bool = True) -> None:
    switch = Switch(scope=scope, value=value, by="dana", reason="an incident")
    gate.store.commit(Enrol("dana", b"secret"))
    assert gate.store.commit(Turn(switch=switch, on=on, credential=b"secret"))


# Limits.


def test_a_call_that_nearly_uses_up_a_limit_is_on_record_with_how_it_stands() -> None:
    gate = enforcing(LIMITED % "")
    tool = guard(mail, gate=gate)
    with saferun.run(user="maria"):
        tool("a")
        tool("b")
    first, second = (each for each in entries(gate) if each["kind"] == "decision")
    assert "close" not in first
    measure = second["close"]["few"]
    assert measure == {"control": "limit", "max": "2", "used": "2"}
    assert "reasons" not in second


def test_a_denial_tells_people_the_figures_and_the_model_none_of_them(caplog) -> None:
    caplog.set_level(logging.INFO, "saferun")
    gate = enforcing(LIMITED % "")
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(LimitExceeded) as denied:
            safe("c")
    decision = denied.value.decision
    [reason] = decision.reasons
    assert (reason.measure.control, reason.measure.scope) == ("limit", "user maria")
    assert (reason.measure.used, reason.measure.max) == ("2", "2")
    assert decision.frees_at == reason.measure.frees_at > gate.store.now()
    assert "at most 2 calls for each user in 1 hour" in str(denied.value)
    assert "maria" not in str(denied.value)
    assert "user maria: 2 of 2" in decision.for_people
    assert "user maria: 2 of 2" in caplog.text
    [entry] = [each for each in entries(gate, "decision") if each["verdict"] == "deny"]
    assert entry["reasons"][0]["measure"]["used"] == "2"


def test_a_limit_that_defers_says_for_how_long() -> None:
    gate = enforcing(LIMITED % ", on_limit: defer")
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(Deferred) as put_off:
            safe("c")
    assert 3_500 < put_off.value.retry_after <= 3_660
    assert "try again in" in put_off.value.for_model
    assert verdicts(gate) == ["allow", "allow", "defer"]


PACED = """
version: 1
name: paced
tools:
  mail:
    effect: write
    args: {to: {type: string}}
    limits: [{id: slow, rate: 3/s, burst: 1, per: all, on_limit: defer}]
"""


def test_a_caller_that_waits_is_slowed_down_and_not_refused() -> None:
    gate = enforcing(PACED)
    safe = guard(mail, gate=gate, wait=60)
    assert [safe(to) for to in "abc"] == ["sent to a", "sent to b", "sent to c"]
    assert verdicts(gate).count("allow") == 3
    assert "defer" in verdicts(gate)


async def test_a_task_that_waits_is_slowed_down_and_blocks_nobody() -> None:
    gate = enforcing(PACED)

    async def post(to: str) -> str:
        return to

    safe = guard(post, name="mail", gate=gate, wait=60)
    assert await asyncio.gather(*(safe(to) for to in "abc")) == ["a", "b", "c"]


def test_nobody_waits_longer_than_they_said() -> None:
    gate = enforcing(LIMITED % ", on_limit: defer")
    safe = guard(mail, gate=gate, wait=1)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(Deferred):
            safe("c")


def test_a_call_that_was_put_off_may_come_again_under_its_own_id() -> None:
    gate = enforcing(PACED)
    first = saferun.Call(tool="mail", args={"to": "a"}, call_id="c-1")
    again = saferun.Call(tool="mail", args={"to": "b"}, call_id="c-2")
    gate.settle(gate.check(first), saferun.Outcome(status="ok"))
    put_off = gate.check(again)
    assert put_off.verdict == "defer"
    while put_off.verdict == "defer":
        threading.Event().wait(put_off.retry_after)
        put_off = gate.check(again)
    assert put_off.starts


def test_a_run_that_does_not_say_its_user_is_denied_by_a_limit_per_user() -> None:
    gate = enforcing(LIMITED % "")
    with gate.run(agent="a"), pytest.raises(LimitExceeded, match="run says none"):
        guard(mail, gate=gate)("a")


def test_a_child_run_counts_for_its_parents_user() -> None:
    gate = enforcing(LIMITED % "")
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        with saferun.run(agent="child"):
            safe("b")
            with pytest.raises(LimitExceeded):
                safe("c")


# A person may overrule.


def test_a_limit_that_asks_lets_a_person_go_past_it_once() -> None:
    asked = Asked(lambda _: Vote(approved=True, by="dana"))
    gate = Gate(policy=loads(LIMITED % ", on_limit: ask"), approvals=asked)
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        for to in "abcd":
            safe(to)
    assert [[reason.id for reason in each.reasons] for each in asked.questions] == [["few"]] * 2
    kept = entries(gate, "decision")
    assert [each["verdict"] for each in kept] == ["allow", "allow", "ask", "allow", "ask", "allow"]


def test_a_limit_that_asks_denies_where_nobody_can_be_asked() -> None:
    gate = enforcing(LIMITED % ", on_limit: ask")
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(LimitExceeded, match="no approval channel"):
            safe("c")


def test_a_person_who_says_no_to_a_limit_is_obeyed() -> None:
    asked = Asked(lambda _: Vote(approved=False, by="dana"))
    gate = Gate(policy=loads(LIMITED % ", on_limit: ask"), approvals=asked)
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(Rejected):
            safe("c")


def test_nobody_is_asked_about_a_call_that_a_limit_stops_anyway() -> None:
    policy = """
version: 1
name: both
tools:
  mail:
    effect: write
    args: {to: {type: string}}
    limits: [{id: once, max: 1, per: run}]
    rules: [{id: look, ask: true}]
"""
    asked = Asked(lambda _: Vote(approved=True, by="dana"))
    gate = Gate(policy=loads(policy), approvals=asked)
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        with pytest.raises(LimitExceeded):
            safe("b")
    assert len(asked.questions) == 1


def test_what_has_come_up_since_a_person_was_asked_is_asked_again() -> None:
    policy = """
version: 1
name: both
tools:
  mail:
    effect: write
    args: {to: {type: string}}
    limits: [{id: once, max: 1, per: run, on_limit: ask}]
    rules: [{id: look, ask: true, when: 'args.to == "b"'}]
"""
    asked: list[list[str]] = []

    def answer(question: Question) -> Vote:
        asked.append([reason.id for reason in question.reasons])
        if len(asked) == 1:
            # While the person thinks, another call of the run takes the last one there was.
            context.run(guard(mail, gate=gate), "a")
        return Vote(approved=True, by="dana")

    gate = Gate(policy=loads(policy), approvals=Asked(answer))
    with gate.run(user="maria"):
        context = copy_context()
        assert guard(mail, gate=gate)("b") == "sent to b"
    assert asked == [["look"], ["once", "look"]]
    states = [each["event"] for each in entries(gate, "approval")]
    assert states == ["requested", "approved", "stale", "requested", "approved"]


def test_people_are_asked_only_so_often_by_one_run() -> None:
    policy = """
version: 1
name: asking
loops: off
tools: {mail: {effect: write, args: {to: {type: string}}, default: ask}}
"""
    asked = Asked(lambda _: Vote(approved=False, by="dana"))
    gate = Gate(policy=loads(policy), approvals=asked)
    safe = guard(mail, gate=gate)
    with gate.run() as run:
        for at in range(10):
            with pytest.raises(Rejected):
                safe(f"{at}")
        with pytest.raises(LimitExceeded, match="asked too often") as refused:
            safe("10")
        with pytest.raises(LimitExceeded), saferun.run(parent=run):
            safe("11")
    assert 60 < refused.value.retry_after <= 120
    assert len(asked.questions) == 10
    with gate.run(), pytest.raises(Rejected):
        safe("12")


# Budgets.


BUDGET = """
version: 1
name: budget
limits: [{id: run-cost, sum: cost_usd, max: 0.10, per: run}]
tools:
  ocr:
    effect: read
    args: {pages: {type: integer, minimum: 1, maximum: 100}}
    cost: {most: double(args.pages) * 0.01, from: result.usage.usd}
"""


def _ocr(price: float):
    def ocr(pages: int) -> dict[str, object]:
        return {"text": f"{pages} pages", "usage": {"usd": price}}

    return ocr


def test_a_budget_holds_the_most_and_keeps_what_it_truly_cost() -> None:
    gate = enforcing(BUDGET)
    safe = guard(_ocr(0.005), gate=gate, name="ocr")
    with gate.run():
        for pages in (9, 8, 7):
            safe(pages)
        # 0.015 spent: nine cents would fit no more, eight do.
        with pytest.raises(BudgetExceeded, match=r"at most \$0\.10 in sum"):
            safe(9)
        safe(8)
    assert [each["cost"] for each in entries(gate, "outcome")] == [5_000] * 4


def test_a_model_turn_counts_and_what_it_overspends_stops_the_next_call() -> None:
    gate = enforcing(BUDGET)
    safe = guard(_ocr(0.001), gate=gate, name="ocr")
    with gate.run() as run:
        safe(1)
        run.model("hm", model="some-model", cost_usd=0.2)
        gate.store.flush()
        with pytest.raises(BudgetExceeded) as denied:
            safe(1)
    measure = denied.value.decision.reasons[0].measure
    assert (measure.control, measure.used, measure.max) == ("budget", "$0.201", "$0.10")


def test_a_budget_counts_an_expression_exactly() -> None:
    gate = enforcing(BUDGET)
    safe = guard(_ocr(0.03), gate=gate, name="ocr")
    with gate.run():
        safe(3)
        safe(3)
        # 3 * 0.01 is not three cents to a computer, and three times three are nine.
        safe(3)
        safe(1)
        with pytest.raises(BudgetExceeded):
            safe(1)


# Loops and breakers, with no policy at all.


def test_an_agent_that_repeats_itself_is_told_and_then_stopped_with_no_policy() -> None:
    gate = observing()
    heard: list[saferun.Decision] = []
    saferun.on_decision(heard.append)
    try:
        safe = guard(mail, gate=gate)
        with gate.run(agent="looper"):
            for _ in range(6):
                safe("lead@acme.test")
            with pytest.raises(LoopDetected, match="same arguments and the same result"):
                safe("lead@acme.test")
    finally:
        saferun.listening.stop_listening(heard.append)
    assert heard[0].nudge is None
    assert "3 times" in next(each.nudge for each in heard if each.nudge)
    assert heard[-1].mode == "enforce"
    assert statuses(gate) == ["ok"] * 6


def test_calls_outside_any_run_are_held_together_by_their_thread() -> None:
    safe = guard(mail, gate=observing())
    for _ in range(6):
        safe("lead@acme.test")
    with pytest.raises(LoopDetected):
        safe("lead@acme.test")
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(safe("lead@acme.test")))
    thread.start()
    thread.join()
    assert done == ["sent to lead@acme.test"]


def test_a_message_of_the_user_lets_a_run_go_on() -> None:
    gate = observing()
    safe = guard(mail, gate=gate)
    with gate.run() as run:
        for _ in range(6):
            safe("lead@acme.test")
        run.user("please send it once more")
        safe("lead@acme.test")


def test_a_run_that_goes_on_in_its_loop_is_stopped_for_good_and_a_person_lets_it_go_on() -> None:
    gate = observing()
    safe = guard(mail, gate=gate)
    with gate.run() as run:
        for _ in range(12):
            with contextlib.suppress(LoopDetected):
                safe("lead@acme.test")
        with pytest.raises(Stopped):
            safe("somebody@else.test")
        _stop(gate, "run", run.run_id, on=False)
        safe("somebody@else.test")
        safe("lead@acme.test")
    events = [(each["event"], each["by"]) for each in entries(gate, "control")]
    assert events == [("stopped", "saferun"), ("resumed", "dana")]


def test_a_tool_that_keeps_failing_is_left_alone_with_no_policy() -> None:
    gate = observing()

    def fetch(at: int) -> None:
        raise ConnectionError(f"no route {at}")

    safe = guard(fetch, gate=gate)
    for at in range(20):
        with gate.run(), pytest.raises(ConnectionError):
            safe(at)
    with gate.run(), pytest.raises(CircuitOpen, match="has been failing") as left_alone:
        safe(99)
    assert 20 < left_alone.value.retry_after <= 40
    [opened] = entries(gate, "control")
    assert (opened["event"], opened["scope"], opened["value"]) == ("opened", "tool", "fetch")


def test_shadow_stops_nothing_but_what_a_person_has_stopped() -> None:
    gate = enforcing("version: 1\nname: trial\nmode: shadow\ndefault: allow\n")
    safe = guard(mail, gate=gate)
    with gate.run():
        for _ in range(9):
            safe("lead@acme.test")
    assert verdicts(gate).count("deny") == 3
    _stop(gate, "tool", "mail")
    with gate.run(), pytest.raises(Stopped):
        safe("x")


# Stop switches.


@pytest.mark.parametrize(
    ("scope", "value"),
    [("all", None), ("agent", "support"), ("user", "maria"), ("tenant", "acme"), ("tool", "mail")],
)
def test_what_is_stopped_is_refused_at_the_very_next_call_until_it_is_resumed(scope, value) -> None:
    gate = enforcing()
    safe = guard(mail, gate=gate)
    with gate.run(agent="support", user="maria", tenant="acme"):
        safe("a")
        _stop(gate, scope, value)
        with pytest.raises(Stopped, match="wait until a person resumes") as stopped:
            safe("b")
        assert "dana" not in str(stopped.value)
        assert "incident" not in str(stopped.value)
        _stop(gate, scope, value, on=False)
        safe("c")


def test_a_switch_stops_nobody_else() -> None:
    gate = enforcing()
    _stop(gate, "agent", "support")
    safe = guard(mail, gate=gate)
    with gate.run(agent="sales"):
        safe("a")
    safe("b")


def test_a_child_run_stops_with_its_parent() -> None:
    gate = enforcing()
    safe = guard(mail, gate=gate)
    with gate.run() as parent:
        safe("a")
        _stop(gate, "run", parent.run_id)
        with saferun.run(agent="child"), pytest.raises(Stopped):
            safe("b")


def test_the_same_call_of_what_is_stopped_is_written_down_once_a_minute() -> None:
    gate = enforcing()
    _stop(gate, "all", None)
    safe = guard(mail, gate=gate)
    seqs = set()
    for to in ("a", "a", "a", "b"):
        with pytest.raises(Stopped) as stopped:
            safe(to)
        seqs.add(stopped.value.decision.seq)
    assert len(seqs) == len(entries(gate, "decision")) == 2


# Timeouts.


TIMED = """
version: 1
name: timed
breaker: off
tools:
  slow: {effect: write, args: any, timeout: 50ms}
  again: {effect: write, args: any, timeout: 50ms, idempotent: true}
  patient: {effect: write, args: any, timeout: 1min}
"""


@pytest.mark.parametrize(("name", "status"), [("slow", "unknown"), ("again", "timeout")])
def test_a_tool_that_takes_too_long_is_given_up_and_what_became_of_it_is_unknown(
    name, status
) -> None:
    gate = enforcing(TIMED)
    go_on = threading.Event()

    def tool() -> None:
        go_on.wait(20)

    with pytest.raises(TimeoutError, match=r"longer than the 0\.05 s"):
        guard(tool, name=name, gate=gate)()
    go_on.set()
    assert statuses(gate) == [status]


def test_a_tool_in_time_that_ends_the_program_is_over_and_known() -> None:
    gate = enforcing(TIMED)

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        guard(leave, name="patient", gate=gate)()
    assert statuses(gate) == ["cancelled"]


@pytest.mark.parametrize(("name", "status"), [("slow", "unknown"), ("again", "timeout")])
async def test_a_coroutine_that_takes_too_long_is_cancelled(name, status) -> None:
    gate = enforcing(TIMED)
    cancelled: list[bool] = []

    async def tool() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(TimeoutError, match=r"longer than the 0\.05 s"):
        await guard(tool, name=name, gate=gate)()
    assert cancelled == [True]
    assert statuses(gate) == [status]


def test_a_tool_in_time_gives_what_it_gives_and_sees_the_callers_context() -> None:
    gate = enforcing(TIMED)

    def tool(x: int) -> tuple[int, str | None]:
        run = current()
        return x, None if run is None else run.run_id

    with gate.run() as run:
        assert guard(tool, name="patient", gate=gate)(5) == (5, run.run_id)


def test_an_error_of_a_tool_in_time_is_the_tools_own() -> None:
    def tool() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        guard(tool, name="patient", gate=enforcing(TIMED))()


async def test_a_time_that_the_tool_gave_itself_is_its_own() -> None:
    gate = enforcing(TIMED)

    async def tool() -> None:
        raise TimeoutError("the peer did not answer")

    with pytest.raises(TimeoutError, match="peer did not answer"):
        await guard(tool, name="patient", gate=gate)()
    assert statuses(gate) == ["timeout"]


def test_every_denial_by_a_control_is_a_denied() -> None:
    for kind in (BudgetExceeded, CircuitOpen, Deferred, LoopDetected, Stopped, ApprovalExpired):
        assert issubclass(kind, Denied)


# What an attack on it found.


def test_model_turns_count_also_where_they_come_before_any_tool(tmp_path) -> None:
    policy = loads(BUDGET)
    safe = guard(_ocr(0.001), policy=policy, name="ocr")
    with saferun.run() as run:
        # Nothing has said yet which policy guards the run.
        run.model("thinking", cost_usd=0.05)
        safe(1)
        run.model("thinking", cost_usd=0.06)
        with pytest.raises(BudgetExceeded):
            safe(1)


def test_model_turns_count_once_however_many_tools_have_the_policy() -> None:
    policy = loads(BUDGET)
    first, second = (guard(_ocr(0.001), policy=policy, name="ocr") for _ in range(2))
    with saferun.run() as run:
        run.model("thinking", cost_usd=0.06)
        first(1)
        second(2)
        run.model("thinking", cost_usd=0.02)
        first(1)


def test_a_cost_that_is_owed_stays_where_a_call_gives_back_what_it_held() -> None:
    policy = loads(BUDGET.replace("    cost:", "    releasable: true\n    cost:"))

    def broken(pages: int) -> None:
        raise LookupError("no such page")

    safe = guard(broken, policy=policy, name="ocr")
    with saferun.run() as run:
        run.model("thinking", cost_usd=0.09)
        with pytest.raises(LookupError):
            safe(1)
        with pytest.raises(BudgetExceeded):
            safe(2)


async def test_what_is_owed_counts_once_however_many_tasks_call_next() -> None:
    gate = enforcing(BUDGET.replace("max: 0.10", "max: 1.00"))

    async def ocr(pages: int) -> None:
        await asyncio.sleep(0)

    safe = guard(ocr, gate=gate)
    with saferun.run() as run:
        # Nothing has said yet which policy guards the run.
        run.model("thinking", cost_usd=0.90)
        await asyncio.gather(*(safe(1) for _ in range(5)))
        run.model("thinking", cost_usd=0.10)
        with pytest.raises(BudgetExceeded) as denied:
            await safe(1)
    [reason] = denied.value.decision.reasons
    assert reason.measure.used == "$1.05"


def test_what_is_owed_and_does_not_fit_counts_for_whoever_shares_the_budget() -> None:
    gate = enforcing(BUDGET.replace("per: run", "per: user"))
    safe = guard(_ocr(0.001), name="ocr", gate=gate)
    with saferun.run(user="maria") as spender:
        spender.model("thinking", cost_usd=5)
        with pytest.raises(BudgetExceeded):
            safe(1)
    with saferun.run(user="maria"), pytest.raises(BudgetExceeded):
        safe(1)
    with saferun.run(user="ivan"):
        safe(1)


def test_a_forked_process_leaves_what_is_owed_to_its_parent() -> None:
    costs = Costs()
    costs.add(90, None)
    if not (child := os.fork()):
        os._exit(costs.take("a budget"))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert costs.take("a budget") == 90


def test_a_budget_of_each_tool_counts_no_model_turn() -> None:
    gate = enforcing(BUDGET.replace("per: run", "per: tool"))
    safe = guard(_ocr(0.001), name="ocr", gate=gate)
    with saferun.run() as run:
        safe(1)
        run.model("thinking", cost_usd=0.50)
        safe(1)


def test_what_shadow_lets_through_under_its_id_runs_once() -> None:
    gate = enforcing(LIMITED.replace("name: limited", "name: limited\nmode: shadow") % "")
    with gate.run(user="maria") as run:
        for number in range(3):
            call = saferun.Call(tool="mail", args={"to": "a"}, run=run.ref, call_id=f"c-{number}")
            last = gate.check(call)
            assert last.starts
            gate.settle(last, saferun.Outcome(status="ok"))
        assert last.mode == "shadow"
        assert last.verdict == "deny"
        assert not gate.check(call).starts


def test_shadow_stops_no_run_of_those_that_enforce() -> None:
    loops = "loops: {denials: 0, asks: 0}"
    gate = enforcing(f"version: 1\nname: trial\nmode: shadow\ndefault: allow\n{loops}\n")
    safe = guard(mail, gate=gate)
    with gate.run():
        for _ in range(12):
            safe("lead@acme.test")
    assert not entries(gate, "control")


def test_agents_that_work_only_for_others_are_known_by_name() -> None:
    gate = observing()
    with gate.run(agent="lead"), gate.run(agent="helper", user="maria"):
        guard(mail, gate=gate)("a")
    gate.store.flush()
    with Reader(gate.store.path) as reader:
        assert any_run_for(reader, "agent", "helper")
        assert names_of(reader, "user") == ["maria"]


def test_a_run_taken_up_below_another_parent_is_denied() -> None:
    gate = enforcing()
    safe = guard(mail, gate=gate)
    with gate.run(run_id="top") as top:
        with gate.run(run_id="middle"), gate.run(run_id="leaf"):
            safe("a")
        _stop(gate, "run", "middle")
        with gate.run(run_id="leaf", parent=top), pytest.raises(Denied):
            safe("b")


def test_a_run_id_of_somebody_elses_is_no_way_past_a_switch() -> None:
    gate = observing()
    safe = guard(mail, gate=gate)
    with gate.run(run_id="r-1", user="maria"):
        safe("a")
    _stop(gate, "all", None)
    with gate.run(run_id="r-1", user="omar"), pytest.raises(Stopped):
        safe("b")


def test_what_a_stopped_run_or_agent_has_begun_is_stopped_however_far_down() -> None:
    gate = enforcing()
    safe = guard(mail, gate=gate)
    with (
        gate.run(agent="support"),
        saferun.run(agent="helper") as middle,
        saferun.run(agent="helpers-helper"),
    ):
        _stop(gate, "run", middle.run_id)
        with pytest.raises(Stopped):
            safe("a")
        _stop(gate, "run", middle.run_id, on=False)
        _stop(gate, "agent", "support")
        with pytest.raises(Stopped):
            safe("a")


def test_a_call_with_an_id_that_was_stopped_is_decided_anew_once_it_is_resumed() -> None:
    gate = enforcing()
    call = saferun.Call(tool="mail", args={"to": "a"}, call_id="call_7")
    _stop(gate, "all", None)
    assert gate.check(call).verdict == "deny"
    _stop(gate, "all", None, on=False)
    assert gate.check(call).starts


async def test_tasks_do_not_inherit_what_was_done_before_them() -> None:
    safe = guard(mail, gate=observing())
    safe("lead@acme.test")

    async def request() -> str:
        return safe("lead@acme.test")

    for _ in range(20):
        await asyncio.create_task(request())


def test_what_belongs_to_no_run_is_forgotten_after_a_quiet_while(monkeypatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("saferun.gate.time.monotonic", lambda: now[0])
    safe = guard(mail, gate=observing())
    for _ in range(20):
        safe("lead@acme.test")
        now[0] += 61


def test_a_denial_tells_nothing_more_however_it_is_printed() -> None:
    gate = enforcing(LIMITED % "")
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(LimitExceeded) as denied:
            safe("c")
    assert "maria" not in repr(denied.value)
    assert denied.value.args == (denied.value.for_model,)
    copied = pickle.loads(pickle.dumps(denied.value))
    assert copied.decision == denied.value.decision


def test_a_hidden_limit_keeps_its_time_from_the_model() -> None:
    gate = enforcing(LIMITED % ", disclose: false")
    safe = guard(mail, gate=gate)
    with gate.run(user="maria"):
        safe("a")
        safe("b")
        with pytest.raises(LimitExceeded) as denied:
            safe("c")
    assert denied.value.retry_after > 0
    assert "again" not in denied.value.for_model


def test_the_model_is_told_below_a_text_that_it_reads() -> None:
    gate = observing()
    safe = guard(mail, gate=gate, on_deny="return")
    with gate.run():
        said = [safe("lead@acme.test") for _ in range(7)]
    assert said[0] == "sent to lead@acme.test"
    assert said[3].startswith("sent to lead@acme.test\n\n[mail has been called 3 times")
    assert said[6].startswith("mail was not run")
    assert {each["result"] for each in entries(gate, "outcome")} == {"sent to lead@acme.test"}


def test_a_call_that_a_tool_makes_itself_and_that_is_denied_is_no_failure_of_the_tool() -> None:
    gate = enforcing(LIMITED.replace("tools:", "default: allow\ntools:") % "")
    inner = guard(mail, gate=gate)

    def outer(number: int) -> str:
        return inner("a")

    safe = guard(outer, gate=gate)
    with gate.run(user="mallory"):
        inner("a")
        inner("b")
    for number in range(30):
        with gate.run(user="mallory"), pytest.raises(LimitExceeded):
            safe(number)


def test_a_stream_that_is_read_slowly_is_not_slow(monkeypatch) -> None:
    now = [0]
    monkeypatch.setattr("saferun.attempt.time.perf_counter_ns", lambda: now[0])

    def read(number: int):
        for _ in range(2):
            now[0] += 5_000_000
            yield number

    gate = enforcing("version: 1\nname: a\ndefault: allow\n")
    for _ in guard(read, gate=gate)(1):
        # Whoever reads it goes for lunch.
        now[0] += 3_600_000_000_000
    assert [each["latency"] for each in entries(gate, "outcome")] == [10_000]


async def test_people_who_think_leave_the_loop_its_threads() -> None:
    enough = threading.Event()

    def thinks(_: Question) -> Vote:
        enough.wait(30)
        return Vote(approved=True, by="dana")

    policy = "version: 1\nname: asks\ntools: {mail: {effect: write, args: any, default: ask}}\n"
    gate = Gate(policy=loads(policy), approvals=Asked(thinks))

    async def post(to: str) -> str:
        return to

    safe = guard(post, name="mail", gate=gate)
    asking = [asyncio.create_task(safe(f"{at}")) for at in range(10)]
    # As many as the loop's own pool has, and more.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 20) == 1
    enough.set()
    assert len(await asyncio.gather(*asking)) == 10


async def test_a_channel_that_breaks_as_no_future_can_denies() -> None:
    def broken(_: Question) -> Vote:
        return next(iter([]))

    async def post(to: str) -> str:
        return to

    policy = "version: 1\nname: asks\ntools: {mail: {effect: write, args: any, default: ask}}\n"
    safe = guard(post, name="mail", gate=enforcing(policy, broken, timeout=0.1))
    with pytest.raises(Denied):
        await asyncio.wait_for(safe("a"), 20)


def test_a_wait_that_is_interrupted_leaves_a_tool_that_may_still_do_its_work(monkeypatch) -> None:
    gate = enforcing(TIMED)

    def interrupted(apart: object, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("saferun.waiting.Apart.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        guard(lambda: None, name="slow", gate=gate)()
    assert statuses(gate) == ["unknown"]


def test_a_run_that_was_stopped_for_its_lifetime_goes_on_once_it_is_resumed() -> None:
    gate = enforcing(
        "version: 1\nname: a\ndefault: allow\nloops: {lifetime: 4, same_result: off}\n"
    )
    safe = guard(mail, gate=gate)
    with gate.run() as run:
        while not entries(gate, "control"):
            with contextlib.suppress(LoopDetected, ApprovalExpired):
                safe("lead@acme.test")
        with pytest.raises(Stopped):
            safe("lead@acme.test")
        _stop(gate, "run", run.run_id, on=False)
        for _ in range(4):
            safe("lead@acme.test")


def test_calls_outside_any_run_are_denied_and_no_run_is_said_to_be_stopped() -> None:
    safe = guard(mail, gate=observing(), on_deny="return")
    said = [safe("lead@acme.test") for _ in range(20)]
    assert said[-1].startswith("mail was not run")
    assert "stopped" not in "".join(said)
