"""What it takes to have a hundred people watch one run that goes on, beside what one takes.

An agent in a process of its own makes guarded calls, a few a second; the console is a process, and
the viewers, who are no browsers, share a third. Rounds with nobody, one and many take turns.
"""

import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import saferun
from benchmarks import work
from benchmarks.guarded import gate, opened
from benchmarks.served import Served, Spent, served
from benchmarks.table import Fact
from benchmarks.targets import LIVE_MS

RUN = "live-1"

EACH = 4
"""Pages of one session."""


class Effort(NamedTuple):
    """How many look on, how often, and the calls of a round, so many a second."""

    viewers: int
    rounds: int
    calls: int
    pace: float


THOROUGH = Effort(100, 4, 60, 10)
SHORT = Effort(100, 1, 40, 10)
QUICK = Effort(20, 1, 5, 10)


class _Made(NamedTuple):
    """A call: what it took, when it was over, in nanoseconds, and the ledger's size by then."""

    took: int
    at: int
    size: int


class _Heard(NamedTuple):
    """Of one round: milliseconds from a call's end to each viewer, and what the console took."""

    calls: list[float]
    delays: list[float]
    cpu: float
    memory: int


def facts(folder: Path, effort: Effort) -> Iterator[Fact]:
    crowds = (0, 1, effort.viewers)
    heard: dict[int, list[_Heard]] = {crowd: [] for crowd in crowds}
    with _agent(folder, effort.pace) as agent:
        # So that there is a run to look at.
        _made(agent, 5)
        with served(folder / "bench.db", -(-effort.viewers // EACH)) as console:
            for number in range(effort.rounds + 1):
                for crowd in crowds:
                    calls = effort.calls if number else 5
                    one = asyncio.run(_watched(console, agent, crowd, calls))
                    if number:
                        heard[crowd].append(one)
    yield from _told(heard, effort)


def _told(heard: dict[int, list[_Heard]], effort: Effort) -> Iterator[Fact]:
    nobody, one, many = (_Sum.of(heard[crowd]) for crowd in (0, 1, effort.viewers))
    crowd = f"{effort.viewers} viewers"
    yield Fact(
        f"an event until it is there, {crowd}",
        many.delays[1],
        f"p50 {many.delays[0]:.0f}, p99 {many.delays[1]:.0f} ms; one viewer"
        f" {one.delays[0]:.0f} and {one.delays[1]:.0f}",
        f"p99 ≤ {LIVE_MS:,.0f} ms",
        many.delays[1] <= LIVE_MS,
    )
    yield Fact(
        f"processor of the console, {crowd}",
        many.cpu,
        f"{many.cpu:.1%} of a core; one viewer {one.cpu:.1%}, nobody {nobody.cpu:.1%}",
        "",
        None,
    )
    yield Fact(
        f"memory of the console, {crowd}",
        many.memory,
        f"{many.memory / 2**20:.0f} MiB; one viewer {one.memory / 2**20:.0f}",
        "",
        None,
    )
    yield Fact(
        f"a guarded call beside {crowd}",
        many.calls[0],
        f"p50 {many.calls[0]:.0f}, p99 {many.calls[1]:.0f} µs; beside one {one.calls[0]:.0f} and"
        f" {one.calls[1]:.0f}, beside nobody {nobody.calls[0]:.0f} and {nobody.calls[1]:.0f}",
        "",
        None,
    )


class _Sum(NamedTuple):
    calls: tuple[float, float]
    delays: tuple[float, float]
    cpu: float
    memory: int

    @classmethod
    def of(cls, rounds: Sequence[_Heard]) -> "_Sum":
        return cls(
            _ranked([took for each in rounds for took in each.calls]),
            _ranked([took for each in rounds for took in each.delays]),
            statistics.median(each.cpu for each in rounds),
            max(each.memory for each in rounds),
        )


def _ranked(values: list[float]) -> tuple[float, float]:
    ranked = sorted(values) or [0.0]
    return statistics.median(ranked), ranked[max(0, -(-len(ranked) * 99 // 100) - 1)]


async def _watched(console: Served, agent: Connection, crowd: int, calls: int) -> _Heard:
    loop = asyncio.get_running_loop()
    viewers = [_Viewer(console.cookies[number // EACH]) for number in range(crowd)]
    tasks = [asyncio.create_task(each.look(console.port)) for each in viewers]
    try:
        for each in viewers:
            await asyncio.wait_for(each.there.wait(), 60)
        before, began = console.spent(), time.monotonic()
        made = await loop.run_in_executor(None, _made, agent, calls)
        if viewers:
            async with asyncio.timeout(60):
                for each in viewers:
                    await each.reached(made[-1].size)
        else:
            await asyncio.sleep(0.5)
        after: Spent = console.spent()
        elapsed = time.monotonic() - began
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _Heard(
        [each.took / 1e3 for each in made],
        [delay for viewer in viewers for delay in viewer.delays(made)],
        (after.cpu - before.cpu) / elapsed,
        after.memory,
    )


class _Viewer:
    """Somebody who listens, and notes when they have heard how far the run has got."""

    def __init__(self, cookie: str) -> None:
        self.there = asyncio.Event()
        self.size = 0
        self._moved = asyncio.Condition()
        self._cookie = cookie
        self._heard: list[tuple[int, int]] = []

    async def look(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        try:
            writer.write(
                f"GET /run/live?id={RUN}&size=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                f"Cookie: {self._cookie}\r\n\r\n".encode()
            )
            status = await reader.readline()
            if b" 200 " not in status:
                raise SystemExit(f"a viewer was answered {status.decode()}")
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    self.size = int(line[4:])
                    self._heard.append((time.monotonic_ns(), self.size))
                    self.there.set()
                    async with self._moved:
                        self._moved.notify_all()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def reached(self, size: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self.size >= size)

    def delays(self, made: Sequence[_Made]) -> Iterator[float]:
        for call in made:
            heard = next(at for at, size in self._heard if size >= call.size)
            yield max((heard - call.at) / 1e6, 0.0)


@contextlib.contextmanager
def _agent(folder: Path, pace: float) -> Iterator[Connection]:
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=_act, args=(folder, pace, there), daemon=True)
    process.start()
    # Ours alone now: where it ends before it has said anything, that is heard.
    there.close()
    try:
        yield here
    finally:
        here.send(0)
        process.join(10)


def _made(agent: Connection, calls: int) -> list[_Made]:
    agent.send(calls)
    return [_Made(*each) for each in agent.recv()]


def _act(folder: Path, pace: float, here: Connection) -> None:
    with opened(folder, "process", ride=False) as store:
        within = gate(store, work.policy())
        tool = saferun.guard(work.refund, gate=within)
        orders = work.orders()
        with within.run(agent="bench", user="maria", run_id=RUN):
            while calls := here.recv():
                made = []
                for _ in range(calls):
                    time.sleep(1 / pace)
                    began = time.perf_counter_ns()
                    tool(**next(orders))
                    took = time.perf_counter_ns() - began
                    made.append((took, time.monotonic_ns(), store.size()))
                here.send(made)
