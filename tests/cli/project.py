"""A project with a policy, and a run that its store then holds."""

import json
from typing import Any

import pytest
from typer.testing import Result

from guarding import Yes
from saferun import Denied, Gate, guard

POLICY = """\
version: 1
name: production
default: deny
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 100000}
      amount: {type: integer, minimum: 1, maximum: 100000}
      currency: {enum: [USD, EUR, GBP], default: USD}
    rules:
      - id: big-refund
        ask: [finance]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
"""

PEOPLE = """\
[people.dana]
[groups]
finance = ["dana"]
"""
"""Who answers what that policy asks, for a `saferun.toml` of one's own."""


def live(run_id: str, *, order: str = "A-17", result: Any = "done", **about: Any) -> None:
    """One run: a model turn, a call that is allowed, one that is denied, one that is approved."""
    gate = Gate(policy="production", approvals=Yes("desk"))

    def refund(order_id: str, amount: int, currency: str = "USD") -> Any:
        return result

    safe = guard(refund, gate=gate)
    with gate.run(run_id=run_id, **{"agent": "support", "user": "maria", **about}) as run:
        run.model("I will refund it.", model="small", input_tokens=812, cost_usd=0.0041)
        safe(order, 4_000)
        with pytest.raises(Denied):
            safe(order, 450_000)
        safe(order, 25_000)
    gate.close()


def lines(result: Result) -> list[Any]:
    """The documents of a result, one a line."""
    return [json.loads(line) for line in result.stdout.splitlines()]
