"""Are the tests any good? Changes a policy in small ways; each change should fail some test.

A mutant that passes every test is a difference in what agents may do that nobody would notice:
a rule that could be gone, a bound that could be one off. Every mutant is made from the policy's
canonical value and becomes a policy as any other does.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from saferun.call import canonical
from saferun.errors import PolicyError
from saferun.policy import Policy, restore
from saferun.policy.document import Rule
from saferun.policy.form import expand
from saferun.policy.parse.demand import DEMAND
from saferun.policy.source import Path as Place

MAX_MUTANTS = 500
"""More are not tried; those that are, are taken evenly from the whole policy."""

_BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
_CHOICES = ("enum", "forbid", "among")
_FLIPPED = {"deny": "ask", "ask": "deny", "allow": "deny"}
"""The answer that a rule gives instead. Giving none at all is what dropping it does."""

_MAX_CHOICES = 20
"""Entries of a list that are dropped one by one; a list from a file may have thousands."""

_GONE: Any = object()

Change: TypeAlias = tuple[Place, str, Any]
"""A place in the policy, what is done there in words, and the value that comes there."""


class Mutant(msgspec.Struct, frozen=True):
    """One change. `at` is its place in the canonical value, `value` all of that, changed."""

    at: Place
    what: str
    value: Mapping[str, Any]

    def policy(self) -> Policy | None:
        """The policy that it makes, None where it would make none: a limit of no call, say."""
        try:
            return restore(self.value)
        except PolicyError:
            return None


def mutants(policy: Policy) -> list[Mutant]:
    """Every small change of a policy, in its order; at most MAX_MUTANTS, spread evenly."""
    value = policy.document.value
    found = list(_changes(policy))
    if len(found) > MAX_MUTANTS:
        found = [found[at * len(found) // MAX_MUTANTS] for at in range(MAX_MUTANTS)]
    return [Mutant(at, what, _put(value, at, new)) for at, what, new in found]


def _changes(policy: Policy) -> Iterator[Change]:
    value = policy.document.value
    rules = {rule.id: rule for tool in policy.document.tools for rule in tool.rules}
    yield from _default((), value, "deny")
    yield from _limits(("limits",), value.get("limits", []))
    for name, body in value.get("tools", {}).items():
        yield from _tool(("tools", name), body, rules)
    for at, scope in enumerate(value.get("scopes", [])):
        for name, body in scope["tools"].items():
            yield from _tool(("scopes", at, "tools", name), body, rules)
    for name, schema in value.get("definitions", {}).items():
        yield from _schema(("definitions", name), schema, {}, f"the definition `{name}`")


def _default(at: Place, body: Mapping[str, Any], unsaid: str) -> Iterator[Change]:
    said = body.get("default", unsaid)
    new = "deny" if said == "allow" else "allow"
    yield (*at, "default"), f"`default` is {new} instead of {said}", new


def _tool(at: Place, body: Mapping[str, Any], rules: Mapping[str, Rule]) -> Iterator[Change]:
    yield from _default(at, body, "allow")
    args = body.get("args")
    if isinstance(args, dict):
        for name, schema in args.items():
            yield from _schema((*at, "args", name), schema, {}, f"`args.{name}` of `{at[-1]}`")
    for index, rule in enumerate(body.get("rules", [])):
        yield from _rule((*at, "rules", index), rule, rules[rule["id"]], args)
    yield from _limits((*at, "limits"), body.get("limits", []))


def _limits(at: Place, limits: list[dict[str, Any]]) -> Iterator[Change]:
    for index, limit in enumerate(limits):
        here = (*at, index)
        yield here, f"the limit `{limit['id']}` is gone", _GONE
        for new in (limit["max"] - 1, limit["max"] + 1):
            what = f"the limit `{limit['id']}` has `max: {new}` instead of {limit['max']}"
            yield (*here, "max"), what, new


def _rule(at: Place, said: dict[str, Any], rule: Rule, args: Any) -> Iterator[Change]:
    of = f"of the rule `{rule.id}`"
    yield at, f"the rule `{rule.id}` is gone", _GONE
    if rule.answer is not None:
        new = _FLIPPED[rule.answer]
        # What stands beside `ask` would not load without it.
        lost = {rule.answer, *(DEMAND if rule.answer == "ask" else ())}
        flipped = {key: each for key, each in said.items() if key not in lost} | {new: True}
        what = f"the rule `{rule.id}` says `{new}` instead of `{rule.answer}`"
        yield at, what, flipped
    if rule.when is not None:
        for what, text in rule.when.variants():
            yield (*at, "when"), f"`when` {of}: {what}", text
        if rule.args or rule.scope is not None:
            yield (*at, "when"), f"`when` {of} is gone", _GONE
    if rule.scope is not None:
        yield (*at, "for"), f"`for` {of} is gone", _GONE
    fragments = said.get("args", {})
    for name, fragment in fragments.items():
        argument = args.get(name, {}) if isinstance(args, dict) else {}
        if len(fragments) > 1:
            yield (*at, "args", name), f"`args.{name}` {of} is gone", _GONE
        yield from _schema((*at, "args", name), fragment, argument, f"`args.{name}` {of}")
    for key in ("set", "clamp"):
        held = said.get(key, {})
        for name, each in held.items():
            if len(held) > 1:
                yield (*at, key, name), f"`{key}` of `{name}` {of} is gone", _GONE
            if key == "clamp":
                argument = args.get(name, {}) if isinstance(args, dict) else {}
                yield from _schema((*at, key, name), each, argument, f"`{key}` {of}")


def _schema(at: Place, schema: Any, argument: Any, where: str) -> Iterator[Change]:
    """The changes of one schema and those inside it. `argument` says what its numbers count."""
    if isinstance(schema, list):
        for index, each in enumerate(schema):
            yield from _schema((*at, index), each, argument, where)
    if not isinstance(schema, dict):
        return
    numbers = _numbers(schema, argument)
    for key, said in schema.items():
        here = (*at, key)
        number = numbers.get(key)
        if key in _BOUNDS and isinstance(number, int | float) and not isinstance(number, bool):
            for new in (number - 1, number + 1):
                yield here, f"{where} has `{key}: {new}` instead of {said}", new
        elif key in _CHOICES and isinstance(said, list):
            yield from _choices(here, key, said, where)
        elif key in ("properties", "$defs") and isinstance(said, dict):
            for name, each in said.items():
                yield from _schema((*here, name), each, {}, f"`{name}` in {where}")
        elif isinstance(said, dict | list) and key not in ("const", "default", "examples"):
            yield from _schema(here, said, {}, where)


def _choices(at: Place, key: str, said: list[Any], where: str) -> Iterator[Change]:
    step = max(1, len(said) // _MAX_CHOICES)
    for index in range(0, len(said), step):
        if len(said) > 1:
            yield (
                (*at, index),
                f"{where} has no {canonical.encode(said[index]).decode()} under `{key}`",
                _GONE,
            )
    if key != "enum":
        yield at, f"{where} has no `{key}`", _GONE


def _numbers(schema: dict[str, Any], argument: Any) -> Mapping[str, Any]:
    """A schema with its bounds as numbers, where they are written with a unit."""
    unit = argument.get("unit") if isinstance(argument, dict) else None
    kind = {"type": argument.get("type"), "unit": unit} if unit and "unit" not in schema else {}
    if "unit" not in schema and not kind:
        return schema
    return expand({**kind, **schema}, lambda *_: None)


def _put(holder: Any, at: Place, new: Any) -> Any:
    """A copy of `holder` with another value at a place, or none; the rest is shared."""
    first, *rest = at
    if isinstance(holder, list):
        items = list(holder)
        if not rest and new is _GONE:
            del items[int(first)]
        else:
            items[int(first)] = _put(items[int(first)], tuple(rest), new) if rest else new
        return items
    held = dict(holder)
    if not rest and new is _GONE:
        held.pop(first, None)
    else:
        held[first] = _put(held[first], tuple(rest), new) if rest else new
    return held
