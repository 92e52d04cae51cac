"""Values held against schemas.

Two readings of numbers are compiled. JSON Schema's own has 5.0 for an integer and for
equal to 5; the exact one has not, since a tool that wants 5 may do something else with
5.0. What lets a call through must hold in both readings, what stops one need hold in
either, so the spelling of a number never opens a door. The readings differ on floats
alone, and a call without one is asked about once.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jsonschema_rs import (
    Draft202012Validator,
    EmailOptions,
    RegexOptions,
    ValidationError,
    ValidationErrorKind,
)

from saferun.policy.reading import written_alike

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

_EXACT_TYPE = "saferun:type"
_EXACT_VALUE = "saferun:value"


class Complaint(NamedTuple):
    """One thing that is wrong with a value: where, the keyword, and the keyword's constant.

    Keys of objects stand in `path` as the caller wrote them.
    """

    path: tuple[str | int, ...]
    keyword: str
    constant: Any


class Matcher:
    """One schema, compiled in both readings. Immutable, and safe to share between threads.

    Every method may raise ValueError on a value that is not plain data; nothing is
    decided then.
    """

    __slots__ = ("_exact", "_plain", "schema")

    def __init__(self, schema: dict[str, Any]) -> None:
        exact = _exact(schema)
        self.schema = schema
        self._plain = compiled(schema)
        self._exact = None if exact == schema else compiled(exact)

    @property
    def exacting(self) -> bool:
        """Whether the two readings can differ at all."""
        return self._exact is not None

    def admits(self, value: Any, *, floats: bool) -> bool:
        """Whether a value holds in both readings. `floats` says whether there is one in it."""
        if not self._plain.is_valid(value):
            return False
        return not floats or self._exact is None or self._exact.is_valid(value)

    def catches(self, value: Any, *, floats: bool) -> bool:
        """Whether a value holds in either reading."""
        if self._plain.is_valid(value):
            return True
        return floats and self._exact is not None and self._exact.is_valid(value)

    def complaints(self, value: Any) -> list[Complaint]:
        """What is wrong with a value that was not admitted.

        The library collects every error before it answers, at some microseconds each:
        this is for values of a bounded size.
        """
        # A value can hold in the exact reading and fail the plain one, under `not` for one.
        errors = list(self._exact.iter_errors(value)) if self._exact else []
        return [self._complaint(error) for error in errors or self._plain.iter_errors(value)]

    def _complaint(self, error: ValidationError) -> Complaint:
        path = tuple(error.instance_path)
        if isinstance(error.kind, ValidationErrorKind.Required):
            return Complaint((*path, error.kind.property), "required", None)
        *steps, keyword = error.schema_path
        holder: Any = self.schema
        for step in steps:
            holder = holder[step]
        if keyword == _EXACT_TYPE:
            return Complaint(path, "type", holder["type"])
        if keyword == _EXACT_VALUE:
            keyword = "const" if "const" in holder else "enum"
            return Complaint(path, keyword, holder[keyword])
        # Alone in its schema, `additionalProperties: false` is reported as any other `false`.
        kind = keyword if keyword == "additionalProperties" else error.kind.name
        return Complaint(path, kind, holder[keyword])


def compiled(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator that fetches nothing, never backtracks and skips no `format`.

    Raises ValueError where the schema, or a pattern in it, cannot be compiled.
    """
    return Draft202012Validator(
        schema,
        pattern_options=RegexOptions(),
        email_options=EmailOptions(allow_display_text=False),
        validate_formats=True,
        ignore_unknown_formats=False,
        offline=True,
        keywords={_EXACT_TYPE: _ExactType, _EXACT_VALUE: _ExactValue},
    )


def inside(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The schemas that stand directly in this one, each with the steps that lead to it."""
    for keyword, held in schema.items():
        if keyword in _HELD:
            yield (keyword,), held
        elif keyword in _HELD_IN_LIST and isinstance(held, list):
            yield from (((keyword, at), each) for at, each in enumerate(held))
        elif keyword in _HELD_BY_NAME and isinstance(held, dict):
            yield from (((keyword, name), each) for name, each in held.items())


def _exact(schema: Any) -> Any:
    """The same schema with our two keywords wherever an integer is asked for."""
    if not isinstance(schema, dict):
        return schema
    exact = dict(schema)
    types = schema.get("type", ())
    if "integer" in types and "number" not in types:
        exact[_EXACT_TYPE] = True
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if any(map(_holds_integer, values)):
        exact[_EXACT_VALUE] = values
    for (keyword, *at), held in inside(schema):
        if not at:
            exact[keyword] = _exact(held)
            continue
        if exact[keyword] is schema[keyword]:
            exact[keyword] = schema[keyword].copy()
        exact[keyword][at[0]] = _exact(held)
    return exact


def _holds_integer(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_integer, value.values()))
    if isinstance(value, list):
        return any(map(_holds_integer, value))
    return type(value) is int


class _ExactType:
    """The keyword that refuses a float where `type` asks for an integer."""

    def __init__(self, _parent: dict[str, Any], _value: Any, _path: list[str | int]) -> None:
        pass

    def validate(self, instance: Any) -> None:
        if type(instance) is float:
            raise ValueError


class _ExactValue:
    """The keyword that refuses a float where `enum` or `const` has an integer."""

    def __init__(self, _parent: dict[str, Any], value: list[Any], _path: list[str | int]) -> None:
        self._values = value

    def validate(self, instance: Any) -> None:
        if not any(written_alike(instance, value) for value in self._values):
            raise ValueError
