"""What an incident file says that it is, and the note by which the ledger's key says so too."""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from saferun.incident.container import IncidentError, NewerError, Part
from saferun.ledger import NoteError, Signs, Verifier, open_note, sign

FORMAT = 1
"""The format that this version writes and reads. A new member of an object is a new format."""

MAX_MANIFEST = 32 << 20
"""Bytes of a manifest."""

MAX_SIZE = 1 << 32
"""Entries of the ledger that a file is of: what reads a store looks through it in stretches."""

TITLE = "saferun incident"

MANIFEST, NOTE = "manifest.json", "manifest.note"
ENTRIES, PROOF = "entries.jsonl", "proof.bin"
BLOBS, POLICIES, POLICY_END = "blobs/", "policies/", ".json"


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the file was made: no host, no person, no path."""

    saferun: str
    python: str
    system: str
    machine: str
    packages: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a file, and of which ledger it is.

    `run` is the run that was asked for, and `runs` all that are in it, that one first. `size` and
    `root` (base64) are those of the tree that the entries are held against, and `checkpoint` is
    the signed note of it, if there is one. `redacted` are the entries that say something else
    than those of the ledger, and `left_out` counts those that did not go out at all.
    """

    format: int
    run: str
    runs: list[str]
    ledger: str
    origin: str
    size: int
    root: str
    checkpoint: str | None
    entries: int
    redacted: list[int]
    left_out: int
    environment: Environment
    parts: list[Part]

    def encode(self) -> bytes:
        """The manifest as it lies in the file, for people to read as well."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


class _Stated(msgspec.Struct):
    format: int


def parse(data: bytes) -> Manifest:
    """The manifest in a file.

    Raises:
        NewerError: it is of a format that this version does not know.
        IncidentError: it is none.

    """
    try:
        stated = msgspec.json.decode(data, type=_Stated).format
        if stated != FORMAT:
            raise NewerError(
                f"The file is of format {stated}, and this version of SafeRun reads format "
                f"{FORMAT}; upgrade saferun-sdk."
            )
        found = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise IncidentError("The manifest in the file is none.") from None
    if found.encode() != data:
        raise IncidentError("The manifest in the file is not in the one form that it has.")
    return found


def text(origin: str, manifest: bytes) -> str:
    """The lines that are signed: title, origin, and the SHA-256 of the manifest in base64."""
    return f"{TITLE}\n{origin}\n{b64encode(sha256(manifest).digest()).decode()}\n"


def seal(origin: str, manifest: bytes, signer: Signs | None) -> bytes:
    """What lies in the file beside the manifest: the note, or its text alone where nobody signs."""
    said = text(origin, manifest)
    return said.encode() if signer is None else sign(said, signer)


def hold(note: bytes, origin: str, manifest: bytes) -> bool:
    """Hold a manifest against its note. Returns whether anybody has signed that.

    Whose signature it is, and whether it fits, is not looked at: see `signed_by`.

    Raises:
        IncidentError: the note is of another manifest.

    """
    said = text(origin, manifest).encode()
    if note == said:
        return False
    if note.startswith(said + b"\n"):
        return True
    raise IncidentError("The manifest in the file was changed: it does not fit its note.")


def signed_by(note: bytes, keys: Iterable[Verifier]) -> bool:
    """Whether one of these keys has signed a note.

    Raises:
        IncidentError: it is no note, or a signature in the name of one of them does not fit.

    """
    try:
        open_note(note, keys)
    except NoteError as problem:
        if "No known key" in str(problem):
            return False
        raise IncidentError(f"The signature of the file does not fit. {problem}") from None
    return True
