"""What rules in shadow say of very many calls, as `Policy.decide` would, and much sooner.

Of nearly all calls they say nothing. So they are asked alone first, without what else the policy
has to say, and what they make of a text is remembered: the next call with the same one is not
looked at again. Only a call of which one of them may speak is decided on as ever.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from saferun.call import Call, Facts, Reason
from saferun.policy.policy import Policy
from saferun.policy.tool import RulePolicy, Seen, ToolPolicy

if TYPE_CHECKING:
    from saferun.policy.expression import Expression

TALKATIVE = 100
"""Once they have spoken of so many calls more than not, they are no longer asked alone first."""

MAX_TEXTS = 20_000
"""Texts of one argument that are remembered."""


class Shadows:
    """The rules in shadow of one policy. For one thread."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rules: dict[int, _Rules] = {}
        self._spoken = 0

    def of(self, call: Call, facts: Facts) -> tuple[Reason, ...]:
        """What they say of a call: `Ruling.shadow`. It does not raise."""
        if self._spoken < TALKATIVE:
            try:
                if self._silent(call, facts):
                    self._spoken -= 1
                    return ()
            except Exception:  # noqa: BLE001, S110 - what cannot be told is said by `decide`
                pass
            self._spoken += 1
        return self._policy.decide(call, facts).shadow

    def unsure(self, call: Call, facts: Facts) -> frozenset[str]:
        """The ids of those that would have to know more of the run than is known."""
        seen = Seen(call, call.args, facts)
        rules = self._policy.entry(call, facts.environment).rules
        return frozenset(
            rule.reason.id for rule in rules if rule.said.shadow and rule.lacking(seen)
        )

    def _silent(self, call: Call, facts: Facts) -> bool:
        """Whether it is certain that none speaks; False says nothing."""
        tool = self._policy.entry(call, facts.environment)
        if tool.changes:
            # They are asked of what others have made of the call.
            return False
        args = tool.filled(call) if tool.defaults else call.args
        return not self._of(tool).may_speak(call, tool.checked(call, args), facts)

    def _of(self, tool: ToolPolicy) -> "_Rules":
        # An entry for many tools is made anew for each call, and its rules are not.
        found = self._rules.get(id(tool.rules))
        if found is None:
            found = self._rules[id(tool.rules)] = _Rules(tool.rules)
        return found


class _Rules:
    """The rules of one entry that are in shadow, by the argument that each looks at.

    `_naming` are those that look at arguments and at what people have said, and `_others` those
    that look at more than one, or at what else is known beside them.
    """

    def __init__(self, rules: tuple[RulePolicy, ...]) -> None:
        self._others: list[RulePolicy] = []
        self._naming: list[Expression] = []
        looking: defaultdict[str, list[Expression]] = defaultdict(list)
        for rule in rules:
            when, said = rule.said.when, rule.said
            if not said.shadow:
                continue
            at = {path[:2] for path in rule.reads}
            [(*above, name)] = at if len(at) == 1 else [("",)]
            if when is None or rule.matchers or said.scope is not None:
                self._others.append(rule)
            elif ("run", "said") in at and all(
                path[0] == "args" for path in at - {("run", "said")}
            ):
                self._naming.append(when)
            elif above != ["args"]:
                self._others.append(rule)
            else:
                looking[name].append(when)
        self._looking = [(name, some, dict[str, bool]()) for name, some in looking.items()]

    def may_speak(self, call: Call, args: dict[str, Any], facts: Facts) -> bool:
        """Raises where it cannot be told."""
        for name, conditions, known in self._looking:
            value = args.get(name)
            if type(value) is not str:
                if _any(conditions, {"args": args}):
                    return True
                continue
            spoken = known.get(value)
            if spoken is None:
                spoken = _any(conditions, {"args": args})
                if len(known) < MAX_TEXTS:
                    known[value] = spoken
            if spoken:
                return True
        if self._naming and _any(self._naming, {"args": args, "run": _said(facts)}):
            return True
        if not self._others:
            return False
        seen = Seen(call, args, facts)
        return any(rule.applies(seen) for rule in self._others)


def _said(facts: Facts) -> dict[str, str]:
    """Of what a run has done, what people have said, where that is known."""
    past = facts.past
    return {} if past is None or not past.said else {"said": "\n".join(past.said)}


def _any(conditions: "list[Expression]", values: Mapping[str, Any]) -> bool:
    # A loop and not `any`, which would make a generator for every call.
    for each in conditions:  # noqa: SIM110
        if each.holds(values):
            return True
    return False
