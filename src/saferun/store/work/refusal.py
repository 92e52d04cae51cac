"""What somebody tried that was no answer at all: noted in the ledger, and not without end."""

import msgspec

from saferun.ledger import ApprovalEntry, encode
from saferun.store.transaction import Transaction

MOST = 20
"""Entries a minute for each channel. Anybody can try anything, as often as they like, and the
ledger is kept for good."""

_MINUTE = 60_000_000
_KEPT = 7 * 86_400_000_000
"""Microseconds that a count is kept for whoever is refused next, to say it."""


class Note(msgspec.Struct, frozen=True):
    """Append what was refused, or count it where that has been often of late.

    How many were only counted is an entry as well, before the next one that is told.
    """

    entry: ApprovalEntry

    def apply(self, tx: Transaction) -> None:
        channel = f"refused {self.entry.channel}"
        row = tx.read("SELECT id FROM callback WHERE channel = ?", channel)
        began, count = map(int, str(row[0]).split()) if row is not None else (0, 0)
        if not began <= tx.now < began + _MINUTE:
            if count > MOST:
                more = f"{count - MOST:,} more within a minute, which are only counted"
                tx.append(encode(msgspec.structs.replace(self.entry, by=None, why=more)))
            began, count = tx.now, 0
        count += 1
        tx.write("DELETE FROM callback WHERE channel = ?", channel)
        tx.write(
            "INSERT INTO callback VALUES (?, ?, ?)", channel, f"{began} {count}", tx.now + _KEPT
        )
        if count <= MOST:
            tx.append(encode(self.entry))
