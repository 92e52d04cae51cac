"""Counting through the gate: limits are all checked, then all moved, or none is."""

import math
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import saferun
from guarding import Asked, enforcing, entries, statuses, verdicts
from saferun import BudgetExceeded, Call, Deferred, Denied, Gate, LimitExceeded, Rejected, guard
from saferun.approval import Question, Vote
from saferun.call import RunRef
from saferun.control import Groups, Limit, charges
from saferun.policy import loads
from saferun.store import Store

POLICY = """
version: 1
name: counted
limits: [{id: all-calls, max: 5, per: run}]
tools:
  mail:
    effect: write
    args: {to: {type: string}, text: {type: string, maxLength: 5}}
    limits:
      - {id: a-lead, max: 2, per: [run, args.to]}
      - {id: hidden, max: 4, per: run, disclose: false}
    rules: [{id: asked, ask: true, args: {text: {const: ask}}, message: It asks.}]
"""


def mail(gate: Gate) -> list[str]:
    """A guarded tool that gives back the ids of the limits that stopped it."""

    def send(to: str, text: str = "") -> str:
        return "sent"

    return guard(send, name="mail", gate=gate)


def reasons(call, *args) -> list[str]:
    with pytest.raises(Denied) as raised:
        call(*args)
    return [reason.id for reason in raised.value.decision.reasons]


def test_a_limit_stops_the_call_past_it_and_names_itself():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run():
        send("a@x.test")
        send("a@x.test")
        with pytest.raises(LimitExceeded) as raised:
            send("a@x.test")
    assert raised.value.for_model == (
        "mail was not run: at most 2 calls for each run and value of args.to (rule a-lead)."
    )


def test_a_denial_by_one_limit_moves_none_of_the_others():
    send = mail(enforcing(POLICY))
    with saferun.run():
        send("a@x.test")
        send("a@x.test")
        for _ in range(10):
            assert reasons(send, "a@x.test") == ["a-lead"]
        # Two of four are used, and not twelve.
        send("b@x.test")
        send("c@x.test")
        assert reasons(send, "d@x.test") == ["hidden"]


def test_a_denial_by_the_policy_moves_no_limit():
    send = mail(enforcing(POLICY))
    with saferun.run():
        for _ in range(10):
            assert reasons(send, "a@x.test", "too long") == ["mail.args"]
        assert [send(f"{at}@x.test") for at in range(4)] == ["sent"] * 4


@pytest.mark.parametrize(
    ("answer", "sent"),
    [(None, 0), (lambda _: None, 0), (lambda _: Vote(approved=False, by="dana"), 0)],
    ids=["nobody", "no answer", "no"],
)
def test_a_question_without_a_yes_moves_no_limit(answer, sent):
    gate = Gate(policy=loads(POLICY), approvals=None if answer is None else Asked(answer))
    send = mail(gate)
    with saferun.run():
        for _ in range(5):
            with pytest.raises(Denied):
                send("a@x.test", "ask")
        assert [send(f"{at}@x.test") for at in range(4)] == ["sent"] * 4


def test_a_call_that_a_limit_stops_anyway_asks_nobody():
    asked: list[Question] = []

    def answer(question: Question) -> Vote:
        asked.append(question)
        return Vote(approved=True, by="dana")

    send = mail(enforcing(POLICY, answer))
    with saferun.run():
        assert [send("a@x.test", "ask") for _ in range(2)] == ["sent"] * 2
        assert "a-lead" in reasons(send, "a@x.test", "ask")
    assert len(asked) == 2


def test_outside_a_run_a_limit_cannot_count_and_denies():
    send = mail(enforcing(POLICY))
    with pytest.raises(LimitExceeded, match=r"saferun\.run"):
        send("a@x.test")


def test_a_child_counts_against_its_root_and_another_run_does_not():
    send = mail(enforcing(POLICY))
    with saferun.run():
        send("a@x.test")
        with saferun.run():
            send("a@x.test")
            with saferun.run():
                assert "a-lead" in reasons(send, "A@X.test")
    with saferun.run():
        assert send("a@x.test") == "sent"


def test_a_hidden_threshold_is_told_to_nobody():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run():
        for at in range(4):
            send(f"{at}@x.test")
        with pytest.raises(LimitExceeded) as raised:
            send("new@x.test")
    assert not set("0123456789") & set(raised.value.for_model)


def test_every_decision_is_on_record_with_its_limits():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run():
        send("a@x.test")
        send("a@x.test")
        reasons(send, "a@x.test")
    assert verdicts(gate) == ["allow", "allow", "deny"]
    assert entries(gate, "decision")[-1]["reasons"][0]["error"] == "LimitExceeded"


def test_people_find_how_each_limit_stood_on_record_and_the_model_is_not_told():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run() as run:
        send("a@x.test")
        send("a@x.test")
        with pytest.raises(LimitExceeded) as raised:
            send("a@x.test")
    (reason,) = entries(gate, "decision")[-1]["reasons"]
    assert reason["measure"] == {
        "control": "limit",
        "scope": f"run {run.run_id}, args.to a@x.test",
        "max": "2",
        "used": "2",
        "wants": "1",
    }
    assert "a@x.test" not in raised.value.for_model
    assert "a@x.test" in raised.value.decision.for_people


# Windows, sums, rates: the gate with a clock that a test sets.

SECOND = 1_000_000
MINUTE = 60 * SECOND


class World:
    """A store whose time stands still until a test moves it, and gates on it."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_763_942_400 * SECOND
        self.store = Store(
            f"sqlite:///{folder}/counted.db", durability="process", clock=lambda: self.now
        )

    def gate(self, tool: str, answer: Any = None, head: str = "") -> Gate:
        said = f"version: 1\nname: counted\n{dedent(head)}\n"
        text = f"{said}tools:\n  pay:\n{indent(dedent(tool), '    ')}"
        asked = None if answer is None else Asked(answer)
        return Gate(policy=loads(text), approvals=asked, store=self.store)

    def pay(self, tool: str, does: Any = None, **about: Any) -> Any:
        return guard(does or pay, name="pay", gate=self.gate(tool, **about))


def pay(to: str = "a", amount: float = 1) -> dict[str, Any]:
    return {"paid": amount, "usage": {"cost_usd": amount}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


ARGS = """
effect: write
args: {to: {type: string, default: a}, amount: {type: number, minimum: 0, default: 1}}
"""


def limited(*limits: str, **about: str) -> str:
    """The tool with these limits, and with no other control."""
    about = {"loops": "off", "breaker": "off", **about}
    more = "".join(f"{name}: {said}\n" for name, said in about.items())
    return ARGS + more + "limits:\n" + "".join(f"  - {{{each}}}\n" for each in limits)


def test_an_argument_alone_counts_over_all_runs_and_outside_of_any(world: World):
    call = world.pay(limited("id: per-payee, max: 2, per: args.to"))
    with saferun.run():
        call("a")
    call("A")
    with saferun.run(), pytest.raises(LimitExceeded):
        call("a")
    assert call("b")


def test_a_limit_without_a_window_counts_for_good(world: World):
    call = world.pay(limited("id: once, max: 1, per: args.to"))
    call()
    world.now += 3_000 * 24 * 60 * MINUTE
    with pytest.raises(LimitExceeded) as raised:
        call()
    assert raised.value.retry_after is None
    assert raised.value.decision.frees_at is None


@pytest.mark.parametrize("kind", ["max: 2, window: 1h", "rate: 2/h, burst: 2"])
@pytest.mark.parametrize(("on_limit", "error"), [("deny", LimitExceeded), ("defer", Deferred)])
def test_a_denial_says_after_how_long_the_call_fits_and_then_it_does(
    world: World, kind: str, on_limit: str, error: type[Denied]
):
    call = world.pay(limited(f"id: cap, {kind}, per: all, on_limit: {on_limit}"))
    call()
    call()
    with pytest.raises(error) as raised:
        call()
    wait = raised.value.retry_after
    assert wait is not None
    assert raised.value.decision.frees_at == world.now + round(wait * SECOND)
    assert f"try again in {math.ceil(wait / 60)} min" in raised.value.for_model
    world.now += round(wait * SECOND) - 1
    with pytest.raises(error):
        call()
    world.now += 1
    call()


def test_a_sum_is_exact_to_the_millionth(world: World):
    call = world.pay(limited("id: paid, sum: args.amount, max: 1, per: all"))
    for _ in range(10):
        call(amount=0.1)
    with pytest.raises(BudgetExceeded) as raised:
        call(amount=0.000001)
    (reason,) = raised.value.decision.reasons
    assert reason.measure is not None
    assert (reason.measure.used, reason.measure.max) == ("1", "1")
    assert reason.measure.wants == "0.000001"


def test_a_denial_of_a_sum_counts_nothing(world: World):
    call = world.pay(limited("id: paid, sum: args.amount, max: 10, per: all"))
    call(amount=8)
    for _ in range(5):
        with pytest.raises(BudgetExceeded):
            call(amount=3)
    call(amount=2)


def test_what_a_call_truly_cost_takes_the_place_of_the_most_that_it_might_have(world: World):
    cost = "{most: 5, from: result.usage.cost_usd}"
    call = world.pay(limited("id: cost, sum: cost_usd, max: 10, per: all", cost=cost))
    for _ in range(5):
        call(amount=1)
    call(amount=1)
    # Six are spent, and it may cost five: it does not fit before it is known to be cheaper.
    with pytest.raises(BudgetExceeded):
        call(amount=1)


def test_a_call_that_cost_more_than_it_might_is_on_record_and_closes_the_budget(world: World):
    cost = "{most: 1, from: result.usage.cost_usd}"
    spec = limited("id: cost, sum: cost_usd, max: 10, per: all", cost=cost)
    gate = world.gate(spec)
    call = guard(pay, name="pay", gate=gate)
    call(amount=12.5)
    (end,) = entries(gate, "outcome")
    assert (end["cost"], end["over"]) == (12_500_000, ["cost"])
    with pytest.raises(BudgetExceeded):
        call(amount=0)


@pytest.mark.parametrize(
    "result",
    [None, {}, {"usage": None}, {"usage": {"cost_usd": "1"}}, {"usage": {"cost_usd": -5}}, "free"],
)
def test_a_result_that_names_no_price_is_charged_in_full(world: World, result: Any):
    cost = "{most: 5, from: result.usage.cost_usd}"
    spec = limited("id: cost, sum: cost_usd, max: 10, per: all", cost=cost)
    call = world.pay(spec, lambda to="a", amount=1: result)
    call()
    call()
    with pytest.raises(BudgetExceeded):
        call()


def test_a_tool_that_names_an_absurd_price_stops_itself_and_nothing_else(world: World):
    cost = "{most: 5, from: result.usage.cost_usd}"
    spec = limited("id: cost, sum: cost_usd, max: 10, per: args.to", cost=cost)
    gate = world.gate(spec)
    call = guard(lambda to="a", amount=1: {"usage": {"cost_usd": 4e12}}, name="pay", gate=gate)
    for to in "abcdefghij":
        call(to)
        with pytest.raises(BudgetExceeded):
            call(to)
    assert statuses(gate) == ["ok"] * 10


@pytest.mark.parametrize(("releasable", "tried"), [("true", 5), ("false", 2)])
def test_an_error_gives_back_what_it_counted_only_where_it_means_that_nothing_happened(
    world: World, releasable: str, tried: int
):
    def fail(to: str = "a", amount: float = 1) -> None:
        raise ValueError(f"{to} has no account")

    spec = limited("id: paid, sum: args.amount, max: 2, per: all", releasable=releasable)
    call = world.pay(spec, fail)
    raised = []
    for payee in range(5):
        with pytest.raises((ValueError, BudgetExceeded)) as told:
            call(f"payee {payee}")
        raised.append(told.type)
    assert raised.count(ValueError) == tried


def test_what_a_model_turn_costs_counts_towards_the_budgets_of_its_run(world: World):
    gate = world.gate(ARGS, head="limits: [{id: run-cost, sum: cost_usd, max: 2.00, per: run}]")
    call = guard(pay, name="pay", gate=gate)
    with gate.run() as run:
        run.model("thinking", cost_usd=1.999999)
        call()
        run.model("thinking more", cost_usd=0.000001)
        with pytest.raises(BudgetExceeded, match=r"at most \$2\.00 in sum for each run"):
            call()
    with gate.run():
        call()


def test_one_user_is_counted_over_all_runs_and_children_and_apart_from_others(world: World):
    call = world.pay(limited("id: cap, max: 2, per: user, window: 1h"))
    with saferun.run(user="maria"), saferun.run(agent="helper"):
        call()
    with saferun.run(user="maria"):
        call()
        with pytest.raises(LimitExceeded):
            call()
    with saferun.run(user="bob"):
        call()
    with saferun.run(), pytest.raises(LimitExceeded, match=r"the run says none"):
        call()


@pytest.mark.parametrize(("approved", "error"), [(True, None), (False, Denied)])
def test_a_limit_that_asks_has_a_person_let_the_call_through_or_not(
    world: World, approved: bool, error: type[Denied] | None
):
    asked: list[Question] = []

    def answer(question: Question) -> Vote:
        asked.append(question)
        return Vote(approved=approved, by="dana")

    spec = limited("id: cap, max: 1, per: all, window: 1h, on_limit: ask")
    call = world.pay(spec, answer=answer)
    call("a")
    for to in "bcd":
        if error is None:
            call(to)
        else:
            with pytest.raises(error):
                call(to)
    # Once let through, the next is asked about again.
    assert len(asked) == 3
    assert {reason.id for reason in asked[0].reasons} == {"cap"}


def test_nobody_lets_through_what_cannot_be_counted(world: World):
    def answer(_: Question) -> Vote:
        raise AssertionError("nobody is asked")

    spec = limited("id: cap, max: 1, per: user, window: 1h, on_limit: ask")
    call = world.pay(spec, answer=answer)
    with pytest.raises(LimitExceeded, match=r"use saferun\.run\(user=\.\.\.\)"):
        call()


def test_a_person_is_not_asked_twice_where_the_policy_looks_at_what_the_run_has_done(world: World):
    asked: list[Question] = []

    def answer(question: Question) -> Vote:
        asked.append(question)
        return Vote(approved=True, by="dana")

    spec = limited("id: cap, max: 1, per: all, window: 1h, on_limit: ask")
    spec += "rules: [{id: many, deny: true, when: run.calls > 99}]\n"
    call = world.pay(spec, answer=answer)
    with saferun.run():
        call("a")
        call("b")
    assert len(asked) == 1


@pytest.mark.parametrize("rules", ["", "rules: [{id: many, deny: true, when: run.calls > 99}]\n"])
def test_a_no_holds_even_if_the_limit_has_freed_itself_while_the_person_thought(
    world: World, rules: str
):
    def answer(_: Question) -> Vote:
        world.now += 2 * SECOND
        return Vote(approved=False, by="dana")

    spec = limited("id: cap, max: 1, per: all, window: 1s, on_limit: ask") + rules
    call = world.pay(spec, answer=answer)
    with saferun.run():
        call("a")
        with pytest.raises(Rejected):
            call("b")


def test_a_version_in_shadow_counts_apart_and_denies_nothing(world: World):
    spec = limited("id: cap, max: 1, per: all")
    shadow = world.pay(spec, head="mode: shadow")
    for _ in range(3):
        shadow()
    call = world.pay(spec)
    call()
    with pytest.raises(LimitExceeded):
        call()


# One spelling for what a reader takes for one value.

LIMIT = Limit(id="l", max=1, per=("args.to",), tool="t")
WORDS = st.text("abcxyzABCXYZ019.@-_ äöüßéñ", min_size=1, max_size=20)
INVISIBLE = st.sampled_from(["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e"])


def key(value: object) -> bytes | None:
    call = Call(tool="t", args={"to": value}, run=RunRef(run_id="r", root="r"))
    return charges([LIMIT], call, "s", None, Groups())[0].key


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


@given(WORDS)
def test_capital_and_full_width_letters_start_no_count_of_their_own(text):
    assert key(text) == key(text.upper()) == key(text.lower()) == key(wide(text))


@given(WORDS, INVISIBLE, st.integers(0, 20))
def test_a_character_that_nobody_sees_starts_no_count_of_its_own(text, unseen, at):
    assert key(text) == key(text[:at] + unseen + text[at:])


@given(WORDS, st.sampled_from([" ", "\n", "\t", "\u00a0", "\u3000"]))
def test_space_around_or_twice_between_starts_no_count_of_its_own(text, space):
    assert key(text) == key(space + text + space) == key(text.replace(" ", f" {space}"))


@given(WORDS)
def test_spellings_count_as_one_inside_lists_and_objects_too(text):
    assert key([text]) == key([wide(text)])
    assert key({"a": text}) == key({"a": text.upper()})
    assert key([text]) != key(text)
