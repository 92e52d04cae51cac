"""Conditions that never hold, and those that trip over what may be missing."""

import re
from collections.abc import Container, Iterator, Mapping
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING, Any

from saferun.policy.analysis.note import Note
from saferun.policy.document import UNSET, Tool
from saferun.policy.names import names
from saferun.policy.source import Path
from saferun.policy.wording import listed

if TYPE_CHECKING:
    from saferun.policy.expression import Expression, Quantity, Type

MAX_TRIED = 5_000
"""Combinations of values, at about a microsecond each."""

_PATH = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z_]\w*"
_LITERAL = r"""-?\d+(?:\.\d+)?|"[^"\\]*"|'[^'\\]*'"""
_RELATION = r"==|!=|<=|>=|<|>"
_ATOM = re.compile(
    rf"\s*(?:(?:{_PATH})\s*(?:{_RELATION})\s*(?:{_LITERAL})"
    rf"|(?:{_LITERAL})\s*(?:{_RELATION})\s*(?:{_PATH}))\s*"
)
"""A comparison of a path with a number or a text. What decides it is on which side of that
constant the value lies, and so a value on each side stands for all of them."""


def condition_notes(tool: Tool, at: Path, inputs: Mapping[str, dict[str, Any]]) -> Iterator[Note]:
    """What is worth saying about the conditions and the cost of an entry, which stands at `at`."""
    types = names(tool.args, inputs)
    for position, rule in enumerate(tool.rules):
        if rule.when is None:
            continue
        path: Path = (*at, "rules", position, "when")
        if never_holds(rule.when, types):
            why = "this condition holds for no values at all: what it asks for contradicts itself"
            yield Note("never-holds", why, path)
            continue
        if left_out := _unguarded(tool, rule.when, rule.args or ()):
            yield _left_out(left_out, "the rule then denies since it cannot be evaluated", path)
    most = tool.cost.most if tool.cost is not None else 0
    if not isinstance(most, int) and (left_out := _unguarded(tool, most)):
        yield _left_out(left_out, "a call whose cost is not known is denied", (*at, "cost"))


def _left_out(names: list[str], then: str, path: Path) -> Note:
    which = listed(f"`args.{each}`" for each in names)
    why = f"{which} may be left out, and {then}; ask `has(args.{names[0]})` first"
    return Note("unguarded-optional", why, path)


def never_holds(when: "Expression", types: Mapping[str, "Type"]) -> bool:
    """Whether it is certain that a condition is true for no values.

    It is certain for those that compare paths with constants and do nothing else, since a value
    on either side of every constant, and each constant itself, then stand for all values.
    """
    atoms = [clause.text for clause in when.clauses({})]
    constants = when.constants()
    if not atoms or not all(_ATOM.fullmatch(atom) for atom in atoms):
        return False
    borders: dict[tuple[str, ...], list[Any]] = {}
    for path, value in constants:
        borders.setdefault(path, []).append(value)
    if borders.keys() != when.reads:
        return False
    some = {path: _sides(path, each, types) for path, each in borders.items()}
    if any(each is None for each in some.values()):
        return False
    tried = [each for each in some.values() if each is not None]
    if prod(map(len, tried)) > MAX_TRIED:
        return False
    return not any(_holds(when, dict(zip(some, chosen, strict=True))) for chosen in product(*tried))


def _sides(
    path: tuple[str, ...], constants: list[Any], types: Mapping[str, "Type"]
) -> list[Any] | None:
    """Each constant, and a value before, between and after them."""
    from saferun.policy.expression import DOUBLE, INT, STRING, ObjectOf

    kind: Any = types.get(path[0])
    for step in path[1:]:
        kind = kind.fields.get(step) if isinstance(kind, ObjectOf) else None
    if kind == STRING and all(isinstance(each, str) for each in constants):
        # Nothing lies between a text and the same with the least character behind it.
        return ["", *constants, *(f"{each}\x00" for each in constants)]
    numbers = all(type(each) in (int, float) for each in constants)
    if kind == INT and numbers and all(abs(each) < 2**62 for each in constants):
        return sorted({int(each) + by for each in constants for by in (-1, 0, 1)})
    if kind == DOUBLE and numbers and all(abs(each) < 2**50 for each in constants):
        ordered = sorted({float(each) for each in constants})
        between = [(one + other) / 2 for one, other in pairwise(ordered)]
        return [ordered[0] - 1, *ordered, *between, ordered[-1] + 1]
    return None


def _holds(when: "Expression", known: Mapping[tuple[str, ...], Any]) -> bool:
    values: dict[str, Any] = {}
    for path, value in known.items():
        holder = values
        for step in path[:-1]:
            holder = holder.setdefault(step, {})
        holder[path[-1]] = value
    from saferun.policy.expression import EvaluationError

    try:
        return when.holds(values)
    except EvaluationError:
        # Not a proof of anything.
        return True


def _unguarded(tool: Tool, said: "Expression | Quantity", given: Container[str] = ()) -> list[str]:
    """The arguments that an expression looks at, that may be missing, and that it does not test.

    `given` are there whenever it is asked.
    """
    text = "".join(said.text.split())
    return sorted(
        {
            path[1]
            for path in said.reads
            if path[0] == "args"
            and len(path) > 1
            and (argument := (tool.args or {}).get(path[1])) is not None
            and not argument.required
            and argument.default is UNSET
            and path[1] not in given
            and f"has(args.{path[1]}" not in text
        }
    )
