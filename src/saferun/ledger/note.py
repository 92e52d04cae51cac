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
from typing import NamedTuple, Protocol, TypeVar

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


class Signs(Protocol):
    """Whoever signs notes in a key's name: a `Signer`, or something that holds the key itself."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""

    def vkey(self) -> str:
        """The verifier key, to be given to whoever is to check this signer's notes."""

    def signature(self, text: bytes) -> bytes:
        """The 64 bytes of the signature over a text."""


class KnownKey(Protocol):
    """A key that is known, of whatever type: what a note needs to look for its signature."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made that signature over that text."""
        ...


K = TypeVar("K", bound=KnownKey)


class Line(NamedTuple):
    """A signature line: whose it says it is, and the bytes after the key's id."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The line as it stands in a note, with its newline."""
        coded = b64encode(self.key_id + self.signature).decode()
        return f"{_DASH}{self.name} {coded}\n".encode()


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
        self.key_id = compute_key_id(name, _ED25519 + self._public)

    def vkey(self) -> str:
        """The verifier key, to be given to whoever is to check this signer's notes."""
        return vkey_of(self.name, self._public)

    def signature(self, text: bytes) -> bytes:
        """The 64 bytes of the signature over a text."""
        return self._key.sign(text)


class Verifier:
    """A key that is known and trusted, from its vkey.

    A vkey has one form, so two verifiers are of one key where their vkeys are the same.
    """

    __slots__ = ("_key", "key", "key_id", "name", "vkey")

    def __init__(self, vkey: str) -> None:
        """Read a verifier key, without white space around it.

        Raises:
            NoteError: it is not `NAME+KEY ID+KEY`, its parts contradict each other, or it
                is for another algorithm than Ed25519.

        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self.vkey = vkey
        self.name, self.key_id, self.key = read_vkey(vkey, _ED25519)
        self._key = Ed25519PublicKey.from_public_bytes(self.key)

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made that signature over that text."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True


def vkey_of(name: str, public: bytes) -> str:
    """The verifier key of a public Ed25519 key, 32 bytes, under a name.

    Raises:
        NoteError: the name may not be a key's, or the key has not 32 bytes.

    """
    check_key_name(name)
    if len(public) != _KEY_BYTES:
        raise NoteError(f"A public Ed25519 key has {_KEY_BYTES} bytes, not {len(public)}.")
    key = _ED25519 + public
    return f"{name}+{compute_key_id(name, key).hex()}+{b64encode(key).decode()}"


def sign(text: str, signer: Signs) -> bytes:
    """The note: the text, an empty line, and the signer's line below.

    Raises:
        NoteError: the text does not end in a newline, or holds other control characters,
            or characters that UTF-8 has no form for.

    """
    if not text.endswith("\n"):
        raise NoteError("The text of a note must end in a newline.")
    signed = _encoded(text)
    return signed + b"\n" + Line(signer.name, signer.key_id, signer.signature(signed)).encode()


def open_note(note: bytes, verifiers: Iterable[KnownKey]) -> str:
    """The text of a note that at least one of the known keys has signed.

    Signatures by other keys are passed over, as the specification demands: that is how
    witnesses and new keys can be added to a note without breaking its readers. A
    signature in a known key's name that does not fit spoils the whole note.

    Raises:
        NoteError: the note is malformed, no known key has signed it, or a known key's
            signature does not fit.

    """
    text, vouched = signatures(note, verifiers)
    if not vouched:
        raise NoteError(
            "No known key has signed this note; check that the verifier key belongs to its signer."
        )
    return text


def signatures(note: bytes, verifiers: Iterable[K]) -> tuple[str, list[tuple[K, Line]]]:
    """The text of a note, and which of the known keys have signed it, by which lines.

    There may be none, and then the text is nobody's: whoever calls this has to look.

    Raises:
        NoteError: the note is malformed, or a known key's signature does not fit.

    """
    text, lines = _parts(note)
    signed = text.encode()
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    vouched = []
    for line in _lines(lines):
        verifier = known.get((line.name, line.key_id))
        if verifier is None:
            continue
        if not verifier.accepts(signed, line.signature):
            raise NoteError(
                f"The signature of {line.name!r} does not fit the note: one of them was changed."
            )
        vouched.append((verifier, line))
    return text, vouched


def read_vkey(vkey: str, algorithm: bytes) -> tuple[str, bytes, bytes]:
    """Name, key id and the 32 bytes of the key in an Ed25519 verifier key.

    `algorithm` is the byte that tells what the key signs: notes of its own, or cosignatures.

    Raises:
        NoteError: it is not `NAME+KEY ID+KEY`, its parts contradict each other, or it is for
            another algorithm.

    """
    # Base64 may hold a plus sign, and a name may not.
    name, _, rest = vkey.partition("+")
    key_id, _, coded = rest.partition("+")
    check_key_name(name)
    key = exact_base64(coded)
    if key is None or key[:1] != algorithm or len(key) != 1 + _KEY_BYTES:
        kind = "an Ed25519 key" if algorithm == _ED25519 else "a witness's Ed25519 key"
        raise NoteError(f"The verifier key of {name!r} is not {kind} in base64.")
    expected = compute_key_id(name, key)
    if key_id != expected.hex():
        raise NoteError(
            f"The verifier key of {name!r} is damaged: "
            f"its id should be {expected.hex()}, as computed from its name and key."
        )
    return name, expected, key[1:]


def compute_key_id(name: str, key: bytes) -> bytes:
    """The four bytes that tell keys of one name apart; `key` begins with its algorithm's byte."""
    return sha256(name.encode() + b"\n" + key).digest()[:_ID_BYTES]


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


def _lines(lines: list[str]) -> Iterator[Line]:
    for line in lines:
        name, _, coded = line.removeprefix(_DASH).partition(" ")
        signature = exact_base64(coded)
        if not line.startswith(_DASH) or signature is None or len(signature) <= _ID_BYTES:
            raise NoteError(
                f"The note is malformed: {line[:80]!r} is not a signature line "
                "(dash, key name, signature in base64)."
            )
        check_key_name(name)
        yield Line(name, signature[:_ID_BYTES], signature[_ID_BYTES:])
