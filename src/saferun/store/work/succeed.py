"""A ledger's key hands over to the next, or the ledger goes on under another name."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from saferun.approval import State
from saferun.errors import StoreError
from saferun.ledger import ApprovalEntry, KeyEntry, RestartEntry, encode
from saferun.store.signing import Ledger, named
from saferun.store.transaction import Transaction
from saferun.store.versions import vouch
from saferun.store.work.ask import move
from saferun.store.work.recover import Recover

_VOID: dict[str, State] = {"pending": "cancelled", "approved": "stale"}
"""What becomes of a request that was open when the end of the ledger was lost."""


class Rotate(msgspec.Struct, frozen=True, kw_only=True):
    """Have another key sign from the next entry on. Returns the number of the entry that says so.

    `before` is what the ledger said when the entry was prepared. Raises StoreError where that is
    so no more, and WrongSecretError where the secret is not the person's.
    """

    entry: KeyEntry
    credential: bytes
    before: Ledger

    def apply(self, tx: Transaction) -> int:
        vouch(tx, self.entry.by, self.credential)
        _unchanged(tx, self.before)
        seq = tx.append(encode(self.entry))
        _name(tx, self.before, seq, self.entry.vkey)
        return seq


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Go on after a loss, under another name and key. Returns the number of its entry.

    What was open is void: requests to people and grants, since an answer or the end of a grant
    may be among what was lost, and calls whose process died, since nobody knows whether they
    happened. Raises as `Rotate`, and where the ledger has not `size` entries any more.
    """

    entry: RestartEntry
    credential: bytes
    before: Ledger
    size: int
    boot: str
    boots: Path

    def apply(self, tx: Transaction) -> int:
        vouch(tx, self.entry.by, self.credential)
        _unchanged(tx, self.before)
        if tx.size != self.size:
            raise StoreError("The ledger has changed meanwhile; run saferun ledger restart again.")
        seq = tx.append(encode(self.entry))
        _put(tx, [("origin", self.entry.origin)])
        _name(tx, self.before, seq, self.entry.vkey)
        for id_, state in self._open(tx):
            entry = ApprovalEntry(
                id=id_, event="stale", by=self.entry.by, reason="the end of the ledger was lost"
            )
            move(tx, id_, _VOID[state], entry)
        tx.write("DELETE FROM permit")
        if self.boots.exists():
            Recover(self.boot, self.boots).apply(tx)
        return seq

    def _open(self, tx: Transaction) -> list[tuple[str, str]]:
        rows = tx.rows("SELECT id, state FROM approval WHERE state IN ('pending', 'approved')")
        return msgspec.convert(rows, list[tuple[str, str]])


def _unchanged(tx: Transaction, before: Ledger) -> None:
    known = dict(msgspec.convert(tx.rows("SELECT name, value FROM meta"), list[tuple[str, str]]))
    # A ledger from before format 4 does not say its keys yet.
    said = dict(named(before.vkeys)) if before.vkeys else {}
    if known.get("origin") != before.origin or known.get("vkeys", said.get("vkeys")) != said.get(
        "vkeys"
    ):
        raise StoreError("Another key has taken over meanwhile; look at saferun ledger vkey --all.")


def _name(tx: Transaction, before: Ledger, seq: int, vkey: str) -> None:
    _put(tx, named((*before.vkeys, (seq, vkey))))


def _put(tx: Transaction, rows: Sequence[tuple[str, str]]) -> None:
    for name, value in rows:
        tx.write(
            "INSERT INTO meta VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            *(name, value),
        )
