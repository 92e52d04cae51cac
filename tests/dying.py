"""Agents that die while a tool is at work, as tests put them: what they leave, nobody knows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from saferun.call import Call, RunRef

_AGENT = """
import json, os, signal, sys
from saferun import Call, Gate
from saferun.call import RunRef
from saferun.gate import Store
from saferun.policy import loads

told = json.loads(sys.argv[1])
gate = Gate(
    policy=loads(told["policy"]) if told["policy"] else None,
    store=Store(told["url"], durability="process"),
)
for args, call_id in told["calls"]:
    run = RunRef(run_id="r-1", root="r-1", agent="support", user={"id": "maria"}, tenant="acme")
    assert gate.check(Call(tool="pay", args=args, call_id=call_id, run=run)).starts
print("paying", flush=True)
if told["dies"]:
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.readline()
"""

RUN = RunRef(run_id="r-1", root="r-1", agent="support", user={"id": "maria"}, tenant="acme")


def paying(
    file: Path, *calls: tuple[dict[str, Any], str | None], policy: str = "", dies: bool = True
) -> subprocess.Popen[bytes]:
    """A process that makes these calls of `pay`, each with its id, and is killed amid all of them.

    With `dies=False` it lives until its standard input ends.
    """
    told = {"url": f"sqlite:///{file}", "calls": calls, "policy": policy, "dies": dies}
    agent = subprocess.Popen(
        [sys.executable, "-c", _AGENT, json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"paying\n"
    if dies:
        agent.communicate(timeout=60)
    return agent


def payment(args: dict[str, Any], call_id: str | None) -> Call:
    """The call as that process made it."""
    return Call(tool="pay", args=args, call_id=call_id, run=RUN)
