"""`python -m benchmarks`: everything in one run, so that all of it met the same machine.

Exits 1 where a ledger that was written under load is not right, and 0 otherwise: figures are
to be read, and no machine that others use as well is a judge of them.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import (
    backtest,
    console,
    crowd,
    decision,
    disk,
    guarded,
    memory,
    peer,
    recording,
    replay,
    startup,
    table,
    telemetry,
    work,
)
from benchmarks.measure import Case, Figure, Round, Single, figure
from benchmarks.targets import BACKTEST_S, GROWTH_BYTES, IMPORT_MS, TARGETS, VERIFY_US
from saferun.ledger import verify
from saferun.store import Reader


class Effort(NamedTuple):
    """How much is done: rounds, calls a round by kind of case, and calls that grow memory."""

    rounds: int
    light: int
    process: int
    synced: int
    peer: int
    crowd: int
    memory: tuple[int, int]
    imports: int
    loads: int


THOROUGH = Effort(9, 20_000, 2_000, 400, 400, 5_120, (20_000, 120_000), 9, 10)
QUICK = Effort(2, 2_000, 250, 50, 50, 640, (1_000, 4_000), 2, 2)

BARE = "a bare call"


def main() -> int:
    asked = _asked()
    effort = QUICK if asked.quick else THOROUGH
    began = time.monotonic()
    # On the disk of the repository and not wherever temporary files go, which may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        results = _measured(Path(folder), effort, quick=asked.quick)
    if asked.json:
        print(json.dumps(table.document(results), ensure_ascii=False, indent=2))
    elif asked.markdown:
        print("\n".join(table.markdown(results)))
    else:
        table.printed(results)
        print(f"{time.monotonic() - began:.0f} s in all")
    return 0 if all(holds for _, holds in results.checks) else 1


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: about a minute")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON document")
    shape.add_argument("--markdown", action="store_true", help="the tables of the docs")
    return parser.parse_args()


def _measured(folder: Path, effort: Effort, *, quick: bool) -> table.Results:
    missing: list[str] = []
    if console.CHROMIUM is None:
        missing.append("the console in a browser: there is no Chromium on PATH.")
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        synced = stack.enter_context(disk.synced(folder))
        alone = stack.enter_context(guarded.cases(folder / "guarded"))
        many, shared = stack.enter_context(crowd.cases(folder / "crowd"))
        others = stack.enter_context(_peers(missing, install=not quick))
        figures = _taking_turns(
            [
                (Single(BARE, lambda: work.refund(**work.CALL)), effort.light),
                (synced, effort.synced),
                *((case, effort.light) for case in decision.cases()),
                *((case, effort.process) for each in others for case in each.deciding()),
                *((case, effort.loads) for case in decision.loading()),
                *((case, _calls(case.name, effort)) for case in alone),
                *((case, effort.process) for case in recording.cases(folder / "recording")),
                *((case, effort.peer) for each in others for case in each.guarding()),
                *((case, effort.crowd) for case in many),
            ],
            effort.rounds,
        )
        checks = [check for each in shared for check in crowd.checked(each)]
        facts = [
            _verified(shared[0].file),
            _backtested(folder),
            _imported(effort.imports),
            _grown(folder / "memory", effort.memory, judged=not quick),
            *_told(
                "telemetry",
                telemetry.facts(
                    folder / "telemetry", telemetry.QUICK if quick else telemetry.SHORT
                ),
            ),
            *_told("runs", replay.facts(folder / "runs", replay.QUICK if quick else replay.SHORT)),
            *_told(
                "the console",
                console.facts(folder / "console", console.QUICK if quick else console.SHORT),
            ),
        ]
    return table.Results(
        machine=_machine(load),
        how="a quick run" if quick else f"the median of {effort.rounds} rounds",
        lines=[table.Line(name, found, TARGETS.get(name, ())) for name, found in figures.items()],
        facts=facts,
        checks=checks,
        missing=missing,
        bare=figures[BARE].p50,
        synced=figures[synced.name].p50,
    )


def _told(what: str, facts: Iterator[table.Fact]) -> Iterator[table.Fact]:
    for fact in facts:
        _tell(f"{what}: {fact.name}")
        yield fact


def _taking_turns(cases: Sequence[tuple[Case, int]], rounds: int) -> dict[str, Figure]:
    """Every case in turn, again and again. The first round warms up and is not counted."""
    done: dict[str, list[Round]] = {case.name: [] for case, _ in cases}
    for number in range(rounds + 1):
        for case, calls in cases:
            _tell(f"round {number} of {rounds}: {case.name}")
            one = case.run(calls)
            if number:
                done[case.name].append(one)
    _tell("the rest")
    return {name: figure(made) for name, made in done.items()}


def _calls(name: str, effort: Effort) -> int:
    return effort.synced if "full" in name else effort.process


@contextlib.contextmanager
def _peers(missing: list[str], *, install: bool) -> Iterator[list[peer.Peer]]:
    """Those that can be measured here, and a line in `missing` for each that cannot."""
    with contextlib.ExitStack() as stack:
        there: list[peer.Peer] = []
        for package in peer.PACKAGES:
            try:
                ready = peer.ready(package, install=install)
            except peer.PeerError as problem:
                missing.append(f"{package.requirement}: {problem}.")
            else:
                stack.callback(ready.close)
                there.append(ready)
        yield there


def _verified(file: Path) -> table.Fact:
    gc.collect()
    with Reader(file) as reader:
        began = time.perf_counter()
        entries = verify(reader.rows(), reader.head(), blobs=reader.blob).entries
        each = (time.perf_counter() - began) * 1e6 / entries
    return table.Fact(
        "verifying a ledger",
        each,
        f"{each:.1f} µs an entry, over {entries:,}",
        f"≤ {VERIFY_US:.0f}",
        each <= VERIFY_US,
    )


def _backtested(folder: Path) -> table.Fact:
    gc.collect()
    taken = backtest.backtested(folder)
    return table.Fact(
        "backtesting a trace",
        taken,
        f"{taken:.2f} s for {backtest.CALLS:,} calls",
        f"≤ {BACKTEST_S:.0f} s",
        taken <= BACKTEST_S,
    )


def _imported(times: int) -> table.Fact:
    taken = startup.imported(times)
    return table.Fact(
        "import saferun", taken, f"{taken:.0f} ms", f"≤ {IMPORT_MS:.0f}", taken <= IMPORT_MS
    )


def _grown(folder: Path, calls: tuple[int, int], *, judged: bool) -> table.Fact:
    grown = memory.grown(folder, *calls)
    return table.Fact(
        "memory",
        grown.each,
        f"{grown.size / 2**20:.0f} MiB after {grown.early:,} calls, and {grown.each:+.1f} bytes "
        f"for each of the next {grown.late - grown.early:,}",
        f"≤ {GROWTH_BYTES:.0f}",
        # A few thousand calls are lost in what the allocator keeps at hand.
        grown.each <= GROWTH_BYTES if judged else None,
    )


def _machine(load: float) -> dict[str, str]:
    return {
        "cores": f"{os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": f"SQLite {sqlite3.sqlite_version}",
        # What others had the machine do just before: the caveat of every figure below it.
        "load": f"load {load:.1f}",
    }


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="" if what != "the rest" else "\r\033[K", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
