"""Receipts: one entry, and all that it takes to prove that it is in the ledger.

    c2sp.org/tlog-proof@v1
    extra base64(the entry's body, and after it the key entries that the reader may need)
    index N
    base64(HASH)
    ...

    the checkpoint, as it was signed

The form is C2SP tlog-proof (https://c2sp.org/tlog-proof). Whoever has the ledger's verifier
key needs nothing else: the leaf is the hash of the body's very bytes, the hashes lead from it
to the root, and the key has signed the root. What `extra` holds is believed only where that
holds: the body because its leaf is proven, and a `key` entry because a key that is trusted
already has signed the note in it.
"""

import re
from base64 import b64encode
from typing import NamedTuple

import msgspec

from saferun.errors import SafeRunError
from saferun.ledger.checkpoint import Checkpoint, open_checkpoint
from saferun.ledger.entry import MAX_BODY, Entry, EntryError, read
from saferun.ledger.note import MAX_NOTE, NoteError, Verifier, exact_base64
from saferun.ledger.proof import MAX_HASHES, proves_inclusion
from saferun.ledger.succession import followers
from saferun.ledger.tree import HASH_BYTES, leaf_hash

SUFFIX = ".tlog-proof"
"""How the name of a receipt's file ends."""

MAX_KEYS = 64
"""The most `key` entries that a receipt is read with."""

MAX_RECEIPT = MAX_NOTE + 2 * (1 + MAX_KEYS) * MAX_BODY
"""The longest receipt that is read, in bytes."""

_TITLE = b"c2sp.org/tlog-proof@v1"
_INDEX = re.compile(rb"index (0|[1-9][0-9]{0,17})")


class ReceiptError(SafeRunError):
    """A receipt that is malformed, or that does not prove what it says."""


class Receipt(msgspec.Struct, frozen=True):
    """An entry's body, its number, the proof of it, and the signed note with the root.

    `keys` are the bodies of `key` entries, the oldest first, by which a reader who trusts an
    earlier key gets to the one that signed the note.
    """

    body: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    keys: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """The receipt as a file has it."""
        # A body never holds a newline: JSON writes it as an escape.
        extra = b64encode(b"\n".join((self.body, *self.keys)))
        lines = [_TITLE, b"extra " + extra, b"index %d" % self.index]
        lines += [b64encode(each) for each in self.hashes]
        return b"\n".join(lines) + b"\n\n" + self.note

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """The receipt that a file states. Nothing is believed yet; see `open_receipt`.

        Raises:
            ReceiptError: it is too long, or not written in the one form it has.

        """
        if len(data) > MAX_RECEIPT:
            raise ReceiptError(f"A receipt has at most {MAX_RECEIPT} bytes.")
        proof, border, note = data.partition(b"\n\n")
        title, *lines = proof.split(b"\n")
        if title != _TITLE or not border:
            raise ReceiptError(f"This is no receipt: it does not begin with {_TITLE.decode()}.")
        if not lines or not lines[0].startswith(b"extra "):
            raise ReceiptError("The receipt does not hold its entry: it has no line `extra`.")
        extra = _from_base64(lines[0].removeprefix(b"extra "))
        index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if extra is None or index is None:
            raise ReceiptError("The receipt is malformed in its line `extra` or its line `index`.")
        if len(lines) > 2 + MAX_HASHES:
            raise ReceiptError(f"The proof in a receipt has at most {MAX_HASHES} hashes.")
        hashes = [_from_base64(line) for line in lines[2:]]
        sound = tuple(each for each in hashes if each is not None and len(each) == HASH_BYTES)
        if len(sound) != len(hashes):
            raise ReceiptError(f"A hash in a receipt is {HASH_BYTES} bytes in base64, on a line.")
        body, *keys = extra.split(b"\n", MAX_KEYS + 1)
        if len(keys) > MAX_KEYS:
            raise ReceiptError(f"A receipt has at most {MAX_KEYS} changes of the key.")
        return cls(body, int(index[1]), sound, note, tuple(keys))


class Proven(NamedTuple):
    """An entry that is in the ledger, and the checkpoint that says so."""

    entry: Entry
    checkpoint: Checkpoint


def open_receipt(data: bytes, verifier: Verifier, *others: Verifier) -> Proven:
    """The entry that a receipt proves, with nothing but keys that are trusted beforehand.

    Raises:
        ReceiptError: the receipt is malformed, its checkpoint is not signed by those keys or by
            one that follows from it, its proof does not lead from the entry to the root, or
            the entry is none or says that it has another number.

    """
    receipt = Receipt.parse(data)
    try:
        trusted = (verifier, *others)
        known = [key for each in trusted for key in followers(each, receipt.keys)]
        # Under several names, those of before and after a restart say, each speaks for its own.
        name = verifier.name if len({each.name for each in trusted}) == 1 else None
        checkpoint = open_checkpoint(receipt.note, known, name)
    except NoteError as problem:
        raise ReceiptError(f"The checkpoint in the receipt does not open. {problem}") from None
    leaf = leaf_hash(receipt.body)
    if not proves_inclusion(receipt.hashes, receipt.index, checkpoint.size, leaf, checkpoint.root):
        raise ReceiptError(
            "The proof in the receipt does not lead from the entry to the checkpoint: "
            "one of them was changed, or they do not belong together."
        )
    try:
        entry = read(receipt.body)
    except EntryError as problem:
        raise ReceiptError(f"What the receipt proves {problem.what}.") from None
    if entry.seq != receipt.index:
        raise ReceiptError(
            f"The entry in the receipt says that it is number {entry.seq}, "
            f"and it is proven to be number {receipt.index}."
        )
    return Proven(entry, checkpoint)


def _from_base64(line: bytes) -> bytes | None:
    try:
        return exact_base64(line.decode("ascii"))
    except UnicodeDecodeError:
        return None
