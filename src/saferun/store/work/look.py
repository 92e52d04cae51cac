"""Looks at what is there; nothing is written."""

import msgspec

from saferun.approval import State
from saferun.call import Past
from saferun.store.transaction import Transaction


class Look(msgspec.Struct, frozen=True):
    """The state that a request is in now. Writes nothing."""

    id: str

    def apply(self, tx: Transaction) -> State:
        row = tx.read("SELECT state FROM approval WHERE id = ?", self.id)
        return "cancelled" if row is None else msgspec.convert(row[0], State)


class PastOf(msgspec.Struct, frozen=True):
    """What a run and its children have done so far, and the time that it is now."""

    root: str

    def apply(self, tx: Transaction) -> tuple[int, Past]:
        return tx.now, tx.past(self.root)
