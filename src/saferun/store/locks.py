"""Locks between processes: who writes now, and who is still alive.

`flock` is held by an open file description, so the kernel frees it however its process
ends; nothing has to expire and nobody can hold a lock after death. It is right only on a
local file system, which `sqlite.check_location` sees to.

One order everywhere: the process's own mutex, then the file lock, then the transaction.
Released in reverse.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from saferun.errors import StoreError

if sys.platform == "win32":  # pragma: no cover - stated once, plainly, instead of half working
    raise StoreError(
        "SafeRun's SQLite store needs the file locks of Linux or macOS; "
        "on Windows, run the agent under WSL."
    )

import fcntl


class FileLock:
    """An exclusive lock on one file, open for as long as this object is."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def try_acquire(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file. In a forked child this leaves the parent's lock in place."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


class Boot:
    """One life of one process on one store, alive for as long as its lock file is locked.

    Every intent names the boot that made it. A boot whose file can be locked by somebody
    else, or is gone, will never settle what it left open.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.id = secrets.token_hex(8)
        self._path = folder / self.id
        self._lock = FileLock(self._path)
        self._lock.acquire()

    def close(self) -> None:
        # Removed before it is unlocked: nobody may find the file and take it for a dead boot's
        # while this one still settles. Missing means dead as well.
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._lock.close()

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptor, leave the parent's life alone."""
        self._lock.close()


@contextlib.contextmanager
def buried(folder: Path, boot: str) -> Iterator[bool]:
    """Whether `boot` is dead; where it is, its lock is held for the length of the block.

    Holding it means that two processes never bury one boot at the same time.
    """
    path = folder / boot
    if not path.exists():
        yield True
        return
    lock = FileLock(path)
    try:
        dead = lock.try_acquire()
        yield dead
        if dead:
            path.unlink(missing_ok=True)
    finally:
        lock.close()
