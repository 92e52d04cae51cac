"""How long it takes from an answer to the call that waits for it: `python -m benchmarks.approvals`.

A thousand tasks of one process wait at once, and a person answers one after the other; then calls
of one process are answered from another. Printed are the times from the answer's being counted
to the tool's beginning.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles

import msgspec

from saferun import Gate, config, guard
from saferun.approval import Request
from saferun.config import ApprovalTable, Person
from saferun.desk import Desk
from saferun.policy import loads
from saferun.store import Store

POLICY = "version: 1\nname: p\ntools: {echo: {effect: write, args: any, default: ask}}\n"


class Silent:
    """A channel that tells nobody, so that only the way back is measured."""

    name = "silent"

    def __init__(self) -> None:
        self.seen: dict[int, str] = {}
        self.there = threading.Condition()

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, _: object, receipt: str | None) -> str | None:
        if request.open:
            with self.there:
                self.seen[request.question.args["n"]] = request.id
                self.there.notify_all()
        return receipt or "shown"


def _gate(file: Path, channel: Silent) -> Gate:
    settings = msgspec.structs.replace(
        config.load(file.parent.parent),
        people={"dana": Person()},
        approval=ApprovalTable(timeout=600),
    )
    store = Store(f"sqlite:///{file}", durability="process")
    return Gate(policy=loads(POLICY), store=store, approvals=channel, settings=settings)


async def _waiting(file: Path, many: int) -> list[float]:
    channel = Silent()
    gate = _gate(file, channel)
    answered: dict[int, int] = {}
    taken: list[float] = []

    async def echo(n: int) -> None:
        taken.append((time.perf_counter_ns() - answered[n]) / 1e6)

    safe = guard(echo, gate=gate)

    async def one(n: int) -> None:
        with gate.run(run_id=f"r-{n}", agent="support"):
            await safe(n)

    def answer() -> None:
        with channel.there:
            channel.there.wait_for(lambda: len(channel.seen) == many)
        desk = Desk(gate.store, gate.config)
        for n, request in channel.seen.items():
            answered[n] = time.perf_counter_ns()
            desk.vote(request, by="dana", approved=True, channel="bench", revision=0)

    person = threading.Thread(target=answer)
    person.start()
    await asyncio.gather(*(one(n) for n in range(many)))
    person.join()
    gate.close()
    return taken


AGENT = """
import sys, time
from pathlib import Path
from benchmarks.approvals import Silent, _gate
from saferun import guard
gate = _gate(Path(sys.argv[1]), Silent())
safe = guard(lambda n: print(time.time_ns(), flush=True), name="echo", gate=gate)
for n in range(int(sys.argv[2])):
    with gate.run(run_id=f"x-{n}", agent="support"):
        safe(n)
gate.close()
"""


def _across(file: Path, many: int) -> list[float]:
    gate = _gate(file, Silent())
    desk = Desk(gate.store, gate.config)
    there = threading.Condition()
    asked: list[str] = []

    def hear(moves: list) -> None:  # type: ignore[type-arg]
        with there:
            asked.extend(each.id for each in moves if each.state == "pending")
            there.notify_all()

    end = gate.store.feed.follow(hear)
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(file), str(many)], stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout is not None
    taken = []
    for n in range(many):
        with there:
            there.wait_for(lambda n=n: len(asked) > n)
        began = time.time_ns()
        desk.vote(asked[n], by="dana", approved=True, channel="bench", revision=0)
        taken.append((int(agent.stdout.readline()) - began) / 1e6)
    agent.wait()
    end()
    gate.close()
    return taken


def _said(what: str, taken: list[float]) -> None:
    cuts = quantiles(taken, n=100)
    print(f"{what:<44} p50 {cuts[49]:6.1f} ms   p99 {cuts[98]:6.1f} ms   {len(taken):,} answers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000)
    parser.add_argument("--across", type=int, default=100)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = asyncio.run(_waiting(Path(folder, "here", "store.db"), chosen.waiting))
        _said(f"in one process, {chosen.waiting:,} waiting", here)
        _said("from another process", _across(Path(folder, "there", "store.db"), chosen.across))


if __name__ == "__main__":
    main()
