"""Checkpoints: what a ledger vouches for at one moment, as a signed note.

    ORIGIN
    SIZE
    base64(ROOT)

The form is C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint). A checkpoint fixes
every entry before its size. Kept where the ledger's owner cannot reach it, it is what
makes a rewrite or a cut provable; kept beside the ledger, it proves nothing against
whoever holds the key.
"""

import re
from base64 import b64encode
from collections.abc import Iterable

import msgspec

from saferun.ledger.note import (
    NoteError,
    Signs,
    Verifier,
    check_key_name,
    exact_base64,
    open_note,
    sign,
)
from saferun.ledger.tree import HASH_BYTES

MAX_EXTENSIONS = 16
"""The most extension lines that are read over; the specification advises against any."""

# As many digits as an entry's number has at most. Not \d, which takes the digits of every script.
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


class Checkpoint(msgspec.Struct, frozen=True):
    """The ledger `origin` had `size` entries, and `root` is the root of their tree."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed, without extensions."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint that a text states. Extension lines are passed over.

        Raises:
            NoteError: a line is missing, empty or not written in the one form it has.

        """
        *lines, rest = text.split("\n")
        if rest or len(lines) < 3 or not all(lines):
            raise NoteError(
                "This is no checkpoint: it needs an origin, a size and a root, each on its line."
            )
        if len(lines) > 3 + MAX_EXTENSIONS:
            raise NoteError(f"A checkpoint has at most {MAX_EXTENSIONS} extension lines.")
        origin, digits, coded = lines[:3]
        check_key_name(origin)
        if not _SIZE.fullmatch(digits):
            raise NoteError(
                f"The size of a checkpoint is a plain decimal number, not {digits[:40]!r}."
            )
        root = exact_base64(coded)
        if root is None or len(root) != HASH_BYTES:
            raise NoteError(f"The root of a checkpoint is {HASH_BYTES} bytes in base64.")
        return cls(origin, int(digits), root)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signs) -> bytes:
    """The checkpoint as a note, signed by the ledger's own key.

    Whoever calls this promises that the entries are on disk, and that every checkpoint
    signed before is of the same tree: two that contradict each other can never be
    taken back.

    Raises:
        NoteError: the key's name is not the ledger's origin, or what would be signed is
            not a checkpoint.

    """
    if signer.name != checkpoint.origin:
        raise NoteError(
            f"The key {signer.name!r} cannot sign for the ledger {checkpoint.origin!r}: "
            "a ledger's key bears its origin as its name."
        )
    text = checkpoint.text()
    Checkpoint.parse(text)
    return sign(text, signer)


def open_checkpoint(
    note: bytes, verifiers: Iterable[Verifier], origin: str | None = None
) -> Checkpoint:
    """The checkpoint in a note that the ledger's own key has signed.

    `origin` names the ledger that is expected; None takes any that a key is known for.

    Raises:
        NoteError: as `open_note`; or the text is not a checkpoint, is another ledger's, or
            is signed only by keys that do not bear the ledger's name.

    """
    known = tuple(verifiers)
    checkpoint = Checkpoint.parse(open_note(note, known))
    if origin is not None and checkpoint.origin != origin:
        raise NoteError(
            f"The checkpoint is of the ledger {checkpoint.origin!r}, and not of {origin!r}."
        )
    own = [verifier for verifier in known if verifier.name == checkpoint.origin]
    if not own:
        raise NoteError(
            f"The checkpoint of {checkpoint.origin!r} is signed by another name's key; "
            "a ledger's key bears its origin as its name."
        )
    # Another ledger's key may be known too, and its word is no use here: the ledger's own
    # key must be among those that signed.
    open_note(note, own)
    return checkpoint
