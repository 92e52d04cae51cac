"""What SafeRun is meant to cost: the promises that the table is held against."""

from typing import Literal, NamedTuple

from benchmarks.measure import Figure


class Target(NamedTuple):
    """A bound on one figure: microseconds at most, or calls a second at least.

    `syncs` adds that many times F to the bound, for what has to wait for the disk.
    """

    figure: Literal["p50", "p99", "rate"]
    bound: float
    syncs: int = 0

    def met(self, figure: Figure, synced: float) -> bool:
        value: float = getattr(figure, self.figure)
        bound = self.bound + self.syncs * synced
        return value >= bound if self.figure == "rate" else value <= bound

    def said(self, synced: float) -> str:
        if self.figure == "rate":
            return f"≥ {self.bound:,.0f}/s"
        if self.syncs:
            total = self.bound + self.syncs * synced
            return f"{self.figure} ≤ {self.syncs} F + {self.bound:,.0f} = {total:,.0f}"
        if self.bound >= 10_000:
            return f"{self.figure} ≤ {self.bound / 1_000:,.0f} ms"
        return f"{self.figure} ≤ {self.bound:,.0f}"


_DECISION = (Target("p50", 5),)
_TURN = (Target("p50", 50),)
_CROWD_P99 = Target("p99", 40_000)

TARGETS: dict[str, tuple[Target, ...]] = {
    "decide: 1 rule": _DECISION,
    "decide: 100 rules, 2 conditions evaluated": (Target("p50", 5), Target("p99", 15)),
    "decide: 2 conditions, 10,000 other tools": (Target("p50", 5), Target("p99", 15)),
    "load: 100 rules, one tool": (Target("p50", 50_000),),
    "load: 100 conditions, one tool": (Target("p50", 50_000),),
    "decide: 100 rules, 2 about the tool": _DECISION,
    "decide: 100 rules, all about the tool": _DECISION,
    "decide: 2 rules, 100 other tools": _DECISION,
    "decide: 2 rules, 1,000 other tools": _DECISION,
    "guard: process, own": (Target("p50", 100), Target("p99", 300)),
    "guard: process, own, a limit per run": (Target("p50", 100), Target("p99", 300)),
    "guard: process, ride": (Target("p50", 70), Target("p99", 300)),
    "guard: full, own": (Target("p50", 300, syncs=2), Target("p99", 1_500)),
    "model turn: output alone": _TURN,
    "model turn: 40 messages, 2 new": _TURN,
    "model turn: watched client, 40 messages, 2 new": _TURN,
    "32 tasks: process": (Target("rate", 20_000),),
    "32 tasks: full": (Target("rate", 12_000),),
    "8 x 16 threads, one file: process": (Target("rate", 8_000), _CROWD_P99),
    "8 x 16 threads, one file: full": (Target("rate", 6_000), _CROWD_P99),
}
"""By the name of the case. Cases that are not here are shown for comparison."""

IMPORT_MS = 100.0
"""`import saferun`, warm."""

BACKTEST_S = 2.0
"""Ten thousand calls of a trace decided once more."""

VERIFY_US = 10.0
"""A ledger entry verified: a million in ten seconds."""

GROWTH_BYTES = 16.0
"""What a call may add to the size of the process: no more than the allocator's own play."""

CONSOLE_MS = {"open": 1_500.0, "step": 50.0, "next": 100.0, "list": 300.0}
"""Milliseconds at p95, in the page: a run of 10,000 frames, a step, a jump, a list of runs."""

BYTES = {"index": 200_000, "large": 400_000}
"""What goes over the wire: the outline of 10,000 frames, and a page about a large value."""

DOM = 1_500
"""Elements in the page of a run, however long that is."""

LIVE_MS = 1_000.0
"""Milliseconds at p99 until all of a hundred viewers have heard of what happened."""

NOTE_US = 5.0
"""Microseconds that telemetry takes on the path of a call."""

REPLAY_MS = {
    "open a run": 1_000.0,
    "open it again, nothing new": 50.0,
    "one frame": 50.0,
    "next denied": 100.0,
    "next denied, where there is none": 100.0,
    "find a word": 100.0,
    "difference of two runs": 1_000.0,
    "difference of two runs that nothing joins": 2_000.0,
    "list: the newest": 300.0,
    "list: denied, one agent": 300.0,
    "list: near misses of one tool": 300.0,
    "list: none that fits": 300.0,
    "list: an hour in the middle": 300.0,
    "list: a rare word": 300.0,
    "list: a common word": 300.0,
    "list: the newest, held against the ledger": 300.0,
}
"""Milliseconds at p95, of what the console and the terminal do with runs, without a page."""
