"""Sealing: sensitive values leave an entry as commitments, and keep what opens them apart.

After redaction, which leaves nothing to open, and before large values go beside the entry:
the values at the paths that a policy calls sensitive are replaced, and come back as openings
for the store, which encrypts them under a key of the person's whose they are.

JSON is cut apart along the paths and no further, so what is committed to are the very bytes
that were there, and the rest of the value is not written anew.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from saferun.ledger import Opening, Unkept, commit, sealed

MOST = 64
"""Values that are sealed one by one within one value; beyond it, that is sealed whole."""

MOST_NAMES = 2_048
"""Characters of all their paths together, which stand in the entry."""

Paths = Sequence[tuple[str, ...]]

_NONE: Mapping[str, str] = {}

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODE = msgspec.json.Encoder().encode


class Sealed(NamedTuple):
    """A value that was taken out of an entry: its commitment, and what opens that."""

    commitment: bytes
    opening: Opening

    def __repr__(self) -> str:
        # Whatever logs the work that holds it must not tell what it is.
        return f"Sealed({self.commitment.hex()})"


class Sealing:
    """What one entry seals, and what it leaves out, collected from its parts."""

    __slots__ = ("unkept", "values")

    def __init__(self) -> None:
        self.values: list[Sealed] = []
        self.unkept: dict[str, Unkept] = {}

    @property
    def names(self) -> Mapping[str, str]:
        """The entry's field `sealed`."""
        if not self.values:
            return _NONE
        return {each.commitment.hex(): each.opening.path for each in self.values}

    def whole(self, name: str, data: bytes) -> bytes:
        """Seal a value that stands in the entry under that name. Returns what is left there."""
        return _ENCODE(sealed(self._take(name, data)))

    def part(self, name: str, data: bytes, paths: Paths) -> bytes:
        """Seal what lies at some paths within a value. Returns what is left there.

        A path is a tuple of keys, `*` stands for any key or item, and a list has no names: as
        for redaction, only that a `*` beyond the end of a value means the value itself.
        """
        if not paths:
            return data
        before = len(self.values)
        try:
            left = self._walk((name,), data, paths)
        except (_TooManyError, msgspec.MsgspecError, RecursionError):
            # Names come from models and tools. What cannot stand in an entry is sealed with
            # all that is around it.
            del self.values[before:]
            return self.whole(name, data)
        return left if len(self.values) > before else data

    def _walk(self, at: tuple[str, ...], data: bytes, paths: Paths) -> bytes:
        first = data[:1]
        if not all(paths) or (first not in b"{[" and any(_any(path) for path in paths)):
            path = ".".join(at)
            length = sum(len(each.opening.path) for each in self.values) + len(path)
            if len(self.values) >= MOST or length > MOST_NAMES or not path.isprintable():
                raise _TooManyError
            return self.whole(path, data)
        if first == b"{":
            members = _OBJECT.decode(data)
            for key, item in members.items():
                inner = [path[1:] for path in paths if path[0] in ("*", key)]
                if inner:
                    members[key] = msgspec.Raw(self._walk((*at, key), bytes(item), inner))
            return _ENCODE(members)
        if first == b"[":
            items = _ARRAY.decode(data)
            for number, item in enumerate(items):
                inner = [each for path in paths if (each := _item(path, number)) is not None]
                if inner:
                    taken = self._walk((*at, f"{number}"), bytes(item), inner)
                    items[number] = msgspec.Raw(taken)
            return _ENCODE(items)
        return data

    def _take(self, path: str, data: bytes) -> bytes:
        opening = Opening(secrets.token_bytes(16), path, data)
        commitment = commit(*opening)
        self.values.append(Sealed(commitment, opening))
        return commitment


class _TooManyError(Exception):
    """More than an entry has room for."""


def _any(path: tuple[str, ...]) -> bool:
    return all(step == "*" for step in path)


def _item(path: tuple[str, ...], number: int) -> tuple[str, ...] | None:
    """What is left of a path at an item of a list; None where it leads elsewhere."""
    head = path[0]
    if head == "*":
        return path[1:]
    if not head.isdigit():
        return path
    return path[1:] if head == f"{number}" else None
