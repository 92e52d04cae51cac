"""What became of a call of which nobody knew: a person has found out, or the tool's own check."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from saferun.errors import StoreError
from saferun.ledger import DecisionEntry, OutcomeEntry, encode, parse
from saferun.store.transaction import Transaction
from saferun.store.versions import vouch
from saferun.store.work.append import Blob
from saferun.store.work.held import give_back
from saferun.store.work.settle import close

Known: TypeAlias = Literal["ok", "not_started", "error"]
"""What there is to find out: it happened, it did not, or it was tried and has failed."""

BY_CHECK = "verify"
"""Who has found out what no person has: the check that the application gave to `guard`."""


class Cleared(NamedTuple):
    """The entry that settles a call, and how many limits have got back what it counted for."""

    seq: int
    given_back: int


class FindOut(msgspec.Struct, frozen=True, kw_only=True):
    """Settle a call of which it is recorded that nobody knows how it ended. Once, by whoever.

    `result` is JSON that was redacted and bounded, None where nobody knows it. `credential` is
    the keyed digest of the person's secret; without one it is the tool's own check that speaks.

    Returns None where there is nothing to settle: it is settled already, was never unknown, or
    is no call. What never started is given back to the limits that counted it. All else keeps
    its full charge, since what it has truly cost nobody knows.

    Raises WrongSecretError where the secret is not the person's.
    """

    of: int
    status: Known
    by: str = BY_CHECK
    reason: str | None = None
    credential: bytes | None = None
    result: bytes | None = None
    blobs: Sequence[Blob] = ()

    def apply(self, tx: Transaction) -> Cleared | None:
        if self.credential is not None:
            if self.by == BY_CHECK:
                raise StoreError(f"{BY_CHECK!r} is what checks of tools settle by, and no person.")
            vouch(tx, self.by, self.credential)
        row = tx.read("SELECT at, tool, call, approval, held FROM unknown WHERE seq = ?", self.of)
        if row is None:
            return None
        at, tool, key, approval, held = msgspec.convert(row, _Row)
        seq = tx.append(encode(self._entry(tx, tool)))
        for blob in self.blobs:
            blob.write(tx)
        tx.write("DELETE FROM unknown WHERE seq = ?", self.of)
        close(tx, self.status, seq, key, approval)
        given = 0
        if self.status == "not_started" and held is not None:
            given = give_back(tx, held, at)
        return Cleared(seq, given)

    def _entry(self, tx: Transaction, tool: str) -> OutcomeEntry:
        entry = OutcomeEntry(
            of=self.of,
            tool=tool,
            status=self.status,
            result=None if self.result is None else msgspec.Raw(self.result),
            by=self.by,
            reason=self.reason,
            blobs={blob.hash.hex(): len(blob.data) for blob in self.blobs},
        )
        body = tx.body(self.of)
        # An archived decision is empty here; its number is what counts.
        made = parse(body).entry if body else None
        if not isinstance(made, DecisionEntry):
            return entry
        return msgspec.structs.replace(
            entry,
            run=made.run,
            agent=made.agent,
            user=made.user,
            tenant=made.tenant,
            policy=made.policy,
        )


_Row: TypeAlias = tuple[int, str, bytes | None, str | None, bytes | None]
