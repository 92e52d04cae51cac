"""The ledger at length: what an entry costs it, and what reading a million of them takes.

`python -m benchmarks.ledger [--entries N]` writes a store file of so many entries, as calls
leave them, and measures on it: the ledger's own work for each entry of a batch, a whole
verification, and a receipt for an entry anywhere in it. The rows are written straight into
the file, in large transactions: how fast a store commits is measured in `benchmarks`.
"""

import argparse
import itertools
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from saferun.call import PolicyRef
from saferun.ledger import (
    DecisionEntry,
    Frontier,
    Known,
    OutcomeEntry,
    Verifier,
    encode,
    leaf_hash,
    seal,
    stamp,
)
from saferun.ledger.receipt import open_receipt
from saferun.ledger.succession import stated
from saferun.store import Reader, Store, checkpoint
from saferun.store.checkpoints import kept_checkpoints
from saferun.store.nodes import index_tree
from saferun.store.proving import receipt
from saferun.store.verifying import verify

ENTRIES = 1_000_000
BATCH = 64
PAGE = 20_000
RECEIPTS = 200

STAMP = stamp("agent-7.internal", "b1f03c5e")
POLICY = PolicyRef(
    name="production", version="823412d1eacb67956220e532959f0104603057c88704863ca38e7cd188fda812"
)
RESULT = {
    "status": "refunded",
    "receipt": "R-" + "8" * 32,
    "lines": ["The card was credited."] * 16,
}


def decision(number: int) -> DecisionEntry:
    return DecisionEntry(
        run=f"run_{number // 40:08x}",
        agent="support",
        user="maria",
        tenant="acme",
        call=f"call_{number}",
        tool="refund",
        args={
            "order_id": f"A-{number}",
            "amount": 4000 + number % 1000,
            "currency": "EUR",
            "note": "The customer was charged twice for the same order and asks for one back. " * 4,
        },
        digest=f"{number:032x}",
        verdict="allow",
        policy=POLICY,
        key=f"{number:032x}",
        sign=f"{number:032x}",
    )


def outcome(of: int, number: int) -> OutcomeEntry:
    return OutcomeEntry(
        of=of,
        run=f"run_{number // 40:08x}",
        agent="support",
        user="maria",
        tenant="acme",
        tool="refund",
        policy=POLICY,
        status="ok",
        result=RESULT,
        latency=412_000,
        cost=12_500,
        echo=f"o{number:032x}",
    )


def work(batches: int = 200) -> float:
    """Microseconds that an entry takes in a batch: encoded, sealed, hashed, in the tree."""
    tree = Frontier()
    spent = []
    for batch in range(batches):
        made = [decision(batch * BATCH + number) for number in range(BATCH)]
        began = time.perf_counter()
        for number, entry in enumerate(made):
            body = seal(batch * BATCH + number, 1_763_942_400_000_000, encode(entry), STAMP)
            tree.append(leaf_hash(body))
        encoded = tree.encode()
        spent.append((time.perf_counter() - began) / BATCH * 1e6)
        assert encoded
    return statistics.median(spent)


def written(path: Path, entries: int) -> int:
    """A store of so many entries. Says how long an entry is, in bytes."""
    Store(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path, isolation_level=None)
    ((frontier, began),) = connection.execute("SELECT frontier, time FROM head WHERE seq = -1")
    tree = Frontier.decode(frontier)
    length = 0
    connection.execute("PRAGMA synchronous = OFF")
    numbers = itertools.count()

    def rows() -> Iterator[tuple[int, bytes, bytes]]:
        nonlocal length
        while tree.size < entries:
            number = next(numbers)
            at = tree.size
            for entry in (decision(number), outcome(at, number)):
                body = seal(tree.size, began + 500 * tree.size, encode(entry), STAMP)
                leaf = leaf_hash(body)
                row = (tree.size, body, leaf)
                tree.append(leaf)
                length += len(body)
                yield row

    every = rows()
    while page := list(itertools.islice(every, PAGE)):
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", page)
        connection.execute(
            "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
            (tree.size, began + 500 * tree.size, tree.encode()),
        )
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return length // tree.size


def verified(path: Path, processes: int | None) -> float:
    """Seconds that a whole verification takes."""
    with Reader(path) as reader:
        signer = reader.signer()
        assert signer is not None
        known = Known(
            external=tuple(kept_checkpoints(reader)),
            trusted=(Verifier(signer.vkey()),),
        )
        began = time.perf_counter()
        report = verify(reader, reader.head(), known, processes=processes)
        took = time.perf_counter() - began
    assert report.state == "verified", report.summary
    return took


def proven(path: Path) -> list[float]:
    """Milliseconds that each of some receipts takes, in no order, once the nodes are there."""
    with Reader(path) as reader:
        [*_, note] = kept_checkpoints(reader)
        signer = reader.signer()
        assert signer is not None
        verifier = Verifier(signer.vkey())
    said = stated(note)
    chosen = random.Random(7)  # the same entries each time
    spent = []
    for _ in range(RECEIPTS):
        seq = chosen.randrange(said.size)
        began = time.perf_counter()
        made = receipt(path, seq, note, said).encode()
        spent.append((time.perf_counter() - began) * 1e3)
        assert open_receipt(made, verifier).entry.seq == seq
    return sorted(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--folder", type=Path, help="where the store is written; kept there")
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = (asked.folder or Path(scratch)) / "ledger.db"
        told = measured(path, asked.entries)
    if asked.json:
        print(json.dumps(told))
        return
    for name, value, target in told:
        print(f"{name:46} {value:>14} {target:>12}")


def measured(path: Path, entries: int) -> list[tuple[str, str, str]]:
    own = work()
    length = written(path, entries)
    with Reader(path) as reader:
        signer = reader.signer()
        assert signer is not None
    checkpoint(path, signer)
    began = time.perf_counter()
    index_tree(path)
    indexed = time.perf_counter() - began
    alone, together = verified(path, 1), verified(path, 2)
    receipts = proven(path)
    return [
        (f"entries, of {length:,} bytes each", f"{entries:,}", ""),
        (f"the ledger's own work, in batches of {BATCH}", f"{own:.1f} µs", "≤ 10 µs"),
        ("the nodes of all entries, once", f"{indexed:.1f} s", ""),
        ("verification by one process", f"{alone:.1f} s", ""),
        ("verification by two processes", f"{together:.1f} s", "≤ 10 s"),
        ("a receipt, p50", f"{statistics.median(receipts):.1f} ms", "≤ 20 ms"),
        ("a receipt, p99", f"{receipts[int(len(receipts) * 0.99)]:.1f} ms", ""),
    ]


if __name__ == "__main__":
    main()
