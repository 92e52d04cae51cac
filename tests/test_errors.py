"""Errors: one `except Denied` covers every call that did not run, and none tells too much."""

import pickle
from typing import Any

import pytest

import saferun
from saferun import Decision, Denied, Reason
from saferun.call import Measure
from saferun.errors import ApprovalPending, PolicyError, denial


def decision(error: str = "Denied", effect: str = "deny", **about: Any) -> Decision:
    reason = Reason(
        id="cap",
        effect=effect,
        source="limit",
        message="At most 2.",
        error=error,
        measure=Measure(control="limit", scope="user maria", max="2", used="2", wants="1"),
    )
    return Decision(
        verdict="deny", tool="refund", args={"card": "4111"}, reasons=(reason,), **about
    )


KINDS = [
    *("Denied", "LimitExceeded", "BudgetExceeded", "LoopDetected", "CircuitOpen", "Stopped"),
    *("Deferred", "Rejected", "ApprovalExpired", "GateUnavailable"),
]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_denial_is_a_denied_with_its_decision(name: str) -> None:
    raised = denial(decision(name))
    assert type(raised) is getattr(saferun, name)
    assert isinstance(raised, Denied)
    assert raised.decision.tool == "refund"


@pytest.mark.parametrize("name", KINDS)
def test_what_an_error_prints_is_what_the_model_may_know(name: str) -> None:
    raised = denial(decision(name))
    assert str(raised) == raised.for_model == "refund was not run: At most 2 (rule cap)."
    assert "4111" not in str(raised)


@pytest.mark.parametrize("name", KINDS)
def test_a_denial_survives_pickling(name: str) -> None:
    raised = denial(decision(name))
    again = pickle.loads(pickle.dumps(raised))
    assert (type(again), again.decision) == (type(raised), raised.decision)


@pytest.mark.parametrize("name", KINDS)
def test_when_to_try_again_is_the_decisions_to_say(name: str) -> None:
    assert denial(decision(name)).retry_after is None
    raised = denial(decision(name, retry_after=12.5))
    assert raised.retry_after == 12.5
    assert pickle.loads(pickle.dumps(raised)).retry_after == 12.5


@pytest.mark.parametrize(("seconds", "said"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.1, 2), (90.0, 90)])
def test_a_model_is_told_whole_seconds_after_which_it_does_fit(seconds: float, said: int) -> None:
    told = denial(decision("Deferred", retry_after=seconds)).for_model
    assert told == f"refund was not run: At most 2 (rule cap); try again in {said} s."


def test_how_a_control_stood_is_for_people_and_for_no_model() -> None:
    told = decision("LimitExceeded")
    assert told.for_people == f"{told.for_model} [limit, user maria: 2 of 2, wants 1]"
    for text in (told.for_model, str(denial(told))):
        assert "maria" not in text
        assert "wants" not in text


def test_without_a_control_people_are_told_what_the_model_is() -> None:
    reason = Reason(id="no", effect="deny", source="rule", message="No.")
    told = Decision(verdict="deny", tool="refund", args={}, reasons=(reason,))
    assert told.for_people == told.for_model


def test_a_time_for_people_is_rounded_up_to_the_second_at_which_it_has_come() -> None:
    measure = Measure(control="rate", frees_at=1_763_942_400_000_001)
    assert measure.said() == "rate, free at 2025-11-24 00:00:01Z"


def test_a_reason_that_did_not_decide_names_no_error() -> None:
    assert type(denial(decision("Rejected", effect="allow"))) is Denied


def test_an_unknown_error_name_is_a_plain_denial() -> None:
    assert type(denial(decision("SystemExit"))) is Denied


def test_a_policy_error_says_where(tmp_path) -> None:
    assert str(PolicyError("no such key", "p.yaml", 3, 5)) == "p.yaml:3:5: no such key"
    assert str(PolicyError("no such key", "p.yaml")) == "p.yaml: no such key"
    assert str(PolicyError("no such key")) == "no such key"


def test_a_pending_approval_is_no_denial() -> None:
    assert not isinstance(ApprovalPending("a-1"), Denied)
    assert ApprovalPending("a-1").approval_id == "a-1"


def test_an_allowed_decision_says_so() -> None:
    assert Decision(verdict="allow", tool="refund", args={}).for_model == "refund was allowed."
    shadow = Decision(verdict="deny", tool="refund", args={}, mode="shadow")
    assert shadow.allowed


def test_what_several_rules_say_in_the_same_words_is_said_once() -> None:
    reasons = tuple(
        Reason(id=name, effect="deny", source="rule", message=message)
        for name, message in (("a", "Not now."), ("b", "Never."), ("c", "Not now."))
    )
    decision = Decision(tool="refund", args={}, verdict="deny", reasons=reasons)
    assert decision.for_model == "refund was not run: Not now (rules a, c); Never (rule b)."
