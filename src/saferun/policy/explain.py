"""Why a policy says what it says about one call: every condition with the value it saw."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from saferun.call import Call, Clause, Demand, Facts, PolicyRef, Reason, Verdict
from saferun.policy.document import Argument
from saferun.policy.policy import Hearing, Policy, Ruling
from saferun.policy.reading import floats_in
from saferun.policy.tool import RulePolicy, Seen, ToolPolicy
from saferun.policy.wording import clauses, named

_NONE = Facts()


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that spoke about a call, and the conditions that it rests on.

    Where it asks, `demand` is whose yes it wants.
    """

    id: str
    effect: Verdict
    message: str
    clauses: tuple[Clause, ...] = ()
    demand: Demand | msgspec.UnsetType = msgspec.UNSET


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The entry that a call falls under: its name, as `mcp.*`, whom it is for, and its line.

    `scope` is None where it is for everyone, and `name` is `default` for a tool that is not
    listed.
    """

    name: str
    scope: str | None = None
    line: int | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A ruling for people who ask why.

    `rules` has the tool's argument schema first, under `TOOL.args`, met or not; then all
    that spoke, the strongest first. Rules that did not apply are not in it, and neither
    are rules in shadow mode. It holds the values of the call: it is not for the model.
    """

    verdict: Verdict
    modified: bool
    args: dict[str, Any]
    rules: tuple[Spoken, ...]
    policy: PolicyRef
    entry: Entry


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the entry that a call falls under, whether it applies or not."""

    id: str
    applies: bool
    clauses: tuple[Clause, ...]


def explain(policy: Policy, call: Call, facts: Facts = _NONE) -> Explanation:
    """The ruling on a call, with its conditions. `decide` itself works out none of them."""
    ruling = policy.decide(call, facts)
    seen = Seen(call, ruling.tool.checked(call, ruling.args), facts)
    objection = next((reason for reason in ruling.reasons if reason.source == "args"), None)
    described = ruling.tool.said.args is not None
    before = _before(ruling.tool, call, facts)
    rules = {rule.said.id: rule for rule in (*ruling.tool.rules, *ruling.tool.changes)}
    demands = {demand.rule: demand for demand in ruling.demands}
    return Explanation(
        verdict=ruling.verdict,
        modified=ruling.modified,
        args=ruling.args,
        rules=(
            *([_arguments(ruling.tool, objection, seen.args)] if described or objection else ()),
            *(
                Spoken(
                    id=each.id,
                    effect=each.effect,
                    message=each.message,
                    clauses=_clauses(rules[each.id], before.get(each.id, seen))
                    if each.id in rules
                    else (),
                    demand=demands.get(each.id, msgspec.UNSET),
                )
                for each in ruling.reasons
                if each != objection
            ),
        ),
        policy=policy.ref,
        entry=Entry(
            name=ruling.tool.said.name,
            scope=None if ruling.tool.said.scope is None else ruling.tool.said.scope.sentence(),
            line=ruling.tool.said.line,
        ),
    )


def heard(policy: Policy, call: Call, facts: Facts = _NONE) -> tuple[Heard, ...]:
    """Every rule of the entry that a call falls under, with its conditions.

    Nothing where the arguments do not fit, since rules are not asked then.
    """
    ruling = policy.decide(call, facts)
    if any(reason.source == "args" for reason in ruling.reasons):
        return ()
    seen = Seen(call, ruling.tool.checked(call, ruling.args), facts)
    before = _before(ruling.tool, call, facts)
    return (
        *(_heard(rule, before[rule.said.id]) for rule in ruling.tool.changes),
        *(_heard(rule, seen) for rule in ruling.tool.rules),
    )


def because(ruling: Ruling, call: Call, facts: Facts = _NONE) -> dict[str, tuple[Clause, ...]]:
    """The conditions of each rule that asks, by the rule's id, with what they saw of a call.

    It is the call that the ruling is on.
    """
    seen = Seen(call, ruling.tool.checked(call, ruling.args), facts)
    asks = {reason.id for reason in ruling.reasons if reason.effect == "ask"}
    rules = (rule for rule in ruling.tool.rules if rule.said.id in asks)
    return {rule.said.id: _clauses(rule, seen) for rule in rules}


def _before(tool: ToolPolicy, call: Call, facts: Facts) -> dict[str, Seen]:
    """What each rule that changes arguments saw, by the rule's id."""
    args = tool.filled(call)
    hearing = Hearing(Seen(call, tool.checked(call, args), facts))
    hearing.changed(tool.changes, args)
    return hearing.seen_by


def _heard(rule: RulePolicy, seen: Seen) -> Heard:
    try:
        applies = rule.applies(seen)
    except Exception:  # noqa: BLE001 - it denies, and its clauses say which of them failed
        applies = True
    return Heard(id=rule.said.id, applies=applies, clauses=_clauses(rule, seen))


def _arguments(tool: ToolPolicy, objection: Reason | None, args: Mapping[str, Any]) -> Spoken:
    return Spoken(
        id=f"{tool.said.name}.args",
        effect="deny" if objection else "allow",
        message=objection.message if objection else "the arguments fit",
        clauses=tuple(_described(tool.said.args or {}, args)),
    )


def _described(described: Mapping[str, Argument], args: Mapping[str, Any]) -> Iterator[Clause]:
    for name, argument in described.items():
        if name in args:
            yield from _held(name, argument.schema, args[name], to_allow=True)
        elif argument.required:
            yield Clause(text=f"args.{name} is given", value=None, holds=False)
    for name in args:
        if name not in described:
            yield Clause(text=f"{named(name)} is an argument", value=args[name], holds=False)


def _clauses(rule: RulePolicy, seen: Seen) -> tuple[Clause, ...]:
    """The conditions of one rule: its scope, its arguments and what stands under `when`."""
    said = rule.said
    told: list[Clause] = []
    if said.scope is not None:
        run = seen.call.run
        who = {
            "user": run.user_id if run is not None else None,
            "tenant": run.tenant if run is not None else None,
            "agent": run.agent if run is not None else None,
            "environment": seen.facts.environment,
        }
        told += (
            Clause(text=f"{name} in [{', '.join(allowed)}]", value=value, holds=value in allowed)
            for name, value in who.items()
            if (allowed := getattr(said.scope, name))
        )
    for name, fragment in (said.args or {}).items():
        if name in seen.args:
            told += _held(name, fragment, seen.args[name], to_allow=said.answer == "allow")
        else:
            told.append(Clause(text=f"args.{name} is given", value=None, holds=False))
    if said.when is not None:
        told += said.when.clauses(seen.values)
    return tuple(told)


def _held(name: str, schema: dict[str, Any], value: Any, *, to_allow: bool) -> Iterator[Clause]:
    """The conditions of one schema, read as `decide` reads it: exactly, where it lets through."""
    from saferun.policy.matcher import Matcher

    for text, part in clauses(f"args.{name}", schema):
        matcher = Matcher(part)
        try:
            reading = matcher.admits if to_allow else matcher.catches
            holds = reading(value, floats=floats_in({name: value}))
        except ValueError:
            holds = False
        yield Clause(text=text, value=value, holds=holds)
