"""The keys of a store, kept beside its database and never in it.

`digest` makes the digests of arguments: an order number or an amount can be guessed, so a
plain hash of it would give it away. `signing` is the ledger's Ed25519 seed. Whoever reads
the database alone can use neither.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from saferun.errors import StoreError

_LENGTH = 32
_VARIABLES = {"digest": "SAFERUN_DIGEST_KEY", "signing": "SAFERUN_SIGNING_KEY"}


class Keys:
    """The two keys of one store: from the environment, else from files, else made new."""

    def __init__(self, digest: bytes, signing: Path, given: str | None) -> None:
        # Keyed once: a copy of it need not take the key in again.
        self._digest = hashlib.blake2b(key=digest, digest_size=16)
        self.digest_id = hashlib.blake2b(
            b"saferun digest key id", key=digest, digest_size=8
        ).hexdigest()
        """Which digest key this is, safe to keep in the database."""
        self._signing = signing
        self._given = given

    @classmethod
    def open(
        cls,
        folder: Path,
        ledger: str,
        *,
        founding: bool,
        environ: Mapping[str, str] | None = None,
    ) -> "Keys":
        """The keys in `folder`. They are made where a store is founded, and never again.

        A key that is missing later is lost or not mounted. A new one in its place would sign
        under the old ledger's name, and would take every argument for one never seen.

        Raises StoreError where a key is missing, is not 32 bytes of base64, or cannot be read
        or written.
        """
        environ = os.environ if environ is None else environ
        given = {name: environ.get(variable) for name, variable in _VARIABLES.items()}
        files = {"digest": folder / "digest.key", "signing": folder / f"{ledger}.signing.key"}
        if founding:
            for name, file in files.items():
                if not given[name]:
                    _make(file)
        return cls(_read(files["digest"], given["digest"]), files["signing"], given["signing"])

    @property
    def signing(self) -> bytes:
        """The seed that checkpoints are signed with. Raises StoreError where it is missing.

        Read only where something is signed: deciding on calls does not need it.
        """
        return _read(self._signing, self._given)

    @staticmethod
    def signing_only(
        folder: Path, ledger: str, environ: Mapping[str, str] | None = None
    ) -> bytes | None:
        """The signing seed for whoever only reads a store, None where there is none."""
        given = (os.environ if environ is None else environ).get(_VARIABLES["signing"])
        file = folder / f"{ledger}.signing.key"
        return _read(file, given) if given or file.exists() else None

    def digest(self, data: bytes) -> bytes:
        """16 bytes that only holders of the key can compare with a guess."""
        keyed = self._digest.copy()
        keyed.update(data)
        return keyed.digest()


def _make(path: Path) -> None:
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, base64.b64encode(secrets.token_bytes(_LENGTH)) + b"\n")
    except OSError as problem:
        raise StoreError(f"The key {path} cannot be made: {problem}") from None


def _read(path: Path, given: str | None) -> bytes:
    if given:
        return _decoded(given, "the environment")
    try:
        return _decoded(path.read_text(encoding="ascii"), str(path))
    except FileNotFoundError:
        raise StoreError(
            f"The key {path} is missing; put the original {path.name} back, or give it by "
            f"{' or '.join(_VARIABLES.values())}."
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise StoreError(f"The key {path} cannot be read: {problem}") from None


def _write(path: Path, data: bytes) -> None:
    # Whole or not at all, and on disk before anything is signed or digested with it.
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.replace(path)


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _LENGTH:
        raise StoreError(f"The key in {where} is not {_LENGTH} bytes written as base64.")
    return key
