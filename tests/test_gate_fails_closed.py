"""The gate never becomes the incident: what goes wrong inside it is a denial, never a crash."""

import sqlite3
from pathlib import Path

import pytest

from saferun import Call, Gate, GateUnavailable, Outcome, guard
from saferun.ledger import read
from saferun.policy import loads
from saferun.store import Reader, Store
from storing import audit

POLICY = "version: 1\ntools:\n  pay:\n    effect: write\n    args: {amount: {type: integer}}\n"


@pytest.fixture
def store(tmp_path: Path):
    made = Store(f"sqlite:///{tmp_path}/s/s.db", durability="full")
    yield made
    made.close()


def broken(*_: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("policy", [POLICY, None])
def test_where_the_store_cannot_be_opened_no_tool_runs(policy: str | None, tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    file.write_bytes(b"not a database" * 1000)
    gate = Gate(policy=None if policy is None else loads(policy), store=f"sqlite:///{file}")
    ran = []
    with pytest.raises(GateUnavailable) as denied:
        guard(lambda amount: ran.append(amount), name="pay", gate=gate)(1)
    assert ran == []
    assert denied.value.decision.seq is None
    assert "database" not in denied.value.for_model


async def test_the_same_holds_for_asynchronous_tools(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"not a database" * 1000)
    gate = Gate(policy=loads(POLICY), store=f"sqlite:///{tmp_path}/s.db")

    async def pay(amount: int) -> None:
        raise AssertionError("it ran")

    with pytest.raises(GateUnavailable):
        await guard(pay, gate=gate)(1)


def test_a_store_that_fails_before_the_call_denies_it(store: Store, monkeypatch) -> None:
    gate = Gate(policy=loads(POLICY), store=store)
    monkeypatch.setattr(store._writer, "_commit", broken)
    decision = gate.check(Call(tool="pay", args={"amount": 1}))
    assert (decision.verdict, decision.starts, decision.mode) == ("deny", False, "enforce")
    assert decision.reasons[0].error == "GateUnavailable"


def test_a_store_that_fails_mid_call_latches_until_the_outcome_is_written(store: Store) -> None:
    gate = Gate(policy=loads(POLICY), store=store)
    patch = pytest.MonkeyPatch()

    def pay(amount: int) -> str:
        if amount == 1:
            patch.setattr(store._writer, "_commit", broken)
        return f"paid {amount}"

    safe = guard(pay, gate=gate)
    assert safe(1) == "paid 1"
    for _ in range(2):
        with pytest.raises(GateUnavailable):
            safe(2)
    patch.undo()
    assert safe(3) == "paid 3"
    with Reader(store.path) as reader:
        entries = [read(body) for _, body, _ in reader.rows()]
    assert [entry.kind for entry in entries] == [
        "ledger",
        "decision",
        "outcome",
        "decision",
        "outcome",
    ]
    assert entries[2].fields["result"] == "paid 1"
    assert audit(store.path).problem is None


def test_a_policy_that_breaks_denies(store: Store, monkeypatch) -> None:
    gate = Gate(policy=loads(POLICY), store=store)
    monkeypatch.setattr(type(gate.policy), "decide", broken)
    assert gate.check(Call(tool="pay", args={"amount": 1})).starts is False


def test_settling_twice_or_what_never_started_writes_nothing(store: Store) -> None:
    gate = Gate(policy=loads(POLICY), store=store)
    decision = gate.check(Call(tool="pay", args={"amount": 1}))
    denied = gate.check(Call(tool="pay", args={"amount": "1"}))
    for _ in range(2):
        gate.settle(decision, Outcome(status="ok", result=1))
        gate.settle(denied, Outcome(status="ok", result=1))
    with Reader(store.path) as reader:
        kinds = [read(body).kind for _, body, _ in reader.rows()]
    assert kinds.count("outcome") == 1


def test_a_result_that_cannot_be_written_down_is_recorded_by_its_type(store: Store) -> None:
    class Handle:
        pass

    gate = Gate(policy=loads(POLICY), store=store)
    handle = Handle()
    assert guard(lambda amount: handle, name="pay", gate=gate)(1) is handle
    with Reader(store.path) as reader:
        outcome = [read(body) for _, body, _ in reader.rows()][-1]
    assert outcome.fields["status"] == "ok"
    assert outcome.fields["result"]["$type"].endswith("Handle")


def test_a_listener_that_fails_changes_nothing(store: Store) -> None:
    from saferun import gate as gates

    heard = []

    def listen(decision) -> None:
        heard.append(decision.verdict)
        raise RuntimeError("the listener's own trouble")

    gates.on_decision(listen)
    try:
        assert (
            Gate(policy=loads(POLICY), store=store)
            .check(Call(tool="pay", args={"amount": 1}))
            .starts
        )
    finally:
        gates._listeners.remove(listen)
    assert heard == ["allow"]


@pytest.mark.parametrize("call_id", ["", "x" * 300, "a\nb", "\ud800", "a\x00b", "✓"])
def test_a_hostile_call_id_is_a_denial(store: Store, call_id: str) -> None:
    gate = Gate(policy=loads(POLICY), store=store)
    decision = gate.check(Call(tool="pay", args={"amount": 1}, call_id=call_id))
    assert (decision.verdict, decision.starts) == ("deny", False)
    assert "call id" in decision.for_model
    assert decision.seq is not None


def test_huge_arguments_are_kept_beside_the_ledger_and_larger_ones_denied(store: Store) -> None:
    policy = "version: 1\ntools:\n  save:\n    effect: write\n    args: {text: {type: string}}\n"
    gate = Gate(policy=loads(policy), store=store)
    kept = gate.check(Call(tool="save", args={"text": "x" * 10_000_000}))
    assert kept.starts
    refused = gate.check(Call(tool="save", args={"text": "x" * 17_000_000}))
    assert (refused.verdict, refused.starts) == ("deny", False)
    assert "16,777,216 is the most" in refused.for_model
    report = audit(store.path)
    assert (report.problem, report.blobs_missing) == (None, 0)
