"""Archiving: old stretches of the ledger go to a folder, and their leaves stay.

In this order, so that a kill at any point harms nothing:

1. decide which entries are old enough and needed by nobody (`plan`);
2. write a segment into a folder whose name says that it is not whole, sync it, rename it;
3. read it back, and hold every byte against the leaves and large values of the store;
4. append the `archive` entry, by a person's own secret, in one transaction;
5. empty the bodies and take away the large values, a few at a time, each only after it was
   found in the segment once more.

Killed before 4, the store has everything, and a segment that is whole is taken up by the next
run. Killed after 4, the next run goes on with 5. Nobody waits longer than for one small commit.

What still decides is not archived: see `plan`. A few kinds of entry keep their bodies for good,
since they say who vouches for the ledger, and what was archived and erased.
"""

import contextlib
import os
import shutil
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

from saferun import files
from saferun.errors import StoreError
from saferun.ledger import (
    Archival,
    ArchiveEntry,
    EntryError,
    ErasureEntry,
    Frontier,
    KeyEntry,
    LedgerEntry,
    NoteError,
    Parsed,
    RestartEntry,
    RunEntry,
    Signs,
    Verifier,
    leaf_hash,
    open_archival,
    parse,
    sign_archival,
)
from saferun.ledger.archival import digest
from saferun.ledger.blob import blob_hash
from saferun.ledger.segment import File, Manifest, SegmentError, segment_name, stated_by
from saferun.store.archive import (
    BLOBS,
    ENTRIES,
    KEYS,
    MANIFEST,
    MAX_KEYS,
    NOTE,
    Archive,
    Segment,
)
from saferun.store.index import Index
from saferun.store.locks import FileLock
from saferun.store.proving import key_entries
from saferun.store.reading import Reader
from saferun.store.runs import first_entry_of, run_began
from saferun.store.signing import checkpoint
from saferun.store.store import Store
from saferun.store.unsettled import open_calls, open_requests
from saferun.store.versions import Vouch, pinned_runs
from saferun.store.work.admit import run_of
from saferun.store.work.shelve import Clear, Shelve

LEAST = 7 * 86_400_000_000
"""Microseconds that an entry stays in the store in any case. Within them a call that is made
again gets its recorded answer, and a run that was silent goes on as if it had not been."""

BATCH = 256
"""Entries that are emptied in one commit, which is as long as a call may have to wait for it."""

CARE = 32
"""Such commits after which the log is moved into the database, so that it does not grow."""

KEPT = (LedgerEntry, KeyEntry, RestartEntry, ArchiveEntry, ErasureEntry)
"""The kinds whose bodies stay in the store too: without them nobody could tell whose ledger it
is, who signs for it, or where the rest of it lies."""

_RUNS = 100_000
"""Runs that are remembered as looked at; past it some are looked at again."""

By: TypeAlias = Literal["month", "all"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told what is being done, how much of it, and of how much."""


class Stretch(NamedTuple):
    """Entries that make one segment: from `first` up to, and without, `size`."""

    first: int
    size: int

    @property
    def name(self) -> str:
        return segment_name(self.first, self.size)


class Plan(NamedTuple):
    """What is to be archived.

    `old` entries are old enough and still here, and `held` says why not all of them go, None
    where nothing needs them.
    """

    stretches: tuple[Stretch, ...]
    old: int
    held: str | None


class Made(NamedTuple):
    """One segment that was made: by which entry it is recorded, and what it holds."""

    seq: int
    manifest: Manifest


class Done(NamedTuple):
    """What came of it: the segments made now, and how many bodies were emptied."""

    made: tuple[Made, ...]
    emptied: int


def plan(reader: Reader, before: int, by: By, now: int) -> Plan:
    """Which entries older than `before` can go, in which stretches; times as in the ledger.

    What stays, with all that came after it:

    - calls without an outcome, and the runs that they are in;
    - requests that a person may still answer or a call may still use, and their runs;
    - runs that keep a version of a policy, and runs that have an entry that is not old: what a
      run has done is read from its first entry on;
    - whatever is younger than LEAST.

    `month` makes one stretch of each calendar month in UTC and leaves months that are not over.
    """
    first, size = reader.archived(), reader.head().size
    before = min(before, now - LEAST)
    old = reader.since(before, first, size)
    needs = _Needs(reader, first, old, now)
    needs.look()
    if by == "all":
        ends = [needs.limit] if needs.limit > first else []
    else:
        ends = list(_months(reader, first, needs.limit, min(before, reader.now())))
    starts = [first, *ends[:-1]]
    stretches = tuple(map(Stretch, starts, ends))
    return Plan(stretches, old - first, needs.why)


def _months(reader: Reader, first: int, limit: int, before: int) -> Iterator[int]:
    """Where the calendar months end that are over, whole and not needed."""
    at = first
    while at < limit:
        over = _next_month(reader.time(at))
        end = reader.since(over, at, limit)
        # At the limit it may go on: it is over only where the next one has begun.
        if over > before or (end == limit < reader.head().size and reader.time(limit) < over):
            return
        yield end
        at = end


def _next_month(at: int) -> int:
    moment = datetime.fromtimestamp(at / 1e6, UTC)
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return round(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000


class _Needs:
    """How far the old entries can go before one is needed. Moves down only."""

    def __init__(self, reader: Reader, first: int, old: int, now: int) -> None:
        self._reader = reader
        self._first = first
        self._old = old
        self._now = now
        self.limit = old
        self.why: str | None = None

    def look(self) -> None:
        reader = self._reader
        for seq in open_calls(reader):
            if seq < self._old:
                self._hold(seq, f"the call of entry {seq} has no outcome yet")
            self._hold_run(self._run(seq), "has a call under way")
        for root in pinned_runs(reader, self._now):
            self._hold_from(first_entry_of(reader, root), f"run {root} goes on")
        seen: set[str] = set()
        for seq, body, _ in reader.rows(after=self._old - 1):
            if not isinstance(body, bytes):
                # Whose run goes on cannot be told.
                raise StoreError(
                    f"Entry {seq} of {reader.path} cannot be read; run saferun ledger verify."
                )
            run = run_of(body)
            if run is not None and run not in seen:
                if len(seen) >= _RUNS:
                    seen.clear()
                seen.add(run)
                self._hold_run(run, "goes on")
        self._look_for(open_requests(reader, self._now))

    def _look_for(self, requests: set[str]) -> None:
        if not requests:
            return
        for seq, body, _ in self._reader.rows(self.limit, after=self._first - 1):
            if b'"approval":"' not in body:
                continue
            parsed = _parsed(seq, body)
            if getattr(parsed.entry, "approval", None) in requests:
                self._hold(seq, f"the request of entry {seq} waits for a person")
                self._hold_run(getattr(parsed.entry, "run", None), "waits for a person")
                return

    def _run(self, seq: int) -> str | None:
        return run_of(next(self._reader.bodies([seq])))

    def _hold_run(self, run: str | None, why: str) -> None:
        """Keep a run and its family from its beginning on."""
        began = None if run is None else run_began(self._reader, run)
        if run is None or began is None:
            return
        root = run
        if began >= self._first:
            entry = _parsed(began, next(self._reader.bodies([began]))).entry
            if isinstance(entry, RunEntry) and entry.root is not None:
                root = entry.root
        said = run if root == run else f"{run}, of the run {root},"
        self._hold_from(first_entry_of(self._reader, root), f"run {said} {why}")

    def _hold_from(self, seq: int, why: str) -> None:
        # A run whose beginning is archived already cannot be kept whole any more.
        if seq >= self._first:
            self._hold(seq, why)

    def _hold(self, seq: int, why: str) -> None:
        if seq < self.limit:
            self.limit, self.why = seq, why


class Archiving:
    """One archiving of one store into one folder. `by` is a person and `credential` their own.

    Raises StoreError where somebody else is archiving, where the store does not hold what it
    has signed, or where what lies in the folder does not fit.
    """

    def __init__(
        self, store: Store, folder: Path, signer: Signs, by: str, credential: bytes
    ) -> None:
        self._store = store
        self._folder = folder
        self._signer = signer
        self._by = by
        self._credential = credential

    def run(self, before: int, by: By, progress: Progress = lambda *_: None) -> tuple[Plan, Done]:
        """Archive what is older than `before`, and empty what an earlier run has left.

        Raises WrongSecretError where the secret is not the person's; nothing has changed then.
        """
        self._store.commit(Vouch(self._by, self._credential))
        path = self._store.path
        lock = FileLock(path.with_name(path.name + ".archive"))
        try:
            if not lock.try_acquire():
                raise StoreError(f"Somebody else is archiving {path} right now; wait for them.")
            return self._alone(before, by, progress)
        finally:
            lock.close()

    def _alone(self, before: int, by: By, progress: Progress) -> tuple[Plan, Done]:
        path = self._store.path
        self._store.flush()
        made: list[Made] = []
        with Reader(path) as reader:
            size = reader.head().size
            # What is searched for is found by an index that is made from bodies: that comes first.
            with Index(reader) as index:
                index.build(lambda done: progress("indexing", done, size))
            planned = plan(reader, before, by, self._store.now())
            stretches = self._taken_up(reader, planned)
            if stretches:
                self._make_folder()
                edges = self._edges(reader, stretches)
                made += (self._one(reader, each, edges, progress) for each in stretches)
            emptied = self._empty(reader, progress)
        return planned, Done(tuple(made), emptied)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise self._trouble(problem) from None

    def _trouble(self, problem: OSError) -> StoreError:
        return StoreError(
            f"{problem.filename or self._folder} cannot be written: {problem.strerror}. Nothing "
            "was taken out of the store that does not lie in an archive."
        )

    def _taken_up(self, reader: Reader, planned: Plan) -> tuple[Stretch, ...]:
        """The stretches, of which the first may lie there from a run that was killed."""
        first = reader.archived()
        limit = planned.stretches[-1].size if planned.stretches else first
        whole = [Stretch(*stated) for stated in _segments(self._folder) if stated[0] == first]
        if not whole:
            return planned.stretches
        [left, *_] = whole
        if left.size > limit:
            raise StoreError(
                f"{self._folder / left.name} was never recorded in this ledger, and more of it is "
                "needed now than before; take that folder away, and do it again."
            )
        rest = [each for each in planned.stretches if each.size > left.size]
        if rest:
            rest[0] = Stretch(left.size, rest[0].size)
        return (left, *rest)

    def _edges(self, reader: Reader, stretches: Sequence[Stretch]) -> dict[int, Frontier]:
        """The tree's right edge at each end of a stretch.

        A checkpoint of all entries is made first, which syncs them, and finds them to be those
        that the last one vouched for. The leaves at hand come to its root, so a checkpoint of
        fewer of them says nothing that this one does not say.
        """
        checkpoint(self._store.path, self._signer)
        head = reader.head()
        wanted = {at for stretch in stretches for at in stretch}
        tree, edges = Frontier(), {}
        for leaf in reader.leaves(head.size):
            if tree.size in wanted:
                edges[tree.size] = tree.copy()
            tree.append(leaf)
        edges[tree.size] = tree
        if tree.encode() != head.frontier:
            raise StoreError(
                f"The entries of {self._store.path} are not those of its head; nothing was "
                "archived. Run saferun ledger verify."
            )
        return edges

    def _one(
        self,
        reader: Reader,
        stretch: Stretch,
        edges: dict[int, Frontier],
        progress: Progress,
    ) -> Made:
        folder, edge = self._folder / stretch.name, edges[stretch.first]
        root = edges[stretch.size].root()
        if not folder.exists():
            try:
                _Writing(reader, self._folder, stretch, edge, self._signer).write(root, progress)
            except OSError as problem:
                raise self._trouble(problem) from None
        try:
            segment = Segment(folder)
            _compare(reader, segment, edge, root, self._signer, progress)
            note = segment.note()
        except SegmentError as problem:
            raise StoreError(
                f"{problem} Take {folder} away, and archive again; all of it is in the store."
            ) from None
        entry = ArchiveEntry(
            first=stretch.first,
            size=stretch.size,
            root=segment.manifest.root,
            note=note.decode(),
            by=self._by,
        )
        return Made(
            self._store.commit(Shelve(entry, self._credential, self._signer.vkey())),
            segment.manifest,
        )

    def _empty(self, reader: Reader, progress: Progress) -> int:
        """Empty what is archived and still has a body, each held against the archive once more."""
        size, emptied = reader.archived(), 0
        batch: list[tuple[int, bytes]] = []
        blobs: list[bytes] = []
        with contextlib.ExitStack() as stack:
            archive: Archive | None = None
            for seq, body, leaf in reader.rows(size):
                # Emptied before, or of a type that no entry has, which is for others to report.
                if not body or not isinstance(body, bytes):
                    continue
                parsed = _parsed(seq, body)
                if isinstance(parsed.entry, KEPT):
                    continue
                if archive is None:
                    archive = stack.enter_context(Archive(self._folder))
                if archive.body(seq, leaf) != body:
                    raise StoreError(
                        f"{archive.trouble or 'The archive has another entry there.'} The entries "
                        "from there on keep their bodies; name the folder that has them."
                    )
                for name in parsed.entry.blobs:
                    blob = bytes.fromhex(name)
                    held = reader.blob(blob)
                    if held is not None and archive.blob(blob) != held:
                        raise StoreError(
                            f"{self._folder} lacks a large value of entry {seq}, which stays in "
                            "the store."
                        )
                    blobs.append(blob)
                batch.append((seq, leaf))
                if len(batch) == BATCH:
                    emptied += self._clear(batch, blobs)
                    progress("emptying", seq + 1, size)
                    if emptied % (BATCH * CARE) == 0:
                        self._store.tend()
            if batch:
                emptied += self._clear(batch, blobs)
        if emptied:
            self._store.tend()
        return emptied

    def _clear(self, batch: list[tuple[int, bytes]], blobs: list[bytes]) -> int:
        began = time.monotonic()
        self._store.commit(Clear(tuple(batch), tuple(blobs)))
        # As long as it took, the lock is left to calls.
        time.sleep(min(time.monotonic() - began, 0.1))
        done = len(batch)
        batch.clear()
        blobs.clear()
        return done


class _Writing:
    """A segment being written, into a folder whose name says that it is not whole."""

    def __init__(
        self, reader: Reader, folder: Path, stretch: Stretch, edge: Frontier, signer: Signs
    ) -> None:
        self._reader = reader
        self._folder = folder
        self._stretch = stretch
        self._edge = edge
        self._signer = signer
        self._draft = folder / f".{stretch.name}.part"
        self._blobs = self._missing = 0
        self._times: list[int] = []

    def write(self, root: bytes, progress: Progress) -> None:
        # What a killed run has left is of no use to anybody.
        shutil.rmtree(self._draft, ignore_errors=True)
        (self._draft / BLOBS).mkdir(mode=0o700, parents=True)
        try:
            with _new(self._draft / ENTRIES) as file:
                entries = self._entries(file, progress)
            self._finish(root, entries)
        except BaseException:
            shutil.rmtree(self._draft, ignore_errors=True)
            raise

    def _entries(self, file: BinaryIO, progress: Progress) -> File:
        first, size = self._stretch
        hashed, length, due = sha256(), 0, first
        for seq, body, leaf in self._reader.rows(size, after=first - 1):
            if seq != due or not isinstance(body, bytes) or leaf_hash(body) != leaf:
                raise StoreError(
                    f"Entry {due} was changed or is missing, so it is not archived; run saferun "
                    "ledger verify."
                )
            parsed = _parsed(seq, body)
            if seq in (first, size - 1):
                self._times.append(parsed.time)
            for name in parsed.entry.blobs:
                self._keep(seq, bytes.fromhex(name))
            line = body + b"\n"
            file.write(line)
            hashed.update(line)
            length += len(line)
            due += 1
            if due % 1_024 == 0:
                progress("writing", due - first, size - first)
        if due != size:
            raise StoreError(f"Entry {due} is missing; run saferun ledger verify.")
        return File(length, hashed.hexdigest())

    def _keep(self, seq: int, blob: bytes) -> None:
        held = self._reader.blob(blob)
        if held is None:
            self._missing += 1
            return
        salt, data = held
        if blob_hash(salt, data) != blob:
            raise StoreError(
                f"A large value of entry {seq} was changed, so it is not archived; run saferun "
                "ledger verify."
            )
        self._blobs += 1
        with contextlib.suppress(FileExistsError), _new(self._draft / BLOBS / blob.hex()) as file:
            file.write(salt + data)

    def _finish(self, root: bytes, entries: File) -> None:
        first, size = self._stretch
        keys = b"".join(body + b"\n" for body in key_entries(self._reader, MAX_KEYS))
        with _new(self._draft / KEYS) as file:
            file.write(keys)
        manifest = Manifest(
            format=1,
            origin=self._signer.name,
            first=first,
            size=size,
            root=b64encode(root).decode(),
            frontier=b64encode(self._edge.encode()).decode(),
            since=self._times[0],
            until=self._times[-1],
            blobs=self._blobs,
            missing=self._missing,
            entries=entries,
            keys=File(len(keys), sha256(keys).hexdigest()),
        )
        data = manifest.encode()
        with _new(self._draft / MANIFEST) as file:
            file.write(data)
        said = Archival(self._signer.name, first, size, root, digest(data))
        with _new(self._draft / NOTE) as file:
            file.write(sign_archival(said, self._signer))
        for folder in (self._draft / BLOBS, self._draft):
            files.sync(folder)
        self._draft.rename(self._folder / self._stretch.name)
        files.sync(self._folder)
        files.sync(self._folder.absolute().parent)


def _compare(
    reader: Reader,
    segment: Segment,
    edge: Frontier,
    root: bytes,
    signer: Signs,
    progress: Progress,
) -> None:
    """Hold a segment as it lies on disk against the store.

    It goes on from the store's own tree and comes to the root of the store's own leaves, which
    no other bytes do; and its large values are those that the store has.
    """
    manifest = segment.manifest
    if (manifest.edge.encode(), manifest.root) != (edge.encode(), b64encode(root).decode()):
        raise SegmentError(f"The archive segment {segment.name} is of another ledger.")
    try:
        vouched = open_archival(segment.note(), [Verifier(signer.vkey())])
    except NoteError as problem:
        raise SegmentError(
            f"The archive segment {segment.name} was not signed here. {problem}"
        ) from None
    if vouched != segment.archival():
        raise SegmentError(
            f"The note of the archive segment {segment.name} is of another manifest."
        )
    segment.key_entries()
    for parsed in segment.followed(edge.copy()):
        for name in parsed.entry.blobs:
            blob = bytes.fromhex(name)
            held = reader.blob(blob)
            if held is not None and segment.blob(blob) != held:
                raise SegmentError(
                    f"The archive segment {segment.name} lacks a large value of entry {parsed.seq}."
                )
        if parsed.seq % 1_024 == 0:
            progress("verifying", parsed.seq + 1 - manifest.first, manifest.size - manifest.first)


def _segments(folder: Path) -> list[tuple[int, int]]:
    if not folder.is_dir():
        return []
    return [stated for each in folder.iterdir() if (stated := stated_by(each.name)) is not None]


def _parsed(seq: int, body: bytes) -> Parsed:
    try:
        return parse(body)
    except EntryError as problem:
        raise StoreError(f"Entry {seq} {problem.what}; run saferun ledger verify.") from None


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file that was not there before, on disk at the end of the block."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)
