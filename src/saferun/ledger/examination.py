"""One pass over entries, as far as it has come: what `verify` knows after each of them."""

import contextlib
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from saferun.errors import SafeRunError
from saferun.ledger.checkpoint import Checkpoint
from saferun.ledger.commitment import Openings
from saferun.ledger.kind import (
    READABLE,
    AnyEntry,
    ArchiveEntry,
    KeyEntry,
    LedgerEntry,
    RestartEntry,
)
from saferun.ledger.note import NoteError, Verifier
from saferun.ledger.part import Part
from saferun.ledger.pieces import Pieces
from saferun.ledger.proof import ProofError, consistency, proves_consistency
from saferun.ledger.report import Problem, Report, Wrong, counted
from saferun.ledger.row import TURNS, examined
from saferun.ledger.story import Story
from saferun.ledger.succession import Kept, Succession, stated
from saferun.ledger.tree import HASH_BYTES, Frontier, Nodes
from saferun.ledger.values import Blobs, LargeValues, missing_openings


class Head(NamedTuple):
    """The stored head: how many entries there are, and the encoded frontier of their tree."""

    size: int
    frontier: bytes


class Since(NamedTuple):
    """A checkpoint up to which a ledger was read before, and the key that opened it."""

    checkpoint: Checkpoint
    key: Verifier


class Known(NamedTuple):
    """What a ledger is held against, beside itself; see `verify`."""

    external: Sequence[Kept] = ()
    local: Sequence[Kept] = ()
    trusted: Sequence[Verifier] = ()
    beside: Verifier | None = None
    blobs: Blobs | None = None
    openings: Openings | None = None
    nodes: Sequence[Nodes] = ()

    def sizes(self) -> list[int]:
        """The sizes at which the tree is held against a checkpoint, in ascending order."""
        found = set()
        for kept in (*self.external, *self.local):
            with contextlib.suppress(NoteError):
                found.add(kept.size if isinstance(kept, Checkpoint) else stated(kept).size)
        return sorted(found)


class Examination:
    """What is known after the entries taken so far. Moves forward only.

    Every method raises Wrong at the first thing that is wrong.
    """

    def __init__(self, known: Known, since: Since | None = None) -> None:
        self.frontier = Frontier()
        self.anchored = 0
        self.succession = Succession(known.trusted, known.beside)
        self._known = known
        self._since = since
        self._agreed = 0
        self._marks: list[_Mark] = []
        self._time = 0
        self._story = Story(self._unread)
        self._archived = Pieces()
        self._archived_until = 0
        self._archived_by: int | None = None
        self._claims: list[tuple[int, int, bytes]] = []
        self._large = None if known.blobs is None else LargeValues(known.blobs)
        self._blobs_missing = 0
        self._sealed_missing = 0

    def begin(self) -> None:
        """Line up the checkpoints, and take what is trusted already for read."""
        marks = [_Mark.of(kept, external=False) for kept in self._known.local]
        marks += [_Mark.of(kept, external=True) for kept in self._known.external]
        # The next one last, where it is cheap to look at and to take away.
        self._marks = sorted(marks, key=lambda mark: mark.size, reverse=True)
        if self._since is not None:
            self._resume(self._since)
        self._compare()

    def take(self, seq: int, body: bytes, stored: bytes | None) -> None:
        due = self.frontier.size
        if seq != due:
            raise _out_of_order(seq, due)
        if type(body) is bytes and not body:
            self._take_archived(seq, stored)
            return
        leaf, parsed = examined(seq, body, stored)
        if parsed.time < self._time:
            raise Wrong(seq, f"Entry {seq} is dated before the entry that it follows.")
        self._time = parsed.time
        entry = parsed.entry
        if seq == 0:
            self._begin(entry)
        else:
            self._story.hear(seq, entry)
            if isinstance(entry, TURNS):
                self._turn(seq, entry)
        if self._large is not None and entry.blobs:
            self._blobs_missing += self._large.missing(seq, entry.blobs)
        if self._known.openings is not None and entry.sealed:
            self._sealed_missing += missing_openings(seq, entry.sealed, self._known.openings)
        self.frontier.append(leaf)
        self._compare()

    def join(self, part: Part) -> bool:
        """Take a part for read. False, and nothing has changed, where it must be read in order."""
        if not part.plain or part.first != self.frontier.size or part.began < self._time:
            return False
        story = Story(self._unread)
        story.open, story.unknown = set(self._story.open), set(self._story.unknown)
        if not all(story.settle(of, unknown=unknown) for of, unknown in part.settled):
            return False
        due = list(takewhile(lambda mark: mark.size <= part.stop, reversed(self._marks)))
        for mark in due:
            if mark.size not in part.trees:
                return False
            tree = self.frontier.copy()
            tree.extend(Frontier.decode(part.trees[mark.size]))
            try:
                checkpoint = self.succession.open(mark.kept, external=mark.external)
            except Wrong:
                return False
            if checkpoint is not None and checkpoint.root != tree.root():
                return False
        del self._marks[len(self._marks) - len(due) :]
        for mark in due:
            self._agree(mark)
        story.open.update(part.open)
        story.unknown.update(part.unknown)
        self._story = story
        self._time = part.ended
        self._blobs_missing += part.blobs_missing
        self._sealed_missing += part.sealed_missing
        self.frontier.extend(Frontier.decode(part.tree))
        return True

    def finish(self, head: Head | None) -> None:
        size = self.frontier.size
        if self._marks:
            missed = next((mark for mark in self._marks if mark.external), self._marks[0])
            self.succession.open(missed.kept, external=missed.external)
            raise Wrong(
                None,
                f"The {missed.name} vouches for {counted(missed.size)}, "
                f"and the ledger has {size:,}: its tail was cut off.",
            )
        empty = self._archived.beyond(self._archived_until)
        if empty is not None:
            raise Wrong(
                empty, f"Entry {empty} is empty, and no archive entry says where its bytes are."
            )
        if head is not None:
            self._hold_against(head)
        for seq, claimed, root in self._claims:
            if self._known.nodes and not self._is_beginning(
                claimed, root, size, self.frontier.root()
            ):
                raise Wrong(
                    seq,
                    f"Entry {seq} says what was archived, and the root in it is not that of the "
                    f"first {counted(claimed)}.",
                )
        self.succession.finish()

    def report(self, problem: Problem | None) -> Report:
        return Report(
            entries=self.frontier.size,
            root=self.frontier.root(),
            anchored=self.anchored,
            dangling=len(self._story.open),
            unknown=len(self._story.unknown),
            blobs_missing=self._blobs_missing,
            sealed_missing=self._sealed_missing,
            archived=self._archived.count,
            emptied=self._archived_by if self._archived.count else None,
            since=0 if self._since is None else self._since.checkpoint.size,
            lost=self.succession.lost,
            origin=self.succession.origin,
            problem=problem,
        )

    def _resume(self, since: Since) -> None:
        checkpoint = since.checkpoint
        for nodes in self._known.nodes:
            try:
                self.frontier = Frontier.at(checkpoint.size, nodes)
            except SafeRunError:
                continue
            if self.frontier.root() == checkpoint.root:
                break
        else:
            self.frontier = Frontier()
            raise Wrong(
                None,
                f"The leaves of the first {counted(checkpoint.size)} do not give the root that the "
                "checkpoint of that size vouches for: some are missing or were changed.",
            )
        self.succession.resume(checkpoint, since.key)
        self._agreed = self.anchored = checkpoint.size
        while self._marks and self._marks[-1].size < checkpoint.size:
            mark = self._marks.pop()
            if not mark.external:
                continue
            earlier = self.succession.open(mark.kept, external=True)
            if earlier is not None and not self._is_beginning(
                earlier.size, earlier.root, checkpoint.size, checkpoint.root
            ):
                raise _contradicted(mark, 0)

    def _take_archived(self, seq: int, stored: bytes | None) -> None:
        if type(stored) is not bytes or len(stored) != HASH_BYTES:
            raise Wrong(seq, f"Entry {seq} is empty, and no leaf of it was kept.")
        if seq == 0:
            # No archive takes it; without it, nobody could tell whose word is to be believed.
            raise Wrong(0, "Entry 0 is empty, and the entry that begins a ledger never goes.")
        self._archived.add(seq)
        self.frontier.append(stored)
        self._compare()

    def _begin(self, entry: AnyEntry) -> None:
        """Entry 0 says which ledger this is, and so which checkpoints are its own."""
        if not isinstance(entry, LedgerEntry):
            raise Wrong(0, "Entry 0 is not the one that begins a ledger: the beginning was cut.")
        if entry.format not in READABLE:
            raise Wrong(
                0,
                f"Entry 0 names format {entry.format}, and this version reads formats "
                f"{READABLE[0]} to {READABLE[-1]}; "
                "verify with the version that wrote it.",
            )
        self.succession.begin(entry)

    def _turn(self, seq: int, entry: AnyEntry) -> None:
        """An entry that changes what holds for others."""
        if isinstance(entry, KeyEntry):
            self.succession.rotate(seq, entry)
        elif isinstance(entry, RestartEntry):
            self.succession.restart(seq, entry)
        elif isinstance(entry, ArchiveEntry):
            self._claims.append((seq, entry.size, self.succession.archived(seq, entry)))
            self._archived_until = max(self._archived_until, entry.size)
            self._archived_by = seq

    def _unread(self, seq: int) -> bool:
        """Whether an entry is there whose bytes were not looked at."""
        before = 0 if self._since is None else self._since.checkpoint.size
        return 0 <= seq < before or self._archived.covers(seq)

    def _compare(self) -> None:
        """Hold the tree against each checkpoint of its present size."""
        while self._marks and self._marks[-1].size == self.frontier.size:
            mark = self._marks.pop()
            checkpoint = self.succession.open(mark.kept, external=mark.external)
            if checkpoint is None:
                continue
            if checkpoint.root != self.frontier.root():
                raise _contradicted(mark, self._agreed)
            self._agree(mark)

    def _agree(self, mark: "_Mark") -> None:
        self._agreed = max(self._agreed, mark.size)
        if mark.external:
            self.anchored = max(self.anchored, mark.size)

    def _hold_against(self, head: Head) -> None:
        size = self.frontier.size
        if head.size != size:
            raise Wrong(
                None,
                f"The head counts {head.size} entries, and the ledger has {size}: "
                "entries were taken from its end or added to it.",
            )
        if head.frontier != self.frontier.encode():
            raise Wrong(
                None,
                "The head is not that of these entries: one or more of them were rewritten "
                "together with their leaves, or the head was replaced.",
            )

    def _is_beginning(self, old: int, old_root: bytes, new: int, new_root: bytes) -> bool:
        for nodes in self._known.nodes:
            try:
                hashes = consistency(old, new, nodes)
            except (SafeRunError, ProofError):
                continue
            if proves_consistency(hashes, old, new, old_root, new_root):
                return True
        return False


class _Mark(NamedTuple):
    """A checkpoint that the pass has not come to yet."""

    size: int
    external: bool
    kept: Kept

    @classmethod
    def of(cls, kept: Kept, *, external: bool) -> "_Mark":
        if isinstance(kept, Checkpoint):
            return cls(kept.size, external, kept)
        try:
            return cls(stated(kept).size, external, kept)
        except NoteError as problem:
            what = "An external checkpoint" if external else "A checkpoint kept with the ledger"
            raise Wrong(None, f"{what} does not open. {problem}") from None

    @property
    def name(self) -> str:
        return f"{'external' if self.external else 'local'} checkpoint"


def _contradicted(mark: _Mark, agreed: int) -> Wrong:
    since = f", though the first {agreed:,} are" if agreed else ""
    return Wrong(
        None,
        f"The first {counted(mark.size)} are not those that the {mark.name} "
        f"of that size vouches for{since}.",
    )


def _out_of_order(seq: int, due: int) -> Wrong:
    if seq < due:
        return Wrong(seq, f"Entry {seq} stands there twice, or after a later one.")
    missing = f"Entry {due} is" if seq == due + 1 else f"Entries {due} to {seq - 1} are"
    return Wrong(due, f"{missing} missing.")
