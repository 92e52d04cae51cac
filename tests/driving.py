"""Agents in processes of their own, driven step by step: what tests of several processes need."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WORKER = """
import json, resource, sys, threading, time
from saferun import Call, Gate, Outcome
from saferun.control import Switch
from saferun.policy import loads
from saferun.store import Enrol, Store, Turn

url, durability, policy, at = json.loads(sys.argv[1])
clock = [at]
store = Store(url, durability=durability, clock=lambda: clock[0] or time.time_ns() // 1000)
gate = Gate(policy=loads(policy) if policy else None, store=store)
runs, open_calls = {}, {}

def run(run_id, parent=None, agent="a", **about):
    if run_id not in runs:
        above = None if parent is None else run(**parent)
        runs[run_id] = gate.run(run_id=run_id, parent=above, agent=agent, **about)
    return runs[run_id]

def check(tool, args, within, call_id=None):
    about = None if within is None else run(**within).ref
    decision = gate.check(Call(tool=tool, args=args, run=about, call_id=call_id))
    if decision.starts:
        open_calls[decision.seq] = decision
    return {
        "verdict": decision.verdict, "starts": decision.starts, "seq": decision.seq,
        "nudge": decision.nudge, "frees_at": decision.frees_at,
        "reasons": [
            {"id": each.id, "source": each.source, "error": each.error, "message": each.message,
             "used": each.measure.used if each.measure else None}
            for each in decision.reasons
        ],
    }

def settle(seq, status="ok", result=None, error=None, latency=0):
    outcome = Outcome(status=status, result=result, error=error, latency=latency)
    gate.settle(open_calls.pop(seq), outcome)

def call(tool, args, within, **came_of_it):
    found = check(tool, args, within)
    if found["starts"]:
        settle(found["seq"], **came_of_it)
    return found

def insist(tool, args, within, **came_of_it):
    for made in range(1000):
        found = call(tool, args, within, **came_of_it)
        if found["verdict"] != "allow":
            return [made, found]

def crowd(threads, tool, args, within):
    together, found = threading.Barrier(threads), []

    def one():
        together.wait()
        found.append(check(tool, args, within))

    crew = [threading.Thread(target=one) for _ in range(threads)]
    [each.start() for each in crew]
    [each.join() for each in crew]
    return found

def say(within, text):
    run(**within).user(text)

def spend(within, cost):
    run(**within).model("Hm.", cost_usd=cost)

def end(within):
    gate.recorder.ended(run(**within), None)
    del runs[within["run_id"]]

def turn(scope, value, on):
    secret = store.keys.digest(b"dana's own")
    store.commit(Enrol("dana", secret))
    switch = Switch(scope=scope, value=value, by="dana")
    return store.commit(Turn(switch=switch, on=on, credential=secret))

def now(at):
    clock[0] = at

def flush():
    store.flush()

def room(size):
    # No file grows beyond it, as on a disk that is full.
    most = resource.RLIM_INFINITY if size is None else size
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

print(json.dumps(store.recovered), flush=True)
for line in sys.stdin:
    what, given = json.loads(line)
    print(json.dumps(globals()[what](**given)), flush=True)
store.close()
"""


class Agent:
    """A process with a gate, that does what it is told and says what came of it.

    `asked` sends and `answered` waits, so that several may work at once; everything else does
    both. What it is told to do stands in `WORKER`, and so do the names of what it is given.
    `recovered` is how many calls of dead processes it has found when it began.
    """

    def __init__(
        self, file: Path, policy: str = "", *, durability: str = "process", at: int | None = None
    ) -> None:
        about = json.dumps([f"sqlite:///{file}", durability, policy, at])
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, about],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.recovered: int = self.answered()
        except ValueError:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def asked(self, what: str, **given: Any) -> None:
        assert self.process.stdin is not None
        print(json.dumps([what, given]), file=self.process.stdin, flush=True)

    def answered(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def does(self, what: str, **given: Any) -> Any:
        self.asked(what, **given)
        return self.answered()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        self.process.communicate(timeout=60)


def told(answer: dict[str, Any]) -> str:
    """An answer to a call in short: `allow`, `nudge`, or what stood in its way."""
    if answer["nudge"] is not None:
        return "nudge"
    if answer["verdict"] == "allow":
        return "allow"
    return f"{answer['verdict']} by {answer['reasons'][0]['source']}"
