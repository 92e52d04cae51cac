"""The search index: what finds entries again, in a file of its own beside the store.

It is made of the ledger and of nothing else, off the path of calls and without the store's write
lock. No decision ever asks it, no backup needs it, and whoever deletes it loses the time that it
takes to make it anew. The order of work:

1. `build` takes up the entries that came since, a page in one transaction, so that a process that
   is killed leaves an index that ends a page earlier. One process builds at a time.
2. Before, it makes sure that the entries it knows are still those of the ledger: the first and the
   last of them by their leaves, and all of them by the tree's right edge, which has to become that
   of the ledger's head. Where it does not, the index is of other entries, and is made anew.
3. What lay in an archive that was not at hand is taken up once one has it that the reader can read.
4. `find` has the numbers of the entries that the index names, and holds each against the ledger:
   its bytes have to give its leaf, and it has to say what was asked for.

So whoever can write the index can hide an entry from it and can never make one up. What the
ledger holds is for its verification to say.
"""

import contextlib
import json
import os
import re
import sqlite3
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import compress, islice
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self, TypeGuard

import msgspec

from saferun.errors import SearchError, StoreError
from saferun.ledger import Entry, EntryError, Frontier, TreeError, leaf_hash, read
from saferun.store import postings, sqlite
from saferun.store.facets import DENIES, DID, TURN, Facet, exact, facets, plain, words
from saferun.store.locks import FileLock
from saferun.store.postings import CHUNK
from saferun.store.reading import Reader
from saferun.store.synopsis import (
    BELOW,
    Choice,
    Condition,
    Synopses,
    Synopsis,
    Within,
    condition,
    made,
    run_of,
    selected,
    summed,
)
from saferun.store.synopsis import SCHEMA as SYNOPSIS

VERSION = 9
"""Of the file, in `PRAGMA user_version`. One of another version is made anew."""

APPLICATION = 0x5352_4E49
"""`SRNI` in `PRAGMA application_id`."""

MAX_TEXT = 1_000
MAX_PHRASES = 32
"""Characters and phrases of one search for words."""

PAGE = 1_000
"""Entries that are taken up in one transaction, and so the most of one span."""

MINUTE = 60_000_000
"""Microseconds."""

_VERDICTS = 100_000
"""Decisions whose verdict is kept at hand for their outcomes; any other is read again."""

BRIEF: tuple[Facet, ...] = ("kind", "agent", "user", "run", "tool", "verdict", "status")
"""What is said of an entry whose bytes are away."""

HITS = 2_000
"""Entries that are looked through for the runs that have some words."""

MOST_ABOVE = 1_000
"""Runs that one is within, each within the next."""

_EVERY = Choice()

LATE = ("late", "")
"""What settles a decision that could not be read, since it lay in an archive."""

_TERMS = 50_000
"""Values of facets whose number is kept at hand while building."""

_SCHEMA = f"""
    BEGIN IMMEDIATE;

    -- How far it goes, and over which entries: the leaves of the first and the last, and the right
    -- edge of their tree. `fits` says whether that was the head's when the head was as long,
    -- `missing` how many entries had no body to be read, and `away` how many of those lie in an
    -- archive that was not at hand so far.
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, first BLOB NOT NULL,
        last BLOB NOT NULL, frontier BLOB NOT NULL, fits INTEGER NOT NULL, missing INTEGER NOT NULL,
        away INTEGER NOT NULL
    );

    -- Every value of a facet, and the entries that have it, chunk by chunk: see `postings`.
    CREATE TABLE term (
        id INTEGER PRIMARY KEY, facet TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (facet, value)
    );
    CREATE TABLE posting (
        term INTEGER NOT NULL, chunk INTEGER NOT NULL, held BLOB NOT NULL,
        PRIMARY KEY (term, chunk)
    ) WITHOUT ROWID;

    -- The times between which some entries were written, and that of each, in eight bytes: none
    -- of one that could not be read. `away` of them lie in an archive that was not at hand.
    -- `leaves` has the first eight bytes of the leaf of each, as it was then, and `whose` the term
    -- of the run of each in four, which is 0 for none.
    CREATE TABLE span (
        first INTEGER PRIMARY KEY, size INTEGER NOT NULL,
        earliest INTEGER NOT NULL, latest INTEGER NOT NULL, times BLOB NOT NULL,
        away INTEGER NOT NULL, leaves BLOB NOT NULL, whose BLOB NOT NULL
    );
    CREATE INDEX lacking ON span (first) WHERE away > 0;

    -- What runs have spent in each minute since 1970, UTC, in micro-dollars.
    CREATE TABLE spent (minute INTEGER PRIMARY KEY, cost INTEGER NOT NULL);

    -- The words of an entry under its number. The text itself is in the ledger and not here.
    CREATE VIRTUAL TABLE said USING fts5(
        text, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
    );
{SYNOPSIS}
    PRAGMA application_id = {APPLICATION};
    PRAGMA user_version = {VERSION};
    COMMIT;
"""

_PHRASE = re.compile(r'"([^"]*)"?|([^\s"]+)')


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: entries that have everything that is asked for here.

    Of a facet with several values, one is enough. `text` holds words, all of which an entry has
    to have, in any order; those in double quotes stand one after the other. `since` and `until`
    are in microseconds since 1970, UTC: from the one up to, and without, the other.
    """

    text: str = ""
    facets: Mapping[Facet, tuple[str, ...]] = {}
    since: int | None = None
    until: int | None = None


class Hit(NamedTuple):
    """An entry that was found, as the ledger has it.

    `verdict` is its own, or that of the decision that it settles. An entry that lies in an
    archive which is not at hand has no body here and no `entry`: that it was found is what the
    index says alone, and so are its `time` and what is `known` of it. They are empty otherwise.
    """

    seq: int
    body: bytes
    entry: Entry | None
    verdict: str | None = None
    time: int | None = None
    known: Mapping[str, str] = MappingProxyType({})


class _State(NamedTuple):
    """How far an index goes, and over which entries."""

    size: int = 0
    first: bytes = b""
    last: bytes = b""
    frontier: bytes = Frontier().encode()
    fits: bool = False
    missing: int = 0
    away: int = 0


class Index:
    """The index of one store. Use as a context manager, and `build` it before anything is found.

    Raises StoreError where its file cannot be used.
    """

    def __init__(self, reader: Reader) -> None:
        self.path = reader.path.with_name(reader.path.name + ".index")
        self.reader = reader
        self._connection: sqlite3.Connection | None = None
        self._state = _State()
        self._held: dict[tuple[Facet, int], list[tuple[str, bytes]]] = {}
        self._leaves: tuple[int, int, bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def size(self) -> int:
        """The number of the first entry that it does not know."""
        return self._state.size

    @property
    def missing(self) -> int:
        """Entries up to `size` that could not be read when they were taken up: mostly archived."""
        return self._state.missing

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
            for (seq, body, _), time in zip(rows, _times(times), strict=False):
                if seq >= first and body == b"" and not time:
                    return int(seq)
        return None

    def build(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Bring it up to the newest entry. Waits for whoever is building it already."""
        with sqlite.explained(self.path):
            lock = FileLock(self.path.with_name(self.path.name + ".lock"))
            try:
                lock.acquire()
                try:
                    self._build(progress)
                except (sqlite3.DatabaseError, TreeError, TypeError) as problem:
                    if not _damage(problem):
                        raise
                    # Nothing is lost with it that the ledger does not have.
                    self._remove()
                    self._build(progress)
            finally:
                lock.close()

    def _build(self, progress: Callable[[int], None]) -> None:
        self._leaves = None
        connection = self._opened()
        self._state = _stated(connection)
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
        builder = _Builder(connection, self.reader, self._state)
        self._state = builder.returned(progress)
        rows = self.reader.rows(size, after=self._state.size - 1)
        while page := list(islice(rows, PAGE)):
            self._state = builder.page(page)
            progress(self._state.size)
        self._state = builder.end(size, frontier)
        return connection

    def _opened(self) -> sqlite3.Connection:
        """A connection to the file, which is made where there is none or one of another version."""
        self.close()
        if not self.path.exists():
            # What a log holds that has lost its file would be put into the new one.
            self._remove()
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._connection = connection = sqlite3.connect(
            self.path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        sqlite.guarded(connection)
        [application] = connection.execute("PRAGMA application_id").fetchone()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION and (application or tables):
            raise StoreError(
                f"{self.path} is a database of another program, and the search index belongs "
                "there; move it away."
            )
        if tables and (version != VERSION or sqlite.found_schema(connection) != _schema()):
            # Of another version, or changed: a view in a table's place may never come to an end.
            return self._anew()
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may cost the last pages of it, and never what it is.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        if not tables:
            connection.executescript(_SCHEMA)
        return connection

    def _anew(self) -> sqlite3.Connection:
        self._remove()
        self._state = _State()
        return self._opened()

    def _remove(self) -> None:
        self.close()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def peek(self) -> None:
        """Open it as it is, and take up nothing: for whoever will not wait for `build`.

        Where there is none, or it is of another version, it knows nothing and finds nothing.
        """
        self.close()
        try:
            found = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=5.0,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection = found
            sqlite.guarded(found)
            # One state of it for all that is looked at, though somebody builds on.
            found.execute("BEGIN")
            [version] = found.execute("PRAGMA user_version").fetchone()
            if version == VERSION and sqlite.found_schema(found) == _schema():
                self._state = _stated(found)
                return
        except (sqlite3.DatabaseError, TypeError):
            # Whoever builds it will see what is wrong with it.
            pass
        self.close()
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._connection.executescript(_SCHEMA)
        self._state = _State()

    def find(
        self, query: Query, *, newest: bool = True, first: int = 0, before: int | None = None
    ) -> Iterator[Hit]:
        """The entries from number `first` on that a query is met by, the newest first or last.

        Those alone that stand before number `before`, where that is said.

        Raises SearchError where the query has more words than one may have, at once.
        """
        phrases = _expression(query.text)
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
        return list(self._named(terms, (0, self.size), _expression(text), newest=False))

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
                each = _fours(whose) if type(first) is int else ()
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
        written = _times(rows[0][0]) if rows else ()
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
            if hit is not None and _meets(hit, query, terms):
                yield hit

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

    def _within(self, query: Query) -> tuple[int, int]:
        """From where to where entries may lie that were written in the time that is asked for."""
        if query.since is None and query.until is None:
            return 0, self.size
        [(first, size)] = self._all(
            "SELECT min(first), max(first + size) FROM span WHERE latest >= ? AND earliest < ?",
            _number(query.since, -1),
            _number(query.until, 1 << 62),
        )
        if first is None:
            return 0, 0
        # A span that was changed leaves out nothing.
        return (first, size) if type(first) is type(size) is int else (0, self.size)

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

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        assert self._connection is not None, "it is built before anything is found"
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as problem:
            raise StoreError(
                f"The search index {self.path} cannot be read ({problem}); delete it, and it is "
                "made anew."
            ) from None


def held(reader: Reader, seq: int) -> Hit | None:
    """The entry of a number as the ledger has it, None where it is gone or was changed.

    One that lies in an archive which the reader has not is there, and has no body.
    """
    row = reader.row(seq)
    if row is None:
        return None
    body, leaf = row
    if body == b"":
        return Hit(seq, b"", None) if _is_leaf(leaf) and seq < reader.archived() else None
    entry = _intact(seq, body, leaf)
    return None if entry is None else Hit(seq, body, entry, verdict(reader, entry))


def verdict(reader: Reader, entry: Entry) -> str | None:
    """The verdict of an entry, or of the decision that it settles, where that can be read."""
    of = entry.fields.get("of")
    if of is None:
        own = entry.fields.get("verdict")
        return own if isinstance(own, str) else None
    row = reader.row(of) if 0 <= of < entry.seq else None
    decision = None if row is None else _intact(of, *row)
    return None if decision is None or "of" in decision.fields else verdict(reader, decision)


def _meets(hit: Hit, query: Query, terms: Sequence[Sequence[tuple[str, str]]]) -> bool:
    """Whether an entry is what was asked for; what it says is for whoever reads it to see.

    Of one that is away there is the index's word for it, and nothing to hold that against.
    """
    since, until = _number(query.since, -1), _number(query.until, 1 << 62)
    if hit.entry is None:
        return hit.time is None or since <= hit.time < until
    if not since <= hit.entry.time < until:
        return False
    if not terms:
        # Thousands of entries may have a word, and what else they are is not asked.
        return True
    mine = facets(hit.entry, hit.verdict)
    return all(not mine.isdisjoint(some) for some in terms)


def _number(given: int | None, otherwise: int) -> int:
    """A time that SQLite can compare with."""
    return otherwise if given is None else min(max(given, -1), 1 << 62)


def _expression(text: str) -> str:
    """Words as FTS5 takes them: each in quotes, so that nothing in them is taken for an operator.

    Raises SearchError where there are too many, or none.
    """
    found = [phrase or word for phrase, word in _PHRASE.findall(plain(text))]
    # Without a letter or a digit in it, a phrase has nothing to be found by.
    phrases = [each for each in found if any(char.isalnum() for char in each)]
    if len(text) > MAX_TEXT or len(phrases) > MAX_PHRASES:
        raise SearchError(
            f"A search has at most {MAX_PHRASES} words of {MAX_TEXT:,} characters; look for fewer."
        )
    if text.strip() and not phrases:
        raise SearchError(f"There is no word in {text!r} that an entry could be found by.")
    return " ".join(f'"{each}"' for each in phrases)


@cache
def _schema() -> sqlite.Schema:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.executescript(_SCHEMA)
        return sqlite.found_schema(made)


class _Builder:
    """Takes up entries into an index, page by page."""

    def __init__(self, connection: sqlite3.Connection, reader: Reader, state: _State) -> None:
        self._connection = connection
        self._reader = reader
        self._state = state
        self._frontier = Frontier.decode(state.frontier)
        self._archived = reader.archived()
        self._synopses = Synopses(connection)
        self._verdicts: dict[int, str | None] = {}
        self._terms: dict[tuple[str, str], int] = {}
        self._whose: dict[int, int] = {}

    def page(self, rows: Sequence[tuple[int, object, object]]) -> _State:
        """Take up what comes next."""
        for _, _, leaf in rows:
            self._frontier.append(leaf if _is_leaf(leaf) else leaf_hash(b""))
        with sqlite.transaction(self._connection):
            times = self._take_up(rows)
            for some in _together(rows):
                each = [times.get(seq, 0) for seq, _, _ in some]
                self._span(some, each, self._away(some, times), self._whose)
            away = self._away(rows, times)
            self._write(self._stated(rows, len(rows) - len(times), away))
        return self._state

    def returned(self, progress: Callable[[int], None]) -> _State:
        """Take up what lay in an archive, as far as the archive at hand has it."""
        archive = self._reader.archive
        if archive is None or not self._state.away:
            return self._state
        lacking = self._connection.execute(
            "SELECT first, size, away, times FROM span WHERE away > 0 ORDER BY first"
        ).fetchall()
        for first, size, away, times in lacking:
            if archive.overlaps(first, first + size):
                self._again(first, size, away, _times(times))
                progress(first + size)
        return self._state

    def _again(self, first: int, size: int, away: int, before: Sequence[int]) -> None:
        rows = list(self._reader.rows(first + size, after=first - 1))
        [(whose,)] = self._connection.execute("SELECT whose FROM span WHERE first = ?", (first,))
        runs = {row[0]: run for row, run in zip(rows, _fours(whose), strict=False)}
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
            entry = _intact(seq, body, leaf)
            if entry is None:
                # Of a changed entry nothing is believed. But the run that it names is where whoever
                # reads that run has to be told that something was changed.
                claimed = _claimed(body)
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
        each = b"".join(map(_eight, times))
        leaves = b"".join(leaf[:8] if _is_leaf(leaf) else bytes(8) for _, _, leaf in rows)
        whose = _listed([runs.get(seq, 0) for seq, _, _ in rows])
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
                entry = None if row is None else _intact(seq, *row)
                said = None if entry is None else verdict(self._reader, entry)
                if said is not None:
                    self._post(("verdict", exact(said)), [seq])

    def end(self, size: int, frontier: bytes) -> _State:
        """Note whether what was taken up is what the ledger's head counts."""
        fits = (self._frontier.size, self._frontier.encode()) == (size, frontier)
        if fits != self._state.fits:
            with sqlite.transaction(self._connection):
                self._write(self._state._replace(fits=fits))
        return self._state

    def _stated(
        self, rows: Sequence[tuple[int, object, object]], missing: int, away: int
    ) -> _State:
        return self._state._replace(
            size=rows[-1][0] + 1,
            first=self._state.first if self._state.size else _blob(rows[0][2]),
            last=_blob(rows[-1][2]),
            frontier=self._frontier.encode(),
            fits=False,
            missing=self._state.missing + missing,
            away=self._state.away + away,
        )

    def _write(self, state: _State) -> None:
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


def _stated(connection: sqlite3.Connection) -> _State:
    row = connection.execute(
        "SELECT size, first, last, frontier, fits, missing, away FROM state"
    ).fetchone()
    if row is None:
        return _State()
    state = _State(*row)
    if [type(each) for each in row] != _STATED or min(state.size, state.missing, state.away) < 0:
        raise TypeError("the state of the index is none that is written")
    return state


_STATED = [int, bytes, bytes, bytes, int, int, int]


def _intact(seq: int, body: object, leaf: object) -> Entry | None:
    """The entry of a row, None where it is not the one that its leaf vouches for."""
    if not isinstance(body, bytes) or leaf_hash(body) != leaf:
        return None
    try:
        entry = read(body)
    except EntryError:
        return None
    return entry if entry.seq == seq else None


def _claimed(body: object) -> str | None:
    """The run that a changed entry says it is of."""
    try:
        return run_of(read(body)) if isinstance(body, bytes) else None
    except EntryError:
        return None


def _damage(problem: Exception) -> bool:
    """Whether something is wrong with what the file holds, and not with its disk or its locks."""
    return not isinstance(problem, sqlite3.OperationalError) or "no such" in str(problem)


def _is_leaf(leaf: object) -> TypeGuard[bytes]:
    return isinstance(leaf, bytes) and len(leaf) == 32


def _eight(at: int) -> bytes:
    return at.to_bytes(8, "big") if 0 <= at < 1 << 64 else bytes(8)


def _times(each: object) -> list[int]:
    if not isinstance(each, bytes):
        return []
    return [int.from_bytes(each[at : at + 8], "big") for at in range(0, len(each), 8)]


def _listed(numbers: Sequence[int]) -> bytes:
    listed = array("I", numbers)
    if sys.byteorder == "big":  # pragma: no cover - the file may be carried to another machine
        listed.byteswap()
    return listed.tobytes()


def _fours(each: object) -> Sequence[int]:
    listed = array("I", each[: len(each) & ~3] if isinstance(each, bytes) else b"")
    if sys.byteorder == "big":  # pragma: no cover - the file may be carried to another machine
        listed.byteswap()
    return listed


def _blob(leaf: object) -> bytes:
    return leaf if isinstance(leaf, bytes) else b""
