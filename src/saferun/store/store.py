"""One store: where decisions become durable and from where history is read.

Several processes may share one. Opening it makes what is missing, migrates what is old and
records `unknown` for calls whose process died; after that, everything goes through `commit`.
"""

import atexit
import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from saferun.call import canonical
from saferun.config import Durability, SigningTable, sqlite_path
from saferun.errors import StoreError
from saferun.ledger import FORMAT, Frontier, LedgerEntry, Signs, encode, leaf_hash, seal, stamp
from saferun.store import forks, sqlite
from saferun.store.clock import Clock
from saferun.store.custody import PATIENCE, Custody
from saferun.store.envelope import Envelope, left
from saferun.store.feed import Feed
from saferun.store.keys import Keys
from saferun.store.locks import Boot, FileLock, boots
from saferun.store.rows import head
from saferun.store.signing import (
    Ledger,
    checkpoint,
    folder_of,
    hold,
    ledger_of,
    mark_file,
    marked,
    named,
    new_origin,
    stated,
)
from saferun.store.trails import Trails
from saferun.store.vault import Vault
from saferun.store.work import Claim, Delivery, Lapse, Recover
from saferun.store.writer import Work, Writer

if TYPE_CHECKING:
    from saferun.store.tasks import Turns

T = TypeVar("T")

MAX_NUMBERS = 10_000
"""Groups whose numbers are kept at hand; one that was forgotten is only digested again."""

_ABOUT_TO_ASK = 86_400.0
"""Seconds after which nobody is about to ask any more for whom a key was made."""


class Store:
    """A store in one SQLite file.

    Args:
        url: `sqlite:///` and the path of the file; its folder is made where it is missing.
        ledger: the ledger's name, fixed when the store is made.
        durability: `full` has every commit on disk before it is answered; `process`
            survives a killed process and loses the last moments at a power cut.
        outcomes_ride: whether an outcome joins the next commit instead of having its own.
            By default with `process` alone: a kill then leaves the last calls `unknown`.
        clock: microseconds since 1970, UTC.
        signing: where the key is that checkpoints are signed with, as the configuration says.
        checkpoints: whether they are made by themselves, as the ledger grows and at the end. A
            store that is thrown away afterwards needs none.
        behind: open it even where it has lost its end, for the person who settles that.

    Raises:
        StoreError: the file cannot be used, with what is wrong and what to do.

    """

    def __init__(
        self,
        url: str,
        *,
        ledger: str = "default",
        durability: Durability = "full",
        outcomes_ride: bool | None = None,
        clock: Callable[[], int] | None = None,
        signing: SigningTable | None = None,
        checkpoints: bool = True,
        behind: bool = False,
    ) -> None:
        self.path = sqlite_path(url)
        self.durability: Durability = durability
        self.outcomes_ride = durability == "process" if outcomes_ride is None else outcomes_ride
        self._clock = Clock(clock)
        signer = self._signer if checkpoints and not behind else None
        self.vault = Vault(folder_of(self.path), ledger)
        self._writer = Writer(self.path, durability, self._clock, self._stamp, self.vault, signer)
        self._turns: Turns | None = None
        self._feed: Feed | None = None
        self._boot: Boot | None = None
        self._stamped = ("", b"")
        self._booting = threading.Lock()
        self._unfinished = False
        self.custody = Custody(folder_of(self.path), ledger, signing)
        self.origin, self.keys = self._prepare(ledger, behind=behind)
        self.trails = Trails(self)
        self._numbers: dict[bytes, int] = {}
        _open_stores.add(self)
        self.recovered = 0 if behind else self._recovered()
        if self._overdue and not behind:
            self.lapse()
        if self._unfinished and not behind:
            from saferun.store import erasing

            erasing.resume(self)

    @property
    def feed(self) -> Feed:
        """Tells what becomes of requests to people."""
        if self._feed is None:
            with self._booting:
                if self._feed is None:
                    self._feed = Feed(self.path)
        return self._feed

    def envelope(self, request: str) -> Envelope:
        """What is kept of a request while it is open."""
        return Envelope(folder_of(self.path), request)

    def claim(self, request: str, channel: str) -> Delivery | None:
        """Have this process be the one that brings a request by a channel; see `Claim`."""
        if self.closed:
            # Before asking who we are: a life that has ended must not begin anew for this.
            raise StoreError(f"The store {self.path} is closed.")
        return self.commit(
            Claim(request=request, channel=channel, boot=self.boot, boots=self._boots)
        )

    @property
    def boot(self) -> str:
        """The id of this process's life on the store; a forked child gets one of its own."""
        if self._boot is None:
            with self._booting:
                if self._boot is None:
                    with sqlite.explained(self.path):
                        self._boot = Boot(self._boots)
        return self._boot.id

    def _stamp(self) -> bytes:
        """Who writes: this host, and this life of this process."""
        boot = self.boot
        if self._stamped[0] != boot:
            self._stamped = (boot, stamp(os.uname().nodename, boot))
        return self._stamped[1]

    def commit(self, work: Work[T]) -> T:
        """Do work in one durable transaction. Raises StoreError, or what the work raised."""
        return self._writer.commit(work)

    def acommit(
        self, work: Work[T], unwanted: Callable[[T], None] | None = None
    ) -> Coroutine[Any, Any, T]:
        """`commit` for tasks; `unwanted` gets the result if the task was cancelled meanwhile."""
        if self._turns is None:
            # Whoever awaits this has asyncio already; whoever never does is spared its import.
            from saferun.store.tasks import Turns

            self._turns = Turns(self._writer, inline=self.durability == "process")
        return self._turns.now().commit(work, unwanted)

    def ride(self, work: Work[object]) -> None:
        """Have work join the next commit; it stays queued until one holds it."""
        self._writer.ride(work)

    def now(self) -> int:
        """Microseconds since 1970, UTC, and never before what the ledger has as its last time."""
        return self._clock.now(self._writer.last)

    def group(self, key: bytes) -> int:
        """The number that a group of the controls is kept under.

        A keyed digest of it: an order number or an address can be guessed.
        """
        number = self._numbers.get(key)
        if number is None:
            if len(self._numbers) >= MAX_NUMBERS:
                self._numbers.clear()
            # Below what else there is in the table that keeps them; 62 bits tell them apart.
            number = -2 - (int.from_bytes(self.keys.digest(key)[:8]) >> 2)
            self._numbers[key] = number
        return number

    def subject(self, tenant: str | None, whose: str) -> bytes:
        """Whose sensitive values are kept under one key: a keyed digest, within a tenant."""
        return self.keys.digest(canonical.encode(("subject", tenant, whose)))

    def credential(self, person: str, secret: str) -> bytes:
        """The keyed digest that a person is known by, of the secret of theirs."""
        return self.keys.digest(b"\0".join((b"login", person.encode(), secret.encode())))

    def alone(self) -> AbstractContextManager[sqlite3.Connection]:
        """Keep every writer out for a block, of all processes, and have the connection."""
        return self._writer.alone()

    def flush(self) -> None:
        """Commit what rides, now."""
        self._writer.flush()

    def tend(self) -> None:
        """Move the log's pages into the database now; for whoever writes much off the path."""
        self._writer.tend()

    def recover(self) -> int:
        """Record `unknown` for calls whose process has died since. Returns how many.

        Opening a store does it too.
        """
        self._sweep()
        return self.commit(Recover(self.boot, self._boots))

    def lapse(self) -> None:
        """Have requests be expired whose time is over, where nobody has seen to it.

        Opening a store does it too.
        """
        while True:
            with self._looking() as connection:
                if not sqlite.overdue(connection, self.now):
                    return
            for request in self.commit(Lapse()):
                self.envelope(request).destroy()
            if self._feed is not None:
                self._feed.poke()

    def _sweep(self) -> None:
        """Destroy the keys of requests that have ended, where whoever ended them could not."""
        kept = left(folder_of(self.path))
        if not kept:
            return
        with self._looking() as connection:
            for request in kept:
                row = connection.execute(
                    "SELECT state, deadline FROM approval WHERE id = ?", (request,)
                ).fetchone()
                if row is None:
                    # It is about to be asked; or whoever would have asked has gone before.
                    if self.envelope(request).age > _ABOUT_TO_ASK:
                        self.envelope(request).destroy()
                    continue
                state, deadline = msgspec.convert(row, tuple[str, int])
                open_ = state in ("pending", "approved") and deadline >= self.now()
                if not open_ and state != "executing":
                    self.envelope(request).destroy()

    def ledger(self) -> Ledger:
        """The ledger's name and origin, and the keys that it has named, as they are now."""
        with self._looking() as connection:
            return ledger_of(connection)

    def size(self) -> int:
        """How many entries the ledger has."""
        with self._looking() as connection:
            return head(connection, self.path).size

    def is_behind(self) -> bool:
        """Whether it has lost its end, which only a store that was opened `behind` can have."""
        with self._looking() as connection:
            try:
                hold(connection, self.path)
            except StoreError:
                return True
            return False

    @contextlib.contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        with sqlite.explained(self.path):
            connection = sqlite.connect(self.path, self.durability, write=False)
            try:
                yield connection
            finally:
                connection.close()

    def signer(self) -> Signs:
        """Who signs checkpoints now. Raises StoreError where the key is not here."""
        found = self._signer()
        if found is None:
            raise self.custody.missing()
        return found

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint, or a new one. Raises StoreError where none can be made."""
        return checkpoint(self.path, self.signer())

    def _signer(self, patience: float = PATIENCE) -> Signs | None:
        ledger = self.ledger()
        return self.custody.signer(ledger.origin, ledger.vkey, patience)

    @property
    def closed(self) -> bool:
        return self._writer.closed

    def close(self) -> None:
        """Commit what rides, and end this process's life on the store. Idempotent."""
        if self._feed is not None:
            self._feed.close()
        self._writer.close()
        if self._boot is not None:
            self._boot.close()
            self._boot = None
        _open_stores.discard(self)

    @property
    def _boots(self) -> Path:
        return boots(self.path)

    def _prepare(self, ledger: str, *, behind: bool) -> tuple[str, Keys]:
        sqlite.check_location(self.path)
        with sqlite.explained(self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.path.with_name(self.path.name + ".lock"))
            # Many processes may open a new file at once, and only one can switch it to WAL.
            lock.acquire()
            try:
                connection = sqlite.connect(self.path, self.durability)
                try:
                    sqlite.migrate(connection)
                    left = "SELECT 1 FROM head WHERE seq >= 0 LIMIT 1"
                    self._left = connection.execute(left).fetchone() is not None
                    due = "SELECT 1 FROM meta WHERE name = 'erasing'"
                    self._unfinished = connection.execute(due).fetchone() is not None
                    self._overdue = sqlite.overdue(connection, lambda: self._clock.now(0))
                    keys = _founded(connection, self.path, ledger, self.custody, self._clock.now(0))
                    known = ledger_of(connection)
                    self.custody.take_over(known.origin, known.vkey)
                    if not behind:
                        hold(connection, self.path)
                    return known.origin, keys
                finally:
                    connection.close()
            finally:
                lock.close()

    def _recovered(self) -> int:
        # A new store has nothing to recover. One that was put back without the files of its
        # boots has: they are all dead.
        if not self._boots.exists() and not self._left:
            return 0
        return self.recover()


def _founded(
    connection: sqlite3.Connection, path: Path, ledger: str, custody: Custody, now: int
) -> Keys:
    """The store's own key, and the ledger begun with entry 0 where the file is new."""
    known = stated(connection)
    if not known:
        mark = marked(path, ledger)
        if mark is not None:
            raise StoreError(
                f"{mark_file(path, ledger)} vouches for {mark.checkpoint.size:,} entries of a "
                f"ledger, and {path} is not there; put that store back, or take the file away to "
                "begin a new ledger."
            )
    keys = Keys.open(folder_of(path), founding=not known)
    if not known:
        # Needed once in a store's life, and slow to import.
        from importlib import metadata

        # Random, so that no two ledgers can be taken for each other whatever they are called.
        origin = new_origin(ledger)
        vkey = custody.made(origin)
        entry = LedgerEntry(
            name=ledger,
            origin=origin,
            format=FORMAT,
            created_by=f"saferun-sdk {metadata.version('saferun-sdk')}",
            vkey=vkey,
        )
        body = seal(0, now, encode(entry))
        frontier = Frontier()
        frontier.append(leaf_hash(body))
        with sqlite.transaction(connection):
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [
                    ("ledger", ledger),
                    ("origin", origin),
                    ("digest_key", keys.digest_id),
                    *named(((0, vkey),)),
                ],
            )
            connection.execute("INSERT INTO entry VALUES (0, ?, ?)", (body, leaf_hash(body)))
            connection.execute(
                "INSERT INTO head (seq, size, time, frontier) VALUES (-1, 1, ?, ?)",
                (now, frontier.encode()),
            )
        return keys
    if known.get("ledger") != ledger:
        raise StoreError(
            f"{path} holds the ledger {known.get('ledger')!r}, not {ledger!r}; "
            "set `ledger` to that, or name another file for `store`."
        )
    keys.fit(path, known)
    return keys


_open_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()


def flush_here(path: Path) -> None:
    """Commit what rides in this process's stores of that file, for whoever reads it back."""
    path = path.resolve()
    for store in list(_open_stores):
        if store.path.resolve() == path and not store.closed:
            store.flush()


def _before_fork() -> None:
    forks.before()
    for store in list(_open_stores):
        store._writer.before_fork()  # noqa: SLF001 - the hooks are the store's own
        if store._feed is not None:  # noqa: SLF001
            store._feed.before_fork()  # noqa: SLF001


def _after_in_parent() -> None:
    forks.after_in_parent()
    for store in list(_open_stores):
        store._writer.after_fork_in_parent()  # noqa: SLF001
        if store._feed is not None:  # noqa: SLF001
            store._feed.after_fork_in_parent()  # noqa: SLF001


def _after_in_child() -> None:
    forks.after_in_child()
    for store in list(_open_stores):
        store._writer.after_fork_in_child()  # noqa: SLF001
        store._turns = None  # noqa: SLF001
        store._feed = None  # noqa: SLF001
        store.trails.forget()
        store._booting = threading.Lock()  # noqa: SLF001
        if store._boot is not None:  # noqa: SLF001
            store._boot.abandon()  # noqa: SLF001
            store._boot = None  # noqa: SLF001


@atexit.register
def _close_all() -> None:
    for store in list(_open_stores):
        # What cannot be written at the end is found by recovery at the next start.
        with contextlib.suppress(Exception):
            store.close()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
