"""Files: read without trusting what they are, and written so that a crash leaves all or nothing."""

import errno
import os
import secrets
import stat
from io import BufferedReader
from pathlib import Path


def ordinary(path: Path) -> BufferedReader:
    """An ordinary file, opened for reading.

    Raises OSError where it cannot be read or is something else: opening a pipe, say, would wait
    for whoever writes to it, and nobody may ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
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
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        move(draft, path)
    finally:
        draft.unlink(missing_ok=True)


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
