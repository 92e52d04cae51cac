"""Calls whose process died before it could settle them."""

from pathlib import Path

import msgspec

from saferun.ledger import DecisionEntry, RecoveryEntry, RunEntry, encode, parse
from saferun.store.locks import buried, bury_the_rest
from saferun.store.transaction import NOBODY, Transaction
from saferun.store.work.settle import close


class Recover(msgspec.Struct, frozen=True):
    """Record `unknown` for every call whose process died before it could settle.

    Never "failed": of such calls in a test of a hundred kills, most had happened.
    Returns how many there were.
    """

    boot: str
    boots: Path

    def apply(self, tx: Transaction) -> int:
        found = 0
        left = "SELECT DISTINCT boot FROM head WHERE seq >= 0 AND boot != ?"
        for (owner,) in tx.rows(left, self.boot):
            assert isinstance(owner, str)
            with buried(self.boots, owner) as dead:
                if dead:
                    found += self._close_all(tx, owner)
        bury_the_rest(self.boots)
        return found

    def _close_all(self, tx: Transaction, owner: str) -> int:
        left = tx.rows("SELECT seq, call, approval FROM head WHERE seq >= 0 AND boot = ?", owner)
        for of, key, approval in left:
            assert isinstance(of, int)
            decision = parse(tx.body(of)).entry
            assert isinstance(decision, DecisionEntry)
            entry = RecoveryEntry(
                of=of,
                run=decision.run,
                tool=decision.tool,
                status="unknown",
                owner=owner,
                boot=self.boot,
            )
            seq = tx.append(encode(entry))
            tx.settled(of)
            close(tx, "unknown", seq, key, approval)
            if decision.run is not None:
                root = _root(tx, decision.run)
                if tx.follower(root) is not None:
                    # Whoever goes on with the run reads of it, this process too.
                    tx.follow(root, NOBODY)
        return len(left)


def _root(tx: Transaction, run: str) -> str:
    """The run at the top of a run's family."""
    row = tx.read("SELECT seq FROM run WHERE run_id = ?", run)
    entry = None if row is None else parse(tx.body(row[0])).entry
    return (entry.root or run) if isinstance(entry, RunEntry) else run
