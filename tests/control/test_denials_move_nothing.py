"""A denial consumes nothing: whatever stops a call, what is kept of every other control stays."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driving import Agent, told

POLICY = """
version: 1
name: layered
loops: {same_result: 3, masked: off, cycle: off, lifetime: off, denials: 50}
breaker: {min_calls: 2, open_for: 10min, retry_min: 100}
limits:
  - {id: of-run, max: 50, per: run}
  - {id: of-agent, sum: cost_usd, max: 5.00, per: agent, window: 1d}
  - {id: of-tenant, max: 4, per: tenant}
  - {id: of-pace, rate: 100/min, per: tenant}
tools:
  pay:
    effect: write
    args: {order: {type: string}, cents: {type: integer}}
    cost: 0.10
    limits:
      - {id: of-order, max: 9, per: args.order}
      - {id: of-cents, sum: args.cents, max: 1000, per: [agent, tool], window: 1h}
      - {id: of-user, max: 6, per: user, window: 1h}
  wait: {effect: read, args: {}, limits: [{id: one-a-day, rate: 1/d, per: all, on_limit: defer}]}
  ask: {effect: read, args: {}, limits: [{id: nobody, max: 1, per: agent, on_limit: ask}]}
  no: {effect: read, args: {}, rules: [{id: never, deny: true}]}
"""

ALL = {"run_id": "r", "agent": "a", "user": "u", "tenant": "t"}


def rows(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that is kept beside the ledger, byte for byte."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        tables = ("control", "switch", "approval", "run", "pin", "blob")
        found = {each: connection.execute(f"SELECT * FROM {each}").fetchall() for each in tables}
        found["open"] = connection.execute("SELECT * FROM head WHERE seq >= 0").fetchall()
    return found


def pay(agent: Agent, order: str, cents: int = 5, what: str = "call", **about: Any) -> Any:
    within = {**ALL, **about.pop("within", {})}
    args = {"order": order, "cents": cents}
    return agent.does(what, tool="pay", args=args, within=within, **about)


def denied(agent: Agent, file: Path, by: str, ask: Callable[[], Any]) -> dict[str, Any]:
    """The answer to a call that is denied, after making sure that nothing has moved."""
    agent.does("flush")
    before = rows(file)
    found: list[dict[str, Any]] = [ask() for _ in range(3)]
    agent.does("flush")
    assert [told(each) for each in found] == [by] * 3
    assert rows(file) == before
    return found[-1]


def test_a_limit_that_only_the_tenant_has_reached_moves_neither_run_nor_agent(
    agent: Callable[..., Agent], file: Path
) -> None:
    one = agent(POLICY)
    for number in range(4):
        pay(one, f"o-{number}", within={"run_id": f"r{number}", "agent": f"a{number}"})
    # A run, an agent, a user and an order that have used nothing of theirs yet, and one that has.
    new = {"run_id": "new", "agent": "new", "user": "new"}
    for within in (new, {"run_id": "r1", "agent": "a1"}):
        pay(one, "new", within={**within, "tenant": "other"})
        run = {**within, "run_id": f"{within['run_id']}-again"}
        first = pay(one, "new", within=run)
        assert [each["id"] for each in first["reasons"]] == ["of-tenant"]
        answer = denied(one, file, "deny by limit", lambda run=run: pay(one, "new", within=run))
        assert [each["id"] for each in answer["reasons"]] == ["of-tenant"]


def test_what_the_tenant_was_denied_can_be_spent_elsewhere_in_full(
    agent: Callable[..., Agent],
) -> None:
    one, two = agent(POLICY), agent(POLICY)
    for number in range(4):
        within = {"user": f"u{number}", "run_id": f"u{number}"}
        assert told(pay(one, f"o-{number}", within=within)) == "allow"
    for number in range(60):
        within = {"user": "hopeful", "run_id": "hopeful"}
        answer = pay((one, two)[number % 2], f"p-{number}", within=within)
        assert told(answer) == "deny by limit"
    # Of six, none is used: those are the user's own.
    for tenant in ("x", "y"):
        within = {"user": "hopeful", "run_id": tenant, "tenant": tenant}
        for number in range(3):
            answer = pay(two, f"q-{tenant}-{number}", within=within)
            assert told(answer) == "allow"
    within = {"user": "hopeful", "run_id": "z", "tenant": "z"}
    answer = pay(one, "last", within=within)
    assert [(each["id"], each["used"]) for each in answer["reasons"]] == [("of-user", "6")]


def test_neither_loop_nor_breaker_nor_switch_nor_policy_moves_anything_by_a_denial(
    agent: Callable[..., Agent], file: Path
) -> None:
    one = agent(POLICY)
    two = agent(POLICY)
    for _ in range(3):
        pay(one, "same", result="paid")
    denied(one, file, "deny by loop", lambda: pay(one, "same"))
    denied(one, file, "deny by rule", lambda: one.does("check", tool="no", args={}, within=ALL))
    denied(one, file, "deny by args", lambda: pay(one, "o", cents="many"))  # type: ignore[arg-type]
    one.does("call", tool="wait", args={}, within={**ALL, "tenant": "w", "run_id": "w"})
    denied(one, file, "defer by limit", lambda: one.does("check", tool="wait", args={}, within=ALL))
    one.does("call", tool="ask", args={}, within={**ALL, "tenant": "w", "run_id": "w"})
    # Nobody is there to be asked.
    denied(one, file, "deny by limit", lambda: one.does("check", tool="ask", args={}, within=ALL))
    broken = {"tenant": "b", "run_id": "b"}
    for number in range(2):
        pay(one, f"broken {number}", within=broken, status="error", error="OSError: gone")
    denied(one, file, "deny by breaker", lambda: pay(two, "broken", within=broken))
    two.does("turn", scope="tenant", value="t", on=True)
    denied(one, file, "deny by stop", lambda: pay(one, "stopped"))


@pytest.mark.parametrize("crowd", [8])
def test_a_crowd_that_meets_in_one_commit_moves_what_the_allowed_count_and_no_more(
    agent: Callable[..., Agent], file: Path, crowd: int
) -> None:
    one, two = agent(POLICY), agent(POLICY)
    given = {"tool": "pay", "args": {"order": "o", "cents": 7}, "within": ALL, "threads": crowd}
    for each in (one, two):
        each.asked("crowd", **given)
    found = [answer for each in (one, two) for answer in each.answered()]
    allowed = [answer for answer in found if answer["starts"]]
    assert len(allowed) == 4
    denied(one, file, "deny by limit", lambda: pay(one, "p"))
    (answer,) = [pay(two, "o", within={"tenant": "u", "run_id": f"u{n}"}) for n in range(1)]
    assert told(answer) == "allow"
    last = pay(two, "o", cents=1000, within={"tenant": "u", "run_id": "last"})
    assert [(each["id"], each["used"]) for each in last["reasons"]] == [("of-cents", "33")]
