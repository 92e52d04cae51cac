"""One rule: what it says, whom and which calls it concerns, and what it changes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from saferun.policy import form
from saferun.policy.document import Answer, Argument, Clamp, Rule, Scope
from saferun.policy.expression import Expression, ExpressionError, Type, compile_expression
from saferun.policy.parse.demand import DEMAND, demand
from saferun.policy.parse.schema import Schemas, fits
from saferun.policy.parse.whole import Whole, speakable, unknown, words
from saferun.policy.part import Part
from saferun.policy.schema import examine, types
from saferun.policy.source import Path
from saferun.policy.wording import found

ANSWERS: tuple[Answer, ...] = ("deny", "ask", "allow")

_RULE = (
    "id",
    "allow",
    "ask",
    *DEMAND,
    "deny",
    "set",
    "clamp",
    "for",
    "args",
    "when",
    "message",
    "mode",
)
_FOR = ("user", "tenant", "agent", "environment")
_CLAMP = ("minimum", "maximum")
NUMBERS = frozenset(("integer", "number"))


class Owner(NamedTuple):
    """What the parts of a tool need to know about it."""

    name: str
    path: Path
    args: Mapping[str, Argument] | None
    opaque: tuple[str, ...]
    disclose: bool
    names: Mapping[str, Type]


def rule(whole: Whole, schemas: Schemas, path: Path, body: Any, owner: Owner) -> Rule:
    part = Part(whole.source, path, body, _RULE)
    said = [answer for answer in ANSWERS if answer in part]
    changes = "set" in part or "clamp" in part
    if len(said) != (0 if changes else 1):
        one = "a rule says exactly one of `allow`, `ask` and `deny`, or it changes arguments"
        part.fault((), "value", f"{one} with `set` and `clamp`")
    for both in part.mapping("set").keys() & part.mapping("clamp").keys():
        what = "what is set to a value needs no range; leave one of the two out"
        part.fault(("clamp", both), "value", what)
    for answer in said:
        if answer != "ask" and part[answer] is not True:
            part.fault((answer,), "type", f"expected `true`; {found(part[answer])}")
    own = whole.id(part)
    return Rule(
        id=own,
        answer=None if changes else said[0] if said else "deny",
        demand=demand(part, own, owner.args),
        args=_fragments(schemas, part, owner) if "args" in part else None,
        when=_condition(part, owner) if "when" in part else None,
        scope=scope(part) if "for" in part else None,
        sets=_sets(part, owner),
        clamps=_clamps(part, owner),
        message=part.sentence("message"),
        shadow=whole.tried(part),
        line=part.line,
    )


def scope(part: Part) -> Scope:
    """For whom something holds, from its `for`."""
    about = Part(part.source, (*part.path, "for"), part["for"], _FOR)
    allowed: dict[str, tuple[str, ...]] = {}
    for name in _FOR:
        if name not in about:
            continue
        if isinstance(about[name], str) and speakable(about[name]):
            allowed[name] = (about[name],)
            continue
        allowed[name] = words(about, name, "a name")
        if not allowed[name]:
            about.fault((name,), "value", f"expected a name, or a list of names; {found([])}")
    if not allowed and part.source.sound(about.path):
        about.fault((), "value", "`for` says at least one of " + ", ".join(_FOR))
    return Scope(**allowed)


def _condition(part: Part, owner: Owner) -> Expression | None:
    said = part["when"]
    if not isinstance(said, str):
        what = "expected a condition, such as `args.amount > 20000`"
        part.fault(("when",), "type", f"{what}; {found(said)}")
        return None
    try:
        return compile_expression(said, owner.names)
    except ExpressionError as problem:
        path: Path = (*part.path, "when")
        place = part.source.within(path, problem.offset)
        part.source.fault(path, "condition", problem.message, place)
        return None


def _fragments(schemas: Schemas, part: Part, owner: Owner) -> dict[str, dict[str, Any]]:
    if owner.args is None:
        # An argument that is missing, or a number given as text, would slip past a `deny`.
        what = "a rule can only look at arguments that the tool's `args` describe"
        part.fault(("args",), "value", f"{what}, and here they are `any`")
        return {}
    said = part.mapping("args")
    if part["args"] == {}:
        part.fault(("args",), "value", "leave `args` out of a rule that always applies")
    fragments = {}
    for name, fragment in said.items():
        if name not in owner.args:
            part.fault(("args", name), "unknown-key", unknown(name, owner.args))
        elif not isinstance(fragment, dict | str) or not fragment:
            what = f"expected a JSON Schema, such as `{{const: 5}}`; {found(fragment or None)}"
            part.fault(("args", name), "type", what)
        elif part.source.sound((*owner.path, "args", name)):
            # What is said of an argument that is at fault itself would only mislead.
            path = (*part.path, "args", name)
            fragments[name] = schemas.whole(path, fragment, owner.args[name].schema)
    return fragments


def _sets(part: Part, owner: Owner) -> dict[str, Any]:
    values = part.mapping("set")
    for name, value in values.items():
        argument = (owner.args or {}).get(name)
        if argument is None:
            part.fault(("set", name), "value", unknown(name, owner.args or ()))
        elif part.source.sound(part.path) and not fits(value, argument.schema):
            what = f"the value does not fit the argument's schema; {found(value)}"
            part.fault(("set", name), "value", what)
    return values


def _clamps(part: Part, owner: Owner) -> dict[str, Clamp]:
    return {name: _clamp(part, name, body, owner) for name, body in part.mapping("clamp").items()}


def _clamp(part: Part, name: str, body: Any, owner: Owner) -> Clamp:
    at: Path = (*part.path, "clamp", name)
    source = part.source
    argument = (owner.args or {}).get(name)
    known = types(argument.schema) if argument is not None else None
    if argument is None:
        source.fault(at, "value", unknown(name, owner.args or ()))
        return Clamp()
    if known is None or not known <= NUMBERS:
        source.fault(at, "value", "only a number can be brought into a range; use `set`")
        return Clamp()
    ends = Part(source, at, body, _CLAMP)
    if not any(end in ends for end in _CLAMP):
        ends.fault((), "value", "`clamp` says `minimum`, `maximum` or both")
    # The ends are bounds of the argument and may be written in its unit, as its own are.
    kind: tuple[str, ...] = ("type", "unit")
    said = {word: argument.schema[word] for word in kind if word in argument.schema}
    said |= {end: ends[end] for end in _CLAMP if end in ends}
    bounds = form.expand(said, lambda steps, why: source.fault((*at, *steps), "value", why))
    if source.sound(at):
        examine(source, at, bounds)
    for end in _CLAMP:
        if source.sound(at) and "number" not in known and not isinstance(bounds.get(end, 0), int):
            ends.fault((end,), "value", "the argument is a whole number, and its bounds are too")
    low, high = (bounds.get(end) if source.sound(at) else None for end in _CLAMP)
    if low is not None and high is not None and low > high:
        ends.fault((), "value", "the minimum lies above the maximum")
    return Clamp(minimum=low, maximum=high)
