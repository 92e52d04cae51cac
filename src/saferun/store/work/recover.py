"""Calls whose process died before it could settle them."""

from pathlib import Path
from typing import TypeAlias

import msgspec

from saferun.ledger import DecisionEntry, RecoveryEntry, RunEntry, encode, parse
from saferun.store.locks import buried, bury_the_rest
from saferun.store.transaction import NOBODY, Transaction
from saferun.store.work.settle import Lost, close

_Left: TypeAlias = tuple[int, bytes | None, str | None, bytes | None]


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
        open_ = "SELECT seq, call, approval, held FROM head WHERE seq >= 0 AND boot = ?"
        left = msgspec.convert(tx.rows(open_, owner), list[_Left])
        for of, key, approval, held in left:
            made = parse(tx.body(of))
            decision = made.entry
            assert isinstance(decision, DecisionEntry)
            entry = RecoveryEntry(
                of=of,
                run=decision.run,
                agent=decision.agent,
                user=decision.user,
                tenant=decision.tenant,
                tool=decision.tool,
                status="unknown",
                owner=owner,
            )
            seq = tx.append(encode(entry))
            tx.settled(of)
            close(tx, "unknown", seq, key, approval)
            Lost(of, seq, made.time, decision.tool, key, approval, held).write(tx)
            if decision.run is not None:
                root = _root(tx, decision.run)
                if tx.follower(root) is not None:
                    # Whoever goes on with the run reads of it, this process too.
                    tx.follow(root, NOBODY)
        return len(left)


def _root(tx: Transaction, run: str) -> str:
    """The run at the top of a run's family."""
    row = tx.read("SELECT seq FROM run WHERE run_id = ?", run)
    body = b"" if row is None else tx.body(row[0])
    if not body:
        # Archived, or begun by nobody. A look through all children, which is rare and right.
        above = tx.read("SELECT root FROM child WHERE run_id = ?", run)
        return run if above is None else str(above[0])
    entry = parse(body).entry
    return (entry.root or run) if isinstance(entry, RunEntry) else run
