"""`python -m benchmarks.replay`: long runs, and lists of very many.

Makes a store with two runs of ten thousand frames and a hundred thousand short ones, has it
indexed, and does what the console and the terminal do: open a run, look at one frame, jump, follow,
compare two, and list.
"""

import argparse
import gzip
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.table import Fact
from benchmarks.targets import REPLAY_MS
from saferun.call import PolicyRef, Reason
from saferun.ledger import (
    AnyEntry,
    DecisionEntry,
    Frontier,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    encode,
    leaf_hash,
    seal,
    stamp,
)
from saferun.replay import Outline, Playback, difference
from saferun.store import Reader, Store
from saferun.store.index import Index
from saferun.store.synopsis import Choice, whole

START = 1_763_942_400_000_000
STEP = 60_000
"""Microseconds between two entries."""

FEW = 10
"""Frames of a short run."""

TOOLS = ["refund", "lookup_order", "send_mail", "search_docs", "delete_user", "pay"]
SPOKEN = "the order was shipped late and customer asks for money back because it broke"
WORDS = SPOKEN.split()
POLICY = PolicyRef(name="production", version="a" * 64)


class Effort(NamedTuple):
    """Frames of a long run, short runs beside it, and how often each thing is done."""

    frames: int
    runs: int
    rounds: int


SHORT = Effort(10_000, 2_000, 10)
QUICK = Effort(1_000, 100, 3)


class Found(NamedTuple):
    """What was found: p50 and p95 in milliseconds, entries, and what was made of them."""

    took: dict[str, tuple[float, float]]
    entries: int
    indexed: float
    tree: float
    sizes: tuple[int, int]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--frames", type=int, default=10_000)
    asked.add_argument("--runs", type=int, default=100_000)
    asked.add_argument("--rounds", type=int, default=20)
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        found = measured(Path(folder), Effort(given.frames, given.runs, given.rounds))
    took, size, indexed, tree, sizes = found
    if given.json:
        told = {"entries": size, "indexed_s": indexed, "index_bytes": sizes, "ms": took}
        print(json.dumps(told, indent=2))
        return
    console = Console(width=100)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "p50 ms", "p95 ms", "target"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (p50, p95) in took.items():
        mark = "✓" if p95 <= REPLAY_MS[name] else "✕"
        table.add_row(name, f"{p50:.1f}", f"{p95:.1f}", f"≤ {REPLAY_MS[name]:,.0f} {mark}")
    console.print(table)
    console.print(
        f"{size:,} entries, {given.runs:,} runs of {FEW} frames and 2 of {given.frames:,}; "
        f"indexed in {indexed:.0f} s ({indexed / size * 1e6:.0f} µs an entry), and its tree "
        f"in {tree:.1f} s by the first frame that was looked at. The outline of a long run: "
        f"{sizes[0] / 1e3:.0f} kB of JSON, {sizes[1] / 1e3:.0f} kB packed, "
        f"{sizes[1] / given.frames:.1f} bytes a frame.",
        highlight=False,
    )


def facts(folder: Path, effort: Effort) -> Iterator[Fact]:
    """The same in a line each."""
    for name, (p50, p95) in measured(folder, effort).took.items():
        bound = REPLAY_MS[name]
        said = f"p50 {p50:.1f}, p95 {p95:.1f} ms"
        yield Fact(f"runs: {name}", p95, said, f"p95 ≤ {bound:,.0f} ms", p95 <= bound)


def measured(folder: Path, effort: Effort) -> Found:
    folder.mkdir(exist_ok=True)
    file = folder / "bench.db"
    filled(file, effort.frames, effort.runs)
    Store(f"sqlite:///{file}", durability="process").close()
    with Reader(file) as reader, Index(reader) as index:
        indexed = _timed(index.build)
        playback = Playback(index, "long-1")
        tree = _timed(lambda: playback.frame(1))
        took = {
            name: _took(work, effort.rounds) for name, work in _cases(index, effort.runs).items()
        }
        document = json.dumps(playback.outline.document(), separators=(",", ":"))
        sizes = (len(document), len(gzip.compress(document.encode())))
        return Found(took, index.size, indexed, tree, sizes)


def _cases(index: Index, runs: int) -> dict[str, Callable[[], object]]:
    playback, other = Playback(index, "long-1"), Playback(index, "long-2")
    outline = playback.outline
    draw = random.Random(5)
    middle = START + index.size // 2 * STEP
    strange = _shuffled(outline)

    def listed(**choice: object) -> Callable[[], object]:
        wanted = Choice(**choice)
        return lambda: index.runs(wanted, limit=50)

    def checked() -> None:
        for each in index.runs(Choice(), limit=50):
            whole(index.reader, each, index.frames(each.run) if each.frames <= FEW else [])

    cases = {
        "open a run": lambda: Playback(index, "long-1"),
        "open it again, nothing new": playback.refresh,
        "one frame": lambda: playback.frame(draw.randint(1, len(outline))),
        "next denied": lambda: outline.next(draw.randint(1, len(outline)), "denied"),
        "next denied, where there is none": lambda: outline.next(0, "changed"),
        "find a word": lambda: playback.find("A-4711", 0),
        "difference of two runs": lambda: difference(outline, other.outline),
        "difference of two runs that nothing joins": lambda: difference(outline, strange),
        "list: the newest": listed(),
        "list: denied, one agent": listed(traits=("denied",), agent="agent-7"),
        "list: near misses of one tool": listed(traits=("near",), tool="pay"),
        "list: none that fits": listed(traits=("stopped", "denied")),
        "list: an hour in the middle": listed(since=middle, until=middle + 3_600_000_000),
        "list: a rare word": listed(text="A-4711"),
        "list: a common word": listed(text="customer"),
        "list: the newest, held against the ledger": checked,
    }
    return {name: work for name, work in cases.items() if runs or not name.startswith("list")}


def _shuffled(outline: Outline) -> Outline:
    """The same calls in another order, and each with its like: hard to align."""
    other = Outline("shuffled")
    rows = list(outline.rows)
    random.Random(6).shuffle(rows)
    other.rows = rows
    return other


def _took(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    took = sorted(1e3 * _timed(work) for _ in range(rounds))
    return statistics.median(took), took[min(len(took) - 1, round(0.95 * len(took)))]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def filled(file: Path, frames: int, runs: int) -> None:
    """A store with those runs, put there at once: the hot path is measured elsewhere."""
    Store(f"sqlite:///{file}", durability="process", checkpoints=False).close()
    frontier = Frontier()
    own = stamp("host-1", "0123456789abcdef")
    connection = sqlite3.connect(file)
    [(body,)] = connection.execute("SELECT body FROM entry WHERE seq = 0").fetchall()
    frontier.append(leaf_hash(body))
    size = 1

    def rows() -> Iterator[tuple[int, bytes, bytes]]:
        nonlocal size
        draw = random.Random(17)
        for number in range(runs):
            for entry in _run(f"run-{number}", number, FEW, draw, lambda: size):
                yield _row(entry)
        for number in (1, 2):
            # The same calls but for a few, so that there is something to align.
            for entry in _run(f"long-{number}", 7, frames, random.Random(3), lambda: size):
                if number == 2 and isinstance(entry, DecisionEntry) and draw.random() < 0.01:
                    continue
                yield _row(entry)

    def _row(entry: AnyEntry) -> tuple[int, bytes, bytes]:
        nonlocal size
        body = seal(size, START + size * STEP, encode(entry), own)
        leaf = leaf_hash(body)
        frontier.append(leaf)
        size += 1
        return size - 1, body, leaf

    with connection:
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows())
        connection.execute(
            "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
            (size, START + size * STEP, frontier.encode()),
        )
    connection.close()


def _run(
    run: str, number: int, frames: int, draw: random.Random, at: Callable[[], int]
) -> Iterator[AnyEntry]:
    """A model turn and a call, in turn; one in ten calls is denied, one in fifty fails."""
    of = {"run": run, "agent": f"agent-{number % 40}", "user": f"user-{number % 5000}"}
    yield RunEntry(event="start", run=run, root=run, agent=of["agent"], user={"id": of["user"]})
    for _ in range(frames // 2):
        said = " ".join(draw.choices(WORDS, k=20))
        yield ModelEntry(**of, output=said, cost_usd=0.004, latency=draw.randint(1, 10**6))
        denied, tool = draw.random() < 0.1, draw.choice(TOOLS)
        args = {"order": f"A-{draw.randrange(100_000)}", "note": draw.choice(WORDS)}
        reason = Reason(source="rule", id="big-refund", effect="deny", message="Ask finance.")
        yield DecisionEntry(
            **of,
            tool=tool,
            args=args,
            digest=leaf_hash(repr((tool, args)).encode()).hex(),
            verdict="deny" if denied else "allow",
            policy=POLICY,
            reasons=(reason,) if denied else (),
        )
        if not denied:
            failed = draw.random() < 0.02
            yield OutcomeEntry(
                **of,
                of=at() - 1,
                tool=tool,
                status="error" if failed else "ok",
                error="TimeoutError: no answer" if failed else None,
                result=None if failed else {"done": True, "id": f"R-{draw.randrange(10**6)}"},
                latency=draw.randint(1, 10**6),
            )
    yield RunEntry(event="end", run=run)


if __name__ == "__main__":
    main()
