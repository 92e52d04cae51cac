"""A store that cannot be written to: nothing is let through, and nothing is forgotten."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driving import Agent, told
from saferun.store import Store
from storing import audit

POLICY = """
version: 1
name: money
loops: off
breaker: off
limits: [{id: bill, sum: cost_usd, max: 1.00, per: tenant}]
tools:
  ask: {effect: read, args: {}, cost: {most: 0.30, from: result.usd}}
  free: {effect: read, args: {}}
"""

WITHIN = {"run_id": "r", "tenant": "acme"}


def ask(one: Agent, what: str = "call", tool: str = "ask", **came_of_it: Any) -> dict[str, Any]:
    found: dict[str, Any] = one.does(what, tool=tool, args={}, within=WITHIN, **came_of_it)
    return found


def charged(file: Path) -> int:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT data FROM control").fetchall()
    return sum(amount for (data,) in rows for amount in msgspec.msgpack.decode(data).values())


def unavailable(answer: dict[str, Any]) -> bool:
    return (told(answer), answer["seq"]) == ("deny by gate", None) and [
        each["error"] for each in answer["reasons"]
    ] == ["GateUnavailable"]


@pytest.mark.parametrize("durability", ["process", "full"])
def test_on_a_full_disk_budgets_fail_closed_and_count_on_afterwards(
    durability: str, agent: Callable[..., Agent], file: Path
) -> None:
    one = agent(POLICY, durability=durability)
    ask(one, result={"usd": 0.25})
    one.does("flush")
    one.does("room", size=512)
    for _ in range(5):
        assert unavailable(ask(one))
        # Whatever stops or lets it through could not be recorded either.
        assert unavailable(ask(one, tool="free"))
    assert charged(file) == 250_000
    one.does("room", size=None)
    told_then = [told(ask(one, result={"usd": 0.25})) for _ in range(4)]
    assert told_then == ["allow", "allow", "deny by limit", "deny by limit"]
    one.does("flush")
    assert charged(file) == 750_000
    assert audit(file).problem is None


@pytest.mark.parametrize("durability", ["process", "full"])
def test_an_outcome_that_could_not_be_written_goes_first_and_settles_its_hold(
    durability: str, agent: Callable[..., Agent], file: Path
) -> None:
    one = agent(POLICY, durability=durability)
    held = ask(one, "check")
    one.does("room", size=512)
    # The caller has its result; the gate lets nobody through until it is on record.
    one.does("settle", seq=held["seq"], result={"usd": 0.05})
    for _ in range(3):
        assert unavailable(ask(one))
    assert charged(file) == 300_000
    one.does("room", size=None)
    assert told(ask(one, "check")) == "allow"
    assert charged(file) == 350_000
    report = audit(file)
    assert (report.problem, report.dangling) == (None, 1)


def test_an_outage_of_one_process_is_none_of_the_others(
    agent: Callable[..., Agent], file: Path
) -> None:
    one, two = agent(POLICY), agent(POLICY)
    one.does("room", size=512)
    assert unavailable(ask(one))
    assert told(ask(two, result={"usd": 0.3})) == "allow"
    two.does("flush")
    one.does("room", size=None)
    assert told(ask(one, result={"usd": 0.3})) == "allow"
    one.does("flush")
    assert charged(file) == 600_000


def test_a_kill_in_an_outage_keeps_what_was_held(agent: Callable[..., Agent], file: Path) -> None:
    one = agent(POLICY)
    held = ask(one, "check")
    one.does("room", size=512)
    one.does("settle", seq=held["seq"], result={"usd": 0.01})
    one.kill()
    assert agent(POLICY).recovered == 1
    assert charged(file) == 300_000
    assert audit(file).unknown == 1


def test_a_stop_switch_still_holds_after_an_outage(agent: Callable[..., Agent]) -> None:
    one, two = agent(POLICY), agent(POLICY)
    one.does("room", size=512)
    assert unavailable(ask(one))
    assert two.does("turn", scope="tenant", value="acme", on=True)
    assert unavailable(ask(one))
    one.does("room", size=None)
    assert told(ask(one)) == "deny by stop"


NOBODY = 65_534

READ_ONLY = f"""
import os, sys, tempfile
import saferun
from saferun.policy import loads
from saferun.store import Store

calls = []
gate = saferun.Gate(policy=loads('''{POLICY}'''), store=f"sqlite:///{{sys.argv[1]}}")
safe = saferun.guard(lambda: calls.append(1), name="free", gate=gate)
# Whatever a call imports is imported now: afterwards, Python itself may be out of reach.
with tempfile.TemporaryDirectory() as other:
    warm = saferun.Gate(store=f"sqlite:///{{other}}/saferun.db")
    with warm.run():
        saferun.guard(lambda: 1, name="free", gate=warm)()
    warm.close()
if os.geteuid() == 0:
    # Files bind everybody but root.
    os.seteuid({NOBODY})
with gate.run(**{WITHIN!r}):
    for line in sys.stdin:
        if line == "reopen\\n" and gate._store is not None:
            gate.store._writer._disconnect()
        try:
            safe()
            print("ran", flush=True)
        except saferun.GateUnavailable:
            print("denied", flush=True)
print(len(calls), flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody can get to: a test's own is closed to all but its user."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def may_write(folder: Path, *, yes: bool) -> None:
    for each in (folder, *folder.rglob("*")):
        if os.geteuid() == 0:
            os.chown(each, NOBODY if yes else 0, -1)
        else:
            each.chmod((0o700 if each.is_dir() else 0o600) if yes else 0o400)


@pytest.mark.parametrize("first", [True, False], ids=["before it is opened", "once it was open"])
def test_a_store_that_may_not_be_written_denies_until_it_may(folder: Path, first: bool) -> None:
    Store(f"sqlite:///{folder}/saferun.db", durability="process").close()
    may_write(folder, yes=not first)
    with subprocess.Popen(
        [sys.executable, "-c", READ_ONLY, str(folder / "saferun.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None

        def calls(what: str) -> list[str]:
            assert agent.stdin is not None
            assert agent.stdout is not None
            found = []
            for _ in range(3):
                print(what, file=agent.stdin, flush=True)
                found.append(agent.stdout.readline().strip())
            return found

        ran = 0
        if not first:
            assert calls("call") == ["ran"] * 3
            may_write(folder, yes=False)
            ran = 3
        # A connection that is open stays so, and is opened anew after any failure.
        assert calls("reopen") == ["denied"] * 3
        may_write(folder, yes=True)
        assert calls("call") == ["ran"] * 3
        agent.stdin.close()
        assert int(agent.stdout.readline()) == ran + 3
    assert audit(folder / "saferun.db").problem is None
