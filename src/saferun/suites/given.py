"""What a case takes for granted: who calls, where, when, and what has happened before.

Values are set by their path, one on top of the other: those of the file, then those of the
case, then those of a row of its table.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from saferun.call import Past
from saferun.policy.names import RUN
from saferun.policy.part import Part
from saferun.policy.wording import found, listed, meant, named
from saferun.suites.case import Situation

GIVEN = ("user", "agent", "tenant", "environment", "context", "now", "past")

ROOTS = ("args", *GIVEN)
"""What the first step of a path can be."""

NOON = 1_767_268_800_000_000
"""2026-01-01T12:00:00Z, the time of the first call where a file says none: every run of the
tests sees the same one.
"""

Values: TypeAlias = Mapping[str, Any]


def given(part: Part) -> Values:
    """What a file gives to all its cases."""
    values: Values = {}
    for root in GIVEN:
        if root in part:
            values = _settled(values, root, part[root], part, (root,))
    return values


def changed(part: Part, values: Values) -> Values:
    """`values` with what stands under `set` put in and what stands under `without` left out."""
    for path, value in part.mapping("set").items():
        root, *steps = path.split(".")
        at = ("set", path)
        if root not in ROOTS or not all(steps):
            part.fault(at, "value", _no_path(root))
        elif root in ("args", "context") and not steps:
            part.fault(at, "value", f"name one of the {root}, such as `{root}.{_EXAMPLE[root]}`")
        else:
            try:
                new = _put(values.get(root), steps, value)
            except KeyError as problem:
                part.fault(at, "value", f"{named(path)} is not there: {problem.args[0]}")
            else:
                values = _settled(values, root, new, part, at)
    for at_, path in enumerate(part.list("without")):
        values = _left_out(part, ("without", at_), path, values)
    return values


def situation(values: Values) -> Situation:
    """The values as they are known beside a call. They have been found sound."""
    now = _moment(values["now"]) if "now" in values else NOON
    past = msgspec.convert(values.get("past", {}), _Said)
    return Situation(
        now=now or 0,
        past=Past(
            began=(now or 0) - round(past.seconds * 1e6),
            calls=past.calls,
            cost_usd=past.cost_usd,
            tools=tuple(sorted(set(past.tools))),
            said=() if past.said is None else (past.said,),
        ),
        user=values.get("user", {}),
        agent=values.get("agent"),
        tenant=values.get("tenant"),
        environment=values.get("environment"),
        context=values.get("context", {}),
    )


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of the past. msgspec holds it to these types."""

    calls: int = 0
    cost_usd: float = 0.0
    said: str | None = None
    seconds: float = 0.0
    tools: tuple[str, ...] = ()


_EXAMPLE = {"args": "amount", "context": "region"}
_WANTED = {
    "args": "a mapping of arguments",
    "user": "an id, or a mapping that may have an `id`",
    "agent": "a name",
    "tenant": "a name",
    "environment": "a name",
    "context": "a mapping of inputs that the policy declares",
    "now": 'a time in quotes, such as "2026-01-31T09:00:00Z"',
    "past": f"a mapping with some of {', '.join(RUN)}",
}


def _settled(values: Values, root: str, value: Any, part: Part, at: tuple[str, ...]) -> Values:
    """`values` with a root's new value; what is wrong with that is a fault, and it stays out."""
    if root == "user" and isinstance(value, str):
        value = {"id": value}
    if why := _wrong(root, value):
        part.fault(at, "value", f"{why}; {found(value)}")
        return values
    return {**values, root: value}


def _wrong(root: str, value: Any) -> str | None:
    wanted = f"expected {_WANTED[root]}"
    if root in ("args", "user", "context"):
        return None if isinstance(value, dict) else wanted
    if root == "now":
        return None if _moment(value) is not None else wanted
    if root != "past":
        return None if isinstance(value, str) and value else wanted
    if isinstance(value, dict) and (unknown := [key for key in value if key not in RUN]):
        return f"{named(unknown[0])} is not known of the past{meant(unknown[0], RUN)}"
    try:
        said = msgspec.convert(value, _Said)
    except msgspec.ValidationError as problem:
        return f"{wanted} ({problem})"
    return wanted if min(said.calls, said.cost_usd, said.seconds) < 0 else None


def _moment(said: Any) -> int | None:
    """A time in microseconds since 1970; one that names no zone is UTC."""
    try:
        read = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        return None
    whole = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    return round(whole.timestamp() * 1_000_000)


def _no_path(root: str) -> str:
    roots = listed(ROOTS)
    return f"a path begins with one of {roots}, and {named(root)} is none{meant(root, ROOTS)}"


def _put(holder: Any, steps: list[str], value: Any) -> Any:
    """A copy of `holder` with the value at that path. Raises KeyError with the step that fails."""
    if not steps:
        return value
    first, *rest = steps
    if isinstance(holder, list):
        if not first.isdecimal() or int(first) >= len(holder):
            raise KeyError(f"the list has no item {named(first)}")
        at = int(first)
        return [*holder[:at], _put(holder[at], rest, value), *holder[at + 1 :]]
    if holder is not None and not isinstance(holder, dict):
        raise KeyError(f"what holds {named(first)} is no mapping")
    held = dict(holder or {})
    held[first] = _put(held.get(first), rest, value)
    return held


def _left_out(part: Part, at: tuple[str, int], path: Any, values: Values) -> Values:
    root, *steps = path.split(".") if isinstance(path, str) else ("",)
    if root not in ROOTS:
        part.fault(at, "value", _no_path(root))
        return values
    try:
        left = _without(values, [root, *steps])
    except KeyError:
        part.fault(at, "value", f"{named(path)} is not given, so it cannot be left out")
        return values
    return left


def _without(holder: Any, steps: list[str]) -> dict[str, Any]:
    if not isinstance(holder, Mapping):
        raise KeyError
    first, *rest = steps
    held = dict(holder)
    if rest:
        held[first] = _without(held[first], rest)
    else:
        del held[first]
    return held
