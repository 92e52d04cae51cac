"""Settings of a policy that are other ones now, and the counters that begin again with them.

A limit counts under a key of the policy's name and mode, its own id, its tool and the values
that it counts by (see `control.charges`). Counters outlive versions, and a version in which any
of these is another one starts at nothing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from saferun.control import Limit
from saferun.policy.analysis.difference import Change
from saferun.policy.document import Tool
from saferun.policy.policy import Policy
from saferun.policy.wording import named

_APART = frozenset(("id", "message", "line", "disclose"))
"""What a limit says that has no part in what it counts and how far."""


class _Entry(NamedTuple):
    name: str
    tool: Tool


def changes(old: Policy, new: Policy) -> Iterator[Change]:
    """What changes beside the decisions on single calls, the whole policy first."""
    was, now = old.document, new.document
    for field, what in (("mode", "mode"), ("default", "default for unlisted tools")):
        one, other = getattr(was, field), getattr(now, field)
        if one != other:
            yield Change(code=field, message=f"the {what} was {one} and is {other}")
    if was.name != now.name:
        message = f"the name was {named(was.name)} and is {named(now.name)}"
        yield Change(code="name", message=message)
    if was.urgent != now.urgent:
        yield Change(
            code="urgent", message=f"the policy is{'' if now.urgent else ' not'} urgent now"
        )
    before, after = _entries(old), _entries(new)
    for name in dict.fromkeys((*before, *after)):
        yield from _entry(before.get(name), after.get(name))
    space = was.name != now.name or was.mode != now.mode
    yield from _limits(_of(old), _of(new), space=space)


def _entries(policy: Policy) -> dict[str, _Entry]:
    """Each entry by its tool and whom it is for, as a reader would say it."""
    found = {}
    for tool in policy.document.tools:
        scope = f" for {tool.scope.sentence()}" if tool.scope is not None else ""
        found[f"{tool.name}{scope}"] = _Entry(f"{named(tool.name)}{scope}", tool)
    return found


def _entry(was: _Entry | None, now: _Entry | None) -> Iterator[Change]:
    if was is None or now is None:
        if now is not None:
            message = f"{now.name} has an entry now"
            yield Change(code="tool-added", tool=now.tool.name, message=message)
        elif was is not None:
            message = f"{was.name} has no entry any more"
            yield Change(code="tool-removed", tool=was.tool.name, message=message)
        return
    for code, what in (
        ("effect", "effect"),
        ("default", "default"),
        ("redact", "redactions"),
        ("idempotent", "`idempotent`"),
        ("opaque", "opaque arguments"),
    ):
        one, other = getattr(was.tool, code), getattr(now.tool, code)
        if one != other:
            message = f"the {what} of {now.name}: {_said(one)} before, {_said(other)} now"
            yield Change(code=code, tool=now.tool.name, message=message)
    one, other = (sorted(rule.id for rule in each.tool.rules if rule.shadow) for each in (was, now))
    if one != other:
        message = f"the rules of {now.name} in shadow: {_said(one)} before, {_said(other)} now"
        yield Change(code="shadow", tool=now.tool.name, message=message)


def _said(value: Any) -> str:
    """`args.card_number, result.note` for paths, and what stands in the file for the rest."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list, frozenset)):
        words = (".".join(each) if isinstance(each, tuple) else each for each in value)
        return ", ".join(sorted(words)) or "none"
    return str(value)


def _of(policy: Policy) -> dict[str, tuple[Limit, str | None]]:
    """Every limit with the entry that it stands under, by its id, of which there is one each."""
    document = policy.document
    return {
        **{limit.id: (limit, None) for limit in document.limits},
        **{limit.id: (limit, tool.name) for tool in document.tools for limit in tool.limits},
    }


def _limits(
    before: dict[str, tuple[Limit, str | None]],
    after: dict[str, tuple[Limit, str | None]],
    *,
    space: bool,
) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            limit, tool = before[name]
            gone = f"the limit {named(name)} is gone: {_bound(limit)}"
            yield Change(code="limit-removed", tool=tool, message=gone)
        elif name not in before:
            limit, tool = after[name]
            fresh = f"the limit {named(name)} is new, and counts from nothing: {_bound(limit)}"
            yield Change(code="limit-added", tool=tool, message=fresh, resets=name)
        else:
            (was, _), (now, tool) = before[name], after[name]
            moved = _differing(was, now)
            resets = name if space or not moved <= {"max"} else None
            if not moved and resets is None:
                continue
            again = "; its counters begin again" if resets else ""
            message = f"the limit {named(name)}: {_bound(was)} before, {_bound(now)} now{again}"
            yield Change(code="limit", tool=tool, message=message, resets=resets)


def _differing(was: Limit, now: Limit) -> set[str]:
    return {
        field
        for field in was.__struct_fields__
        if field not in _APART and getattr(was, field) != getattr(now, field)
    }


def _bound(limit: Limit) -> str:
    """`at most 20 per run and args.order_id`, whatever the limit tells the model."""
    return f"at most {limit.max} per {' and '.join(limit.per)}"
