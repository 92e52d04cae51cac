"""F: what one synced write costs on the disk that the stores of this run lie on."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Round, settle_memory

_PAGE = bytes(4096)
_LENGTH = 16 * 1024 * 1024

_sync = getattr(os, "fdatasync", os.fsync)


class Synced:
    """Write a page into a file that has its blocks already, and wait until it is on disk.

    That is the least that a durable commit can do, so `full` durability is held against it.
    """

    name = "disk: write 4 KiB, fdatasync (F)"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def run(self, calls: int) -> Round:
        settle_memory()
        clock = time.perf_counter_ns
        spent = [0] * calls
        for at in range(calls):
            began = clock()
            os.pwrite(self._descriptor, _PAGE, self._at)
            _sync(self._descriptor)
            spent[at] = clock() - began
            self._at = (self._at + len(_PAGE)) % _LENGTH
        return Round(spent, sum(spent))


@contextlib.contextmanager
def synced(folder: Path) -> Iterator[Synced]:
    descriptor = os.open(folder / "disk", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Written once and synced: growing a file costs a sync about twice as much.
        for at in range(0, _LENGTH, 1 << 20):
            os.pwrite(descriptor, bytes(1 << 20), at)
        os.fsync(descriptor)
        yield Synced(descriptor)
    finally:
        os.close(descriptor)
