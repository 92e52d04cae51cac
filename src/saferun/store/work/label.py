"""A person says of a call whether it is right to stop it."""

import msgspec
from msgspec.structs import replace

from saferun.errors import StoreError
from saferun.ledger import CallEntry, DecisionEntry, LabelEntry, Mark, encode, parse
from saferun.store.transaction import Transaction
from saferun.store.versions import vouch


class NoCallError(StoreError):
    """What was named is no call, or none that can be read here."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """Say of the call that entry `of` states what stopping it is. Returns the entry that says so.

    `credential` is the keyed digest of the secret of the person by whom it is. Raises
    WrongSecretError where it is not theirs, and NoCallError where the entry is no call that can
    be read here.
    """

    of: int
    mark: Mark
    by: str
    credential: bytes
    reason: str | None = None

    def apply(self, tx: Transaction) -> int:
        vouch(tx, self.by, self.credential)
        # Whoever names an entry may name one that there is not.
        row = tx.read("SELECT body FROM entry WHERE seq = ?", self.of)
        body = None if row is None else row[0]
        made = parse(body).entry if isinstance(body, bytes) and body else None
        if not isinstance(made, DecisionEntry | CallEntry):
            raise NoCallError(f"Entry {self.of} is no call that can be read here; name another.")
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
