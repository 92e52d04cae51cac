"""Why a policy says what it says about one call: every condition with the value it saw."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from saferun.call import Call, Clause, PolicyRef, Reason, Verdict
from saferun.policy.document import Argument
from saferun.policy.policy import Policy
from saferun.policy.reading import floats_in
from saferun.policy.tool import ToolPolicy
from saferun.policy.wording import clauses, named


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that spoke about a call, and the conditions that it rests on."""

    id: str
    effect: Verdict
    message: str
    clauses: tuple[Clause, ...] = ()


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


def explain(policy: Policy, call: Call) -> Explanation:
    """The ruling on a call, with its conditions. `decide` itself works out none of them."""
    ruling = policy.decide(call)
    checked = ruling.tool.checked(call, ruling.args)
    objection = next((reason for reason in ruling.reasons if reason.source == "args"), None)
    described = ruling.tool.said.args is not None
    return Explanation(
        verdict=ruling.verdict,
        modified=ruling.modified,
        args=ruling.args,
        rules=(
            *([_arguments(ruling.tool, objection, checked)] if described or objection else ()),
            *(_spoken(ruling.tool, each, checked) for each in ruling.reasons if each != objection),
        ),
        policy=policy.ref,
    )


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


def _spoken(tool: ToolPolicy, reason: Reason, args: Mapping[str, Any]) -> Spoken:
    rules = [rule.said for rule in tool.rules if rule.said.id == reason.id]
    return Spoken(
        id=reason.id,
        effect=reason.effect,
        message=reason.message,
        clauses=tuple(
            clause
            for rule in rules
            for name, fragment in (rule.args or {}).items()
            for clause in _held(name, fragment, args[name], to_allow=rule.answer == "allow")
        ),
    )


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
