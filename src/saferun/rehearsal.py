"""Deciding calls that do not happen: tests of a policy, backtests, and what a change would do.

The very functions that decide in production are led through a sequence of calls, on counters
and a past that are kept in memory. Pure: times come in with the calls.
"""

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from saferun.admission import admit
from saferun.call import Call, Facts, Past, PolicyRef, Reason
from saferun.policy import Policy, Ruling

Told: TypeAlias = Literal["allow", "ask", "deny", "defer", "unknown"]


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one call.

    `verdict` is `unknown` where conditions ask for something that is not known of the run, named
    in `missing`, and nothing else denies the call anyway. `control` is the id of the limit that
    decided, None where none did. `ruling` is what policy alone says.
    """

    verdict: Told
    args: dict[str, Any]
    reasons: tuple[Reason, ...]
    ruling: Ruling
    control: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def policy(self) -> PolicyRef | None:
        return self.ruling.policy

    @property
    def rules(self) -> tuple[str, ...]:
        """The ids of all that spoke for the verdict, the strongest first."""
        return tuple(reason.id for reason in self.reasons)


class Rehearsal:
    """One policy and all that has happened under it so far.

    Args:
        policy: the policy to decide by.
        environment: what `environment` is to conditions and scopes.

    """

    def __init__(self, policy: Policy, environment: str | None = None) -> None:
        self.policy = policy
        self._environment = environment
        self._used: dict[bytes, int] = {}
        self._pasts: dict[str, Past] = {}

    def decide(self, call: Call, now: int) -> Rehearsed:
        """Decide the next call; `now` is in microseconds since 1970, UTC.

        It moves what it would move: the counters of a call that is allowed, and the past of
        its run. Where a person would be asked, nothing moves until `approve`.
        """
        facts = self.facts(call, now)
        ruling = self.policy.decide(call, facts)
        tried = admit(ruling.verdict, ruling.reasons, ruling.due(call), self._used)
        verdict: Told = tried.verdict
        control = None
        if verdict != ruling.verdict:
            control = tried.reasons[0].id
        elif ruling.missing and not _denied_anyway(ruling):
            verdict = "unknown"
        told = Rehearsed(
            verdict=verdict,
            args=ruling.args,
            reasons=tried.reasons,
            ruling=ruling,
            control=control,
            missing=ruling.missing if verdict == "unknown" else (),
        )
        if verdict == "allow" or ruling.mode != "enforce":
            self._start(call, now, tried.moves)
        return told

    def approve(self, call: Call, told: Rehearsed, now: int) -> Rehearsed:
        """The same call once a person has said yes: limits are tried again, and then it starts."""
        tried = admit("allow", told.reasons, told.ruling.due(call), self._used)
        if tried.verdict == "allow":
            self._start(call, now, tried.moves)
        control = tried.reasons[0].id if tried.verdict != "allow" else None
        return replace(told, verdict=tried.verdict, reasons=tried.reasons, control=control)

    def facts(self, call: Call, now: int) -> Facts:
        """What is known beside a call at that time."""
        past = None
        if call.run is not None:
            past = self._pasts.setdefault(call.run.root, Past(began=now))
        return Facts(now=now, environment=self._environment, past=past)

    def spend(self, root: str, cost_usd: float, now: int) -> None:
        """A model turn of a run has cost that many dollars."""
        past = self._pasts.setdefault(root, Past(began=now))
        self._pasts[root] = replace(past, cost_usd=past.cost_usd + cost_usd)

    def _start(self, call: Call, now: int, moves: tuple[bytes, ...]) -> None:
        for key in moves:
            self._used[key] = self._used.get(key, 0) + 1
        if call.run is not None:
            past = self._pasts.setdefault(call.run.root, Past(began=now))
            tools = past.tools
            if call.tool not in tools:
                tools = tuple(sorted((*tools, call.tool)))
            self._pasts[call.run.root] = replace(past, calls=past.calls + 1, tools=tools)


def _denied_anyway(ruling: Ruling) -> bool:
    """Whether something denies that is no rule which could not be evaluated."""
    return any(reason.effect == "deny" and not reason.failed for reason in ruling.reasons)
