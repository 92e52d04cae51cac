"""Archival: a ledger's key says that a stretch of entries lies in an archive, and what it holds.

    saferun ledger archive
    ORIGIN
    FIRST SIZE base64(ROOT)
    base64(SHA-256 of the manifest)

The note stands in an `archive` entry, and beside the manifest in the archive. Nothing else has
a body's absence be no loss. So it is a text of its own: a checkpoint, which many people hold,
says that entries were there, and not that their bytes may go. The manifest says what went where,
and this vouches for its every byte.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from saferun.ledger.note import NoteError, Signs, Verifier, exact_base64, open_note, sign
from saferun.ledger.tree import HASH_BYTES

TITLE = "saferun ledger archive"

# As many digits as an entry's number has at most. Not \d, which takes the digits of every script.
_NUMBER = r"(0|[1-9][0-9]{0,17})"
_STRETCH = re.compile(rf"{_NUMBER} {_NUMBER} (\S+)")


class Archival(msgspec.Struct, frozen=True):
    """The entries from `first` up to, and without, `size` of the ledger `origin` are archived.

    `root` is the root of the tree of the first `size` entries, and `manifest` the SHA-256 of the
    manifest of what the archive has of them.
    """

    origin: str
    first: int
    size: int
    root: bytes
    manifest: bytes

    def text(self) -> str:
        """The four lines that are signed."""
        root, manifest = (b64encode(each).decode() for each in (self.root, self.manifest))
        return f"{TITLE}\n{self.origin}\n{self.first} {self.size} {root}\n{manifest}\n"


def digest(manifest: bytes) -> bytes:
    """What stands for a manifest in an archival."""
    return sha256(manifest).digest()


def sign_archival(archival: Archival, signer: Signs) -> bytes:
    """The note by which a ledger's key lets bodies go that lie in an archive.

    Whoever calls this promises that they do, and that they come to that root.

    Raises:
        NoteError: the key's name is not the ledger's origin.

    """
    if signer.name != archival.origin:
        raise NoteError(
            f"The key {signer.name!r} cannot archive for the ledger {archival.origin!r}: "
            "a ledger's key bears its origin as its name."
        )
    return sign(archival.text(), signer)


def open_archival(note: bytes, verifiers: Iterable[Verifier]) -> Archival:
    """What a note says was archived, where a key of that ledger has signed it.

    Raises:
        NoteError: as `open_note`; or the note is no archival, or is signed by another
            ledger's key.

    """
    known = tuple(verifiers)
    found = _read(open_note(note, known))
    # Another ledger's key may be known too, and its word is no use here.
    open_note(note, [each for each in known if each.name == found.origin])
    return found


def stated_archival(note: bytes) -> Archival:
    """What a note says was archived, before anybody has looked at its signatures.

    Raises:
        NoteError: it is no archival.

    """
    try:
        return _read(note[: note.rfind(b"\n\n") + 1].decode())
    except UnicodeDecodeError:
        raise NoteError("It is not UTF-8.") from None


def _read(text: str) -> Archival:
    title, *lines = text.split("\n")
    stretch = _STRETCH.fullmatch(lines[1]) if len(lines) == 4 else None
    if title != TITLE or stretch is None or lines[3]:
        raise NoteError("This does not say what was archived, in the form that it has.")
    first, size = int(stretch[1]), int(stretch[2])
    root, manifest = exact_base64(stretch[3]), exact_base64(lines[2])
    if root is None or manifest is None or {len(root), len(manifest)} != {HASH_BYTES}:
        raise NoteError("What was archived is said with two hashes, and one of these is none.")
    if first >= size:
        raise NoteError("What was archived is said to end before it begins.")
    return Archival(lines[0], first, size, root, manifest)
