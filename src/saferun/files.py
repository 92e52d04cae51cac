"""Files that others may have put there, read without trusting what they are."""

import errno
import os
import stat
from pathlib import Path


def beginning(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of an ordinary file.

    Raises OSError where it cannot be read or is something else: opening a pipe, say, would wait
    for whoever writes to it, and nobody may ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # Asked of what was opened, and not of what may have stood there before.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
        return file.read(limit)
