"""Limits that are never the one that stops a call."""

from collections.abc import Iterator

from saferun.control import Limit
from saferun.control.rate import FINEST
from saferun.control.window import SLICES
from saferun.policy.analysis.note import Note
from saferun.policy.document import UNSET, Tool
from saferun.policy.source import Path
from saferun.policy.wording import named


def limit_notes(tool: Tool, at: Path, wider: tuple[Limit, ...]) -> Iterator[Note]:
    """What is worth saying about the limits of an entry, which stands at `at`.

    `wider` holds the limits over all tools, which every call counts towards as well.
    """
    denied = always_denied(tool)
    for position, limit in enumerate(tool.limits):
        path: Path = (*at, "limits", position)
        if denied is not None:
            yield Note("idle-limit", f"this limit never counts a call, since {denied}", path)
            continue
        earlier = (*wider, *tool.limits[:position])
        later = tool.limits[position + 1 :]
        if (first := _first(tool, limit, earlier, later)) is not None:
            what = f"{named(first.id)} (line {first.line}) stops these calls no later"
            yield Note("idle-limit", f"this limit is never reached first: {what}", path)


def always_denied(tool: Tool) -> str | None:
    """Why no call of an entry is ever let through, None where one may be."""
    heard = [rule for rule in tool.rules if not rule.shadow and rule.answer is not None]
    for rule in heard:
        if rule.answer == "deny" and rule.args is None and rule.when is None and rule.scope is None:
            return f"{named(rule.id)} (line {rule.line}) denies every call"
    if tool.default == "deny" and not any(rule.answer != "deny" for rule in heard):
        return f"the default of {named(tool.name)} is `deny` and no rule allows anything"
    return None


def _first(
    tool: Tool, limit: Limit, earlier: tuple[Limit, ...], later: tuple[Limit, ...]
) -> Limit | None:
    """A limit that is reached no later than this one, whatever is called.

    Of two that are always reached together, only the later one is in vain.
    """
    for other in (*earlier, *later):
        # One that is tried out stops nothing, and none that is keeps it from speaking.
        if other.shadow or not _no_later(tool, other, limit):
            continue
        if other not in later or not _no_later(tool, limit, other):
            return other
    return None


def _no_later(tool: Tool, other: Limit, limit: Limit) -> bool:
    """Whether `other` stops every call that `limit` stops, and at least as firmly."""
    more = _scopes(limit) - _scopes(other)
    return (
        _scopes(other) <= _scopes(limit)
        # A call that has not what it is counted by is denied, and `other` would not do that.
        and all(_always_there(tool, scope) for scope in more)
        and other.on_limit in ("deny", limit.on_limit)
        and other.sum == limit.sum
        and (_slower(other, limit) if limit.burst is not None else _fewer(other, limit))
    )


def _fewer(other: Limit, limit: Limit) -> bool:
    """Whether a bound is no higher, over a time that is no shorter."""
    if other.burst is not None or other.max > limit.max:
        return False
    if other.window is None or other.window == limit.window:
        return True
    # A window may be longer than it says, by one of its slices.
    return limit.window is not None and other.window * SLICES >= limit.window * (SLICES + 1)


def _slower(other: Limit, limit: Limit) -> bool:
    """Whether a rate is no faster, and lets no more through at once.

    By the definition of the algorithm: a call waits where some stretch of calls up to it has
    come too fast, and a stretch that is too fast for one pace is so for every slower one.
    """
    if limit.burst is None or other.burst is None or other.burst > limit.burst:
        return False
    if (other.max, other.window) == (limit.max, limit.window):
        return True
    if max(other.max, limit.max) > FINEST:
        # These may be rounded, each in its own way.
        return False
    return other.max * (limit.window or 1) <= limit.max * (other.window or 1)


def _scopes(limit: Limit) -> frozenset[str]:
    return frozenset(limit.per) - {"all"}


def _always_there(tool: Tool, scope: str) -> bool:
    """Whether every call has what a limit counts by."""
    argument = (tool.args or {}).get(scope.removeprefix("args."))
    if not scope.startswith("args.") or argument is None:
        return scope == "tool"
    return argument.required or argument.default is not UNSET
