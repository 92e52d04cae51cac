"""The gate: the path of every guarded call.

    decide → (approve) → admit → the tool runs → settle

`Gate.check` goes the first three steps and `Gate.settle` the last. What is decided on the
way is decided by `policy` and `admission`, what must last is kept by `store`, and whom to
ask is `approval`'s; the gate only leads a call through them, in this order, and turns
whatever goes wrong into a denial.

The path is written once, as a generator that yields what has to be waited for: work for the
store, a question for people, or what blocks. `check` waits by blocking and `acheck` by awaiting.
"""

import contextlib
import functools
import logging
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from saferun import config, function, inquiry, record
from saferun import policy as policies
from saferun.approval import Channel, People, State, refusal
from saferun.asking import Way, ask
from saferun.call import Call, Decision, Demand, Facts, FunctionRef, Outcome, Reason, RunRef
from saferun.channel import channel
from saferun.channel.courier import Courier, courier
from saferun.choice import Choice, Choices
from saferun.config import Config
from saferun.control import Sign
from saferun.desk import Desk
from saferun.errors import ApprovalPending, ConfigError, SafeRunError, StoreError
from saferun.following import follow
from saferun.inquiry import Check, Inquiry, Recovered
from saferun.ledger import ApprovalEntry
from saferun.listening import tell
from saferun.outside import here
from saferun.policy import Policy, Ruling
from saferun.record import Asked, Pending
from saferun.recording import Debt, Recording
from saferun.ruling import changed, ruled, still_asked
from saferun.run import Run, answering, record_by_default
from saferun.store import (
    Admit,
    Admitted,
    Answer,
    Append,
    Ask,
    FindOut,
    Followed,
    Held,
    Opening,
    PastOf,
    Recorded,
    Requests,
    Settle,
    Store,
)
from saferun.store.locks import boots
from saferun.store.shared import shared_store
from saferun.waiting import OverdueError, aside

log = logging.getLogger("saferun")

LEASE = 60.0
"""Seconds that an admitted call has to start in; past it, it is decided again."""

T = TypeVar("T")


class Wait(NamedTuple):
    """Wait, for so many seconds, until a request is no longer pending at that revision."""

    request: str
    revision: int
    seconds: float


class Aside(NamedTuple):
    """Do what reads, writes or waits for long: here, or beside the loop where there is one."""

    do: Callable[[], Any]


Step: TypeAlias = Admit | Answer | PastOf | Wait | Aside | Inquiry | FindOut
Deciding: TypeAlias = Generator[Step, Any, Decision]

Ways: TypeAlias = str | Channel | Sequence[str | Channel] | None
"""How people are asked: a channel, the name of one, or several of these."""

_NOTHING: frozenset[str] = frozenset()


class Gate:
    """One policy, one store and the channels to ask by: everything a call passes.

    Args:
        policy: the policy to decide by: a name (`policies/NAME.yaml` of the configuration),
            the path of a file, or a loaded `Policy`. None takes `policy` from the
            configuration; with none there either, calls are recorded, and only loops, breakers
            and stop switches deny any.
        store: the store, or its URL; that of the configuration by default.
        approvals: how people are asked: a channel, the name of one, or several of these; those
            of the configuration by default. With none there, what asks is denied.
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
        approvals: Ways = None,
        settings: Config | None = None,
    ) -> None:
        self.config = settings or config.load()
        self._channels = _channels(approvals, self.config)
        # What is left to `saferun serve` is not to be had here, its secrets among it.
        here = self.config.approval.bring == "any"
        self._brings = tuple(each for each in self._channels if here or _stays(each))
        self._courier: Courier | None = None
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
            if answering() is not None:
                raise StoreError("A rerun answers from its record, and opens no store to write to.")
            # Two threads that meet here are given the same one.
            url = self._given if isinstance(self._given, str) else self.config.store
            self._store = shared_store(url, self.config)
        return self._store

    def check(
        self,
        call: Call,
        *,
        verify: Check | None = None,
        leaves: bool = False,
        resumes: str | None = None,
    ) -> Decision:
        """Decide one call, durably, before it happens.

        Returns the decision; the tool may run if, and only if, `decision.starts`. Whoever
        runs it must `settle` the decision afterwards, whatever came of it. Never raises
        but for interrupts: what goes wrong inside the gate is a denial.

        `verify` is the tool's own check, asked where the same call was made before and nobody
        knows what became of it; see `guard`. What it has found out is the call's outcome from
        then on, and one that never happened may start after all.

        With `leaves`, nobody waits for people here: where they have to be asked, the decision
        is `ask`, and `approval_id` the request that they have now. The call is made later, with
        that id as `resumes`, and denied where its `function` is another one by then: that uses
        up no approval.
        """
        return self._waiting(self._path(call, verify, leaves, resumes))

    async def acheck(
        self,
        call: Call,
        *,
        verify: Check | None = None,
        leaves: bool = False,
        resumes: str | None = None,
    ) -> Decision:
        """`check`, awaiting instead of blocking."""
        return await self._awaiting(self._path(call, verify, leaves, resumes))

    def taken_up(self, request: str) -> Call | Decision:
        """The call that a request is about, to be made by `check` with it as `resumes`.

        Where it has its end already, the decision that says so, with its outcome if it has one.

        Raises ApprovalPending where nobody has answered yet, and StoreError where there is no
        such request, or nothing is kept of it.
        """
        answers = answering()
        if answers is not None:
            return answers.taken_up(request)
        store = self.store
        with Requests(store.path) as requests:
            found = requests.state(request)
            if found is None:
                raise StoreError(f"There is no request {request[:40]!r}.")
            if found.state == "pending" and store.now() <= found.deadline:
                raise ApprovalPending(request)
            if found.state == "approved":
                try:
                    return requests.held(request).call
                except StoreError:
                    # Unless whoever else resumes it has started it since, and it is gone by that.
                    found = requests.state(request)
                    if found is None or found.state == "approved":
                        raise
        state: State = found.state
        key, tool = found.key, found.tool
        if state == "pending":
            entry = ApprovalEntry(id=request, event="expired")
            state = store.commit(Answer(request, "expired", entry))
            store.envelope(request).destroy()
        recorded = None if key is None else store.commit(Recorded(key))
        if recorded is not None and recorded.outcome is not None:
            return _resumed_before(request, recorded, tool)
        return Decision(
            verdict="deny",
            tool=tool,
            args={},
            reasons=(refusal(state, found.reason),),
            approval_id=request,
        )

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
        """Write what is still owed, bring what is to be asked, and let go of the store."""
        if self._courier is not None:
            self._courier.close()
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
                    if isinstance(step, Wait):
                        done: Any = self.store.feed.wait(*step)
                    elif isinstance(step, Aside):
                        done = step.do()
                    elif isinstance(step, Inquiry):
                        done = step.ask()
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
                    elif isinstance(step, Wait):
                        done = await self.store.feed.await_(*step)
                    elif isinstance(step, Aside):
                        done = await aside(step.do)
                    elif isinstance(step, Inquiry):
                        done = await step.aask()
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

    def _path(
        self, call: Call, verify: Check | None, leaves: bool, resumes: str | None
    ) -> Deciding:
        answers = answering()
        if answers is not None:
            return answers.decided(call, leaves=leaves, resumes=resumes)
        debt: Debt | None = None
        began = time.perf_counter_ns()
        names = tuple(each.name for each in self._channels)
        way = Way(names, self.config.approval.timeout, leaves)
        try:
            debt = self.recorder.debt(call)
            decision = yield from self._decided(call, debt, way, resumes)
            if (
                verify is not None
                and decision.outcome is not None
                and decision.outcome.status == "unknown"
                and (yield from self._found_out(decision, verify))
            ):
                decision = yield from self._decided(call, debt, way, resumes)
        except Exception as problem:  # noqa: BLE001 - the gate never becomes the incident
            tool = call.tool.encode(errors="backslashreplace").decode()
            log.error("saferun could not decide on %s: %s", tool, problem)
            unwritten = isinstance(problem, UnicodeEncodeError)
            decision = (_no_text if unwritten else _unavailable)(call, self.policy)
        if debt is not None:
            # A call that was decided before counts nothing, and neither does one that failed.
            debt.give_back()
        tell(decision, time.perf_counter_ns() - began)
        return decision

    def _decided(self, call: Call, debt: Debt | None, way: Way, resumes: str | None) -> Deciding:
        store = self.store
        talk = _Talk(call)
        try:
            if resumes is not None:
                try:
                    yield Aside(partial(talk.resume, resumes, call.function, store))
                except StoreError:
                    # Whoever else resumes it has started it since: this is no failure of the gate.
                    ended = yield Aside(partial(self.taken_up, resumes))
                    if not isinstance(ended, Decision):
                        raise
                    return ended
            decision = yield from self._talked(talk, debt, way)
        except BaseException:
            # Whoever calls may be gone, and waits for nothing more.
            talk.end(store)
            raise
        if talk.made or talk.asked is not None:
            yield Aside(partial(talk.end, store))
        return decision

    def _talked(self, talk: "_Talk", debt: Debt | None, way: Way) -> Deciding:
        store, call = self.store, talk.call
        opening, groups = self.recorder.of(call.run)
        followed = store.trails.of(call.run.root) if call.run is not None else here(store)
        admit: Admit | None = None
        while True:
            call = talk.call
            if admit is None:
                choice = self._choices.of(call.run, store) if self._choices is not None else None
                facts = yield from self._facts(call, choice, opening)
                ruling = self._ruling(call, facts, choice)
                if talk.asked is None:
                    ruling = self._reachable(call, ruling, way)
                    talk.reasons, talk.demands = ruling.reasons, ruling.demands
                else:
                    if talk.resumed:
                        ruling = self._stricter(call, facts, choice, ruling)
                    ruling = still_asked(ruling, talk.reasons, talk.demands)
                again = talk.asked
                asks = again is not None or _asks(ruling)
                # What policy has filled in, the function may not take either.
                unfit = talk.unfit(ruling) if asks or ruling.modified else None
                if unfit is not None:
                    ruling = _denied(ruling, unfit)
                    # Not as the call that people were asked about: that may still be made.
                    again = None if again is None else again._replace(key=None)
                admit, sign = record.admission(
                    call,
                    ruling,
                    facts,
                    store,
                    opening,
                    groups=groups,
                    again=again,
                    given=talk.given,
                    owes=self.recorder.owed(call, debt, groups),
                    followed=followed,
                    other=_other(call, facts, choice),
                    keeps=choice.keeps if choice is not None else (),
                    pin=choice.pin if choice is not None else None,
                )
                # What was answered is for this call, whoever would ask about it by now.
                if asks and unfit is None:
                    admit = yield from self._asking(call, ruling, facts, admit, way, talk)
            if admit.request is not None:
                talk.made.add(admit.request.id)
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
                yield Aside(followed.read)
                admit = None
                continue
            if admitted.again == "edited":
                assert admitted.approval_id is not None
                yield Aside(partial(talk.catch_up, admitted.approval_id, store))
                admit = None
                continue
            if admitted.again == "request":
                # What people were asked before, if they were, was something else.
                talk.asked = None
                admit = yield from self._asking(call, ruling, facts, admit, way, talk)
                continue
            if admitted.verdict != "ask" or admitted.mode != "enforce":
                break
            admit = self._joined(admit, admitted, talk)
            if way.leaves:
                assert talk.asked is not None
                yield Aside(partial(self._bring(admitted).tried, talk.asked.request))
                break
            yield from self._waited(admit, admitted, talk)
            if talk.call is not call:
                # They have changed what would run: that is decided on like any other call.
                admit = None
                continue
            if choice is not None and self._choices is not None:
                if self._choices.superseded(choice):
                    # Somebody may have answered what an urgent version would not even ask.
                    admit, talk.asked = None, None
                elif choice.asks_past or (call.run is None and self._live(choice) is not None):
                    # While they thought, the run went on: its past is another one by now. And
                    # what belongs to no run keeps no version: what holds now decides on it.
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
        return self._decision(call, ruling, admit, admitted, talk.given)

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
        tally = inquiry.Tally()
        if answering() is not None:
            # What became of a call is in the record, and no check is asked again.
            return tally.told()
        self.store.recover()
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

    def _decision(
        self,
        call: Call,
        ruling: Ruling,
        admit: Admit,
        admitted: Admitted,
        given: dict[str, Any] | None,
    ) -> Decision:
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
            modified=ruling.modified or given is not None,
            given=given if given is not None else call.args if ruling.modified else None,
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

    def _asking(
        self, call: Call, ruling: Ruling, facts: Facts, admit: Admit, way: Way, talk: "_Talk"
    ) -> Generator[Step, Any, Admit]:
        """The admission with its question: the one that people have before them, if they do."""
        nobody = self._nobody(call, way) if talk.asked is None else None
        if nobody is not None:
            return msgspec.structs.replace(admit, nobody=_unanswerable(nobody))
        _, groups = self.recorder.of(call.run)
        about, entry, again = (call, ruling, facts), admit.entry, talk.asked

        def prepared() -> tuple[Ask, People]:
            # Read now: they may be others than a moment ago, and most calls need nobody.
            people = self._desk.people
            return ask(*about, entry, self.store, groups, way, people, again), people

        asked, people = yield Aside(prepared)
        asked = msgspec.structs.replace(asked, caller=talk.caller)
        if talk.asked is not None:
            # Whether anybody may answer was seen to when they were asked.
            return msgspec.structs.replace(
                admit, request=msgspec.structs.replace(asked, came=talk.came)
            )
        talk.came = asked.binding
        nobody = people.unanswerable(asked.question)
        if nobody is not None:
            return msgspec.structs.replace(admit, request=asked, nobody=_unanswerable(nobody))
        return msgspec.structs.replace(admit, request=asked)

    def _joined(self, admit: Admit, admitted: Admitted, talk: "_Talk") -> Admit:
        """The admission to come back with: for the request that stands, which may be another's.

        Where the same call waits already, its caller and this one wait for the same answer.
        """
        assert admit.request is not None
        assert admitted.approval_id is not None
        request = admit.request
        if admitted.approval_id != request.id:
            question = msgspec.structs.replace(request.question, id=admitted.approval_id)
            envelope = self.store.envelope(admitted.approval_id)
            request = msgspec.structs.replace(request, question=question, envelope=envelope)
        talk.asked = Asked(admitted.approval_id, admit.key)
        return msgspec.structs.replace(admit, request=request)

    def _waited(
        self, admit: Admit, admitted: Admitted, talk: "_Talk"
    ) -> Generator[Step, Any, None]:
        """Wait for people. What becomes of their answer is for the next admission to say."""
        assert admit.request is not None
        asked, entry, store = admit.request.id, admit.request.entry, self.store
        self._bring(admitted)
        try:
            left = (admitted.deadline - store.now()) / 1e6
            moved = yield Wait(asked, admitted.revision, max(left, 0.0))
        except Exception as problem:  # noqa: BLE001 - what cannot be waited for is nobody's yes
            log.error("saferun could not ask about %s: %s", talk.call.tool, problem)
            moved = None
        except BaseException:
            # The caller is gone; nobody shall approve a call that nothing waits for.
            yield Answer(asked, "cancelled", entry, talk.caller, boots(store.path))
            store.feed.poke()
            raise
        if moved is None:
            yield Answer(asked, "expired", entry)
            store.feed.poke()
        elif moved.revision != admitted.revision and moved.state in ("pending", "approved"):
            # Changed, and perhaps answered as well by the time that anybody here looks.
            yield Aside(partial(talk.catch_up, asked, store))

    def _bring(self, admitted: Admitted) -> Courier:
        """Have people see what they are asked."""
        assert admitted.approval_id is not None
        # Asked for anew each time: a forked child has to hire its own.
        self._courier = courier(self.store, self._desk)
        if self._brings:
            self._courier.bring(admitted.approval_id, self._brings, self._desk)
        self.store.feed.poke()
        return self._courier

    @functools.cached_property
    def _desk(self) -> Desk:
        return Desk(self.store, self.config)

    def _facts(
        self, call: Call, choice: Choice | None, opening: Opening | None
    ) -> Generator[Step, Any, Facts]:
        """What is known beside the call; of the past, only where the policy asks for it."""
        environment = self.config.environment
        if choice is None or not choice.asks_past or call.run is None:
            return Facts(now=self.store.now(), environment=environment)
        now, past = yield PastOf(call.run.root, opening)
        return Facts(now=now, environment=environment, past=past)

    def _ruling(self, call: Call, facts: Facts, choice: Choice | None) -> Ruling:
        if choice is None:
            _warn_once(call.tool)
            return policies.observed(call)
        return ruled(choice.policy, call, facts)

    def _live(self, choice: Choice) -> Policy | None:
        """The version that holds by now, where another one decides on the run."""
        assert self._choices is not None
        live = self._choices.following.now().live
        return None if live.version == choice.policy.version else live

    def _stricter(self, call: Call, facts: Facts, choice: Choice | None, ruling: Ruling) -> Ruling:
        """The ruling on a call that was left a while ago: what holds by now may only deny it.

        A caller that waits goes on under the version of its run, as the run itself does.
        """
        live = None if choice is None else self._live(choice)
        if live is None:
            return ruling
        now = ruled(live, call, facts)
        if now.verdict != "deny" or now.mode != "enforce":
            return ruling
        return msgspec.structs.replace(ruling, verdict="deny", reasons=now.reasons, mode=now.mode)

    def _reachable(self, call: Call, ruling: Ruling, way: Way) -> Ruling:
        """The ruling, which is a denial where people have to be asked and none can be."""
        if not _asks(ruling):
            return ruling
        nobody = self._nobody(call, way)
        if nobody is None:
            return ruling
        reasons = (_unanswerable(nobody), *ruling.reasons)
        return msgspec.structs.replace(ruling, verdict="deny", reasons=reasons)

    def _nobody(self, call: Call, way: Way) -> str | None:
        """Why nobody can be asked, None where somebody can."""
        if not self._channels:
            return "no approval channel is configured"
        if way.leaves and call.opaque:
            names = ", ".join(sorted(call.opaque))
            return f"nobody could make the call later, with {names} that only this process has"
        if len(self._brings) < len(self._channels):
            # Whether people are reached is for whoever serves to find out.
            return None
        why = [each.unreachable() for each in self._channels]
        return None if None in why else why[0]

    def _settlement(self, decision: Decision, outcome: Outcome) -> Settle | None:
        try:
            # Removing is what two threads cannot both do.
            pending = self._unsettled.pop(-1 if decision.seq is None else decision.seq)
        except KeyError:
            return None
        if decision.approval_id is not None and outcome.status != "not_started":
            self.store.envelope(decision.approval_id).destroy()
        keep = self.config.record.results
        work, echo = record.settlement(decision, outcome, self.store, pending, keep)
        if pending.followed is not None and echo is not None:
            # At once, and not when it is written: the next call is judged by it.
            pending.followed.ended(work.of, echo, self.store.now())
        return work

    def _owe(self, work: Settle | Append | Answer) -> None:
        with contextlib.suppress(SafeRunError):
            # A store that was closed has nobody left to promise anything to.
            self.store.ride(work)

    def _latch(self, work: Settle, problem: Exception) -> None:
        log.error(
            "saferun keeps an outcome that it could not write (entry %s): %s", work.of, problem
        )
        self._owe(work)

    def _unwanted(self, admit: Admit, admitted: Admitted) -> None:
        """An admission whose task was cancelled before it could do anything about it."""
        asked = admit.request
        if admitted.verdict == "ask" and admitted.approval_id is not None and asked is not None:
            # It waits no longer, and nobody else may know of it.
            request, known = admitted.approval_id, boots(self.store.path)
            self._owe(Answer(request, "cancelled", asked.entry, asked.caller, known))
            if admit.key is None:
                # With others it may go on; what is over by then, the next sweep finds.
                self.store.envelope(request).destroy()
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


def _other(call: Call, facts: Facts, choice: Choice | None) -> Ruling | None:
    """What the version says that is compared, if one is."""
    if choice is None or choice.other is None:
        return None
    return ruled(choice.other, call, facts)


def _channels(given: Ways, settings: Config) -> tuple[Channel, ...]:
    named = given if given is not None else settings.approval.default
    if named is None:
        return ()
    each = [named] if isinstance(named, str) or not isinstance(named, Sequence) else named
    found = tuple(channel(way, settings) if isinstance(way, str) else way for way in each)
    odd = next((way for way in found if not callable(getattr(way, "bring", None))), None)
    if odd is not None:
        raise ConfigError(f"{odd!r} is no approval channel: it has no method bring(...)")
    names = [way.name for way in found]
    if len(set(names)) < len(names):
        raise ConfigError(f"two approval channels are called {names[0]!r}; give each its own name")
    return found


class _Talk:
    """What has been asked about one call, and what people have made of it.

    `call` is as it would run now, and `given` the arguments that it came with, where people have
    changed some. `asked` is the request that stands, and `reasons` and `demands` are those of
    policy at first. `resumed` says that it was left, and is taken up again, and `differs` how
    the function is another one since. `came` is what an answer would hold for had people
    changed nothing. `made` are the requests that were prepared here.
    """

    __slots__ = (
        *("_caller", "asked", "call", "came", "demands", "differs", "given", "made", "reasons"),
        "resumed",
    )

    def __init__(self, call: Call) -> None:
        self.call = call
        self.given: dict[str, Any] | None = None
        self.asked: Asked | None = None
        self.reasons: tuple[Reason, ...] = ()
        self.demands: tuple[Demand, ...] = ()
        self.made: set[str] = set()
        self.resumed = False
        self.differs: str | None = None
        self.came: bytes | None = None
        self._caller: str | None = None

    @property
    def caller(self) -> str:
        """Who this is among all who make the same call."""
        if self._caller is None:
            self._caller = secrets.token_hex(8)
        return self._caller

    def resume(self, request: str, runs: FunctionRef | None, store: Store) -> None:
        """Take up a call that was left, to be made by that function. Raises StoreError."""
        self.resumed = True
        with Requests(store.path) as requests:
            held = requests.held(request)
        self.take_up(request, held)
        self.differs = function.difference(held.call.function, runs)

    def take_up(self, request: str, held: Held) -> None:
        """Go on with a call as it is kept: by now, with what people have changed of it."""
        self.asked = Asked(request, held.key)
        self.reasons, self.demands = held.reasons, held.demands
        if held.edited is not None:
            self.given = held.call.args
            self.call = changed(self.call, held.edited)

    def catch_up(self, request: str, store: Store) -> None:
        """Take up what people have changed of a call, as long as it may be made.

        What has had its end since is not kept any more, and the next admission says which end.
        Raises StoreError where it is gone while people still have it before them.
        """
        with Requests(store.path) as requests:
            try:
                held = requests.held(request)
            except StoreError:
                found = requests.state(request)
                if found is None or found.state in ("pending", "approved"):
                    raise
                return
        self.take_up(request, held)

    def unfit(self, ruling: Ruling) -> str | None:
        """Why what people are asked about cannot be called here at all; None where it can."""
        if self.differs is not None or self.call.function is None or ruling.verdict == "deny":
            return self.differs
        return function.unfit(self.call.function, (*ruling.args, *self.call.opaque))

    @property
    def requests(self) -> set[str]:
        """The requests of this call."""
        return self.made | ({self.asked.request} if self.asked is not None else set())

    def end(self, store: Store) -> None:
        """Destroy what was kept of requests that have their end, or were never made."""
        if not self.requests:
            return
        with contextlib.suppress(SafeRunError), Requests(store.path) as requests:
            for request in self.requests:
                found = requests.state(request)
                # A yes that a limit has not let be used, or whose call has not started after
                # all, is good until its deadline.
                if found is None or found.state not in ("pending", "approved", "executing"):
                    store.envelope(request).destroy()


def _asks(ruling: Ruling) -> bool:
    return ruling.verdict == "ask" and ruling.mode == "enforce"


def _denied(ruling: Ruling, why: str) -> Ruling:
    """The ruling on a call that cannot be made, in whatever mode its policy is."""
    reason = Reason(id="approval", effect="deny", source="approval", message=why)
    return msgspec.structs.replace(
        ruling, verdict="deny", mode="enforce", reasons=(reason, *ruling.reasons), demands=()
    )


def _unanswerable(nobody: str) -> Reason:
    return Reason(
        id="approval",
        effect="deny",
        source="approval",
        message=f"it needs a person's approval, and {nobody}",
        error="ApprovalExpired",
    )


def _resumed_before(request: str, recorded: Admitted, tool: str) -> Decision:
    outcome = recorded.outcome
    assert outcome is not None
    known = outcome.status == "ok"
    said = "nobody knows how it ended" if outcome.status == "unknown" else outcome.status
    again = Reason(
        id="approval",
        effect="deny",
        source="approval",
        message=f"it was resumed before ({said}), and is not made again",
    )
    return Decision(
        verdict="allow" if known else "deny",
        tool=tool,
        args={},
        reasons=recorded.reasons if known else (again,),
        seq=recorded.seq,
        approval_id=request,
        outcome=outcome,
    )


def _stays(channel: Channel) -> bool:
    """Whether a channel belongs to the process that asks, such as its terminal."""
    return bool(getattr(channel, "stays", False))


def _unavailable(call: Call, policy: Policy | None) -> Decision:
    """A denial in every mode: what is not on record must not happen. Names no cause."""
    message = "the gate could not record its decision, so nothing is let through"
    return _undecided(call, policy, message, "GateUnavailable")


def _no_text(call: Call, policy: Policy | None) -> Decision:
    """A denial of what cannot be written down by anybody, in every mode. Says what is wrong."""
    message = "it holds half of a surrogate pair, which is no text, so it cannot be recorded"
    return _undecided(call, policy, message, "Denied")


def _undecided(call: Call, policy: Policy | None, message: str, error: str) -> Decision:
    reason = Reason(id="gate", effect="deny", source="gate", message=message, error=error)
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


def gate_for(policy: str | Policy | None, approvals: Ways) -> Gate:
    """A gate of that policy and that way of asking, on the configured store."""
    if policy is None and approvals is None:
        return configured()
    return Gate(policy=policy, approvals=approvals)


record_by_default(lambda: configured().recorder)
