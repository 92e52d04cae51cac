"""Errors: one `except Denied` covers every call that did not run, and none tells too much."""

import pickle

import pytest

import saferun
from saferun import Decision, Denied, Reason
from saferun.errors import ApprovalPending, PolicyError, denial


def decision(error: str = "Denied", effect: str = "deny") -> Decision:
    reason = Reason(id="cap", effect=effect, source="limit", message="At most 2.", error=error)
    return Decision(verdict="deny", tool="refund", args={"card": "4111"}, reasons=(reason,))


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
