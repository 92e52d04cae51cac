"""Large values: kept beside the ledger, and held in it by a salted hash.

In place of the value stands `{"$blob":{"sha256":HEX,"bytes":N}}`, and the entry names the
hash in its field `blobs`. The salt keeps the hash from giving away a value that can be
guessed; once salt and value are deleted, the entry still verifies and tells nothing.
"""

from hashlib import sha256

MAX_INLINE = 32 * 1024
"""The largest value that stands in an entry itself, in bytes of JSON."""

SALT_BYTES = 16


def blob_hash(salt: bytes, data: bytes) -> bytes:
    """The hash that commits to a value: SHA-256 over 16 random bytes and the value's JSON.

    Raises:
        ValueError: the salt has another length. Were it free, one hash could be opened
            as several values, by moving bytes from one side to the other.

    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"the salt of a blob has {SALT_BYTES} bytes, not {len(salt)}")
    return sha256(salt + data).digest()


def placeholder(blob: bytes, size: int) -> dict[str, dict[str, str | int]]:
    """What stands in an entry in place of a value of `size` bytes whose hash is `blob`."""
    return {"$blob": {"sha256": blob.hex(), "bytes": size}}
