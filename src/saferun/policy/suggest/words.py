"""Values as conditions and sentences write them."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from saferun.policy.expression.token import quoted

Steps = tuple[str, ...]
"""The names that lead from `args` to a value."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_./ -]+")
"""What may stand in backticks."""

_RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for"),
        *("function", "if", "import", "let", "loop", "package", "namespace", "return", "var"),
        *("void", "while"),
    )
)


def literal(value: Any) -> str:
    """A constant of a condition."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    return repr(value)


def literals(values: Iterable[Any]) -> str:
    return "[" + ", ".join(literal(each) for each in values) + "]"


def place(steps: Sequence[str]) -> str:
    """`args.amount`, with names that are no words in backticks."""
    return ".".join(("args", *(_name(step) for step in steps)))


def _name(step: str) -> str:
    return step if _WORD.fullmatch(step) and step not in _RESERVED else f"`{step}`"


def nameable(step: Any) -> bool:
    """Whether a condition can name a field."""
    return isinstance(step, str) and len(step) <= 64 and _NAME.fullmatch(step) is not None


def slug(*words: str) -> str:
    """An id made of words, as policies take one."""
    joined = "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", word).strip("-") for word in words)
    return re.sub("-+", "-", joined).strip("-")[:56] or "rule"


EXACT = 2**53
"""Numbers up to which arithmetic on floats is exact."""


def rounded(bound: float, beyond: float) -> float:
    """A number that people would write, from `bound` on and short of `beyond`.

    Two figures of it, away from what was seen; `bound` itself where that goes too far.
    """
    if not bound or not math.isfinite(bound) or abs(bound) > EXACT:
        return bound
    up = beyond > bound
    unit = 10.0 ** (math.floor(math.log10(abs(bound))) - 1)
    steps = bound / unit
    found: float = (math.ceil(steps - 1e-9) if up else math.floor(steps + 1e-9)) * unit
    # A float that stands for 4.6 is written so.
    found = float(f"{found:.12g}")
    if isinstance(bound, int):
        if found != int(found):
            return bound
        found = int(found)
    fits = bound <= found < beyond if up else beyond < found <= bound
    return found if fits else bound
