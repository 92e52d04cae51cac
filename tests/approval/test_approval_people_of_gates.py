"""Gates with people of their own on one store: each request is judged by those of its gate."""

import threading
from collections.abc import Iterator

import msgspec
import pytest

from saferun import ApprovalPending, Denied, Gate, config, guard, resume
from saferun.approval import Channel, Desk, Request
from saferun.call import Call, RunRef
from saferun.channel.courier import courier
from saferun.config import ApprovalTable, Config, Person
from saferun.desk import Answered, Permit
from saferun.desk import Desk as Office
from saferun.policy import loads
from saferun.store import Store

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {amount: {type: integer}}
    rules:
      - {id: big, ask: [finance], edits: [amount], args: {amount: {minimum: 100}}}
      - {id: huge, ask: [lead], edits: [amount], args: {amount: {minimum: 500}}}
  wipe:
    effect: write
    args: {amount: {type: integer}}
    default: ask
"""


def settings(finance: str, **about: object) -> Config:
    """A configuration in which one person is finance, under a name that others have as well."""
    return msgspec.structs.replace(
        config.load(),
        **{
            "people": {"dana": Person(), "erin": Person(), "finn": Person()},
            "groups": {"finance": [finance], "lead": ["finn"]},
            "approval": ApprovalTable(timeout=60.0),
            **about,
        },
    )


class Says:
    """A channel by which one person says yes as soon as they are asked."""

    def __init__(self, name: str, by: str) -> None:
        self.name = name
        self.answers: list[Answered] = []
        self._by = by
        self._asked = threading.Event()

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        if request.open and not self._asked.is_set():
            answered = desk.vote(
                request.id, by=self._by, approved=True, channel=self.name, revision=0
            )
            assert isinstance(answered, Answered)
            self.answers.append(answered)
            self._asked.set()
        return receipt or "there"

    def wait(self) -> Answered:
        assert self._asked.wait(20)
        return self.answers[0]


@pytest.fixture
def store() -> Iterator[Store]:
    chosen = config.load()
    with_store = Store(chosen.store, durability="process")
    yield with_store
    found = courier(with_store, Office(with_store, chosen))
    found.close()
    with_store.close()


def gate(store: Store, finance: str, channel: Channel, **about: object) -> Gate:
    return Gate(
        policy=loads(POLICY), store=store, approvals=channel, settings=settings(finance, **about)
    )


def left(gate: Gate, tool: str = "refund", amount: int = 200, run: str = "r") -> str:
    """The request of a call that waits."""
    about = RunRef(run_id=run, root=run, agent="support", user={"id": "maria"})
    decision = gate.check(Call(tool=tool, args={"amount": amount}, run=about), leaves=True)
    assert decision.approval_id is not None, decision
    return decision.approval_id


def vote(desk: Office, request: str, by: str, **more: object) -> Answered:
    said = {"by": by, "approved": True, "channel": "test", "revision": 0, **more}
    return desk.vote(request, **said)  # type: ignore[arg-type]


def test_a_channel_answers_to_the_people_of_the_gate_that_asked_and_not_of_the_first(
    store: Store,
) -> None:
    first, second = Says("one", "dana"), Says("two", "erin")
    by_dana, by_erin = gate(store, "dana", first), gate(store, "erin", second)
    refund = guard(lambda amount: amount, name="refund", gate=by_dana)
    again = guard(lambda amount: amount, name="refund", gate=by_erin)
    with by_dana.run(run_id="r-1"):
        assert refund(amount=200) == 200
    with by_erin.run(run_id="r-2"):
        assert again(amount=200) == 200
    assert first.wait().counted
    assert second.wait().counted


def test_who_is_asked_by_one_gate_has_no_say_in_what_another_asks(store: Store) -> None:
    one, two = Says("one", "finn"), Says("two", "dana")
    left(gate(store, "dana", one))
    left(gate(store, "erin", two), run="other")
    answered = two.wait()
    assert not answered.counted
    assert answered.why == "dana is not among those who are asked (finance)"


def test_at_another_desk_it_takes_somebody_who_may_answer_by_both(store: Store) -> None:
    request = left(gate(store, "dana", Says("one", "finn")))
    elsewhere = Office(store, settings("erin"))
    answered = vote(elsewhere, request, "erin")
    assert not answered.counted
    assert answered.why == ("where it was asked, erin is not among those who are asked (finance)")
    assert not vote(elsewhere, request, "dana").counted
    more = {"finance": ["erin", "dana"], "lead": ["finn"]}
    assert vote(Office(store, settings("erin", groups=more)), request, "dana").counted


def test_where_anybody_may_answer_a_viewer_of_the_asking_gate_may_not(store: Store) -> None:
    people = {"dana": Person(), "erin": Person(role="viewer")}
    request = left(gate(store, "dana", Says("one", "erin"), people=people), tool="wipe")
    answered = vote(Office(store, settings("dana")), request, "erin")
    assert not answered.counted
    assert answered.why == "where it was asked, erin may look and not answer"
    assert vote(Office(store, settings("dana")), request, "dana").counted


def test_glass_is_broken_by_those_whom_the_asking_gate_lets_alone(store: Store) -> None:
    request = left(gate(store, "dana", Says("one", "finn")))
    elsewhere = settings("dana", approval=ApprovalTable(timeout=60.0, break_glass=["erin"]))
    answered = vote(Office(store, elsewhere), request, "erin", glass=True, reason="It burns.")
    assert not answered.counted
    assert answered.why == "erin may not break the glass"


def test_a_grant_holds_at_gates_with_the_people_of_the_one_that_asked(store: Store) -> None:
    asks = gate(store, "dana", Says("one", "finn"))
    request = left(asks)
    granted = vote(Office(store, asks.config), request, "dana", permit=Permit(60_000_000))
    assert granted.grant is not None
    call = Call(
        tool="refund",
        args={"amount": 200},
        run=RunRef(run_id="r", root="r", agent="support", user={"id": "maria"}),
    )
    assert asks.check(call, leaves=True).allowed
    assert not gate(store, "erin", Says("two", "finn")).check(call, leaves=True).allowed


def test_the_same_call_of_gates_with_other_people_is_another_question(store: Store) -> None:
    request = left(gate(store, "dana", Says("one", "finn")))
    assert left(gate(store, "dana", Says("one", "finn"))) != request
    stands = Office(store, settings("dana")).stands(request)
    assert stands is not None
    assert stands.joined == 1
    left(gate(store, "erin", Says("two", "finn")))
    stands = Office(store, settings("dana")).stands(request)
    assert stands is not None
    assert stands.joined == 1


def test_an_edit_elsewhere_asks_nobody_of_whom_the_asking_gate_has_not_heard(
    store: Store,
) -> None:
    request = left(gate(store, "dana", Says("one", "finn")))
    both = {"finance": ["dana", "erin"], "lead": ["finn"]}
    elsewhere = Office(store, settings("dana", groups=both))
    said = {"by": "dana", "channel": "test", "revision": 0}
    refused = elsewhere.edit(request, args={"amount": 900}, **said)  # type: ignore[arg-type]
    assert not refused.counted
    assert refused.why == "policy would ask others then, who are known only where it was asked"
    assert elsewhere.edit(request, args={"amount": 300}, **said).counted  # type: ignore[arg-type]
    assert not vote(elsewhere, request, "erin", revision=1).counted
    assert vote(elsewhere, request, "dana", revision=1).counted


def the_call(run: RunRef | None = None) -> Call:
    about = run or RunRef(run_id="r", root="r", agent="support", user={"id": "maria"})
    return Call(tool="refund", args={"amount": 200}, run=about, call_id="c-1")


def test_a_yes_starts_no_call_of_a_gate_whose_people_would_not_let_them_answer(
    store: Store,
) -> None:
    asks = gate(store, "dana", Says("one", "finn"))
    request = asks.check(the_call(), leaves=True).approval_id
    assert request is not None
    assert vote(Office(store, asks.config), request, "dana").counted
    others = gate(store, "erin", Says("two", "finn"))
    denied = others.check(the_call(), leaves=True)
    assert not denied.allowed
    assert denied.reasons[0].message == (
        "those who have approved it may not, by the people that are known here"
    )
    # It is not used up by that, however often they try.
    assert not others.check(the_call(), leaves=True).allowed
    assert asks.check(the_call(), leaves=True).allowed
    assert not asks.check(the_call(), leaves=True).starts


def test_who_has_left_since_they_approved_starts_nothing(store: Store) -> None:
    def refund(amount: int) -> int:
        return amount

    both = {"finance": ["dana", "erin"], "lead": ["finn"]}
    asks = gate(store, "dana", Says("one", "finn"), groups=both)
    with asks.run(run_id="r-1"), pytest.raises(ApprovalPending) as pending:
        guard(refund, gate=asks, on_ask="suspend")(amount=200)
    request = pending.value.approval_id
    assert vote(Office(store, asks.config), request, "dana").counted
    without = {"erin": Person(), "finn": Person()}
    later = gate(store, "erin", Says("two", "finn"), people=without)
    with pytest.raises(Denied, match="those who have approved it may not"):
        resume(request, guard(refund, gate=later))
    assert resume(request, guard(refund, gate=asks)) == 200


def test_a_yes_starts_its_call_where_others_have_come_since(store: Store) -> None:
    asks = gate(store, "dana", Says("one", "finn"))
    request = asks.check(the_call(), leaves=True).approval_id
    assert request is not None
    assert vote(Office(store, asks.config), request, "dana").counted
    more = {"finance": ["dana", "erin"], "lead": ["finn"]}
    assert gate(store, "dana", Says("two", "finn"), groups=more).check(the_call()).allowed


def test_broken_glass_starts_no_call_where_they_may_not_break_it(store: Store) -> None:
    breaks = ApprovalTable(timeout=60.0, break_glass=["erin"])
    asks = gate(store, "dana", Says("one", "finn"), approval=breaks)
    request = asks.check(the_call(), leaves=True).approval_id
    assert request is not None
    assert vote(Office(store, asks.config), request, "erin", glass=True, reason="Fire.").counted
    assert not gate(store, "dana", Says("two", "finn")).check(the_call(), leaves=True).allowed


def test_nobodys_grant_lets_a_call_run_that_goes_for_themselves(store: Store) -> None:
    both = {"finance": ["dana", "erin"], "lead": ["finn"]}
    asks = gate(store, "dana", Says("one", "finn"), groups=both)
    granted = vote(
        Office(store, asks.config), left(asks), "dana", permit=Permit(60_000_000, run=False)
    )
    assert granted.grant is not None

    def child(of: str) -> RunRef:
        above = f"for-{of}"
        return RunRef(
            run_id=f"below-{above}",
            root=above,
            parent=above,
            lineage=((above, "desk"),),
            users=(of,),
            agent="support",
            user={"id": "maria"},
        )

    assert asks.check(the_call(child("vera")), leaves=True).allowed
    # Dana has let it run for Maria, and this one is Dana's own.
    assert not asks.check(the_call(child("Dana")), leaves=True).allowed


def test_an_answer_to_what_nobody_can_have_seen_yet_does_not_count(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = gate(store, "dana", Says("one", "finn"))
    request, desk = left(asks), Office(store, asks.config)
    stands = desk.stands
    before = stands(request)
    assert before is not None
    assert desk.edit(request, by="dana", args={"amount": 900}, channel="test", revision=0).counted
    # The edit, by which it takes the lead as well, comes just behind the look of who answers.
    looks = [before]
    monkeypatch.setattr(desk, "stands", lambda id_: looks.pop() if looks else stands(id_))
    answered = vote(desk, request, "dana", revision=1)
    assert not answered.counted
    assert answered.why == "it was changed since it was shown, so look at it again"
    assert answered.request.open
    looks.append(before)
    edited = desk.edit(request, by="dana", args={"amount": 90}, channel="test", revision=1)
    assert not edited.counted
