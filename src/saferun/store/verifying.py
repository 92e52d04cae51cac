"""Verifying a store's ledger, a long one with all processors.

Each process reads parts of the ledger through a connection of its own, that may look and not
touch, and tells what `ledger.examine_part` makes of them. The one that asked puts them
together in their order, and reads again what is not plain; so what is found is what one pass
would find. Parts lie on borders of subtrees, and only a few are under way at a time.
"""

import logging
import os
import signal
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from saferun.ledger import (
    Head,
    Known,
    Part,
    Report,
    Row,
    Since,
    examine_part,
    verify_parts,
)
from saferun.store.archive import Archive
from saferun.store.openings import Openings
from saferun.store.reading import Reader

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

PART = 1 << 14
"""Entries that a process reads at a time."""

LONG = 1 << 17
"""Entries from which it pays to start processes: about a second's work."""

log = logging.getLogger("saferun")

_MOST = 8
"""Processes at most; beyond, the disk is what one waits for."""


def verify(
    reader: Reader,
    head: Head,
    known: Known,
    *,
    since: Since | None = None,
    processes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """What `ledger.verify` finds in a store, up to a head that was read before.

    Large values and what opens sealed ones are looked up in the store, and what was archived in
    the reader's archive, if it has one. `processes` is how many read; by default as many as
    there are processors for a long ledger, and this one alone for others.
    """

    def rows(first: int, stop: int | None) -> Iterator[Row]:
        # A row below number 0 was put there; the pass begins with it, and finds it.
        after = first - 1 if first else -(1 << 63)
        return _counted_by(reader, head.size, after, stop)

    known = known._replace(
        blobs=reader.blob,
        openings=Openings(reader).opening,
        nodes=(reader.tree(), reader.tree(kept=False)),
    )
    begin = 0 if since is None else since.checkpoint.size
    if processes is None:
        processes = min(_processors(), _MOST) if head.size - begin >= LONG else 1
    # One process reads in order: no part is worth examining apart.
    end = head.size if processes > 1 else begin
    parts = _parts(reader, begin, end, known.sizes(), processes)
    try:
        return verify_parts(parts, rows, head, known, since=since, progress=progress)
    finally:
        parts.close()


def _counted_by(
    reader: Reader, size: int, after: int = -(1 << 63), stop: int | None = None
) -> Iterator[Row]:
    """The entries that a head of that size counts, and one past it that no head counts.

    The ledger may grow while it is read; an entry that came after the head came with a newer
    head, in one transaction.
    """
    for row in reader.rows(stop, after=after):
        if size <= row[0] < reader.head().size:
            return
        yield row


def _parts(
    reader: Reader, begin: int, size: int, sizes: list[int], processes: int
) -> Generator[Part, None, None]:
    starts = range(-(-begin // PART) * PART, size - PART + 1, PART)
    if not starts:
        return
    # Not at the top: whoever guards a tool imports this room, and never verifies.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # From a fresh interpreter: a fork would take over connections and locks that are in use.
    pool = ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_interrupts
    )
    waiting: deque[tuple[int, Future[Part] | None]] = deque()
    try:
        for first in starts:
            inside = sizes[bisect_right(sizes, first) : bisect_right(sizes, first + PART)]
            waiting.append((first, _asked(pool, reader, first, inside)))
            if len(waiting) > 2 * processes:
                yield _told(*waiting.popleft())
        while waiting:
            yield _told(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _asked(
    pool: "ProcessPoolExecutor", reader: Reader, first: int, sizes: list[int]
) -> "Future[Part] | None":
    archive = None if reader.archive is None else reader.archive.folder
    try:
        return pool.submit(_examined, reader.path, archive, first, sizes)
    except RuntimeError:
        # A process was killed, and the others went with it.
        return None


def _told(first: int, future: "Future[Part] | None") -> Part:
    try:
        if future is not None:
            return future.result()
    except Exception as problem:  # noqa: BLE001 - whatever it was, reading in order meets it again
        log.debug("a part of the ledger is read again: %s", problem)
    return Part(first=first, stop=first + PART)


def _examined(path: Path, archive: Path | None, first: int, sizes: list[int]) -> Part:
    stop = first + PART
    with ExitStack() as stack:
        at_hand = None if archive is None else stack.enter_context(Archive(archive))
        reader = stack.enter_context(Reader(path, at_hand))
        rows = reader.rows(stop, after=first - 1)
        return examine_part(rows, first, stop, sizes, reader.blob, Openings(reader).opening)


def _leave_interrupts() -> None:
    # Ctrl-C goes to every process of the terminal, and the one that asked tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
