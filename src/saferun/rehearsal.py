"""Deciding calls that do not happen: tests of a policy, backtests, and what a change would do.

The very functions that decide in production are led through a sequence of calls, on counters
and a past that are kept in memory. Pure: times come in with the calls.
"""

import hashlib
from collections.abc import Container, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from saferun.admission import (
    HEALTH,
    NOTHING,
    Admission,
    Due,
    Hold,
    admit,
    counted,
    health,
    holds,
    settled,
)
from saferun.call import Call, Facts, Outcome, Past, PolicyRef, Reason, RunRef, canonical
from saferun.control import Groups, Sign, Switch, Trail, echo, sign
from saferun.control import breaker as breakers
from saferun.control import limit as limits
from saferun.control.amount import micro
from saferun.policy import Policy, Ruling
from saferun.said import begun, heard

Told: TypeAlias = Literal["allow", "ask", "deny", "defer", "unknown"]


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one call.

    `verdict` is `unknown` where conditions ask for something that is not known of the run, named
    in `missing`, and nothing else denies the call anyway. `control` is the id of the control that
    decided, None where none did. `ruling` is what policy alone says. `number` is the call's own
    in its rehearsal, and `due` what it had to pass. `shadow` is what rules and limits in shadow
    would have said.
    """

    verdict: Told
    args: dict[str, Any]
    reasons: tuple[Reason, ...]
    ruling: Ruling
    control: str | None = None
    missing: tuple[str, ...] = ()
    nudge: str | None = None
    number: int = 0
    due: Due = NOTHING
    sign: Sign | None = None
    shadow: tuple[Reason, ...] = ()

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
        self._groups: dict[Any, dict[str, Any]] = {}
        self._pasts: dict[str, Past] = {}
        self._trails: dict[str, Trail] = {}
        self._started: dict[int, tuple[int, tuple[Hold, ...]]] = {}
        self._stopped: dict[str, Switch] = {}
        self._calls = 0

    def decide(self, call: Call, now: int) -> Rehearsed:
        """Decide the next call; `now` is in microseconds since 1970, UTC.

        It moves what it would move: the counters of a call that is allowed, and the past of
        its run. Where a person would be asked, nothing moves until `approve`.
        """
        facts = self.facts(call, now)
        ruling = self.policy.decide(call, facts)
        self._calls += 1
        compared, due = self._due(call, ruling, facts)
        tried = self._tried(call, ruling, due, now, self._calls)
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
            nudge=tried.nudge,
            number=self._calls,
            due=due,
            sign=compared,
            shadow=(*ruling.shadow, *tried.shadow),
        )
        if verdict == "allow" or ruling.mode != "enforce":
            self._start(call, told, tried, now, answered=False)
        elif compared is not None and verdict == "deny" and control == "loops":
            self._trail(call).refused(compared, now)
        if tried.stops and call.run is not None:
            root = call.run.root
            self._stopped[root] = Switch(scope="run", value=root, by="saferun", since=now)
        return told

    def approve(self, call: Call, told: Rehearsed, now: int) -> Rehearsed:
        """The same call once a person has said yes: controls are tried again, and then it starts.

        What the person was told of is overridden; what objects only now is not.
        """
        asked = frozenset(reason.id for reason in told.reasons if reason.effect == "ask")
        verdict = "allow" if told.ruling.verdict == "ask" else told.ruling.verdict
        tried = admit(
            verdict, told.reasons, told.due, self._group, now, call=told.number, overridden=asked
        )
        if tried.verdict == "allow":
            self._start(call, told, tried, now, answered="loops" in asked)
        control = tried.reasons[0].id if tried.verdict != "allow" else None
        return replace(
            told,
            verdict=tried.verdict,
            reasons=tried.reasons,
            control=control,
            shadow=(*told.ruling.shadow, *tried.shadow),
        )

    def end(self, call: Call, told: Rehearsed, outcome: Outcome, now: int) -> None:
        """Say what came of a call that was let start. Does nothing for one that was not."""
        started = self._started.pop(told.number, None)
        if started is None:
            return
        began, held_of = started
        due, tool = told.due, told.ruling.tool
        data = canonical.encode(outcome.result) if outcome.status == "ok" else None
        cost = None
        if tool.cost is not None and data is not None:
            held = told.ruling.cost(call, self.facts(call, now)) or 0
            cost = tool.cost.true(data, held)
        for hold, by in settled(held_of, outcome.status, cost, releasable=tool.releasable):
            group = self._groups.setdefault(hold.key, {})
            name = hold.limit.name
            group[name] = limits.corrected(hold.limit, group.get(name), by, began, now)
        if due.breaker is not None:
            group = self._groups.setdefault(due.health, {})
            group[HEALTH] = breakers.completed(
                due.breaker,
                health(group),
                now,
                call=told.number,
                seed=0,
                failed=None if outcome.status in ("cancelled", "not_started") else data is None,
                latency=outcome.latency,
                cost=cost or 0,
            )
        if told.sign is not None:
            found = echo(outcome.status, data, outcome.error, _digest)
            self._trail(call).ended(told.number, found, now)

    def facts(self, call: Call, now: int) -> Facts:
        """What is known beside a call at that time."""
        past = None
        if call.run is not None:
            past = self._pasts.setdefault(call.run.root, Past(began=now))
        return Facts(now=now, environment=self._environment, past=past)

    def spend(self, call: Call, cost_usd: float, now: int) -> None:
        """A model turn has cost that many dollars, in the run that `call` is made in."""
        if call.run is None:
            return
        root = call.run.root
        past = self._pasts.setdefault(root, Past(began=now))
        self._pasts[root] = replace(past, cost_usd=past.cost_usd + cost_usd)
        spent = self.policy.spent(call.run, micro(cost_usd), Groups())
        self._move(counted(spent, self._group, now))

    def begin(self, run: RunRef, prompt: Any, now: int, unkept: Container[str] = ()) -> None:
        """A run begins, with the prompt that is known of it, if it is not among the `unkept`."""
        if run.parent is None:
            past = self._pasts.setdefault(run.root, Past(began=now))
            self._pasts[run.root] = replace(past, said=begun(past.said, prompt, unkept))

    def told(self, call: Call, now: int) -> None:
        """The user has said something in the run that `call` is made in."""
        self._trail(call).told(now)

    def hear(self, run: RunRef, text: Any, now: int) -> None:
        """What a person has said in a run, as far as it is known."""
        past = self._pasts.setdefault(run.root, Past(began=now))
        self._pasts[run.root] = replace(past, said=heard(past.said, text))

    def _due(self, call: Call, ruling: Ruling, facts: Facts) -> tuple[Sign | None, Due]:
        tool = ruling.tool
        compared, finding, retry = None, None, False
        if tool.loops is not None:
            data = canonical.encode(ruling.args)
            compared = sign(call.tool, data, _digest)
            trail = self._trail(call)
            finding = trail.check(
                tool.loops, compared, facts.now, poll=tool.poll, effect=tool.effect
            )
            retry = trail.retried(compared)
        tenant = call.run.tenant if call.run is not None else None
        due = Due(
            charges=ruling.due(call, facts, Groups()),
            breaker=tool.breaker,
            health=(call.tool, tenant),
            about=(("tool", call.tool),),
            retry=retry,
            loop=finding,
        )
        return compared, due

    def _tried(self, call: Call, ruling: Ruling, due: Due, now: int, number: int) -> Admission:
        stopped = None if call.run is None else self._stopped.get(call.run.root)
        return admit(
            ruling.verdict,
            ruling.reasons,
            due,
            self._group,
            now,
            mode=ruling.mode,
            call=number,
            stopped=stopped,
        )

    def _group(self, key: Any) -> Mapping[str, Any]:
        return self._groups.get(key, {})

    def _trail(self, call: Call) -> Trail:
        return self._trails.setdefault(call.run.root if call.run is not None else "", Trail())

    def _move(self, moves: Any) -> None:
        for move in list(moves):
            self._groups.setdefault(move.key, {})[move.name] = move.state

    def _start(
        self, call: Call, told: Rehearsed, tried: Admission, now: int, *, answered: bool
    ) -> None:
        self._move(tried.moves)
        # Where it started in spite of a denial, nothing was counted that could be corrected.
        held_of = holds(told.due, tried.shadow) if tried.verdict == "allow" else ()
        self._started[told.number] = (now, held_of)
        if told.sign is not None:
            trail = self._trail(call)
            if answered:
                trail.answered(told.sign)
            trail.started(told.sign, told.number, now)
        if call.run is not None:
            past = self._pasts.setdefault(call.run.root, Past(began=now))
            tools = past.tools
            if call.tool not in tools:
                tools = tuple(sorted((*tools, call.tool)))
            self._pasts[call.run.root] = replace(past, calls=past.calls + 1, tools=tools)


def _digest(data: bytes) -> bytes:
    # Nothing of it is kept, so it need not be keyed.
    return hashlib.blake2b(data, digest_size=16).digest()


def _denied_anyway(ruling: Ruling) -> bool:
    """Whether something denies that is no rule which could not be evaluated."""
    return any(reason.effect == "deny" and not reason.failed for reason in ruling.reasons)
