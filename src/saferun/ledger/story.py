"""The story that entries tell: which decisions still wait for an outcome."""

from collections.abc import Callable

from saferun.ledger.kind import AnyEntry, DecisionEntry, LedgerEntry, OutcomeEntry, RecoveryEntry
from saferun.ledger.report import Wrong


class Story:
    """Which decisions wait for an outcome.

    `open` ones have neither outcome nor recovery. `unknown` ones are known to be unknown,
    and an outcome may still come when somebody finds out. Of an `unread` entry nobody knows
    whether it was a decision that waits, and so anything may be said of it.
    """

    def __init__(self, unread: Callable[[int], bool]) -> None:
        self.open: set[int] = set()
        self.unknown: set[int] = set()
        self._unread = unread

    def hear(self, seq: int, entry: AnyEntry) -> None:
        if isinstance(entry, DecisionEntry):
            if entry.verdict == "allow" or entry.mode != "enforce":
                self.open.add(seq)
        elif isinstance(entry, OutcomeEntry | RecoveryEntry):
            if not self.settle(entry.of, unknown=entry.status == "unknown"):
                raise Wrong(
                    seq,
                    f"Entry {seq} settles entry {entry.of}, which is not a decision that waits "
                    "for an outcome: there is none, or it is settled already.",
                )
        elif isinstance(entry, LedgerEntry):
            raise Wrong(seq, f"Entry {seq} begins a ledger, which only entry 0 may.")

    def settle(self, of: int, *, unknown: bool) -> bool:
        """Say what came of a decision. False where that one does not wait for it."""
        if of in self.open:
            self.open.remove(of)
            if unknown:
                self.unknown.add(of)
        elif of in self.unknown and not unknown:
            self.unknown.remove(of)
        else:
            return self._unread(of)
        return True
