"""A gate for one test, its clock, and what is said of the calls in a block."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta

import pytest

from saferun import Call, Denied, Rejected, guard
from saferun.errors import PolicyError
from saferun.policy import loads
from saferun.testing import Clock, allowed, approve_all, asked, denied, gate, reject_all

POLICY = loads("""\
version: 1
name: shop
tools:
  refund:
    effect: write
    args: {amount: {type: integer, maximum: 1000}}
    rules:
      - {id: big, ask: [finance], when: args.amount > 500, message: Finance decides.}
      - {id: zero, deny: true, args: {amount: {const: 0}}}
      - {id: late, deny: true, when: now.getHours() >= 20}
""")


def refund(amount: int) -> str:
    return f"refunded {amount}"


def _refund(approvals=None, **options):
    return guard(refund, gate=gate(POLICY, approvals=approvals), **options)


def test_a_call_that_runs_is_allowed() -> None:
    with allowed() as block:
        assert _refund()(5) == "refunded 5"
    assert block.decision.args == {"amount": 5}


def test_a_denial_ends_its_block_and_says_who_spoke() -> None:
    with denied(by="zero") as block:
        _refund()(0)
        pytest.fail("the call was denied")
    assert "rule zero" in block.for_model


def test_a_denial_that_is_returned_counts_as_one_that_is_raised() -> None:
    with denied(by="refund.args"):
        assert "may be at most 1000" in _refund(on_deny="return")(5000)


def test_a_question_that_is_approved_is_asked_and_allowed() -> None:
    with allowed(), asked(by="big"):
        assert _refund(approve_all)(600) == "refunded 600"


def test_a_question_that_is_rejected_is_asked_and_denied() -> None:
    refunding = _refund(reject_all)
    with asked(by="big"):
        refunding(600)
    with denied(by="big"):
        refunding(601)


def test_a_question_that_nobody_hears_is_asked_and_denied() -> None:
    refunding = _refund()
    with asked(by="big"):
        refunding(600)
    with denied():
        refunding(600)


def test_a_decision_of_the_gate_itself_counts() -> None:
    with gate(POLICY) as checkpoint, denied(by="zero"):
        checkpoint.check(Call(tool="refund", args={"amount": 0}))


def test_a_call_that_is_awaited_counts() -> None:
    async def arefund(amount: int) -> str:
        return "refunded"

    async def call() -> None:
        with denied(by="zero"):
            await guard(arefund, name="refund", gate=gate(POLICY))(0)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("block", "amount", "said"),
    [
        (allowed, 0, r"refund was denied \(zero: .*\); it was expected to be allowed"),
        (denied, 5, "refund was allowed; it was expected to be denied"),
        (asked, 5, "refund was allowed; it was expected to be asked about"),
        (asked, 0, "it was expected to be asked about"),
    ],
)
def test_another_fate_is_told_with_its_reasons(block, amount, said) -> None:
    refunding = _refund()
    with pytest.raises(AssertionError, match=said), block():
        refunding(amount)


def test_another_rule_is_told_beside_the_one_that_spoke() -> None:
    refunding = _refund()
    said = r"\(zero: .*\); big was expected to say so"
    with pytest.raises(AssertionError, match=said), denied(by="big"):
        refunding(0)


@pytest.mark.parametrize("block", [allowed, asked, denied])
def test_a_block_without_a_call_fails(block) -> None:
    with pytest.raises(AssertionError, match="no guarded call was made"), block():
        pass


def test_every_call_of_a_block_counts() -> None:
    refunding = _refund(on_deny="return")
    said = "refund was allowed; it was expected to be denied"
    with pytest.raises(AssertionError, match=said), denied():
        [refunding(amount) for amount in (5, 0)]


def test_another_error_is_let_through() -> None:
    with pytest.raises(ZeroDivisionError), denied():
        1 / 0


def test_calls_after_a_block_are_not_its_own() -> None:
    refunding = _refund()
    with allowed() as block:
        refunding(5)
    with pytest.raises(Denied):
        refunding(0)
    assert len(block.decisions) == 1


def test_a_gate_remembers_what_was_asked() -> None:
    with gate(POLICY, approvals=reject_all) as checkpoint:
        with pytest.raises(Rejected):
            guard(refund, gate=checkpoint)(600)
        [question] = checkpoint.questions
        assert (question.tool, question.groups) == ("refund", ("finance",))


def test_a_gate_tells_the_time_of_its_clock() -> None:
    with gate(POLICY) as checkpoint:
        refunding = guard(refund, gate=checkpoint)
        with allowed():
            refunding(5)
        checkpoint.clock.advance(timedelta(hours=9))
        with denied(by="late"):
            refunding(5)


def test_a_clock_stands_still_and_goes_only_on() -> None:
    clock = Clock(datetime(2026, 1, 31, 9))
    assert clock() == clock() == int(clock.now.timestamp() * 1e6)
    clock.advance(1.5)
    assert clock.now == datetime(2026, 1, 31, 9, 0, 1, 500_000, UTC)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_a_gate_removes_its_store_when_it_is_closed() -> None:
    with gate(POLICY) as checkpoint:
        folder = checkpoint.store.path.parent
        guard(refund, gate=checkpoint)(5)
        assert folder.is_dir()
    assert not folder.exists()
    checkpoint.close()


def test_a_gate_that_nobody_holds_removes_its_store() -> None:
    folder = gate(POLICY).store.path.parent
    gc.collect()
    assert not folder.exists()


def test_a_gate_leaves_the_configured_store_and_channel_alone(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SAFERUN_STORE", f"sqlite:///{tmp_path}/own.db")
    monkeypatch.setenv("SAFERUN_APPROVAL", "terminal")
    with gate(POLICY) as checkpoint, asked(by="big"):
        guard(refund, gate=checkpoint)(600)
    assert not (tmp_path / "own.db").exists()


def test_a_gate_finds_policies_as_guard_does() -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        gate("nowhere")


def test_the_configuration_of_a_gate_can_be_given(tmp_path) -> None:
    from saferun import config

    (tmp_path / "saferun.toml").write_text("policies = '.'\n", encoding="utf-8")
    (tmp_path / "open.yaml").write_text("version: 1\ndefault: allow\n", encoding="utf-8")
    with gate("open", settings=config.load(tmp_path)) as checkpoint:
        assert checkpoint.policy is not None
        assert checkpoint.policy.name == "open"
