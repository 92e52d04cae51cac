"""Rules that never say anything, or that others say everything for.

Nothing is said without a proof: what the schema library cannot tell, and what only a condition
decides, counts as possible.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema_rs.canonical import CanonicalizationError

from saferun.policy.analysis.demand import bare, implies
from saferun.policy.analysis.note import Note
from saferun.policy.analysis.region import Region, covers, is_empty, read_alike, region
from saferun.policy.document import UNSET, Argument, Rule, Scope, Tool
from saferun.policy.matcher import Matcher
from saferun.policy.reading import floats_in
from saferun.policy.source import Path
from saferun.policy.wording import constant, named

MAX_COMPARED = 200
"""Rules of one entry that are held against each other, some 30 µs a pair."""

_STRENGTH = {"allow": 0, "ask": 1, "deny": 2}
_SAID = {"allow": "allows", "ask": "asks about", "deny": "denies"}


def rule_notes(tool: Tool, at: Path) -> Iterator[Note]:
    """What is worth saying about the rules of an entry, which stands at `at`."""
    for position, rule in enumerate(tool.rules):
        path: Path = (*at, "rules", position)
        why = _never(tool, rule)
        if why is not None:
            yield Note("never-matches", f"this rule never applies: {why}", path)
            continue
        if rule.shadow or rule.answer is None:
            # A rule in shadow is there to be looked at; one that changes arguments answers nothing.
            continue
        yield from _forbidden(tool, rule, path)
        if rule.answer == "allow" and tool.default == "allow" and rule.when is None:
            why = f"{named(tool.name)} is allowed by default, so this rule decides nothing"
            yield Note("idle-rule", why, path)
            continue
        other = _shadowing(tool, position)
        if other is not None:
            what = f"{named(other.id)} (line {other.line}) {_SAID[other.answer or 'deny']}"
            how = _beside(rule, other)
            why = f"{what} all calls that this rule is about, {how}; it decides nothing"
            yield Note("shadowed-rule", why, path)


def _never(tool: Tool, rule: Rule) -> str | None:
    """Why a rule applies to no call, None where it may apply to one."""
    if rule.scope is not None and tool.scope is not None and not rule.scope.meets(tool.scope):
        return f"it is for {rule.scope.sentence()}, and its entry for {tool.scope.sentence()}"
    for name, fragment in (rule.args or {}).items():
        argument = (tool.args or {})[name]
        if not read_alike([argument.schema], [fragment]):
            continue
        to_allow = rule.answer == "allow"
        fits = region(argument.schema, exactly=False)
        about = region(fragment, to_allow=to_allow, exactly=False)
        if fits is not None and about is not None and _meet_nowhere(fits, about):
            return f"no value that {named(name)} may have is one that it looks for"
    return None


def _meet_nowhere(one: Region, other: Region) -> bool:
    try:
        return is_empty(one.intersect(other))
    except CanonicalizationError:
        return False


def _forbidden(tool: Tool, rule: Rule, path: Path) -> Iterator[Note]:
    """The values that an allow-rule names and that are never allowed."""
    if rule.answer != "allow":
        return
    for name, fragment in (rule.args or {}).items():
        listed = [fragment["const"]] if "const" in fragment else fragment.get("enum", ())
        for value in listed:
            by = _refusing(tool, name, value)
            if by is not None:
                why = f"it allows {constant(value)} as {named(name)}, which {by}"
                yield Note("allows-forbidden", why, (*path, "args", name))


def _refusing(tool: Tool, name: str, value: Any) -> str | None:
    """What refuses every call with this value of an argument."""
    floats = floats_in({"": value})
    if not Matcher((tool.args or {})[name].schema).admits(value, floats=floats):
        return "the argument itself may not be"
    for rule in tool.rules:
        if rule.answer != "deny" or rule.shadow or rule.when is not None or rule.scope is not None:
            continue
        if rule.args is None or rule.args.keys() != {name}:
            continue
        if Matcher(rule.args[name]).catches(value, floats=floats):
            return f"{named(rule.id)} (line {rule.line}) denies"
    return None


def _shadowing(tool: Tool, position: int) -> Rule | None:
    """A rule that says as much or more about every call that this one is about."""
    rule = tool.rules[position]
    compared = tool.rules[:MAX_COMPARED]
    for at, other in enumerate(compared if position < MAX_COMPARED else ()):
        if at == position or other.shadow or other.answer is None:
            continue
        if not _says_all(tool, other, rule):
            continue
        alike = other.answer == rule.answer and _says_all(tool, rule, other)
        # Of two that say the same, the later one is in vain.
        if not alike or at < position:
            return other
    return None


def _beside(rule: Rule, other: Rule) -> str:
    """How a rule stands to one that leaves it nothing to decide."""
    if other.answer != rule.answer:
        return "and that beats it"
    if rule.demand is None or other.demand is None or bare(rule.demand) == bare(other.demand):
        return "also"
    return "and demands more"


def _says_all(tool: Tool, other: Rule, rule: Rule) -> bool:
    """Whether `other` leaves `rule` nothing to decide."""
    mine, theirs = rule.answer or "allow", other.answer or "allow"
    if _STRENGTH[theirs] < _STRENGTH[mine]:
        return False
    wanted, theirs_too = rule.demand, other.demand
    if wanted is not None and theirs_too is not None and not implies(theirs_too, wanted):
        # Both have to be met, and the other one has not this one in it.
        return False
    condition = rule.when.text if rule.when is not None else None
    if other.when is not None and other.when.text != condition:
        return False
    if not _wider(other.scope, rule.scope):
        return False
    may_fail = (rule.when is not None and other.when is None) or (
        rule.scope is not None and other.scope != rule.scope and rule.answer != "allow"
    )
    if may_fail and theirs != "deny":
        # A rule that cannot be evaluated denies, and that is more than the other one says.
        return False
    return _about_all(tool.args or {}, other, rule)


def _wider(outer: Scope | None, inner: Scope | None) -> bool:
    """Whether whoever is in `inner` is certainly in `outer`."""
    if outer is None:
        return True
    if inner is None:
        return False
    return all(
        not getattr(outer, name)
        or (getattr(inner, name) and set(getattr(inner, name)) <= set(getattr(outer, name)))
        for name in ("user", "tenant", "agent", "environment")
    )


def _about_all(args: Mapping[str, Argument], other: Rule, rule: Rule) -> bool:
    """Whether the arguments that `rule` matches are all matched by `other`."""
    mine = rule.args or {}
    for name, fragment in (other.args or {}).items():
        argument = args[name]
        there = argument.required or argument.default is not UNSET or name in mine
        if not there:
            return False
        if fragment == mine.get(name) and (other.answer != "allow" or rule.answer == "allow"):
            continue
        schemas = [fragment, *([mine[name]] if name in mine else [])]
        if not read_alike([argument.schema], schemas):
            return False
        fits = region(argument.schema, exactly=False)
        looked = (
            region(mine[name], to_allow=rule.answer == "allow", exactly=False)
            if (name in mine)
            else fits
        )
        wanted = region(fragment, to_allow=other.answer == "allow")
        if fits is None or looked is None or wanted is None:
            return False
        try:
            if not covers(wanted, fits.intersect(looked)):
                return False
        except CanonicalizationError:
            return False
    return True
