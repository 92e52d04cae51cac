"""Sets of entry numbers as bytes: which entries have something in common. Pure.

Numbers come in chunks of 65,536. Within one, a set is held as a whole number whose n-th bit says
whether the n-th entry is in it, so that what two sets have in common is one operation on each
chunk, however many they hold. As bytes, a set is the list of its members, two bytes each and in
whatever order they came, until a bit for every entry of the chunk takes less.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence

CHUNK = 1 << 16
"""Entries of one chunk."""

_BITS = CHUNK // 8
_MOST = 2_048
"""Members that are listed; more of them are bits, of which there are always as many bytes."""


def added(held: bytes, places: Sequence[int]) -> bytes:
    """The set in `held`, which may be empty, with some more members."""
    if len(held) == _BITS:
        return _marked(bytearray(held), places)
    if len(held) // 2 + len(places) <= _MOST:
        return held + _listed(places)
    return _marked(bytearray(_BITS), (*_members(held), *places))


def bits(held: bytes) -> int:
    """The set as a whole number. What is no set of ours is one of something, and never an error."""
    if len(held) == _BITS:
        return int.from_bytes(held, "little")
    return int.from_bytes(_marked(bytearray(_BITS), _members(held[: len(held) & ~1])), "little")


def has(held: bytes, place: int) -> bool:
    """Whether a place is a member of the set."""
    if len(held) == _BITS:
        return bool(held[place >> 3] >> (place & 7) & 1)
    return place in _members(held[: len(held) & ~1])


def common(held: bytes, marks: bytes) -> int:
    """How many members the set in `held` has in common with one that has a bit for every entry."""
    if len(held) == _BITS:
        return (int.from_bytes(held, "little") & int.from_bytes(marks, "little")).bit_count()
    members = _members(held[: len(held) & ~1])
    # One that was listed twice is one.
    return sum(marks[place >> 3] >> (place & 7) & 1 for place in set(members))


def marked(marks: int) -> bytes:
    """A set as bytes, with a bit for every entry of a chunk."""
    return marks.to_bytes(_BITS, "little")


def between(first: int, size: int) -> int:
    """All places from `first` up to, and without, `size`."""
    return (1 << size) - (1 << first) if size > first else 0


def of(places: Sequence[int]) -> int:
    return int.from_bytes(_marked(bytearray(_BITS), places), "little")


def places(marks: int, *, newest: bool) -> Iterator[int]:
    """The members of a set, ascending, or the other way with `newest`."""
    if marks.bit_count() > _MANY:
        # Taking one bit off a long number copies all of it.
        yield from _places_of_bytes(marks, newest=newest)
        return
    while marks:
        place = marks.bit_length() - 1 if newest else (marks & -marks).bit_length() - 1
        yield place
        marks ^= 1 << place


_MANY = 256
"""Members from which on a set is gone through byte by byte."""

_OF_BYTE = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


def _places_of_bytes(marks: int, *, newest: bool) -> Iterator[int]:
    data = marks.to_bytes((marks.bit_length() + 7) // 8, "little")
    steps = reversed(range(len(data))) if newest else range(len(data))
    for at in steps:
        byte = data[at]
        if byte:
            base, some = 8 * at, _OF_BYTE[byte]
            for bit in reversed(some) if newest else some:
                yield base + bit


def _marked(marks: bytearray, members: Sequence[int]) -> bytes:
    for place in members:
        marks[place >> 3] |= 1 << (place & 7)
    return bytes(marks)


def _listed(members: Sequence[int]) -> bytes:
    listed = array("H", members)
    if sys.byteorder == "big":  # pragma: no cover - the file may be carried to another machine
        listed.byteswap()
    return listed.tobytes()


def _members(held: bytes) -> Sequence[int]:
    listed = array("H", held)
    if sys.byteorder == "big":  # pragma: no cover
        listed.byteswap()
    return listed
