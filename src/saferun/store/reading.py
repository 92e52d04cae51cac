"""Reading a store: its entries, as they lie there or in an archive. Changes nothing.

What else a store holds is read by functions in rooms of their own, which take a `Reader`:
`runs`, `unsettled` calls, `controls`, `versions`, `checkpoints`, `anchors`, `openings`, `sizes`.

Long readers keep SQLite from reusing its log, so everything here reads in pages, each in a
transaction of its own.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.ledger import (
    Archival,
    ArchiveEntry,
    EntryError,
    Head,
    Nodes,
    NoteError,
    Signs,
    Verifier,
    archived_by,
    leaf_hash,
    parse,
    read,
)
from saferun.store import excerpt, sqlite
from saferun.store.custody import Custody
from saferun.store.keys import Keys
from saferun.store.nodes import Tree, landmarks
from saferun.store.rows import BODY, LEAF, head
from saferun.store.signing import Ledger, folder_of, hold, ledger_of, marked, stated
from saferun.store.sqlite import ChangedError

if TYPE_CHECKING:
    from saferun.store.archive import Archive

_PAGE = 2_000

_SEVERAL = 500
"""Entries that are asked for at once by their numbers."""


@contextlib.contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Say of a store that what it keeps was changed, where it cannot be read."""
    try:
        yield
    except (msgspec.MsgspecError, TypeError):
        # A rewritten row may hold any type that SQLite has.
        raise ChangedError(path, "what it keeps is not what a store writes") from None


class Reader:
    """A store that is open for reading. Use as a context manager.

    With an `archive`, entries that were archived have their bodies again, and their large
    values; what the archive lacks, or has and does not fit, it notes as its `trouble`. An `excerpt`
    has some entries of a ledger alone.

    Raises StoreError where there is no store or it cannot be read.
    """

    def __init__(self, path: Path, archive: "Archive | None" = None) -> None:
        self.path = path
        self.archive = archive
        with sqlite.explained(path):
            self._connection = sqlite.connect(path, "full", write=False)
            known = stated(self._connection)
            self.excerpt = sqlite.is_excerpt(self._connection)
        self.origin = known.get("origin", "")
        self.ledger = known.get("ledger", "")
        self._shelved: tuple[list[tuple[Any, ...]], list[Archival | None]] = ([], [])

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
        self._connection.close()

    def signer(self, origin: str | None = None, given: SigningTable | None = None) -> Signs | None:
        """Who signs for this ledger, None where the signing key is not here.

        Under another name, `origin`, it is whatever key lies here. `given` is what the
        configuration says of the key. Looking for one never makes one: a new key under an old
        name would vouch for anything.

        Raises StoreError where it is no key, or is not the one that the ledger has named.
        """
        ledger = self.named_keys()
        custody = self._custody(ledger, given)
        return custody.signer(origin or ledger.origin, ledger.vkey if origin is None else None)

    def hold_digests(self) -> None:
        """Raises StoreError where the digest key is not here, or is not the store's."""
        with sqlite.explained(self.path):
            known = stated(self._connection)
        Keys.open(folder_of(self.path), founding=False).fit(self.path, known)

    def missing_key(self) -> StoreError:
        """What to say where `signer` finds none."""
        return self._custody(self.named_keys()).missing()

    def _custody(self, ledger: Ledger, given: SigningTable | None = None) -> Custody:
        # The name comes from the database, so it may be no more than the name of a file.
        return Custody(folder_of(self.path), Path(ledger.name).name, given)

    def named_keys(self) -> Ledger:
        """The ledger's name and origin, and the keys that it has named, as they are now."""
        with sqlite.explained(self.path):
            return ledger_of(self._connection)

    @property
    def former(self) -> set[str]:
        """The names under which the ledger went before it was restarted."""
        return self.named_keys().former

    def hold(self) -> None:
        """Hold the store against its high-water mark. Raises StoreError where it is behind."""
        with sqlite.explained(self.path):
            hold(self._connection, self.path)

    def mark(self) -> bytes | None:
        """The signed note that is its high-water mark, None where there is none of its name yet.

        Raises StoreError where it cannot be read.
        """
        ledger = self.named_keys()
        found = marked(self.path, ledger.name)
        # One of a former name is of before a restart, which says itself what it has lost.
        return None if found is None or found.checkpoint.origin != ledger.origin else found.note

    def head(self) -> Head:
        """The size and frontier that the ledger says it has; those of nothing without a head.

        Raises ChangedError where that is none that a store writes.
        """
        with sqlite.explained(self.path):
            return head(self._connection, self.path)

    def rows(
        self, upto: int | None = None, *, after: int = -(1 << 63)
    ) -> Iterator[tuple[int, Any, Any]]:
        """Entries by ascending number as `ledger.verify` takes them, up to number `upto`.

        From the lowest number that there can be: a row before the first was put there.
        """
        last, stop = after, upto if upto is not None else 1 << 62
        while True:
            page = self.every(
                f"SELECT seq, {BODY}, {LEAF} FROM entry"  # noqa: S608 - columns of ours
                " WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?",
                *(last, stop, _PAGE),
            )
            yield from page if self.archive is None else map(self._completed, page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def row(self, seq: int) -> tuple[Any, Any] | None:
        """Body and leaf of one entry as they lie there, None where there is none.

        The body of one that is archived is empty, unless its archive is at hand.
        """
        row = self.one(f"SELECT {BODY}, {LEAF} FROM entry WHERE seq = ?", seq)  # noqa: S608
        if row is None:
            return None
        _, body, leaf = self._completed((seq, row[0], row[1]))
        return body, leaf

    def body(self, seq: int) -> bytes:
        """The body of one entry as it is stored, as `row` gives it.

        Raises StoreError where there is none, or it is not stored as bytes.
        """
        row = self.row(seq)
        if row is None:
            raise StoreError(f"There is no entry {seq} in {self.path}.")
        if not isinstance(row[0], bytes):
            raise StoreError(f"Entry {seq} of {self.path} was changed; run saferun ledger verify.")
        return row[0]

    def _completed(self, row: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
        seq, body, leaf = row
        if self.archive is None or body != b"":
            return row
        return seq, self.archive.body(seq, leaf), leaf

    def leaves(self, upto: int) -> Iterator[bytes]:
        """The leaves of the entries before number `upto`, archived or not.

        Raises StoreError where one is missing or is none.
        """
        due = 0
        while due < upto:
            page = self.every(
                f"SELECT seq, {LEAF} FROM entry"  # noqa: S608
                " WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
                *(due, upto, _PAGE),
            )
            for seq, leaf in page:
                if seq != due or not leaf:
                    break
                yield leaf
                due += 1
            if not page or due != page[-1][0] + 1:
                raise StoreError(
                    f"Entry {due} of {self.path} is missing or was changed; run saferun ledger "
                    "verify."
                )

    def bodies(self, seqs: Sequence[int]) -> Iterator[bytes]:
        """The bodies of some entries, in the order of `seqs`.

        One that is gone, or is not what its row says, is empty, which no reader takes for an
        entry: history that was changed is not shown as if it were history. See `away` for one
        that is archived.
        """
        for seq in seqs:
            row = self.row(seq)
            yield row[0] if row is not None and _intact(seq, *row) else b""

    def several(self, seqs: Sequence[int]) -> Iterator[tuple[int, bytes, bytes]]:
        """Numbers, bodies and leaves of many entries, in the order of `seqs`.

        Much quicker than one by one. A body that does not give its leaf is empty, as one that is
        archived or gone. Nothing but that is looked at: what it says is still to be read.
        """
        for at in range(0, len(seqs), _SEVERAL):
            some = seqs[at : at + _SEVERAL]
            places = ", ".join("?" * len(some))
            found = self.every(
                f"SELECT seq, {BODY}, {LEAF} FROM entry WHERE seq IN ({places})",  # noqa: S608
                *some,
            )
            rows = {row[0]: row for row in found}
            for seq in some:
                _, body, leaf = rows.get(seq, (seq, None, b""))
                if body == b"":
                    _, body, leaf = self._completed((seq, body, leaf))
                fits = isinstance(body, bytes) and leaf_hash(body) == leaf
                yield seq, body if fits else b"", leaf

    def tree(self, *, kept: bool = True) -> Nodes:
        """The roots of perfect subtrees, from those that are kept or from the leaves alone."""
        if self.excerpt:
            return excerpt.Tree(self._connection, self.path)
        return Tree(self._connection, self.path, kept=kept)

    def redacted(self, seq: int) -> bool:
        """Whether an entry is here in other words than the ledger has; in an excerpt alone."""
        if not self.excerpt:
            return False
        with sqlite.explained(self.path):
            return excerpt.is_redacted(self._connection, seq)

    def landmarks(self, stop: int) -> list[int]:
        """The numbers of the entries below `stop` that change keys or name, or archive."""
        return landmarks(self._connection, self.path, stop)

    def blob(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and data of a large value, None where it is no longer held."""
        row = self.one("SELECT salt, data FROM blob WHERE hash = ?", name)
        if row is None:
            return None if self.archive is None else self.archive.blob(name)
        return row[0], row[1]

    def archived(self) -> int:
        """How many of the first entries lie in an archive, by the word of the ledger's keys."""
        return max((said.size for said in self._archivals() if said is not None), default=0)

    def archives(self) -> list[Archival]:
        """Each segment that was archived, as its entry says it and the ledger's key has signed.

        Raises StoreError where an entry does not say what is kept of it, or is not signed.
        """
        found = self._archivals()
        whole = [said for said in found if said is not None]
        if len(whole) < len(found):
            raise StoreError(
                f"What {self.path} keeps of its archives was changed; run saferun ledger verify."
            )
        return whole

    def _archivals(self) -> list[Archival | None]:
        """What each `archive` entry says, None for one that nobody has to believe."""
        rows = self.every("SELECT first, size, seq FROM archive ORDER BY first", schema=4)
        if rows != self._shelved[0]:
            # Looked at again only where there are others: whoever reads asks for each entry.
            keys = self.named_keys().vkeys
            self._shelved = rows, [self._archival(keys, *row) for row in rows]
        return self._shelved[1]

    def _archival(
        self, keys: Sequence[tuple[int, str]], first: object, size: object, seq: int
    ) -> Archival | None:
        known = [vkey for since, vkey in keys if since < seq][-1:]
        try:
            entry = parse(next(self.bodies([seq]))).entry
            # A ledger from before format 4 does not say its first key.
            signers = [Verifier(vkey) for vkey in known] if keys else None
        except (EntryError, NoteError):
            return None
        if not isinstance(entry, ArchiveEntry) or (entry.first, entry.size) != (first, size):
            return None
        return archived_by(entry, signers)

    def away(self, seq: int) -> bool:
        """Whether the body of an entry lies in an archive alone."""
        row = self.one("SELECT body = x'' FROM entry WHERE seq = ?", seq)
        return row is not None and bool(row[0]) and seq < self.archived()

    def time(self, seq: int) -> int:
        """When an entry was written, in microseconds since 1970, UTC.

        Raises StoreError where it cannot be read.
        """
        try:
            return parse(next(self.bodies([seq]))).time
        except EntryError:
            raise StoreError(
                f"Entry {seq} of {self.path} cannot be read; run saferun ledger verify."
            ) from None

    def since(self, moment: int, first: int, size: int) -> int:
        """The number of the first entry from `first` on that is of `moment` or later.

        `size` where none is. A look at a few: times never go back.
        """
        while first < size:
            middle = (first + size) // 2
            if self.time(middle) < moment:
                first = middle + 1
            else:
                size = middle
        return first

    def now(self) -> int:
        """Microseconds since 1970, UTC, and never before what the ledger has as its last time."""
        row = self.one("SELECT time FROM head WHERE seq = -1 AND typeof(time) = 'integer'")
        return max(time.time_ns() // 1000, 0 if row is None else row[0])

    def one(self, statement: str, *values: object, schema: int = 0) -> tuple[Any, ...] | None:
        """The first row that a statement finds, for the rooms of the store.

        None as well in a store whose schema is older than `schema`, which has no such table.
        """
        with sqlite.explained(self.path):
            if schema and self._schema() < schema:
                return None
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row

    def every(self, statement: str, *values: object, schema: int = 0) -> list[tuple[Any, ...]]:
        """All rows that a statement finds, as `one` has the first."""
        with sqlite.explained(self.path):
            if schema and self._schema() < schema:
                return []
            return self._connection.execute(statement, values).fetchall()

    def _schema(self) -> int:
        [version] = self._connection.execute("PRAGMA user_version").fetchone()
        return int(version)


def _intact(seq: int, body: object, leaf: object) -> bool:
    if not isinstance(body, bytes) or leaf_hash(body) != leaf:
        return False
    try:
        return read(body).seq == seq
    except EntryError:
        return False
