"""The types of a condition's values, and how a JSON Schema names them."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec


class Type(msgspec.Struct, frozen=True):
    """What is known of a value before there is one."""


class Scalar(Type, frozen=True):
    """A type without parts, by its name in CEL."""

    name: str


class ListOf(Type, frozen=True):
    """A list whose items all have one type."""

    item: Type


class MapOf(Type, frozen=True):
    """An object with any keys, whose values all have one type. Keys are strings, as in JSON."""

    value: Type


class ObjectOf(Type, frozen=True):
    """An object whose fields are known. `open` says that it may hold others, of any type."""

    fields: Mapping[str, Type]
    open: bool = False


INT = Scalar("int")
"""A whole number of 64 bits with a sign."""

DOUBLE = Scalar("double")
"""A finite number of 64 bits. A whole number of JSON is one too, since JSON writes 5 for 5.0."""

STRING = Scalar("string")
BOOL = Scalar("bool")
NULL = Scalar("null")

TIMESTAMP = Scalar("timestamp")
"""A moment. Values hand it in as microseconds since 1970 in UTC."""

DURATION = Scalar("duration")
"""A span of time. It is made in conditions alone; no value hands one in."""

DYN = Scalar("dyn")
"""Any value. What may be done with it is checked when it is there."""

NUMBERS = (INT, DOUBLE)

_WORDS = {
    INT: "a whole number",
    DOUBLE: "a number",
    STRING: "a string",
    BOOL: "true or false",
    NULL: "null",
    TIMESTAMP: "a timestamp",
    DURATION: "a duration",
    DYN: "a value of any type",
}


def worded(kind: Type) -> str:
    """A type as a reader would call it: `a list of strings` is told as `a list`."""
    if isinstance(kind, Scalar):
        return _WORDS[kind]
    return "a list" if isinstance(kind, ListOf) else "an object"


def is_object(kind: Type) -> bool:
    return isinstance(kind, (MapOf, ObjectOf))


def held(kind: Type) -> Type:
    """The type of what is found in an object under a key that is not known in advance."""
    if isinstance(kind, MapOf):
        return kind.value
    if isinstance(kind, ObjectOf) and kind.fields and not kind.open:
        return united(kind.fields.values())
    return DYN


def fits(one: Type, other: Type) -> bool:
    """Whether two types may meet in an `==`, in the branches of a `?:`, in the items of a list.

    DYN meets everything. Two objects meet whatever they hold: where their fields differ
    they are unequal, and no question about them is a mistake in itself.
    """
    if DYN in (one, other):
        return True
    if isinstance(one, ListOf) and isinstance(other, ListOf):
        return fits(one.item, other.item)
    if isinstance(one, MapOf) and isinstance(other, MapOf):
        return fits(one.value, other.value)
    return one == other or (is_object(one) and is_object(other))


def comparable(one: Type, other: Type) -> bool:
    """Whether `==` between these can ever be true; whole and other numbers share one line."""
    if one in NUMBERS and other in NUMBERS:
        return True
    if isinstance(one, ListOf) and isinstance(other, ListOf):
        return comparable(one.item, other.item)
    if isinstance(one, MapOf) and isinstance(other, MapOf):
        return comparable(one.value, other.value)
    return fits(one, other)


def joined(one: Type, other: Type) -> Type:
    """The type of a value that has one type or the other; DYN where they have none in common."""
    if one == other:
        return one
    if isinstance(one, ListOf) and isinstance(other, ListOf):
        return ListOf(joined(one.item, other.item))
    if is_object(one) and is_object(other):
        return MapOf(joined(held(one), held(other)))
    return DYN


def united(kinds: Iterable[Type]) -> Type:
    """The one type of several values, DYN where there are none or they differ."""
    found: Type | None = None
    for kind in kinds:
        found = kind if found is None else joined(found, kind)
    return DYN if found is None else found


_NAMED: Mapping[str, Type] = {
    "integer": INT,
    "number": DOUBLE,
    "string": STRING,
    "boolean": BOOL,
    "null": NULL,
}

_OF_VALUE: Mapping[type, Type] = {int: INT, float: DOUBLE, str: STRING, bool: BOOL}

Schema: TypeAlias = Any
"""A JSON Schema: a mapping, or true or false."""


def from_schema(schema: Schema) -> Type:
    """The type of the values that a JSON Schema (draft 2020-12) lets through.

    Where it leaves several types, or says so in a way that only a validator can follow,
    the answer is DYN: right for every value, and checked when there is one.
    """
    if not isinstance(schema, Mapping):
        return DYN
    said = schema.get("type")
    if isinstance(said, list) and len(said) == 1:
        [said] = said
    if isinstance(said, list):
        return DOUBLE if set(said) == {"integer", "number"} else DYN
    if said is None:
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        return united(map(_of_value, values)) if isinstance(values, list) else DYN
    if said == "array":
        return ListOf(_item(schema))
    if said == "object":
        return _object(schema)
    return _NAMED.get(said, DYN)


def _item(schema: Mapping[str, Any]) -> Type:
    first = schema.get("prefixItems", [])
    rest = [schema["items"]] if "items" in schema else [] if first else [True]
    return united(from_schema(each) for each in (*first, *rest) if each is not False)


def _object(schema: Mapping[str, Any]) -> Type:
    properties = schema.get("properties")
    if not properties:
        return MapOf(DYN)
    fields = {name: from_schema(each) for name, each in properties.items()}
    closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    return ObjectOf(fields, open=not closed)


def _of_value(value: Any) -> Type:
    if value is None:
        return NULL
    return _OF_VALUE.get(type(value), DYN)
