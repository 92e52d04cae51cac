"""What a call costs: a number, an expression, or the most of it and where the truth is found."""

from typing import Any

from saferun.control.amount import micro
from saferun.policy.document import Cost
from saferun.policy.expression import ExpressionError, Quantity, compile_quantity
from saferun.policy.parse.rule import Owner
from saferun.policy.part import Part
from saferun.policy.wording import found

_COST = ("most", "from")


def cost(tool: Part, owner: Owner) -> Cost | None:
    if "cost" not in tool:
        return None
    said = tool["cost"]
    if not isinstance(said, dict):
        return Cost(most=_most(tool, "cost", owner))
    part = Part(tool.source, (*tool.path, "cost"), said, _COST)
    if "most" not in part:
        what = "`cost` says `most`, the most that a call may come to: it is held while it runs"
        part.fault((), "value", what)
        return None
    return Cost(most=_most(part, "most", owner), source=_source(part) if "from" in part else None)


def _most(part: Part, key: str, owner: Owner) -> int | Quantity:
    """What a call comes to at most: micro-dollars, or an expression of dollars."""
    said = part[key]
    if isinstance(said, str):
        path = (*part.path, key)
        try:
            return compile_quantity(said, owner.names)
        except ExpressionError as problem:
            place = part.source.within(path, problem.offset)
            part.source.fault(path, "condition", problem.message, place)
            return 0
    if type(said) not in (int, float):
        what = "expected US dollars as a number, or as an expression such as"
        part.fault((key,), "type", f"{what} `double(args.pages) * 0.01`; {found(said)}")
        return 0
    try:
        return micro(said)
    except ValueError:
        what = "a call costs nothing or more, and no more than can be counted"
        part.fault((key,), "value", f"{what}; {found(said)}")
        return 0


def _source(part: Part) -> tuple[str, ...]:
    """The names that lead to the true cost in what the tool returns."""
    said: Any = part["from"]
    root, *steps = said.split(".") if isinstance(said, str) else ("",)
    if root != "result" or not steps or not all(steps) or "*" in steps:
        what = "expected `result.` and the names that lead to US dollars in it"
        part.fault(("from",), "value", f"{what}; {found(said)}")
    return tuple(steps)
