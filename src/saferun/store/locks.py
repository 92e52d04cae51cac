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
from collections import deque
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

    def holds(self, path: Path) -> bool:
        """Whether the file that is locked is still the one that `path` leads to."""
        try:
            return os.path.samestat(os.fstat(self._fd), path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of the file. In a forked child this leaves the parent's lock in place."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


MOST_LIVES = 100
"""Lives on one store that this process remembers to have been its own."""

_lived: dict[Path, deque[str]] = {}
# What the parent has written is not the child's.
os.register_at_fork(after_in_child=_lived.clear)


class Boot:
    """One life of one process on one store, alive for as long as its lock file is locked.

    Every intent names the boot that made it. A boot whose file can be locked by somebody
    else, or is gone, will never settle what it left open.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.id = secrets.token_hex(8)
        _lived.setdefault(folder.resolve(), deque(maxlen=MOST_LIVES)).append(self.id)
        self._path = folder / self.id
        while True:
            self._lock = FileLock(self._path)
            self._lock.acquire()
            # Between making the file and locking it, somebody may have found it unlocked,
            # taken it for a dead boot's and removed it.
            if self._lock.holds(self._path):
                return
            self._lock.close()

    def close(self) -> None:
        """The end of this life: nothing may be open any more, since missing means dead."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._lock.close()

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptor, leave the parent's life alone."""
        self._lock.close()


def lived_here(folder: Path) -> frozenset[str]:
    """The ids of the lives that this process has had on a store, by the folder of its boots."""
    return frozenset(_lived.get(folder.resolve(), ()))


def bury_the_rest(folder: Path) -> None:
    """Remove the files of dead boots that left nothing open."""
    for path in folder.iterdir():
        with buried(folder, path.name):
            pass


def boots(store: Path) -> Path:
    """The folder with the lock files of those that have a store open."""
    return store.with_name(store.name + ".boots")


def lives(folder: Path, boot: str) -> bool:
    """Whether the process of a boot is still there, as far as its lock tells. Changes nothing."""
    if not boot.isalnum():
        # It comes from the database, so it may be no more than the name of a file.
        return False
    try:
        fd = os.open(folder / boot, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask do not take each other for the owner.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


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
