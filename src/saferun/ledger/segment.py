"""Segments: stretches of a ledger that lie in an archive, each of which verifies on its own.

A segment has the bodies of the entries from `first` up to, and without, `size`, one a line
and to the byte; a manifest, which has the right edge of the tree before `first`; and a note in
which the ledger's key vouches for the manifest and for the root of `size` entries (`archival`).
So whoever has one segment and that key builds the tree on from that edge, entry by entry, and
comes to the root that the note vouches for. The edge that a segment begins with has the root that
the one before it ends with: that is the chain across them.

An edge that somebody has made up would have to come to the same root, which is a collision of
SHA-256; so the root vouches for the edge, and with it for all that lies before.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec

from saferun.errors import SafeRunError
from saferun.ledger.entry import MAX_BODY, MAX_NUMBER, EntryError, Parsed, parse
from saferun.ledger.note import exact_base64
from saferun.ledger.tree import HASH_BYTES, Frontier, TreeError, leaf_hash

MAX_MANIFEST = 16_384
"""The longest manifest that is read, in bytes; one has about a thousand."""

MAX_LINE = MAX_BODY + 1
"""The longest line of a segment, with its end."""

_NAME = re.compile(r"(0|[1-9][0-9]{0,17})-([1-9][0-9]{0,17})")
_Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class SegmentError(SafeRunError):
    """A segment that is none, or is not what its manifest says."""


class File(msgspec.Struct, frozen=True):
    """A file of a segment: its length in bytes, and its hash."""

    bytes: _Number
    sha256: _Sha256


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment holds.

    `frontier` is the encoded right edge of the tree before `first` and `root` the root of the
    tree of `size` entries, both in base64. `since` and `until` are the times of its first and
    last entry, in microseconds since 1970, UTC. `blobs` large values lie in it, and `missing`
    ones were no longer held when it was made. `keys` are the ledger's `key`
    entries by then, for whoever has an earlier key.
    """

    format: Literal[1]
    origin: str
    first: _Number
    size: _Number
    root: str
    frontier: str
    since: _Number
    until: _Number
    blobs: _Number
    missing: _Number
    entries: File
    keys: File

    @property
    def name(self) -> str:
        """The name of its folder."""
        return segment_name(self.first, self.size)

    @property
    def edge(self) -> Frontier:
        """The tree before `first`, to be built on from there."""
        return Frontier.decode(exact_base64(self.frontier) or b"")

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def segment_name(first: int, size: int) -> str:
    """The name of a segment's folder, and what people call it."""
    return f"{first}-{size}"


def stated_by(name: str) -> tuple[int, int] | None:
    """First and size of the segment that a folder of that name is; None where it is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]))


def read_manifest(data: bytes, name: str) -> Manifest:
    """The manifest in a file's bytes, of the segment that its folder is called after.

    Raises:
        SegmentError: it is too long or none, it contradicts itself, or it is of another segment.

    """
    if len(data) > MAX_MANIFEST:
        raise SegmentError(f"The manifest of the archive segment {name} is too long.")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        root, edge = exact_base64(manifest.root), manifest.edge
    except (msgspec.MsgspecError, TreeError, ValueError, RecursionError):
        raise SegmentError(f"The manifest of the archive segment {name} is none.") from None
    if root is None or len(root) != HASH_BYTES or edge.size != manifest.first:
        raise SegmentError(f"The manifest of the archive segment {name} contradicts itself.")
    if manifest.first >= manifest.size or manifest.name != name:
        raise SegmentError(
            f"The manifest of the archive segment {name} is of {manifest.name}: its folder was "
            "renamed, or the manifest put there from elsewhere."
        )
    return manifest


def followed(manifest: Manifest, bodies: Iterable[bytes], tree: Frontier) -> Iterator[Parsed]:
    """The entries of a segment, each as it is found right, and at the end all by their root.

    `tree` is the manifest's edge, and grows by each entry before that is given.

    Raises:
        SegmentError: at the first entry that is none, is not the next one, or goes back in
            time; where there are fewer or more than the manifest says; where they do not come
            to its root.

    """
    time, name = manifest.since, manifest.name
    for body in bodies:
        seq = tree.size
        if seq == manifest.size:
            raise SegmentError(f"The archive segment {name} has more entries than it should.")
        try:
            parsed = parse(body)
        except EntryError as problem:
            raise SegmentError(
                f"Entry {seq} in the archive segment {name} {problem.what}."
            ) from None
        if parsed.seq != seq:
            raise SegmentError(
                f"Entry {seq} is not in its place in the archive segment {name}: entry "
                f"{parsed.seq} is."
            )
        if parsed.time < time:
            raise SegmentError(
                f"Entry {seq} in the archive segment {name} is dated before the one it follows."
            )
        time = parsed.time
        tree.append(leaf_hash(body))
        yield parsed
    if tree.size != manifest.size:
        raise SegmentError(
            f"The archive segment {name} ends before entry {tree.size}: its tail was cut off."
        )
    if b64encode(tree.root()).decode() != manifest.root:
        raise SegmentError(
            f"The archive segment {name} was changed: its entries do not come to the root that "
            "its manifest states."
        )
