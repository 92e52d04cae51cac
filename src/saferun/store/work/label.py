"""A person says of a call whether it is right to stop it."""

import msgspec
from msgspec.structs import replace

from saferun.errors import StoreError
from saferun.ledger import CallEntry, DecisionEntry, LabelEntry, Mark, encode, parse
from saferun.store.transaction import Transaction
from saferun.store.versions import vouch


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """Say of the call that entry `of` states what stopping it is. Returns the entry that says so.

    `credential` is the keyed digest of the secret of the person by whom it is. Raises
    WrongSecretError where it is not theirs, and StoreError where the entry is no call that can
    be read here.
    """

    of: int
    mark: Mark
    by: str
    credential: bytes
    reason: str | None = None

    def apply(self, tx: Transaction) -> int:
        vouch(tx, self.by, self.credential)
        body = tx.body(self.of)
        made = parse(body).entry if body else None
        if not isinstance(made, DecisionEntry | CallEntry):
            raise StoreError(f"Entry {self.of} is no call that can be read here; name another.")
        entry = LabelEntry(
            run=made.run,
            of=self.of,
            tool=made.tool,
            mark=self.mark,
            by=self.by,
            reason=self.reason,
        )
        if isinstance(made, DecisionEntry):
            entry = replace(entry, agent=made.agent, user=made.user, tenant=made.tenant)
        return tx.append(encode(entry))
