"""`python -m benchmarks.incident`: a run of ten thousand frames, packed, verified and opened.

The store holds two such runs, their entries one between the other, so that half of the ledger is
left out between the entries of the file: each has a proof of its own to carry.
"""

import argparse
import functools
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.replay import SPOKEN, TOOLS
from saferun.audience import AUDIENCES, Audience, Showing
from saferun.call import PolicyRef
from saferun.incident import Outgoing, examine, opened, pack
from saferun.ledger import (
    AnyEntry,
    DecisionEntry,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    Verifier,
    encode,
)
from saferun.replay import Playback
from saferun.store import Append, Reader, Store
from saferun.store.index import Index

FRAMES = 10_000
RESULT = 9_000
"""Bytes of a tool's result: ten thousand frames, every second a call, come to 50 MB of JSON."""

TARGETS = {"pack": 1_500.0, "pack for full": 1_500.0, "verify": 1_000.0}
"""Milliseconds, from what the product promises."""


class Took(NamedTuple):
    """Milliseconds by the clock, and of the processor: what it takes where nobody else is at it."""

    clock: float
    processor: float


def _run(run: str, frames: int, choice: random.Random, first: int) -> list[AnyEntry]:
    """A model turn and a call by turns. `first` is the number of its first entry, two apart."""
    who = {"run": run, "agent": "support", "user": "maria"}
    policy = PolicyRef(name="production", version="a" * 64)
    entries: list[AnyEntry] = [RunEntry(event="start", run=run, root=run, agent="support")]
    for number in range(frames // 2):
        entries.append(ModelEntry(output=f"{SPOKEN} {number}", model="small", **who))
        args = {"order_id": f"A-{choice.randrange(10**6)}", "amount": choice.randrange(10**5)}
        of = first + 2 * len(entries)
        entries.append(
            DecisionEntry(
                tool=choice.choice(TOOLS),
                args=args,
                digest=choice.randbytes(16).hex(),
                verdict="allow",
                policy=policy,
                **who,
            )
        )
        said = {"rows": [{"id": choice.randrange(10**9), "text": SPOKEN} for _ in range(85)]}
        entries.append(OutcomeEntry(of=of, status="ok", result=said, latency=1_000, **who))
    return entries


def _store(folder: Path, frames: int) -> Path:
    choice = random.Random(7)
    path = folder / "saferun.db"
    store = Store(f"sqlite:///{path}", durability="process")
    one, other = (_run(name, frames, choice, at) for at, name in ((1, "r-one"), (2, "r-other")))
    mixed = [encode(each) for pair in zip(one, other, strict=True) for each in pair]
    for at in range(0, len(mixed), 500):
        store.commit(Append(entries=mixed[at : at + 500], boot=store.boot))
    store.close()
    return path


def _best(times: int, act: Callable[[], object]) -> Took:
    took = []
    for _ in range(times):
        clock, processor = time.perf_counter(), time.process_time()
        act()
        took.append((time.perf_counter() - clock, time.process_time() - processor))
    return Took(*(min(each) * 1e3 for each in zip(*took, strict=True)))


def measure(folder: Path, frames: int, times: int) -> tuple[dict[str, Took], dict[str, int]]:
    """What each took, the best of some; and sizes."""
    path, file = _store(folder, frames), folder / "one.saferun"
    with Reader(path) as reader, Index(reader) as index:
        index.build()
        signer = reader.signer()
        assert signer is not None
        key = Verifier(signer.vkey())
        pack(index, "r-one", file, signer=signer)
        found = {"pack": _best(times, lambda: pack(index, "r-one", file, signer=signer))}

        def redacted(name: str) -> None:
            audience = Audience(name=name, parts=AUDIENCES[name])
            out = Outgoing(Showing(audience, b"salt"), reader.blob)
            pack(index, "r-one", file, signer=signer, redact=out)

        for name in ("public", "team", "full"):
            found[f"pack for {name}"] = _best(times, functools.partial(redacted, name))
    found["verify"] = _best(times, lambda: examine(file, [key]))

    def look() -> None:
        with opened(file) as unpacked, Reader(unpacked.path) as reader, Index(reader) as index:
            index.build()
            Playback(index, "r-one").frame(frames // 2)

    def unpack() -> None:
        with opened(file):
            pass

    found["unpack to a store"] = _best(times, unpack)
    found["unpack, index, show a frame"] = _best(1, look)
    incident = examine(file)
    sizes = {each.name: each.bytes for each in incident.manifest.parts}
    return found, {
        "entries": incident.manifest.entries,
        "bytes of content": sum(sizes.values()),
        "bytes of proofs": sizes["proof.bin"],
        "bytes of the file": file.stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, sizes = measure(Path(folder), given.frames, given.times)
    if given.json:
        print(json.dumps({**{name: took._asdict() for name, took in found.items()}, **sizes}))
        return
    table = Table("", "by the clock", "of the processor", "at most", box=box.SIMPLE)
    for name, took in found.items():
        most = f"{TARGETS[name]:,.0f} ms" if name in TARGETS else ""
        table.add_row(name, *(f"{each:,.0f} ms" for each in took), most)
    for name, size in sizes.items():
        table.add_row(name, f"{size:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
