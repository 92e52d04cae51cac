"""Cosignatures: what a witness says of a checkpoint, as one more signature line under it.

    — WITNESS base64(KEY ID ‖ TIME ‖ SIGNATURE)

A witness keeps the last checkpoint that it has seen of a ledger, and signs a newer one only
after a proof that nothing before it was changed. So its line says: at TIME, the longest
ledger of that name that I have seen was this one. Whoever holds the ledger and its key cannot
make that line, and that is all the worth of it.

The form is C2SP tlog-cosignature v1 with Ed25519 (https://c2sp.org/tlog-cosignature). What is
signed are two lines more than the checkpoint has:

    cosignature/v1
    time SECONDS
    the text of the checkpoint

A witness's verifier key is written as a ledger's is, with 0x04 where that one has 0x01.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from saferun.ledger.checkpoint import Checkpoint
from saferun.ledger.note import NoteError, read_vkey, signatures

MAX_ANSWER = 1 << 16
"""The longest answer of a witness that is read, in bytes; a line of it has about 150."""

_COSIGNATURE = b"\x04"
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_LATEST = (1 << 63) - 1


class Witness:
    """A witness that is known and trusted, from its vkey.

    Raises:
        NoteError: the vkey is not one of a witness, or it was damaged.

    """

    __slots__ = ("_key", "key", "key_id", "name")

    def __init__(self, vkey: str) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self.name, self.key_id, self.key = read_vkey(vkey, _COSIGNATURE)
        self._key = Ed25519PublicKey.from_public_bytes(self.key)

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether this witness made that cosignature of that text, at the time that it says."""
        from cryptography.exceptions import InvalidSignature

        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES or _time(signature) > _LATEST:
            return False
        head = f"cosignature/v1\ntime {_time(signature)}\n".encode()
        try:
            self._key.verify(signature[_TIME_BYTES:], head + text)
        except InvalidSignature:
            return False
        return True


class Cosignature(NamedTuple):
    """That `witness` has seen that checkpoint, and none that is longer, at `time`.

    `time` is in seconds since 1970, UTC, by the witness's clock.
    """

    witness: Witness
    checkpoint: Checkpoint
    time: int


def cosignatures(note: bytes, witnesses: Iterable[Witness]) -> list[Cosignature]:
    """What known witnesses say of the checkpoint in a note, each of them once.

    A key that stands under two names is one witness: its cosignature does not cover the name.
    Of two lines by one witness, the later counts.

    Raises:
        NoteError: the note is malformed, or a known witness's line does not fit it.

    """
    text, vouched = signatures(note, witnesses)
    if not vouched:
        return []
    checkpoint = Checkpoint.parse(text)
    found: dict[bytes, Cosignature] = {}
    for witness, line in vouched:
        said = Cosignature(witness, checkpoint, _time(line.signature))
        if witness.key not in found or said.time > found[witness.key].time:
            found[witness.key] = said
    return list(found.values())


def cosigned(note: bytes, answer: bytes, witness: Witness) -> tuple[bytes, int]:
    """A checkpoint with the line under it that its witness has answered with, and when that was.

    Lines by other keys in the answer are passed over, and what else stood under the
    checkpoint stays. The time is in seconds since 1970, UTC.

    Raises:
        NoteError: the answer has no line by that witness, or one that does not fit.

    """
    text, before = signatures(note, [witness])
    body = text.encode() + b"\n"
    older = {line.encode() for _, line in before}
    if len(answer) > MAX_ANSWER or not answer.endswith(b"\n") or b"\n\n" in b"\n" + answer:
        raise NoteError("The answer of the witness has no signature lines alone.")
    _, vouched = signatures(body + answer, [witness])
    if not vouched:
        raise NoteError(f"The answer has no cosignature by the key of {witness.name!r}.")
    _, line = max(vouched, key=lambda pair: _time(pair[1].signature))
    kept = [each for each in note[len(body) :].splitlines(keepends=True) if each not in older]
    return body + b"".join(kept) + line.encode(), _time(line.signature)


class Quorum(NamedTuple):
    """How far enough witnesses vouch for a ledger.

    `checkpoint` is the longest that enough of them vouch for, None where they do not. Each of
    `beyond` is longer, and of too few witnesses to count; the ledger has to hold them all the
    same, since a witness that has seen more vouches for what is before it only then.
    """

    checkpoint: Checkpoint | None
    beyond: list[Checkpoint]
    said: list[Cosignature]


def quorum(notes: Iterable[bytes], witnesses: Sequence[Witness], need: int, origin: str) -> Quorum:
    """How far `need` different witnesses vouch for the ledger `origin`, by notes kept anywhere.

    They need not have signed one and the same checkpoint: a witness that vouches for 15
    entries vouches for the first 12 of them. Their word is enough: that the ledger's own key
    has signed is for each of them to have seen, and keys change. Notes on other ledgers are
    passed over.

    Raises:
        NoteError: a note is malformed, or a known witness's line does not fit it.

    """
    newest: dict[bytes, Cosignature] = {}
    for note in notes:
        for said in cosignatures(note, witnesses):
            if said.checkpoint.origin != origin:
                continue
            known = newest.get(said.witness.key)
            if known is None or (said.checkpoint.size, said.time) > (
                known.checkpoint.size,
                known.time,
            ):
                newest[said.witness.key] = said
    found = sorted(newest.values(), key=lambda said: said.checkpoint.size, reverse=True)
    if len(found) < need:
        return Quorum(None, [said.checkpoint for said in found], found)
    agreed = found[need - 1].checkpoint
    return Quorum(agreed, [said.checkpoint for said in found[: need - 1]], found)


def _time(signature: bytes) -> int:
    return int.from_bytes(signature[:_TIME_BYTES], "big")
