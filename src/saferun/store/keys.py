"""The digest key of a store, and how keys lie in files: beside the database and never in it.

The digest key makes the digests of arguments: an order number or an amount can be guessed, so
a plain hash of it would give it away. Whoever reads the database alone cannot use it. The key
that signs is another, and who may hold that one is `custody`'s matter.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from saferun import files
from saferun.errors import StoreError

LENGTH = 32
"""Bytes of a key: of the one for digests, and of an Ed25519 seed."""

_VARIABLE = "SAFERUN_DIGEST_KEY"


class Keys:
    """The digest key of one store: from the environment, else from its file, else made new."""

    def __init__(self, digest: bytes) -> None:
        # Keyed once: a copy of it need not take the key in again.
        self._digest = hashlib.blake2b(key=digest, digest_size=16)
        self.digest_id = hashlib.blake2b(
            b"saferun digest key id", key=digest, digest_size=8
        ).hexdigest()
        """Which digest key this is, safe to keep in the database."""

    @classmethod
    def open(
        cls, folder: Path, *, founding: bool, environ: Mapping[str, str] | None = None
    ) -> "Keys":
        """The key in `folder`. It is made where a store is founded, and never again.

        A key that is missing later is lost or not mounted. A new one in its place would take
        every argument for one never seen.

        Raises StoreError where it is missing, is not 32 bytes of base64, or cannot be read or
        written.
        """
        given = (os.environ if environ is None else environ).get(_VARIABLE)
        file = folder / "digest.key"
        if founding and not given:
            make(file)
        if given:
            return cls(decoded(given, _VARIABLE))
        return cls(read(file, f"by {_VARIABLE}"))

    def fit(self, path: Path, known: Mapping[str, str]) -> None:
        """Raises StoreError where the store `path`, as it says itself, was made with another key.

        What was digested by that one would be taken for never seen.
        """
        if known.get("digest_key") != self.digest_id:
            raise StoreError(
                f"{path} was made with another digest key; put the original digest.key back into "
                f"{path.parent / 'keys'}, or into {_VARIABLE}."
            )

    def digest(self, data: bytes) -> bytes:
        """16 bytes that only holders of the key can compare with a guess."""
        keyed = self._digest.copy()
        keyed.update(data)
        return keyed.digest()


def make(path: Path) -> None:
    """Have a new key in a file, where none is there. Raises StoreError."""
    if not path.exists():
        put(path, base64.b64encode(secrets.token_bytes(LENGTH)) + b"\n")


def read(path: Path, otherwise: str) -> bytes:
    """The key in a file. `otherwise` says how else it may be given. Raises StoreError."""
    try:
        return decoded(path.read_text(encoding="ascii"), str(path))
    except FileNotFoundError:
        raise StoreError(
            f"The key {path} is missing; put the original {path.name} back, or give it {otherwise}."
        ) from None
    except UnicodeDecodeError:
        raise StoreError(f"The key in {path} is not {LENGTH} bytes written as base64.") from None
    except OSError as problem:
        raise StoreError(f"The key {path} cannot be read: {problem.strerror}.") from None


def put(path: Path, data: bytes) -> None:
    """Have a file beside the store hold these bytes; see `files.put`. Raises StoreError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.put(path, data)
    except OSError as problem:
        raise StoreError(f"{path} cannot be written: {problem.strerror}.") from None


def decoded(text: str, where: str) -> bytes:
    """A key from its base64. The error does not repeat it. Raises StoreError."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != LENGTH:
        raise StoreError(f"The key in {where} is not {LENGTH} bytes written as base64.")
    return key
