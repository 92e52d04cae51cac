"""Tries cases on a policy. Pure: the engine is the one of backtests and diffs, in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from saferun.approval import ANYBODY
from saferun.call import Call, Facts, canonical
from saferun.control.limit import duration
from saferun.policy import Explanation, Policy, explain
from saferun.policy.wording import listed
from saferun.rehearsal import Rehearsal, Rehearsed
from saferun.suites.case import Case, Expectation, Situation, Step

Observer: TypeAlias = Callable[[Call, Facts, Rehearsed], None]
"""Is shown every call of a trial with what was known beside it, and what came of it."""


class Difference(msgspec.Struct, frozen=True):
    """One thing that was expected of a call, and what was found, each as text for people."""

    about: str
    expected: str
    found: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The first call of a case that did not come out as expected.

    `number` is the call's among those of the case, from 1, and `of` how many these are.
    `explanation` is the policy's own, which knows of no limit; `told` is what was decided.
    """

    call: Call
    line: int | None
    number: int
    of: int
    differences: tuple[Difference, ...]
    told: Rehearsed
    explanation: Explanation


def attempt(policy: Policy, case: Case, observe: Observer | None = None) -> Failure | None:
    """Make the calls of a case, and tell the first that does not do what is expected."""
    rehearsal = _Rehearsal(policy, case.situation)
    now = case.situation.now
    of = sum(step.times for step in case.steps)
    for number, step in enumerate(_each(case.steps), 1):
        now += step.after
        call = case.situation.call(step.tool, step.args)
        if step.cost_usd:
            rehearsal.spend(call, step.cost_usd, now)
        facts = rehearsal.facts(call, now)
        told = rehearsal.decide(call, now)
        if observe is not None:
            observe(call, facts, told)
        differences = tuple(compare(step.expect, told))
        if differences:
            return Failure(
                call=call,
                line=step.line,
                number=number,
                of=of,
                differences=differences,
                told=told,
                explanation=explain(policy, call, facts),
            )
        if step.approve and told.verdict == "ask":
            rehearsal.approve(call, told, now)
        if step.outcome is not None:
            rehearsal.end(call, told, step.outcome, now)
    return None


def compare(expect: Expectation, told: Rehearsed) -> Iterator[Difference]:
    """Everything in which what was found is not what was expected."""
    if expect.verdict is not None:
        yield from _verdict(expect, told)
    if expect.rules is not None and set(expect.rules) != set(told.rules):
        yield Difference("rules", _names(expect.rules), _names(told.rules))
    if expect.groups is not None and set(expect.groups) != set(told.ruling.groups):
        yield Difference("groups", _names(expect.groups), _names(told.ruling.groups))
    if expect.asks:
        yield from _asked(expect, told)
    for name, value in (expect.args or {}).items():
        if name not in told.args:
            yield Difference(f"args.{name}", _shown(value), "no such argument")
        elif canonical.encode(value) != canonical.encode(told.args[name]):
            yield Difference(f"args.{name}", _shown(value), _shown(told.args[name]))
    if expect.control is not None and expect.control != told.control:
        yield Difference("control", expect.control, told.control or "none")
    if expect.message is not None:
        said = [reason.message for reason in told.reasons]
        if told.nudge is not None:
            said.append(told.nudge)
        if not any(expect.message in message for message in said):
            yield Difference("message", f"… {expect.message} …", "; ".join(said) or "none")
    if expect.shadow is not None:
        shadow = {reason.id for reason in told.shadow if not reason.failed}
        if not shadow.issuperset(expect.shadow):
            yield Difference("shadow", _names(expect.shadow), _names(tuple(shadow)))
    if expect.missing is not None and set(expect.missing) != set(told.missing):
        yield Difference("missing", _names(expect.missing), _names(told.missing))


def _asked(expect: Expectation, told: Rehearsed) -> Iterator[Difference]:
    """What is demanded of people: of several rules that ask, all of it."""
    if told.verdict != "ask":
        for about in ("ask", "approvals", "expires", "edits"):
            if getattr(expect, about) is not None:
                yield Difference(about, "a question to people", "nobody is asked")
        return
    # A control asks anybody, and says nothing else.
    demands = told.ruling.demands or (ANYBODY,)
    groups = {name for demand in demands for name in demand.of}
    if expect.ask is not None and set(expect.ask) != groups:
        wanted = _names(expect.ask) if expect.ask else "anybody"
        yield Difference("ask", wanted, _names(sorted(groups)) if groups else "anybody")
    most = max(demand.approvals for demand in demands)
    if expect.approvals not in (None, most):
        yield Difference("approvals", f"{expect.approvals}", f"{most}")
    within = min((each.within for each in demands if each.within is not None), default=None)
    if expect.expires not in (None, within):
        assert expect.expires is not None
        stands = "as configured" if within is None else duration(within)
        yield Difference("expires", duration(expect.expires), stands)
    edits = set(demands[0].edits).intersection(*(each.edits for each in demands))
    if expect.edits is not None and set(expect.edits) != edits:
        yield Difference("edits", _names(expect.edits), _names(sorted(edits)))


def _verdict(expect: Expectation, told: Rehearsed) -> Iterator[Difference]:
    """Where something is not known, a call is denied, and whoever means that says what.

    A case that merely forgot to give the user's tier would otherwise pass for a denial.
    """
    stands = told.ruling.verdict if told.verdict == "unknown" else told.verdict
    assert expect.verdict is not None
    if told.verdict == "unknown" and expect.missing is None:
        why = f"{stands}, since {listed(told.missing)} is not given; expect it as `missing`"
        yield Difference("verdict", expect.verdict, f"{why} if that is meant")
    elif stands != expect.verdict:
        yield Difference("verdict", expect.verdict, stands)


class _Rehearsal(Rehearsal):
    """A rehearsal whose run has done something before."""

    def __init__(self, policy: Policy, situation: Situation) -> None:
        super().__init__(policy, situation.environment)
        self._before = situation.past

    def facts(self, call: Call, now: int) -> Facts:
        facts = super().facts(call, now)
        since, before = facts.past, self._before
        assert since is not None
        whole = msgspec.structs.replace(
            since,
            began=before.began,
            calls=before.calls + since.calls,
            cost_usd=before.cost_usd + since.cost_usd,
            tools=tuple(sorted({*before.tools, *since.tools})),
            said=before.said,
        )
        return msgspec.structs.replace(facts, past=whole)


def _each(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        for _ in range(step.times):
            yield step


def _names(names: Sequence[str]) -> str:
    return listed(sorted(names)) or "none"


def _shown(value: Any) -> str:
    return canonical.encode(value).decode()
