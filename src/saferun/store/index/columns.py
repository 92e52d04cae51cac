"""Columns of the index that hold something of many entries at once, packed and unpacked.

Whatever else than that stands in one, whoever can write the file has put there: it says nothing.
"""

import sys
from array import array
from collections.abc import Sequence
from typing import TypeGuard


def is_leaf(leaf: object) -> TypeGuard[bytes]:
    return isinstance(leaf, bytes) and len(leaf) == 32


def eight_bytes(at: int) -> bytes:
    return at.to_bytes(8, "big") if 0 <= at < 1 << 64 else bytes(8)


def times_in(each: object) -> list[int]:
    if not isinstance(each, bytes):
        return []
    return [int.from_bytes(each[at : at + 8], "big") for at in range(0, len(each), 8)]


def fours_of(numbers: Sequence[int]) -> bytes:
    listed = array("I", numbers)
    if sys.byteorder == "big":  # pragma: no cover - the file may be carried to another machine
        listed.byteswap()
    return listed.tobytes()


def fours_in(each: object) -> Sequence[int]:
    listed = array("I", each[: len(each) & ~3] if isinstance(each, bytes) else b"")
    if sys.byteorder == "big":  # pragma: no cover - the file may be carried to another machine
        listed.byteswap()
    return listed


def leaf_or_nothing(leaf: object) -> bytes:
    return leaf if isinstance(leaf, bytes) else b""
