"""The functions of conditions: CEL's standard ones, on the types that conditions have."""

import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import msgspec
from jsonschema_rs import Draft202012Validator, RegexOptions

from saferun.policy.expression import moment
from saferun.policy.expression.error import EvaluationError
from saferun.policy.expression.moment import SECOND, Duration, Timestamp
from saferun.policy.expression.token import MAX_INT, MIN_INT
from saferun.policy.expression.types import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    ListOf,
    MapOf,
    ObjectOf,
    Type,
)
from saferun.policy.pattern import alike


class Function(msgspec.Struct, frozen=True, eq=False):
    """One meaning of a function's name.

    The first of `takes` is the target where it is called after a `.` (`method`). `prepare`
    turns a constant last argument into what `run` gets in its place, once, while the
    condition is compiled; a function that has it takes nothing but a constant there.
    """

    name: str
    method: bool
    takes: tuple[Type, ...]
    gives: Type
    run: Callable[..., Any]
    prepare: Callable[[str], Any] | None = None


_LIST = ListOf(DYN)
_MAP = MapOf(DYN)


def _pattern(text: str) -> Callable[[str], bool]:
    """A pattern as a test of whether it is found anywhere, in time linear in what is searched.

    Raises EvaluationError where the pattern cannot be compiled in that way.
    """
    if not alike(text):
        raise EvaluationError(
            "this pattern cannot be used: write `\\[` for a bracket in a class, and the "
            "characters themselves for a class such as `[:alpha:]`"
        )
    try:
        found = Draft202012Validator(
            {"pattern": text}, pattern_options=RegexOptions(), offline=True
        )
    except ValueError:
        raise EvaluationError(
            "this pattern cannot be used: patterns run in linear time, so look-around and "
            "back-references are not available, and their compiled size is bounded"
        ) from None
    return found.is_valid


def _matched(text: str, test: Callable[[str], bool]) -> bool:
    try:
        return test(text)
    except ValueError:
        raise EvaluationError("half a character cannot be matched against a pattern") from None


_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_MAX_DIGITS = 400
_TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "1"), True),
    **dict.fromkeys(("false", "False", "FALSE", "f", "0"), False),
}


def _int_of_text(text: str) -> int:
    if _WHOLE.fullmatch(text) and MIN_INT <= (number := int(text)) <= MAX_INT:
        return number
    raise EvaluationError("the text is not a whole number of 64 bits")


def _int_of_double(number: float) -> int:
    # Both ends are excluded: 2^63 as a double is one too many, and CEL leaves -2^63 out too.
    if MIN_INT < number < 2.0**63:
        return int(number)
    raise EvaluationError("the number does not fit a whole number of 64 bits")


def _double_of_text(text: str) -> float:
    if len(text) <= _MAX_DIGITS and _DECIMAL.fullmatch(text) and isfinite(number := float(text)):
        return number
    raise EvaluationError("the text is not a finite number")


def _bool_of_text(text: str) -> bool:
    if text in _TRUTHS:
        return _TRUTHS[text]
    raise EvaluationError("the text is neither true nor false")


def _text_of_double(number: float) -> str:
    """The shortest digits that read back as the same number, in CEL's layout."""
    if number == 0:
        return "-0" if str(number).startswith("-") else "0"
    digits, exponent = _shortest(abs(number))
    sign = "-" if number < 0 else ""
    # As C's `%g` has it: plain from 0.0001 up to the seventh digit before the point.
    if exponent < -4 or exponent >= 6:
        point = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{point}e{exponent:+03}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    before, after = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{before}.{after}" if after else f"{sign}{before}"


def _shortest(number: float) -> tuple[str, int]:
    """The digits of a number without zeros around them, and the power of ten of the first."""
    mantissa, _, power = repr(number).partition("e")
    before, _, after = mantissa.partition(".")
    digits = (before + after).lstrip("0")
    leading = len(before + after) - len(digits)
    return digits.rstrip("0"), int(power or "0") + len(before) - 1 - leading


def _same(value: Any) -> Any:
    return value


def _utc(_: int) -> int:
    return 0


def _standard() -> Iterable[Function]:
    for kind in (STRING, _LIST, _MAP):
        yield Function("size", False, (kind,), INT, len)
        yield Function("size", True, (kind,), INT, len)
    yield Function("startsWith", True, (STRING, STRING), BOOL, str.startswith)
    yield Function("endsWith", True, (STRING, STRING), BOOL, str.endswith)
    yield Function("contains", True, (STRING, STRING), BOOL, str.__contains__)
    for method in (True, False):
        yield Function("matches", method, (STRING, STRING), BOOL, _matched, _pattern)

    yield Function("int", False, (INT,), INT, _same)
    yield Function("int", False, (DOUBLE,), INT, _int_of_double)
    yield Function("int", False, (STRING,), INT, _int_of_text)
    yield Function("int", False, (TIMESTAMP,), INT, lambda moment: moment.nanos // SECOND)
    yield Function("double", False, (DOUBLE,), DOUBLE, _same)
    yield Function("double", False, (INT,), DOUBLE, float)
    yield Function("double", False, (STRING,), DOUBLE, _double_of_text)
    yield Function("string", False, (STRING,), STRING, _same)
    yield Function("string", False, (INT,), STRING, str)
    yield Function("string", False, (DOUBLE,), STRING, _text_of_double)
    yield Function("string", False, (BOOL,), STRING, lambda truth: "true" if truth else "false")
    yield Function("string", False, (TIMESTAMP,), STRING, Timestamp.__str__)
    yield Function("string", False, (DURATION,), STRING, Duration.__str__)
    yield Function("bool", False, (BOOL,), BOOL, _same)
    yield Function("bool", False, (STRING,), BOOL, _bool_of_text)
    yield Function("dyn", False, (DYN,), DYN, _same)

    yield Function("timestamp", False, (TIMESTAMP,), TIMESTAMP, _same)
    yield Function("timestamp", False, (STRING,), TIMESTAMP, moment.read_timestamp)
    yield Function(
        "timestamp", False, (INT,), TIMESTAMP, lambda seconds: moment.timestamp(seconds * SECOND)
    )
    yield Function("duration", False, (DURATION,), DURATION, _same)
    yield Function("duration", False, (STRING,), DURATION, moment.read_duration)
    for field in moment.CALENDAR:
        taken = moment.calendar(field)
        yield Function(field, True, (TIMESTAMP,), INT, lambda at, taken=taken: taken(at, _utc))
        yield Function(field, True, (TIMESTAMP, STRING), INT, taken, moment.zone)
    for field in moment.ELAPSED:
        yield Function(field, True, (DURATION,), INT, moment.elapsed(field))


FUNCTIONS = tuple(_standard())
NAMES = frozenset(function.name for function in FUNCTIONS)

CONSTANT = frozenset(("timestamp", "duration"))
"""Functions of a text that is usually a constant, and then is read while it is compiled."""


def accepts(takes: Type, given: Type) -> bool:
    """Whether an argument of one type may be what a function takes."""
    if DYN in (takes, given):
        return True
    if isinstance(takes, ListOf):
        return isinstance(given, ListOf)
    if isinstance(takes, MapOf):
        return isinstance(given, (MapOf, ObjectOf))
    return takes == given


def found(name: str, method: bool, given: tuple[Type, ...]) -> tuple[Function, ...]:
    """The functions that a call may mean, more than one where a type is not known yet."""
    return tuple(
        function
        for function in FUNCTIONS
        if function.name == name
        and function.method == method
        and len(function.takes) == len(given)
        and all(map(accepts, function.takes, given))
    )
