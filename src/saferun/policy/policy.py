"""A policy, ready to decide. Pure: the same call gets the same ruling at any time, anywhere.

For nearly every call nothing speaks: its arguments fit and no rule is about it. One
compiled schema for each tool finds that out, at a cost that does not depend on how many
rules there are. Only where something may speak is the call looked at piece by piece.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Demand, Facts, Mode, PolicyRef, Reason, RunRef, Verdict, canonical
from saferun.control import COST, Charge, Groups, charges
from saferun.policy.document import Document
from saferun.policy.names import values
from saferun.policy.tool import RulePolicy, Seen, ToolPolicy
from saferun.policy.wording import named

_STRENGTH = {"deny": 0, "ask": 1, "allow": 2}
"""Deny beats ask beats allow, in whatever order the rules stand."""

_NONE = Facts()


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says about one call.

    `reasons` holds everything that spoke, the strongest first, and nothing where a call
    is simply allowed. `demands` are what the rules that asked want, by their ids, where the
    verdict is `ask`: every one of them has to be met. `shadow` holds what rules in shadow mode
    would have said, which counts for nothing. With `mode="shadow"` the verdict is what the
    policy would have said. `args` is what the tool is to be given: the call's own dict, or a new
    one with defaults of the policy filled in and arguments changed, and then `modified` is true.
    `missing` names what conditions wanted to know of the run and did not, as `user.tier`.
    `policy` is None where there was none, and the mode is then `observe`.
    """

    verdict: Verdict
    tool: ToolPolicy
    args: dict[str, Any]
    policy: PolicyRef | None
    mode: Mode
    modified: bool = False
    reasons: tuple[Reason, ...] = ()
    demands: tuple[Demand, ...] = ()
    shadow: tuple[Reason, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """All who are named by any demand, for whoever shows them; empty means anyone."""
        return tuple(sorted({name for demand in self.demands for name in demand.of}))

    def due(
        self, call: Call, facts: Facts, groups: Groups, space: str | None = None
    ) -> list[Charge]:
        """What the call would count towards: by what will run, filled-in defaults too.

        `groups` are those of the call's run. `space` sets counters apart. Without it they are
        those of the policy's name, since a version's successors count on where it stops.
        """
        limits = self.tool.limits
        if not limits:
            return []
        if space is None:
            space = f"{self.policy.name if self.policy is not None else ''}/{self.mode}"
        final = call if self.args is call.args else replace(call, args=self.args)
        return charges(limits, final, space, self.cost(final, facts), groups)

    def cost(self, call: Call, facts: Facts = _NONE) -> int | None:
        """The most that the call may come to cost, in micro-dollars; None where nobody can tell."""
        if self.tool.cost is None:
            return 0
        try:
            return self.tool.cost.of(values(call, self.args, facts))
        except Exception:  # noqa: BLE001 - a limit on what cannot be told denies
            return None


class Policy(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A compiled policy. Immutable, and safe to share between threads.

    `load` and `loads` make one, and `restore` makes it again from its `canonical` form.
    `tools` has the entries of each tool that the policy lists, the most specific first, and
    `prefixes` those of `mcp.*` and its like under `mcp.`, whose `lengths` stand beside them,
    the longest first. `stranger` is what holds for all other tools. `asks_past` says that
    conditions look at what the run has done before, `asks_said` that they look at what people have
    said in it, `passes_unread` that some arguments are
    opaque, and `takes_paths` that some are paths.
    """

    ref: PolicyRef
    document: Document
    mode: Literal["enforce", "shadow"]
    tools: Mapping[str, tuple[ToolPolicy, ...]]
    prefixes: Mapping[str, tuple[ToolPolicy, ...]]
    lengths: tuple[int, ...]
    stranger: ToolPolicy
    asks_past: bool = False
    asks_said: bool = False
    passes_unread: bool = False
    takes_paths: bool = False

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def version(self) -> str:
        """The hash of what the file and all that it includes say, in hexadecimal.

        Comments and the order of keys do not change it; the order of lists does.
        """
        return self.ref.version

    @property
    def canonical(self) -> bytes:
        """All of the policy as JSON, which its version is the SHA-256 of."""
        return canonical.encode(self.document.value)

    @property
    def space(self) -> str:
        """Where it counts, apart from others and from its own trial in shadow."""
        return f"{self.name}/{self.mode}"

    def entry(self, call: Call, environment: str | None = None) -> ToolPolicy:
        """The entry that a call falls under: the most specific one.

        A tool's own name goes before any that ends in `*`, and a longer one before a shorter;
        then whom the entry is for. An entry for some does not hold for a call that does not
        say whom it is from.
        """
        name = call.tool
        for entry in self.tools.get(name, ()):
            if entry.said.scope is None or entry.said.scope.covers(call, environment):
                return entry
        for length in self.lengths:
            for entry in self.prefixes.get(name[:length], ()) if len(name) >= length else ():
                if entry.said.scope is None or entry.said.scope.covers(call, environment):
                    return replace(entry, name=name)
        return self._unlisted(name)

    def demands(self) -> list[Demand]:
        """What its rules demand of people, each once."""
        entries = (*chain(*self.tools.values(), *self.prefixes.values()), self.stranger)
        said = (rule.said.demand for entry in entries for rule in entry.rules)
        return list(dict.fromkeys(demand for demand in said if demand is not None))

    def spent(self, run: RunRef, cost: int, groups: Groups) -> list[Charge]:
        """What a model turn counts towards: the limits over all tools that add up costs.

        `cost` is in micro-dollars. Limits that count by what only a call has, its tool among
        it, or by what the run does not say, do not count.
        """
        limits = [limit for limit in self.document.limits if limit.sum == COST]
        if not limits:
            return []
        turn = Call(tool="", args={}, run=run)
        due = charges(limits, turn, self.space, cost, groups)
        return [each for each in due if each.key is not None and "tool" not in each.limit.per]

    def decide(self, call: Call, facts: Facts = _NONE) -> Ruling:
        """What the policy says about a call. It does not raise: an error is a denial."""
        tool = self.stranger
        args = call.args
        try:
            tool = self.entry(call, facts.environment)
            if tool.defaults:
                args = tool.filled(call)
            if tool.is_quiet(call, args, facts):
                return self._ruling(call, tool, args)
            return self._heard(call, tool, args, facts)
        except Exception:  # noqa: BLE001
            # Whatever it was, it must neither crash the agent nor let the call through.
            why = "the call cannot be checked, so it is denied"
            reason = Reason(id=f"{tool.said.name}.args", effect="deny", source="gate", message=why)
            return self._ruling(call, tool, args, verdict="deny", reasons=(reason,))

    def _heard(self, call: Call, tool: ToolPolicy, args: dict[str, Any], facts: Facts) -> Ruling:
        """The ruling where something may speak: all are heard, and the strongest decides."""
        objection = tool.objection(call, args)
        if objection is not None:
            # Rules are about arguments that fit; what they say of others would mislead.
            return self._ruling(call, tool, args, verdict="deny", reasons=(objection,))
        hearing = Hearing(Seen(call, tool.checked(call, args), facts))
        changed = hearing.changed(tool.changes, args)
        if changed is not args:
            # What the tool is to be given is decided on as if it had come like that.
            args = changed
            objection = tool.objection(call, args)
            if objection is not None:
                return self._ruling(call, tool, args, verdict="deny", reasons=(objection,))
            hearing.seen = Seen(call, tool.checked(call, args), facts)
        hearing.hear(tool.rules)
        spoken = hearing.spoken
        if not spoken and tool.otherwise is not None:
            spoken.append(tool.otherwise)
        spoken.sort(key=_strength)
        verdict = spoken[0].effect if spoken else "allow"
        return self._ruling(
            call,
            tool,
            args,
            verdict=verdict,
            reasons=(*spoken, *hearing.changes),
            demands=_demands(hearing, spoken) if verdict == "ask" else (),
            shadow=tuple(hearing.shadow),
            missing=tuple(dict.fromkeys(hearing.missing)),
        )

    def _ruling(
        self,
        call: Call,
        tool: ToolPolicy,
        args: dict[str, Any],
        *,
        verdict: Verdict = "allow",
        reasons: tuple[Reason, ...] = (),
        demands: tuple[Demand, ...] = (),
        shadow: tuple[Reason, ...] = (),
        missing: tuple[str, ...] = (),
    ) -> Ruling:
        if self.mode == "shadow":
            # Shadow never changes what happens; what it would have changed is in its reasons.
            args = call.args
        return Ruling(
            verdict=verdict,
            tool=tool,
            args=args,
            policy=self.ref,
            mode=self.mode,
            modified=args is not call.args,
            reasons=reasons,
            demands=demands,
            shadow=shadow,
            missing=missing,
        )

    def _unlisted(self, name: str) -> ToolPolicy:
        otherwise = self.stranger.otherwise
        if otherwise is not None:
            otherwise = replace(otherwise, message=f"{named(name)} {otherwise.message}")
        return replace(self.stranger, name=name, otherwise=otherwise)


class Hearing:
    """What rules say about one call, as it is asked of them."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.spoken: list[Reason] = []
        self.changes: list[Reason] = []
        self.shadow: list[Reason] = []
        self.demands: list[Demand] = []
        self.missing: list[str] = []
        self.seen_by: dict[str, Seen] = {}

    def changed(self, rules: tuple[RulePolicy, ...], args: dict[str, Any]) -> dict[str, Any]:
        """The arguments after all the rules that change some, one after the other."""
        for rule in rules:
            # Each sees what those before it have made.
            self.seen_by[rule.said.id] = self.seen
            if not self._applies(rule):
                continue
            if rule.said.shadow:
                self.shadow.append(rule.reason)
                continue
            new = rule.changed(args)
            if new is not args:
                self.changes.append(rule.reason)
                args = new
                # What the application left to the tool's own default stays out of sight.
                seen = {*self.seen.args, *rule.said.sets}
                ours = {name: value for name, value in new.items() if name in seen}
                self.seen = Seen(self.seen.call, ours, self.seen.facts)
        return args

    def hear(self, rules: tuple[RulePolicy, ...]) -> None:
        for rule in rules:
            if not self._applies(rule):
                continue
            if rule.said.shadow:
                self.shadow.append(rule.reason)
                continue
            self.spoken.append(rule.reason)
            if rule.said.demand is not None:
                self.demands.append(rule.said.demand)

    def _applies(self, rule: RulePolicy) -> bool:
        """Whether a rule applies; where that cannot be told, a denial is noted and it does not."""
        try:
            return rule.applies(self.seen)
        except Exception:  # noqa: BLE001
            lacking = rule.lacking(self.seen)
            if rule.said.shadow:
                self.shadow.append(rule.failed(lacking))
            else:
                self.missing += lacking
                self.spoken.append(rule.failed(lacking))
            return False


def _demands(hearing: Hearing, spoken: list[Reason]) -> tuple[Demand, ...]:
    """What those demand who asked. Where it was a `default`, that is the yes of anyone."""
    asked = hearing.demands or [Demand(rule=spoken[0].id)]
    return tuple(sorted(asked, key=lambda demand: demand.rule))


def _strength(reason: Reason) -> int:
    return _STRENGTH[reason.effect]
