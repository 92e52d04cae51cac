"""`python -m benchmarks.search`: searching a ledger of a million entries.

Makes a store with that many entries, has them indexed, and asks it what people ask.
"""

import argparse
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from saferun.call import PolicyRef, Reason
from saferun.console.stretches import STRETCHES
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
from saferun.store import Reader, Store
from saferun.store.activity import Activity, Stretch, activity, latest
from saferun.store.hits import hits
from saferun.store.index import Index, Query

TARGET_MS = 200
START = 1_763_942_400_000_000
STEP = 60_000
"""Microseconds between two entries: a million of them are the calls of 17 hours."""

AGENTS = [f"agent-{number}" for number in range(40)]
TOOLS = ["refund", "lookup_order", "send_mail", "search_docs", "delete_user", "pay"]
SPOKEN = "the order of was shipped late and customer asks for money back because it broke"
WORDS = SPOKEN.split()
POLICY = PolicyRef(name="production", version="a" * 64)
MOST = 20
RULES = 100


def queries(size: int) -> dict[str, tuple[Query, bool]]:
    """What is asked, and whether the newest come first."""
    middle = START + size // 2 * STEP
    hour = 3_600_000_000
    return {
        "the newest entries": (Query(), True),
        "one agent": (Query(facets={"agent": ("agent-7",)}), True),
        "one run": (Query(facets={"run": (f"run-{size // 40}",)}), True),
        "denied calls of one user": (
            Query(facets={"user": ("user-77",), "verdict": ("deny",)}),
            True,
        ),
        "one agent, one tool, failed, oldest first": (
            Query(facets={"agent": ("agent-3",), "tool": ("pay",), "status": ("error",)}),
            False,
        ),
        "an hour in the middle, denied": (
            Query(facets={"verdict": ("deny",)}, since=middle, until=middle + hour),
            True,
        ),
        "two common facets that never meet": (
            Query(facets={"kind": ("outcome",), "rule": ("big-refund",)}),
            True,
        ),
        "a rare word": (Query(text="A-4711"), True),
        "a common word": (Query(text="customer"), True),
        "a phrase and an agent": (
            Query(text='"money back"', facets={"agent": ("agent-3",)}),
            True,
        ),
        "a word that is nowhere": (Query(text="zebra"), True),
        "a common word and facets that never meet it": (
            Query(text="customer", facets={"kind": ("outcome",)}),
            True,
        ),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--entries", type=int, default=1_000_000)
    asked.add_argument("--rounds", type=int, default=30)
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    # On the disk of the repository and not wherever temporary files go, which may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        file = Path(folder) / "saferun.db"
        made = _timed(lambda: filled(file, islice(_entries(), given.entries - 1)))
        with Reader(file) as reader, Index(reader) as index:
            indexed = _timed(index.build)
            again = _timed(index.build)
            found = {
                name: _asked(index, query, given.rounds, newest=newest)
                for name, (query, newest) in queries(given.entries).items()
            }
            end = START + given.entries * STEP
            found |= {
                f"how much happened in the last {name}": _counted(
                    index, latest(end, minutes, bars), given.rounds
                )
                for name, (_, _, minutes, bars) in STRETCHES.items()
            }
            found[f"what {RULES} rules have done"] = _spoken(index, given.rounds)
        # Closed by now, so that nothing of them is left in their logs.
        sizes = (file.stat().st_size, file.with_name("saferun.db.index").stat().st_size)
    if given.json:
        document = {"entries": given.entries, "indexed_s": indexed, "queries": found}
        print(json.dumps(document, indent=2))
        return
    console = Console(width=100)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "hits", "p50 ms", "p99 ms", f"under {TARGET_MS} ms"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (many, p50, p99) in found.items():
        mark = "✓" if p99 < TARGET_MS else "✕"
        table.add_row(name, f"{many}", f"{p50:.2f}", f"{p99:.2f}", mark)
    console.print(table)
    console.print(
        f"{given.entries:,} entries, {sizes[0] / 1e6:,.0f} MB, written in {made:.0f} s; indexed in "
        f"{indexed:.1f} s ({indexed / given.entries * 1e6:.1f} µs an entry), "
        f"{sizes[1] / 1e6:,.0f} MB; nothing new to index: {again * 1e3:.2f} ms",
        highlight=False,
    )


def _asked(index: Index, query: Query, rounds: int, *, newest: bool) -> tuple[int, float, float]:
    """How many hits there are on a page, and what it took to have them, in milliseconds."""
    took = []
    for _ in range(rounds):
        hits: list[object] = []
        took.append(1e3 * _timed(lambda hits=hits: hits.extend(_page(index, query, newest=newest))))
    took.sort()
    return len(hits), statistics.median(took), took[min(len(took) - 1, round(0.99 * len(took)))]


def _counted(index: Index, stretch: Stretch, rounds: int) -> tuple[int, float, float]:
    """How many calls there were, and what it took to count all that an overview has."""
    took = []
    for _ in range(rounds):
        found: list[Activity] = []
        took.append(1e3 * _timed(lambda found=found: found.append(activity(index, stretch, 8))))
    took.sort()
    calls = sum(found[0].counts["called"])
    return calls, statistics.median(took), took[min(len(took) - 1, round(0.99 * len(took)))]


def _spoken(index: Index, rounds: int) -> tuple[int, float, float]:
    """How often the rules of a policy have spoken, each as often as the one that there is."""
    rules = ["big-refund"] * RULES
    took = sorted(1e3 * _timed(lambda: hits(index, POLICY.name, rules)) for _ in range(rounds))
    counted = hits(index, POLICY.name, rules)["big-refund"].all
    return counted, statistics.median(took), took[min(len(took) - 1, round(0.99 * len(took)))]


def _page(index: Index, query: Query, *, newest: bool) -> Iterator[object]:
    for hit, _ in zip(index.find(query, newest=newest), range(MOST), strict=False):
        yield hit


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def filled(file: Path, entries: Iterable[AnyEntry]) -> None:
    """A store with these entries, put there at once: the hot path is measured elsewhere."""
    Store(f"sqlite:///{file}", durability="process").close()
    frontier = Frontier()
    own = stamp("host-1", "0123456789abcdef")
    connection = sqlite3.connect(file)
    [(body,)] = connection.execute("SELECT body FROM entry WHERE seq = 0").fetchall()
    frontier.append(leaf_hash(body))

    def rows() -> Iterator[tuple[int, bytes, bytes]]:
        for seq, entry in enumerate(entries, 1):
            body = seal(seq, START + seq * STEP, encode(entry), own)
            leaf = leaf_hash(body)
            frontier.append(leaf)
            yield seq, body, leaf

    with connection:
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows())
        connection.execute(
            "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
            (frontier.size, START + frontier.size * STEP, frontier.encode()),
        )
    connection.close()


def _entries() -> Iterator[AnyEntry]:
    """Runs of ten calls with a model turn before each, for ever."""
    draw = random.Random(17)
    seq, number = 1, 0
    while True:
        number += 1
        of = {"run": f"run-{number}", "agent": draw.choice(AGENTS), "user": f"user-{number % 5000}"}
        yield RunEntry(
            event="start", run=of["run"], root=of["run"], agent=of["agent"], user={"id": of["user"]}
        )
        seq += 1
        for _ in range(10):
            yield ModelEntry(**of, output=" ".join(draw.choices(WORDS, k=20)), cost_usd=0.004)
            denied = draw.random() < 0.1
            tool = draw.choice(TOOLS)
            reason = Reason(source="rule", id="big-refund", effect="deny", message="Ask finance.")
            yield DecisionEntry(
                **of,
                tool=tool,
                args={"order": f"A-{draw.randrange(100_000)}", "note": draw.choice(WORDS)},
                digest="0" * 32,
                verdict="deny" if denied else "allow",
                policy=POLICY,
                reasons=(reason,) if denied else (),
            )
            seq += 2
            if not denied:
                failed = draw.random() < 0.02
                yield OutcomeEntry(
                    **of,
                    of=seq - 1,
                    tool=tool,
                    policy=POLICY,
                    status="error" if failed else "ok",
                    error="TimeoutError: no answer" if failed else None,
                    result=None if failed else {"done": True, "id": f"R-{draw.randrange(10**6)}"},
                )
                seq += 1


if __name__ == "__main__":
    main()
