"""Where schemas stand inside a schema."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_HELD = frozenset(
    (
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
    )
)
_HELD_IN_LIST = frozenset(("prefixItems", "anyOf", "oneOf", "allOf"))
_HELD_BY_NAME = frozenset(("properties", "patternProperties", "dependentSchemas"))

SAME_VALUE = frozenset(("anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas"))
"""The keywords whose schemas look at the value itself and not at a part of it."""


def inside(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The schemas that stand directly in this one, each with the steps that lead to it."""
    for keyword, held in schema.items():
        if keyword in _HELD:
            yield (keyword,), held
        elif keyword in _HELD_IN_LIST and isinstance(held, list):
            yield from (((keyword, at), each) for at, each in enumerate(held))
        elif keyword in _HELD_BY_NAME and isinstance(held, dict):
            yield from (((keyword, name), each) for name, each in held.items())


def rebuilt(
    schema: Mapping[str, Any],
    new: dict[str, Any],
    change: Callable[[tuple[str | int, ...], Any], Any],
) -> dict[str, Any]:
    """`new` with every schema that stands directly in `schema` changed, and nothing of it shared.

    `new` begins as a copy of `schema`, perhaps with other words of its own. `change` is given
    the steps to a schema inside, and that schema; `schema` itself stays as it is.
    """
    for steps, held in inside(schema):
        keyword = str(steps[0])
        if len(steps) == 1:
            new[keyword] = change(steps, held)
            continue
        if new[keyword] is schema[keyword]:
            new[keyword] = schema[keyword].copy()
        new[keyword][steps[1]] = change(steps, held)
    return new
