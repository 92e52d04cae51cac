"""What the tests of a policy have tried of it, and what they have not.

A rule is tried when a call came to which it applies and one to which it does not; so is each of
its conditions. Whatever no test ever made true could be gone, and whatever none made false could
hold always, and nobody would know.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from saferun.call import Call, Facts
from saferun.policy import Policy, heard
from saferun.policy.document import Rule
from saferun.rehearsal import Rehearsed

Kind: TypeAlias = Literal["tool", "rule", "clause", "limit"]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that no test tried. `id` is the rule's, the limit's or the tool's."""

    kind: Kind
    id: str
    message: str
    line: int | None


class Coverage:
    """Looks on while cases are tried on one policy, as `trial.attempt` lets it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._called: set[tuple[str, int | None]] = set()
        self._applied: dict[str, set[bool]] = {}
        self._held: dict[str, dict[str, set[bool]]] = {}
        self._reached: set[str] = set()

    def observe(self, call: Call, facts: Facts, told: Rehearsed) -> None:
        said = told.ruling.tool.said
        self._called.add((said.name, said.line))
        spoke = (*told.reasons, *told.shadow)
        self._reached.update(reason.id for reason in spoke if reason.source == "limit")
        for each in heard(self._policy, call, facts):
            self._applied.setdefault(each.id, set()).add(each.applies)
            clauses = self._held.setdefault(each.id, {})
            for clause in each.clauses:
                clauses.setdefault(clause.text, set()).add(clause.holds)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What is untried, in the order of the policy."""
        return tuple(gap for gap in self._points() if gap is not None)

    @property
    def tried(self) -> int:
        """How many of the things that can be tried were, of `of`."""
        return sum(gap is None for gap in self._points())

    @property
    def of(self) -> int:
        return sum(1 for _ in self._points())

    def _points(self) -> Iterator[Gap | None]:
        """Each thing that can be tried: None where it was, and else the gap."""
        document = self._policy.document
        for limit in document.limits:
            yield self._limit(limit.id, limit.line)
        for tool in document.tools:
            called = (tool.name, tool.line) in self._called
            message = "no test calls it"
            yield None if called else _gap("tool", tool.name, message, tool.line)
            for rule in tool.rules:
                yield from self._rule(rule)
            for each in tool.limits:
                yield self._limit(each.id, each.line)

    def _limit(self, id_: str, line: int | None) -> Gap | None:
        reached = id_ in self._reached
        return None if reached else _gap("limit", id_, "no test reaches it", line)

    def _rule(self, rule: Rule) -> Iterator[Gap | None]:
        applied = self._applied.get(rule.id, set())
        conditional = rule.when is not None or rule.args or rule.scope is not None
        yield self._side(rule, "rule", "it", applied, True)
        if conditional:
            yield self._side(rule, "rule", "it", applied, False)
        clauses = self._held.get(rule.id, {})
        if len(clauses) > 1:
            # The only condition of a rule is tried where the rule is.
            for text, held in clauses.items():
                yield self._side(rule, "clause", text, held, True)
                yield self._side(rule, "clause", text, held, False)

    def _side(self, rule: Rule, kind: Kind, what: str, seen: set[bool], side: bool) -> Gap | None:
        if side in seen:
            return None
        if kind == "clause":
            message = f"no test makes `{what}` {'true' if side else 'false'}"
        else:
            message = f"no test has a call that {'it applies to' if side else 'it leaves alone'}"
        return _gap(kind, rule.id, message, rule.line)


def _gap(kind: Kind, id_: str, message: str, line: int | None) -> Gap:
    return Gap(kind=kind, id=id_, message=message, line=line)
