"""What the controls keep and nobody needs any more: taken away off the path, a little at a time.

A limit with a window, by user say, leaves a row for every user that there ever was. Once its
windows are over, a row says what no row says, so it may go: a process that still remembers it
decides the same, and writes it anew with the next call that counts there.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import msgspec

from saferun.admission import spent
from saferun.errors import StoreError
from saferun.store import sqlite

READ = 1_024
"""Rows read at once, without any lock."""

MOST = 64
"""Pages read in one turn."""

TAKEN = 256
"""Rows taken away in one transaction, which is as long as a call may have to wait for it."""

LEAST = 60_000_000
"""Microseconds that a row has been left alone before it is looked at: nearly all are in use."""

_FIRST = -(1 << 63)

Alone: TypeAlias = Callable[[], AbstractContextManager[sqlite3.Connection]]


class Pruning:
    """One process's way through the rows of the controls, which begins again at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._after = _FIRST
        self._size: int | None = None

    def go_on(self, alone: Alone) -> int:
        """Look at some rows further on and take away what is spent; returns how many those were.

        Called without any lock; `alone` keeps every writer of every process out for a block, and
        gives the connection to write by. Trouble here costs disk alone, so it is left to the
        next commit to report.
        """
        gone = 0
        with contextlib.suppress(StoreError, OSError, sqlite3.Error, msgspec.MsgspecError):
            for over in self._pages():
                for at in range(0, len(over), TAKEN):
                    with alone() as connection, sqlite.transaction(connection):
                        # One that has moved meanwhile is another row than was looked at.
                        connection.executemany(
                            "DELETE FROM head WHERE seq = ? AND data = ?", over[at : at + TAKEN]
                        )
                gone += len(over)
        return gone

    def _pages(self) -> Iterator[list[tuple[int, bytes]]]:
        """What is spent among the next rows, page by page."""
        connection = sqlite.connect(self._path, "process", write=False, forks_wait=False)
        try:
            # By the ledger's time and not the host's: no decision is ever made before that, so
            # what is over then is over for good, whatever the host's clock does.
            now, size = connection.execute("SELECT time, size FROM head WHERE seq = -1").fetchone()
            # More than can have been added meanwhile, or a flood of new rows would be too fast.
            grown = 0 if self._size is None else size - self._size
            self._size = size
            for _ in range(min(1 + 2 * grown // READ, MOST)):
                found = connection.execute(
                    "SELECT key, data, time FROM control WHERE key > ? ORDER BY key LIMIT ?",
                    (self._after, READ),
                ).fetchall()
                self._after = found[-1][0] if len(found) == READ else _FIRST
                yield [
                    (key, data)
                    for key, data, time in found
                    if time < now - LEAST and spent(msgspec.msgpack.decode(data), now)
                ]
                if self._after == _FIRST:
                    break
        finally:
            connection.close()
