"""Limits that are never the one that stops a call."""

from collections.abc import Iterator

from saferun.control import Limit
from saferun.policy.analysis.note import Note
from saferun.policy.document import UNSET, Tool
from saferun.policy.source import Path
from saferun.policy.wording import named

_OWN = frozenset(("id", "max", "per", "tool", "message", "disclose", "line"))
"""What two limits may say differently and still count the same calls."""


def limit_notes(tool: Tool, at: Path, wider: tuple[Limit, ...]) -> Iterator[Note]:
    """What is worth saying about the limits of an entry, which stands at `at`.

    `wider` holds the limits over all tools, which every call counts towards as well.
    """
    denied = _always_denied(tool)
    for position, limit in enumerate(tool.limits):
        path: Path = (*at, "limits", position)
        others = (*wider, *tool.limits[:position], *tool.limits[position + 1 :])
        if denied is not None:
            yield Note("idle-limit", f"this limit never counts a call, since {denied}", path)
        elif (first := _earlier(tool, limit, others, position)) is not None:
            what = (
                f"{named(first.id)} (line {first.line}) allows at most {first.max} of these calls"
            )
            yield Note("idle-limit", f"this limit is never reached first: {what} and more", path)


def _always_denied(tool: Tool) -> str | None:
    """Why no call of an entry is ever let through, None where one may be."""
    heard = [rule for rule in tool.rules if not rule.shadow and rule.answer is not None]
    for rule in heard:
        if rule.answer == "deny" and rule.args is None and rule.when is None and rule.scope is None:
            return f"{named(rule.id)} (line {rule.line}) denies every call"
    if tool.default == "deny" and not any(rule.answer != "deny" for rule in heard):
        return f"the default of {named(tool.name)} is `deny` and no rule allows anything"
    return None


def _earlier(tool: Tool, limit: Limit, others: tuple[Limit, ...], position: int) -> Limit | None:
    """A limit that counts at least the same calls together and is reached no later."""
    for other in others:
        if not set(other.per) <= set(limit.per) or other.max > limit.max:
            continue
        if _rest(other) != _rest(limit) or not _countable(tool, limit):
            continue
        alike = set(other.per) == set(limit.per) and other.max == limit.max
        # Of two that are the same, the later one is in vain.
        if not alike or other not in tool.limits or tool.limits.index(other) < position:
            return other
    return None


def _countable(tool: Tool, limit: Limit) -> bool:
    """Whether every call has what the limit counts by; one that has not is denied by it."""
    return all(
        not scope.startswith("args.")
        or (
            (argument := (tool.args or {}).get(scope.removeprefix("args."))) is not None
            and (argument.required or argument.default is not UNSET)
        )
        for scope in limit.per
    )


def _rest(limit: Limit) -> list[object]:
    return [getattr(limit, name) for name in limit.__struct_fields__ if name not in _OWN]
