"""Verification: whether the entries at hand are the ones that were written.

One pass over the stored rows in their order, and the first thing that is wrong ends it.
What is held against what:

1. each entry against its neighbours: numbers without a gap, time that never goes back;
2. its bytes against the leaf hash stored beside them, and against the format (`row`);
3. its large and its sealed values against their hashes (`values`);
4. its story against those before: an outcome settles a decision that still waits for one
   (`story`);
5. changes of key and name against the keys before (`succession`);
6. the tree of all leaves against each checkpoint, at that checkpoint's size;
7. the same tree against the stored head, at the end.

Only a checkpoint that was kept elsewhere holds against whoever owns the ledger and its
keys: they can write a new one whose other parts agree. So without it a clean ledger is
`unanchored`, and with it the report counts the entries that came after.

Of entries that were archived the bytes lie elsewhere: their leaves count in the tree, and
nothing is said about the rest. A caller who has the bytes hands them in with the rows. The
same holds for all entries up to a checkpoint that is trusted to have been read (`since`).

A long ledger is read in parts, by several processes. A part tells all that its place in the
ledger decides; one that is not plain is read again in its order, and so is one that does not
fit to those before it. What is found is the same, to the sentence.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from saferun.ledger.commitment import Openings
from saferun.ledger.examination import Examination, Head, Known, Since
from saferun.ledger.note import Verifier
from saferun.ledger.part import Part
from saferun.ledger.report import Problem, Report, Wrong
from saferun.ledger.row import Row
from saferun.ledger.succession import Kept
from saferun.ledger.tree import Nodes
from saferun.ledger.values import Blobs

_PROGRESS = 4096

T = TypeVar("T")

Progress = Callable[[int], None]


def verify(
    rows: Iterable[Row],
    head: Head | None = None,
    *,
    external: Kept | tuple[Kept, ...] | None = None,
    local: Iterable[Kept] = (),
    trusted: Verifier | tuple[Verifier, ...] | None = None,
    beside: Verifier | None = None,
    blobs: Blobs | None = None,
    openings: Openings | None = None,
    nodes: Iterable[Nodes] = (),
    since: Since | None = None,
    progress: Progress | None = None,
) -> Report:
    """Verify a ledger in one pass, in memory that does not grow with it.

    What is remembered are the decisions that still wait for their outcome, of which a
    ledger has few.

    Args:
        rows: every entry, by ascending number; with `since`, those from its size on.
        head: the stored head; None for an export, which has none.
        external: checkpoints that were kept out of reach of whoever holds the ledger: opened
            already with a key that is known from elsewhere, or signed notes, to be opened with
            `trusted` or a key that follows from it.
        local: checkpoints that were kept with the ledger. They narrow down where a rewrite
            lies, and prove nothing against the holder of the key.
        trusted: keys of the ledger that were kept elsewhere, the oldest first: the newest, an
            earlier one, or several.
        beside: the key that lies with the ledger, for want of a trusted one.
        blobs: finds large values, to be checked against their hashes; None to leave them.
        openings: finds what opens sealed values, likewise.
        nodes: where the roots of perfect subtrees can be had, the fastest first. They are for
            what lies behind: the roots that `archive` entries state, and `since`. Nothing
            rests on their being right, but without any, those roots are left.
        since: a checkpoint that is trusted to have been read in full.
        progress: is told the number of entries done, every few thousand.

    """
    known = Known(
        external=_several(external),
        local=tuple(local),
        trusted=_several(trusted),
        beside=beside,
        blobs=blobs,
        openings=openings,
        nodes=tuple(nodes),
    )
    examination = Examination(known, since)

    def read() -> None:
        _take(examination, rows, progress)

    return _verified(examination, read, head)


def verify_parts(
    parts: Iterable[Part],
    rows: Callable[[int, int | None], Iterable[Row]],
    head: Head | None,
    known: Known,
    *,
    since: Since | None = None,
    progress: Progress | None = None,
) -> Report:
    """Verify a ledger of which parts were examined apart, as `verify` would.

    `parts` follow on one another. `rows` gives the entries from one number up to another,
    without it, and up to the last one for None.
    """
    examination = Examination(known, since)

    def read() -> None:
        done = examination.frontier.size
        for part in parts:
            if done < part.first:
                _take(examination, rows(done, part.first), progress)
            if not examination.join(part):
                _take(examination, rows(part.first, part.stop), progress)
            done = part.stop
            if progress is not None:
                progress(done)
        _take(examination, rows(done, None), progress)

    return _verified(examination, read, head)


def _verified(examination: Examination, read: Callable[[], None], head: Head | None) -> Report:
    problem = None
    try:
        examination.begin()
        read()
        examination.finish(head)
    except Wrong as wrong:
        problem = Problem(wrong.seq, wrong.sentence)
    return examination.report(problem)


def _take(examination: Examination, rows: Iterable[Row], progress: Progress | None) -> None:
    for seq, body, leaf in rows:
        examination.take(seq, body, leaf)
        done = examination.frontier.size
        if progress is not None and done % _PROGRESS == 0:
            progress(done)


def _several(given: T | tuple[T, ...] | None) -> tuple[T, ...]:
    if given is None:
        return ()
    return given if isinstance(given, tuple) else (given,)
