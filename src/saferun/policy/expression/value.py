"""What operators do with values: CEL's arithmetic, order and equality.

Values are what JSON has (`int`, `float`, `str`, `bool`, `None`, `list`, `dict` with string
keys) and our two of time. A bool is never a number. A number is a whole one of 64 bits or
a finite double: what would be anything else is an error where it is read or made.
"""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from types import NoneType
from typing import Any, TypeAlias

from saferun.policy.expression import moment
from saferun.policy.expression.error import EvaluationError, ExhaustedError
from saferun.policy.expression.moment import Duration, Timestamp
from saferun.policy.expression.token import MAX_INT, MIN_INT
from saferun.policy.expression.types import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    NUMBERS,
    STRING,
    TIMESTAMP,
    ListOf,
    MapOf,
    Type,
    worded,
)

Frame: TypeAlias = Mapping[Any, Any]
"""The values by name. Where a condition has variables of its own or may run long, it is a dict
made for one evaluation, which also holds the variables by slot and the steps under `STEPS`."""

STEPS = -1
MAX_STEPS = 100_000
"""About as many parts of a condition evaluated, items compared or characters built."""

MAX_BUILT = 100_000
"""Characters of a string, or items of a list, that a condition may build."""

CHUNK = 64
"""Characters that a scan of text reads for one step."""

_LIST = ListOf(DYN)
_MAP = MapOf(DYN)

_KINDS: Mapping[type, Type] = {
    int: INT,
    float: DOUBLE,
    str: STRING,
    bool: BOOL,
    NoneType: NULL,
    list: _LIST,
    dict: _MAP,
    Timestamp: TIMESTAMP,
    Duration: DURATION,
}


def kind(value: Any) -> Type:
    """The type of a value that is there. Lists and objects are told without their parts."""
    return _KINDS[type(value)]


def spend(frame: Frame, steps: int) -> None:
    """Raises ExhaustedError once an evaluation has taken more than its steps."""
    left = frame[STEPS] - steps
    frame[STEPS] = left  # type: ignore[index]  # a frame with steps in it is a dict
    if left < 0:
        raise ExhaustedError(f"the condition takes more than {MAX_STEPS:,} steps for these values")


def checked(expected: Type, what: str) -> Callable[[Any], Any]:
    """What a value that is read goes through: it is of the type that was declared, or an error.

    `what` is the text of the condition that reads it.
    """
    if expected == INT:
        wrong = f"`{what}` is not a whole number of 64 bits"

        def whole(value: Any) -> int:
            if type(value) is int and MIN_INT <= value <= MAX_INT:
                return value
            raise EvaluationError(wrong)

        return whole
    if expected == DOUBLE:
        return _double(f"`{what}` is not a finite number")
    if expected == TIMESTAMP:
        return _timestamp(f"`{what}` is not a timestamp")
    if expected == DYN:
        return _anything(what)
    python = next((python for python, kind in _KINDS.items() if kind == expected), dict)
    if isinstance(expected, ListOf):
        python = list
    return _exactly(python, f"`{what}` is not {worded(expected)}")


def _exactly(python: type, wrong: str) -> Callable[[Any], Any]:
    def exactly(value: Any) -> Any:
        if type(value) is python:
            return value
        raise EvaluationError(wrong)

    return exactly


def _double(wrong: str) -> Callable[[Any], float]:
    def double(value: Any) -> float:
        if type(value) is float and isfinite(value):
            return value
        if type(value) is int and MIN_INT <= value <= MAX_INT:
            return float(value)
        raise EvaluationError(wrong)

    return double


def _timestamp(wrong: str) -> Callable[[Any], Timestamp]:
    def read(value: Any) -> Timestamp:
        if type(value) is int:
            return moment.timestamp(value * 1_000)
        if type(value) is Timestamp:
            return value
        raise EvaluationError(wrong)

    return read


def _anything(what: str) -> Callable[[Any], Any]:
    wrong = f"`{what}` is not a value that a condition can read"

    def anything(value: Any) -> Any:
        if sound(value):
            return value
        raise EvaluationError(wrong)

    return anything


def sound(value: Any) -> bool:
    """Whether a value is one that conditions know.

    The parts of a list or object are looked at when they are read.
    """
    python = type(value)
    if python is str or python is bool:
        return True
    if python is int:
        return bool(MIN_INT <= value <= MAX_INT)
    if python is float:
        return isfinite(value)
    return python in _KINDS


def same(one: Any, other: Any, frame: Frame) -> bool:
    """CEL's `==`: numbers on one line, any other two types unequal, lists and objects by parts."""
    todo = [(one, other)]
    while todo:
        left, right = todo.pop()
        spend(frame, 1)
        if not (sound(left) and sound(right)):
            raise EvaluationError("a number in a list or object is not finite or not of 64 bits")
        if type(left) is list and type(right) is list:
            if len(left) != len(right):
                return False
            spend(frame, len(left))
            todo.extend(zip(left, right, strict=True))
        elif type(left) is dict and type(right) is dict:
            if left.keys() != right.keys():
                return False
            spend(frame, len(left))
            todo.extend((held, right[key]) for key, held in left.items())
        elif not _alike(left, right, frame):
            return False
    return True


def _alike(left: Any, right: Any, frame: Frame) -> bool:
    if type(left) is str and type(right) is str:
        spend(frame, min(len(left), len(right)) // CHUNK)
        return left == right
    if type(left) is type(right) or {type(left), type(right)} == {int, float}:
        return bool(left == right)
    return False


def contains(item: Any, holder: Any, frame: Frame) -> bool:
    """CEL's `in`: an item of a list, a key of an object."""
    if type(holder) is list:
        failure: EvaluationError | None = None
        for each in holder:
            try:
                if same(item, each, frame):
                    return True
            except ExhaustedError:
                raise
            except EvaluationError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return False
    if type(holder) is dict:
        if type(item) in (str, int, float, bool):
            return type(item) is str and item in holder
        raise EvaluationError(f"{worded(kind(item))} is never a key of an object")
    raise EvaluationError("what stands after `in` is neither a list nor an object")


_ORDERED = (INT, DOUBLE, STRING, BOOL, TIMESTAMP, DURATION)


def ordered(one: Type, other: Type) -> bool:
    """Whether `<` and its kin say anything about values of these types."""
    return (one == other and one in _ORDERED) or (one in NUMBERS and other in NUMBERS)


def ranked(one: Any, other: Any, operator: str) -> None:
    """Raises EvaluationError where two values have no order."""
    left, right = kind(one), kind(other)
    if not ordered(left, right):
        raise _mismatch(operator, left, right)


def _mismatch(operator: str, left: Type, right: Type) -> EvaluationError:
    return EvaluationError(f"`{operator}` does not work on {worded(left)} and {worded(right)}")


def whole(number: int) -> int:
    """Raises EvaluationError where a result does not fit 64 bits."""
    if MIN_INT <= number <= MAX_INT:
        return number
    raise EvaluationError("the result is a whole number that does not fit 64 bits")


def finite(number: float) -> float:
    """Raises EvaluationError where a result is infinite or not a number."""
    if isfinite(number):
        return number
    raise EvaluationError("the result is not a finite number")


def bounded(size: int) -> None:
    """Raises ExhaustedError where a string or list of this size would be built."""
    if size > MAX_BUILT:
        raise ExhaustedError(f"the condition builds more than {MAX_BUILT:,} characters or items")


def _divided(one: int, other: int) -> int:
    if other == 0:
        raise EvaluationError("division by zero")
    # Towards zero, as in CEL; Python's `//` goes down.
    quotient = abs(one) // abs(other)
    return whole(quotient if (one < 0) == (other < 0) else -quotient)


def _remainder(one: int, other: int) -> int:
    return one - other * _divided(one, other)


def _shared(one: float, other: float) -> float:
    return finite(one / other if other else inf)


def _concatenated(one: Any, other: Any) -> Any:
    bounded(len(one) + len(other))
    return one + other


def _later(one: Timestamp, other: Duration) -> Timestamp:
    return moment.timestamp(one.nanos + other.nanos)


ARITHMETIC: Mapping[tuple[str, Type, Type], tuple[Type, Callable[[Any, Any], Any]]] = {
    ("+", INT, INT): (INT, lambda a, b: whole(a + b)),
    ("-", INT, INT): (INT, lambda a, b: whole(a - b)),
    ("*", INT, INT): (INT, lambda a, b: whole(a * b)),
    ("/", INT, INT): (INT, _divided),
    ("%", INT, INT): (INT, _remainder),
    ("+", DOUBLE, DOUBLE): (DOUBLE, lambda a, b: finite(a + b)),
    ("-", DOUBLE, DOUBLE): (DOUBLE, lambda a, b: finite(a - b)),
    ("*", DOUBLE, DOUBLE): (DOUBLE, lambda a, b: finite(a * b)),
    ("/", DOUBLE, DOUBLE): (DOUBLE, _shared),
    ("+", STRING, STRING): (STRING, _concatenated),
    ("+", _LIST, _LIST): (_LIST, _concatenated),
    ("+", TIMESTAMP, DURATION): (TIMESTAMP, _later),
    ("+", DURATION, TIMESTAMP): (TIMESTAMP, lambda a, b: _later(b, a)),
    ("-", TIMESTAMP, DURATION): (TIMESTAMP, lambda a, b: moment.timestamp(a.nanos - b.nanos)),
    ("-", TIMESTAMP, TIMESTAMP): (DURATION, lambda a, b: moment.duration(a.nanos - b.nanos)),
    ("+", DURATION, DURATION): (DURATION, lambda a, b: moment.duration(a.nanos + b.nanos)),
    ("-", DURATION, DURATION): (DURATION, lambda a, b: moment.duration(a.nanos - b.nanos)),
}
"""For an operator between two types: the type of the result, and how it comes about.

There are none between a whole number and a double, as in CEL: which of the two the result
would be is for whoever writes to say, by `int()` or `double()`.
"""


def calculated(operator: str, one: Any, other: Any) -> Any:
    """Arithmetic on values whose types were not known before."""
    left, right = kind(one), kind(other)
    if (operator, left, right) not in ARITHMETIC:
        raise _mismatch(operator, left, right)
    return ARITHMETIC[operator, left, right][1](one, other)


def negated(value: Any) -> Any:
    """The unary `-`."""
    if type(value) is int:
        return whole(-value)
    if type(value) is float:
        return -value
    raise EvaluationError(f"`-` does not work on {worded(kind(value))}")
