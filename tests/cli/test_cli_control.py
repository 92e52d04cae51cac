"""`saferun control status`, `stop` and `resume`, and what other commands say of the controls."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cli.project import lines
from cli.test_cli_run import HOSTILE, harmless
from saferun import Denied, Gate, guard
from saferun.ledger import ControlEntry, DecisionEntry, parse
from saferun.store import Reader
from storing import as_of

POLICY = """\
version: 1
name: shop
limits:
  - {id: run-cost, sum: cost_usd, max: 2.00, per: run}
tools:
  refund:
    effect: write
    args: {order: {type: string, maxLength: 400}, amount: {type: integer, minimum: 1}}
    limits:
      - {id: refunds-per-user, max: 5, per: user, window: 1h}
      - {id: refunded, sum: args.amount, max: 2000, per: user, window: 1d}
      - {id: per-order, max: 3, per: args.order}
  mail:
    effect: write
    args: {to: {type: string}}
    cost: 0.05
    loops: off
    limits: [{id: pace, rate: 10/min, burst: 3, per: tenant}]
  charge:
    effect: write
    args: {n: {type: integer}}
    loops: off
    breaker: {min_calls: 5}
  look:
    effect: read
    args: {q: {type: string}}
    loops: {same_result: 2, denials: 1, asks: 1}
"""

Run = Callable[..., Result]


@pytest.fixture
def shop() -> Path:
    path = Path("policies/shop.yaml")
    path.parent.mkdir()
    path.write_text(POLICY, encoding="utf-8")
    Path("saferun.toml").write_text('durability = "process"\npolicy = "shop"\n', encoding="utf-8")
    return path


@pytest.fixture
def alice(saferun: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, as somebody who is logged in."""
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    assert saferun("login", "alice", "--new").exit_code == 0
    return saferun


class Agent:
    """An agent with tools behind one gate."""

    def __init__(self) -> None:
        self.gate = Gate(policy="shop")
        self.refund = guard(self._refund, name="refund", gate=self.gate)
        self.mail = guard(self._mail, name="mail", gate=self.gate)
        self.charge = guard(self._charge, name="charge", gate=self.gate)
        self.look = guard(self._look, name="look", gate=self.gate)
        self.during: Callable[[], object] = lambda: None

    def _refund(self, order: str, amount: int) -> str:
        return "done"

    def _mail(self, to: str) -> str:
        self.during()
        return "sent"

    def _charge(self, n: int) -> str:
        raise RuntimeError("down")

    def _look(self, q: str) -> str:
        return "nothing new"

    def run(self, run_id: str, **about: Any) -> Any:
        known = {"agent": "support", "user": "maria", "tenant": "acme"}
        return self.gate.run(run_id=run_id, **{**known, **about})


@pytest.fixture
def agent(shop: Path) -> Agent:
    return Agent()


def fails(call: Callable[..., object], *args: Any) -> str:
    """The class of what a call raises, and `ran` where it ran."""
    try:
        call(*args)
    except Denied as denied:
        return type(denied).__name__
    except RuntimeError:
        return "ran"
    return "ran"


def entries(kind: type) -> list[Any]:
    with Reader(Path(".saferun/saferun.db")) as reader:
        found = [parse(body) for _, body, _ in reader.rows()]
    return [each for each in found if isinstance(each.entry, kind)]


def told(result: Result) -> dict[str, Any]:
    [document] = lines(result)
    return document


# Stop and resume.

EACH = [
    ("--agent", "support"),
    ("--tool", "refund"),
    ("--tenant", "acme"),
    ("--user", "maria"),
    ("--run", "r-1"),
    ("--all",),
]


@pytest.mark.parametrize("what", EACH)
def test_what_is_stopped_is_refused_until_it_is_resumed(
    alice: Run, agent: Agent, what: tuple[str, ...]
) -> None:
    with agent.run("r-1"):
        assert fails(agent.refund, "A", 1) == "ran"
        assert alice("control", "stop", *what, "--reason", "too many").exit_code == 0
        assert fails(agent.refund, "B", 1) == "Stopped"
        assert alice("control", "resume", *what).exit_code == 0
        assert fails(agent.refund, "B", 1) == "ran"


@pytest.mark.parametrize("what", [each for each in EACH if each != ("--all",)])
def test_what_is_not_meant_goes_on(alice: Run, agent: Agent, what: tuple[str, ...]) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    with agent.run("r-2", agent="billing", user="omar", tenant="other"):
        stopped = alice("control", "stop", what[0], what[1], "--reason", "too many")
        assert stopped.exit_code == 0
        assert fails(agent.mail, "x@x.test") == "ran"


def test_a_stop_and_a_resume_stand_in_the_ledger(alice: Run, agent: Agent) -> None:
    stopped = told(alice("control", "stop", "--agent", "support", "--reason", "too many", "--json"))
    resumed = told(alice("control", "resume", "--agent", "support", "--reason", "fixed", "--json"))
    first, second = entries(ControlEntry)
    assert (first.seq, second.seq) == (stopped["seq"], resumed["seq"])
    assert (first.entry.event, first.entry.scope, first.entry.value) == (
        "stopped",
        "agent",
        "support",
    )
    assert (first.entry.by, first.entry.reason) == ("alice", "too many")
    assert (second.entry.event, second.entry.by, second.entry.reason) == (
        "resumed",
        "alice",
        "fixed",
    )
    assert stopped == {
        "changed": True,
        "stopped": True,
        "scope": "agent",
        "value": "support",
        "by": "alice",
        "reason": "too many",
        "seq": first.seq,
        "refused": None,
        "also_stopped": [],
    }


def test_what_changes_nothing_exits_1_and_writes_nothing(alice: Run, agent: Agent) -> None:
    assert alice("control", "resume", "--all").exit_code == 1
    assert alice("control", "stop", "--all", "--reason", "a").exit_code == 0
    again = alice("control", "stop", "--all", "--reason", "b")
    assert again.exit_code == 1
    assert "is stopped already; it was stopped by alice" in again.stdout.replace("\n", " ")
    assert len(entries(ControlEntry)) == 1


def test_whoever_is_not_logged_in_stops_nothing(
    saferun: Run, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "empty"))
    with agent.run("r-1"):
        agent.refund("A", 1)
    refused = saferun("control", "stop", "--all", "--reason", "a")
    assert refused.exit_code == 64
    assert "nobody is logged in here; run saferun login NAME --new" in refused.stderr
    assert entries(ControlEntry) == []


@pytest.mark.parametrize("act", [("stop", "--reason", "a"), ("resume",)])
def test_somebody_elses_secret_turns_nothing(
    alice: Run, agent: Agent, tmp_path: Path, act: tuple[str, ...]
) -> None:
    alice("login", "bob", "--new")
    assert alice("control", "stop", "--tool", "mail", "--reason", "a", "--as", "bob").exit_code == 0
    folder = tmp_path / "login"
    (folder / "bob.secret").write_bytes((folder / "alice.secret").read_bytes())
    what = "refund" if act[0] == "stop" else "mail"
    refused = alice("control", *act, "--tool", what, "--as", "bob", "--json")
    assert refused.exit_code == 1
    assert "not bob's" in refused.stderr
    assert "not bob's" in told(refused)["refused"]
    assert told(refused)["changed"] is False
    assert len(entries(ControlEntry)) == 1


def test_the_secret_is_asked_for_where_several_are_logged_in(alice: Run, agent: Agent) -> None:
    alice("login", "bob", "--new")
    refused = alice("control", "stop", "--all", "--reason", "a")
    assert refused.exit_code == 64
    assert "--as PERSON" in refused.stderr
    assert alice("control", "stop", "--all", "--reason", "a", "--as", "bob").exit_code == 0
    assert entries(ControlEntry)[0].entry.by == "bob"


@pytest.mark.parametrize(
    "what",
    [
        (),
        ("--agent", "a", "--tool", "b"),
        ("--all", "--run", "r-1"),
        ("--agent", ""),
        ("--user", "x" * 1_001),
        ("--user", "\udcff"),
        ("--tool", "a\0b"),
    ],
)
def test_one_thing_is_stopped_at_a_time_and_it_has_a_name(
    alice: Run, agent: Agent, what: tuple[str, ...]
) -> None:
    assert alice("control", "stop", *what, "--reason", "a").exit_code == 64
    assert alice("control", "resume", *what).exit_code == 64
    assert entries(ControlEntry) == []


@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", "x" * 2_001)])
def test_a_stop_says_why(alice: Run, agent: Agent, reason: tuple[str, ...]) -> None:
    assert alice("control", "stop", "--all", *reason).exit_code == 64


def test_a_secret_in_a_reason_is_not_kept(alice: Run, agent: Agent) -> None:
    key = "sk-ant-api03-" + "A1b2C3d4" * 8
    alice("control", "stop", "--all", "--reason", f"it leaked {key}")
    assert "it leaked " in entries(ControlEntry)[0].entry.reason
    assert key not in entries(ControlEntry)[0].entry.reason


def test_there_has_to_be_a_store_and_none_is_made(
    saferun: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (("status",), ("stop", "--all", "--reason", "a"), ("resume", "--all")):
        refused = saferun("control", *command)
        assert refused.exit_code == 64
        assert "There is no store" in refused.stderr
        first = "run saferun init, and then saferun login NAME --new"
        assert (first in refused.stderr) == (command[0] != "status")
    assert not Path(".saferun").exists()


def test_a_run_is_named_by_a_beginning_that_no_other_has(alice: Run, agent: Agent) -> None:
    for run_id in ("ticket-31", "ticket-32"):
        with agent.run(run_id):
            agent.refund(run_id, 1)
    refused = alice("control", "stop", "--run", "ticket-3", "--reason", "a")
    assert refused.exit_code == 64
    assert "2 runs begin with 'ticket-3'" in refused.stderr
    with agent.run("other"):
        agent.refund("C", 1)
    stopped = told(alice("control", "stop", "--run", "oth", "--reason", "a", "--json"))
    assert stopped["value"] == "other"
    assert told(alice("control", "resume", "--run", "o", "--json"))["changed"]


def test_a_run_stops_with_its_children(alice: Run, agent: Agent) -> None:
    with agent.run("parent"):
        agent.refund("A", 1)
        alice("control", "stop", "--run", "parent", "--reason", "a")
        with agent.run("child"):
            assert fails(agent.refund, "B", 1) == "Stopped"


@pytest.mark.parametrize("what", [("--agent", "nobody"), ("--user", "u"), ("--tenant", "t")])
def test_an_unknown_name_is_stopped_all_the_same_and_told(
    alice: Run, agent: Agent, what: tuple[str, str]
) -> None:
    result = alice("control", "stop", *what, "--reason", "a")
    assert result.exit_code == 0
    assert f"nothing here has heard of {what[0][2:]} {what[1]} so far" in result.stderr
    with agent.run(**{"run_id": "r-9", what[0][2:]: what[1]}):
        assert fails(agent.refund, "A", 1) == "Stopped"


@pytest.mark.parametrize("act", [("stop", "--reason", "a"), ("resume",)])
def test_a_run_that_nobody_has_heard_of_is_an_error_that_names_the_nearest(
    alice: Run, agent: Agent, act: tuple[str, ...]
) -> None:
    for run_id in ("ticket-31", "ticket-32", "other"):
        with agent.run(run_id):
            agent.refund(run_id, 1)
    refused = alice("control", *act, "--run", "tikcet-3", "--json")
    assert refused.exit_code == 64
    assert refused.stdout == ""
    assert "There is no run 'tikcet-3'" in refused.stderr
    assert re.search(r"did you mean 'ticket-3\d' or 'ticket-3\d'\?", refused.stderr)
    assert entries(ControlEntry) == []


def test_a_run_of_which_only_a_child_was_heard_can_be_stopped(alice: Run, agent: Agent) -> None:
    with agent.run("parent"), agent.run("child"):
        agent.refund("A", 1)
        assert alice("control", "stop", "--run", "parent", "--reason", "a").exit_code == 0
        assert fails(agent.refund, "B", 1) == "Stopped"


@pytest.mark.parametrize("scope", ["agent", "tenant", "user"])
def test_a_name_in_other_case_is_told(alice: Run, agent: Agent, scope: str) -> None:
    with agent.run("r-1", **{scope: "Zoe"}):
        agent.refund("A", 1)
    stopped = alice("control", "stop", f"--{scope}", "ZOE", "--reason", "a")
    assert stopped.exit_code == 0
    assert "did you mean 'Zoe'?" in stopped.stderr


def test_a_known_name_is_stopped_without_a_word_on_it(alice: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    for what in EACH:
        assert alice("control", "stop", *what, "--reason", "a").stderr == ""


def test_a_typo_in_the_name_of_a_tool_is_told(alice: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    assert (
        "did you mean 'refund'?"
        in alice("control", "stop", "--tool", "refnd", "--reason", "a").stderr
    )


def test_resuming_one_thing_says_what_is_still_stopped(alice: Run, agent: Agent) -> None:
    alice("control", "stop", "--agent", "support", "--reason", "a")
    alice("control", "stop", "--all", "--reason", "b")
    resumed = alice("control", "resume", "--agent", "support")
    assert resumed.exit_code == 0
    assert "1 other thing is still stopped" in resumed.stdout
    again = told(alice("control", "stop", "--agent", "support", "--reason", "a", "--json"))
    assert [each["scope"] for each in again["also_stopped"]] == ["all"]


# Everywhere, from the very next call on.

WORKER = """
import sys
from saferun import Denied, Gate, guard
gate = Gate(policy="shop")
refund = guard(lambda order, amount: "done", name="refund", gate=gate)
look = guard(lambda q: "nothing new", name="look", gate=gate)
with gate.run(run_id=sys.argv[1], agent="support", user=sys.argv[1], tenant="acme"):
    for number, line in enumerate(sys.stdin):
        try:
            look("again") if line.strip() == "look" else refund(f"{sys.argv[1]}-{number}", 1)
            print("ran", flush=True)
        except Denied as denied:
            print(type(denied).__name__, flush=True)
"""


class Worker:
    """An agent in a process of its own, which makes a call when it is told to."""

    def __init__(self, run_id: str) -> None:
        command = [sys.executable, "-c", WORKER, run_id]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def call(self, tool: str = "refund") -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{tool}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate(timeout=60)


@pytest.mark.parametrize("what", [("--agent", "support"), ("--tool", "refund"), ("--all",)])
def test_the_very_next_call_of_a_process_that_runs_already_is_refused(
    alice: Run, what: tuple[str, ...]
) -> None:
    workers = [Worker("w-1"), Worker("w-2")]
    assert [worker.call() for worker in workers] == ["ran", "ran"]
    alice("control", "stop", *what, "--reason", "a")
    assert [worker.call() for worker in workers] == ["Stopped", "Stopped"]
    alice("control", "resume", *what)
    assert [worker.call() for worker in workers] == ["ran", "ran"]
    for worker in workers:
        worker.end()


CROWD = """
import sys, threading
from saferun import Gate, Stopped, guard
gate = Gate(policy="open")
work = guard(lambda n: "done", name="work", gate=gate)
ready = threading.Barrier(17)

def go(number):
    with gate.run(run_id=f"{sys.argv[1]}-{number}", agent="crowd"):
        work(0)
        ready.wait()
        try:
            for n in range(100_000):
                work(n)
        except Stopped:
            # Nor is any later one let through.
            for n in range(3):
                try:
                    work(n)
                    print("ran after it was stopped")
                except Stopped:
                    pass

threads = [threading.Thread(target=go, args=(number,)) for number in range(16)]
[thread.start() for thread in threads]
ready.wait()
print("going", flush=True)
[thread.join() for thread in threads]
gate.close()
"""


def test_with_64_calls_in_flight_none_is_let_through_after_the_stop(
    alice: Run, tmp_path: Path
) -> None:
    Path("policies/open.yaml").write_text(
        "version: 1\nname: open\ntools: {work: {effect: read, args: {n: {type: integer}}, "
        "loops: off, breaker: off}}\n"
    )
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, f"p{number}"], stdout=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    for process in crowd:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
    stopped = told(alice("control", "stop", "--agent", "crowd", "--reason", "a", "--json"))
    assert [process.communicate(timeout=120)[0] for process in crowd] == [""] * 4
    decisions = entries(DecisionEntry)
    started = [each.seq for each in decisions if each.entry.verdict == "allow"]
    assert len(started) >= 64
    assert max(started) < stopped["seq"]
    # Each of the 64 was refused at its next call, by an entry of its own.
    refused = {each.entry.run for each in decisions if each.entry.verdict == "deny"}
    assert len(refused) == 64
    assert all(each.seq > stopped["seq"] for each in decisions if each.entry.verdict == "deny")


def until_stopped(call: Callable[[], str]) -> list[str]:
    seen: list[str] = []
    while "Stopped" not in seen:
        assert len(seen) < 20
        seen.append(call())
    return seen


def test_a_run_that_went_in_circles_goes_on_once_it_is_resumed(alice: Run) -> None:
    here, there = Worker("w-1"), Worker("w-1")
    seen = until_stopped(lambda: here.call("look"))
    assert "LoopDetected" in seen
    [stopped] = entries(ControlEntry)
    assert (stopped.entry.by, stopped.entry.run) == ("saferun", "w-1")
    # Its counts begin anew with each resumption, in every process that goes on with it.
    for worker, other in ((there, here), (here, there)):
        assert other.call("look") == worker.call() == "Stopped"
        assert alice("control", "resume", "--run", "w-1", "--reason", "it may").exit_code == 0
        assert until_stopped(lambda worker=worker: worker.call("look")) == seen
    here.end()
    there.end()


# What is used, and what is open.


def status(saferun: Run, *options: str) -> dict[str, Any]:
    result = saferun("control", "status", *options, "--json")
    assert result.exit_code == 0
    return told(result)


def use(found: dict[str, Any], limit: str) -> dict[str, Any]:
    [one] = [each for each in (*found["limits"], *found["budgets"]) if each["limit"] == limit]
    return one


def test_nothing_is_said_in_one_line(alice: Run) -> None:
    result = alice("control", "status")
    assert result.exit_code == 0
    assert "Nothing is stopped or failing" in result.stdout
    assert status(alice)["limits"] == []


def test_limits_tell_what_is_used_by_whom_and_when_it_frees(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        for number in range(6):
            fails(agent.refund, f"o-{number}", 100)
    found = status(saferun)
    users = use(found, "refunds-per-user")
    assert (users["policy"], users["mode"], users["max"], users["window"]) == (
        "shop",
        "enforce",
        5,
        3_600_000_000,
    )
    assert (users["all"], users["full"]) == (1, 1)
    [group] = users["groups"]
    assert (group["counts_for"], group["used"], group["full"]) == ({"user": "maria"}, 5, True)
    assert 3_600_000_000 <= group["frees_at"] - found["at"] + 60_000_000 <= 3_720_000_000
    [spent] = use(found, "refunded")["groups"]
    assert (spent["used"], use(found, "refunded")["max"]) == (500, 2_000)
    orders = use(found, "per-order")
    assert (orders["all"], len(orders["groups"]), orders["window"]) == (5, 5, None)
    page = saferun("control", "status").stdout
    assert re.search(
        r"✕  refunds-per-user  user maria +5 of 5  1 h +(1 h 0[01] m|59 m \d\d s)", page
    )
    assert re.search(r"\n   refunded +user maria +500 of 2,000  1 d", page)


def test_a_rate_tells_how_many_of_its_burst_are_taken(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        assert [fails(agent.mail, "x@x.test") for _ in range(4)][:3] == ["ran"] * 3
    found = status(saferun)
    pace = use(found, "pace")
    assert (pace["max"], pace["burst"], pace["window"]) == (10, 3, 60_000_000)
    assert 1 <= pace["groups"][0]["used"] <= 3
    assert "10/min" in saferun("control", "status").stdout


def test_a_budget_tells_what_calls_under_way_may_come_to(saferun: Run, agent: Agent) -> None:
    seen: list[dict[str, Any]] = []
    pages: list[str] = []

    def look() -> None:
        seen.append(status(saferun))
        pages.append(saferun("control", "status").stdout)

    agent.during = look
    with agent.run("r-1") as run:
        run.model("x", cost_usd=1.25)
        agent.mail("x@x.test")
    [group] = use(seen[0], "run-cost")["groups"]
    assert (group["used"], group["held"], use(seen[0], "run-cost")["max"]) == (1.3, 0.05, 2)
    assert re.search(r"run-cost  run r-1 +\$1\.30 of \$2\.00  run +\$0\.05\n", pages[0])
    agent.gate.store.flush()
    [after] = use(status(saferun), "run-cost")["groups"]
    assert (after["used"], after["held"]) == (1.3, 0)


def test_a_tool_that_fails_is_shown_until_its_breaker_closes(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        for number in range(4):
            fails(agent.charge, number)
        agent.gate.store.flush()
        [tool] = status(saferun)["breakers"]
        assert (tool["tool"], tool["tenant"], tool["state"]) == ("charge", "acme", "closed")
        assert (tool["failed"], tool["calls"], tool["until"]) == (4, 4, None)
        fails(agent.charge, 5)
        assert fails(agent.charge, 6) == "CircuitOpen"
    found = status(saferun)
    [tool] = found["breakers"]
    assert (tool["state"], tool["opened"], tool["failed"]) == ("open", 1, 5)
    assert tool["since"] <= found["at"] < tool["until"]
    page = saferun("control", "status").stdout
    assert re.search(r"✕  charge +acme +open, tried again in \d+ s +5 of 5", page)


def test_what_is_stopped_is_shown_with_who_and_why(alice: Run, agent: Agent) -> None:
    alice("control", "stop", "--user", "maria", "--reason", "a complaint")
    [switch] = status(alice)["stopped"]
    assert (switch["scope"], switch["value"], switch["by"], switch["reason"]) == (
        "user",
        "maria",
        "alice",
        "a complaint",
    )
    assert re.search(
        r"✕  user maria  alice since \d{4}-\d\d-\d\d \d\d:\d\d: a complaint",
        alice("control", "status").stdout,
    )


def circled(run_id: str, since: int) -> None:
    """Have SafeRun stop a run, as it does one that goes in circles."""
    with sqlite3.connect(".saferun/saferun.db") as connection:
        connection.execute(
            "INSERT INTO switch VALUES ('run', ?, 'saferun', 'loops', ?)", (run_id, since)
        )
    connection.close()


def test_what_people_stopped_is_listed_before_the_newest_runs_that_went_in_circles(
    alice: Run, agent: Agent
) -> None:
    for number in range(9):
        with agent.run(f"r-{number}", agent=f"a-{number}", user=f"u-{number}"):
            agent.refund(f"o-{number}", 1)
        circled(f"r-{number}", 4_000_000_000_000_000 + number)
    alice("control", "stop", "--user", "omar", "--reason", "a complaint")
    assert [each["value"] for each in status(alice)["stopped"]][:3] == ["omar", "r-8", "r-7"]
    page = alice("control", "status", "-n", "2").stdout
    listed = page.split("\n\n")[0]
    assert re.findall(r"✕  (.+?)  ", listed) == ["user omar", "run r-8 of a-8", "run r-7 of a-7"]
    assert re.search(r"… 7 more +runs stopped for going in circles", listed)
    found = told(alice("doctor", "--json"))["checks"]
    said = [each["found"] for each in found if each["name"] == "stopped"]
    assert len(said) == 2
    assert said[0].startswith("user omar is stopped, by alice since")
    assert said[1] == "9 runs are stopped for going in circles"


def test_what_a_run_used_up_does_not_crowd_out_the_runs_that_go_on(
    saferun: Run, agent: Agent
) -> None:
    for number in range(3):
        with agent.run(f"old-{number}") as run:
            run.model("x", cost_usd=2 + number)
    agent.gate.store.flush()
    with sqlite3.connect(".saferun/saferun.db") as connection:
        connection.execute("UPDATE head SET time = time - 7200000000 WHERE seq < -1")
    connection.close()
    for run_id, cost in (("beyond", 3.0), ("full", 2.0), ("going", 0.5)):
        with agent.run(run_id) as run:
            run.model("x", cost_usd=cost)
        agent.gate.store.flush()
    costs = use(status(saferun, "--limit", "4"), "run-cost")
    assert [each["counts_for"]["run"] for each in costs["groups"]][:3] == [
        "full",
        "beyond",
        "going",
    ]
    assert costs["groups"][3]["counts_for"]["run"].startswith("old-")
    assert (costs["all"], costs["full"]) == (6, 5)


def test_a_new_version_shows_the_count_of_the_old_one_under_its_own_bound(
    saferun: Run, agent: Agent, shop: Path
) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    shop.write_text(POLICY.replace("max: 5, per: user", "max: 50, per: user"))
    assert use(status(saferun), "refunds-per-user")["max"] == 50
    # One that no version in force has is told by the last that had it.
    shop.write_text(POLICY.replace("id: refunds-per-user", "id: another"))
    assert use(status(saferun), "refunds-per-user")["max"] == 5
    # Without the file, the store's own versions do.
    shop.unlink()
    Path("saferun.toml").write_text('durability = "process"\n')
    assert use(status(saferun), "refunds-per-user")["max"] == 5


def test_a_version_that_was_changed_in_the_store_explains_nothing(
    saferun: Run, agent: Agent, shop: Path
) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    shop.unlink()
    Path("saferun.toml").write_text('durability = "process"\n')
    with sqlite3.connect(".saferun/saferun.db") as connection:
        connection.execute("UPDATE version SET data = X'00'")
    connection.close()
    assert use(status(saferun), "per-order")["max"] is None
    assert "1 of ?" in saferun("control", "status").stdout


def test_what_a_policy_in_shadow_counts_is_told_apart(
    saferun: Run, agent: Agent, shop: Path
) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    shop.write_text(f"mode: shadow\n{POLICY}")
    later = Agent()
    with later.run("r-2"):
        later.refund("A", 1)
    modes = {each["mode"] for each in status(saferun)["limits"]}
    assert modes == {"enforce", "shadow"}
    assert "(in shadow)" in saferun("control", "status").stdout


def test_the_table_is_as_long_as_asked_for_and_says_what_it_leaves_out(
    saferun: Run, agent: Agent
) -> None:
    for number in range(8):
        with agent.run(f"r-{number}", user=f"u-{number}"):
            for _ in range(3 if number < 2 else 1):
                agent.refund(f"o-{number}", 1)
    orders = use(status(saferun, "--limit", "1"), "per-order")
    assert (orders["all"], orders["full"], len(orders["groups"])) == (8, 2, 1)
    page = saferun("control", "status", "-n", "1").stdout
    assert "… 7 more, 1 of them full" in page


def test_what_is_over_is_not_shown_though_its_row_is_still_there(
    saferun: Run, agent: Agent, shop: Path
) -> None:
    shop.write_text(POLICY.replace("window: 1h", "window: 1ms"))
    later = Agent()
    with later.run("r-1"):
        later.refund("A", 1)
    # Reading takes longer than the window lasts, by the clock of the host.
    assert all(each["limit"] != "refunds-per-user" for each in status(saferun)["limits"])


def test_hostile_values_stand_there_as_what_they_are(alice: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund(HOSTILE, 1)
    alice("control", "stop", "--agent", HOSTILE.replace("\0", ""), "--reason", HOSTILE)
    page = alice("control", "status").stdout
    assert page.count("[red]owned[/red]") >= 2
    assert harmless(page)
    doctor = alice("doctor").stdout
    assert "[red]owned[/red]" in doctor
    assert harmless(doctor)
    assert alice("control", "status", "--json").stdout.isascii()


def test_what_was_changed_in_the_store_is_told(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    for value in ("X'C1'", "'text'", "X'93010203'"):
        with sqlite3.connect(".saferun/saferun.db") as connection:
            connection.execute(f"UPDATE head SET data = {value} WHERE seq < -1")
        connection.close()
        result = saferun("control", "status")
        assert result.exit_code == 64
        assert "was changed" in result.stderr


def test_looking_changes_nothing(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    agent.gate.close()

    def content() -> str:
        connection = sqlite3.connect(".saferun/saferun.db")
        found = "\n".join(connection.iterdump())
        connection.close()
        return found

    before = content()
    status(saferun)
    saferun("control", "status")
    assert content() == before


def test_a_store_from_before_there_were_controls_has_nothing_to_tell(
    saferun: Run, agent: Agent
) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    agent.gate.close()
    as_of(Path(".saferun/saferun.db"), 2)
    assert status(saferun)["limits"] == []
    [check] = [
        each for each in told(saferun("doctor", "--json"))["checks"] if each["name"] == "controls"
    ]
    assert check["state"] == "ok"


def test_without_a_terminal_a_live_table_is_printed_once(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    result = saferun("control", "status", "--watch")
    assert result.exit_code == 0
    assert result.stdout.count("per-order") == 1


def test_a_live_table_goes_on_until_ctrl_c(alice: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "saferun", "control", "status", "--watch"]
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
    )
    os.close(theirs)
    seen = b""
    while b"per-order" not in seen:
        seen += os.read(ours, 65_536)
    alice("control", "stop", "--user", "zoe", "--reason", "now")
    while b"user zoe" not in seen:
        seen += os.read(ours, 65_536)
    process.send_signal(signal.SIGINT)
    reader = threading.Thread(target=_drain, args=(ours,))
    reader.start()
    assert process.wait(60) == 0
    reader.join()
    os.close(ours)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:
        # Linux says EIO where the other side is closed.
        pass


# What other commands say of it.


def test_doctor_says_what_is_stopped_and_which_breakers_are_open(alice: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        for number in range(5):
            fails(agent.charge, number)
        fails(agent.charge, 6)
    alice("control", "stop", "--agent", "it's me", "--reason", "a")
    checks = {each["name"]: each for each in told(alice("doctor", "--json"))["checks"]}
    assert checks["stopped"]["state"] == checks["breaker"]["state"] == "warning"
    assert "agent it's me is stopped, by alice since" in checks["stopped"]["found"]
    assert "saferun control resume --agent 'it'\"'\"'s me'" in checks["stopped"]["advice"]
    assert checks["breaker"]["found"] == "charge for acme is left alone: open after failures"


def test_a_run_shows_the_figures_of_the_control_that_spoke(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1"):
        for number in range(6):
            fails(agent.refund, f"o-{number}", 100)
    page = saferun("run", "show", "r-1").stdout
    assert "denied by refunds-per-user" in page
    assert re.search(
        r"because  at most 5 calls for each user in 1 hour \(line 10\)\n"
        r" +limit, user maria: 5 of 5, wants 1, free at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ",
        page,
    )


@pytest.mark.parametrize("what", EACH)
def test_a_run_shows_who_had_stopped_its_call_and_why(
    alice: Run, agent: Agent, what: tuple[str, ...]
) -> None:
    with agent.run("r-1"), agent.run("r-child"):
        agent.refund("A", 1)
        alice("control", "stop", *what, "--reason", "the first time")
        alice("control", "resume", *what)
        alice("control", "stop", *what, "--reason", "a complaint")
        # Of something else, and later: neither is what stopped it.
        alice("control", "stop", "--user", "omar", "--reason", "another")
        assert fails(agent.refund, "B", 1) == "Stopped"
        alice("control", "resume", *what)
        alice("control", "stop", *what, "--reason", "once more")
    agent.gate.close()
    page = " ".join(alice("run", "show", "r-child").stdout.split())
    scope = f"{what[0][2:]} {what[1]}" if len(what) > 1 else "all"
    assert re.search(
        rf"stop, {scope}: by alice since \d{{4}}-\d\d-\d\d \d\d:\d\d: a complaint", page
    )
    assert "the first time" not in page
    assert "another" not in page


def test_where_the_ledger_does_not_say_who_stopped_a_call_it_says_where_to_look(
    alice: Run, agent: Agent
) -> None:
    with agent.run("r-1"):
        agent.refund("A", 1)
        alice("control", "stop", "--agent", "support", "--reason", "a")
        fails(agent.refund, "B", 1)
    agent.gate.close()
    alice("run", "list")
    with sqlite3.connect(".saferun/saferun.db.index") as connection:
        connection.execute("DELETE FROM term WHERE facet = 'turn'")
    connection.close()
    page = " ".join(alice("run", "show", "r-1").stdout.split())
    assert "stop, agent support; `saferun control status` says by whom" in page


def test_a_run_shows_what_its_calls_cost(saferun: Run, agent: Agent) -> None:
    with agent.run("r-1") as run:
        run.model("x", cost_usd=0.2)
        agent.mail("x@x.test")
    agent.gate.close()
    page = saferun("run", "show", "r-1").stdout
    assert "· $0.2500 ·" in page
    assert "cost     $0.05\n" in page
    [listed] = lines(saferun("run", "list", "--json"))
    assert (listed["cost"], listed["stopped"], listed["deferred"]) == (250_000, False, 0)


def test_a_run_shows_nudges_and_that_it_was_stopped_and_resumed(alice: Run) -> None:
    worker = Worker("w-1")
    until_stopped(lambda: worker.call("look"))
    assert lines(alice("run", "list", "--json"))[0]["stopped"] is True
    assert "stopped" in alice("run", "list").stdout.splitlines()[1]
    alice("control", "resume", "--run", "w-1", "--reason", "it may")
    worker.end()
    page = alice("run", "show", "w-1").stdout
    assert "■ the run  stopped by saferun" in page
    assert re.search(r"▶ the run  resumed by alice +#\d+\n +because  it may", page)
    assert lines(alice("run", "list", "--json"))[0]["stopped"] is False
    assert json.dumps("control") in alice("run", "show", "w-1", "--json").stdout


def test_a_limit_in_shadow_is_told_apart(saferun: Run, shop: Path) -> None:
    tried = POLICY.replace("id: per-order,", "id: per-order, mode: shadow,")
    assert tried != POLICY
    shop.write_text(tried)
    agent = Agent()
    with agent.run("r-1"):
        agent.refund("A", 1)
    found = status(saferun)
    assert use(found, "per-order")["shadow"] is True
    assert [each["limit"] for each in found["limits"] if each["shadow"]] == ["per-order"]
    assert "per-order (in shadow)" in saferun("control", "status").stdout
