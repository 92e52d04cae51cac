"""What model turns cost counts towards the budgets over all tools, and stops the next call."""

from typing import Any

import pytest

from guarding import enforcing, entries
from saferun import BudgetExceeded, Gate, guard
from saferun.policy import loads
from saferun.store import Store

POLICY = """
version: 1
name: bill
limits:
  - {id: run-cost, sum: cost_usd, max: 1.00, per: run}
  - {id: tenant-cost, sum: cost_usd, max: 3.00, per: tenant, window: 1d}
  - {id: tool-cost, sum: cost_usd, max: 0.50, per: [tenant, tool]}
  - {id: calls, max: 100, per: run}
tools:
  look: {effect: read, args: {}, cost: 0.30}
  free: {effect: read, args: {}}
"""


def tools(gate: Gate) -> tuple[Any, Any]:
    return (
        guard(lambda: "seen", name="look", gate=gate),
        guard(lambda: "free", name="free", gate=gate),
    )


def stopped_by(call: Any) -> dict[str, tuple[str | None, str | None]]:
    """The limits that stop a call, with what they say is used and wanted."""
    with pytest.raises(BudgetExceeded) as raised:
        call()
    measures = {each.id: each.measure for each in raised.value.decision.reasons}
    return {id_: (measure.used, measure.wants) for id_, measure in measures.items() if measure}


def test_turns_and_calls_are_added_up_in_one_budget():
    gate = enforcing(POLICY)
    look, _ = tools(gate)
    with gate.run(agent="a", tenant="acme") as run:
        run.model("Look.", cost_usd=0.40)
        look()
        run.model("Again.", cost_usd=0.05)
        assert stopped_by(look) == {"run-cost": ("$0.75", "$0.30"), "tool-cost": ("$0.30", "$0.30")}


def test_a_turn_beyond_the_budget_is_counted_and_stops_the_next_call():
    gate = enforcing(POLICY)
    look, free = tools(gate)
    with gate.run(agent="a", tenant="acme") as run:
        look()
        run.model("At length.", cost_usd=1.234567)
        # Not even what costs nothing: the money is gone.
        assert stopped_by(free) == {"run-cost": ("$1.534567", "$0.00")}
    with gate.run(agent="a", tenant="acme"):
        assert free() == "free"


def test_turns_of_many_runs_add_up_where_a_budget_says_so():
    gate = enforcing(POLICY)
    _, free = tools(gate)
    for _ in range(3):
        with gate.run(agent="a", tenant="acme") as run:
            run.model("Hello.", cost_usd=0.99)
            free()
            run.model("Bye.", cost_usd=0.01)
    with gate.run(agent="b", tenant="acme"):
        assert stopped_by(free) == {"tenant-cost": ("$3.00", "$0.00")}
    with gate.run(agent="b", tenant="other"):
        assert free() == "free"


def test_turns_of_a_child_count_in_the_run_at_the_top():
    gate = enforcing(POLICY)
    _, free = tools(gate)
    with gate.run(agent="a", tenant="acme"):
        with gate.run(agent="b") as child:
            child.model("Hello.", cost_usd=1)
        assert stopped_by(free) == {"run-cost": ("$1.00", "$0.00")}


def test_turns_that_another_process_recorded_count_here(tmp_path):
    gates = [
        Gate(policy=loads(POLICY), store=Store(f"sqlite:///{tmp_path}/one.db")) for _ in range(2)
    ]
    with gates[0].run(agent="a", tenant="acme", run_id="r-1") as run:
        run.model("Hello.", cost_usd=0.9)
    gates[0].store.flush()
    look, _ = tools(gates[1])
    with gates[1].run(agent="a", tenant="acme", run_id="r-1"):
        assert stopped_by(look) == {"run-cost": ("$0.90", "$0.30")}
    for gate in gates:
        gate.close()


def test_a_limit_that_counts_by_what_the_run_does_not_say_leaves_the_others_to_count():
    gate = enforcing(
        "version: 1\n"
        "limits: [{id: u, sum: cost_usd, max: 9, per: user},"
        " {id: r, sum: cost_usd, max: 1, per: run}]\n"
        "tools: {free: {effect: read, args: {}}}\n"
    )
    _, free = tools(gate)
    with gate.run(agent="a") as run:
        run.model("Hello.", cost_usd=1)
        assert "r" in stopped_by(free)


def test_a_price_from_the_list_charges_the_budget():
    gate = enforcing(POLICY)
    _, free = tools(gate)
    with gate.run(agent="a", tenant="acme") as run:
        run.model("Hello.", model="gpt-4o", input_tokens=300_001, output_tokens=25_000)
        # $2.50 and $10 a million; half a micro-dollar is rounded up.
        assert stopped_by(free) == {"run-cost": ("$1.000003", "$0.00")}


def test_conditions_on_what_the_run_has_cost_still_see_turns():
    gate = enforcing(
        POLICY
        + "  dear: {effect: read, args: {}, rules: [{id: spent, deny: true,"
        + " when: run.cost_usd > 0.5}]}\n"
    )
    dear = guard(lambda: "dear", name="dear", gate=gate, on_deny="return")
    with gate.run(agent="a", tenant="acme") as run:
        run.model("Hello.", cost_usd=0.5)
        assert dear() == "dear"
        run.model("Hello.", model="gpt-4o", input_tokens=1, output_tokens=0)
        assert "rule spent" in dear()
    assert [entry["cost_usd"] for entry in entries(gate, "model")] == [0.5, 0.000003]
