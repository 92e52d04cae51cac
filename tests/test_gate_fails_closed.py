"""The gate never becomes the incident: what it cannot record does not happen, and says so."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from guarding import OPEN, enforcing, entries, observing, statuses, verdicts
from saferun import Call, Denied, Gate, GateUnavailable, Outcome, guard
from saferun.policy import loads
from saferun.store import Store
from storing import audit

ASKS = """
version: 1
name: asks
tools:
  tool: {effect: read, rules: [{id: always, ask: true, message: It asks.}]}
"""


def sick(gate: Gate) -> None:
    """Let the database refuse every entry, whoever connects to it."""
    _execute(
        gate,
        "CREATE TRIGGER sick BEFORE INSERT ON entry"
        " BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END",
    )


def well(gate: Gate) -> None:
    _execute(gate, "DROP TRIGGER sick")


def _execute(gate: Gate, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(gate.store.path)) as other, other:
        other.execute(statement)


_made: list[Store] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def durable(tmp_path: Path) -> Gate:
    """A gate whose outcomes have a commit of their own, as with `full` durability."""
    store = Store(f"sqlite:///{tmp_path}/own.db", durability="process", outcomes_ride=False)
    _made.append(store)
    return Gate(store=store)


def unopened(tmp_path: Path) -> Gate:
    (tmp_path / "file").write_text("no folder")
    return Gate(store=f"sqlite:///{tmp_path}/file/saferun.db")


def unreadable(tmp_path: Path) -> Gate:
    (tmp_path / "other.db").write_bytes(b"not a database at all" * 100)
    return Gate(store=f"sqlite:///{tmp_path}/other.db")


def unwritten(tmp_path: Path) -> Gate:
    gate = durable(tmp_path)
    sick(gate)
    return gate


def shut(tmp_path: Path) -> Gate:
    gate = durable(tmp_path)
    gate.close()
    return gate


@pytest.mark.parametrize("broken", [unopened, unreadable, unwritten, shut])
@pytest.mark.parametrize("policy", [None, OPEN])
def test_without_a_store_nothing_runs_and_the_denial_says_so(tmp_path, broken, policy):
    gate = Gate(policy=policy and loads(policy), store=broken(tmp_path)._given)
    ran = []
    with pytest.raises(GateUnavailable) as raised:
        guard(lambda: ran.append(1), name="tool", gate=gate)()
    assert ran == []
    assert raised.value.decision.seq is None
    assert raised.value.for_model == (
        "tool was not run: the gate could not record its decision, so nothing is let through "
        "(rule gate)."
    )


@pytest.mark.parametrize("broken", [unopened, unreadable, unwritten, shut])
async def test_without_a_store_no_coroutine_runs(tmp_path, broken):
    ran = []

    async def tool():
        ran.append(1)

    with pytest.raises(GateUnavailable):
        await guard(tool, gate=broken(tmp_path))()
    assert ran == []


def test_the_log_says_what_is_wrong_and_the_model_does_not(tmp_path, caplog):
    with pytest.raises(GateUnavailable) as raised:
        guard(lambda: 1, name="tool", gate=unreadable(tmp_path))()
    assert "other.db" in caplog.text
    assert "other.db" not in str(raised.value)


def test_the_gate_opens_again_with_its_store(tmp_path):
    gate = unwritten(tmp_path)
    safe = guard(lambda: 1, name="tool", gate=gate)
    with pytest.raises(GateUnavailable):
        safe()
    well(gate)
    assert safe() == 1
    assert statuses(gate) == ["ok"]


def test_an_outcome_that_cannot_be_written_latches_the_gate_until_it_can(tmp_path):
    gate = durable(tmp_path)

    def tool(x):
        if x == 1:
            sick(gate)
        return x

    safe = guard(tool, gate=gate)
    assert safe(1) == 1
    for _ in range(3):
        with pytest.raises(GateUnavailable):
            safe(2)
    well(gate)
    assert safe(3) == 3
    assert [(entry["kind"], entry.get("status")) for entry in entries(gate)] == [
        ("ledger", None),
        ("decision", None),
        ("outcome", "ok"),
        ("decision", None),
        ("outcome", "ok"),
    ]
    assert [entry["result"] for entry in entries(gate, "outcome")] == [1, 3]
    assert audit(gate.store.path).problem is None


async def test_an_outcome_of_a_coroutine_latches_the_gate_as_well(tmp_path):
    gate = durable(tmp_path)

    async def tool(x):
        if x == 1:
            sick(gate)
        return x

    safe = guard(tool, gate=gate)
    assert await safe(1) == 1
    with pytest.raises(GateUnavailable):
        await safe(2)
    well(gate)
    assert await safe(3) == 3
    assert [entry["result"] for entry in entries(gate, "outcome")] == [1, 3]


def test_an_exception_of_the_tool_is_not_hidden_by_one_of_the_store(tmp_path):
    gate = durable(tmp_path)
    problem = ValueError("the tool's")

    def tool():
        sick(gate)
        raise problem

    with pytest.raises(ValueError) as raised:
        guard(tool, gate=gate)()
    assert raised.value is problem
    well(gate)
    assert statuses(gate) == ["error"]


def test_a_policy_that_breaks_denies(monkeypatch):
    gate = enforcing()

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(type(gate.policy), "decide", broken)
    with pytest.raises(GateUnavailable):
        guard(lambda: 1, name="tool", gate=gate)()


def test_a_channel_that_cannot_say_whether_it_is_reachable_denies():
    class Broken:
        name = "broken"

        def unreachable(self):
            raise RuntimeError("no")

        def bring(self, request, desk, receipt):
            raise AssertionError

    gate = Gate(policy=loads(ASKS), approvals=Broken())
    with pytest.raises(Denied):
        guard(lambda: 1, name="tool", gate=gate)()


def test_settling_twice_is_settling_once():
    gate = observing()
    decision = gate.check(Call(tool="tool", args={}))
    for status in ("ok", "error"):
        gate.settle(decision, Outcome(status=status))
    asyncio.run(gate.asettle(decision, Outcome(status="error")))
    assert statuses(gate) == ["ok"]


def test_what_was_not_let_start_cannot_be_settled():
    gate = Gate(policy=loads("version: 1\nname: closed\n"))
    decision = gate.check(Call(tool="tool", args={}))
    gate.settle(decision, Outcome(status="ok"))
    assert (verdicts(gate), statuses(gate)) == (["deny"], [])


def test_a_run_records_nothing_and_breaks_nothing_without_a_store(tmp_path):
    with unopened(tmp_path).run(agent="support") as run:
        run.model("hello")
        run.user("hello")


def test_large_arguments_are_kept_beside_the_ledger():
    gate = enforcing()
    assert gate.check(Call(tool="save", args={"text": "x" * 10_000_000})).starts
    gate.store.flush()
    report = audit(gate.store.path)
    assert (report.problem, report.blobs_missing) == (None, 0)


@pytest.mark.parametrize("args", [{"text": "half \ud800"}, {"name \udfff": 1}])
def test_what_is_no_text_is_denied_and_said_to_be_none(args: dict[str, object]) -> None:
    decision = observing().check(Call(tool="tool", args=args))
    assert (decision.verdict, decision.starts) == ("deny", False)
    [reason] = decision.reasons
    assert reason.message == (
        "it holds half of a surrogate pair, which is no text, so it cannot be recorded"
    )
