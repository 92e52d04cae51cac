"""Sensitive values: held in an entry by salted commitments, and opened from beside the ledger.

In place of the value stands `{"$sealed":{"sha256":HEX}}`, and the entry names the commitment in
its field `sealed`, with the path of the value:

    commitment = SHA-256(0x03 || salt of 16 bytes || path || 0x00 || JSON of the value)

The first byte keeps it apart from leaves (0x00), nodes (0x01) and whatever else is hashed here.
The path is part of it, so that no value can be shown in the place of another, and the salt keeps
it from giving away a value that can be guessed. Whoever has salt, path and value can show that
this was the value; once they are destroyed, the entry still verifies and tells nothing.
"""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

import msgspec

SALT_BYTES = 16

ERASED = "[erased]"
"""What people and agents are shown in place of a value that nobody can open any more."""

LOST = "[lost]"
"""What people are shown in place of a value of which no erasure says why nobody can open it."""

_DOMAIN = b"\x03"


class Opening(NamedTuple):
    """What opens a commitment: its salt, the path of the value, and the value's JSON."""

    salt: bytes
    path: str
    value: bytes


Openings: TypeAlias = Callable[[bytes], Opening | None]
"""Finds what opens a commitment; None where nobody has it any more."""


def commit(salt: bytes, path: str, value: bytes) -> bytes:
    """The commitment to a value, given as JSON, at a path such as `args.email`.

    Raises:
        ValueError: the salt has another length, or there is a NUL in the path. One commitment
            could then be opened as several values, by moving bytes from one part to the next.

    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"the salt of a commitment has {SALT_BYTES} bytes, not {len(salt)}")
    if "\0" in path:
        raise ValueError("the path of a commitment has no NUL in it")
    return sha256(b"".join((_DOMAIN, salt, path.encode(), b"\0", value))).digest()


def opens(commitment: bytes, opening: Opening) -> bool:
    """Whether that is what was committed to; False for what could be no opening at all."""
    try:
        return hmac.compare_digest(commit(*opening), commitment)
    except (ValueError, TypeError, AttributeError):
        # Openings come from files, which may hold anything.
        return False


def sealed(commitment: bytes) -> dict[str, dict[str, str]]:
    """What stands in an entry in place of a value."""
    return {"$sealed": {"sha256": commitment.hex()}}


def filled(value: Any, names: Mapping[str, str], fill: Callable[[bytes], Any]) -> Any:
    """A value of an entry with something else where its commitments stand; see `opened`.

    `names` is the entry's field `sealed`. What a model or a tool says can look like a
    placeholder: it is one only if it is named there. `fill` is given each commitment, and
    `msgspec.UNSET` from it leaves the placeholder where it is. The given value is kept.
    """
    if not names:
        return value
    match value:
        case {"$sealed": {"sha256": str(name)}} if len(value) == 1 and name in names:
            try:
                other = fill(bytes.fromhex(name))
            except ValueError:
                # The entry was changed; verification says so.
                return value
            return value if other is msgspec.UNSET else other
        case dict():
            return {key: filled(item, names, fill) for key, item in value.items()}
        case list():
            return [filled(item, names, fill) for item in value]
    return value


def opened(value: Any, names: Mapping[str, str], openings: Openings) -> Any:
    """A value of an entry with its sealed parts opened, where they can be.

    A placeholder stays where nothing opens it any more, or what is kept does not fit.
    """

    def found(commitment: bytes) -> Any:
        opening = openings(commitment)
        path = names.get(commitment.hex())
        if opening is None or opening.path != path or not opens(commitment, opening):
            return msgspec.UNSET
        try:
            return msgspec.json.decode(opening.value)
        except (msgspec.MsgspecError, RecursionError):
            return msgspec.UNSET

    return filled(value, names, found)
