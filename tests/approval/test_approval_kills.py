"""Agents that are killed while people think, and while what they approved is running."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import saferun
from guarding import entries
from saferun import Denied, Gate, config, guard
from saferun.desk import Desk
from saferun.store import Moved, Requests

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {order_id: {type: string}, amount: {type: integer}}
    rules: [{id: big, ask: [finance], edits: [amount]}]
"""

AGENT = """
import os, sys
from pathlib import Path
from saferun import Gate
from saferun.call import Call, Outcome, RunRef

class Silent:
    name = "silent"
    def unreachable(self):
        return None
    def bring(self, request, desk, receipt):
        return receipt or "shown"

gate = Gate(policy="money", approvals=Silent())
run = RunRef(run_id="r-1", root="r-1", agent="support")
call = Call(tool="refund", args={"order_id": "A-17", "amount": 30_000}, call_id="c-1", run=run)
decision = gate.check(call)
if decision.starts:
    with open("effects", "a") as effects:
        effects.write(f"{decision.args['amount']} {decision.idempotency_key}\\n")
    if "hang" in sys.argv:
        print("running", flush=True)
        sys.stdin.read()
    gate.settle(decision, Outcome(status="ok", result="done"))
print(decision.verdict, decision.starts, flush=True)
gate.close()
"""


class World:
    """The store of agents that come and go, and the desk of the people."""

    def __init__(self) -> None:
        Path("policies").mkdir()
        Path("policies/money.yaml").write_text(POLICY, encoding="utf-8")
        Path("agent.py").write_text(AGENT, encoding="utf-8")
        self.gate = Gate(policy="money")
        self.desk = Desk(self.gate.store, config.load())
        self.moves: list[Moved] = []
        self._moved = threading.Condition()
        self._agents: list[subprocess.Popen[str]] = []
        self._end = self.gate.store.feed.follow(self._hear)

    def _hear(self, moves: list[Moved]) -> None:
        with self._moved:
            self.moves += moves
            self._moved.notify_all()

    def agent(self, *how: str) -> "subprocess.Popen[str]":
        agent = subprocess.Popen(
            [sys.executable, "agent.py", *how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._agents.append(agent)
        return agent

    def asked(self, until: Callable[[Moved], bool] = lambda _: True) -> str:
        """Wait until a request has moved like that; its id."""
        with self._moved:
            assert self._moved.wait_for(lambda: any(map(until, self.moves)), 30)
            return next(each.id for each in self.moves if until(each))

    def yes(self, request: str) -> None:
        answered = self.desk.vote(request, by="dana", approved=True, channel="test", revision=0)
        assert answered.counted, answered.why

    def effects(self) -> int:
        file = Path("effects")
        return len(file.read_text().splitlines()) if file.exists() else 0

    def state(self, request: str) -> str:
        with Requests(self.gate.store.path) as requests:
            found = requests.state(request)
        assert found is not None
        return found[0]

    def close(self) -> None:
        self._end()
        for agent in self._agents:
            agent.kill()
            agent.communicate()
        self.gate.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_an_agent_that_is_killed_while_it_waits_goes_on_with_the_same_request(world: World) -> None:
    first = world.agent()
    request = world.asked()
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = world.agent()
    world.yes(request)
    assert second.communicate(timeout=30)[0] == "allow True\n"
    assert [each.id for each in world.moves if each.state == "pending"] == [request]
    assert (world.effects(), world.state(request)) == (1, "succeeded")


def test_a_yes_that_comes_while_no_agent_is_there_is_found_by_the_next(world: World) -> None:
    first = world.agent()
    request = world.asked()
    first.send_signal(signal.SIGKILL)
    first.wait()
    world.yes(request)
    assert world.agent().communicate(timeout=30)[0] == "allow True\n"
    assert world.effects() == 1


def test_an_agent_that_is_killed_at_work_leaves_an_unknown_and_nothing_runs_again(
    world: World,
) -> None:
    first = world.agent("hang")
    request = world.asked()
    world.yes(request)
    assert first.stdout is not None
    assert first.stdout.readline() == "running\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert world.agent().communicate(timeout=30)[0] == "allow False\n"
    assert (world.effects(), world.state(request)) == (1, "unknown")
    tool = guard(lambda order_id, amount: None, name="refund", gate=world.gate)
    with pytest.raises(Denied, match="nobody knows how it ended"):
        saferun.resume(request, tool)


def test_what_people_have_changed_is_what_the_next_agent_makes_of_it(world: World) -> None:
    first = world.agent()
    request = world.asked()
    first.send_signal(signal.SIGKILL)
    first.wait()
    changed = world.desk.edit(
        request, by="dana", args={"amount": 20_000}, channel="test", revision=0
    )
    assert changed.counted, changed.why
    second = world.agent()
    world.desk.vote(request, by="dana", approved=True, channel="test", revision=1)
    assert second.communicate(timeout=30)[0] == "allow True\n"
    assert Path("effects").read_text().startswith("20000 ")
    assert world.agent().communicate(timeout=30)[0] == "allow False\n"
    assert (world.effects(), world.state(request)) == (1, "succeeded")


def test_two_agents_that_wait_for_the_same_call_start_it_once(world: World) -> None:
    agents = [world.agent(), world.agent()]
    world.yes(world.asked())
    told = sorted(agent.communicate(timeout=30)[0] for agent in agents)
    assert told == ["allow False\n", "allow True\n"]
    assert world.effects() == 1


def test_a_no_from_another_process_reaches_who_waits(world: World) -> None:
    agent = world.agent()
    world.desk.vote(world.asked(), by="dana", approved=False, channel="test", revision=0)
    assert agent.communicate(timeout=30)[0] == "deny False\n"
    assert world.effects() == 0
    assert [each["event"] for each in entries(world.gate, "approval")] == ["requested", "rejected"]
