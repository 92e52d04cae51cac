"""Archives: folders of segments, read without trusting what lies in them.

    FOLDER/FIRST-SIZE/manifest.json   what the segment holds
    FOLDER/FIRST-SIZE/entries.jsonl   the bodies, one a line, to the byte
    FOLDER/FIRST-SIZE/manifest.note   the ledger's key vouches for that
    FOLDER/FIRST-SIZE/keys.jsonl      the ledger's `key` entries by then, one a line
    FOLDER/FIRST-SIZE/blobs/HASH      salt and data of a large value

A folder may have come from anywhere. Files are looked for by the numbers and hashes that the
ledger has, and nothing that a file says becomes a path; a line has a length that it cannot
exceed; and nothing is handed on that does not hash to what the ledger keeps of it.
"""

import contextlib
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeAlias

from saferun import files
from saferun.errors import StoreError
from saferun.ledger import (
    AnyEntry,
    Archival,
    EntryError,
    Frontier,
    KeyEntry,
    NoteError,
    Parsed,
    Verifier,
    leaf_hash,
    open_archival,
    open_rotation,
    parse,
    stated_archival,
)
from saferun.ledger.archival import digest
from saferun.ledger.blob import SALT_BYTES
from saferun.ledger.note import MAX_NOTE, exact_base64
from saferun.ledger.segment import (
    MAX_LINE,
    MAX_MANIFEST,
    File,
    SegmentError,
    followed,
    read_manifest,
    segment_name,
    stated_by,
)

ENTRIES, KEYS, BLOBS = "entries.jsonl", "keys.jsonl", "blobs"
MANIFEST, NOTE = "manifest.json", "manifest.note"

MAX_SEGMENTS = 10_000
"""Segments of one archive: by the month, those of eight centuries."""

MAX_BLOB = 1_000_000_000
"""Bytes of the largest value: more does not fit into a store either."""

MAX_KEYS = 1_000
"""Changes of the key that lie with a segment: by the month, those of eighty years."""

_STEP = 256
"""Lines between two whose places are remembered: one is found by reading over at most so many."""


class Segment:
    """One segment's folder, in which no link is followed, and which is none itself.

    Raises SegmentError where it has no manifest that is one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = self._beginning(MANIFEST, MAX_MANIFEST)
        self.manifest = read_manifest(data, folder.name)
        self.digest = digest(data)
        self._places = array("Q", [0])
        self._file: BufferedReader | None = None
        self._at = 0

    @property
    def name(self) -> str:
        return self.folder.name

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def bodies(self) -> Iterator[bytes]:
        """All bodies in their order. Raises SegmentError where a line is no entry's."""
        with self._opened() as file:
            while (line := self._line(file)) is not None:
                yield line

    def body(self, seq: int) -> bytes:
        """The line of one entry, not held against anything; empty where there is none.

        Entries that are asked for one after the other are read one after the other.
        """
        at = seq - self.manifest.first
        if self._file is None:
            self._file, self._at = self._opened(), 0
        known = min(at // _STEP, len(self._places) - 1)
        if not known * _STEP <= self._at <= at:
            self._file.seek(self._places[known])
            self._at = known * _STEP
        while True:
            if self._at % _STEP == 0 and self._at // _STEP == len(self._places):
                self._places.append(self._file.tell())
            line = self._line(self._file)
            self._at += 1
            if self._at > at or line is None:
                return line or b""

    def fits(self) -> bool:
        """Whether the file of the entries is as long as its manifest says: nothing follows them.

        The entries themselves are held against their leaves, wherever there are any.
        """
        with self._opened() as file:
            return os.fstat(file.fileno()).st_size == self.manifest.entries.bytes

    def note(self) -> bytes:
        """The signed note on the manifest, not opened."""
        return self._beginning(NOTE, MAX_NOTE)

    def archival(self) -> Archival:
        """What the note has to say, by the manifest that lies here."""
        manifest = self.manifest
        root = exact_base64(manifest.root)
        assert root is not None
        return Archival(manifest.origin, manifest.first, manifest.size, root, self.digest)

    def key_entries(self) -> list[bytes]:
        """The bodies of the `key` entries that the ledger had, the oldest first.

        Each proves itself, or proves nothing. Raises SegmentError where they are not those of the
        manifest.
        """
        data = self._beginning(KEYS, MAX_KEYS * MAX_LINE)
        if File(len(data), sha256(data).hexdigest()) != self.manifest.keys:
            raise self.changed()
        return data.splitlines()

    def blob(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and data of a large value, None where it does not lie here.

        Raises SegmentError where another lies in its place.
        """
        with self._blob(name) as file:
            return None if file is None else (file.read(SALT_BYTES), file.read())

    def holds(self, name: bytes, size: int) -> bool:
        """Whether a large value lies here whose data has `size` bytes. It is not kept in memory.

        Raises SegmentError where another lies in its place.
        """
        with self._blob(name, size) as file:
            return file is not None

    @contextlib.contextmanager
    def _blob(self, name: bytes, size: int | None = None) -> Iterator[BufferedReader | None]:
        """The file of a large value, found to be that one, and of that size where one is given."""
        try:
            with self._file_of(BLOBS, name.hex()) as file:
                # Hashed before it is read, and that only where a store could have held it: what
                # lies there may be of any length.
                length = os.fstat(file.fileno()).st_size
                fits = length <= MAX_BLOB if size is None else length == SALT_BYTES + size
                if not fits or file_digest(file, sha256).digest() != name:
                    raise SegmentError(
                        f"A large value in the archive segment {self.name} was changed: it does "
                        "not fit the hash that it is called after."
                    )
                file.seek(0)
                yield file
        except FileNotFoundError:
            yield None
        except OSError as problem:
            raise self._unreadable(problem) from None

    def followed(self, tree: Frontier) -> Iterator[Parsed]:
        """All entries, each as it is found right, as `ledger.segment.followed` has it.

        Raises SegmentError too where the files are not those of the manifest.
        """
        read = _Read()
        yield from followed(self.manifest, read.over(self.bodies()), tree)
        if read.file != self.manifest.entries:
            raise self.changed()

    def _opened(self) -> BufferedReader:
        try:
            return self._file_of(ENTRIES)
        except OSError as problem:
            raise self._unreadable(problem) from None

    def _line(self, file: BufferedReader) -> bytes | None:
        """The next line, None at the end. One with nothing on it is no end: more may follow it."""
        try:
            line = file.readline(MAX_LINE)
        except OSError as problem:
            raise self._unreadable(problem) from None
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise SegmentError(
                f"The archive segment {self.name} has a line that is no entry's: it is too long, "
                "or was cut off."
            )
        return line[:-1]

    def _beginning(self, name: str, limit: int) -> bytes:
        try:
            with self._file_of(name) as file:
                return file.read(limit + 1)
        except OSError as problem:
            raise SegmentError(
                f"The archive segment {self.name} has no {name} that can be read: "
                f"{problem.strerror}."
            ) from None

    def _file_of(self, *names: str) -> BufferedReader:
        return files.inside(self.folder.parent, self.folder.name, *names)

    def changed(self) -> SegmentError:
        """What to say where its files are not those of its manifest."""
        return SegmentError(
            f"The archive segment {self.name} was changed: its files do not have the hashes that "
            "its manifest states."
        )

    def _unreadable(self, problem: OSError) -> SegmentError:
        return SegmentError(f"The archive segment {self.name} cannot be read: {problem.strerror}.")


class _Read:
    """The file that lines were read from, as the manifest has it."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._bytes = 0

    def over(self, bodies: Iterator[bytes]) -> Iterator[bytes]:
        for body in bodies:
            self._hash.update(body)
            self._hash.update(b"\n")
            self._bytes += len(body) + 1
            yield body

    @property
    def file(self) -> File:
        return File(self._bytes, self._hash.hexdigest())


class Archive:
    """The segments in a folder, or the one segment that the folder is. Use as a context manager.

    What does not fit is left out and noted: `trouble` is the first of it, in one sentence.

    Raises StoreError where the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._current: Segment | None = None
        self._look()

    def _look(self) -> None:
        self.trouble: str | None = None
        self.segments: list[Segment] = []
        folder = self.folder
        self.single = (folder / MANIFEST).exists()
        # Resolved, as somebody may have named it by a link, and its name has to be the segment's.
        for each in [folder.resolve()] if self.single else _folders(folder):
            try:
                self.segments.append(Segment(each))
            except SegmentError as problem:
                self._note(str(problem))
        self.segments.sort(key=lambda segment: segment.manifest.first)
        self._firsts = [segment.manifest.first for segment in self.segments]
        # Large values that were changed, which may be huge and named by many entries.
        self._changed: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for segment in self.segments:
            segment.close()

    def renew(self) -> None:
        """Look at the folder anew: segments may have come. Raises StoreError."""
        self.close()
        self._current = None
        self._look()

    def segment(self, seq: int) -> Segment | None:
        """The segment that has an entry."""
        at = bisect_right(self._firsts, seq) - 1
        if at < 0 or seq >= self.segments[at].manifest.size:
            return None
        found = self.segments[at]
        if found is not self._current:
            # Of an archive of many segments, one file is open at a time.
            if self._current is not None:
                self._current.close()
            self._current = found
        return found

    def overlaps(self, first: int, size: int) -> bool:
        """Whether a segment has any of the entries from `first` up to, and without, `size`."""
        at = bisect_left(self._firsts, size) - 1
        return at >= 0 and self.segments[at].manifest.size > first

    def body(self, seq: int, leaf: object) -> bytes:
        """The body of an entry with that leaf, empty where it is not here or does not fit."""
        segment = self.segment(seq)
        if segment is None:
            self._note(f"Entry {seq} is archived, and no segment in {self.folder} has it.")
            return b""
        try:
            body = segment.body(seq)
        except SegmentError as problem:
            self._note(str(problem))
            return b""
        if leaf_hash(body) == leaf:
            return body
        self._note(
            f"The archive segment {segment.name} was changed: entry {seq} in it does not give the "
            "leaf that the ledger keeps."
        )
        return b""

    def blob(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and data of a large value, None where no segment has it or it does not fit."""
        if name in self._changed:
            return None
        first = [self._current] if self._current is not None else []
        for segment in (*first, *(each for each in self.segments if each is not self._current)):
            try:
                found = segment.blob(name)
            except SegmentError as problem:
                self._changed.add(name)
                self._note(str(problem))
                return None
            if found is not None:
                return found
        return None

    def lacks(self, recorded: Sequence[Archival]) -> str | None:
        """What is wrong with it, given what the ledger says that it has archived."""
        there = {each.name: each for each in self.segments}
        for said in recorded:
            name = segment_name(said.first, said.size)
            segment = there.get(name)
            if segment is None:
                return self.trouble or f"The archive segment {name} is missing from {self.folder}."
            if segment.digest != said.manifest:
                return (
                    f"The archive segment {name} was changed: its manifest is not the one that the "
                    "ledger has recorded."
                )
            try:
                if not segment.fits():
                    raise segment.changed()
            except SegmentError as problem:
                return self.trouble or str(problem)
        return self.trouble

    def _note(self, sentence: str) -> None:
        self.trouble = self.trouble or sentence


def _folders(folder: Path) -> list[Path]:
    try:
        found = [each for each in folder.iterdir() if stated_by(each.name) is not None]
    except OSError as problem:
        raise StoreError(f"The archive {folder} cannot be read: {problem.strerror}.") from None
    if len(found) > MAX_SEGMENTS:
        raise StoreError(f"The archive {folder} has more than {MAX_SEGMENTS:,} segments.")
    return found


CheckState: TypeAlias = Literal["verified", "changed", "unvouched"]

_EXIT: dict[CheckState, int] = {"verified": 0, "changed": 1, "unvouched": 2}


class Checked(NamedTuple):
    """What was found in an archive by itself: `entries` from `first` on are right so far."""

    state: CheckState
    sentence: str
    segments: int
    first: int
    entries: int
    blobs: int
    missing: int

    @property
    def exit_code(self) -> int:
        """0 every segment is vouched for by its key, 1 changed, 2 consistent, and no key given."""
        return _EXIT[self.state]


def check(
    archive: Archive,
    keys: Sequence[Verifier] = (),
    progress: Callable[[int], None] | None = None,
) -> Checked:
    """Verify an archive without the store that it came from.

    Each segment is whole and is what its manifest states; that is signed by one of `keys`, or by
    one that followed them, as entries in the archive or beside it show; each begins with the tree
    that the one before it ended with, without a gap from entry 0 on, unless `archive` is a single
    segment.
    """
    walk = _Walk(archive, keys, progress)
    try:
        walk.all()
    except SegmentError as problem:
        return walk.found("changed", f"Changed: {problem}")
    last = walk.upto
    if not keys:
        return walk.found(
            "unvouched",
            f"Consistent: the entries {walk.first:,} to {last - 1:,} fit together, and no key was "
            "given that could vouch for them.",
        )
    return walk.found(
        "verified",
        f"Verified: the entries {walk.first:,} to {last - 1:,} are those that the ledger's own "
        "key vouches for.",
    )


class _Walk:
    """One way through an archive. Moves forward only."""

    def __init__(
        self, archive: Archive, keys: Sequence[Verifier], progress: Callable[[int], None] | None
    ) -> None:
        self._archive = archive
        self._keys = list(keys)
        self._checks_keys = bool(keys)
        self._progress = progress
        self._edge: Frontier | None = None
        segments = archive.segments
        self.first = segments[0].manifest.first if segments else 0
        self.upto = self.first
        self.blobs = self.missing = self.segments = 0

    def found(self, state: CheckState, sentence: str) -> Checked:
        entries = self.upto - self.first
        return Checked(
            state, sentence, self.segments, self.first, entries, self.blobs, self.missing
        )

    def all(self) -> None:
        archive = self._archive
        if archive.trouble is not None:
            raise SegmentError(archive.trouble)
        if not archive.segments:
            raise SegmentError(f"There is no archive segment in {archive.folder}.")
        if self.first and not archive.single:
            raise SegmentError(
                f"The archive begins with entry {self.first}: the segments before it are missing."
            )
        for segment in archive.segments:
            self._joined(segment)
            self._one(segment)
            segment.close()
            self.segments += 1

    def _joined(self, segment: Segment) -> None:
        manifest = segment.manifest
        if manifest.first > self.upto:
            raise SegmentError(
                f"The archive segments with the entries {self.upto} to {manifest.first - 1} are "
                "missing."
            )
        if manifest.first < self.upto:
            raise SegmentError(f"The archive segment {segment.name} overlaps the one before it.")
        if self._edge is not None and manifest.edge.encode() != self._edge.encode():
            raise SegmentError(
                f"The archive segment {segment.name} does not go on from the one before it: it is "
                "of another ledger, or one of the two was changed."
            )

    def _one(self, segment: Segment) -> None:
        """One segment: its entries, what vouches for them, and only then what they name.

        A line names a value of any length, so nothing is read for the sake of one that no key
        vouches for.
        """
        manifest = segment.manifest
        tree, named = manifest.edge, 0
        for body in segment.key_entries():
            with contextlib.suppress(EntryError):
                self._follow(parse(body).entry)
        for parsed in segment.followed(tree):
            self._follow(parsed.entry)
            named += len(parsed.entry.blobs)
            self.upto = parsed.seq + 1
            if self._progress is not None and self.upto % 1_024 == 0:
                self._progress(self.upto - self.first)
        self._vouched(segment)
        here = _held(segment) if named else 0
        if (here, named - here) != (manifest.blobs, manifest.missing):
            raise SegmentError(
                f"The archive segment {segment.name} has lost large values: {here:,} are there, "
                f"and its manifest states {manifest.blobs:,}."
            )
        self.blobs += here
        self.missing += manifest.missing
        self._edge = tree

    def _vouched(self, segment: Segment) -> None:
        """Hold the manifest, to which all else was held, against the note that lies with it."""
        manifest, note = segment.manifest, segment.note()
        try:
            if self._checks_keys:
                # Signed when it was archived: by a key of before, or by one that is named in it.
                known = [key for key in self._keys if key.name == manifest.origin]
                said = open_archival(note, known)
            else:
                said = stated_archival(note)
        except NoteError as problem:
            raise SegmentError(
                f"The note of the archive segment {segment.name} does not open: {problem}"
                + self._restarted(manifest.origin)
            ) from None
        if said != segment.archival():
            raise SegmentError(
                f"The note of the archive segment {segment.name} vouches for another manifest: one "
                "of the two was changed."
            )

    def _restarted(self, origin: str) -> str:
        """What to say where no key can be known, because nothing vouches for a change of name."""
        if not self._checks_keys or any(key.name == origin for key in self._keys):
            return ""
        return (
            f" It was made as {origin!r}, and the key that was given is of "
            f"{self._keys[0].name!r}: after a restart, give the keys of both, as saferun ledger "
            "vkey --all prints them."
        )

    def _follow(self, entry: AnyEntry) -> None:
        """Take over a key that one which is known has named in its place."""
        if not isinstance(entry, KeyEntry):
            return
        for before in tuple(self._keys):
            with contextlib.suppress(NoteError, UnicodeEncodeError):
                after = open_rotation(entry.note.encode(), before)
                if after.vkey == entry.vkey and not any(
                    after.vkey == known.vkey for known in self._keys
                ):
                    self._keys.append(after)


def _held(segment: Segment) -> int:
    """How many of the large values that its entries name lie in a segment.

    Many entries may name one value, so what was found is remembered; as many as have files.
    """
    found: set[tuple[bytes, int]] = set()
    here = 0
    for body in segment.bodies():
        for name, size in _named(segment, body).items():
            try:
                blob = bytes.fromhex(name), size
            except ValueError:
                raise SegmentError(
                    f"An entry in the archive segment {segment.name} names a large value by no "
                    "hash."
                ) from None
            if blob in found or segment.holds(*blob):
                found.add(blob)
                here += 1
    return here


def _named(segment: Segment, body: bytes) -> Mapping[str, int]:
    try:
        return parse(body).entry.blobs
    except EntryError as problem:
        raise SegmentError(
            f"An entry in the archive segment {segment.name} {problem.what}."
        ) from None
