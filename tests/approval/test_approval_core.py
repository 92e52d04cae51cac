"""Requests to people as a whole: votes, quorums, edits, grants, leaving and resuming."""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import saferun
from guarding import Asked, entries
from saferun import ApprovalPending, Deferred, Denied, Gate, Rejected, config, guard
from saferun.approval import People, Permit, Question, Request, Vote, others
from saferun.call import Demand, RunRef
from saferun.config import ApprovalTable, Person
from saferun.desk import Answered, Desk
from saferun.policy import loads
from saferun.store import Envelope, Held, Requests, Store, new_id

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      order_id: {type: string}
      amount: {type: integer, minimum: 1, maximum: 100000}
    rules:
      - id: big
        ask: [finance]
        edits: [amount]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
      - id: huge
        ask: [lead]
        approvals: 2
        edits: [amount]
        args: {amount: {minimum: 50001}}
  wipe:
    effect: destructive
    args: {folder: {type: string}}
    rules: [{id: deletions, ask: [finance]}]
"""

PEOPLE = {
    "dana": Person(),
    "erin": Person(),
    "finn": Person(users=["u-7"]),
    "vic": Person(role="viewer"),
}
GROUPS = {"finance": ["dana", "erin", "finn", "vic"], "lead": ["erin", "finn"]}


class Silent:
    """A channel that brings questions to nobody in particular, and says when it has one."""

    name = "silent"

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.moved = threading.Condition()

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: object, receipt: str | None) -> str | None:
        with self.moved:
            self.seen.append(request)
            self.moved.notify_all()
        return receipt or "shown"

    def wait(self, until: Callable[[Request], bool]) -> Request:
        with self.moved:
            assert self.moved.wait_for(lambda: any(map(until, self.seen)), 20)
            return next(each for each in reversed(self.seen) if until(each))


class Office:
    """A gate, its channel, its desk, and a tool that notes what it is called with."""

    def __init__(
        self,
        policy: str = POLICY,
        groups: dict[str, list[str]] = GROUPS,
        people: dict[str, Person] = PEOPLE,
        **approval: Any,
    ) -> None:
        self.settings = msgspec.structs.replace(
            config.load(),
            people=people,
            groups=groups,
            approval=ApprovalTable(**{"timeout": 60.0, **approval}),
        )
        self.channel = Silent()
        self.gate = Gate(policy=loads(policy), approvals=self.channel, settings=self.settings)
        self.desk = Desk(self.gate.store, self.settings)
        self.ran: list[dict[str, Any]] = []

        def refund(order_id: str, amount: int) -> str:
            self.ran.append({"order_id": order_id, "amount": amount})
            return f"refunded {amount}"

        def wipe(folder: str) -> str:
            self.ran.append({"folder": folder})
            return "gone"

        self.refund = guard(refund, gate=self.gate)
        self.leaving = guard(refund, gate=self.gate, on_ask="suspend")
        self.wipe = guard(wipe, gate=self.gate)

    def asked(self, call: Callable[[], Any]) -> "Waiting":
        """Begin a call that has to wait for people; it is there once they are asked."""
        before = len(self.channel.seen)
        waiting = Waiting(call)
        with self.channel.moved:
            assert self.channel.moved.wait_for(lambda: len(self.channel.seen) > before, 20)
            waiting.request = self.channel.seen[-1]
        return waiting

    def left(self, amount: int = 25_000, order_id: str = "A-17") -> str:
        """Leave a call behind; the id of its request."""
        within = self.gate.run(run_id="r-1", agent="support", user="maria")
        with within, pytest.raises(ApprovalPending) as pending:
            self.leaving(order_id, amount)
        return pending.value.approval_id

    def vote(self, request: str, by: str = "dana", yes: bool = True, **more: Any) -> Answered:
        stands = self.desk.stands(request)
        assert stands is not None
        return self.desk.vote(
            request,
            **{
                "by": by,
                "approved": yes,
                "channel": "test",
                "revision": stands.revision,
                **more,
            },
        )

    def events(self) -> list[str]:
        return [entry["event"] for entry in entries(self.gate, "approval")]


class Waiting:
    """A call on a thread of its own."""

    request: Request

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.result = call()
        except BaseException as problem:
            self.error = problem

    def end(self) -> Any:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def in_run(office: Office, amount: int = 25_000, **about: Any) -> Callable[[], Any]:
    def call() -> Any:
        with office.gate.run(**{"run_id": "r-1", "agent": "support", "user": "maria", **about}):
            return office.refund("A-17", amount)

    return call


# Who may answer.


def test_a_yes_of_one_who_is_asked_lets_the_call_run() -> None:
    office = Office()
    waiting = office.asked(in_run(office))
    assert office.vote(waiting.request.id).counted
    assert waiting.end() == "refunded 25000"
    assert office.events() == ["requested", "approved"]


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ("mallory", "not among those who are asked"),
        ("support", "whoever asks cannot answer"),
        ("vic", "may look and not answer"),
    ],
)
def test_who_may_not_answer_is_refused_and_recorded(by: str, why: str) -> None:
    office = Office()
    request = office.left()
    answered = office.vote(request, by=by)
    assert (answered.counted, answered.request.state) == (False, "pending")
    assert why in (answered.why or "")
    [refused] = [each for each in entries(office.gate, "approval") if each["event"] == "refused"]
    assert (refused["by"], why in refused["why"]) == (by, True)


def test_the_model_is_told_why_a_person_said_no() -> None:
    office = Office()
    waiting = office.asked(in_run(office))
    why = "Refund the shipping\nonly. The key is ghp_" + "a1B2" * 9 + " " + "and so on " * 200
    office.vote(waiting.request.id, yes=False, reason=why)
    with pytest.raises(Rejected) as rejected:
        waiting.end()
    told = rejected.value.for_model
    assert "said no: Refund the shipping only." in told
    assert "a1B2" not in told
    assert len(told) < 700


def test_a_call_that_was_left_is_told_why_a_person_said_no() -> None:
    office = Office()
    request = office.left()
    office.vote(request, yes=False, reason="not this month")
    with pytest.raises(Rejected, match="said no: not this month"):
        saferun.resume(request, office.leaving)


def test_the_user_of_the_run_does_not_answer_for_themselves() -> None:
    office = Office()
    waiting = office.asked(in_run(office, user="u-7"))
    assert "the one for whom it would run" in (office.vote(waiting.request.id, by="finn").why or "")
    office.vote(waiting.request.id, by="dana", yes=False)
    with pytest.raises(Rejected):
        waiting.end()


@pytest.mark.parametrize(
    "user",
    [
        "4111111111111111",
        {"id": "4111111111111111"},
        {"id": "u-7", "about": "x" * 100_000},
        {"about": ["x" * 900] * 200, "id": "u-7"},
    ],
    ids=["like a card", "like a card in a record", "with much about them", "after that"],
)
def test_a_user_whose_id_is_not_shown_as_it_is_does_not_answer_for_themselves(user: object) -> None:
    office = Office(people={**PEOPLE, "finn": Person(users=["u-7", "4111111111111111"])})
    waiting = office.asked(in_run(office, user=user))
    assert "the one for whom it would run" in (office.vote(waiting.request.id, by="finn").why or "")
    assert office.vote(waiting.request.id, by="dana").counted
    waiting.end()


def test_a_grant_is_for_the_user_whose_id_is_not_shown_as_it_is_and_for_no_other() -> None:
    office = Office()
    waiting = office.asked(in_run(office, user="4111111111111111"))
    permit = Permit(span=60_000_000, run=False)
    assert office.vote(waiting.request.id, permit=permit).grant is not None
    waiting.end()
    assert in_run(office, user="4111111111111111")() == "refunded 25000"
    other = Waiting(in_run(office, run_id="r-2", user="5500005555555559"))
    asked = office.channel.wait(lambda each: each.question.run.run_id == "r-2")
    assert office.vote(asked.id).counted
    other.end()


ANYBODY = """
version: 1
name: p
tools:
  refund:
    effect: write
    args: any
    rules: [{id: some, ask: true}]
    limits: [{id: pace, max: 1, per: run, on_limit: ask}]
"""


def test_where_no_name_is_asked_only_people_of_the_configuration_count() -> None:
    office = Office(ANYBODY)
    request = office.left()
    for by, why in (
        ("mallory", "nobody whom the configuration knows"),
        ("vic", "may look and not answer"),
        ("support", "whoever asks cannot answer"),
    ):
        answered = office.vote(request, by=by)
        assert not answered.counted
        assert why in (answered.why or "")
    assert office.vote(request, by="erin").counted


def test_where_the_configuration_knows_nobody_whom_a_channel_vouches_for_counts() -> None:
    office = Office(ANYBODY, {}, people={})
    request = office.left()
    assert office.vote(request, by="whoever").counted


def test_where_no_name_is_asked_and_nobody_may_answer_the_call_is_denied_at_once() -> None:
    office = Office(
        ANYBODY.replace("ask: true", "ask: true, approvals: 2"),
        {},
        people={"dana": Person(), "vic": PEOPLE["vic"]},
    )
    with pytest.raises(Denied, match="of all who are known, 1 may answer, and it takes 2"):
        in_run(office)()
    assert office.channel.seen == []


def test_where_a_name_means_nobody_the_call_is_denied_at_once() -> None:
    office = Office(POLICY.replace("[finance]", "[auditors]"))
    with pytest.raises(Denied, match="auditors means nobody here"):
        office.refund("A-17", 25_000)
    assert office.events() == []


def test_each_rule_wants_its_own_people_and_one_person_counts_once() -> None:
    office = Office()
    request = office.left(60_000)
    assert office.vote(request, by="erin").request.state == "pending"
    assert office.vote(request, by="erin", channel="other").request.state == "pending"
    assert office.vote(request, by="dana").request.state == "pending"
    assert office.vote(request, by="finn").request.state == "approved"
    assert office.events() == ["requested", "voted", "voted", "voted", "approved"]


def test_one_no_settles_it_whatever_yeses_there_were() -> None:
    office = Office()
    request = office.left(60_000)
    office.vote(request, by="erin")
    assert office.vote(request, by="finn", yes=False, reason="no").request.state == "rejected"
    with pytest.raises(Rejected):
        saferun.resume(request, office.leaving)
    assert office.ran == []


def test_the_first_answer_counts_and_the_second_is_told_so() -> None:
    office = Office()
    request = office.left()
    office.vote(request, by="dana")
    late = office.vote(request, by="erin", yes=False)
    assert (late.counted, late.why) == (False, "it is approved already")


def test_fifty_who_answer_at_once_have_one_winner() -> None:
    office = Office()
    request = office.left()
    start = threading.Barrier(50, timeout=20)
    counted: list[bool] = []

    def answer(number: int) -> None:
        start.wait()
        counted.append(
            office.vote(request, by=["dana", "erin"][number % 2], yes=number < 25).counted
        )

    voters = [threading.Thread(target=answer, args=(number,)) for number in range(50)]
    for voter in voters:
        voter.start()
    for voter in voters:
        voter.join()
    assert counted.count(True) == 1


# Edits.


def test_an_edited_call_runs_as_it_was_approved() -> None:
    office = Office()
    waiting = office.asked(in_run(office))
    edited = office.desk.edit(
        waiting.request.id, by="dana", args={"amount": 21_000}, channel="test", revision=0
    )
    assert (edited.counted, edited.request.revision) == (True, 1)
    assert edited.request.question.args == {"order_id": "A-17", "amount": 21_000}
    office.vote(waiting.request.id, by="erin")
    assert waiting.end() == "refunded 21000"
    assert office.ran == [{"order_id": "A-17", "amount": 21_000}]
    last = entries(office.gate, "decision")[-1]
    assert (last["args"]["amount"], last["given"]["amount"], last["modified"]) == (
        21_000,
        25_000,
        True,
    )


def test_an_edit_and_the_yes_to_it_may_come_before_the_caller_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office()
    # Nobody is told until both have happened, from when the question was put on.
    told = threading.Event()
    told.set()
    looked = office.gate.store.feed._looked
    monkeypatch.setattr(
        office.gate.store.feed, "_looked", lambda new: (told.wait(20) and looked(new)) or []
    )
    waiting = office.asked(in_run(office))
    told.clear()
    office.desk.edit(
        waiting.request.id, by="dana", args={"amount": 21_000}, channel="test", revision=0
    )
    office.vote(waiting.request.id, by="erin")
    told.set()
    assert waiting.end() == "refunded 21000"


def test_a_no_may_come_before_the_caller_has_read_the_edit_that_woke_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office()
    rejected, read = threading.Event(), Requests.held

    def late(requests: Requests, request: str) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert rejected.wait(20)
        return read(requests, request)

    waiting = office.asked(in_run(office))
    monkeypatch.setattr(Requests, "held", late)
    office.desk.edit(
        waiting.request.id, by="dana", args={"amount": 21_000}, channel="test", revision=0
    )
    # The caller may see the edit alone or both: whichever it is, it learns of the no.
    office.vote(waiting.request.id, by="erin", yes=False, reason="still too much")
    rejected.set()
    with pytest.raises(Rejected, match="still too much"):
        waiting.end()
    assert office.ran == []


def test_an_edit_to_what_policy_would_not_even_ask_about_still_waits_for_a_yes() -> None:
    office = Office()
    waiting = office.asked(in_run(office))
    office.desk.edit(
        waiting.request.id, by="dana", args={"amount": 500}, channel="test", revision=0
    )
    assert office.ran == []
    office.vote(waiting.request.id, by="dana")
    assert waiting.end() == "refunded 500"


def test_an_edit_clears_the_votes_and_a_stale_tab_does_not_count() -> None:
    office = Office()
    request = office.left(60_000)
    office.vote(request, by="erin")
    office.desk.edit(request, by="finn", args={"amount": 59_000}, channel="test", revision=0)
    stale = office.vote(request, by="dana", revision=0)
    assert "changed since it was shown" in (stale.why or "")
    stands = office.desk.stands(request)
    assert stands is not None
    assert (stands.votes, stands.revision) == ((), 1)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"amount": 100_001}, "policy denies it"),
        ({"order_id": "A-18"}, "may not be changed"),
        ({"amount": 25_000}, "nothing is changed"),
    ],
)
def test_an_edit_that_may_not_be_is_refused_and_the_question_stands(
    args: dict[str, Any], why: str
) -> None:
    office = Office()
    request = office.left()
    edited = office.desk.edit(request, by="dana", args=args, channel="test", revision=0)
    assert (edited.counted, edited.request.state, edited.request.revision) == (False, "pending", 0)
    assert why in (edited.why or "")


# Leaving and resuming.


def test_a_call_that_was_left_is_resumed_once() -> None:
    office = Office()
    request = office.left()
    with pytest.raises(ApprovalPending):
        saferun.resume(request, office.leaving)
    office.vote(request)
    assert saferun.resume(request, office.leaving) == "refunded 25000"
    assert saferun.resume(request, office.leaving) == "refunded 25000"
    assert len(office.ran) == 1


def test_a_call_that_was_left_is_resumed_with_what_was_changed_of_it() -> None:
    office = Office()
    request = office.left()
    office.desk.edit(request, by="dana", args={"amount": 22_000}, channel="test", revision=0)
    office.vote(request)
    assert saferun.resume(request, office.leaving) == "refunded 22000"
    assert office.ran == [{"order_id": "A-17", "amount": 22_000}]


def test_fifty_who_resume_at_once_start_it_once() -> None:
    office = Office()
    request = office.left()
    office.vote(request)
    start = threading.Barrier(50, timeout=20)
    told: list[object] = []

    def resume() -> None:
        start.wait()
        try:
            told.append(saferun.resume(request, office.leaving))
        except Denied as denied:
            told.append(denied)

    callers = [threading.Thread(target=resume) for _ in range(50)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(office.ran) == 1
    assert "refunded 25000" in told


@pytest.mark.parametrize("look", [1, 2], ids=["as it is taken up", "as it is decided on"])
def test_whoever_is_overtaken_in_resuming_gets_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    office = Office()
    request = office.left()
    office.vote(request)
    held, looks = Requests.held, iter(range(1, 9))

    def late(requests: Requests, of: str) -> Held:
        if next(looks) == look:
            # Somebody else, who has it run to its end before this one has read what is kept.
            monkeypatch.setattr(Requests, "held", held)
            saferun.resume(request, office.leaving)
        return held(requests, of)

    monkeypatch.setattr(Requests, "held", late)
    assert saferun.resume(request, office.leaving) == "refunded 25000"
    assert len(office.ran) == 1


def test_what_is_resumed_while_it_runs_is_said_to_have_been_started() -> None:
    office = Office()
    told: list[Denied] = []

    def refund(order_id: str, amount: int) -> str:
        with pytest.raises(Denied, match="was started before") as denied:
            saferun.resume(request, leaving)
        told.append(denied.value)
        return "done"

    leaving = guard(refund, gate=office.gate, on_ask="suspend")
    with pytest.raises(ApprovalPending) as left:
        leaving("A-17", 25_000)
    request = left.value.approval_id
    office.vote(request)
    assert saferun.resume(request, leaving) == "done"
    assert len(told) == 1


async def test_an_awaited_tool_is_resumed_by_awaiting() -> None:
    office = Office()

    async def refund(order_id: str, amount: int) -> str:
        office.ran.append({"amount": amount})
        return "done"

    safe = guard(refund, gate=office.gate, on_ask="suspend")
    with office.gate.run(agent="support"), pytest.raises(ApprovalPending) as pending:
        await safe("A-1", 30_000)
    office.vote(pending.value.approval_id)
    with pytest.raises(TypeError, match="aresume"):
        saferun.resume(pending.value.approval_id, safe)
    assert await saferun.aresume(pending.value.approval_id, safe) == "done"
    assert office.ran == [{"amount": 30_000}]


async def test_a_loop_goes_on_while_a_question_is_made_and_while_a_call_is_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office()

    async def refund(order_id: str, amount: int) -> str:
        return f"refunded {amount} for {order_id}"

    safe = guard(refund, gate=office.gate, on_ask="suspend")
    loop = threading.get_ident()
    busy: list[str] = []

    def aside(where: Any, name: str) -> None:
        do = getattr(where, name)

        def noted(*args: Any) -> Any:
            if threading.get_ident() == loop:
                busy.append(name)
            return do(*args)

        monkeypatch.setattr(where, name, noted)

    for where, name in ((Envelope, "make"), (Requests, "held"), (Requests, "state")):
        aside(where, name)
    async with office.gate.run(agent="support"):
        with pytest.raises(ApprovalPending) as pending:
            await safe("A-1", 30_000)
    assert busy == []
    office.vote(pending.value.approval_id)
    busy.clear()
    assert await saferun.aresume(pending.value.approval_id, safe) == "refunded 30000 for A-1"
    assert busy == []


def test_the_key_of_a_question_that_was_never_asked_goes_after_a_day() -> None:
    office = Office()
    asked = office.left()
    store = office.gate.store
    keys = store.path.parent / "keys" / "requests"
    fresh, old = store.envelope(new_id()).make(), store.envelope(new_id()).make()
    day_ago = time.time() - 86_500
    for request in (asked, old.request):
        os.utime(keys / f"{request}.key", (day_ago, day_ago))
    store.recover()
    assert {each.stem for each in keys.iterdir()} == {asked, fresh.request}


def test_what_is_kept_of_a_request_lies_in_no_file_of_the_database_and_goes_when_it_ends() -> None:
    office = Office()
    request = office.left(order_id="A-needle-17")
    office.gate.store.flush()
    folder = office.gate.store.path.parent
    assert (folder / "keys" / "requests" / f"{request}.key").exists()
    with Requests(office.gate.store.path) as requests:
        assert requests.held(request).call.args["order_id"] == "A-needle-17"
    office.vote(request, yes=False)
    assert not (folder / "keys" / "requests" / f"{request}.key").exists()


def test_the_same_question_in_one_run_is_shown_once_and_a_yes_is_for_one_start() -> None:
    office = Office()
    requests = [office.left() for _ in range(3)]
    assert [each.id for each in office.desk.open()] == requests[:1]
    office.vote(requests[0])
    assert saferun.resume(requests[0], office.leaving) == "refunded 25000"
    # The others are asked about again, with one question.
    [again] = office.desk.open()
    assert (again.id in requests[1:], again.joined, again.votes) == (True, 1, ())
    for request in requests[1:]:
        with pytest.raises(ApprovalPending):
            saferun.resume(request, office.leaving)
    assert len(office.ran) == 1
    office.channel.wait(lambda request: request.id == again.id and request.joined == 1)


def test_a_call_that_joins_after_the_question_was_seen_has_no_yes_by_it() -> None:
    office = Office()
    first = office.left()
    seen = office.channel.wait(lambda request: request.id == first)
    second = office.left()
    answered = office.desk.vote(
        first, by="dana", approved=True, channel="test", revision=seen.revision
    )
    assert answered.counted
    with pytest.raises(ApprovalPending):
        saferun.resume(second, office.leaving)


def test_a_yes_for_further_calls_is_one_for_those_that_wait() -> None:
    office = Office()
    first, second = office.left(), office.left()
    office.vote(first, permit=Permit(span=60_000_000))
    for request in (first, second):
        assert saferun.resume(request, office.leaving) == "refunded 25000"


def test_a_no_is_for_all_that_wait_and_nothing_is_kept_of_them() -> None:
    office = Office()
    requests = [office.left(), office.left()]
    office.vote(requests[0], yes=False)
    for request in requests:
        with pytest.raises(Rejected):
            saferun.resume(request, office.leaving)
    keys = office.gate.store.path.parent / "keys" / "requests"
    assert list(keys.iterdir()) == []


def test_every_surface_says_how_many_calls_wait_and_what_a_yes_is_for() -> None:
    office = Office()
    office.left()
    assert others(office.channel.wait(lambda request: request.joined == 0)) is None
    office.left()
    said = others(office.channel.wait(lambda request: request.joined == 1))
    assert said == "1 more call waits for this: a yes lets one of them all run, a no is for all"


# Grants.


def test_a_grant_lets_the_same_call_run_again_in_its_run_and_no_other_call() -> None:
    office = Office()
    request = office.left()
    granted = office.vote(request, permit=Permit(span=60_000_000))
    assert granted.grant is not None
    with office.gate.run(run_id="r-1", agent="support", user="maria"):
        assert office.leaving("A-17", 25_000) == "refunded 25000"
        with pytest.raises(ApprovalPending):
            office.leaving("A-18", 25_000)
    other = office.gate.run(run_id="r-2", agent="support", user="maria")
    with other, pytest.raises(ApprovalPending):
        office.leaving("A-17", 25_000)
    assert entries(office.gate, "decision")[1]["grant"] == granted.grant


def test_a_grant_narrowed_by_an_argument_holds_for_all_calls_that_share_it() -> None:
    office = Office()
    permit = Permit(span=60_000_000, run=False, by=("order_id",))
    office.vote(office.left(), permit=permit)
    with office.gate.run(run_id="r-2", agent="support", user="maria"):
        assert office.leaving("A-17", 30_000) == "refunded 30000"
        with pytest.raises(ApprovalPending):
            # Another rule asks as well, and nobody has answered that.
            office.leaving("A-17", 60_000)
    other = office.gate.run(run_id="r-3", agent="support", user="omar")
    with other, pytest.raises(ApprovalPending):
        office.leaving("A-17", 30_000)


def test_a_grant_that_was_taken_back_lets_nothing_run() -> None:
    office = Office()
    grant = office.vote(office.left(), permit=Permit(span=60_000_000)).grant
    assert grant is not None
    assert office.desk.revoke(grant, by="dana").grant is not None
    assert office.desk.revoke(grant, by="dana").grant is None
    office.left()


def test_there_is_no_grant_for_what_cannot_be_undone() -> None:
    office = Office()
    with office.gate.run(agent="support"):
        waiting = office.asked(lambda: office.wipe("/srv"))
    answered = office.vote(waiting.request.id, permit=Permit(span=1_000_000, run=False))
    assert (answered.counted, answered.request.state) == (False, "pending")
    assert "cannot be undone" in (answered.why or "")
    office.vote(waiting.request.id)
    waiting.end()


# Break-glass, and time.


def test_one_person_breaks_the_glass_for_all_with_a_reason() -> None:
    office = Office(break_glass=["erin"])
    request = office.left(60_000)
    assert "say why" in (office.vote(request, by="erin", glass=True).why or "")
    assert "may not break" in (office.vote(request, by="dana", glass=True, reason="x").why or "")
    office.vote(request, by="erin", glass=True, reason="the shop is on fire")
    last = entries(office.gate, "approval")[-1]
    assert (last["event"], last["glass"], last["reason"]) == (
        "approved",
        True,
        "the shop is on fire",
    )
    stands = office.desk.stands(request)
    assert stands is not None
    # It is for now, and not for some time tomorrow.
    assert stands.deadline <= office.gate.store.now() + 15 * 60_000_000


def test_an_alarm_goes_to_all_others_who_could_have_answered_and_to_admins() -> None:
    persons = {**PEOPLE, "alma": Person(role="admin"), "noah": Person()}
    people = People(persons, GROUPS)
    question = Question(
        id="a-1", tool="refund", args={}, demands=(Demand(rule="big", of=("finance",)),)
    )
    # A viewer could not have, and noah was not asked.
    assert people.alarmed(question, "erin") == {"dana", "finn", "alma"}
    lost = msgspec.structs.replace(question, demands=(), lost=True)
    assert people.alarmed(lost, "erin") == {"dana", "finn", "noah", "alma"}


def test_who_is_asked_later_may_answer_later() -> None:
    policy = POLICY.replace(
        "        ask: [finance]\n        edits",
        "        ask: [finance]\n        expires: 20m\n"
        "        escalate: [{after: 5m, to: [lead]}]\n        edits",
        1,
    )
    office = Office(policy, groups={**GROUPS, "finance": ["dana"]})
    request = office.left()
    assert not office.vote(request, by="erin").counted
    stands = office.desk.stands(request)
    assert stands is not None
    later = stands.question.asked + 5 * 60_000_000
    assert office.desk.people.objection("erin", stands.question, later) is None


async def test_many_who_wait_are_each_answered_with_their_own() -> None:
    office = Office()
    many = 200
    policy = "version: 1\nname: p\ntools: {echo: {effect: write, args: any, default: ask}}\n"

    def by_parity(question: Question) -> Vote:
        return Vote(approved=question.args["n"] % 2 == 0, by="dana")

    gate = Gate(policy=loads(policy), approvals=Asked(by_parity), settings=office.settings)

    async def echo(n: int) -> int:
        return n

    safe = guard(echo, gate=gate)

    async def one(n: int) -> object:
        with gate.run(agent="support", run_id=f"run-{n}"):
            return await safe(n)

    told = await asyncio.gather(*(one(n) for n in range(many)), return_exceptions=True)
    for n, each in enumerate(told):
        assert each == n if n % 2 == 0 else isinstance(each, Rejected)


SHOP = """
from saferun import Gate, guard

ran = []
gate = Gate(policy="money", approvals="console")

@guard(gate=gate, on_ask="suspend")
def refund(order_id, amount):
    ran.append(amount)
    return f"elsewhere {amount}"

# A program's first file is the same function's as what others import.
if __name__ == "__main__":
    try:
        refund("A-17", 25_000)
    except Exception as left:
        print(left.approval_id)
"""


def test_a_request_is_resumed_in_another_process() -> None:
    import subprocess
    import sys

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    Path("policies").mkdir()
    Path("policies/money.yaml").write_text(POLICY, encoding="utf-8")
    Path("shop.py").write_text(SHOP, encoding="utf-8")
    request = run("shop.py")
    desk = Desk(Gate(policy="money").store, config.load())
    desk.vote(request, by="dana", approved=True, channel="test", revision=0)
    resumes = (
        f"import saferun, shop; print(saferun.resume({request!r}, shop.refund), len(shop.ran))"
    )
    assert run("-c", resumes) == "elsewhere 25000 1"
    assert run("-c", resumes) == "elsewhere 25000 0"


# What an attack on it has found.


@pytest.mark.parametrize("within", [True, False], ids=["in a run", "outside of runs"])
def test_what_the_policy_denies_by_now_does_not_run_though_it_was_approved(within: bool) -> None:
    Path("policies").mkdir()
    file = Path("policies/money.yaml")
    file.write_text(POLICY, encoding="utf-8")
    office = Office()
    gate = Gate(policy="money", approvals=office.channel, settings=office.settings)
    ran: list[int] = []
    refund = guard(
        lambda order_id, amount: ran.append(amount), name="refund", gate=gate, on_ask="suspend"
    )
    run = gate.run(agent="support") if within else contextlib.nullcontext()
    with run, pytest.raises(ApprovalPending) as pending:
        refund("A-17", 25_000)
    asks = "        ask: [finance]\n        edits: [amount]\n"
    denied = POLICY.replace(asks, "        deny: true\n", 1)
    file.write_text(denied, encoding="utf-8")
    following = gate._choices
    assert following is not None
    while following.following.now().live.version == loads(POLICY).version:
        threading.Event().wait(0.01)
    office.vote(pending.value.approval_id)
    with pytest.raises(Denied, match="big"):
        saferun.resume(pending.value.approval_id, refund)
    assert ran == []


def test_what_can_no_longer_be_read_nobody_approves() -> None:
    office = Office("version: 1\nname: p\ntools: {fire: {effect: write, args: {}, default: ask}}\n")
    fire = guard(lambda: office.ran.append({}), name="fire", gate=office.gate, on_ask="suspend")
    with office.gate.run(agent="support"), pytest.raises(ApprovalPending) as pending:
        fire()
    office.gate.store.envelope(pending.value.approval_id).destroy()
    for yes in (True, False):
        answered = office.vote(pending.value.approval_id, by="mallory", yes=yes)
        assert not answered.counted
        assert "cannot be read any more" in (answered.why or "")


def test_each_call_that_cannot_be_undone_is_asked_about_by_itself() -> None:
    office = Office()
    wipe = guard(
        lambda folder: office.ran.append({}), name="wipe", gate=office.gate, on_ask="suspend"
    )
    requests = []
    for _ in range(2):
        with office.gate.run(run_id="r-1", agent="x"), pytest.raises(ApprovalPending) as pending:
            wipe("/srv")
        requests.append(pending.value.approval_id)
    office.vote(requests[0])
    with pytest.raises(ApprovalPending):
        saferun.resume(requests[1], wipe)


def test_who_has_a_question_before_them_sees_that_it_is_about_one_call_more() -> None:
    office = Office()
    first = office.left()
    office.channel.wait(lambda request: request.joined == 0)
    office.left()
    seen = office.channel.wait(lambda request: request.joined == 1)
    assert seen.id == first


def test_a_grant_of_one_version_lets_nothing_run_by_another() -> None:
    office = Office()
    office.vote(office.left(), permit=Permit(span=60_000_000, run=False))
    stricter = POLICY.replace("ask: [finance]\n        edits", "ask: [lead]\n        edits")
    other = Gate(
        policy=loads(stricter),
        store=office.gate.store,
        approvals=office.channel,
        settings=office.settings,
    )
    refund = guard(lambda order_id, amount: 1, name="refund", gate=other, on_ask="suspend")
    within = other.run(run_id="r-9", agent="support", user="maria")
    with within, pytest.raises(ApprovalPending):
        refund("A-17", 25_000)


def test_one_person_grants_nothing_that_takes_two() -> None:
    office = Office(POLICY.replace("        approvals: 2\n", ""))
    request = office.left(60_000)
    office.vote(request, by="dana")
    granted = office.vote(request, by="finn", permit=Permit(span=60_000_000))
    # Of finance and of lead, finn is; dana's yes was for one call.
    assert granted.grant is not None
    other = Office(
        POLICY.replace("        approvals: 2\n", ""),
        groups={"finance": ["dana"], "lead": ["erin"]},
    )
    request = other.left(60_000, order_id="A-18")
    other.vote(request, by="dana")
    refused = other.vote(request, by="erin", permit=Permit(span=60_000_000))
    assert (refused.counted, refused.grant) == (False, None)


def test_a_viewer_breaks_no_glass_and_a_glass_grants_nothing() -> None:
    office = Office(break_glass=["vic", "erin"])
    request = office.left()
    viewer = office.vote(request, by="vic", glass=True, reason="now")
    assert "may look and not answer" in (viewer.why or "")
    granting = office.vote(
        request, by="erin", glass=True, reason="now", permit=Permit(span=60_000_000)
    )
    assert "no further ones" in (granting.why or "")


@pytest.mark.parametrize("user", ["dana", "Dana", "dana@acme.example"])
def test_the_user_of_the_run_is_known_by_any_of_their_names(user: str) -> None:
    office = Office()
    people = {**PEOPLE, "dana": Person(email="dana@acme.example")}
    desk = Desk(office.gate.store, msgspec.structs.replace(office.settings, people=people))
    waiting = office.asked(in_run(office, user=user))
    answered = desk.vote(waiting.request.id, by="dana", approved=True, channel="t", revision=0)
    assert "the one for whom it would run" in (answered.why or "")
    office.vote(waiting.request.id, by="erin", yes=False)
    with pytest.raises(Rejected):
        waiting.end()


def test_the_agent_above_a_child_answers_no_question_of_the_child() -> None:
    office = Office("version: 1\nname: p\ntools: {fire: {effect: write, args: {}, default: ask}}\n")
    fire = guard(lambda: 1, name="fire", gate=office.gate, on_ask="suspend")
    above, child = office.gate.run(agent="planner"), {"agent": "worker"}
    with above, office.gate.run(**child), pytest.raises(ApprovalPending) as pending:
        fire()
    for by in ("planner", "Planner", "worker"):
        answered = office.vote(pending.value.approval_id, by=by)
        assert answered.why == "whoever asks cannot answer"


@pytest.mark.parametrize("depth", [1, 2])
def test_the_user_of_a_run_above_answers_no_question_of_a_child(depth: int) -> None:
    office = Office()

    def child() -> Any:
        with contextlib.ExitStack() as runs:
            runs.enter_context(office.gate.run(agent="planner", user="u-7"))
            for number in range(depth):
                runs.enter_context(office.gate.run(agent="worker", user=f"service-{number}"))
            return office.refund("A-17", 25_000)

    waiting = office.asked(child)
    answered = office.vote(waiting.request.id, by="finn")
    assert "the one for whom it would run" in (answered.why or "")
    assert office.vote(waiting.request.id, by="dana").counted
    waiting.end()


@pytest.mark.parametrize("user", ["ＤＡＮＡ", "da\u00adna", "dana\ufe0f", "ᴅana".replace("ᴅ", "ⅾ")])
def test_a_user_is_the_same_person_under_another_form_of_the_name(user: str) -> None:
    people = People({"dana": Person()}, {})
    run = RunRef(run_id="r-1", root="r-1", agent="support", user={"id": user})
    assert people._is_user("dana", Question(id="a-1", tool="t", args={}, demands=(), run=run))


def test_an_agent_is_the_same_under_another_form_of_the_name() -> None:
    people = People({"dana": Person()}, {})
    for agent in ("ＤＡＮＡ", "dana\ufe0f"):
        run = RunRef(run_id="r-1", root="r-1", agent=agent)
        question = Question(id="a-1", tool="t", args={}, demands=(), run=run)
        assert people._never("dana", question) == "whoever asks cannot answer"


def test_a_yes_that_a_limit_lets_nobody_use_is_good_until_its_deadline(tmp_path: Path) -> None:
    clock = [1_000_000_000]
    store = Store(f"sqlite:///{tmp_path}/a.db", durability="process", clock=lambda: clock[0])
    policy = POLICY.replace(
        "    rules:\n      - id: big",
        "    limits: [{id: hourly, max: 1, per: user, window: 1h}]\n    rules:\n      - id: big",
        1,
    )
    office = Office(policy)
    gate = Gate(
        policy=loads(policy), store=store, approvals=office.channel, settings=office.settings
    )
    ran: list[int] = []
    refund = guard(
        lambda order_id, amount: ran.append(amount), name="refund", gate=gate, on_ask="suspend"
    )
    within = gate.run(run_id="r-1", agent="support", user="maria")
    with within, pytest.raises(ApprovalPending) as pending:
        refund("A-17", 25_000)
    request = pending.value.approval_id
    Desk(store, office.settings).vote(request, by="dana", approved=True, channel="test", revision=0)
    with gate.run(run_id="r-2", agent="support", user="maria"):
        refund("A-1", 10)
    with pytest.raises(Denied, match="hourly"):
        saferun.resume(request, refund)
    clock[0] += 2 * 3_600_000_000
    saferun.resume(request, refund)
    assert ran == [10, 25_000]
    store.close()


PACED = POLICY.replace(
    "    rules:\n      - id: big",
    "    limits: [{id: pace, max: 1, per: user, window: 30s, on_limit: defer}]\n"
    "    rules:\n      - id: big",
    1,
)


class Paced:
    """An office whose calls a limit puts off, on a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = [1_000_000_000]
        self.office = Office()
        self.store = Store(
            f"sqlite:///{folder}/paced.db", durability="process", clock=lambda: self.clock[0]
        )
        settings = self.office.settings
        self.gate = Gate(
            policy=loads(PACED),
            store=self.store,
            approvals=self.office.channel,
            settings=settings,
        )
        self.desk = Desk(self.store, settings)
        self.ran: list[int] = []

        def refund(order_id: str, amount: int) -> None:
            self.ran.append(amount)

        self.refund = guard(refund, gate=self.gate)

    def call(self, amount: int = 25_000, run: str = "r-1") -> None:
        with self.gate.run(run_id=run, agent="support", user="maria"):
            self.refund("A-17", amount)

    def later(self, seconds: int) -> None:
        self.clock[0] += seconds * 1_000_000

    def asked(self, amount: int = 25_000, run: str = "r-1") -> Waiting:
        """Begin a call that people are asked about anew."""
        known = {each.id for each in self.office.channel.seen}
        waiting = Waiting(lambda: self.call(amount, run))
        waiting.request = self.office.channel.wait(lambda each: each.open and each.id not in known)
        return waiting

    def put_off(self, **edit: int) -> None:
        """Have a call approved that a limit has no room for by then."""
        waiting = self.asked()
        self.call(10, run="r-2")
        request = waiting.request.id
        if edit:
            edited = self.desk.edit(request, by="dana", args=edit, channel="test", revision=0)
            assert edited.counted, edited.why
        self.desk.vote(request, by="dana", approved=True, channel="test", revision=1 if edit else 0)
        with pytest.raises(Deferred):
            waiting.end()


@pytest.mark.parametrize("edit", [{}, {"amount": 30_000}], ids=["as it came", "edited"])
def test_an_approved_call_that_a_limit_puts_off_is_asked_about_once(
    tmp_path: Path, edit: dict[str, int]
) -> None:
    paced = Paced(tmp_path)
    paced.put_off(**edit)
    with pytest.raises(Deferred):
        paced.call()
    paced.later(31)
    paced.call()
    assert paced.ran == [10, edit.get("amount", 25_000)]
    assert len({each.id for each in paced.office.channel.seen}) == 1
    # It was one yes, for one start.
    paced.later(31)
    again = paced.asked()
    paced.desk.vote(again.request.id, by="dana", approved=False, channel="test", revision=0)
    with pytest.raises(Rejected):
        again.end()
    paced.store.close()


def test_what_a_limit_puts_off_while_people_think_is_not_asked_about_again(tmp_path: Path) -> None:
    paced = Paced(tmp_path)
    waiting = paced.asked()
    paced.call(10, run="r-2")
    request, about = waiting.request.id, {"by": "dana", "channel": "test"}
    paced.desk.edit(request, args={"amount": 30_000}, revision=0, **about)
    # The change has it look again, and by now there is no room for it.
    with pytest.raises(Deferred):
        waiting.end()
    paced.desk.vote(request, approved=True, revision=1, **about)
    paced.later(31)
    paced.call()
    assert paced.ran == [10, 30_000]
    assert {each.id for each in paced.office.channel.seen} == {request}
    paced.store.close()


@pytest.mark.parametrize(
    ("seconds", "amount", "run"), [(61, 25_000, "r-1"), (31, 25_001, "r-1"), (31, 25_000, "r-3")]
)
def test_a_yes_that_was_put_off_is_for_that_call_and_until_its_deadline(
    tmp_path: Path, seconds: int, amount: int, run: str
) -> None:
    paced = Paced(tmp_path)
    paced.put_off()
    paced.later(seconds)
    again = paced.asked(amount, run)
    paced.desk.vote(again.request.id, by="dana", approved=False, channel="test", revision=0)
    with pytest.raises(Rejected):
        again.end()
    assert paced.ran == [10]
    paced.store.close()


async def test_a_task_that_is_cancelled_as_it_asks_leaves_nothing_for_people_to_answer() -> None:
    office = Office()

    async def refund(order_id: str, amount: int) -> None:
        office.ran.append({})

    safe = guard(refund, gate=office.gate)
    for number in range(30):
        with office.gate.run(run_id=f"r-{number}", agent="support"):
            task = asyncio.create_task(safe(f"A-{number}", 25_000))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    # The loop hears of the last one after it was cancelled.
    async with asyncio.timeout(60):
        while office.desk.open():
            await asyncio.sleep(0)
            office.gate.store.flush()
    assert office.ran == []


def test_a_child_that_is_forked_while_somebody_waits_can_call_and_ask() -> None:
    from multiprocessing import get_context

    office = Office()
    waiting = office.asked(in_run(office))

    def child() -> None:
        with office.gate.run(run_id="child", agent="support", user="maria"):
            assert office.refund("A-1", 10) == "refunded 10"
            with pytest.raises(ApprovalPending):
                office.leaving("A-2", 30_000)

    forked = get_context("fork").Process(target=child)
    forked.start()
    forked.join(30)
    assert forked.exitcode == 0
    office.vote(waiting.request.id)
    assert waiting.end() == "refunded 25000"


def test_a_waiting_caller_is_told_at_once_that_the_store_is_closed() -> None:
    office = Office()
    waiting = office.asked(in_run(office))
    office.gate.store.close()
    with pytest.raises(Denied):
        waiting.end()


def test_a_stream_waits_for_people_and_does_not_leave() -> None:
    def stream() -> Any:
        yield 1

    with pytest.raises(TypeError, match="is a generator"):
        guard(stream, gate=Office().gate, on_ask="suspend")


def test_a_grant_by_an_argument_after_the_first_hundred_is_refused_with_the_reason() -> None:
    described = ", ".join(f"a{number}: {{type: integer}}" for number in range(150))
    tool = f"{{effect: write, default: ask, args: {{{described}}}}}"
    office = Office(f"version: 1\nname: wide\ntools: {{many: {tool}}}\n")
    many = guard(lambda **args: args, name="many", gate=office.gate, on_ask="suspend")
    with office.gate.run(run_id="r-1", agent="support"), pytest.raises(ApprovalPending) as pending:
        many(**{f"a{number}": number for number in range(150)})
    request = pending.value.approval_id
    answered = office.vote(request, permit=Permit(60_000_000, by=("a120",)))
    assert answered.why == "a grant goes by the first 100 arguments, and 'a120' is not one"
    assert office.vote(request, permit=Permit(60_000_000, by=("a99",))).grant is not None


def test_what_nobody_has_seen_to_is_expired_by_whoever_opens_the_store_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    clock = [1_700_000_000_000_000]
    settings = Office().settings

    def left(order_id: str) -> tuple[Store, str]:
        store = Store(f"sqlite:///{path}", durability="process", clock=lambda: clock[0])
        gate = Gate(policy=loads(POLICY), approvals=Silent(), settings=settings, store=store)
        refund = guard(lambda order_id, amount: 1, name="refund", gate=gate, on_ask="suspend")
        with gate.run(run_id="r-1", agent="x"), pytest.raises(ApprovalPending) as pending:
            refund(order_id, 25_000)
        gate.close()
        return store, pending.value.approval_id

    _, first = left("A-1")
    clock[0] += 40_000_000
    _, second = left("A-2")
    clock[0] += 40_000_000
    with Requests(path) as requests:
        # What is over hides nothing that is open.
        assert [each.id for each in requests.open(clock[0])] == [second]
    store = Store(f"sqlite:///{path}", durability="process", clock=lambda: clock[0])
    with Requests(path) as requests:
        assert requests.state(first)[0] == "expired"  # type: ignore[index]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        bodies = [bytes(row[0]) for row in connection.execute("SELECT body FROM entry")]
    [expired] = [each for each in bodies if b'"expired"' in each]
    assert first.encode() in expired
    assert [each.stem for each in (path.parent / "keys/requests").iterdir()] == [second]
    # And by whoever lists them, while the store stays open.
    clock[0] += 40_000_000
    assert Desk(store, settings).open() == []
    with Requests(path) as requests:
        assert requests.state(second)[0] == "expired"  # type: ignore[index]
    store.close()
