"""Why policy asks, as whoever answers is told: conditions, and the values that they saw."""

from typing import Any

import pytest

from guarding import entries
from saferun import Gate, config
from saferun.approval import Because, Question
from saferun.call import Call, RunRef
from saferun.desk import Desk
from saferun.policy import loads

POLICY = """
version: 1
name: money
inputs: {region: string}
tools:
  pay:
    effect: write
    args:
      amount: {type: integer}
      to: {type: string}
      card: {type: string}
      note: {type: string}
    redact: [args.card]
    rules:
      - id: big
        ask: [finance]
        edits: [amount]
        args: {amount: {minimum: 100}}
        when: args.to != "home" && region == "eu"
        message: Big payments need finance.
      - id: cards
        ask: [finance]
        edits: [amount]
        when: args.card.startsWith("41") && args.note != ""
      - id: never
        ask: [finance]
        when: args.amount < 0
"""

CARD = "4111222233334444"


class Quiet:
    name = "quiet"

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: object, desk: object, receipt: str | None) -> str:
        return "there"


@pytest.fixture
def gate() -> Gate:
    return Gate(policy=loads(POLICY), approvals=Quiet(), settings=config.load())


def asked(gate: Gate, **args: Any) -> Question:
    about = RunRef(run_id="r", root="r", agent="bot", context={"region": "eu"})
    whole = {"amount": 250, "to": "shop", "card": "none", "note": "", **args}
    decision = gate.check(Call(tool="pay", args=whole, run=about), leaves=True)
    assert decision.approval_id is not None, decision
    found = Desk(gate.store, gate.config).stands(decision.approval_id)
    assert found is not None
    return found.question


def told(question: Question, rule: str) -> list[str]:
    return [each.said() for each in question.because if each.rule == rule]


def test_each_condition_that_matched_is_told_with_what_it_saw(gate: Gate) -> None:
    question = asked(gate)
    assert told(question, "big") == [
        "args.amount >= 100: 250",
        'args.to != "home": shop',
        'region == "eu": eu',
    ]
    assert {each.rule for each in question.because} == {"big"}


def test_what_policy_redacts_is_not_shown_by_its_condition_either(gate: Gate) -> None:
    question = asked(gate, card=CARD, note="thanks")
    assert told(question, "cards") == [
        'args.card.startsWith("41"): not shown',
        'args.note != "": thanks',
    ]
    assert CARD not in str(question)


def test_a_secret_that_a_condition_saw_is_not_shown(gate: Gate) -> None:
    secret = "ghp_" + "a1B2" * 9
    question = asked(gate, card="41", note=secret)
    assert told(question, "cards")[1] == 'args.note != "": not shown'
    assert secret not in str(question)


def test_what_a_condition_saw_is_cut(gate: Gate) -> None:
    [_, note] = [
        each for each in asked(gate, card="41", note="n" * 5_000).because if each.rule == "cards"
    ]
    assert len(note.saw) <= 201


def test_after_an_edit_the_conditions_have_seen_the_call_as_it_is_then(gate: Gate) -> None:
    question = asked(gate)
    desk = Desk(gate.store, gate.config)
    said = {"by": "dana", "channel": "test", "revision": 0}
    answered = desk.edit(question.id, args={"amount": 300}, **said)
    assert "args.amount >= 100: 300" in told(answered.request.question, "big")
    answered = desk.edit(question.id, args={"amount": 5}, **{**said, "revision": 1})
    assert answered.counted
    assert 'args.to != "home": shop' in told(answered.request.question, "big")


def test_the_ledger_has_none_of_it(gate: Gate) -> None:
    asked(gate)
    told = entries(gate)
    assert told
    assert "args.amount >= 100" not in str(told)


def test_one_that_does_not_hold_says_so() -> None:
    said = Because(rule="big", text="args.amount >= 100", saw="5", holds=False).said()
    assert said == "args.amount >= 100: 5, so it does not hold"
