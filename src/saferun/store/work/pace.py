"""How often something goes out to somebody, over all processes of a store."""

import msgspec

from saferun.store.transaction import Transaction


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Which of some things may go out: at most so many of one kind within so many microseconds.

    `wanted` are the kind and the id of each. What went out before, or was to, fits once more.
    """

    wanted: tuple[tuple[str, str], ...]
    most: int
    within: int

    def apply(self, tx: Transaction) -> frozenset[tuple[str, str]]:
        tx.write("DELETE FROM callback WHERE until <= ?", tx.now)
        fits = set()
        for kind, name in self.wanted:
            known = tx.read("SELECT 1 FROM callback WHERE channel = ? AND id = ?", kind, name)
            if known is None:
                row = tx.read("SELECT count(*) FROM callback WHERE channel = ?", kind)
                if row is not None and msgspec.convert(row[0], int) >= self.most:
                    continue
                until = tx.now + self.within
                tx.write("INSERT INTO callback VALUES (?, ?, ?)", kind, name, until)
            fits.add((kind, name))
        return frozenset(fits)


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds until something may be done again; 0 where it may now, by whoever has asked.

    It may not again before `within` microseconds. With `anew`, those begin now in any case.
    """

    kind: str
    id: str
    within: int
    anew: bool = False

    def apply(self, tx: Transaction) -> int:
        row = tx.read("SELECT until FROM callback WHERE channel = ? AND id = ?", self.kind, self.id)
        if row is not None and not self.anew:
            left = msgspec.convert(row[0], int) - tx.now
            if left > 0:
                return left
        tx.write(
            "INSERT OR REPLACE INTO callback VALUES (?, ?, ?)",
            *(self.kind, self.id, tx.now + self.within),
        )
        return 0
