"""The index of one store: it is brought up to the newest entry, and finds entries and runs."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, islice

from saferun.ledger import TreeError
from saferun.store import postings, sqlite
from saferun.store.facets import DENIES, DID, TURN, Facet, exact
from saferun.store.index.building import Builder
from saferun.store.index.columns import fours_in, times_in
from saferun.store.index.entry import Hit, held
from saferun.store.index.file import damage, stated
from saferun.store.index.query import Query, comparable, expression, meets
from saferun.store.index.terms import Terms
from saferun.store.locks import FileLock
from saferun.store.postings import CHUNK
from saferun.store.reading import Reader
from saferun.store.synopsis import (
    BELOW,
    Choice,
    Condition,
    Synopsis,
    Within,
    condition,
    made,
    selected,
    summed,
)

PAGE = 1_000
"""Entries that are taken up in one transaction, and so the most of one span."""

BRIEF: tuple[Facet, ...] = ("kind", "agent", "user", "run", "tool", "verdict", "status")
"""What is said of an entry whose bytes are away."""

HITS = 2_000
"""Entries that are looked through for the runs that have some words."""

MOST_ABOVE = 1_000
"""Runs that one is within, each within the next."""

_EVERY = Choice()


class Index(Terms):
    """The index of one store. Use as a context manager, and `build` it before anything is found.

    Raises StoreError where its file cannot be used.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.path.with_name(reader.path.name + ".index"))
        self.reader = reader
        self._held: dict[tuple[Facet, int], list[tuple[str, bytes]]] = {}

    # How it is made.

    def build(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Bring it up to the newest entry. Waits for whoever is building it already."""
        with sqlite.explained(self.path):
            lock = FileLock(self.path.with_name(self.path.name + ".lock"))
            try:
                lock.acquire()
                try:
                    self._build(progress)
                except (sqlite3.DatabaseError, TreeError, TypeError) as problem:
                    if not damage(problem):
                        raise
                    # Nothing is lost with it that the ledger does not have.
                    self._remove()
                    self._build(progress)
            finally:
                lock.close()

    def _build(self, progress: Callable[[int], None]) -> None:
        self._leaves = None
        connection = self._opened()
        self._state = stated(connection)
        head = self.reader.head()
        before = self._state
        if not self._knows_these(head.frontier, head.size):
            connection = self._anew()
        connection = self._taken_up(connection, head.size, head.frontier, progress)
        if before.fits and before.size and not self._state.fits:
            # What it had does not lead to what is there: some of it was changed meanwhile.
            connection = self._taken_up(self._anew(), head.size, head.frontier, progress)

    def _knows_these(self, frontier: bytes, size: int) -> bool:
        """Whether the entries that it knows seem to be those that are there."""
        state = self._state
        if state.size == 0:
            return True
        if state.size > size or (state.fits and state.size == size and state.frontier != frontier):
            return False
        ends = [self.reader.row(seq) for seq in (0, state.size - 1)]
        return [end and end[1] for end in ends] == [state.first, state.last]

    def _taken_up(
        self,
        connection: sqlite3.Connection,
        size: int,
        frontier: bytes,
        progress: Callable[[int], None],
    ) -> sqlite3.Connection:
        builder = Builder(connection, self.reader, self._state)
        self._state = builder.returned(progress)
        rows = self.reader.rows(size, after=self._state.size - 1)
        while page := list(islice(rows, PAGE)):
            self._state = builder.page(page)
            progress(self._state.size)
        self._state = builder.end(size, frontier)
        return connection

    def lacking(self, first: int) -> int | None:
        """The lowest number from `first` on that it does not know, as an archive has that entry.

        None where it knows all of them: nothing that it finds from there on is incomplete.
        """
        found = self._all(
            "SELECT first, first + size, times FROM span WHERE away > 0 AND first + size > ?"
            " ORDER BY first",
            first,
        )
        for begin, end, times in found:
            rows = self.reader.rows(end, after=begin - 1)
            for (seq, body, _), time in zip(rows, times_in(times), strict=False):
                if seq >= first and body == b"" and not time:
                    return int(seq)
        return None

    # Entries.

    def find(
        self, query: Query, *, newest: bool = True, first: int = 0, before: int | None = None
    ) -> Iterator[Hit]:
        """The entries from number `first` on that a query is met by, the newest first or last.

        Those alone that stand before number `before`, where that is said.

        Raises SearchError where the query has more words than one may have, at once.
        """
        phrases = expression(query.text)
        terms = [
            [(name, exact(value)) for value in values] for name, values in query.facets.items()
        ]
        stop = 1 << 62 if before is None else before
        return self._found(query, terms, phrases, newest=newest, within=(first, stop))

    def frames(self, run_id: str, first: int = 0) -> list[int]:
        """The numbers of a run's entries from `first` on.

        Under `""`, which is no run's id, are those at which something else than a run was
        stopped or resumed.
        """
        term = ("run", exact(run_id)) if run_id else TURN
        return list(self._named([[term]], (first, self.size), "", newest=False))

    def numbers(self, facets: Mapping[Facet, tuple[str, ...]]) -> list[int]:
        """The numbers of the entries that have a value of each facet, by the index alone."""
        terms = [[(name, exact(value)) for value in some] for name, some in facets.items()]
        return list(self._named(terms, (0, self.size), "", newest=False))

    def saying(self, run_id: str, text: str) -> list[int]:
        """The numbers of a run's entries that have some words, as `find` takes them.

        Raises SearchError where those are too many, or none.
        """
        terms = [[("run", exact(run_id))]]
        return list(self._named(terms, (0, self.size), expression(text), newest=False))

    def _found(
        self,
        query: Query,
        terms: Sequence[Sequence[tuple[str, str]]],
        phrases: str,
        *,
        newest: bool,
        within: tuple[int, int],
    ) -> Iterator[Hit]:
        lowest, size = self._within(query)
        asked = max(lowest, within[0]), min(size, within[1])
        for seq in self._named(terms, asked, phrases, newest=newest):
            hit = held(self.reader, seq)
            if hit is not None and hit.entry is None:
                hit = self._recalled(hit)
            if hit is not None and meets(hit, query, terms):
                yield hit

    def _named(
        self,
        terms: Sequence[Sequence[tuple[str, str]]],
        within: tuple[int, int],
        phrases: str,
        *,
        newest: bool,
    ) -> Iterator[int]:
        """The numbers under which the index has all of the terms and phrases."""
        for base, marks in self.marks(terms, *within, newest=newest):
            said = marks & self._saying(phrases, base, marks) if phrases else marks
            for place in postings.places(said, newest=newest):
                yield base + place

    def _within(self, query: Query) -> tuple[int, int]:
        """From where to where entries may lie that were written in the time that is asked for."""
        if query.since is None and query.until is None:
            return 0, self.size
        [(first, size)] = self._all(
            "SELECT min(first), max(first + size) FROM span WHERE latest >= ? AND earliest < ?",
            comparable(query.since, -1),
            comparable(query.until, 1 << 62),
        )
        if first is None:
            return 0, 0
        # A span that was changed leaves out nothing.
        return (first, size) if type(first) is type(size) is int else (0, self.size)

    def _recalled(self, hit: Hit) -> Hit:
        """An entry whose bytes are away, with what the index has of it."""
        chunk, place = divmod(hit.seq, CHUNK)
        known: dict[str, str] = {}
        for facet in BRIEF:
            value = next(
                (value for value, some in self._values(facet, chunk) if postings.has(some, place)),
                None,
            )
            if value is not None:
                known[facet] = value
        return hit._replace(verdict=known.get("verdict"), time=self._time(hit.seq), known=known)

    def _values(self, facet: Facet, chunk: int) -> list[tuple[str, bytes]]:
        """The values of a facet in a chunk, each with the places that have it."""
        if not any(at == chunk for _, at in self._held):
            # Hits come in their order, so no chunk is looked at twice.
            self._held.clear()
        found = self._held.get((facet, chunk))
        if found is None:
            rows = self._all(
                "SELECT value, held FROM term CROSS JOIN posting ON term = id"
                " WHERE facet = ? AND chunk = ?",
                *(facet, chunk),
            )
            found = [
                (value, some)
                for value, some in rows
                if isinstance(value, str) and isinstance(some, bytes)
            ]
            self._held[facet, chunk] = found
        return found

    # Runs.

    def synopsis(self, run_id: str) -> Synopsis | None:
        """What a run came to, None where no entry of it is known."""
        found = made(self._all(selected("run = ?"), exact(run_id)))
        return found[0] if found else None

    def children(
        self, run_id: str, most: int = 1_000, *, after: int = -1, before: int = 1 << 62
    ) -> list[Synopsis]:
        """The runs that began right within a run, between two of the ledger's entries, in order."""
        where = "parent = ? AND first > ? AND first < ? ORDER BY first LIMIT ?"
        return made(self._all(selected(where), exact(run_id), after, before, most))

    def within(self, run_id: str) -> dict[int, Within]:
        """What each run right within one comes to, with all that is within that one.

        By the numbers of the entries that they begin with, in their order. A run counts once for
        each child that it is below, and `MOST_WITHIN` runs count at most.
        """
        return summed(self._all(BELOW, exact(run_id)))

    def above(self, run_id: str) -> list[Synopsis]:
        """The runs that a run is within, the closest first; `MOST_ABOVE` of them at most."""
        found: list[Synopsis] = []
        seen = {run_id}
        own = self.synopsis(run_id)
        while own is not None and own.parent is not None and len(found) < MOST_ABOVE:
            if own.parent in seen:
                break
            seen.add(own.parent)
            own = self.synopsis(own.parent)
            found += [own] if own is not None else []
        return found

    def runs(
        self, choice: Choice = _EVERY, *, before: int = 1 << 62, limit: int = 20
    ) -> list[Synopsis]:
        """The newest runs of a choice that began before entry `before`, the newest first.

        Words are looked for in `HITS` entries at most, the newest that have them: a word that is
        everywhere finds the newest runs, and not the only one of long ago that fits the rest too.
        Raises SearchError where there are too many words.
        """
        where, values = self._condition(choice)
        if not choice.text:
            order = f"{where} AND first < ? ORDER BY first DESC LIMIT ?"
            return made(self._all(selected(order), *values, before, limit))
        found: dict[str, Synopsis] = {}
        seen: set[str] = set()
        for hit in islice(self.find(Query(text=choice.text)), HITS):
            run = None if hit.entry is None else hit.entry.fields.get("run")
            if not isinstance(run, str) or run in seen:
                continue
            seen.add(run)
            if choice.tops:
                above = self.above(run)
                run = above[-1].run if above else run
            some = self._all(selected(f"run = ? AND {where} AND first < ?"), run, *values, before)
            found |= {each.run: each for each in made(some)}
        return sorted(found.values(), key=lambda each: -each.first)[:limit]

    def moved(self, after: int, choice: Choice = _EVERY, limit: int = 1_000) -> list[Synopsis]:
        """The runs of a choice that have an entry after number `after`, the one moved last last."""
        where, values = self._condition(choice)
        found = selected(f"last > ? AND {where} ORDER BY last LIMIT ?")
        return made(self._all(found, after, *values, limit))

    def _condition(self, choice: Choice) -> Condition:
        """What a choice asks of a synopsis, with the runs of its entries named one by one."""
        where, values = condition(choice)
        if not choice.narrow:
            return Condition(where, values)
        lowest, size = 0, self.size
        if choice.during is not None:
            lowest, size = map(self.first_since, choice.during)
        beside = [
            (facet, exact(value))
            for facet, value in (("tool", choice.tool), (DENIES, choice.rule))
            if value is not None
        ]
        for trait in choice.traits or (None,):
            terms = [[each] for each in (*beside, *([(DID, trait)] if trait else []))]
            of = json.dumps(sorted(self._runs_of(terms, lowest, size)))
            where += (
                " AND run IN (SELECT value FROM term WHERE id IN (SELECT value FROM json_each(?)))"
            )
            values = (*values, of)
        return Condition(where, values)

    def _runs_of(
        self, terms: Sequence[Sequence[tuple[str, str]]], lowest: int, size: int
    ) -> set[int]:
        """The terms of the runs of all entries within some numbers that have some terms."""
        found: set[int] = set()
        for base, marks in self.marks(terms, lowest, size):
            rows = self._all(
                "SELECT first, whose FROM span WHERE first > ? AND first < ?",
                *(base - PAGE, base + CHUNK),
            )
            for first, whose in rows:
                each = fours_in(whose) if type(first) is int else ()
                begin, end = max(first, base), min(first + len(each), base + CHUNK)
                if end <= begin:
                    continue
                some = (marks >> (begin - base)) & postings.between(0, end - begin)
                if 4 * some.bit_count() > end - begin:
                    # Many: the digits from the last to the first say which.
                    named = map("1".__eq__, reversed(f"{some:b}"))
                    found.update(compress(each[begin - first : end - first], named))
                    continue
                for place in postings.places(some, newest=False):
                    found.add(each[begin - first + place])
        return found - {0}
