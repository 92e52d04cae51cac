"""Measuring: one round of one case, and what many rounds of it come to.

Alternatives take turns, round by round, so that whatever else the machine does hits all of
them alike. Of each round its own p50, p99 and rate are taken, and of these the median over
the rounds: one bad round, in which somebody else had the disk, changes nothing.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Round(NamedTuple):
    """The time of every call of one round and of all of them together, in nanoseconds."""

    spent: Sequence[int]
    elapsed: int


class Case(Protocol):
    """One alternative: ready to make some calls and say how long each took."""

    name: str

    def run(self, calls: int) -> Round: ...


class Figure(NamedTuple):
    """What one case came to: microseconds a call, and calls a second."""

    p50: float
    p99: float
    rate: float


class Single:
    """A case of one thread that does the same thing again and again."""

    def __init__(self, name: str, call: Callable[[], object]) -> None:
        self.name = name
        self._call = call

    def run(self, calls: int) -> Round:
        return timed(self._call, calls)


def timed(call: Callable[[], object], calls: int, *, settle: bool = True) -> Round:
    """Time calls one by one. Each figure holds the clock and the lambda: about 0.1 µs.

    `settle` is False for the threads of a crowd, whose round has settled the memory already.
    """
    if settle:
        settle_memory()
    clock = time.perf_counter_ns
    spent = [0] * calls
    for at in range(calls):
        began = clock()
        call()
        spent[at] = clock() - began
    return Round(spent, sum(spent))


def settle_memory() -> None:
    """Collect garbage and set what is left aside, so that every round begins alike.

    The collector stays on while calls are timed: what it costs is part of what a call costs.
    """
    gc.collect()
    gc.freeze()


def figure(rounds: Sequence[Round]) -> Figure:
    return Figure(
        p50=statistics.median(percentile(each.spent, 50) for each in rounds),
        p99=statistics.median(percentile(each.spent, 99) for each in rounds),
        rate=statistics.median(len(each.spent) * 1e9 / each.elapsed for each in rounds),
    )


def percentile(spent: Sequence[int], percent: int) -> float:
    """In microseconds, by the nearest rank."""
    ranked = sorted(spent)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)] / 1e3
