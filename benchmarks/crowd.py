"""Many callers at once: tasks of one loop, threads of one process, processes on one file.

Each store is as its durability has it by default: with `process` an outcome rides in the next
commit, with `full` it has its own.
"""

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import saferun
from benchmarks import work
from benchmarks.guarded import gate, opened
from benchmarks.measure import Case, Round, settle_memory, timed
from saferun import Denied, Gate
from saferun.config import Durability
from saferun.ledger import Report, verify
from saferun.store import Reader, Store

TASKS = 32
THREADS = 32
PROCESSES = 8
THREADS_EACH = 16

CAP = 500
"""Calls that one run shared by all processes may make, of the many that it tries."""


class Tasks:
    """Tasks that make calls one after the other, all on one event loop."""

    def __init__(self, durability: Durability, store: Store) -> None:
        self.name = f"{TASKS} tasks: {durability}"
        self._store = store
        self._gate = gate(store, work.policy())
        self._tool = saferun.guard(work.refund_later, name="refund", gate=self._gate)

    def run(self, calls: int) -> Round:
        settle_memory()
        done = asyncio.run(self._all(calls))
        self._store.flush()
        return done

    async def _all(self, calls: int) -> Round:
        spent: list[int] = []
        async with self._gate.run(agent="bench", user="maria"):
            began = time.perf_counter_ns()
            desks = (work.orders(f"task-{at}") for at in range(TASKS))
            await asyncio.gather(*(self._one(calls // TASKS, spent, each) for each in desks))
            return Round(spent, time.perf_counter_ns() - began)

    async def _one(self, calls: int, spent: list[int], orders: Iterator[work.Arguments]) -> None:
        for order in itertools.islice(orders, calls):
            began = time.perf_counter_ns()
            await self._tool(**order)
            spent.append(time.perf_counter_ns() - began)


class Threads:
    """Threads of this process, each in a run of its own."""

    def __init__(self, durability: Durability, store: Store) -> None:
        self.name = f"{THREADS} threads: {durability}"
        self._store = store
        self._gate = gate(store, work.policy())

    def run(self, calls: int) -> Round:
        began, ended, spent = _at_once(THREADS, calls, self._gate)
        self._store.flush()
        return Round(spent, ended - began)


class Processes:
    """Processes that share one file, each with threads, all set off by this one."""

    def __init__(self, durability: Durability, folder: Path) -> None:
        self.name = f"{PROCESSES} x {THREADS_EACH} threads, one file: {durability}"
        self.file = folder / "bench.db"
        self.made = 0
        # Founded here, so that the members meet no first open, which is not what is measured.
        with opened(folder, durability):
            pass
        fresh = multiprocessing.get_context("spawn")
        self._lines: list[Connection] = []
        self._members = []
        for _ in range(PROCESSES):
            ours, theirs = fresh.Pipe()
            member = fresh.Process(target=_member, args=(theirs, folder, durability), daemon=True)
            member.start()
            theirs.close()
            self._lines.append(ours)
            self._members.append(member)

    def run(self, calls: int) -> Round:
        told = self._ask(calls // PROCESSES)
        spent = [each for _, _, part in told for each in part]
        self.made += len(spent)
        return Round(spent, max(end for _, end, _ in told) - min(start for start, _, _ in told))

    def spend(self) -> int:
        """How many calls of a run with a limit of `CAP` were let through by all together."""
        allowed: int = sum(self._ask("spend"))
        self.made += allowed
        return allowed

    def close(self) -> None:
        self._ask(None)
        for member in self._members:
            member.join()

    def _ask(self, what: object) -> list[Any]:
        for line in self._lines:
            line.send(what)
        return [line.recv() for line in self._lines]


class Check(NamedTuple):
    """Whether what a crowd left behind is right, in one sentence."""

    sentence: str
    holds: bool


@contextlib.contextmanager
def cases(folder: Path) -> Iterator[tuple[list[Case], list[Processes]]]:
    """All crowds, and those of many processes again, to be checked when they are done."""
    with contextlib.ExitStack() as stack:
        alone: list[Case] = []
        shared: list[Processes] = []
        for durability in ("process", "full"):
            for kind in (Tasks, Threads):
                place = folder / f"{kind.__name__}-{durability}"
                alone.append(kind(durability, stack.enter_context(opened(place, durability))))
            shared.append(Processes(durability, folder / f"processes-{durability}"))
        yield [*alone, *shared], shared


def checked(crowd: Processes) -> Iterator[Check]:
    """End a crowd of processes, and hold its ledger against what it says it has done."""
    allowed = crowd.spend()
    crowd.close()
    report, outcomes = _audited(crowd.file)
    name = crowd.name.rpartition(" ")[2]
    yield Check(
        f"{name}: {report.entries:,} entries verify without a gap, none is without its end",
        report.problem is None and report.dangling == 0,
    )
    yield Check(
        f"{name}: {crowd.made:,} calls were made, and {outcomes:,} have an outcome",
        crowd.made == outcomes,
    )
    yield Check(
        f"{name}: {allowed:,} calls passed a limit of {CAP:,} that all processes shared",
        allowed == CAP,
    )


def _audited(file: Path) -> tuple[Report, int]:
    with Reader(file) as reader:
        report = verify(reader.rows(), reader.head(), blobs=reader.blob)
        outcomes = sum(b'"kind":"outcome"' in body[:80] for _, body, _ in reader.rows())
    return report, outcomes


def _member(line: Connection, folder: Path, durability: Durability) -> None:
    """One process of a crowd: does what it is told until it is told to end."""
    with opened(folder, durability) as store:
        plain = gate(store, work.policy())
        capped = gate(store, work.policy(limit=CAP))
        while (told := line.recv()) is not None:
            if told == "spend":
                line.send(_spent(capped))
            else:
                line.send(_at_once(THREADS_EACH, told, plain))
    line.send(None)


def _at_once(threads: int, calls: int, through: Gate) -> tuple[int, int, list[int]]:
    """Calls by many threads: when they began and ended, and how long each call took."""
    settle_memory()
    tool = saferun.guard(work.refund, gate=through)
    spent: list[int] = []

    def one() -> None:
        orders = _orders()
        with through.run(agent="bench", user="maria"):
            done = timed(lambda: tool(**next(orders)), calls // threads, settle=False)
        spent.extend(done.spent)

    began, ended = _together(threads, one)
    return began, ended, spent


def _spent(through: Gate) -> int:
    tool = saferun.guard(work.refund, gate=through)
    allowed: list[bool] = []

    def one() -> None:
        tries = 2 * CAP // (PROCESSES * THREADS_EACH)
        with through.run(agent="bench", user="maria", run_id="r-shared"):
            for order in itertools.islice(_orders(), tries):
                with contextlib.suppress(Denied):
                    tool(**order)
                    allowed.append(True)

    _together(THREADS_EACH, one)
    return len(allowed)


def _orders() -> Iterator[work.Arguments]:
    """Orders that no other thread of any process has."""
    return work.orders(f"{os.getpid()}-{threading.get_ident()}")


def _together(threads: int, one: Callable[[], None]) -> tuple[int, int]:
    """Set threads off at the same moment; when that was, and when the last one was done."""
    barrier = threading.Barrier(threads + 1)

    def started() -> None:
        barrier.wait()
        one()

    crew = [threading.Thread(target=started) for _ in range(threads)]
    for each in crew:
        each.start()
    barrier.wait()
    began = time.perf_counter_ns()
    for each in crew:
        each.join()
    return began, time.perf_counter_ns()
