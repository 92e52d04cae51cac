"""Which calls an entry allows, asks about and denies, as sets of argument objects."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from saferun.policy import form
from saferun.policy.analysis.region import NOBODY, Region, canonical_region
from saferun.policy.document import UNSET, Answer, Argument, Rule, Tool
from saferun.policy.matcher import Matcher
from saferun.policy.reading import floats_in

ANSWERS: tuple[Answer, ...] = ("allow", "ask", "deny")

MAX_RULES = 100
"""Rules that are put together to one set; what that costs grows faster than their number."""


class Answers(NamedTuple):
    """The argument objects that are allowed and that are asked about; all others are denied."""

    allow: Region
    ask: Region

    def newly(self, before: "Answers", old: Answer, new: Answer) -> Region:
        """What `before` answered with `old` and this answers with `new`."""
        if new == "deny":
            lost: Region = getattr(before, old)
            return lost.subtract(self.allow).subtract(self.ask)
        gained: Region = getattr(self, new)
        if old == "deny":
            return gained.subtract(before.allow).subtract(before.ask)
        return gained.intersect(getattr(before, old))


def nothing() -> Answers:
    """What is said where every call is denied."""
    return Answers(NOBODY, NOBODY)


def answers(tool: Tool, rules: Iterable[Rule]) -> Answers | None:
    """What an entry says where just these rules hold, None where no schema can tell.

    Conditions and changes of arguments cannot stand in a schema, and not every form can.
    """
    heard = tuple(rules)
    if len(heard) > MAX_RULES or any(
        rule.when is not None or rule.answer is None for rule in heard
    ):
        return None
    fits = _fitting(tool)
    about = {answer: _about_any(tool, heard, answer) for answer in ANSWERS}
    denying, asking, allowing = about["deny"], about["ask"], about["allow"]
    if fits is None or denying is None or asking is None or allowing is None:
        return None
    left = _without(fits, denying)
    quiet = _without(left, asking)
    ask = left if tool.default == "ask" else _among(left, asking)
    allow = quiet if tool.default == "allow" else _among(quiet, allowing)
    if tool.default == "ask":
        # An allow-rule speaks where nothing else does, and then the default has no say.
        ask = ask.subtract(allow)
    return Answers(allow, ask)


def _without(some: Region, every: Iterable[Region]) -> Region:
    for each in every:
        some = some.subtract(each)
    return some


def _among(some: Region, every: Iterable[Region]) -> Region:
    found = NOBODY
    for each in every:
        found = found.union(some.intersect(each))
    return found


def _fitting(tool: Tool) -> Region | None:
    if tool.args is None:
        return canonical_region({"type": "object"})
    properties = {}
    for name, argument in tool.args.items():
        plain, exact = form.plain(argument.schema)
        if not exact:
            return None
        properties[name] = plain
    return canonical_region(
        {
            "type": "object",
            "properties": properties,
            "required": [name for name, argument in tool.args.items() if argument.required],
            "additionalProperties": False,
        }
    )


def _about_any(tool: Tool, rules: Iterable[Rule], answer: Answer) -> list[Region] | None:
    """The argument objects that each of the rules with this answer is about."""
    every = []
    for rule in rules:
        if rule.answer == answer:
            one = _about(tool.args or {}, rule)
            if one is None:
                return None
            every.append(one)
    return every


def _about(args: Mapping[str, Argument], rule: Rule) -> Region | None:
    needed, properties = [], {}
    to_allow = rule.answer == "allow"
    for name, fragment in (rule.args or {}).items():
        plain, exact = form.plain(fragment, to_allow=to_allow)
        if not exact:
            return None
        properties[name] = plain
        if not _by_default(args[name], fragment, to_allow=to_allow):
            needed.append(name)
    return canonical_region({"type": "object", "properties": properties, "required": needed})


def _by_default(argument: Argument, fragment: dict[str, Any], *, to_allow: bool) -> bool:
    """Whether a rule is about calls that leave the argument to the policy's own default."""
    if argument.default is UNSET:
        return False
    matcher = Matcher(fragment)
    reading = matcher.admits if to_allow else matcher.catches
    return reading(argument.default, floats=floats_in({"": argument.default}))
