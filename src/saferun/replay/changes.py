"""How two JSON values differ, part by part, within bounds. Pure.

Values come from models and tools: they may be large, deep, or made to be slow to compare. So no
more than `MOST` differences are told, no more than `LOOKED` parts looked at, and none deeper than
`DEPTH`; what lies beyond is one difference as a whole.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import msgspec

MOST = 100
LOOKED = 10_000
DEPTH = 20


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part that differs, by its path: names of members, and places in lists.

    `before` or `after` is missing where that value has no such part.
    """

    path: tuple[str | int, ...]
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What differs. Not `whole` where there are more, or not all of it was looked at."""

    changes: tuple[Change, ...] = ()
    whole: bool = True


def changes(before: Any, after: Any) -> Changes:
    """What turns one value into the other, in the order of its members."""
    found: list[Change] = []
    for looked, change in enumerate(_walk(before, after)):
        if looked >= LOOKED or len(found) >= MOST:
            return Changes(changes=tuple(found), whole=False)
        if change is not None:
            found.append(change)
    return Changes(changes=tuple(found))


def _walk(before: Any, after: Any) -> Iterator[Change | None]:
    """Each part that is looked at: None for one that is the same so far."""
    left: list[tuple[tuple[str | int, ...], Any, Any]] = [((), before, after)]
    while left:
        path, one, other = left.pop()
        parts = _parts(one, other) if len(path) < DEPTH else None
        if parts is not None:
            yield None
            left += (((*path, key), *pair) for key, *pair in reversed(list(parts)))
        elif one is other or (type(one) is type(other) and _same(one, other)):
            yield None
        else:
            yield Change(path=path, before=one, after=other)


def _parts(one: Any, other: Any) -> Iterator[tuple[str | int, Any, Any]] | None:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = dict.fromkeys((*one, *other))
        return ((each, one.get(each, _NONE), other.get(each, _NONE)) for each in names)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip_longest(one, other, fillvalue=_NONE)
        return ((place, *pair) for place, pair in enumerate(pairs))
    return None


_NONE = msgspec.UNSET


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict | list):
        # Beyond `DEPTH`, where comparing might go deeper than Python does.
        try:
            return bool(one == other)
        except RecursionError:
            return False
    return bool(one == other)
