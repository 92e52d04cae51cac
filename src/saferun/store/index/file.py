"""The file of the index: what stands in it, and how it is opened, made anew, or only looked at."""

import contextlib
import os
import sqlite3
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from saferun.errors import StoreError
from saferun.ledger import Frontier
from saferun.store import sqlite
from saferun.store.synopsis import SCHEMA as SYNOPSIS

VERSION = 9
"""Of the file, in `PRAGMA user_version`. One of another version is made anew."""

APPLICATION = 0x5352_4E49
"""`SRNI` in `PRAGMA application_id`."""

SCHEMA = f"""
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


class State(NamedTuple):
    """How far an index goes, and over which entries."""

    size: int = 0
    first: bytes = b""
    last: bytes = b""
    frontier: bytes = Frontier().encode()
    fits: bool = False
    missing: int = 0
    away: int = 0


class File:
    """The file of an index, and how far it goes. Raises StoreError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._state = State()

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
        if tables and (version != VERSION or sqlite.found_schema(connection) != schema()):
            # Of another version, or changed: a view in a table's place may never come to an end.
            return self._anew()
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may cost the last pages of it, and never what it is.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        if not tables:
            connection.executescript(SCHEMA)
        return connection

    def _anew(self) -> sqlite3.Connection:
        self._remove()
        self._state = State()
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
            if version == VERSION and sqlite.found_schema(found) == schema():
                self._state = stated(found)
                return
        except (sqlite3.DatabaseError, TypeError):
            # Whoever builds it will see what is wrong with it.
            pass
        self.close()
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._connection.executescript(SCHEMA)
        self._state = State()

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        assert self._connection is not None, "it is built before anything is found"
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as problem:
            if not damage(problem):
                with sqlite.explained(self.path):
                    raise
            raise StoreError(
                f"The search index {self.path} cannot be read ({problem}); delete it, and it is "
                "made anew."
            ) from None


@cache
def schema() -> sqlite.Schema:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.executescript(SCHEMA)
        return sqlite.found_schema(made)


def stated(connection: sqlite3.Connection) -> State:
    row = connection.execute(
        "SELECT size, first, last, frontier, fits, missing, away FROM state"
    ).fetchone()
    if row is None:
        return State()
    state = State(*row)
    if [type(each) for each in row] != _STATED or min(state.size, state.missing, state.away) < 0:
        raise TypeError("the state of the index is none that is written")
    return state


_STATED = [int, bytes, bytes, bytes, int, int, int]


def damage(problem: Exception) -> bool:
    """Whether something is wrong with what the file holds, and not with its disk or its locks."""
    return not isinstance(problem, sqlite3.OperationalError) or "no such" in str(problem)
