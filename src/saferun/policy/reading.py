"""How the values of a call are read: what is plain data, and when two numbers are the same."""

from math import isfinite
from types import NoneType
from typing import Any

_KEYS = frozenset((str,))
_SCALARS = frozenset((str, int, bool, NoneType))
"""The types whose values can be read in one way only. A float may stand for an integer."""


def floats_in(args: dict[str, Any]) -> bool:
    """Whether there is a float in some arguments. Raises ValueError as `look` does."""
    return not _SCALARS.issuperset(map(type, args.values())) and look(args)[0]


def look(args: dict[str, Any]) -> tuple[bool, int]:
    """Whether there is a float in some arguments, and how many values they hold.

    Raises ValueError where a value is not plain data: NaN and infinity, for which JSON
    has no word, and any type but JSON's own, which the validators might take for one.
    """
    floats, count = False, 0
    todo: list[dict[str, Any] | list[Any]] = [args]
    while todo:
        each = todo.pop()
        if isinstance(each, dict) and not _KEYS.issuperset(map(type, each)):
            raise ValueError
        items = each.values() if isinstance(each, dict) else each
        count += len(items)
        if _SCALARS.issuperset(map(type, items)):
            continue
        for item in items:
            kind = type(item)
            if kind is dict or kind is list:
                todo.append(item)
            elif kind is float and isfinite(item):
                floats = True
            elif kind not in _SCALARS:
                raise ValueError
    return floats, count


def written_alike(value: Any, constant: Any) -> bool:
    """Whether a value equals a constant and is no float where the constant is an integer."""
    if isinstance(constant, dict):
        return (
            isinstance(value, dict)
            and value.keys() == constant.keys()
            and all(written_alike(value[key], constant[key]) for key in constant)
        )
    if isinstance(constant, list):
        return (
            isinstance(value, list)
            and len(value) == len(constant)
            and all(map(written_alike, value, constant))
        )
    if type(constant) is float:
        return type(value) in (int, float) and bool(value == constant)
    return type(value) is type(constant) and bool(value == constant)
