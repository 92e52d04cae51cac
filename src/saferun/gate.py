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
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from saferun import approval, config, plain, redact
from saferun import policy as policies
from saferun.approval import Channel, Question, Vote
from saferun.call import Call, Decision, Mode, Outcome, Reason, RunRef, canonical
from saferun.config import Config
from saferun.control import charges
from saferun.errors import SafeRunError
from saferun.ledger import (
    MAX_INLINE,
    ApprovalEntry,
    DecisionEntry,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    UserEntry,
    blob_hash,
    encode,
    placeholder,
)
from saferun.policy import Policy, Ruling, ToolPolicy
from saferun.run import ModelTurn, Run, record_by_default
from saferun.store import (
    Admit,
    Admitted,
    Answer,
    Append,
    Blob,
    Look,
    Opening,
    Request,
    Settle,
    Store,
)

log = logging.getLogger("saferun")

LEASE = 60.0
"""Seconds that an admitted call has to start in; past it, it is decided again."""

MAX_CALL_ID = 256
"""Characters of a call id. Ids come from models, so they are bounded and must be printable."""

MAX_ABOUT = 8_192
"""Bytes kept of each of a run's prompt, plan, user and context."""

MAX_ERROR = 2_000
"""Characters kept of a tool's exception."""

Step: TypeAlias = Admit | Answer | Question
Path_: TypeAlias = Generator[Step, Any, Decision]

_NOTHING: frozenset[str] = frozenset()

_listeners: list[Callable[[Decision], None]] = []


def on_decision(listen: Callable[[Decision], None]) -> Callable[[Decision], None]:
    """Have `listen` called with every decision of this process; usable as a decorator.

    It is told and not asked: what it raises is logged and changes nothing.
    """
    _listeners.append(listen)
    return listen


class Gate:
    """One policy, one store and the channels to ask by: everything a call passes.

    Args:
        policy: the policy to decide by: a name (`policies/NAME.yaml` of the configuration),
            the path of a file, or a loaded `Policy`. None takes `policy` from the
            configuration; with none there either, calls are recorded and nothing is denied.
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
        self.policy = _policy(policy, self.config)
        self._channel = _channel(approvals, self.config)
        self._given = store
        self._store = store if isinstance(store, Store) else None
        self._opening = threading.Lock()
        self._runs: dict[str, tuple[RunRef, Opening]] = {}
        self._unsettled: set[int] = set()

    @property
    def store(self) -> Store:
        """The store, opened at its first use. Raises StoreError where it cannot be."""
        if self._store is None:
            with self._opening:
                if self._store is None:
                    url = self._given if isinstance(self._given, str) else self.config.store
                    self._store = shared_store(url, self.config)
        return self._store

    def check(self, call: Call) -> Decision:
        """Decide one call, durably, before it happens.

        Returns the decision; the tool may run if, and only if, `decision.starts`. Whoever
        runs it must `settle` the decision afterwards, whatever came of it. Never raises
        but for interrupts: what goes wrong inside the gate is a denial.
        """
        path = self._path(call)
        try:
            step = next(path)
            while True:
                try:
                    done = (
                        self._ask(step) if isinstance(step, Question) else self.store.commit(step)
                    )
                except BaseException as problem:  # noqa: BLE001 - the path decides what it means
                    step = path.throw(problem)
                else:
                    step = path.send(done)
        except StopIteration as end:
            decision: Decision = end.value
            return decision

    async def acheck(self, call: Call) -> Decision:
        """`check`, awaiting instead of blocking."""
        from asyncio import to_thread

        path = self._path(call)
        try:
            step = next(path)
            while True:
                try:
                    done = (
                        await to_thread(self._ask, step)
                        if isinstance(step, Question)
                        else await self.store.acommit(step, self._unwanted)
                    )
                except BaseException as problem:  # noqa: BLE001 - the path decides what it means
                    step = path.throw(problem)
                else:
                    step = path.send(done)
        except StopIteration as end:
            decision: Decision = end.value
            return decision

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

    def opaque(self, tool: str) -> frozenset[str]:
        """The arguments of a tool that policy has passed on unread."""
        known = self.policy.tools.get(tool) if self.policy is not None else None
        return known.opaque if known is not None else _NOTHING

    def run(self, **about: Any) -> Run:
        """A run that records through this gate; the arguments of `saferun.run`."""
        return Run(recorder=self, **about)

    def close(self) -> None:
        """Write what is still owed and let go of the store."""
        if self._store is not None:
            self._store.close()

    # The path.

    def _path(self, call: Call) -> Path_:
        try:
            decision = yield from self._decided(call)
        except Exception as problem:  # noqa: BLE001 - the gate never becomes the incident
            log.error("saferun could not decide on %s: %s", call.tool, problem)
            decision = _unavailable(call, self.policy, problem)
        _tell(decision)
        return decision

    def _decided(self, call: Call) -> Path_:
        store = self.store
        ruling = self._ruling(call)
        admit = self._admission(call, ruling, store)
        while True:
            admitted: Admitted = yield admit
            if admitted.verdict != "ask" or ruling.mode != "enforce":
                break
            admit = _joined(admit, admitted)
            yield from self._answered(call, ruling, admit, admitted)
        seq = admitted.seq
        if admitted.starts:
            self._unsettled.add(seq)
        return Decision(
            verdict=admitted.verdict,
            tool=call.tool,
            args=ruling.args,
            reasons=admitted.reasons,
            mode=ruling.mode,
            modified=ruling.modified,
            policy=ruling.policy,
            run_id=call.run.run_id if call.run is not None else None,
            call_id=call.call_id,
            seq=seq,
            digest=admit.entry.digest,
            approval_id=admitted.approval_id,
            starts=admitted.starts,
            start_by=time.monotonic() + LEASE,
            idempotency_key=self._idempotency_key(admit.key, seq),
            key=admit.key,
            outcome=admitted.outcome,
        )

    def _answered(
        self, call: Call, ruling: Ruling, admit: Admit, admitted: Admitted
    ) -> Generator[Step, Any, None]:
        """Ask, and record the answer. What becomes of it is for the next admission to say."""
        assert admit.request is not None
        assert self._channel is not None
        asked = admit.request.id
        entry = msgspec.structs.replace(admit.request.entry, id=asked, channel=self._channel.name)
        store = self.store
        question = Question(
            id=asked,
            tool=call.tool,
            args=redact.value(ruling.args, _under(ruling.tool, "args")),
            run=call.run,
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

    def _ruling(self, call: Call) -> Ruling:
        if self.policy is None:
            _warn_once(call.tool)
            return policies.observed(call)
        ruling = self.policy.decide(call)
        if ruling.verdict != "ask" or ruling.mode != "enforce":
            return ruling
        nobody = (
            "no approval channel is configured"
            if self._channel is None
            else self._channel.unreachable()
        )
        if nobody is None:
            return ruling
        reason = Reason(
            id="approval",
            effect="deny",
            source="approval",
            message=f"it needs a person's approval, and {nobody}",
            error="ApprovalExpired",
        )
        return msgspec.structs.replace(ruling, verdict="deny", reasons=(reason, *ruling.reasons))

    def _admission(self, call: Call, ruling: Ruling, store: Store) -> Admit:
        """Everything that the store needs, prepared before any lock is taken."""
        data = canonical.encode(ruling.args)
        digest = store.keys.digest(b"\0".join((call.tool.encode(), data))).hex()
        if len(data) > plain.MAX_BYTES:
            ruling = _too_large(ruling, len(data))
            data = _omitted(len(data))
        shown, blobs = _kept(redact.encoded(data, _under(ruling.tool, "args")))
        key = None
        run_id = call.run.run_id if call.run is not None else None
        if call.call_id is not None:
            if not _is_id(call.call_id):
                ruling = _bad_id(ruling)
                call = msgspec.structs.replace(call, call_id=None)
            else:
                key = store.keys.digest(canonical.encode((run_id, call.call_id, call.tool, digest)))
        entry = DecisionEntry(
            run=run_id,
            call=call.call_id,
            tool=call.tool,
            args=msgspec.Raw(shown),
            digest=digest,
            verdict=ruling.verdict,
            mode=ruling.mode,
            modified=ruling.modified,
            policy=ruling.policy,
            reasons=ruling.reasons,
            shadow=ruling.shadow,
            opaque=_named(call.opaque),
            boot=store.boot,
            key=key.hex() if key is not None else None,
            blobs={blob.hash.hex(): len(blob.data) for blob in blobs},
        )
        space = f"{self.policy.name}/{ruling.mode}" if self.policy is not None else ""
        return Admit(
            entry=entry,
            rest=encode(entry),
            boot=store.boot,
            key=key,
            opening=self._opened(call.run) if call.run is not None else None,
            due=[
                (charge, None if charge.key is None else store.keys.digest(charge.key))
                for charge in charges(ruling.tool.limits, call, space)
            ]
            if ruling.tool.limits
            else (),
            request=self._request(call, ruling, entry, shown, store)
            if ruling.verdict == "ask" and ruling.mode == "enforce"
            else None,
            blobs=blobs,
        )

    def _request(
        self, call: Call, ruling: Ruling, entry: DecisionEntry, shown: bytes, store: Store
    ) -> Request:
        about = (
            call.run.tenant if call.run is not None else None,
            entry.run,
            entry.call,
            entry.tool,
            entry.digest,
            entry.policy,
            [reason.id for reason in ruling.reasons],
            ruling.groups,
        )
        # 80 random bits: whoever could guess a request's id could answer it before it is shown.
        own = f"a-{secrets.token_hex(10)}"
        return Request(
            id=own,
            binding=store.keys.digest(canonical.encode(about)),
            deadline=round(self.config.approval.terminal.timeout * 1e6),
            entry=ApprovalEntry(
                id=own,
                event="requested",
                run=entry.run,
                call=entry.call,
                tool=entry.tool,
                digest=entry.digest,
                groups=ruling.groups,
                reasons=ruling.reasons,
            ),
            shown=shown,
        )

    def _settlement(self, decision: Decision, outcome: Outcome) -> Settle | None:
        seq = decision.seq
        if seq is None:
            return None
        try:
            # Removing is what two threads cannot both do.
            self._unsettled.remove(seq)
        except KeyError:
            return None
        result: msgspec.Raw | None = None
        blobs: tuple[Blob, ...] = ()
        if outcome.status == "ok":
            data = plain.encode_result(outcome.result)
            if len(data) > plain.MAX_BYTES:
                data = _omitted(len(data), self.store.keys.digest(data).hex())
            tool = self.policy.tools.get(decision.tool) if self.policy is not None else None
            paths = _under(tool, "result") if tool is not None else ()
            data, blobs = _kept(redact.encoded(data, paths))
            result = msgspec.Raw(data)
        entry = OutcomeEntry(
            of=seq,
            run=decision.run_id,
            tool=decision.tool,
            status=outcome.status,
            result=result,
            error=None if outcome.error is None else redact.text(outcome.error[:MAX_ERROR]),
            latency=outcome.latency,
            boot=self.store.boot,
            blobs={blob.hash.hex(): len(blob.data) for blob in blobs},
        )
        return Settle(
            of=seq,
            status=outcome.status,
            rest=encode(entry),
            boot=self.store.boot,
            key=decision.key,
            approval=decision.approval_id,
            blobs=blobs,
        )

    def _owe(self, work: Settle | Append) -> None:
        with contextlib.suppress(SafeRunError):
            # A store that was closed has nobody left to promise anything to.
            self.store.ride(work)

    def _latch(self, work: Settle, problem: Exception) -> None:
        log.error(
            "saferun keeps an outcome that it could not write (entry %s): %s", work.of, problem
        )
        self._owe(work)

    def _unwanted(self, admitted: Any) -> None:
        """An admission whose task was cancelled before it could start anything."""
        if isinstance(admitted, Admitted) and admitted.starts:
            entry = OutcomeEntry(of=admitted.seq, status="not_started", boot=self.store.boot)
            self._owe(
                Settle(
                    of=admitted.seq,
                    status="not_started",
                    rest=encode(entry),
                    boot=self.store.boot,
                )
            )

    def _idempotency_key(self, key: bytes | None, seq: int) -> str:
        """Stable across repetitions of one call, and unlike that of any other call."""
        about = key if key is not None else f"{self.store.origin}#{seq}".encode()
        return f"saferun-{self.store.keys.digest(about).hex()}"

    # What a run records through its gate.

    def _opened(self, about: RunRef) -> Opening:
        known = self._runs.get(about.run_id)
        if known is not None and known[0] is about:
            return known[1]
        entry = RunEntry(
            event="start",
            run=about.run_id,
            root=about.root,
            parent=about.parent,
            agent=about.agent,
            user=_brief(about.user),
            tenant=about.tenant,
            prompt=_brief(about.prompt),
            plan=_brief(about.plan),
            context=_brief(about.context),
        )
        opening = Opening(
            run_id=about.run_id,
            identity=canonical.encode((about.agent, about.user_id, about.tenant)),
            entry=encode(entry),
        )
        if len(self._runs) > 1_000:
            self._runs.clear()
        self._runs[about.run_id] = (about, opening)
        return opening

    def model_turn(self, of: Run, turn: ModelTurn) -> None:
        output, blobs = _kept(redact.encoded(plain.encode_result(turn.output)))
        entry = ModelEntry(
            run=of.run_id,
            output=msgspec.Raw(output),
            model=turn.model,
            input_tokens=turn.input_tokens,
            output_tokens=turn.output_tokens,
            cost_usd=turn.cost_usd,
            latency=turn.latency,
            blobs={blob.hash.hex(): len(blob.data) for blob in blobs},
        )
        self._record(of, entry, blobs)

    def user_message(self, of: Run, text: str) -> None:
        shown, blobs = _kept(redact.encoded(plain.encode_result(text)))
        names = {blob.hash.hex(): len(blob.data) for blob in blobs}
        self._record(of, UserEntry(run=of.run_id, text=msgspec.Raw(shown), blobs=names), blobs)

    def ended(self, of: Run, error: str | None) -> None:
        # A run in which nothing happened has no beginning in the ledger and needs no end.
        if of.run_id in self._runs:
            self._record(of, RunEntry(event="end", run=of.run_id, error=error), ())
            self._runs.pop(of.run_id, None)

    def _record(
        self, of: Run, entry: ModelEntry | UserEntry | RunEntry, blobs: tuple[Blob, ...]
    ) -> None:
        try:
            self.store.ride(Append([encode(entry)], self._opened(of.ref), blobs))
        except Exception as problem:  # noqa: BLE001 - recording never breaks the agent
            log.error("saferun could not record a frame of run %s: %s", of.run_id, problem)


_stores: dict[str, Store] = {}
_sharing = threading.Lock()


def shared_store(url: str, settings: Config) -> Store:
    """The process's one store of that URL, opened at its first use."""
    with _sharing:
        store = _stores.get(url)
        if store is None or store.closed:
            store = Store(url, ledger=settings.ledger, durability=settings.durability)
            _stores[url] = store
        return store


def _policy(given: str | Path | Policy | None, settings: Config) -> Policy | None:
    if isinstance(given, Policy):
        return given
    named = given if given is not None else settings.policy
    if named is None:
        return None
    path = Path(named)
    if path.suffix not in (".yaml", ".yml"):
        path = settings.policies / f"{named}.yaml"
    return policies.load(path.absolute())


def _channel(given: str | Channel | None, settings: Config) -> Channel | None:
    named = given if given is not None else settings.approval.default
    if named is None:
        return None
    return approval.channel(named) if isinstance(named, str) else named


def _kept(data: bytes) -> tuple[bytes, tuple[Blob, ...]]:
    """A value as an entry holds it: whole where it is small, else by a salted hash."""
    if len(data) <= MAX_INLINE:
        return data, ()
    salt = secrets.token_bytes(16)
    blob = Blob(blob_hash(salt, data), salt, data)
    return canonical.encode(placeholder(blob.hash, len(data))), (blob,)


def _named(opaque: Mapping[str, str]) -> dict[str, str]:
    """Names and types of what was not read; names may come from a model, so they are bounded."""
    return {name[:80]: kind[:200] for name, kind in itertools.islice(opaque.items(), 50)}


def _omitted(size: int, digest: str | None = None) -> bytes:
    """What stands for a value that is too large to be kept at all."""
    return canonical.encode({"$omitted": f"{size:,} bytes", "digest": digest})


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


def _under(tool: ToolPolicy, part: str) -> tuple[tuple[str, ...], ...]:
    """The paths that a tool's policy has redacted in its `args` or its `result`."""
    return tuple(path[1:] for path in tool.redact if path[0] == part) if tool.redact else ()


def _brief(value: Any) -> Any:
    """What a run says of itself, without secrets and short enough to stand in one entry."""
    data = redact.encoded(plain.encode_result(value))
    if len(data) <= MAX_ABOUT:
        return msgspec.json.decode(data)
    if isinstance(value, Mapping):
        return {"$omitted": f"{len(data):,} bytes"}
    return data[:MAX_ABOUT].decode(errors="ignore") + f"… ({len(data):,} bytes)"


def _is_id(text: str) -> bool:
    return 0 < len(text) <= MAX_CALL_ID and text.isprintable() and text.isascii()


def _denied_early(ruling: Ruling, message: str) -> Ruling:
    reason = Reason(id="gate", effect="deny", source="gate", message=message)
    return msgspec.structs.replace(ruling, verdict="deny", reasons=(reason, *ruling.reasons))


def _too_large(ruling: Ruling, size: int) -> Ruling:
    if ruling.mode == "observe":
        return ruling
    return _denied_early(
        ruling, f"its arguments have {size:,} bytes, and {plain.MAX_BYTES:,} is the most"
    )


def _bad_id(ruling: Ruling) -> Ruling:
    if ruling.mode == "observe":
        return ruling
    return _denied_early(ruling, f"its call id is not 1 to {MAX_CALL_ID} printable characters")


def _unavailable(call: Call, policy: Policy | None, problem: Exception) -> Decision:
    mode: Mode = "enforce"
    del problem  # logged; what went wrong inside is nothing for a model to read
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
        mode=mode,
        policy=policy.ref if policy is not None else None,
        run_id=call.run.run_id if call.run is not None else None,
        call_id=call.call_id,
    )


@functools.cache
def _warn_once(tool: str) -> None:
    log.warning(
        "saferun: %s has no policy; its calls are recorded and none is denied "
        "(name one with guard(tool, policy=...) or `policy` in saferun.toml)",
        tool,
    )


def _tell(decision: Decision) -> None:
    if decision.verdict != "allow":
        log.info("saferun: %s", decision.for_model)
    for listen in _listeners:
        try:
            listen(decision)
        except Exception:
            log.exception("saferun: a listener of on_decision failed")


@functools.cache
def configured() -> Gate:
    """The gate of the configuration alone, for runs that record before any tool is called."""
    return Gate()


def gate_for(policy: str | Policy | None, channel: str | Channel | None) -> Gate:
    """A gate of that policy and that way of asking, on the configured store."""
    if policy is None and channel is None:
        return configured()
    return Gate(policy=policy, approvals=channel)


record_by_default(configured)
