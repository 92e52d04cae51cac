"""Values held against schemas.

Everything is compared in two readings. JSON Schema's own has 5.0 for an integer and for
equal to 5; the exact one has not, since a tool that wants 5 may do something else with
5.0. The forms of SafeRun read roughly and exactly in the same way: a host that looks like
the listed one, and the listed one. What lets a call through must hold in both readings,
what stops one need hold in either, so the spelling of a value never opens a door. Without a
form, the readings differ on floats alone, and a call without one is asked about once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jsonschema_rs import (
    Draft202012Validator,
    EmailOptions,
    RegexOptions,
    ValidationError,
    ValidationErrorKind,
)

from saferun.policy.form import FORMS, Form, inside, rebuilt
from saferun.policy.reading import written_alike
from saferun.policy.wording import measured

__all__ = ["Complaint", "Matcher", "compiled", "inside"]

_EXACT_TYPE = "saferun:type"
_EXACT_VALUE = "saferun:value"
_EXACT_FORM = "saferun:exactly:"


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

    __slots__ = ("_exact", "_formed", "_rough", "schema")

    def __init__(self, schema: dict[str, Any]) -> None:
        exact = _exact(schema)
        self.schema = schema
        self._formed = _formed(schema)
        self._rough = _validator(schema)
        self._exact = None if exact == schema else _validator(exact)

    @property
    def exacting(self) -> bool:
        """Whether the two readings can differ at all."""
        return self._exact is not None

    def admits(self, value: Any, *, floats: bool) -> bool:
        """Whether a value holds in both readings. `floats` says whether there is one in it."""
        if not self._rough.is_valid(value):
            return False
        if self._exact is None or not (floats or self._formed):
            return True
        return self._exact.is_valid(value)

    def catches(self, value: Any, *, floats: bool) -> bool:
        """Whether a value holds in either reading."""
        if self._rough.is_valid(value):
            return True
        if self._exact is None or not (floats or self._formed):
            return False
        return self._exact.is_valid(value)

    def complaints(self, value: Any) -> list[Complaint]:
        """What is wrong with a value that was not admitted.

        The library collects every error before it answers, at some microseconds each:
        this is for values of a bounded size.
        """
        # A value can hold in the exact reading and fail the rough one, under `not` for one.
        errors = list(self._exact.iter_errors(value)) if self._exact else []
        return [self._complaint(error) for error in errors or self._rough.iter_errors(value)]

    def _complaint(self, error: ValidationError) -> Complaint:
        path = tuple(error.instance_path)
        if isinstance(error.kind, ValidationErrorKind.Required):
            return Complaint((*path, error.kind.property), "required", None)
        *steps, last = error.schema_path
        keyword = str(last)
        holder: Any = self.schema
        for step in steps:
            holder = holder[step]
        if keyword == _EXACT_TYPE:
            return Complaint(path, "type", holder["type"])
        if keyword == _EXACT_VALUE:
            keyword = "const" if "const" in holder else "enum"
            return Complaint(path, keyword, measured(holder, keyword))
        if isinstance(error.kind, ValidationErrorKind.FalseSchema):
            # Alone in its schema, `additionalProperties: false` is reported as any other `false`.
            kind = keyword if keyword == "additionalProperties" else error.kind.name
            return Complaint(path, kind, False)
        if isinstance(error.kind, ValidationErrorKind.Custom):
            keyword = keyword.removeprefix(_EXACT_FORM)
            return Complaint(path, keyword, measured(holder, keyword))
        return Complaint(path, error.kind.name, measured(holder, keyword))


def compiled(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator of the values that fit a schema for certain: in both readings of every form.

    It is an answer at a glance. Numbers it reads as JSON Schema does, in one reading alone, and
    a rule's condition may stand in it under `not`: what holds here, no rule can catch.

    Raises ValueError where the schema, or a pattern in it, cannot be compiled.
    """
    return _validator({"allOf": [schema, _exact(schema)]} if _formed(schema) else schema)


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator that fetches nothing, never backtracks and skips no `format`."""
    return Draft202012Validator(
        schema,
        pattern_options=RegexOptions(),
        email_options=EmailOptions(allow_display_text=False),
        validate_formats=True,
        ignore_unknown_formats=False,
        offline=True,
        keywords=_KEYWORDS,
    )


def _formed(schema: Any) -> bool:
    """Whether a form stands in a schema, at any depth."""
    if not isinstance(schema, dict):
        return False
    return not FORMS.keys().isdisjoint(schema) or any(_formed(held) for _, held in inside(schema))


def _exact(schema: Any) -> Any:
    """The same schema in the exact reading: our own keywords for integers and for the forms."""
    if not isinstance(schema, dict):
        return schema
    exact = {
        f"{_EXACT_FORM}{keyword}" if keyword in FORMS else keyword: value
        for keyword, value in schema.items()
    }
    types = schema.get("type", ())
    if "integer" in types and "number" not in types:
        exact[_EXACT_TYPE] = True
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if any(map(_holds_integer, values)):
        exact[_EXACT_VALUE] = values
    return rebuilt(schema, exact, lambda _, held: _exact(held))


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


class _Formed:
    """The keyword of a form, in one of its readings."""

    def __init__(self, form: Form, *, exactly: bool, otherwise: bool) -> None:
        self._form = form
        self._exactly = exactly
        self._otherwise = otherwise

    def validate(self, instance: Any) -> None:
        try:
            holds = self._form.holds(instance, exactly=self._exactly)
        except Exception:  # noqa: BLE001 - the library would take it for a value that does not fit
            holds = self._otherwise
        if not holds:
            raise ValueError


def _keyword(name: str, *, exactly: bool) -> Callable[..., _Formed]:
    # What cannot be told stands in the way of a call: a form then holds in the reading in which
    # it would stop one, and in the other it does not. To forbid is to turn that round.
    otherwise = exactly == (name == "forbid")

    def keyword(_parent: dict[str, Any], value: Any, _path: list[str | int]) -> _Formed:
        return _Formed(FORMS[name](value), exactly=exactly, otherwise=otherwise)

    return keyword


_KEYWORDS: dict[str, Any] = {
    _EXACT_TYPE: _ExactType,
    _EXACT_VALUE: _ExactValue,
    **{name: _keyword(name, exactly=False) for name in FORMS},
    **{f"{_EXACT_FORM}{name}": _keyword(name, exactly=True) for name in FORMS},
}
