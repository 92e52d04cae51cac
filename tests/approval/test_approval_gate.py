"""Asking through the gate: what was approved is what runs, once, and nothing else does."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import saferun
from guarding import Asked, entries
from saferun import (
    ApprovalExpired,
    ApprovalPending,
    Call,
    Decision,
    Denied,
    Gate,
    Outcome,
    Rejected,
    config,
    guard,
)
from saferun.approval import Question, Request, Vote
from saferun.call import RunRef
from saferun.config import ApprovalTable
from saferun.desk import Desk
from saferun.policy import loads
from saferun.store import Reader

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      order_id: {type: string}
      amount: {type: integer, minimum: 1, maximum: 100000}
      card: {type: string, optional: true}
    redact: [args.card]
    limits:
      - {id: two-a-run, max: 2, per: run}
    rules:
      - id: big
        ask: [finance]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
"""


def yes(_: Question) -> Vote:
    return Vote(approved=True, by="dana")


def no(_: Question) -> Vote:
    return Vote(approved=False, by="dana", reason="too much")


def gate(answer: Callable[[Question], Vote | None] | None = yes, timeout: float = 900.0) -> Gate:
    channel = None if answer is None else Asked(answer)
    settings = msgspec.structs.replace(config.load(), approval=ApprovalTable(timeout=timeout))
    return Gate(policy=loads(POLICY), approvals=channel, settings=settings)


def approvals(through: Gate) -> list[str]:
    return [entry["event"] for entry in entries(through) if entry["kind"] == "approval"]


def big(**about) -> Call:
    args = {"order_id": "A-17", "amount": 25_000, **about.pop("args", {})}
    run = RunRef(run_id="r-1", root="r-1", agent="support")
    return Call(tool="refund", args=args, run=run, **about)


def test_an_approved_call_runs_with_what_was_shown() -> None:
    ran = []
    through = gate()
    refund = guard(
        lambda order_id, amount: ran.append((order_id, amount)), name="refund", gate=through
    )
    with through.run(agent="support", user="maria"):
        refund("A-17", 25_000)
    (question,) = through._channels[0].questions
    assert ran == [("A-17", 25_000)]
    assert question.args == {"order_id": "A-17", "amount": 25_000}
    assert (question.demands[0].of, question.reasons[0].id) == (("finance",), "big")
    assert approvals(through) == ["requested", "approved"]


def test_a_rejected_call_never_runs_and_says_a_person_said_no() -> None:
    ran = []
    refund = guard(lambda order_id, amount: ran.append(amount), name="refund", gate=gate(no))
    with saferun.run(agent="support"), pytest.raises(Rejected, match="a person was asked"):
        refund("A-17", 25_000)
    assert ran == []


def test_no_answer_is_a_no() -> None:
    through = gate(lambda _: None, timeout=0.1)
    decision = through.check(big())
    assert (decision.verdict, decision.reasons[0].error) == ("deny", "ApprovalExpired")
    assert approvals(through) == ["requested", "expired"]


def test_a_channel_that_fails_is_a_no() -> None:
    def broken(_: Question) -> Vote:
        raise RuntimeError("the network is down")

    decision = gate(broken, timeout=0.1).check(big())
    assert (decision.verdict, decision.starts) == ("deny", False)
    assert "network" not in decision.for_model


def test_where_nobody_can_be_asked_the_call_is_denied_and_no_request_made() -> None:
    through = gate(None)
    decision = through.check(big())
    assert decision.verdict == "deny"
    assert "no approval channel is configured" in decision.for_model
    assert approvals(through) == []


def test_asking_moves_no_counter_and_a_limit_is_tried_before_anybody_is_asked() -> None:
    through = gate(no)
    for number in range(3):
        assert through.check(big(args={"order_id": f"A-{number}"})).verdict == "deny"
    assert len(through._channels[0].questions) == 3
    through._channels[0].answer = yes
    for _ in range(2):
        assert through.check(big()).starts
    last = through.check(big())
    assert (last.verdict, last.reasons[0].id) == ("deny", "two-a-run")
    assert len(through._channels[0].questions) == 5


def test_what_people_have_said_no_to_twice_is_not_asked_again_in_that_run() -> None:
    through = gate(no)
    for _ in range(2):
        assert "a person was asked" in through.check(big()).for_model
    third = through.check(big())
    assert (third.verdict, third.reasons[0].error) == ("deny", "Rejected")
    assert "not asked again" in third.for_model
    assert len(through._channels[0].questions) == 2
    other = RunRef(run_id="r-2", root="r-2", agent="support")
    through.check(msgspec.structs.replace(big(), run=other))
    assert len(through._channels[0].questions) == 3


def test_what_a_person_is_shown_holds_no_secret() -> None:
    through = gate(no)
    through.check(big(args={"card": "whatever the policy calls a card"}))
    assert through._channels[0].questions[0].args["card"] == "[redacted: by policy]"


def test_an_approval_is_used_by_one_start() -> None:
    through = gate()
    first = through.check(big(call_id="call_0"))
    again = through.check(big(call_id="call_0"))
    assert (first.starts, again.starts) == (True, False)
    assert (first.seq, len(through._channels[0].questions)) == (again.seq, 1)


def test_the_same_id_with_other_arguments_is_asked_anew() -> None:
    through = gate()
    assert through.check(big(call_id="call_0")).starts
    through.check(big(call_id="call_0", args={"amount": 99_000}))
    assert [q.args["amount"] for q in through._channels[0].questions] == [25_000, 99_000]


def test_a_rejected_call_with_an_id_is_not_asked_again() -> None:
    through = gate(no)
    for _ in range(3):
        assert through.check(big(call_id="call_0")).verdict == "deny"
    assert len(through._channels[0].questions) == 1


def test_callers_of_one_call_share_one_start_however_they_meet() -> None:
    both = threading.Barrier(2, timeout=20)
    through = gate()
    decisions = []

    def call() -> None:
        both.wait()
        decisions.append(through.check(big(call_id="call_0")))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len({question.id for question in through._channels[0].questions}) == 1
    assert sorted(decision.starts for decision in decisions) == [False, True]
    assert approvals(through) == ["requested", "approved"]


def test_an_argument_that_changes_while_a_person_thinks_does_not_reach_the_tool() -> None:
    items = ["one"]

    def thinking(_: Question) -> Vote:
        items.append("two")
        return Vote(approved=True, by="dana")

    policy = "version: 1\ntools:\n  pack:\n    effect: write\n    args: {items: {type: array}}\n"
    policy += "    rules: [{id: look, ask: true}]\n"
    through = Gate(policy=loads(policy), approvals=Asked(thinking))
    packed = []
    guard(packed.append, name="pack", gate=through)
    pack = guard(lambda items: packed.append(items), name="pack", gate=through)
    pack(items)
    assert packed == [["one"]]


async def test_an_asynchronous_caller_waits_without_blocking_the_loop() -> None:
    release = threading.Event()

    def slowly(_: Question) -> Vote:
        assert release.wait(20)
        return Vote(approved=True, by="dana")

    through = gate(slowly)
    waiting = asyncio.ensure_future(through.acheck(big()))
    await asyncio.sleep(0)
    release.set()
    assert (await waiting).starts


async def test_a_caller_that_is_cancelled_withdraws_its_request() -> None:
    asked, release = threading.Event(), threading.Event()

    def never(_: Question) -> Vote:
        asked.set()
        release.wait(20)
        return Vote(approved=True, by="dana")

    through = gate(never)
    waiting = asyncio.ensure_future(through.acheck(big()))
    await asyncio.to_thread(asked.wait, 20)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    told = approvals(through)
    assert told[:2] == ["requested", "cancelled"]
    assert "approved" not in told


class Nobody:
    """A channel that brings questions to nobody."""

    name = "nobody"

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: object, receipt: str | None) -> str | None:
        return receipt or "shown"


def waits_for_nobody() -> Gate:
    return Gate(policy=loads(POLICY), approvals=Nobody())


def looked(through: Gate, statement: str) -> list[tuple]:
    through.store.flush()
    with Reader(through.store.path) as reader:
        return list(reader.every(statement))


async def waiting(through: Gate, call: Call, callers: int) -> "asyncio.Future[Decision]":
    """Make a call that people are asked about, as one more of its callers."""
    made = asyncio.ensure_future(through.acheck(call))

    def there() -> None:
        while looked(through, "SELECT count(*) FROM waiting") != [(callers,)]:
            threading.Event().wait(0.01)

    # Its first turn makes the store.
    await asyncio.sleep(0)
    await asyncio.to_thread(there)
    return made


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the first goes", "the second goes"])
async def test_of_those_who_make_one_call_the_last_who_waits_withdraws_it(
    order: tuple[int, int],
) -> None:
    through = waits_for_nobody()
    callers = [await waiting(through, big(call_id="c-1"), number) for number in (1, 2)]
    for number, state in zip(order, ("pending", "cancelled"), strict=True):
        callers[number].cancel()
        with pytest.raises(asyncio.CancelledError):
            await callers[number]
        assert looked(through, "SELECT state FROM approval") == [(state,)]
    assert looked(through, "SELECT * FROM waiting") == []


async def test_who_still_waits_for_one_call_gets_the_answer_to_it() -> None:
    through = waits_for_nobody()
    gone, stays = [await waiting(through, big(call_id="c-1"), number) for number in (1, 2)]
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    desk = Desk(through.store, through.config)
    [request] = desk.open()
    desk.vote(request.id, by="dana", approved=True, channel="test", revision=0)
    assert (await stays).starts


async def test_who_waits_for_a_call_that_somebody_has_left_does_not_withdraw_it() -> None:
    through = waits_for_nobody()
    left = through.check(big(call_id="c-1"), leaves=True)
    goes = await waiting(through, big(call_id="c-1"), 2)
    goes.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goes
    with pytest.raises(ApprovalPending):
        through.taken_up(str(left.approval_id))


async def test_a_caller_whose_process_is_gone_waits_no_longer() -> None:
    through = waits_for_nobody()
    goes = await waiting(through, big(call_id="c-1"), 1)
    with contextlib.closing(sqlite3.connect(through.store.path)) as store, store:
        store.execute("INSERT INTO waiting SELECT approval, 'gone', 'a1b2c3' FROM waiting")
    goes.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goes
    assert looked(through, "SELECT state FROM approval") == [("cancelled",)]


async def test_a_caller_that_is_cancelled_as_it_joins_withdraws_nothing_of_the_other() -> None:
    through = waits_for_nobody()
    stays = await waiting(through, big(call_id="c-1"), 1)
    for turns in range(6):
        goes = asyncio.ensure_future(through.acheck(big(call_id="c-1")))
        for _ in range(turns):
            await asyncio.sleep(0)
        goes.cancel()
        with pytest.raises(asyncio.CancelledError):
            await goes
    through.store.flush()
    assert looked(through, "SELECT state FROM approval") == [("pending",)]
    stays.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stays
    assert looked(through, "SELECT state FROM approval") == [("cancelled",)]


def test_an_answer_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    from saferun.store import Store

    clock = [1_000_000]
    store = Store(f"sqlite:///{tmp_path}/late.db", durability="process", clock=lambda: clock[0])

    def late(_: Question) -> Vote:
        clock[0] += 900_000_001
        return Vote(approved=True, by="dana")

    through = Gate(policy=loads(POLICY), approvals=Asked(late), store=store)
    decision = through.check(big())
    assert (decision.verdict, decision.reasons[0].error) == ("deny", "ApprovalExpired")
    assert approvals(through) == ["requested", "expired", "refused"]
    store.close()


def test_the_outcome_of_an_approved_call_ends_its_request() -> None:
    through = gate()
    decision = through.check(big())
    through.settle(decision, Outcome(status="ok", result="done"))
    through.store.flush()
    with Reader(through.store.path) as reader:
        assert reader.every("SELECT state, by FROM approval") == [("succeeded", "dana")]


def test_denied_covers_rejection_and_expiry() -> None:
    assert issubclass(Rejected, Denied)
    assert issubclass(ApprovalExpired, Denied)


def test_shadow_asks_nobody() -> None:
    through = Gate(policy=loads(POLICY + "mode: shadow\n"), approvals=Asked(no))
    decision = through.check(big())
    assert (decision.verdict, decision.starts, decision.mode) == ("ask", True, "shadow")
    assert through._channels[0].questions == []
