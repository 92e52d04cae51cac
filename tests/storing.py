"""Work for a store, and what its ledger looks like afterwards, as tests put them."""

from pathlib import Path
from typing import Any

from saferun.admission import Due
from saferun.call import Call
from saferun.control import Groups, Limit, charges
from saferun.ledger import DecisionEntry, OutcomeEntry, Report, encode, read, verify
from saferun.store import Admit, Reader, Settle, Store

NOON = 1_763_942_400_000_000


class Clock:
    """The time, as a test sets it, in microseconds since 1970, UTC."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


def admit(store: Store, **about: Any) -> Admit:
    entry = DecisionEntry(**{"tool": "refund", "verdict": "allow", **about.pop("entry", {})})
    return Admit(entry=entry, rest=encode(entry), boot=store.boot, **about)


def due(store: Store, call: Call, *limits: Limit, cost: int | None = None, **about: Any) -> Due:
    """What a call has to pass, its groups under the numbers that the store keeps them by."""
    counted = charges(limits, call, "test", cost, Groups(store.group))
    return Due(charges=counted, **about)


def settle(store: Store, of: int, status: str = "ok", **about: Any) -> Settle:
    rest = encode(OutcomeEntry(of=of, status=status))
    return Settle(of=of, status=status, rest=rest, boot=store.boot, **about)


def audit(file: Path) -> Report:
    """What verification finds in the store's ledger as it lies on disk."""
    with Reader(file) as reader:
        return verify(reader.rows(), reader.head(), blobs=reader.blob)


def kinds(file: Path) -> list[str]:
    with Reader(file) as reader:
        return [read(body).kind for _, body, _ in reader.rows()]
