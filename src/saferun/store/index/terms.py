"""What the index has under each value, and by time: sets of numbers, and no entry is read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from saferun.store import postings
from saferun.store.facets import Facet, exact
from saferun.store.index.columns import times_in
from saferun.store.index.file import File
from saferun.store.postings import CHUNK


class Terms(File):
    """The file of an index as what it has under its values. It has to be open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._leaves: tuple[int, int, bytes] | None = None

    def marks(
        self,
        terms: Sequence[Sequence[tuple[str, str]]],
        first: int,
        size: int,
        *,
        newest: bool = False,
    ) -> Iterator[tuple[int, int]]:
        """Chunk by chunk, the entries from `first` up to, and without, `size` that have each term.

        Each chunk that has any comes as its first number and a set, as `postings` has it.
        """
        ids = [self._ids(some) for some in terms]
        size = min(size, self.size)
        if not all(ids) or size <= first:
            return
        chunks = range(first // CHUNK, (size - 1) // CHUNK + 1)
        for chunk in reversed(chunks) if newest else chunks:
            base = chunk * CHUNK
            found = postings.between(max(first - base, 0), min(size - base, CHUNK))
            for some in ids:
                found &= self._having(some, chunk) if found else 0
            if found:
                yield base, found

    def sets(self, facet: str, base: int, most: int) -> list[tuple[str, bytes]]:
        """The values of a facet that entries of the chunk at `base` have, each with which do.

        They are `most` at most.
        """
        rows = self._all(
            "SELECT value, held FROM term CROSS JOIN posting ON term = id"
            " WHERE facet = ? AND chunk = ? LIMIT ?",
            *(facet, base // CHUNK, most),
        )
        return [
            (value, some)
            for value, some in rows
            if isinstance(value, str) and isinstance(some, bytes)
        ]

    def values(self, facet: Facet, most: int = 1_000) -> list[str]:
        """The values of a facet that there are, `most` of them."""
        found = self._all("SELECT value FROM term WHERE facet = ? LIMIT ?", facet, most)
        return [value for (value,) in found if isinstance(value, str)]

    def has(self, facet: Facet, value: str) -> bool:
        """Whether any entry has that value of a facet."""
        return bool(self._ids([(facet, exact(value))]))

    def held(self, facet: str, value: str) -> dict[int, bytes]:
        """Which entries have a value of a facet, chunk by chunk, as `postings` has them.

        So they are counted without one of them being read, and rest on the index alone.
        """
        found = self._all(
            "SELECT chunk, held FROM term JOIN posting ON term = id WHERE facet = ? AND value = ?",
            *(facet, exact(value)),
        )
        return {at: some for at, some in found if type(at) is int and isinstance(some, bytes)}

    def first_since(self, time: int) -> int:
        """The number of the first entry that was written at some time or later; `size` for none.

        A look at a few spans, however many there are: times never go back in a ledger.
        """
        lowest, highest = 0, self.size
        found: tuple[int, int] | None = None
        while lowest < highest:
            middle = (lowest + highest) // 2
            span = self._known_span(middle)
            if span is None or span[2] >= time:
                highest = middle if span is None else min(span[0], middle)
                found = None if span is None else span[:2]
            else:
                lowest = span[0] + span[1]
        if found is None:
            return self.size
        first, many = found
        rows = self._all("SELECT times FROM span WHERE first = ?", first)
        written = times_in(rows[0][0]) if rows else ()
        return next((first + at for at, each in enumerate(written) if each >= time), first + many)

    def _known_span(self, seq: int) -> tuple[int, int, int] | None:
        """First number, size and last time of the span of an entry, or of the next that is known.

        None where nothing is known from there on.
        """
        for row in (
            *self._all(
                "SELECT first, size, latest FROM span WHERE first <= ? ORDER BY first DESC LIMIT 1",
                seq,
            ),
            *self._all(
                "SELECT first, size, latest FROM span WHERE first > ? AND latest >= 0"
                " ORDER BY first LIMIT 1",
                seq,
            ),
        ):
            if [type(each) for each in row] == [int, int, int] and row[2] >= 0:
                first, many, latest = row
                if first + many > seq:
                    return first, many, latest
        return None

    def spent(self, since: int, until: int) -> list[tuple[int, int]]:
        """What runs have spent between two minutes since 1970, minute by minute."""
        found = "SELECT minute, cost FROM spent WHERE minute >= ? AND minute < ?"
        return [
            (minute, cost)
            for minute, cost in self._all(found, since, until)
            if type(minute) is type(cost) is int
        ]

    def leaf(self, seq: int) -> bytes | None:
        """The first eight bytes of the leaf that an entry had when it was taken up.

        Whoever changes an entry and its leaf with it leaves everything beside it as it was; this
        is what tells which entry it was. It rests on the index, and so it proves nothing.
        """
        if not 0 <= seq < self.size:
            return None
        if self._leaves is None or not self._leaves[0] <= seq < self._leaves[1]:
            rows = self._all(
                "SELECT first, size, leaves FROM span WHERE first <= ? ORDER BY first DESC LIMIT 1",
                seq,
            )
            shaped = [row for row in rows if [type(each) for each in row] == [int, int, bytes]]
            if not shaped:
                return None
            [(first, size, leaves)] = shaped
            self._leaves = (first, first + size, leaves)
        first, end, leaves = self._leaves
        found = leaves[8 * (seq - first) : 8 * (seq - first) + 8]
        return found if seq < end and len(found) == 8 and any(found) else None

    def _ids(self, terms: Iterable[tuple[str, str]]) -> list[int]:
        wanted = "SELECT id FROM term WHERE facet = ? AND value = ?"
        return [row[0] for term in terms for row in self._all(wanted, *term)]

    def _having(self, ids: Iterable[int], chunk: int) -> int:
        """The entries of a chunk that have one of some terms."""
        marks = 0
        for each in ids:
            found = self._all("SELECT held FROM posting WHERE term = ? AND chunk = ?", each, chunk)
            for (blob,) in found:
                marks |= postings.bits(blob) if isinstance(blob, bytes) else 0
        return marks

    def _saying(self, phrases: str, base: int, marks: int) -> int:
        """The entries of a chunk that have the phrases; no others are looked for than `marks`."""
        lowest, highest = (marks & -marks).bit_length() - 1, marks.bit_length() - 1
        found = self._all(
            "SELECT rowid FROM said WHERE said MATCH ? AND rowid BETWEEN ? AND ?",
            *(phrases, base + lowest, base + highest),
        )
        return postings.of([seq - base for (seq,) in found])

    def _time(self, seq: int) -> int | None:
        rows = self._all(
            "SELECT first, times FROM span WHERE first <= ? ORDER BY first DESC LIMIT 1", seq
        )
        for first, times in rows:
            if type(first) is not int or not isinstance(times, bytes):
                continue
            at = 8 * (seq - first)
            if at + 8 <= len(times):
                return int.from_bytes(times[at : at + 8], "big") or None
        return None
