"""Settings of a policy that are other ones now, and the counters that begin again with them.

A limit counts under a key of the policy's name and mode, the values that it counts by, and its
own name, which has in it whatever would make it another count (see `control.Limit`). Counters
outlive versions, and a version in which any of these is another one starts at nothing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from saferun.control import COST, Breaker, Limit, Loops
from saferun.control.amount import said
from saferun.control.limit import duration
from saferun.policy.analysis.demand import turns
from saferun.policy.analysis.difference import Change
from saferun.policy.document import Cost, Document, Tool
from saferun.policy.parse.setting import RECORD
from saferun.policy.policy import Policy
from saferun.policy.wording import named

_APART = frozenset(("id", "message", "line", "disclose", "name"))
"""What a limit says that has no part in what it counts and how far."""

_FREER = {True: ", which is laxer", False: ", which is stricter", None: ""}
_TIMES = frozenset(("poll_for", "slow_after", "open_for", "open_max", "lease"))
_MONEY = frozenset(("spike_floor",))


class _Entry(NamedTuple):
    """An entry, what it is called, and what its policy says for all tools."""

    name: str
    tool: Tool
    policy: Document


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
    for code in ("loops", "breaker"):
        for told in _settings(getattr(was, code), getattr(now, code)):
            yield Change(code=code, message=f"the {code} of all tools: {told}")
    for word in RECORD:
        one, other = getattr(was.record, word), getattr(now.record, word)
        if one != other:
            message = f"`{word}` under `record` was {one} and is {other}"
            yield Change(code="record", message=message)
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
        found[f"{tool.name}{scope}"] = _Entry(f"{named(tool.name)}{scope}", tool, policy.document)
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
        ("sensitive", "sensitive values"),
        ("idempotent", "`idempotent`"),
        ("poll", "`poll`"),
        ("releasable", "`releasable`"),
        ("opaque", "opaque arguments"),
    ):
        one, other = getattr(was.tool, code), getattr(now.tool, code)
        if one != other:
            message = f"the {what} of {now.name}: {_said(one)} before, {_said(other)} now"
            yield Change(code=code, tool=now.tool.name, message=message)
    for code, say in (("timeout", _time), ("cost", _cost), ("subject", _subject)):
        before, after = say(getattr(was.tool, code)), say(getattr(now.tool, code))
        if before != after:
            message = f"the {code} of {now.name}: {before} before, {after} now"
            yield Change(code=code, tool=now.tool.name, message=message)
    for code in ("loops", "breaker"):
        # What the policy says for all tools is told once, and not again for each.
        everywhere = set(_settings(getattr(was.policy, code), getattr(now.policy, code)))
        for told in _settings(getattr(was.tool, code), getattr(now.tool, code)):
            if told not in everywhere:
                message = f"the {code} of {now.name}: {told}"
                yield Change(code=code, tool=now.tool.name, message=message)
    one, other = (sorted(rule.id for rule in each.tool.rules if rule.shadow) for each in (was, now))
    if one != other:
        message = f"the rules of {now.name} in shadow: {_said(one)} before, {_said(other)} now"
        yield Change(code="shadow", tool=now.tool.name, message=message)
    yield from _demands(was, now)


def _demands(was: _Entry, now: _Entry) -> Iterator[Change]:
    """What rules that go on asking demand otherwise."""
    before = {rule.id: rule for rule in was.tool.rules}
    for rule in now.tool.rules:
        other = before.get(rule.id)
        if other is None or other.demand is None or rule.demand is None:
            continue
        if other.shadow or rule.shadow:
            continue
        for turn in turns(other.demand, rule.demand):
            what = f"`{turn.word}` of the rule {named(rule.id)}"
            message = f"{what}: {turn.old} before, {turn.new} now{_FREER[turn.laxer]}"
            yield Change(code="demand", tool=now.tool.name, message=message, laxer=turn.laxer)


def _settings(was: Loops | Breaker | None, now: Loops | Breaker | None) -> Iterator[str]:
    """Each setting that is another one now, as `same_result 6 before, 4 now`."""
    if was is None or now is None:
        if was is not now:
            yield f"{'off' if was is None else 'on'} before, {'off' if now is None else 'on'} now"
        return
    for field in was.__struct_fields__:
        one, other = getattr(was, field), getattr(now, field)
        if one != other:
            yield f"{field} {_setting(field, one)} before, {_setting(field, other)} now"


def _setting(field: str, value: Any) -> str:
    if value is None:
        return "off"
    if field in _TIMES:
        return duration(value)
    return f"${said(value)}" if field in _MONEY else f"{value:g}"


def _time(microseconds: int | None) -> str:
    return "none" if microseconds is None else duration(microseconds)


def _subject(argument: str | None) -> str:
    return "user" if argument is None else f"args.{argument}"


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return "none"
    most = f"${said(cost.most)}" if isinstance(cost.most, int) else " ".join(cost.most.text.split())
    return most if cost.source is None else f"at most {most}, from result.{'.'.join(cost.source)}"


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
            anew = space or was.name != now.name or was.per != now.per
            if not anew and not _differing(was, now):
                continue
            again = "; its counters begin again" if anew else ""
            message = f"the limit {named(name)}: {_bound(was)} before, {_bound(now)} now{again}"
            resets = name if anew else None
            yield Change(code="limit", tool=tool, message=message, resets=resets)


def _differing(was: Limit, now: Limit) -> set[str]:
    return {
        field
        for field in was.__struct_fields__
        if field not in _APART and getattr(was, field) != getattr(now, field)
    }


def _bound(limit: Limit) -> str:
    """`at most 20 per run and args.order_id`, whatever the limit tells the model."""
    if limit.burst is not None:
        bound = f"{limit.max} in {duration(limit.window or 0)} and {limit.burst} at once"
    else:
        bound = f"at most {limit.max if limit.sum is None else said(limit.max)}"
    if limit.sum is not None:
        bound += " US dollars" if limit.sum == COST else f" of {limit.sum}"
    bound += f" per {' and '.join(limit.per)}"
    if limit.window is not None and limit.burst is None:
        bound += f" in {duration(limit.window)}"
    if limit.on_limit != "deny":
        bound += f" (on_limit {limit.on_limit})"
    return f"{bound}, in shadow" if limit.shadow else bound
