"""A project with a policy and a run in its store, and ways to call the command on it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from saferun import Denied, Gate, guard
from saferun.approval import Question, Vote
from saferun.cli import app

POLICY = """\
version: 1
name: production
default: deny
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 40}
      amount: {type: integer, minimum: 1, maximum: 100000}
      currency: {enum: [USD, EUR, GBP], default: USD}
    rules:
      - id: big-refund
        ask: [finance]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
"""

Call = Callable[..., Result]


class Yes:
    """A channel in which somebody always says yes."""

    name = "desk"

    def unreachable(self) -> str | None:
        return None

    def ask(self, question: Question) -> Vote | None:
        return Vote(approved=True, by="dana", reason="a good customer")


@pytest.fixture
def saferun() -> Call:
    """The command in this process; its result has `exit_code`, `stdout` and `stderr`."""

    def call(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(app, list(args), **options)

    return call


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """The command as a process of its own."""

    def call(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "saferun", *args]
        return subprocess.run(command, capture_output=True, timeout=60, check=False, **options)

    return call


@pytest.fixture
def policy() -> Path:
    path = Path("policies/production.yaml")
    path.parent.mkdir()
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def database() -> Path:
    return Path(".saferun/saferun.db")


def live(run_id: str, *, tool: str = "refund", result: Any = "done", **about: Any) -> None:
    """One run: a model turn, a call that is allowed, one that is denied, one that is approved."""
    gate = Gate(policy="production", approvals=Yes())

    def refund(order_id: str, amount: int, currency: str = "USD") -> Any:
        return result

    safe = guard(refund, gate=gate, name=tool)
    with gate.run(run_id=run_id, **{"agent": "support", "user": "maria", **about}) as run:
        run.model("I will refund it.", model="small", input_tokens=812, cost_usd=0.0041)
        safe("A-17", 4_000)
        with pytest.raises(Denied):
            safe("A-17", 450_000)
        safe("A-17", 25_000)
    gate.close()


@pytest.fixture
def history(policy: Path) -> str:
    """The id of a run that the store holds."""
    live("r-refunds", prompt="Refund the duplicate charge on A-17.")
    return "r-refunds"


