"""What makes the index: entries are taken up in their order, a page in one transaction."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence

from saferun.ledger import Entry, Frontier, leaf_hash
from saferun.store import postings, sqlite
from saferun.store.facets import DID, exact, facets, words
from saferun.store.index.columns import (
    eight_bytes,
    fours_in,
    fours_of,
    is_leaf,
    leaf_or_nothing,
    times_in,
)
from saferun.store.index.entry import claim, intact, verdict
from saferun.store.index.file import State
from saferun.store.postings import CHUNK
from saferun.store.reading import Reader
from saferun.store.synopsis import Synopses, run_of

MINUTE = 60_000_000
"""Microseconds."""

_VERDICTS = 100_000
"""Decisions whose verdict is kept at hand for their outcomes; any other is read again."""

LATE = ("late", "")
"""What settles a decision that could not be read, since it lay in an archive."""

_TERMS = 50_000
"""Values of facets whose number is kept at hand while building."""


class Builder:
    """Takes up entries into an index, page by page."""

    def __init__(self, connection: sqlite3.Connection, reader: Reader, state: State) -> None:
        self._connection = connection
        self._reader = reader
        self._state = state
        self._frontier = Frontier.decode(state.frontier)
        self._archived = reader.archived()
        self._synopses = Synopses(connection)
        self._verdicts: dict[int, str | None] = {}
        self._terms: dict[tuple[str, str], int] = {}
        self._whose: dict[int, int] = {}

    def page(self, rows: Sequence[tuple[int, object, object]]) -> State:
        """Take up what comes next."""
        for _, _, leaf in rows:
            self._frontier.append(leaf if is_leaf(leaf) else leaf_hash(b""))
        with sqlite.transaction(self._connection):
            times = self._take_up(rows)
            for some in _together(rows):
                each = [times.get(seq, 0) for seq, _, _ in some]
                self._span(some, each, self._away(some, times), self._whose)
            away = self._away(rows, times)
            self._write(self._stated(rows, len(rows) - len(times), away))
        return self._state

    def returned(self, progress: Callable[[int], None]) -> State:
        """Take up what lay in an archive, as far as the archive at hand has it."""
        archive = self._reader.archive
        if archive is None or not self._state.away:
            return self._state
        lacking = self._connection.execute(
            "SELECT first, size, away, times FROM span WHERE away > 0 ORDER BY first"
        ).fetchall()
        for first, size, away, times in lacking:
            if archive.overlaps(first, first + size):
                self._again(first, size, away, times_in(times))
                progress(first + size)
        return self._state

    def _again(self, first: int, size: int, away: int, before: Sequence[int]) -> None:
        rows = list(self._reader.rows(first + size, after=first - 1))
        [(whose,)] = self._connection.execute("SELECT whose FROM span WHERE first = ?", (first,))
        runs = {row[0]: run for row, run in zip(rows, fours_in(whose), strict=False)}
        known = {row[0]: time for row, time in zip(rows, before, strict=False)}
        unknown = [row for row in rows if not known.get(row[0])]
        with sqlite.transaction(self._connection):
            times = self._take_up(unknown)
            if not times:
                return
            left = self._away(unknown, times)
            all_times = [times.get(seq) or known.get(seq, 0) for seq, _, _ in rows]
            self._span(rows, all_times, left, runs | self._whose)
            self._settle_late()
            state = self._state
            self._write(
                state._replace(missing=state.missing - len(times), away=state.away - away + left)
            )

    def _take_up(self, rows: Sequence[tuple[int, object, object]]) -> dict[int, int]:
        """Have those found that can be read. Their numbers, each with when it was written."""
        terms: dict[tuple[str, str], list[int]] = {}
        texts: list[tuple[int, str]] = []
        times: dict[int, int] = {}
        spent: dict[int, int] = {}
        self._whose = {}
        for seq, body, leaf in rows:
            entry = intact(seq, body, leaf)
            if entry is None:
                # Of a changed entry nothing is believed. But the run that it names is where whoever
                # reads that run has to be told that something was changed.
                claimed = claim(body)
                if claimed is not None:
                    terms.setdefault(("run", exact(claimed)), []).append(seq)
                continue
            did = self._synopses.take(entry)
            run = run_of(entry)
            if run is not None:
                self._whose[seq] = self._id(("run", exact(run)))
            if did.cost:
                minute = entry.time // MINUTE
                # As far as SQLite takes a sum, as it is bounded there.
                total = spent.get(minute, 0) + did.cost
                spent[minute] = min(max(total, -1 << 62), 1 << 62)
            times[seq] = entry.time
            said = self._verdict(entry)
            late = {LATE} if said is None and "of" in entry.fields else set()
            counted = {(DID, each) for each in did.traits}
            for term in facets(entry, said) | late | counted:
                terms.setdefault(term, []).append(seq)
            texts.append((seq, words(entry)))
        for term, seqs in terms.items():
            self._post(term, seqs)
        self._synopses.write()
        self._connection.executemany(
            "INSERT INTO spent VALUES (?, ?) ON CONFLICT (minute) DO UPDATE SET"
            " cost = min(max(cost + excluded.cost, -1 << 62), 1 << 62)",
            spent.items(),
        )
        self._connection.executemany("INSERT INTO said (rowid, text) VALUES (?, ?)", texts)
        return times

    def _away(self, rows: Sequence[tuple[int, object, object]], times: Mapping[int, int]) -> int:
        """How many of some entries lie in an archive and could not be read."""
        return sum(
            body == b"" and seq < self._archived and seq not in times for seq, body, _ in rows
        )

    def _span(
        self,
        rows: Sequence[tuple[int, object, object]],
        times: Sequence[int],
        away: int,
        runs: Mapping[int, int],
    ) -> None:
        first, size = rows[0][0], rows[-1][0] + 1 - rows[0][0]
        known = [time for time in times if time]
        # Nothing is looked for where nothing is known.
        earliest, latest = min(known, default=1 << 62), max(known, default=-1)
        each = b"".join(map(eight_bytes, times))
        leaves = b"".join(leaf[:8] if is_leaf(leaf) else bytes(8) for _, _, leaf in rows)
        whose = fours_of([runs.get(seq, 0) for seq, _, _ in rows])
        self._connection.execute(
            "REPLACE INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (first, size, earliest, latest, each, away, leaves, whose),
        )

    def _settle_late(self) -> None:
        """Have outcomes found by the verdict of a decision that could not be read before them."""
        late = self._connection.execute(
            "SELECT chunk, held FROM term JOIN posting ON term = id WHERE facet = ? AND value = ?",
            LATE,
        ).fetchall()
        for chunk, held in late:
            for place in postings.places(postings.bits(held), newest=False):
                seq = chunk * CHUNK + place
                row = self._reader.row(seq)
                entry = None if row is None else intact(seq, *row)
                said = None if entry is None else verdict(self._reader, entry)
                if said is not None:
                    self._post(("verdict", exact(said)), [seq])

    def end(self, size: int, frontier: bytes) -> State:
        """Note whether what was taken up is what the ledger's head counts."""
        fits = (self._frontier.size, self._frontier.encode()) == (size, frontier)
        if fits != self._state.fits:
            with sqlite.transaction(self._connection):
                self._write(self._state._replace(fits=fits))
        return self._state

    def _stated(self, rows: Sequence[tuple[int, object, object]], missing: int, away: int) -> State:
        return self._state._replace(
            size=rows[-1][0] + 1,
            first=self._state.first if self._state.size else leaf_or_nothing(rows[0][2]),
            last=leaf_or_nothing(rows[-1][2]),
            frontier=self._frontier.encode(),
            fits=False,
            missing=self._state.missing + missing,
            away=self._state.away + away,
        )

    def _write(self, state: State) -> None:
        self._connection.execute("REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?)", state)
        self._state = state

    def _verdict(self, entry: Entry) -> str | None:
        of = entry.fields.get("of")
        if isinstance(of, int) and of in self._verdicts:
            return self._verdicts[of]
        said = verdict(self._reader, entry)
        if len(self._verdicts) >= _VERDICTS:
            self._verdicts.clear()
        self._verdicts[entry.seq] = said
        return said

    def _post(self, term: tuple[str, str], seqs: Sequence[int]) -> None:
        own = self._id(term)
        chunks: dict[int, list[int]] = {}
        for seq in seqs:
            chunks.setdefault(seq // CHUNK, []).append(seq % CHUNK)
        for chunk, some in chunks.items():
            row = self._connection.execute(
                "SELECT held FROM posting WHERE term = ? AND chunk = ?", (own, chunk)
            ).fetchone()
            self._connection.execute(
                "REPLACE INTO posting VALUES (?, ?, ?)",
                (own, chunk, postings.added(b"" if row is None else row[0], some)),
            )

    def _id(self, term: tuple[str, str]) -> int:
        own = self._terms.get(term)
        if own is None:
            if len(self._terms) >= _TERMS:
                self._terms.clear()
            self._connection.execute(
                "INSERT OR IGNORE INTO term (facet, value) VALUES (?, ?)", term
            )
            [own] = self._connection.execute(
                "SELECT id FROM term WHERE facet = ? AND value = ?", term
            ).fetchone()
            self._terms[term] = own
        return own


def _together(
    rows: Sequence[tuple[int, object, object]],
) -> Iterator[Sequence[tuple[int, object, object]]]:
    """Entries by what lies side by side: of an excerpt, or a ledger with holes, not all do."""
    first = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at][0] != rows[at - 1][0] + 1:
            yield rows[first:at]
            first = at
