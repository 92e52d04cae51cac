"""Keys of subjects, and what is kept under them: the openings of sealed values.

    a key that wraps, in a file beside the database
      wraps a key for each subject, in the table `subject`
        which encrypts the openings of that subject, in the table `opening`

All of it is AES-256-GCM under random nonces. A wrapped key is bound to its subject and an
opening to its commitment, so that neither can be put in the place of another. A subject is a
keyed digest of whose data it is.

Everything that is written here is written under the store's lock, in the transaction of the
entry that it belongs to, and by the row as it is then: a process that remembers a key which was
erased or wrapped anew meanwhile finds another row, and reads it. The name of the key that wraps
stands in the database, and says which of two files holds it: while one takes the place of the
other, both are there.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from saferun.errors import StoreError
from saferun.ledger import Opening
from saferun.sealing import Sealed
from saferun.store import keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = "subject_key"
"""Where the database says which key wraps those of the subjects."""

MAX_KEYS = 1_000
"""Keys of subjects that are remembered; one that was forgotten is unwrapped again."""

_KEY_BYTES = 32
_NONCE_BYTES = 12

_STANDING = (
    f"SELECT (SELECT key FROM subject WHERE subject = ?),"  # noqa: S608 - a constant alone
    f" (SELECT value FROM meta WHERE name = '{KEY}')"
)

KEPT = (
    "SELECT o.sealed, o.subject, s.key,"  # noqa: S608 - a constant alone
    f" (SELECT value FROM meta WHERE name = '{KEY}')"
    " FROM opening o JOIN subject s ON s.subject = o.subject WHERE o.hash = ?"
)
"""What is kept for a commitment, as `Vault.opening` takes it."""

Row: TypeAlias = tuple[object, ...]


class _Rows(Protocol):
    """What is read and written here of a transaction.

    `made` are the keys of subjects that the item under way has made, which no read sees yet.
    """

    made: dict[bytes, "AESGCM"]

    def read(self, statement: str, *values: object) -> Row | None: ...

    def write(self, statement: str, *values: object) -> None: ...


class Vault:
    """The keys of one store's subjects, as one process knows them."""

    def __init__(self, folder: Path, ledger: str) -> None:
        self.file = folder / f"{ledger}.subjects.key"
        self.next = folder / f"{ledger}.subjects.key.next"
        self._wrapping: tuple[str, AESGCM] | None = None
        self._keys: dict[bytes, tuple[bytes, AESGCM]] = {}

    def keep(self, tx: _Rows, subject: bytes, values: Sequence[Sealed]) -> None:
        """Keep the openings of sealed values. Raises StoreError where there is no key for it."""
        key = tx.made.get(subject) or self._key(tx, subject)
        for commitment, opening in values:
            tx.write(
                "INSERT OR IGNORE INTO opening VALUES (?, ?, ?)",
                *(commitment, subject, _closed(key, msgspec.msgpack.encode(opening), commitment)),
            )

    def find(self, tx: _Rows, commitment: bytes) -> Opening | None:
        """What opens a commitment, None where nobody has it any more, or its key is not here."""
        row = tx.read(KEPT, commitment)
        return None if row is None else self.opening(commitment, row)

    def opening(self, commitment: bytes, row: Row) -> Opening | None:
        """The same, from a row of `KEPT`."""
        held, subject, wrapped, name = row
        # A database file may have been given columns of any type.
        if not (type(held) is type(subject) is type(wrapped) is bytes and isinstance(name, str)):
            return None
        try:
            data = _opened(self._unwrapped(subject, wrapped, name), held, commitment)
            return Opening(*msgspec.msgpack.decode(data, type=tuple[bytes, str, bytes]))
        except (StoreError, msgspec.MsgspecError):
            return None

    def reaches(self, name: str) -> bool:
        """Whether the key of that name is here."""
        try:
            self.wrapping(name)
        except StoreError:
            return False
        return True

    def _key(self, tx: _Rows, subject: bytes) -> "AESGCM":
        row = tx.read(_STANDING, subject)
        assert row is not None
        wrapped, name = row
        if isinstance(wrapped, bytes) and isinstance(name, str):
            return self._unwrapped(subject, wrapped, name)
        if not isinstance(name, str):
            name = self._found(tx)
        key = secrets.token_bytes(_KEY_BYTES)
        wrapped = _closed(self.wrapping(name), key, subject)
        tx.write("INSERT INTO subject VALUES (?, ?)", subject, wrapped)
        tx.made[subject] = made = _cipher(key)
        self._remember(subject, wrapped, made)
        return made

    def _found(self, tx: _Rows) -> str:
        """Begin with a key that wraps. One that lies there was left by a crash right after this."""
        if (key := read(self.file)) is None:
            if self.file.exists():
                raise StoreError(f"{self.file} holds no key; take it away if nothing needs it.")
            key = secrets.token_bytes(_KEY_BYTES)
            put(self.file, key)
        tx.write("INSERT OR IGNORE INTO meta VALUES (?, ?)", KEY, named(key))
        return named(key)

    def _unwrapped(self, subject: bytes, wrapped: bytes, name: str) -> "AESGCM":
        known = self._keys.get(subject)
        if known is None or known[0] != wrapped:
            key = _cipher(_opened(self.wrapping(name), wrapped, subject))
            self._remember(subject, wrapped, key)
            return key
        return known[1]

    def _remember(self, subject: bytes, wrapped: bytes, key: "AESGCM") -> None:
        if len(self._keys) >= MAX_KEYS:
            self._keys.clear()
        self._keys[subject] = (wrapped, key)

    def wrapping(self, name: str) -> "AESGCM":
        """The key of that name that wraps, from whichever file holds it. Raises StoreError."""
        if self._wrapping is None or self._wrapping[0] != name:
            for key in filter(None, map(read, (self.file, self.next))):
                if named(key) == name:
                    # What was remembered under another one may have been erased since.
                    self._keys = {}
                    self._wrapping = (name, _cipher(key))
                    break
            else:
                raise StoreError(
                    f"The key {self.file} that sensitive values are kept under is missing or is "
                    "another one; put the original back, or give up what it opens with "
                    "saferun ledger erase --everybody."
                )
        return self._wrapping[1]


def rewrapped(old: "AESGCM", new: "AESGCM", subject: bytes, wrapped: bytes) -> bytes:
    """The key of a subject under another key that wraps. Raises StoreError."""
    return _closed(new, _opened(old, wrapped, subject), subject)


def fresh() -> tuple[bytes, "AESGCM"]:
    """A new key that wraps, as bytes and ready to be used."""
    key = secrets.token_bytes(_KEY_BYTES)
    return key, _cipher(key)


def named(key: bytes) -> str:
    """Which key that wraps this is, safe to stand in the database."""
    return hashlib.blake2b(b"saferun subject key id", key=key, digest_size=8).hexdigest()


def read(path: Path) -> bytes | None:
    """The key in a file, None where there is none in it. Raises StoreError."""
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except FileNotFoundError:
        return None
    except (binascii.Error, ValueError):
        # Overwritten, and not replaced yet.
        return None
    except OSError as problem:
        raise StoreError(f"The key {path} cannot be read: {problem}") from None
    return key if len(key) == _KEY_BYTES else None


def put(path: Path, key: bytes) -> None:
    """Write a key file whole or not at all, and have it on disk. Raises StoreError."""
    keys.put(path, base64.b64encode(key) + b"\n")


def wipe(path: Path) -> None:
    """Overwrite a file where it lies, and have that on disk. Its name is left."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, bytes(os.fstat(fd).st_size), 0)
            os.fsync(fd)
        finally:
            os.close(fd)


def _cipher(key: bytes) -> "AESGCM":
    # Most processes keep nothing sensitive, and none shall wait for this at its import.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _closed(key: "AESGCM", data: bytes, about: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, data, about)


def _opened(key: "AESGCM", data: bytes, about: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return key.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise StoreError(
            "What is kept of a sensitive value was changed, or its key is another one."
        ) from None
