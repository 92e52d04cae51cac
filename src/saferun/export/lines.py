"""A file of lines that only grows: one export goes on where the one before has stopped.

Beside `PATH` lies `PATH.state`, which says how far the file is whole: up to which entry, how many
bytes, and their hash. The order of writes makes a crash harmless: lines are appended and synced,
then the state is replaced. What lies behind the bytes that the state counts was cut off by a crash,
or is a torn line, and is written anew.

So a program that follows the file as it grows never sees half a line that does not become whole.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

import msgspec

from saferun import files
from saferun.export.source import ExportError, Piece, written
from saferun.store.locks import FileLock

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

SYNCED = 10_000
"""Entries after which the state is written, at most: so many are done again after a crash."""

_BUFFER = 1 << 20
_MAX_STATE = 100_000


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file is whole. `about` says what it is an export of, and in what form.

    `next` is the first entry that it does not account for, `sha256` is of its first `bytes`
    bytes, and `edge` whatever else the form has to know to go on.
    """

    about: dict[str, str]
    next: int = 0
    bytes: int = 0
    sha256: str = sha256().hexdigest()
    edge: str = ""


class Line(NamedTuple):
    """What one entry comes to, and how far the file goes with it: its number and one more."""

    text: bytes
    next: int


class GrowingFile:
    """One file of lines, open for as long as this is. Use as a context manager.

    Raises ExportError where there is a file that is no such export, or not this one, or was
    changed since.
    """

    def __init__(self, path: Path, about: dict[str, str], head: bytes = b"") -> None:
        self.path = path
        self._state_file = path.with_name(path.name + ".state")
        self._head = head
        if (path.exists() or path.is_symlink()) and not path.is_file():
            raise ExportError(f"{path} is no ordinary file; name another.")
        self._lock = FileLock(path)
        if not self._lock.try_acquire():
            self._lock.close()
            raise ExportError(
                f"Another export is writing {path}; wait for it, or name another file."
            )
        try:
            self.state = self._begun(about)
            self._file, self._hash = self._resumed()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.close()

    def _begun(self, about: dict[str, str]) -> State:
        """How far the file is whole; one that is new says so before it has anything in it."""
        kept = self._kept()
        if kept is None:
            if self.path.stat().st_size > 0:
                raise ExportError(
                    f"{self.path} is there already, and is no export that could go on; name "
                    "another file."
                )
            kept = State(about=about)
            self._keep(kept)
        elif kept.about != about:
            raise ExportError(
                f"{self.path} is an export of something else, or in another form; name another "
                "file."
            )
        return kept

    def _kept(self) -> State | None:
        try:
            with files.ordinary(self._state_file) as file:
                return msgspec.json.decode(file.read(_MAX_STATE), type=State)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            raise ExportError(
                f"{self._state_file} was changed, and {self.path} cannot go on without it; name "
                "another file."
            ) from None

    def _resumed(self) -> tuple[BinaryIO, "HASH"]:
        """The file cut to what is whole of it, once that is what was written."""
        file = self.path.open("r+b")
        try:
            found = self._read_again(file)
            file.truncate(self.state.bytes)
            file.seek(self.state.bytes)
        except BaseException:
            file.close()
            raise
        return file, found

    def _read_again(self, file: BinaryIO) -> "HASH":
        found = sha256()
        left = self.state.bytes
        while left and (part := file.read(min(left, _BUFFER))):
            found.update(part)
            left -= len(part)
        if left or found.hexdigest() != self.state.sha256:
            raise ExportError(
                f"{self.path} is not what was exported to it: it was changed since. Name another "
                "file."
            )
        return found

    def write(
        self,
        lines: Iterable[Line],
        edge: Callable[[], str] = lambda: "",
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Append lines; `edge` is asked for what has to be kept whenever the state is written."""
        if self.state.bytes == 0:
            self._append(self._head)
        unsynced = 0
        for line in lines:
            self._append(line.text)
            unsynced += 1
            if unsynced >= SYNCED:
                self.sync(line.next, edge())
                progress(line.next)
                unsynced = 0

    def sync(self, upto: int, edge: str = "") -> None:
        """Have all that was written on disk, and note that it accounts for entries up to `upto`."""
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self.state = msgspec.structs.replace(
            self.state, next=upto, bytes=size, sha256=self._hash.hexdigest(), edge=edge
        )
        self._keep(self.state)

    def _keep(self, state: State) -> None:
        files.put(self._state_file, msgspec.json.encode(state) + b"\n", mode=0o600)

    def _append(self, text: bytes) -> None:
        self._file.write(text)
        self._hash.update(text)


def grow(
    path: Path,
    about: dict[str, str],
    size: int,
    pieces: Callable[[int], Iterable[Piece]],
    text: Callable[[Piece], bytes],
    head: bytes = b"",
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Bring a file up to entry `size`, and without it; returns how many entries were new to it.

    `pieces` gives the entries from one number on, `text` the line or lines of one, and `head` is
    what a file begins with. Raises ExportError.
    """
    new = 0
    with written(path), GrowingFile(path, about, head) as file:
        first = file.state.next
        if first > size:
            raise ExportError(
                f"{path} goes up to entry {first - 1:,}, and the ledger has no more than "
                f"{size:,} entries: some were lost, or it is another ledger."
            )

        def lines() -> Iterator[Line]:
            nonlocal new
            for piece in pieces(first):
                new += 1
                yield Line(text(piece), piece.seq + 1)

        file.write(lines(), progress=progress)
        file.sync(size)
    return new
