"""A ledger as the files of a C2SP tiled log (https://c2sp.org/tlog-tiles), growing in place.

    checkpoint                      what it all comes to, signed; written last
    tile/0/x001/234                 256 leaves, 32 bytes each
    tile/1/004                      the roots of 256 full tiles of the level below
    tile/0/x001/235.p/17            the last tile of a level, as wide as it is so far
    tile/entries/x001/234[.p/17]    the entries themselves, each behind its length in two bytes

Any web server that serves files serves it. A full tile never changes, so one that is there is done,
and the next export, or one after a crash, goes on behind it: the hashes that it needs are in the
tiles that it finds, and so are the entries behind the last full one, which may lie in an archive by
now. What it comes to in the end has to be the root that the checkpoint vouches for, and only then
is the checkpoint published. Until that moment, the one before holds.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from saferun import files
from saferun.export.source import ExportError, written
from saferun.ledger import Checkpoint, Frontier, NoteError, leaf_hash
from saferun.ledger.note import MAX_NOTE
from saferun.ledger.tree import HASH_BYTES
from saferun.store.locks import FileLock

WIDTH = 256
"""Hashes of a full tile."""

_FULL = WIDTH * HASH_BYTES

_LENGTH = 2
"""Bytes of the length before an entry."""

_MAX_BUNDLE = WIDTH * (_LENGTH + 0xFFFF)


def stated(note: bytes) -> Checkpoint:
    """What a signed checkpoint states, whoever has signed it. Raises NoteError."""
    try:
        return Checkpoint.parse(note[: note.rfind(b"\n\n") + 1].decode())
    except UnicodeDecodeError:
        raise NoteError("This is no checkpoint: it is not UTF-8.") from None


def export(
    folder: Path,
    note: bytes,
    bodies: Callable[[int, int], Iterable[tuple[int, bytes]]],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Bring a folder up to the checkpoint in `note`; returns how many entries were new to it.

    `bodies` gives the entries from one number up to, and without, another.

    Raises:
        ExportError: the folder holds something else, or more than the checkpoint vouches for, or
            the entries do not come to its root. The checkpoint in the folder is as it was then.

    """
    checkpoint = stated(note)
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with closing(FileLock(folder / ".lock")) as lock:
            if not lock.try_acquire():
                raise ExportError(f"Another export is writing {folder}; wait for it.")
            last = _published(folder)
            before = 0 if last is None else last.size
            if before > checkpoint.size:
                raise ExportError(
                    f"{folder} has {before:,} entries, and the checkpoint vouches for "
                    f"{checkpoint.size:,}: it is another ledger's, or entries were lost."
                )
            tiles = _Tiles(folder)
            tiles.resume(checkpoint.size // WIDTH)
            if last is not None:
                tiles.go_on(last)
            for _, body in bodies(tiles.size, checkpoint.size):
                tiles.add(body)
                if tiles.size % WIDTH == 0:
                    progress(tiles.size)
            if (tiles.size, tiles.root()) != (checkpoint.size, checkpoint.root):
                raise ExportError(
                    f"The entries and what lies in {folder} do not come to the root that the "
                    "checkpoint vouches for, so nothing was published; run saferun ledger "
                    "verify, and export to a new folder."
                )
            tiles.end()
            files.put(folder / "checkpoint", note, mode=0o666)
            _swept(folder, before, checkpoint.size)
    return checkpoint.size - before


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Where a tile lies: `tile/0/x001/x234/067`, and `.p/W` behind it where it is not full."""
    parts = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        parts.insert(0, f"x{number % 1000:03}")
    path = f"tile/{level}/{'/'.join(parts)}"
    return path if width == WIDTH else f"{path}.p/{width}"


def widths(size: int) -> Iterator[tuple[int, int, int]]:
    """The last tile of each level of a tree: level, number and width, where that is not full."""
    level = 0
    while size:
        if size % WIDTH:
            yield level, size // WIDTH, size % WIDTH
        size //= WIDTH
        level += 1


class _Tiles:
    """The right edge of a folder of tiles: of each level the tile that is not full yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[Path] = set()
        self._edges: list[list[bytes]] = [[]]
        self._bundle: list[bytes] = []
        self.size = 0

    def resume(self, most: int) -> None:
        """Go on behind the full tiles that are there, of which there may be `most`."""
        full = 0
        while full < most and all(
            (self._folder / tile_path(level, full)).is_file() for level in (0, "entries")
        ):
            full += 1
        self.size = full * WIDTH
        level, count = 0, full
        while count:
            first = count - count % WIDTH
            edge = [_root(self._tile(level, number)) for number in range(first, count)]
            level += 1
            self._edges.append(edge)
            count //= WIDTH

    def go_on(self, last: Checkpoint) -> None:
        """Take up the entries behind the full tiles, as the last export has left them.

        Only where they come to what its checkpoint states; else they are asked for again.
        """
        full, width = self.size, last.size % WIDTH
        if not width or last.size - width != full:
            return
        try:
            path = self._folder / tile_path("entries", full // WIDTH, width)
            bundle = _bundled(files.beginning(path, _MAX_BUNDLE))
        except OSError:
            return
        if len(bundle) != width:
            return
        leaves = [leaf_hash(each[_LENGTH:]) for each in bundle]
        self.size, self._edges[0], self._bundle = last.size, leaves, bundle
        if self.root() != last.root:
            self.size, self._edges[0], self._bundle = full, [], []

    def _tile(self, level: int, number: int) -> list[bytes]:
        path = self._folder / tile_path(level, number)
        try:
            with files.ordinary(path) as file:
                data = file.read(_FULL + 1)
        except FileNotFoundError:
            # A crash came between the last tile of the level below and this one.
            if level:
                below = range(number * WIDTH, (number + 1) * WIDTH)
                data = b"".join(_root(self._tile(level - 1, each)) for each in below)
                self._write(tile_path(level, number), data)
            else:
                data = b""
        if len(data) != _FULL:
            raise ExportError(f"{path} is no full tile; export to a new folder.")
        return [data[at : at + HASH_BYTES] for at in range(0, _FULL, HASH_BYTES)]

    def add(self, body: bytes) -> None:
        self._bundle.append(len(body).to_bytes(_LENGTH, "big") + body)
        self.size += 1
        if len(self._bundle) == WIDTH:
            self._write(tile_path("entries", self.size // WIDTH - 1), b"".join(self._bundle))
            self._bundle = []
        leaf, level, count = leaf_hash(body), 0, self.size
        while True:
            if level == len(self._edges):
                self._edges.append([])
            edge = self._edges[level]
            edge.append(leaf)
            if len(edge) < WIDTH:
                return
            self._write(tile_path(level, count // WIDTH - 1), b"".join(edge))
            leaf = _root(edge)
            edge.clear()
            level, count = level + 1, count // WIDTH

    def root(self) -> bytes:
        """The root of the whole tree, by what the edges hold."""
        hashes: list[bytes] = []
        for edge in reversed(self._edges):
            hashes += _perfect(edge)
        return Frontier(self.size, hashes).root()

    def end(self) -> None:
        """Write the tiles that are not full."""
        for level, number, width in widths(self.size):
            self._write(tile_path(level, number, width), b"".join(self._edges[level]))
        if self._bundle:
            last = tile_path("entries", self.size // WIDTH, len(self._bundle))
            self._write(last, b"".join(self._bundle))

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            for parent in path.relative_to(self._folder).parents:
                files.sync(self._folder / parent)
            self._made.add(path.parent)
        files.put(path, data, mode=0o666)


def _perfect(hashes: list[bytes]) -> list[bytes]:
    """The roots of the perfect subtrees over some hashes, the widest first."""
    tree = Frontier()
    for each in hashes:
        tree.append(each)
    encoded = tree.encode()[8:]
    return [encoded[at : at + HASH_BYTES] for at in range(0, len(encoded), HASH_BYTES)]


def _root(hashes: list[bytes]) -> bytes:
    [root] = _perfect(hashes)
    return root


def _bundled(data: bytes) -> list[bytes]:
    """The entries of a bundle, each behind its length; none where it ends within one."""
    found, at = [], 0
    while at < len(data):
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "big")
        found.append(data[at:end])
        at = end
    return found if at == len(data) else []


def _published(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, None where there is none."""
    path = folder / "checkpoint"
    try:
        with files.ordinary(path) as file:
            return stated(file.read(MAX_NOTE))
    except FileNotFoundError:
        return None
    except NoteError as problem:
        raise ExportError(f"{path} is none of ours. {problem} Name another folder.") from None


def _swept(folder: Path, before: int, size: int) -> None:
    """Take away what stood for tiles that were not full and are now."""
    for level, number, _ in widths(before):
        if number < size // WIDTH ** (level + 1):
            names = [
                tile_path(level, number, 1),
                *([] if level else [tile_path("entries", number, 1)]),
            ]
            for name in names:
                partial = (folder / name).parent
                for path in partial.iterdir() if partial.is_dir() else ():
                    path.unlink()
                if partial.is_dir():
                    partial.rmdir()
