"""What a new version of a policy would decide otherwise, in words for terminal and console.

All of them are inert, and cut: names and values come from policies and from what was found to
tell them apart.
"""

import json
from collections.abc import Iterable
from typing import Any

from saferun.approval.inert import inert
from saferun.call import Demand
from saferun.policy.analysis import Example, Moved
from saferun.policy.analysis.demand import essential
from saferun.policy.demand import sentence

VALUE = 60
"""Characters of an argument's value, or of what one may be."""

EXAMPLES = 8
"""Examples of one tool that are shown to people."""

UNLISTED = "tools that are not listed"


def tool_of(name: str) -> str:
    """What a difference is about: a tool, or all that are not listed."""
    return UNLISTED if name == "*" else inert(name, 80)


def partly(*, examples: bool) -> str:
    """Why a difference does not tell all that there is."""
    if examples:
        return "examples only: it rests on what no schema can say, so there may be more"
    return "other rules, and no call was found that they decide otherwise"


def calls(moved: Moved) -> list[str]:
    """Which calls are answered otherwise, each an alternative: `amount 20001 to 49999`."""
    whom = ", ".join(f"{name} {inert(value, 40)}" for name, value in moved.who.items())
    branches = moved.schema.get("anyOf", [moved.schema]) if isinstance(moved.schema, dict) else []
    said = [f"{conditions(each)}{f'; for {whom}' if whom else ''}" for each in branches]
    return said or ["every call"]


def call(example: Example) -> str:
    """`refund(amount=30000)`."""
    args = ", ".join(f"{inert(name, 40)}={shown(value)}" for name, value in example.args.items())
    return f"{inert(example.tool, 80)}({args})"


def known(example: Example) -> str:
    """What is known beside the arguments; empty where nothing is."""
    return ", ".join(f"{name} {shown(value)}" for name, value in example.known.items())


def rules(example: Example) -> str:
    """By what it was decided, and by what it would be."""
    was, now = (", ".join(each) or "no rule" for each in (example.old_rules, example.new_rules))
    return inert(was if was == now else f"{was} → {now}")


def given(example: Example) -> str:
    """What the tool was given, and would be; empty where that is the same."""
    if example.old_args is None or example.new_args is None:
        return ""
    return f"given {shown(example.old_args)} → {shown(example.new_args)}"


def needed(example: Example) -> str:
    """Whose yes it took, and would take; empty where that is the same."""
    if not example.old == example.new == "ask":
        return ""
    was, now = (_wanted(each) for each in (example.old_demands, example.new_demands))
    return "" if was == now else f"needs {inert(was)} → {inert(now)}"


def _wanted(demands: Iterable[Demand]) -> str:
    return ", and ".join(sentence(demand) for demand in essential(demands))


def shown(value: Any, limit: int = VALUE) -> str:
    return inert(json.dumps(value, ensure_ascii=False), limit)


def conditions(schema: Any) -> str:
    """`amount 20001 to 49999, currency EUR or USD` for the schema of an argument object."""
    needed = schema.get("required", []) if isinstance(schema, dict) else []
    held = schema.get("properties", {}) if isinstance(schema, dict) else {}
    said = [
        f"{inert(name, 40)} {described(held[name])}{'' if name in needed else ' or left out'}"
        for name in held
    ]
    return ", ".join(said) or "every call"


def described(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "of any value" if schema else "never"
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema and schema.keys() <= {"enum", "type"}:
        return " or ".join(shown(value) for value in schema["enum"][:EXAMPLES])
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.keys() <= {"type", "minimum", "maximum"} and (low is not None or high is not None):
        if low is None or high is None:
            return f"at most {high}" if low is None else f"at least {low}"
        return str(low) if low == high else f"{low} to {high}"
    if schema.keys() == {"type"}:
        return f"of any {schema['type']}" if isinstance(schema["type"], str) else "of any value"
    return shown(schema, 3 * VALUE)
