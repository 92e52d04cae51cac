"""Notices that files change, by looking: no service of the machine is needed for that."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeAlias

MAX_FILES = 2_000
"""Files that are looked at each time: some milliseconds."""

Seen: TypeAlias = dict[str, tuple[int, int]]


def changes(folder: Path, wait: Callable[[], object]) -> Iterator[None]:
    """Once at first, and then each time that something in the folder or below it has changed.

    Policies include files of their own folder alone, so this is all that a test depends on.
    `wait` is called between two looks.
    """
    seen = _look(folder)
    yield
    while True:
        wait()
        now = _look(folder)
        if now != seen:
            seen = now
            yield


def _look(folder: Path) -> Seen:
    """When each file was written last, and how large it was."""
    return dict(islice(_files(folder), MAX_FILES))


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            try:
                about = path.stat()
            except OSError:
                # It went away between being listed and being looked at.
                continue
            yield str(path), (about.st_mtime_ns, about.st_size)
