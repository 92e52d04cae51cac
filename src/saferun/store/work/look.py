"""Looks at what is there; nothing is written."""

import msgspec

from saferun.call import Past
from saferun.store.transaction import Transaction


class PastOf(msgspec.Struct, frozen=True):
    """What a run and its children have done so far, and the time that it is now."""

    root: str

    def apply(self, tx: Transaction) -> tuple[int, Past]:
        return tx.now, tx.past(self.root)
