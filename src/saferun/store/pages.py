"""The file of an SQLite database, page by page, for whoever can no longer ask SQLite.

SQLite reads a table from its root down, so one lost page takes all that hangs below it, and a
lost first page takes everything. What hangs there still lies in the file: each leaf of a table
says itself which rows it holds. See https://www.sqlite.org/fileformat2.html for the format.

Nothing here is trusted: every length is held against what there is, and a page that makes no
sense gives no rows. Whether a row is the one that was written is for the reader to tell.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC = b"SQLite format 3\0"
_USUAL = 4096
_SIZES = frozenset(1 << power for power in range(9, 17))

_LEAF = 0x0D
"""The first byte of a page that holds rows of a table."""

_LOG, _FRAME = 32, 24
"""Bytes that the log begins with, and each frame in it."""

MAX_ROW = 1 << 17
"""Bytes of a row at most; an entry has no more than 65,535, and a leaf."""


class Row(NamedTuple):
    """A row of a table: its number, and its values as far as they are blobs or nothing."""

    rowid: int
    values: list[bytes | None]


def applied(log: Path, database: Path) -> int:
    """Write the pages of a log into its database, as far as they were committed and are whole.

    Returns how many frames that were. As SQLite does it when it opens one: each frame has a sum
    over all before it, so the first that is torn ends what counts.
    """
    with log.open("rb") as frames, database.open("r+b") as file:
        head = frames.read(_LOG)
        if len(head) < _LOG:
            return 0
        magic, _, size = struct.unpack(">III", head[:12])
        order = {0x377F0682: "<", 0x377F0683: ">"}.get(magic)
        if order is None or size not in _SIZES:
            return 0
        total = _sum(order, head[:24], (0, 0))
        if total != struct.unpack(">II", head[24:32]):
            return 0
        salt, done, waiting = head[16:24], 0, dict[int, int]()
        for at in range(_LOG, 1 << 62, _FRAME + size):
            frames.seek(at)
            frame = frames.read(_FRAME + size)
            if len(frame) < _FRAME + size or frame[8:16] != salt:
                return done
            total = _sum(order, frame[_FRAME:], _sum(order, frame[:8], total))
            number, pages = struct.unpack(">II", frame[:8])
            if total != struct.unpack(">II", frame[16:24]) or number == 0:
                return done
            waiting[number] = at + _FRAME
            if pages:
                # The end of a transaction: all of it counts.
                for page, where in waiting.items():
                    frames.seek(where)
                    file.seek((page - 1) * size)
                    file.write(frames.read(size))
                done += len(waiting)
                waiting.clear()
    return done


def _sum(order: str, data: bytes, before: tuple[int, int]) -> tuple[int, int]:
    one, two = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        one = (one + words[at] + two) & 0xFFFFFFFF
        two = (two + words[at + 1] + one) & 0xFFFFFFFF
    return one, two


def rows(
    database: Path, columns: int, progress: Callable[[int, int], None] | None = None
) -> Iterator[Row]:
    """The rows of so many columns of all tables, page by page, in the order of the file."""
    with database.open("rb") as file:
        head = file.read(100)
        size, spare = _shape(head)
        usable = size - spare
        total = os.fstat(file.fileno()).st_size
        for number in range(1, -(-total // size) + 1):
            file.seek((number - 1) * size)
            page = file.read(size)
            start = 100 if number == 1 else 0
            if len(page) > start + 8 and page[start] == _LEAF:
                yield from _rows(file, page, start, usable, size, columns)
            if progress is not None and number % 256 == 0:
                progress(number * size, total)


def _shape(head: bytes) -> tuple[int, int]:
    """The size of a page, and how much of it SQLite leaves alone."""
    if not head.startswith(_MAGIC):
        return _USUAL, 0
    [size] = struct.unpack(">H", head[16:18])
    size = 65_536 if size == 1 else size
    return (size, head[20] if head[20] <= size - 480 else 0) if size in _SIZES else (_USUAL, 0)


def _rows(
    file: BinaryIO, page: bytes, start: int, usable: int, size: int, columns: int
) -> Iterator[Row]:
    [cells] = struct.unpack_from(">H", page, start + 3)
    for cell in range(min(cells, (len(page) - start - 8) // 2)):
        [at] = struct.unpack_from(">H", page, start + 8 + 2 * cell)
        try:
            row = _row(file, page, at, usable, size, columns)
        except (IndexError, struct.error, _TornError):
            continue
        if row is not None:
            yield row


class _TornError(Exception):
    """A row that goes on where nothing is."""


def _row(file: BinaryIO, page: bytes, at: int, usable: int, size: int, columns: int) -> Row | None:
    length, at = _number(page, at)
    rowid, at = _number(page, at)
    if not 0 < length <= MAX_ROW:
        return None
    here = _local(length, usable)
    data = page[at : at + here]
    if here < length:
        [following] = struct.unpack_from(">I", page, at + here)
        data += _further(file, following, length - here, usable, size)
    if len(data) < length:
        return None
    kinds, where = _kinds(data)
    if len(kinds) != columns:
        return None
    values: list[bytes | None] = []
    for kind in kinds:
        if kind == 0:
            values.append(None)
        elif kind >= 12 and kind % 2 == 0:
            values.append(data[where : where + (kind - 12) // 2])
            where += (kind - 12) // 2
        else:
            return None
    return Row(rowid - (1 << 64) if rowid >= 1 << 63 else rowid, values)


def _local(length: int, usable: int) -> int:
    """How much of a row lies in its leaf; the rest lies in pages of its own."""
    if length <= usable - 35:
        return length
    least = (usable - 12) * 32 // 255 - 23
    some = least + (length - least) % (usable - 4)
    return some if some <= usable - 35 else least


def _further(file: BinaryIO, number: int, left: int, usable: int, size: int) -> bytes:
    found = bytearray()
    while left > 0:
        # What is left shrinks with every page, so a chain that runs in circles ends too.
        if number == 0:
            raise _TornError
        file.seek((number - 1) * size)
        page = file.read(usable)
        if len(page) < usable:
            raise _TornError
        [number] = struct.unpack_from(">I", page)
        found += page[4 : 4 + left]
        left -= usable - 4
    return bytes(found)


def _kinds(data: bytes) -> tuple[list[int], int]:
    """What kinds of value a row holds, and where the first of them begins."""
    end, at = _number(data, 0)
    kinds: list[int] = []
    while at < end and len(kinds) < 100:
        kind, at = _number(data, at)
        kinds.append(kind)
    return kinds, end


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    found = 0
    for step in range(8):
        byte = data[at + step]
        found = found << 7 | byte & 0x7F
        if byte < 0x80:
            return found, at + step + 1
    return found << 8 | data[at + 8], at + 9
