"""A store with a history to take elsewhere, and what a stranger makes of what was taken."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saferun.export import Piece, bodies
from saferun.ledger import (
    AnyEntry,
    UserEntry,
    encode,
    read,
    seal,
    stamp,
)
from saferun.store import Append, Reader, Store, checkpoint
from storing import shelve

SAID = [
    *("hello", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "a\0b"),
    *("two\nlines", "\x1b[31mred\x1b[0m", "\u202edrawkcab", 'a "quoted", one', "Zoë \U0001f600"),
    "\uff1d1",
]


class Shelf:
    """A store whose ledger grows as a test says."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "saferun.db"
        self._store = Store(f"sqlite:///{self.file}", durability="process")
        self.vkey = self._store.signer().vkey()

    def close(self) -> None:
        self._store.close()

    def write(self, *entries: AnyEntry) -> None:
        rest = [encode(entry) for entry in entries]
        self._store.commit(Append(entries=rest, boot=self._store.boot))

    def fill(self, size: int) -> None:
        """Bring the ledger up to so many entries."""
        with Reader(self.file) as reader:
            there = reader.head().size
        self.write(*(UserEntry(text=f"word {at} {'x' * (at % 90)}") for at in range(there, size)))

    def archive(self, upto: int) -> None:
        """Have the ledger say that the first entries lie elsewhere, and empty them."""
        shelve(self._store, upto)

    def note(self) -> bytes:
        return checkpoint(self.file, self._store.signer())

    def bodies(self) -> list[bytes]:
        with Reader(self.file) as reader:
            return [body for _, body, _ in reader.rows()]

    def given(self, first: int, size: int) -> Iterator[tuple[int, bytes]]:
        with Reader(self.file) as reader:
            yield from bodies(reader, first, size)

    def sql(self, statement: str) -> None:
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(statement)


def piece(entry: AnyEntry, seq: int = 7, time: int = 1_777_888_999_123_456) -> Piece:
    """An entry on its way out."""
    body = seal(seq, time, encode(entry), stamp("host-1", "b" * 16))
    return Piece(seq, body, read(body))


def root(leaves: list[bytes]) -> bytes:
    """The root of a tree, as RFC 6962 has it, word for word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, but for those that begin with a dot."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def about(**more: str) -> dict[str, Any]:
    return {"format": "jsonl", "first": "00", **more}
