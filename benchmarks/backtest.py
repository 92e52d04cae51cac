"""Backtesting: a trace file, packed as they come, read and decided call by call."""

import json
import lzma
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import work
from saferun import policy
from saferun.replay import Backtest, Tally, traces

CALLS = 10_000
A_RUN = 10
"""Calls of each run; between them the model says something."""


def backtested(folder: Path) -> float:
    """Seconds that it takes to decide `CALLS` calls of a trace under 100 rules and a limit."""
    file = folder / "runs.jsonl.xz"
    with lzma.open(file, "wt", encoding="utf-8", preset=1) as packed:
        for run in _runs():
            packed.write(json.dumps(run) + "\n")
    candidate = policy.loads(work.policy(own=2, others=49, limit=A_RUN))
    began = time.perf_counter()
    tally = Tally()
    for told in Backtest(candidate).trace(traces(file)):
        tally.add(told)
    took = time.perf_counter() - began
    assert tally.summary(candidate.ref).verdicts["allow"] == CALLS
    return took


def _runs() -> Iterator[dict[str, Any]]:
    orders = work.orders()
    for at in range(CALLS // A_RUN):
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Refund my orders."}]
        for number in range(A_RUN):
            function = {"name": "refund", "arguments": json.dumps(next(orders))}
            call = {"id": f"call_{number}", "type": "function", "function": function}
            said = "I will refund the next one now."
            messages.append({"role": "assistant", "content": said, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": "refunded"})
        yield {"run_id": f"r-{at}", "agent": "support", "user": "maria", "messages": messages}
