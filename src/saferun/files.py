"""Files: read without trusting what they are, and written so that a crash leaves all or nothing."""

import errno
import os
import secrets
import select
import stat
import time
from io import BufferedReader
from pathlib import Path

PATIENCE = 30.0
"""Seconds in which all that comes through a pipe has to come, where a person has named it."""


def ordinary(path: Path) -> BufferedReader:
    """An ordinary file, opened for reading.

    Raises OSError where it cannot be read or is something else: opening a pipe, say, would wait
    for whoever writes to it, and nobody may ever.
    """
    return _ordinary(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), path)


def arrived(path: Path, limit: int, patience: float) -> bytes:
    """All of a file, or of what comes through a pipe: `limit` bytes at most.

    A pipe is read to its end, which has to come within `patience` seconds. Raises TimeoutError
    where it does not, and OSError where `path` cannot be read, or has more.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        until, data = time.monotonic() + patience, bytearray()
        watched = select.poll()
        watched.register(descriptor, select.POLLIN)
        while len(data) <= limit:
            # Of a file there is always more to read, or its end. A pipe has neither while somebody
            # is still writing to it, nor before anybody has opened its other end.
            if not watched.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    "it is no ordinary file, and what comes through it did not end within "
                    f"{patience:g} s; write it to a file first",
                    str(path),
                )
            more = os.read(descriptor, limit + 1 - len(data))
            if not more:
                return bytes(data)
            data += more
        raise OSError(
            errno.EFBIG, f"it has more than {limit:,} bytes, which is the most", str(path)
        )
    finally:
        os.close(descriptor)


def inside(folder: Path, *names: str) -> BufferedReader:
    """An ordinary file inside a folder, by the names on the way to it, opened for reading.

    `folder` may be reached by links, since somebody has named it; none of `names` may be one,
    since whoever has filled the folder decides where that leads. Raises OSError.
    """
    reached = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            inner = _no_link(name, os.O_DIRECTORY, reached)
            os.close(reached)
            reached = inner
        return _ordinary(_no_link(names[-1], os.O_NONBLOCK, reached), folder.joinpath(*names))
    finally:
        os.close(reached)


def _no_link(name: str, how: int, folder: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | how, dir_fd=folder)
    except OSError:
        # What the system says of a link that it does not follow is not the same everywhere.
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(
                errno.ELOOP, f"{name} is a link, and no link is followed there", name
            ) from None
        raise


def _ordinary(descriptor: int, path: Path) -> BufferedReader:
    file = os.fdopen(descriptor, "rb")
    # Asked of what was opened, and not of what may have stood there before.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
    return file


def beginning(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of an ordinary file. Raises OSError as `ordinary` does."""
    with ordinary(path) as file:
        return file.read(limit)


def put(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Have a file hold these bytes, whole or not at all, on disk when this returns.

    What was there before is replaced. Raises OSError.
    """
    draft = drafted(path, data, mode=mode)
    try:
        move(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def drafted(path: Path, data: bytes, *, mode: int = 0o600) -> Path:
    """A file beside the one that is to hold these bytes, whole and on disk, for `move`.

    Raises OSError, and leaves nothing then.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def move(path: Path, to: Path) -> None:
    """Have a file stand under another name for good, in place of what stood there."""
    path.replace(to)
    sync(to.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
