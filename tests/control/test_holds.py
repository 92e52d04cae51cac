"""What a call may cost is held before it runs, and what it did cost takes its place, once."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driving import Agent, told
from guarding import entries
from saferun import BudgetExceeded, Call, Gate, Outcome, guard
from saferun.policy import loads
from saferun.store import Store
from storing import audit

POLICY = """
version: 1
name: money
breaker: off
loops: off
limits:
  - {id: bill, sum: cost_usd, max: 10.00, per: tenant}
tools:
  ask: {effect: read, args: {n: {type: integer}}, cost: {most: 0.50, from: result.usage.cost}}
  try: {effect: write, args: {n: {type: integer}}, cost: 0.50, releasable: true}
  buy:
    effect: write
    args: {n: {type: integer}}
    limits: [{id: bought, sum: args.n, max: 100, per: tenant, window: 1h}]
  back:
    effect: write
    args: {n: {type: integer}}
    releasable: true
    limits: [{id: backed, sum: args.n, max: 100, per: tenant, window: 1h}]
"""

ACME = {"run_id": "r", "tenant": "acme"}


def used(file: Path) -> dict[str, int]:
    """What each limit stands at, in millionths, as the database has it."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT data FROM control").fetchall()
    found: dict[str, int] = {}
    for (data,) in rows:
        for name, state in msgspec.msgpack.decode(data).items():
            amount = state if isinstance(state, int) else sum(each for _, each in state)
            found[name.split()[0]] = found.get(name.split()[0], 0) + amount
    return found


class Till:
    """A gate on a store whose clock stands still until it is moved; keeps what was decided."""

    def __init__(self, file: Path) -> None:
        self.at = 1_767_225_600_000_000
        self.file = file
        self.store = Store(f"sqlite:///{file}", durability="full", clock=lambda: self.at)
        self.gate = Gate(policy=loads(POLICY), store=self.store)
        self.run = self.gate.run(**ACME)

    def check(self, tool: str, n: int = 1, **about: Any) -> Any:
        return self.gate.check(Call(tool=tool, args={"n": n}, run=self.run.ref, **about))

    def settle(self, decision: Any, status: str = "ok", result: Any = None) -> None:
        self.gate.settle(decision, Outcome(status=status, result=result))

    @property
    def used(self) -> dict[str, int]:
        self.store.flush()
        return used(self.file)


@pytest.fixture
def till(file: Path) -> Iterator[Till]:
    made = Till(file)
    yield made
    made.store.close()


def cost(amount: Any) -> dict[str, Any]:
    return {"usage": {"cost": amount}}


def test_the_most_is_held_and_the_true_cost_takes_its_place(till: Till) -> None:
    decision = till.check("ask")
    assert till.used == {"bill": 500_000}
    till.settle(decision, result=cost(0.123456))
    assert till.used == {"bill": 123_456}


@pytest.mark.parametrize("durability", ["process", "full"])
def test_a_kill_in_the_call_leaves_the_hold_charged_in_full_and_the_outcome_unknown(
    durability: str, agent: Callable[..., Agent], file: Path
) -> None:
    first = agent(POLICY, durability=durability)
    for tool in ("ask", "try", "buy", "back"):
        assert first.does("check", tool=tool, args={"n": 30}, within=ACME)["starts"]
    first.kill()
    charged = {"bill": 1_000_000, "bought": 30_000_000, "backed": 30_000_000}
    assert used(file) == charged
    second = agent(POLICY)
    assert second.recovered == 4
    assert used(file) == charged
    report = audit(file)
    assert (report.unknown, report.dangling, report.problem) == (4, 0, None)
    # Nobody gives it back, not even where an error would: nobody knows that there was one.
    for _ in range(2):
        second.does("call", tool="back", args={"n": 35}, within=ACME)
    answer = second.does("check", tool="back", args={"n": 1}, within=ACME)
    assert told(answer) == "deny by limit"
    assert answer["reasons"][0]["used"] == "100"


def test_settling_twice_changes_nothing(till: Till) -> None:
    decision = till.check("ask")
    pending = till.gate._unsettled[decision.seq]
    till.settle(decision, result=cost(0.2))
    till.settle(decision, result=cost(0.1))
    till.settle(decision, status="not_started")
    # Nor does the work itself, if a commit whose answer was lost is tried once more.
    till.gate._unsettled[decision.seq] = pending
    till.settle(decision, status="not_started")
    assert till.used == {"bill": 200_000}
    assert [each["status"] for each in entries(till.gate, "outcome")] == ["ok"]


def test_a_call_that_is_settled_late_credits_the_difference_where_it_was_counted(
    till: Till,
) -> None:
    back = till.check("back", 60)
    assert not till.check("back", 50).starts
    till.at += 50 * 60_000_000
    assert not till.check("back", 50).starts
    till.settle(back, status="error")
    assert till.check("back", 100).starts
    # The window in which the first was counted is over, and that of the second is not.
    till.at += 20 * 60_000_000
    assert not till.check("back", 1).starts


def test_what_is_settled_after_its_window_gives_nothing_back_of_the_next(till: Till) -> None:
    back = till.check("back", 100)
    till.at += 2 * 3600_000_000
    other = till.check("back", 40)
    till.settle(back, status="error")
    assert till.used["backed"] == 40_000_000
    assert not till.check("back", 61).starts
    till.settle(other, status="error")
    assert till.check("back", 100).starts


def test_a_hold_never_expires_into_less_than_all_of_it(till: Till) -> None:
    held = till.check("ask")
    till.at += 365 * 86_400_000_000
    assert till.used == {"bill": 500_000}
    till.settle(held, result=cost(0.4))
    assert till.used == {"bill": 400_000}


def test_a_stream_that_is_cancelled_keeps_its_charge(till: Till) -> None:
    def stream(n: int) -> Iterator[int]:
        yield from range(n)

    for name in ("ask", "try", "back"):
        with till.run if name == "ask" else till.gate.run(tenant="acme"):
            steps = guard(stream, name=name, gate=till.gate)(5)
            assert next(steps) == 0
            steps.close()
    assert till.used == {"bill": 1_000_000, "backed": 5_000_000}
    assert [each["status"] for each in entries(till.gate, "outcome")] == ["cancelled"] * 3


async def test_a_task_that_is_cancelled_in_the_call_keeps_its_charge(till: Till) -> None:
    inside = asyncio.Event()

    async def slow(n: int) -> None:
        inside.set()
        await asyncio.Event().wait()

    async with till.run:
        task = asyncio.create_task(guard(slow, name="ask", gate=till.gate)(n=1))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert till.used == {"bill": 500_000}


def test_what_never_started_gives_everything_back(till: Till) -> None:
    for tool in ("ask", "try", "buy", "back"):
        till.settle(till.check(tool, 100), status="not_started")
    assert till.used == {"bill": 0, "bought": 0, "backed": 0}


def test_an_error_gives_back_only_where_it_means_that_nothing_happened(till: Till) -> None:
    for tool in ("ask", "try", "buy", "back"):
        till.settle(till.check(tool, 100), status="error")
    assert till.used == {"bill": 500_000, "bought": 100_000_000, "backed": 0}


@pytest.mark.parametrize("status", ["timeout", "cancelled", "unknown"])
def test_what_nobody_knows_the_end_of_keeps_its_charge(till: Till, status: str) -> None:
    for tool in ("ask", "try", "buy", "back"):
        till.settle(till.check(tool, 100), status=status)
    assert till.used == {"bill": 1_000_000, "bought": 100_000_000, "backed": 100_000_000}


def test_an_overrun_is_charged_recorded_and_blocks(till: Till) -> None:
    till.settle(till.check("ask"), result=cost(10.75))
    assert till.used == {"bill": 10_750_000}
    (outcome,) = entries(till.gate, "outcome")
    assert (outcome["cost"], outcome["over"]) == (10_750_000, ["bill"])
    with till.gate.run(tenant="acme"), pytest.raises(BudgetExceeded) as raised:
        guard(lambda n: n, name="try", gate=till.gate)(1)
    (reason,) = raised.value.decision.reasons
    assert reason.measure is not None
    assert (reason.measure.used, reason.measure.max) == ("$10.75", "$10.00")
    # Whoever did not spend it goes on.
    with till.gate.run(tenant="other"):
        assert guard(lambda n: n, name="try", gate=till.gate)(1) == 1


NO_PRICES = {
    "negative": cost(-1),
    "absent": {"usage": {}},
    "nothing": cost(None),
    "a text": cost("0.01"),
    "a bool": cost(False),
    "a list": cost([0.01]),
    "beyond all measure": cost(1e300),
    "beyond sixty-two bits": cost(1 << 63),
    "no object": [cost(0.01)],
    "a huge result": {**cost(0.01), "pad": "x" * 20_000_000},
}


@pytest.mark.parametrize("result", NO_PRICES.values(), ids=NO_PRICES)
def test_a_result_that_names_no_price_is_charged_at_the_hold(till: Till, result: Any) -> None:
    till.settle(till.check("ask"), result=result)
    assert till.used == {"bill": 500_000}
    (outcome,) = entries(till.gate, "outcome")
    assert (outcome["cost"], outcome.get("over")) == (500_000, None)


def test_results_that_name_the_highest_prices_at_once_only_fill_the_budget(till: Till) -> None:
    """Twenty times what 62 bits hold: a sum without bounds would fit no database."""
    open_calls = [till.check("ask", n) for n in range(20)]
    assert all(each.starts for each in open_calls)
    for each in open_calls:
        till.settle(each, result=cost((1 << 62) // 1_000_000))
    assert till.used["bill"] >= 1 << 61
    assert not till.check("ask").starts
    assert len(entries(till.gate, "outcome")) == 20
    with till.gate.run(tenant="other"):
        assert guard(lambda n: n, name="try", gate=till.gate)(1) == 1


def test_model_turns_of_the_highest_price_only_fill_the_budget(till: Till) -> None:
    for _ in range(20):
        till.run.model("Hm.", cost_usd=(1 << 62) // 1_000_000)
    till.store.flush()
    assert not till.check("ask").starts
    assert len(entries(till.gate, "model")) == 20
