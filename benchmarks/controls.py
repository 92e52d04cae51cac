"""What each control adds to the two halves of a guarded call: before the tool and after it.

`python -m benchmarks.controls`: on stores of their own with `process` durability and commits of
their own, in turns, so that whatever else the machine does hits all of them alike.
"""

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import saferun
from benchmarks import work
from benchmarks.guarded import gate, opened
from benchmarks.measure import settle_memory
from saferun import Call, Gate, Outcome
from saferun.call import RunRef

ROUNDS, CALLS, WARM = 12, 300, 30
LIVE, TRIES = (10, 1_000, 20_000), 2_000

POLICIES = {
    "none": work.policy(controls=work.OFF),
    "the breaker": work.policy(controls="loops: off\n"),
    "a limit per run": work.policy(controls=work.OFF, limit=10**9),
    "five limits of all kinds, in three groups": work.policy(controls=work.OFF, limits=work.FIVE),
    "loops": work.policy(controls="breaker: off\n"),
    "loops and breaker, as by default": work.policy(),
    "all of these": work.policy(limits=work.FIVE),
}


class Half(NamedTuple):
    """Microseconds at the median: `before` the tool, and `after` it."""

    before: float
    after: float


def measured(folder: Path) -> dict[str, Half]:
    with contextlib.ExitStack() as stores:
        gates = {
            name: gate(stores.enter_context(opened(folder / f"{at}", "process", ride=False)), text)
            for at, (name, text) in enumerate(POLICIES.items())
        }
        spent: dict[str, list[tuple[int, int]]] = {name: [] for name in gates}
        for number in range(ROUNDS):
            settle_memory()
            for name, through in gates.items():
                halves = _halves(through, f"r-{number}")
                if number:
                    spent[name] += halves
    return {
        name: Half(*(statistics.median(each) / 1_000 for each in zip(*halves, strict=True)))
        for name, halves in spent.items()
    }


def _halves(through: Gate, run: str) -> list[tuple[int, int]]:
    clock = time.perf_counter_ns
    about = RunRef(run_id=run, root=run, agent="bench", user={"id": "maria"}, tenant="acme")
    orders = work.orders(run)
    halves = []
    for _ in range(WARM + CALLS):
        order = next(orders)
        call = Call(tool="refund", args=dict(order), run=about)
        result = work.refund(**order)
        began = clock()
        decision = through.check(call)
        decided = clock()
        through.settle(decision, Outcome(status="ok", result=result, latency=5))
        halves.append((decided - began, clock() - decided))
    return halves[WARM:]


def crowded(folder: Path) -> dict[int, float]:
    """Microseconds of a whole call by how many counts there are of the limit that it moves."""
    limits = "    limits: [{id: once, max: 1000000000, per: args.order_id, window: 1h}]\n"
    draw = random.Random(0)
    found, made = {}, 0
    with opened(folder / "crowded", "process", ride=False) as store:
        through = gate(store, work.policy(controls=work.OFF, limits=limits))
        tool = saferun.guard(work.refund, gate=through)
        for many in LIVE:
            while made < many:
                tool(**{**work.CALL, "order_id": f"A-{made}"})
                made += 1
            settle_memory()
            found[many] = statistics.median(
                _spent(tool, draw.randrange(many)) for _ in range(TRIES)
            )
    return found


def _spent(tool: Callable[..., object], order: int) -> float:
    began = time.perf_counter_ns()
    tool(**{**work.CALL, "order_id": f"A-{order}"})
    return (time.perf_counter_ns() - began) / 1_000


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        found = measured(Path(folder))
        live = crowded(Path(folder))
    least = found["none"]
    print("| controls | before the tool | after it |\n|---|--:|--:|")
    for name, half in found.items():
        if half is least:
            print(f"| {name} | {half.before:.0f} | {half.after:.0f} |")
        else:
            added = (half.before - least.before, half.after - least.after)
            print(f"| {name} | + {added[0]:.0f} | + {added[1]:.0f} |")
    told = ", ".join(f"{many:,}: {spent:.0f} µs" for many, spent in live.items())
    print(f"\na whole call by the number of live counts: {told}")


if __name__ == "__main__":
    main()
