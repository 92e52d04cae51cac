"""Looks at what is there; nothing is written."""

import msgspec
from msgspec.structs import replace

from saferun.call import Past
from saferun.said import joined
from saferun.store.transaction import Transaction
from saferun.store.work.append import Opening


class PastOf(msgspec.Struct, frozen=True):
    """What a run and its children have done so far, and the time that it is now.

    `opening` is how a run would begin that may not have done so yet.
    """

    root: str
    opening: Opening | None = None

    def apply(self, tx: Transaction) -> tuple[int, Past]:
        past, opening = tx.past(self.root), self.opening
        if opening is None or opening.run_id != self.root or tx.identity(self.root) is not None:
            return tx.now, past
        return tx.now, replace(past, said=joined(opening.said, past.said))
