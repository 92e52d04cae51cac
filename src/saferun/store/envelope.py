"""What is kept of a request while it is open: sealed, under a key of its own.

The key lies in a file outside of the database and goes when the request ends. So what somebody
has to see in order to answer, and what has to be at hand to make the call later and elsewhere,
never stands in the database, its log or a backup for anybody to read.
"""

import contextlib
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from saferun import files
from saferun.errors import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12

_ID = re.compile(r"a-[0-9a-f]{20}")


def new_id() -> str:
    """The id of a new request.

    80 random bits: whoever could guess one could answer it before it is shown.
    """
    return f"a-{secrets.token_hex(10)}"


class Envelope:
    """The key of one request. `folder` is that of the store's keys."""

    def __init__(self, folder: Path, request: str) -> None:
        if _ID.fullmatch(request) is None:
            # It comes out of the database, and is about to become the name of a file.
            raise StoreError(f"{request[:40]!r} is the id of no request.")
        self.request = request
        self._path = folder / "requests" / f"{request}.key"
        self._cipher: AESGCM | None = None

    def make(self) -> "Envelope":
        """Make the key, where the request is new. Raises StoreError where it cannot be kept."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = secrets.token_bytes(_KEY_BYTES)
            files.put(self._path, key)
        except OSError as problem:
            raise StoreError(f"{self._path} cannot be written: {problem.strerror}.") from None
        self._cipher = _cipher(key)
        return self

    @property
    def age(self) -> float:
        """Seconds since its key was made, by the clock of the disk; 0 where there is none."""
        try:
            return time.time() - self._path.stat().st_mtime
        except OSError:
            return 0.0

    def seal(self, what: str, data: bytes) -> bytes:
        """Seal something of the request; `what` says which part of it, and is bound to it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._opened().encrypt(nonce, data, self._about(what))

    def open(self, what: str, sealed: object) -> bytes:
        """What was sealed. Raises StoreError where its key is gone, or it was changed."""
        from cryptography.exceptions import InvalidTag

        if not isinstance(sealed, bytes) or len(sealed) < _NONCE_BYTES:
            raise StoreError(f"What was kept of {self.request} is gone.")
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._opened().decrypt(nonce, rest, self._about(what))
        except InvalidTag:
            raise StoreError(f"What was kept of {self.request} was changed.") from None

    def destroy(self) -> None:
        """Have nobody open what was sealed ever again."""
        self._cipher = None
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _opened(self) -> "AESGCM":
        if self._cipher is None:
            try:
                key = self._path.read_bytes()
            except OSError:
                key = b""
            if len(key) != _KEY_BYTES:
                raise StoreError(f"{self.request} has ended, or its key was taken away.")
            self._cipher = _cipher(key)
        return self._cipher

    def _about(self, what: str) -> bytes:
        return f"saferun {what} {self.request}".encode()


def left(folder: Path) -> list[str]:
    """The ids of the requests of which a key is there."""
    try:
        names = [path.stem for path in (folder / "requests").iterdir()]
    except OSError:
        return []
    return [name for name in names if _ID.fullmatch(name) is not None]


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
