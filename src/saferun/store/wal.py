"""Care of SQLite's write-ahead log, off the path of calls.

Two things decide what a commit costs besides its sync. A log that grows pays for new
blocks in every commit, so the file is filled with zeros once and then written over again
and again (zeros are no valid frame, so a reader after a crash stops where the last commit
stopped). And whoever moves the log's pages into the database makes everybody wait, so one
process does it, mostly without any lock, and takes the locks only for the last few pages,
after which the log starts over from its first block.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from saferun.config import Durability
from saferun.errors import StoreError
from saferun.store import sqlite
from saferun.store.locks import FileLock

EVERY = 1_000
"""Commits between two checkpoints: about 2,500 pages."""

SIZE = 16 * 1024 * 1024
"""Bytes that the log is filled up to: room for what comes between two full checkpoints."""

FULL = 3_000
"""Pages in the log from which on a checkpoint takes the locks to finish."""

_CHUNK = 1024 * 1024

Alone: TypeAlias = Callable[[], AbstractContextManager[object]]


class Wal:
    """The log of one database file, as one process tends it."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._durability: Durability = durability
        self._log = path.with_name(path.name + "-wal")
        self._connection: sqlite3.Connection | None = None
        self._owner: FileLock | None = None
        self._tending = threading.Lock()

    def tend(self, alone: Alone) -> None:
        """Fill the log where it is short, and move its pages into the database.

        Called without any lock; `alone` keeps every writer of every process out for a block.
        Trouble here costs speed and disk and no entry, so it is left to the next commit to
        report what is wrong with the file.
        """
        with self._tending, contextlib.suppress(StoreError, OSError, sqlite3.Error):
            if self._owner is None:
                self._owner = FileLock(self._path.with_name(self._path.name + ".checkpoint"))
            if not self._owner.try_acquire():
                return
            try:
                self._fill(alone)
                self._checkpoint(alone)
            finally:
                self._owner.release()

    def unsuspended(self) -> AbstractContextManager[object]:
        """A block that `suspend` waits for: what opens the file beside calls is done in one."""
        return self._tending

    def suspend(self) -> None:
        """Wait for what is under way, let go of the files, and begin nothing until `resume`.

        Before the writer's mutex, never after it: whoever tends takes them in this order.
        """
        self._tending.acquire()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def resume(self) -> None:
        self._tending.release()

    def _fill(self, alone: Alone) -> None:
        if not self._log.exists() or self._log.stat().st_size >= SIZE:
            return
        fd = os.open(self._log, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while (size := os.fstat(fd).st_size) < SIZE:
                # SQLite appends at the end of what is valid, never beyond the file's end plus
                # one frame; with both locks held nobody appends at all.
                with alone():
                    if os.fstat(fd).st_size == size:
                        os.pwrite(fd, bytes(_CHUNK), size)
                # Synced here, so that no caller's commit pays for these blocks.
                os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
        finally:
            # SQLite's locks lie on the database and its shared memory, not on the log, so
            # closing this descriptor drops none of them.
            os.close(fd)

    def _checkpoint(self, alone: Alone) -> None:
        if self._connection is None:
            self._connection = sqlite.connect(self._path, self._durability)
        _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages >= FULL:
            with alone():
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
