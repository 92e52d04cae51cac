"""The gate: the path of every guarded call.

    decide → (approve) → admit → the tool runs → settle

`Gate.check` goes the first three steps and `Gate.settle` the last. What is decided on the
way is decided by `policy` and `admission`, what must last is kept by `store`, and whom to
ask is `approval`'s; the gate only leads a call through them, in this order, and turns
whatever goes wrong into a denial.

The path is written once, as a generator that yields what has to be waited for: work for the
store or a question for people. `check` waits by blocking and `acheck` by awaiting.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from saferun import approval, config, inquiry, narration, record, redact, resolve, written
from saferun import policy as policies
from saferun.approval import Channel, Question, Vote
from saferun.call import Call, Decision, Facts, Outcome, Reason, RunRef, canonical
from saferun.choice import Choice, Choices
from saferun.config import Config
from saferun.control import Sign
from saferun.errors import SafeRunError
from saferun.following import follow
from saferun.inquiry import Check, Inquiry, Recovered
from saferun.listening import tell
from saferun.outside import here
from saferun.policy import Policy, Ruling
from saferun.record import Pending
from saferun.recording import Debt, Recording
from saferun.run import Run, record_by_default
from saferun.store import (
    Admit,
    Admitted,
    Answer,
    Append,
    FindOut,
    Followed,
    Look,
    PastOf,
    Settle,
    Store,
)
from saferun.store.shared import shared_store
from saferun.waiting import OverdueError, aside

log = logging.getLogger("saferun")

LEASE = 60.0
"""Seconds that an admitted call has to start in; past it, it is decided again."""

T = TypeVar("T")

Step: TypeAlias = Admit | Answer | PastOf | Question | Followed | Inquiry | FindOut
Deciding: TypeAlias = Generator[Step, Any, Decision]

_NOTHING: frozenset[str] = frozenset()


class Gate:
    """One policy, one store and the channels to ask by: everything a call passes.

    Args:
        policy: the policy to decide by: a name (`policies/NAME.yaml` of the configuration),
            the path of a file, or a loaded `Policy`. None takes `policy` from the
            configuration; with none there either, calls are recorded, and only loops, breakers
            and stop switches deny any.
        store: the store, or its URL; that of the configuration by default.
        approvals: how people are asked: a channel, or the name of one; that of the
            configuration by default. With none there, what asks is denied.
        settings: the configuration; the one that holds in the working folder by default.

    Raises:
        PolicyError: the policy cannot be found or used.
        ConfigError: the configuration cannot be used, or there is no such channel.

    """

    def __init__(
        self,
        *,
        policy: str | Path | Policy | None = None,
        store: str | Store | None = None,
        approvals: str | Channel | None = None,
        settings: Config | None = None,
    ) -> None:
        self.config = settings or config.load()
        self._channel = _channel(approvals, self.config)
        self._given = store
        self._store = store if isinstance(store, Store) else None
        following = follow(policy, self.config, self._file)
        self._choices = None if following is None else Choices(following, self._file)
        self.recorder = Recording(self.config, self._choices, lambda: self.store)
        """What runs record by, and what is known of them here."""
        self._unsettled: dict[int, Pending] = {}

    @property
    def policy(self) -> Policy | None:
        """The version that runs begin with at this moment, None where calls are only recorded."""
        return None if self._choices is None else self._choices.following.standing.live

    @property
    def store(self) -> Store:
        """The store, opened at its first use. Raises StoreError where it cannot be."""
        if self._store is None:
            # Two threads that meet here are given the same one.
            url = self._given if isinstance(self._given, str) else self.config.store
            self._store = shared_store(url, self.config)
        return self._store

    def check(self, call: Call, *, verify: Check | None = None) -> Decision:
        """Decide one call, durably, before it happens.

        Returns the decision; the tool may run if, and only if, `decision.starts`. Whoever
        runs it must `settle` the decision afterwards, whatever came of it. Never raises
        but for interrupts: what goes wrong inside the gate is a denial.

        `verify` is the tool's own check, asked where the same call was made before and nobody
        knows what became of it; see `guard`. What it has found out is the call's outcome from
        then on, and one that never happened may start after all.
        """
        return self._waiting(self._path(call, verify))

    async def acheck(self, call: Call, *, verify: Check | None = None) -> Decision:
        """`check`, awaiting instead of blocking."""
        return await self._awaiting(self._path(call, verify))

    def recover(self, tool: str, verify: Check) -> Recovered:
        """Have a tool's own check say what became of its calls of which nobody knows.

        Returns what it has made of them. A call that has not happened may be made again under
        its own call id. Raises StoreError where the store cannot be used.
        """
        return self._waiting(self._recovering(tool, verify))

    async def arecover(self, tool: str, verify: Check) -> Recovered:
        """`recover`, awaiting instead of blocking."""
        return await self._awaiting(self._recovering(tool, verify))

    def settle(self, decision: Decision, outcome: Outcome) -> None:
        """Append what came of a call that `check` let start. Does nothing the second time.

        Never raises: the effect has happened, and the caller is owed its result. Where the
        outcome cannot be written now, it is kept and written first; until then no further
        call is let through.
        """
        work = self._settlement(decision, outcome)
        if work is None:
            return
        if self.store.outcomes_ride or outcome.status == "cancelled":
            # A cancelled caller must not be kept waiting, and a finalizer must not lock.
            self._owe(work)
            return
        try:
            self.store.commit(work)
        except Exception as problem:  # noqa: BLE001 - see above
            self._latch(work, problem)

    async def asettle(self, decision: Decision, outcome: Outcome) -> None:
        """`settle`, awaiting instead of blocking."""
        work = self._settlement(decision, outcome)
        if work is None:
            return
        if self.store.outcomes_ride or outcome.status == "cancelled":
            self._owe(work)
            return
        try:
            await self.store.acommit(work)
        except Exception as problem:  # noqa: BLE001 - see `settle`
            self._latch(work, problem)

    def opaque(self, tool: str, run: RunRef | None) -> frozenset[str]:
        """The arguments of a tool that policy has passed on unread, in a call of that run."""
        policy = self.policy
        if policy is None or not policy.passes_unread:
            return _NOTHING
        return policy.entry(Call(tool=tool, args={}, run=run), self.config.environment).opaque

    def run(self, **about: Any) -> Run:
        """A run that records through this gate; the arguments of `saferun.run`."""
        return Run(recorder=self.recorder, **about)

    def close(self) -> None:
        """Write what is still owed and let go of the store."""
        if self._store is not None:
            self._store.close()

    def _file(self) -> Path:
        """Where the store lies, which need not be open. Raises ConfigError where it is none."""
        if self._store is not None:
            return self._store.path
        return config.sqlite_path(
            self._given if isinstance(self._given, str) else self.config.store
        )

    # The two ways to wait for the steps of a path.

    def _waiting(self, path: Generator[Step, Any, T]) -> T:
        try:
            step = next(path)
            while True:
                try:
                    if isinstance(step, Question):
                        done: Any = self._ask(step)
                    elif isinstance(step, Inquiry):
                        done = step.ask()
                    elif isinstance(step, Followed):
                        step.read()
                        done = None
                    else:
                        done = self.store.commit(step)
                except BaseException as problem:  # noqa: BLE001 - the path decides what it means
                    step = path.throw(problem)
                else:
                    step = path.send(done)
        except StopIteration as end:
            told: T = end.value
            return told

    async def _awaiting(self, path: Generator[Step, Any, T]) -> T:
        try:
            step = next(path)
            while True:
                try:
                    if isinstance(step, Admit):
                        unwanted = partial(self._unwanted, step)
                        done: Any = await self.store.acommit(step, unwanted)
                    elif isinstance(step, Question):
                        done = await aside(partial(self._ask, step))
                    elif isinstance(step, Inquiry):
                        done = await step.aask()
                    elif isinstance(step, Followed):
                        done = await aside(step.read)
                    else:
                        done = await self.store.acommit(step)
                except BaseException as problem:  # noqa: BLE001 - the path decides what it means
                    step = path.throw(problem)
                else:
                    step = path.send(done)
        except StopIteration as end:
            told: T = end.value
            return told

    # The path.

    def _path(self, call: Call, verify: Check | None) -> Deciding:
        debt: Debt | None = None
        try:
            debt = self.recorder.debt(call)
            decision = yield from self._decided(call, debt)
            if (
                verify is not None
                and decision.outcome is not None
                and decision.outcome.status == "unknown"
                and (yield from self._found_out(decision, verify))
            ):
                decision = yield from self._decided(call, debt)
        except Exception as problem:  # noqa: BLE001 - the gate never becomes the incident
            log.error("saferun could not decide on %s: %s", call.tool, problem)
            decision = _unavailable(call, self.policy)
        if debt is not None:
            # A call that was decided before counts nothing, and neither does one that failed.
            debt.give_back()
        tell(decision)
        return decision

    def _decided(self, call: Call, debt: Debt | None) -> Deciding:
        store = self.store
        opening, groups = self.recorder.of(call.run)
        followed = store.trails.of(call.run.root) if call.run is not None else here(store)
        patience = self.config.approval.timeout
        admit: Admit | None = None
        asked: Admitted | None = None
        while True:
            if admit is None:
                choice = self._choices.of(call.run, store) if self._choices is not None else None
                facts = yield from self._facts(call, choice)
                ruling = self._ruling(call, facts, choice)
                admit, sign = record.admission(
                    call,
                    ruling,
                    facts,
                    store,
                    opening,
                    patience=patience,
                    groups=groups,
                    owes=self.recorder.owed(call, debt, groups),
                    followed=followed,
                    other=_other(call, facts, choice),
                    keeps=choice.keeps if choice is not None else (),
                    pin=choice.pin if choice is not None else None,
                )
                if asked is not None:
                    # What was answered is for this call, whoever would ask about it by now.
                    admit = self._asking(call, ruling, admit, asked)
            admitted: Admitted = yield admit
            if debt is not None and admitted.paid:
                debt.paid()
            if choice is not None and choice.new:
                assert self._choices is not None
                self._choices.recorded(call.run, choice, admitted.pinned, store.now())
            if admitted.again == "version":
                # The run began with another version, and is decided by that.
                admit = None
                continue
            if admitted.again == "trail":
                # The run has gone on elsewhere: what it did there is read before it is judged.
                yield followed
                admit = None
                continue
            if admitted.again == "request":
                admit = self._asking(call, ruling, admit, asked)
                continue
            if admitted.verdict != "ask" or admitted.mode != "enforce":
                break
            admit = _joined(admit, admitted)
            yield from self._answered(call, ruling, admit, admitted)
            asked = admitted
            if choice is not None and self._choices is not None:
                if self._choices.superseded(choice):
                    # Somebody may have answered what an urgent version would not even ask.
                    admit, asked = None, None
                elif choice.asks_past:
                    # While they thought, the run went on: its past is another one by now.
                    admit = None
        if sign is not None and admitted.at:
            # A decision that was only repeated is no further call.
            _remember(followed, sign, admit, admitted)
        if admitted.starts:
            self._unsettled[admitted.seq] = Pending(
                ruling.tool,
                admit,
                admitted.holds,
                admitted.at,
                ruling.cost(call, facts) or 0,
                None if sign is None else followed,
            )
        return self._decision(call, ruling, admit, admitted)

    def _found_out(self, decision: Decision, verify: Check) -> Generator[Step, Any, bool]:
        """Have the tool's own check say what became of a call. Whether anybody knows now."""
        assert decision.seq is not None
        try:
            call = inquiry.standing(self.store, decision.seq)
            if call is None:
                # Somebody has settled it meanwhile.
                return True
            if call.alive:
                return False
            # The arguments are those that were decided on: the call is the same by their digest.
            happened = yield Inquiry(
                *(decision.seq, decision.tool, verify, decision.args, decision.idempotency_key)
            )
            if happened is None:
                return False
            yield inquiry.settling(decision.seq, happened)
        except Exception as problem:  # noqa: BLE001 - what nobody can find out stays unknown
            log.error("saferun could not verify entry %s: %s", decision.seq, problem)
            return False
        return True

    def _recovering(self, tool: str, verify: Check) -> Generator[Step, Any, Recovered]:
        self.store.recover()
        tally = inquiry.Tally()
        silent = False
        for asked in inquiry.of_tool(tool, verify, self.store, self._idempotency_key):
            if not isinstance(asked, Inquiry) or silent:
                tally.note(asked if isinstance(asked, int) else asked.of, None)
                continue
            try:
                happened = yield asked
            except OverdueError:
                # It would not answer to the next question either, and there may be many.
                log.error("saferun: the check of %s takes too long; it is asked no more", tool)
                happened, silent = None, True
            if happened is None or (yield inquiry.settling(asked.of, happened)) is not None:
                tally.note(asked.of, happened)
        return tally.told()

    def _decision(self, call: Call, ruling: Ruling, admit: Admit, admitted: Admitted) -> Decision:
        """What the caller gets to know of what was decided."""
        seq, tool = admitted.seq, ruling.tool
        mode = admitted.mode or ruling.mode
        wait = None
        if admitted.frees_at is not None:
            wait = max(0, admitted.frees_at - self.store.now()) / 1e6
        return Decision(
            verdict=admitted.verdict,
            tool=call.tool,
            args=ruling.args,
            reasons=admitted.reasons,
            mode=mode,
            modified=ruling.modified,
            given=call.args if ruling.modified else None,
            policy=ruling.policy,
            run_id=call.run.run_id if call.run is not None else None,
            call_id=call.call_id,
            seq=seq,
            digest=admit.entry.digest,
            approval_id=admitted.approval_id,
            nudge=admitted.nudge,
            starts=admitted.starts,
            start_by=time.monotonic() + LEASE,
            idempotency_key=self._idempotency_key(admit.key, seq),
            key=admit.key,
            outcome=admitted.outcome,
            frees_at=admitted.frees_at,
            retry_after=wait,
            timeout=None if tool.timeout is None or mode != "enforce" else tool.timeout / 1e6,
            idempotent=tool.idempotent,
        )

    def _asking(self, call: Call, ruling: Ruling, admit: Admit, asked: Admitted | None) -> Admit:
        """The admission with a question, where a control wants a person asked.

        It is the one that was `asked` already, if one was.
        """
        if admit.request is None:
            nobody = self._nobody()
            if nobody is not None:
                return msgspec.structs.replace(admit, nobody=_unanswerable(nobody))
            shown = canonical.encode(admit.entry.args)
            patience = self.config.approval.timeout
            _, groups = self.recorder.of(call.run)
            question = record.request(
                call, ruling, admit.entry, shown, self.store, groups, patience
            )
            admit = msgspec.structs.replace(admit, request=question)
        return admit if asked is None else _joined(admit, asked)

    def _answered(
        self, call: Call, ruling: Ruling, admit: Admit, admitted: Admitted
    ) -> Generator[Step, Any, None]:
        """Ask, and record the answer. What becomes of it is for the next admission to say."""
        assert admit.request is not None
        assert self._channel is not None
        asked = admit.request.id
        entry = msgspec.structs.replace(admit.request.entry, id=asked, channel=self._channel.name)
        store = self.store
        # What the policy itself keeps from being shown is its author's choice, and known to
        # whoever approves; what only looks like a secret is not.
        meant = redact.blanked(ruling.args, written.under(ruling.tool.redact, "args"))
        shown = redact.value(meant)
        question = Question(
            id=asked,
            tool=call.tool,
            args=shown,
            hidden=tuple(name for name in meant if shown.get(name) != meant[name]),
            run=narration.shown(call.run) if call.run is not None else None,
            reasons=admitted.reasons,
            groups=ruling.groups,
            effect=ruling.tool.effect,
            policy=ruling.policy,
            digest=admit.entry.digest or "",
            seconds=admit.request.deadline / 1e6,
            still_open=lambda: store.commit(Look(asked)) == "pending",
        )
        try:
            vote: Vote | None = yield question
        except Exception as problem:  # noqa: BLE001 - a channel that fails is nobody's yes
            log.error("saferun could not ask about %s: %s", call.tool, problem)
            vote = None
        except BaseException:
            # The caller is gone; nobody shall approve a call that nothing waits for.
            yield Answer(asked, "cancelled", entry)
            raise
        if vote is None:
            yield Answer(asked, "expired", entry)
            return
        told = msgspec.structs.replace(
            entry,
            by=redact.text(vote.by),
            reason=None if vote.reason is None else redact.text(vote.reason),
        )
        yield Answer(asked, "approved" if vote.approved else "rejected", told)

    def _ask(self, question: Question) -> Vote | None:
        assert self._channel is not None
        return self._channel.ask(question)

    def _facts(self, call: Call, choice: Choice | None) -> Generator[Step, Any, Facts]:
        """What is known beside the call; of the past, only where the policy asks for it."""
        environment = self.config.environment
        if choice is None or not choice.asks_past or call.run is None:
            return Facts(now=self.store.now(), environment=environment)
        now, past = yield PastOf(call.run.root)
        return Facts(now=now, environment=environment, past=past)

    def _ruling(self, call: Call, facts: Facts, choice: Choice | None) -> Ruling:
        if choice is None:
            _warn_once(call.tool)
            return policies.observed(call)
        ruling = _ruled(choice.policy, call, facts)
        if ruling.verdict != "ask" or ruling.mode != "enforce":
            return ruling
        nobody = self._nobody()
        if nobody is None:
            return ruling
        reasons = (_unanswerable(nobody), *ruling.reasons)
        return msgspec.structs.replace(ruling, verdict="deny", reasons=reasons)

    def _nobody(self) -> str | None:
        """Why nobody can be asked, None where somebody can."""
        if self._channel is None:
            return "no approval channel is configured"
        return self._channel.unreachable()

    def _settlement(self, decision: Decision, outcome: Outcome) -> Settle | None:
        try:
            # Removing is what two threads cannot both do.
            pending = self._unsettled.pop(-1 if decision.seq is None else decision.seq)
        except KeyError:
            return None
        work, echo = record.settlement(decision, outcome, self.store, pending)
        if pending.followed is not None and echo is not None:
            # At once, and not when it is written: the next call is judged by it.
            pending.followed.ended(work.of, echo, self.store.now())
        return work

    def _owe(self, work: Settle | Append) -> None:
        with contextlib.suppress(SafeRunError):
            # A store that was closed has nobody left to promise anything to.
            self.store.ride(work)

    def _latch(self, work: Settle, problem: Exception) -> None:
        log.error(
            "saferun keeps an outcome that it could not write (entry %s): %s", work.of, problem
        )
        self._owe(work)

    def _unwanted(self, admit: Admit, admitted: Admitted) -> None:
        """An admission whose task was cancelled before it could start anything."""
        if admitted.starts:
            decision = Decision(
                verdict=admitted.verdict,
                tool=admit.entry.tool,
                args={},
                run_id=admit.entry.run,
                seq=admitted.seq,
                approval_id=admitted.approval_id,
                key=admit.key,
            )
            tool = policies.observed(Call(tool=decision.tool, args={})).tool
            pending = Pending(tool, admit, admitted.holds, admitted.at)
            outcome = Outcome(status="not_started")
            self._owe(record.settlement(decision, outcome, self.store, pending)[0])

    def _idempotency_key(self, key: bytes | None, seq: int) -> str:
        """Stable across repetitions of one call, and unlike that of any other call.

        A call with an id has its own keyed digest. One without cannot be repeated, so the
        number of its decision is enough, in a ledger whose name is random.
        """
        return f"saferun-{seq}-{self.store.origin[-16:]}" if key is None else f"saferun-{key.hex()}"


def _remember(followed: Followed, sign: Sign, admit: Admit, admitted: Admitted) -> None:
    """Have the run's memory know what became of a call, for the control of loops."""
    looped = any(reason.source == "loop" for reason in admitted.reasons)
    read = admit.watched is not None and admit.watched.whole
    if admitted.starts:
        answered = looped and admitted.approval_id is not None
        followed.started(sign, admitted.seq, admitted.at, answered=answered, read=read)
    elif looped and admitted.verdict == "deny":
        followed.refused(sign, admitted.seq, admitted.at, read=read)
    else:
        followed.passed()


def _ruled(policy: Policy, call: Call, facts: Facts) -> Ruling:
    """What a version says of a call, whose paths are resolved before it is asked."""
    resolved = call
    if policy.takes_paths:
        resolved = resolve.resolved(call, policy.entry(call, facts.environment).paths)
    ruling = policy.decide(resolved, facts)
    if policy.takes_paths and ruling.modified and ruling.verdict != "deny":
        final = msgspec.structs.replace(resolved, args=ruling.args)
        if resolve.resolved(final, ruling.tool.paths) is not final:
            reason = Reason(
                id=f"{ruling.tool.said.name}.args",
                effect="deny",
                source="gate",
                message="a path that the policy fills in leads somewhere else",
                line=ruling.tool.said.line,
            )
            ruling = msgspec.structs.replace(
                ruling, verdict="deny", reasons=(reason, *ruling.reasons), groups=()
            )
    if resolved is call:
        return ruling
    if ruling.mode == "shadow":
        # Shadow never changes what happens.
        return msgspec.structs.replace(ruling, args=call.args)
    return msgspec.structs.replace(ruling, modified=True)


def _other(call: Call, facts: Facts, choice: Choice | None) -> Ruling | None:
    """What the version says that is compared, if one is."""
    if choice is None or choice.other is None:
        return None
    return _ruled(choice.other, call, facts)


def _channel(given: str | Channel | None, settings: Config) -> Channel | None:
    named = given if given is not None else settings.approval.default
    if named is None:
        return None
    return approval.channel(named) if isinstance(named, str) else named


def _joined(admit: Admit, admitted: Admitted) -> Admit:
    """The admission to come back with: for the request that stands, which may be another's.

    Where the same call waits already, its caller and this one wait for the same answer.
    """
    assert admit.request is not None
    assert admitted.approval_id is not None
    if admitted.approval_id == admit.request.id:
        return admit
    request = msgspec.structs.replace(admit.request, id=admitted.approval_id)
    return msgspec.structs.replace(admit, request=request)


def _unanswerable(nobody: str) -> Reason:
    return Reason(
        id="approval",
        effect="deny",
        source="approval",
        message=f"it needs a person's approval, and {nobody}",
        error="ApprovalExpired",
    )


def _unavailable(call: Call, policy: Policy | None) -> Decision:
    """A denial in every mode: what is not on record must not happen. Names no cause."""
    reason = Reason(
        id="gate",
        effect="deny",
        source="gate",
        message="the gate could not record its decision, so nothing is let through",
        error="GateUnavailable",
    )
    return Decision(
        verdict="deny",
        tool=call.tool,
        args=call.args,
        reasons=(reason,),
        policy=policy.ref if policy is not None else None,
        run_id=call.run.run_id if call.run is not None else None,
        call_id=call.call_id,
    )


@functools.cache
def _warn_once(tool: str) -> None:
    log.warning(
        "saferun: %s has no policy; its calls are recorded, and only loops, breakers and stops "
        "deny "
        "(name one with guard(tool, policy=...) or `policy` in saferun.toml)",
        tool,
    )


@functools.cache
def configured() -> Gate:
    """The gate of the configuration alone, for runs that record before any tool is called."""
    return Gate()


def gate_for(policy: str | Policy | None, channel: str | Channel | None) -> Gate:
    """A gate of that policy and that way of asking, on the configured store."""
    if policy is None and channel is None:
        return configured()
    return Gate(policy=policy, approvals=channel)


record_by_default(lambda: configured().recorder)
