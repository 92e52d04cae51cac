"""Verification: whether the entries at hand are the ones that were written.

One pass over the stored rows in their order, and the first thing that is wrong ends it.
What is held against what:

1. each entry against its neighbours: numbers without a gap, time that never goes back;
2. its bytes against the leaf hash stored beside them, and against the format;
3. its story against those before: an outcome settles a decision that still waits for one;
4. the tree of all leaves against each checkpoint, at that checkpoint's size;
5. the same tree against the stored head, at the end.

Only a checkpoint that was kept elsewhere holds against whoever owns the ledger and its
keys: they can write a new one whose other parts agree. So without it a clean ledger is
`unanchored`, and with it the report counts the entries that came after.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from saferun.ledger.blob import SALT_BYTES, blob_hash
from saferun.ledger.checkpoint import Checkpoint
from saferun.ledger.entry import EntryError, parse
from saferun.ledger.kind import (
    READABLE,
    AnyEntry,
    DecisionEntry,
    LedgerEntry,
    OutcomeEntry,
    RecoveryEntry,
)
from saferun.ledger.tree import Frontier, leaf_hash

Row: TypeAlias = tuple[int, bytes, bytes | None]
"""Sequence number, body, and the stored leaf hash, None where none was stored."""

Blobs: TypeAlias = Callable[[bytes], tuple[bytes, bytes] | None]
"""From a blob's hash to its salt and value, None where they are no longer held."""

State: TypeAlias = Literal["verified", "tampered", "unanchored"]

_EXIT: dict[State, int] = {"verified": 0, "tampered": 1, "unanchored": 2}
_PROGRESS = 4096


class Head(NamedTuple):
    """The stored head: how many entries there are, and the encoded frontier of their tree."""

    size: int
    frontier: bytes


class Problem(msgspec.Struct, frozen=True):
    """The first thing that is wrong: at which entry, None where no single one is to blame."""

    seq: int | None
    sentence: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    `entries` are those that were read and found right, up to the first problem, and `root`
    is that of their tree. The first `anchored` of them are as an external checkpoint has
    them. `dangling` decisions may have started and have no outcome; of the `unknown` ones
    it is recorded that nobody knows. `blobs_missing` large values were not to be had, as
    happens when they are erased; the others fit their hashes.
    """

    entries: int
    root: bytes
    anchored: int
    dangling: int
    unknown: int
    blobs_missing: int
    problem: Problem | None = None

    @property
    def state(self) -> State:
        if self.problem is not None:
            return "tampered"
        return "verified" if self.anchored else "unanchored"

    @property
    def exit_code(self) -> int:
        """0 verified up to an external checkpoint, 1 tampered, 2 consistent but not anchored."""
        return _EXIT[self.state]

    @property
    def unanchored(self) -> int:
        """How many entries came after the external checkpoint, or all where there is none."""
        return self.entries - self.anchored

    @property
    def summary(self) -> str:
        """The report in one sentence."""
        if self.problem is not None:
            return f"Tampered: {self.problem.sentence}"
        if not self.anchored:
            return (
                f"Consistent but not anchored: no external checkpoint vouches for the "
                f"{_count(self.entries)}, so whoever holds the ledger and its keys could have "
                "rewritten all of it."
            )
        if not self.unanchored:
            return (
                f"Verified: the {_count(self.entries)} are those that the external checkpoint "
                "vouches for."
            )
        return (
            f"Verified: of {_count(self.entries)}, the first {self.anchored:,} are those that the "
            f"external checkpoint vouches for; the {self.unanchored:,} after it are consistent "
            "but not anchored."
        )


def verify(
    rows: Iterable[Row],
    head: Head | None = None,
    *,
    external: Checkpoint | None = None,
    local: Sequence[Checkpoint] = (),
    blobs: Blobs | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify a ledger in one pass, in memory that does not grow with it.

    What is remembered are the decisions that still wait for their outcome, of which a
    ledger has few.

    Args:
        rows: every entry, by ascending number.
        head: the stored head; None for an export, which has none.
        external: a checkpoint that was kept out of reach of whoever holds the ledger,
            already opened with a key that is known from elsewhere.
        local: checkpoints that were kept with the ledger. They narrow down where a rewrite
            lies, and prove nothing against the holder of the key.
        blobs: finds large values, to be checked against their hashes; None to leave them.
        progress: is told the number of entries done, every few thousand.

    """
    reading = _Reading(external, local, blobs)
    problem = None
    try:
        reading.compare()
        for seq, body, leaf in rows:
            reading.take(seq, body, leaf)
            done = reading.frontier.size
            if progress is not None and done % _PROGRESS == 0:
                progress(done)
        reading.finish(head)
    except _Wrong as wrong:
        problem = Problem(wrong.seq, wrong.sentence)
    return Report(
        entries=reading.frontier.size,
        root=reading.frontier.root(),
        anchored=reading.anchored,
        dangling=len(reading.story.open),
        unknown=len(reading.story.unknown),
        blobs_missing=reading.blobs_missing,
        problem=problem,
    )


class _Wrong(Exception):
    """The pass ends here. `seq` is the entry to blame, None where it is not known."""

    def __init__(self, seq: int | None, sentence: str) -> None:
        self.seq = seq
        self.sentence = sentence
        super().__init__(seq, sentence)


class _Mark(NamedTuple):
    """A checkpoint that the pass has not come to yet."""

    checkpoint: Checkpoint
    external: bool

    @property
    def name(self) -> str:
        return f"{'external' if self.external else 'local'} checkpoint"


class _Reading:
    """What is known after the entries read so far. Moves forward only."""

    def __init__(
        self, external: Checkpoint | None, local: Sequence[Checkpoint], blobs: Blobs | None
    ) -> None:
        marks = [_Mark(checkpoint, external=False) for checkpoint in local]
        if external is not None:
            marks.append(_Mark(external, external=True))
        # The next one last, where it is cheap to look at and to take away.
        self.marks = sorted(marks, key=lambda mark: mark.checkpoint.size, reverse=True)
        self.agreed = 0
        self.anchored = 0
        self.frontier = Frontier()
        self.time = 0
        self.story = _Story()
        self.blobs = blobs
        self.blobs_missing = 0

    def take(self, seq: int, body: bytes, stored: bytes | None) -> None:
        due = self.frontier.size
        if seq != due:
            raise _out_of_order(seq, due)
        # A database file may have been given columns of any type.
        if type(body) is not bytes:
            raise _Wrong(seq, f"Entry {seq} is not stored as bytes.")
        leaf = leaf_hash(body)
        if stored is not None and stored != leaf:
            raise _Wrong(
                seq, f"Entry {seq} was changed: its bytes do not give the leaf stored beside them."
            )
        try:
            parsed = parse(body)
        except EntryError as problem:
            raise _Wrong(seq, f"Entry {seq} {problem.what}.") from None
        if parsed.seq != seq:
            raise _Wrong(seq, f"Entry {seq} was put there from elsewhere: it says {parsed.seq}.")
        if parsed.time < self.time:
            raise _Wrong(seq, f"Entry {seq} is dated before the entry that it follows.")
        self.time = parsed.time
        if seq == 0:
            self.begin(parsed.entry)
        else:
            self.story.hear(seq, parsed.entry)
        if self.blobs is not None and parsed.entry.blobs:
            self.check_blobs(seq, parsed.entry, self.blobs)
        self.frontier.append(leaf)
        self.compare()

    def begin(self, entry: AnyEntry) -> None:
        """Entry 0 says which ledger this is, and so which checkpoints are its own."""
        if not isinstance(entry, LedgerEntry):
            raise _Wrong(0, "Entry 0 is not the one that begins a ledger: the beginning was cut.")
        if entry.format not in READABLE:
            raise _Wrong(
                0,
                f"Entry 0 names format {entry.format}, and this version reads formats "
                f"{READABLE[0]} to {READABLE[-1]}; "
                "verify with the version that wrote it.",
            )
        for mark in self.marks:
            if mark.checkpoint.origin != entry.origin:
                raise _Wrong(
                    None,
                    f"The {mark.name} is of the ledger {mark.checkpoint.origin!r}, "
                    f"and this one calls itself {entry.origin!r}.",
                )

    def check_blobs(self, seq: int, entry: AnyEntry, blobs: Blobs) -> None:
        """Hold the large values of an entry against the hashes that stand in it."""
        for name, size in entry.blobs.items():
            try:
                blob = bytes.fromhex(name)
            except ValueError:
                raise _Wrong(seq, f"Entry {seq} names a large value by no hash.") from None
            found = blobs(blob)
            if found is None:
                self.blobs_missing += 1
                continue
            salt, data = found
            fits = (
                type(salt) is type(data) is bytes
                and (len(salt), len(data)) == (SALT_BYTES, size)
                and blob_hash(salt, data) == blob
            )
            if not fits:
                raise _Wrong(
                    seq, f"A large value of entry {seq} was changed: it does not fit its hash."
                )

    def compare(self) -> None:
        """Hold the tree against each checkpoint of its present size."""
        while self.marks and self.marks[-1].checkpoint.size == self.frontier.size:
            mark = self.marks.pop()
            size = self.frontier.size
            if mark.checkpoint.root != self.frontier.root():
                since = f", though the first {self.agreed:,} are" if self.agreed else ""
                raise _Wrong(
                    None,
                    f"The first {_count(size)} are not those that the {mark.name} "
                    f"of that size vouches for{since}.",
                )
            self.agreed = size
            if mark.external:
                self.anchored = size

    def finish(self, head: Head | None) -> None:
        size = self.frontier.size
        if self.marks:
            longest = self.marks[0]
            raise _Wrong(
                None,
                f"The {longest.name} vouches for {_count(longest.checkpoint.size)}, "
                f"and the ledger has {size:,}: its tail was cut off.",
            )
        if head is None:
            return
        if head.size != size:
            raise _Wrong(
                None,
                f"The head counts {head.size} entries, and the ledger has {size}: "
                "entries were taken from its end or added to it.",
            )
        if head.frontier != self.frontier.encode():
            raise _Wrong(
                None,
                "The head is not that of these entries: one or more of them were rewritten "
                "together with their leaves, or the head was replaced.",
            )


class _Story:
    """Which decisions wait for an outcome.

    `open` ones have neither outcome nor recovery. `unknown` ones are known to be unknown,
    and an outcome may still come when somebody finds out.
    """

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.unknown: set[int] = set()

    def hear(self, seq: int, entry: AnyEntry) -> None:
        if isinstance(entry, DecisionEntry):
            if entry.verdict == "allow" or entry.mode != "enforce":
                self.open.add(seq)
        elif isinstance(entry, OutcomeEntry | RecoveryEntry):
            if entry.of in self.open:
                self.open.remove(entry.of)
                if entry.status == "unknown":
                    self.unknown.add(entry.of)
            elif entry.of in self.unknown and entry.status != "unknown":
                self.unknown.remove(entry.of)
            else:
                raise _Wrong(
                    seq,
                    f"Entry {seq} settles entry {entry.of}, which is not a decision that waits "
                    "for an outcome: there is none, or it is settled already.",
                )
        elif isinstance(entry, LedgerEntry):
            raise _Wrong(seq, f"Entry {seq} begins a ledger, which only entry 0 may.")


def _out_of_order(seq: int, due: int) -> _Wrong:
    if seq < due:
        return _Wrong(seq, f"Entry {seq} stands there twice, or after a later one.")
    missing = f"Entry {due} is" if seq == due + 1 else f"Entries {due} to {seq - 1} are"
    return _Wrong(due, f"{missing} missing.")


def _count(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries:,} entries"
