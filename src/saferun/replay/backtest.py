"""Backtests: every recorded call decided once more, by another policy.

The calls are taken in the order in which they were made, and the candidate's controls go along
with them: what it lets through counts, and what it denies or cannot decide counts towards
nothing, whatever became of the call when it was made. Where it asks and the call did run, the
person is taken to have said yes. Nothing acts: this is `saferun.rehearsal` over a history.

A trace has no times. The calls of each of its runs are a second apart, from `START` on.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Outcome, RunRef, Verdict, canonical
from saferun.ledger import Blobs, Entry, Openings
from saferun.policy import Policy
from saferun.rehearsal import Rehearsal, Rehearsed, Told
from saferun.replay import large
from saferun.replay.trace import Said, TracedRun
from saferun.said import by_people

START = 1_735_689_600_000_000
"""Midnight of 1 January 2025, UTC, in microseconds since 1970: when the runs of traces begin."""

APART = 1_000_000
"""Microseconds from one call of a trace to the next."""

UNREAD = "args"
"""What is missing where the recorded arguments were redacted or erased, or are no longer held."""


class Redecided(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded call, decided once more.

    `index` counts the calls of its run from 0. `recorded` is the verdict that it had, `ask`
    whatever the person then said, and None where nobody decided on it. `missing` names the
    inputs for want of which the verdict is `unknown`. `spoke` and `before` are the rules that
    speak now, by their effect, and those that spoke then; `shadow` are rules and limits in shadow
    that would have spoken. `malicious` is what the trace's labels
    say of the call, and `attacked` of its run; None where they do not.
    """

    run_id: str | None
    index: int
    call_id: str | None
    tool: str
    verdict: Told
    control: str | None
    recorded: Verdict | None
    missing: tuple[str, ...]
    spoke: tuple[tuple[str, Verdict], ...]
    before: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    malicious: bool | None = None
    attacked: bool | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        """The ids of all that speaks now, the strongest first."""
        return tuple(name for name, _ in self.spoke)

    @property
    def newly(self) -> Told | None:
        """What the verdict changed to, None where it did not, or nobody can tell."""
        if self.recorded is None or self.verdict in ("unknown", self.recorded):
            return None
        return self.verdict


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever backtests knows of the runs, for those that do not say it themselves."""

    agent: str | None = None
    user: Mapping[str, Any] = {}
    tenant: str | None = None
    context: Mapping[str, Any] = {}

    def fill(self, run: RunRef) -> RunRef:
        return replace(
            run,
            agent=run.agent if run.agent is not None else self.agent,
            user={**self.user, **run.user},
            tenant=run.tenant if run.tenant is not None else self.tenant,
            context={**self.context, **run.context},
        )


def _every(_: RunRef | None) -> bool:
    return True


class Backtest:
    """A policy and how recorded calls are put before it.

    Args:
        policy: the candidate.
        environment: what `environment` is to its conditions and scopes.
        given: what is known of all runs beside what they say themselves.
        wanted: which runs count; it is asked with None for calls that belong to no run.

    """

    def __init__(
        self,
        policy: Policy,
        *,
        environment: str | None = None,
        given: Given | None = None,
        wanted: Callable[[RunRef | None], bool] = _every,
    ) -> None:
        self.policy = policy
        self._environment = environment
        self._given = given or Given()
        self._wanted = wanted

    def trace(self, runs: Iterable[TracedRun]) -> Iterator[Redecided]:
        """The calls of one trace file. Runs of two files never count together."""
        rehearsal = self._rehearsal()
        for run in runs:
            # Two lines are two runs, whatever they call themselves.
            about = self._given.fill(
                RunRef(
                    run_id=run.run_id,
                    root=f"{run.line}",
                    parent=run.parent,
                    agent=run.agent,
                    user=run.user,
                    tenant=run.tenant,
                    context=run.context,
                )
            )
            if self._wanted(about):
                yield from _traced(rehearsal, run, about)

    def history(
        self,
        entries: Iterable[Entry],
        blobs: Blobs,
        since: int = 0,
        openings: Openings | None = None,
    ) -> Iterator[Redecided]:
        """The calls in a ledger, given its entries in their order.

        `blobs` finds arguments that lie beside it, and `openings` those that are sealed. `since`
        is in microseconds since 1970, UTC; what was decided before counts towards nothing.
        """
        reading = _History(self._rehearsal(), self._rehearsal(), self._given, blobs, openings)
        for entry in entries:
            told = reading.take(entry, wanted=self._wanted, since=since)
            if told is not None:
                yield told

    def _rehearsal(self) -> Rehearsal:
        return Rehearsal(self.policy, self._environment)


def _traced(rehearsal: Rehearsal, run: TracedRun, about: RunRef) -> Iterator[Redecided]:
    now = START
    rehearsal.begin(about, run.prompt, now)
    for step in run.steps:
        if isinstance(step, Said):
            turn = Call(tool="", args={}, run=about)
            if step.cost_usd is not None:
                rehearsal.spend(turn, step.cost_usd, now)
            if step.by == "user":
                rehearsal.told(turn, now)
            if step.by == "user" and run.parent is None:
                rehearsal.hear(about, step.content, now)
            continue
        call = Call(
            tool=step.tool,
            args=step.args,
            call_id=step.call_id,
            run=about,
            problems=step.problems,
        )
        told = rehearsal.decide(call, now)
        if step.ran:
            _said_yes(rehearsal, call, told, now)
            rehearsal.end(call, told, Outcome(status="ok", result=step.result), now)
        yield _redecided(
            call,
            step.index,
            told,
            malicious=None if run.malicious is None else step.call_id in run.malicious,
            attacked=run.attacked,
        )
        now += APART


def _said_yes(rehearsal: Rehearsal, call: Call, told: Rehearsed, now: int) -> None:
    # In shadow a call that would be asked about has started already.
    if told.verdict == "ask" and told.ruling.mode == "enforce":
        rehearsal.approve(call, told, now)


def _redecided(
    call: Call,
    index: int,
    told: Rehearsed,
    *,
    recorded: Verdict | None = None,
    before: tuple[str, ...] = (),
    malicious: bool | None = None,
    attacked: bool | None = None,
) -> Redecided:
    return Redecided(
        run_id=call.run.run_id if call.run is not None else None,
        index=index,
        call_id=call.call_id,
        tool=call.tool,
        verdict=told.verdict,
        control=told.control,
        recorded=recorded,
        missing=told.missing,
        spoke=tuple((reason.id, reason.effect) for reason in told.reasons),
        before=before,
        shadow=tuple(reason.id for reason in told.shadow if not reason.failed),
        malicious=malicious,
        attacked=attacked,
    )


class _Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded call, and what became of it then."""

    call: Call
    index: int
    recorded: Verdict | None
    before: tuple[str, ...] = ()
    unread: bool = False
    ran: bool = False


class _History:
    """A ledger being read, and what is known at each of its entries.

    Calls that were brought in from elsewhere are rehearsed on their own: what an imported file
    says happened counts towards nothing that really did.
    """

    def __init__(
        self,
        lived: Rehearsal,
        imported: Rehearsal,
        given: Given,
        blobs: Blobs,
        openings: Openings | None,
    ) -> None:
        self._lived = lived
        self._imported = imported
        self._given = given
        self._blobs = blobs
        self._openings = openings
        self._runs: dict[str, RunRef] = {}
        self._counted: Counter[str | None] = Counter()
        self._asked: dict[str, tuple[Call, Rehearsed] | None] = {}
        self._begun: dict[int, tuple[Call, Rehearsed]] = {}

    def take(
        self, entry: Entry, *, wanted: Callable[[RunRef | None], bool], since: int
    ) -> Redecided | None:
        """The call that an entry states, decided once more; None where it states none."""
        fields, now = entry.fields, entry.time
        if entry.kind == "run" and fields["event"] == "start":
            run = self._runs[fields["run"]] = self._given.fill(self._begun_as(fields))
            self._of(run).begin(run, fields.get("prompt"), now, fields.get("unkept", ()))
        elif entry.kind == "model" and now >= since:
            if fields.get("cost_usd") is not None:
                self._lived.spend(self._turn(fields), fields["cost_usd"], now)
        elif entry.kind == "user":
            turn = self._turn(fields)
            self._lived.told(turn, now)
            if turn.run is not None and by_people(turn.run):
                self._of(turn.run).hear(turn.run, fields.get("text"), now)
        elif entry.kind in ("outcome", "recovery"):
            self._ended(fields, now)
        elif entry.kind == "decision" and fields.get("approval") in self._asked:
            self._answered(entry)
        elif entry.kind in ("decision", "call"):
            taken = self._taken(entry)
            if now >= since and wanted(taken.call.run):
                rehearsal = self._imported if entry.kind == "call" else self._lived
                return self._decided(rehearsal, taken, entry)
        return None

    def _of(self, run: RunRef) -> Rehearsal:
        return self._imported if run.imported else self._lived

    def _begun_as(self, fields: Mapping[str, Any]) -> RunRef:
        """A run as its first entry states it, without what was not kept of it."""
        return RunRef(
            run_id=fields["run"],
            root=fields.get("root") or fields["run"],
            parent=fields.get("parent"),
            agent=fields.get("agent"),
            user=self._kept(fields, "user"),
            tenant=fields.get("tenant"),
            context=self._kept(fields, "context"),
        )

    def _kept(self, fields: Mapping[str, Any], key: str) -> dict[str, Any]:
        said = self._found(fields, key)
        if not isinstance(said, dict):
            return {}
        return {
            name: value
            for name, value in said.items()
            if not unread({name: value}) and not large.left(fields, {name: value})
        }

    def _turn(self, fields: Mapping[str, Any]) -> Call:
        """What stands for a step of a run that is no call."""
        return Call(tool="", args={}, run=self._runs.get(fields.get("run", "")))

    def _decided(self, rehearsal: Rehearsal, taken: _Taken, entry: Entry) -> Redecided:
        now, approval = entry.time, entry.fields.get("approval")
        if taken.unread:
            return Redecided(
                run_id=taken.call.run.run_id if taken.call.run is not None else None,
                index=taken.index,
                call_id=taken.call.call_id,
                tool=taken.call.tool,
                verdict="unknown",
                control=None,
                recorded=taken.recorded,
                missing=(UNREAD,),
                spoke=(),
                before=taken.before,
            )
        told = rehearsal.decide(taken.call, now)
        if taken.ran:
            _said_yes(rehearsal, taken.call, told, now)
            self._begun[entry.seq] = (taken.call, told)
            if entry.kind == "call":
                # A call that was brought in came with its end.
                self._ended({**entry.fields, "of": entry.seq}, now, rehearsal)
        elif approval is not None:
            self._asked[approval] = (taken.call, told)
        return _redecided(
            taken.call, taken.index, told, recorded=taken.recorded, before=taken.before
        )

    def _answered(self, entry: Entry) -> None:
        """A person has answered about a call that is decided already: it starts now, or never."""
        waiting = self._asked.pop(entry.fields["approval"])
        if waiting is not None and entry.fields["verdict"] == "allow":
            _said_yes(self._lived, *waiting, entry.time)
            self._begun[entry.seq] = waiting

    def _ended(
        self, fields: Mapping[str, Any], now: int, rehearsal: Rehearsal | None = None
    ) -> None:
        """What came of a call then is what comes of it now, where it would have started."""
        begun = self._begun.pop(fields["of"], None)
        if begun is None:
            return
        error = self._found(fields, "error")
        outcome = Outcome(
            status=fields["status"],
            result=self._found(fields, "result"),
            error=error if error is None or isinstance(error, str) else "",
            latency=fields.get("latency", 0),
        )
        (rehearsal or self._lived).end(*begun, outcome, now)

    def _taken(self, entry: Entry) -> _Taken:
        fields = entry.fields
        run_id = fields.get("run")
        index = self._counted[run_id]
        self._counted[run_id] += 1
        # What policy changed is put before the candidate as it came.
        key = "given" if "given" in fields else "args"
        args = self._found(fields, key)
        written = isinstance(args, dict)
        call = Call(
            tool=fields["tool"],
            args=args if written else {},
            call_id=fields.get("call"),
            run=self._run_of(run_id),
            opaque=fields.get("opaque", {}),
            problems=() if written else ("the arguments are no JSON object",),
        )
        lacking = (
            unread(args)
            or large.named({**fields, key: args}, key) is not None
            or bool(large.left(fields, args))
        )
        if entry.kind == "call":
            ran = fields.get("status") == "ok"
            return _Taken(call=call, index=index, recorded=None, unread=lacking, ran=ran)
        approval = fields.get("approval")
        if approval is not None:
            self._asked[approval] = None
        return _Taken(
            call=call,
            index=index,
            recorded="ask" if approval is not None else fields["verdict"],
            before=tuple(reason["id"] for reason in fields.get("reasons", ())),
            unread=lacking,
            ran=fields["verdict"] == "allow" or fields.get("mode", "enforce") != "enforce",
        )

    def _found(self, fields: Mapping[str, Any], key: str) -> Any:
        return large.found(fields, key, self._blobs, self._openings)

    def _run_of(self, run_id: str | None) -> RunRef | None:
        if run_id is None:
            return None
        known = self._runs.get(run_id)
        return known or self._given.fill(RunRef(run_id=run_id, root=run_id))


def unread(value: Any) -> bool:
    """Whether some of a value is not what it was: redacted, or too large to be kept at all.

    Whoever wrote the value can have written the marker as well. Their call is then one that
    cannot be decided, and counted as such.
    """
    if isinstance(value, dict) and "$omitted" in value:
        return True
    return b"[redacted: " in canonical.encode(value)
