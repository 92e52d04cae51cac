"""An agent killed with SIGKILL: no effect without its intent, no intent without its end.

The random kills are in the store's tests; here the whole path runs, from `guard` on, and the
process is killed at chosen points and at random ones.
"""

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from saferun.ledger import DecisionEntry, OutcomeEntry, RecoveryEntry, parse
from saferun.store import Reader, Store
from storing import audit

AGENT = """
import os, signal, sys, threading
import saferun
from saferun.policy import loads
from saferun.store import writer

effects = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
gate = saferun.Gate(policy=loads(
    "version: 1\\ntools:\\n  pay:\\n    effect: write\\n    args: {amount: {type: integer}}\\n"
    "    limits: [{id: cap, max: 100000, per: run}]\\n"
), store=saferun.gate.Store(f"sqlite:///{sys.argv[1]}", durability=sys.argv[3]))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def pay(amount, idempotency_key):
    os.write(effects, f"{amount} {idempotency_key}\\n".encode())
    if amount == -1:
        die()
    return "paid"

safe = saferun.guard(pay, gate=gate)
gate.run(agent="a").__enter__()
"""

POINTS = {
    "before the intent is committed": """
writer.Transaction.flush = lambda self: die()
safe(1)
""",
    "after the commit and before anybody is told": """
writer.Transaction.committed = lambda self: die()
safe(1)
""",
    "in the tool, after its effect": "safe(-1)",
    "after the tool and before its outcome": """
gate.settle = lambda *_: die()
safe(1)
""",
    "in a stream that is half read": """
def stream(amount, idempotency_key):
    os.write(effects, f"{amount} {idempotency_key}\\n".encode())
    yield 1
    yield 2
for _ in saferun.guard(stream, name="pay", gate=gate)(1):
    die()
""",
}
"""Each with how many effects there are, and how many ends it leaves `unknown`."""

LEAVES = {
    "before the intent is committed": (0, 0),
    "after the commit and before anybody is told": (0, 1),
    "in the tool, after its effect": (1, 1),
    "after the tool and before its outcome": (1, 1),
    "in a stream that is half read": (1, 1),
}


def agent(script: str, file: Path, effects: Path, durability: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", AGENT + script, str(file), str(effects), durability],
        stdout=subprocess.PIPE,
    )


def told(file: Path) -> tuple[set[int], set[int], int]:
    """The decisions, the ends, and how many of those are `unknown`, after recovery."""
    Store(f"sqlite:///{file}", durability="process").close()
    report = audit(file)
    assert (report.problem, report.dangling) == (None, 0)
    decisions: set[int] = set()
    ends: set[int] = set()
    unknown = 0
    with Reader(file) as reader:
        for _, body, _ in reader.rows():
            entry = parse(body)
            if isinstance(entry.entry, DecisionEntry):
                decisions.add(entry.seq)
            elif isinstance(entry.entry, OutcomeEntry | RecoveryEntry):
                ends.add(entry.entry.of)
                unknown += entry.entry.status == "unknown"
    return decisions, ends, unknown


@pytest.mark.parametrize("durability", ["process", "full"])
@pytest.mark.parametrize("point", list(POINTS))
def test_a_kill_leaves_every_effect_with_an_intent(
    point: str, durability: str, tmp_path: Path
) -> None:
    file, effects = tmp_path / "saferun.db", tmp_path / "effects"
    killed = agent(POINTS[point], file, effects, durability)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    decisions, ends, unknown = told(file)
    happened = effects.read_text().splitlines()
    assert decisions == ends
    assert (len(happened), unknown) == LEAVES[point]
    assert len(happened) <= len(decisions)


LOOP = """
def work():
    with gate.run(agent="a"):
        for amount in range(1, 1_000_000):
            safe(amount)
            if amount == 3:
                print("started", flush=True)

[threading.Thread(target=work, daemon=True).start() for _ in range(2)]
threading.Event().wait()
"""


def kills(tmp_path: Path, times: int, chance: random.Random) -> None:
    file, effects = tmp_path / "saferun.db", tmp_path / "effects"
    for number in range(times):
        killed = agent(LOOP, file, effects, ("process", "full")[number % 2])
        assert killed.stdout is not None
        assert killed.stdout.readline().startswith(b"started")
        # The random moment is the point of the test; it waits for nothing.
        threading.Event().wait(chance.uniform(0, 0.05))
        killed.kill()
        killed.communicate()
        decisions, ends, _ = told(file)
        keys = [line.split()[1] for line in effects.read_text().splitlines()]
        assert decisions == ends
        assert len(keys) == len(set(keys)) <= len(decisions)


def test_an_agent_killed_at_random_loses_nothing(tmp_path: Path) -> None:
    kills(tmp_path, 6, random.Random(11))


@pytest.mark.soak
def test_an_agent_killed_hundreds_of_times_loses_nothing(tmp_path: Path) -> None:
    kills(tmp_path, 200, random.Random())
