"""Signed notes: a text that people can read, with signatures below it.

    the text, one or more lines

    — KEY NAME base64(KEY ID ‖ SIGNATURE)

The form is C2SP signed-note (https://c2sp.org/signed-note) with Ed25519 keys, as Go's
checksum database uses it; a verifier key ("vkey") is written as there,
`NAME+KEY ID in hex+base64(0x01 ‖ PUBLIC KEY)`. A note's text means nothing until a key
that was known beforehand is found to have signed it, so the only way to a text here is
`open_note`.
"""

import re
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from hashlib import sha256

from saferun.errors import SafeRunError

MAX_NOTE = 1 << 20
"""The longest note that is read, in bytes."""

MAX_SIGNATURES = 100
"""The most signatures a note may carry; the specification asks for at least 16."""

_ED25519 = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 4
_DASH = "\N{EM DASH} "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteError(SafeRunError):
    """A note that is malformed, or that no known key vouches for; or a key that is no key."""


class Signer:
    """A key that signs notes: a name and the 32 bytes of an Ed25519 seed."""

    __slots__ = ("_key", "_public", "key_id", "name")

    def __init__(self, name: str, seed: bytes) -> None:
        """Take a key into use.

        Raises:
            NoteError: the name may not be a key's, or the seed has not 32 bytes.

        """
        # Loading the cryptography library costs more than the rest of the ledger together,
        # and most processes never sign.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        check_key_name(name)
        if len(seed) != _KEY_BYTES:
            raise NoteError(f"An Ed25519 seed has {_KEY_BYTES} bytes, not {len(seed)}.")
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()
        self.key_id = _key_id(name, self._public)

    def vkey(self) -> str:
        """The verifier key, to be given to whoever is to check this signer's notes."""
        coded = b64encode(_ED25519 + self._public).decode()
        return f"{self.name}+{self.key_id.hex()}+{coded}"

    def signature(self, text: bytes) -> bytes:
        """The 64 bytes of the signature over a text."""
        return self._key.sign(text)


class Verifier:
    """A key that is known and trusted, from its vkey."""

    __slots__ = ("_key", "key_id", "name")

    def __init__(self, vkey: str) -> None:
        """Read a verifier key, without white space around it.

        Raises:
            NoteError: it is not `NAME+KEY ID+KEY`, its parts contradict each other, or it
                is for another algorithm than Ed25519.

        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        # Base64 may hold a plus sign, and a name may not.
        name, _, rest = vkey.partition("+")
        key_id, _, coded = rest.partition("+")
        check_key_name(name)
        key = exact_base64(coded)
        if key is None or key[:1] != _ED25519 or len(key) != 1 + _KEY_BYTES:
            raise NoteError(f"The verifier key of {name!r} is not an Ed25519 key in base64.")
        public = key[1:]
        self.name = name
        self.key_id = _key_id(name, public)
        if key_id != self.key_id.hex():
            raise NoteError(
                f"The verifier key of {name!r} is damaged: "
                f"its id should be {self.key_id.hex()}, as computed from its name and key."
            )
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made that signature over that text."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True


def sign(text: str, signer: Signer) -> bytes:
    """The note: the text, an empty line, and the signer's line below.

    Raises:
        NoteError: the text does not end in a newline, or holds other control characters,
            or characters that UTF-8 has no form for.

    """
    if not text.endswith("\n"):
        raise NoteError("The text of a note must end in a newline.")
    signed = _encoded(text)
    coded = b64encode(signer.key_id + signer.signature(signed)).decode()
    return signed + f"\n{_DASH}{signer.name} {coded}\n".encode()


def open_note(note: bytes, verifiers: Iterable[Verifier]) -> str:
    """The text of a note that at least one of the known keys has signed.

    Signatures by other keys are passed over, as the specification demands: that is how
    witnesses and new keys can be added to a note without breaking its readers. A
    signature in a known key's name that does not fit spoils the whole note.

    Raises:
        NoteError: the note is malformed, no known key has signed it, or a known key's
            signature does not fit.

    """
    text, lines = _parts(note)
    signed = text.encode()
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    vouched = False
    for name, key_id, signature in _signatures(lines):
        verifier = known.get((name, key_id))
        if verifier is None:
            continue
        if not verifier.accepts(signed, signature):
            raise NoteError(
                f"The signature of {name!r} does not fit the note: one of them was changed."
            )
        vouched = True
    if not vouched:
        raise NoteError(
            "No known key has signed this note; check that the verifier key belongs to its signer."
        )
    return text


def check_key_name(name: str) -> None:
    """Hold a key's name to the specification.

    Raises:
        NoteError: the name is empty, or has a space, a plus sign, a control character, or
            a character that UTF-8 has no form for.

    """
    if not name or "+" in name or any(c.isspace() for c in name):
        raise NoteError(f"{name!r} cannot name a key: it is empty or has a space or plus sign.")
    _encoded(name)


def exact_base64(text: str) -> bytes | None:
    """What a text stands for in base64, None where it is not exactly what an encoder writes.

    Unused bits and missing padding are refused, so that one value has one form.
    """
    try:
        found = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return found if b64encode(found).decode() == text else None


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_ID_BYTES]


def _encoded(text: str) -> bytes:
    if _CONTROL.search(text):
        raise NoteError("A note may have no control character other than the newline.")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NoteError("A note may have no unpaired surrogate.") from None


def _parts(note: bytes) -> tuple[str, list[str]]:
    """The text and the signature lines, on either side of the last empty line."""
    if len(note) > MAX_NOTE:
        raise NoteError(f"A note has at most {MAX_NOTE} bytes; this one has {len(note)}.")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise NoteError("The note is not UTF-8.") from None
    if _CONTROL.search(whole):
        raise NoteError("A note may have no control character other than the newline.")
    end = whole.rfind("\n\n")
    if end < 0 or not whole.endswith("\n"):
        raise NoteError("This is no signed note: it has no signature lines after an empty line.")
    # Split at newlines alone: splitlines() would also cut at characters that a text may hold.
    lines = whole[end + 2 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(
            f"A note has at most {MAX_SIGNATURES} signatures; this one has {len(lines)}."
        )
    return whole[: end + 1], lines


def _signatures(lines: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
    """Name, key id and signature of each line."""
    for line in lines:
        name, _, coded = line.removeprefix(_DASH).partition(" ")
        signature = exact_base64(coded)
        if not line.startswith(_DASH) or signature is None or len(signature) <= _ID_BYTES:
            raise NoteError(
                f"The note is malformed: {line[:80]!r} is not a signature line "
                "(dash, key name, signature in base64)."
            )
        check_key_name(name)
        yield name, signature[:_ID_BYTES], signature[_ID_BYTES:]
