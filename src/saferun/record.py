"""Writing down calls: their decisions, questions and outcomes, as entries of the ledger.

Values go through `written` on their way. All of it is done before any lock is taken, so that
the store only has to add number and time.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from saferun import plain, redact
from saferun.admission import NOTHING, Due, Hold
from saferun.call import Call, Decision, Facts, Outcome, Reason, canonical
from saferun.control import COST, Charge, Echo, Finding, Groups, Sign, echo, sign
from saferun.keeping import Keep, strictest
from saferun.ledger import (
    DecisionEntry,
    Other,
    OutcomeEntry,
    encode,
    filled,
)
from saferun.policy import Ruling, ToolPolicy
from saferun.run import within
from saferun.sealing import Sealing
from saferun.store import (
    Admit,
    Blob,
    Fared,
    FindOut,
    Followed,
    Known,
    Opening,
    Pin,
    Seal,
    Settle,
    Store,
    Version,
    write_echo,
    write_sign,
)
from saferun.written import (
    MAX_CALL_ID,
    blob_sizes,
    bounded,
    omitted,
    placed,
    under,
    unkept,
    whose,
)

MAX_GROUP = 80
"""Characters kept of an argument that a limit counts by, for people who look at the limit."""

MAX_ERROR = 2_000
"""Characters kept of a tool's exception."""


class Asked(NamedTuple):
    """A request that people have before them, and the `key` of its call, as that came."""

    request: str
    key: bytes | None


class Prepared(NamedTuple):
    """An admission, and how the control of loops compares the call, if it does."""

    admit: Admit
    sign: Sign | None


def admission(
    call: Call,
    ruling: Ruling,
    facts: Facts,
    store: Store,
    opening: Opening | None,
    *,
    groups: Groups,
    again: Asked | None = None,
    given: dict[str, Any] | None = None,
    owes: Sequence[Charge] = (),
    followed: Followed | None = None,
    other: Ruling | None = None,
    keeps: Sequence[Version] = (),
    pin: Pin | None = None,
) -> Prepared:
    """The admission of a call on which policy has ruled.

    `groups` are those that calls of the run count in. `again` is the request that people have
    before them already: then it is the same call, whatever they have made of its arguments,
    which were `given` before. `owes` is what the model turns of the run have cost that is counted
    nowhere yet, and `followed` is what is remembered of it, for the control of loops. `other` is
    what the version says that this one is compared with; see `Admit` for
    the rest.
    """
    data = canonical.encode(ruling.args)
    tool = ruling.tool
    compared: Sign | None = None
    if followed is not None and tool.loops is not None:
        compared = sign(call.tool, data, store.keys.digest)
        digest = compared.exact.hex()
    else:
        digest = store.keys.digest(b"\0".join((call.tool.encode(), data))).hex()
    if len(data) > plain.MAX_BYTES:
        size = f"its arguments have {len(data):,} bytes, and {plain.MAX_BYTES:,} is the most"
        ruling = _refused(ruling, size)
        data = omitted(len(data))
    call_id, key = call.call_id, None
    run_id = call.run.run_id if call.run is not None else None
    if call_id is not None:
        if 0 < len(call_id) <= MAX_CALL_ID and call_id.isascii() and call_id.isprintable():
            key = store.keys.digest(canonical.encode((run_id, call_id, call.tool, digest)))
        else:
            call_id = None
            ruling = _refused(
                ruling, f"its call id is not 1 to {MAX_CALL_ID} printable ASCII characters"
            )
    if again is not None:
        key = again.key
    sealing = Sealing()
    shown, blobs = _args(sealing, "args", data, ruling.tool)
    before = given if given is not None else call.args if ruling.modified else None
    came, beside = _given(sealing, before, ruling)
    blobs = (*blobs, *beside)
    watched = None
    finding: Finding | None = None
    retry = False
    if followed is not None and tool.loops is not None and compared is not None:
        # First: what is read meanwhile is then known to the check and not taken for granted.
        watched = followed.watched()
        finding, retry = followed.check(
            tool.loops, compared, facts.now, poll=tool.poll, effect=tool.effect
        )
    entry = DecisionEntry(
        **whose(call.run),
        within=within(),
        # It comes from a model, and only `key` is ever compared.
        call=None if call_id is None else redact.text(call_id),
        tool=call.tool,
        args=msgspec.Raw(shown),
        digest=digest,
        verdict=ruling.verdict,
        mode=ruling.mode,
        modified=ruling.modified or given is not None,
        given=came,
        policy=ruling.policy,
        reasons=ruling.reasons,
        shadow=ruling.shadow,
        other=None if other is None else _other(other),
        opaque=_types(call.opaque) if call.opaque else {},
        key=key.hex() if key is not None else None,
        sign=None if compared is None or run_id is None else write_sign(compared),
        blobs=blob_sizes(blobs),
        sealed=sealing.names,
    )
    admit = Admit(
        entry=entry,
        rest=encode(entry),
        boot=store.boot,
        key=key,
        opening=opening,
        run=call.run,
        watched=watched,
        due=_due(call, ruling, facts, groups, finding, retry=retry),
        owes=owes,
        blobs=blobs,
        keeps=keeps,
        pin=pin,
        compared=NOTHING if other is None else _compared(call, other, facts, groups),
        seal=_seal(sealing, call, ruling, store) if tool.sensitive else None,
    )
    return Prepared(admit, compared)


def _due(
    call: Call,
    ruling: Ruling,
    facts: Facts,
    groups: Groups,
    finding: Finding | None,
    *,
    retry: bool,
) -> Due:
    """What the call has to pass, its groups under the numbers that the store keeps them by."""
    breaker, health, about = ruling.tool.breaker, 0, _NOWHERE
    if breaker is not None:
        health, about, _ = groups.of(_HEALTH if _has_tenant(call) else _TOOL, call, "")
    return Due(
        charges=_counted(ruling.due(call, facts, groups), ruling.tool),
        breaker=breaker,
        health=health,
        about=about,
        retry=retry,
        loop=finding,
    )


_NOWHERE: tuple[tuple[str, str], ...] = ()
_TOOL, _HEALTH = ("tool",), ("tool", "tenant")


def _has_tenant(call: Call) -> bool:
    return call.run is not None and call.run.tenant is not None


def _counted(due: Sequence[Charge], tool: ToolPolicy) -> list[Charge]:
    """Charges whose groups are said without secrets."""
    return [
        msgspec.structs.replace(each, about=_about(each.about, tool))
        if each.about and each.about[-1][0].startswith("args.")
        else each
        for each in due
    ]


def _about(about: tuple[tuple[str, str], ...], tool: ToolPolicy) -> tuple[tuple[str, str], ...]:
    return tuple(
        (scope, _shown(scope[5:], value, tool)) if scope.startswith("args.") else (scope, value)
        for scope, value in about
    )


def _shown(argument: str, value: str, tool: ToolPolicy) -> str:
    kept = (*tool.redact, *tool.sensitive)
    hidden = any(path[:2] in (("args", argument), ("args", "*")) for path in kept)
    return "…" if hidden else redact.text(value)[:MAX_GROUP]


def _other(ruling: Ruling) -> Other:
    assert ruling.policy is not None
    rules = tuple(dict.fromkeys(reason.id for reason in ruling.reasons))
    return Other(policy=ruling.policy, verdict=ruling.verdict, rules=rules)


def _compared(call: Call, ruling: Ruling, facts: Facts, groups: Groups) -> Due:
    """Counters of a version's own, apart from all that decide."""
    assert ruling.policy is not None
    space = f"{ruling.policy.name}@{ruling.policy.version}"
    return Due(charges=_counted(ruling.due(call, facts, groups, space), ruling.tool))


def _args(
    sealing: Sealing, name: str, data: bytes, tool: ToolPolicy
) -> tuple[bytes, tuple[Blob, ...]]:
    """Arguments as an entry holds them under that name, without what must not stand there."""
    clean = redact.encoded(data, under(tool.redact, "args"))
    return placed(sealing.part(name, clean, under(tool.sensitive, "args")))


def _seal(sealing: Sealing, call: Call, ruling: Ruling, store: Store) -> Seal:
    """Whose the sensitive values of a call are: those of its arguments, and of its result."""
    run, named = call.run, ruling.tool.subject
    whose = run.user_id if run is not None else None
    said = None if named is None else ruling.args.get(named)
    if said is not None:
        whose = said if isinstance(said, str) else canonical.encode(said).decode()
    tenant = run.tenant if run is not None else None
    # What nobody is named for is kept under nobody's name, and can be erased by it.
    return Seal(store.subject(tenant, whose or ""), sealing.values)


def _given(
    sealing: Sealing, args: dict[str, Any] | None, ruling: Ruling
) -> tuple[msgspec.Raw | None, tuple[Blob, ...]]:
    """The arguments as they came, where others run: kept as the final ones are."""
    if args is None:
        return None, ()
    data = canonical.encode(args)
    if len(data) > plain.MAX_BYTES:
        data = omitted(len(data))
    kept, blobs = _args(sealing, "given", data, ruling.tool)
    return msgspec.Raw(kept), blobs


class Pending(NamedTuple):
    """A call that was let start: all that its settlement needs to know.

    `cost` is the most that it may cost, in micro-dollars. `followed` is where its end is to be
    remembered, None where nobody looks for loops.
    """

    tool: ToolPolicy
    admit: Admit
    holds: tuple[Hold, ...] = ()
    at: int = 0
    cost: int = 0
    followed: Followed | None = None


def settlement(
    decision: Decision,
    outcome: Outcome,
    store: Store,
    pending: Pending | None,
    keep: Keep = "whole",
) -> tuple[Settle, Echo | None]:
    """The end of a call that was let start, and how the control of loops compares that.

    `keep` is how much is kept of its result; what policy says may be stricter.
    Never raises: what cannot be told is left out.
    """
    assert decision.seq is not None
    compared: Echo | None = None
    cost: int | None = None
    sealing = Sealing()
    try:
        entry, blobs, compared = _outcome(decision, outcome, store, pending, sealing, keep)
        cost = entry.cost
        rest = encode(entry)
    except Exception:  # noqa: BLE001 - the effect has happened, and its end must be written
        blobs, sealing = (), Sealing()
        rest = encode(
            OutcomeEntry(
                of=decision.seq,
                run=decision.run_id,
                status=outcome.status,
                error="its result could not be written down",
                latency=outcome.latency,
            )
        )
    work = Settle(
        of=decision.seq,
        status=outcome.status,
        rest=rest,
        boot=store.boot,
        tool=decision.tool,
        key=decision.key,
        approval=decision.approval_id,
        blobs=blobs,
    )
    if pending is not None:
        due = pending.admit.due
        watched = pending.admit.watched
        work = msgspec.structs.replace(
            work,
            holds=pending.holds,
            at=pending.at,
            cost=cost,
            releasable=pending.tool.releasable,
            fared=None if due.breaker is None else _fared(due, outcome),
            root=None if watched is None else watched.root,
        )
        seal = pending.admit.seal
        if seal is not None and sealing.values:
            work = msgspec.structs.replace(work, seal=Seal(seal.subject, sealing.values))
    return work, compared


def _fared(due: Due, outcome: Outcome) -> Fared:
    assert due.breaker is not None
    return Fared(
        key=due.health,
        breaker=due.breaker,
        about=due.about,
        # Who cancels says nothing about the tool; a time that ran out does.
        failed=_failed(outcome),
        latency=outcome.latency,
    )


def _failed(outcome: Outcome) -> bool | None:
    """Whether a tool has failed, None where its end says nothing of it."""
    if outcome.blameless or outcome.status in ("cancelled", "not_started"):
        return None
    return outcome.status != "ok"


def found_out(
    of: int,
    status: Known,
    *,
    by: str,
    reason: str,
    credential: bytes,
    result: Any = msgspec.UNSET,
    tool: ToolPolicy | None = None,
) -> FindOut:
    """What a person has found out of a call, its `result` and their `reason` without secrets.

    `tool` is what policy says of the call's tool. What it calls sensitive is redacted here: it
    may be about somebody whom no run names any more, and could not be found to be erased.
    """
    data: bytes | None = None
    blobs: tuple[Blob, ...] = ()
    if result is not msgspec.UNSET:
        shown = redact.encoded(
            bounded(plain.encode_result(result)), under(tool.redact, "result") if tool else ()
        )
        if tool is not None:
            shown = _withheld(shown, under(tool.sensitive, "result"))
        data, blobs = placed(shown)
    return FindOut(
        of=of,
        status=status,
        by=by,
        reason=redact.text(reason),
        credential=credential,
        result=data,
        blobs=blobs,
    )


def _withheld(data: bytes, sensitive: Sequence[tuple[str, ...]]) -> bytes:
    """A result without what would have been sealed of it."""
    sealing = Sealing()
    left = sealing.part("result", data, sensitive)
    if not sealing.values:
        return data
    word = redact.placeholder("by policy")
    return msgspec.json.encode(filled(msgspec.json.decode(left), sealing.names, lambda _: word))


def _outcome(
    decision: Decision,
    outcome: Outcome,
    store: Store,
    pending: Pending | None,
    sealing: Sealing,
    keep: Keep,
) -> tuple[OutcomeEntry, tuple[Blob, ...], Echo | None]:
    assert decision.seq is not None
    tool = pending.tool if pending is not None else None
    if tool is not None:
        keep = strictest(keep, tool.results)
    data: bytes | None = None
    result: msgspec.Raw | None = None
    blobs: tuple[Blob, ...] = ()
    compared: Echo | None = None
    ended = outcome.status == "ok"
    if ended or outcome.result is not None:
        kept = plain.encode_result(outcome.result)
        # Of what has not come to its end nothing follows, however much of it there is.
        data = kept if ended else None
        if len(kept) > plain.MAX_BYTES:
            kept = omitted(len(kept), store.keys.digest(kept).hex())
        if tool is not None:
            kept = redact.encoded(kept, under(tool.redact, "result"))
            kept = sealing.part("result", kept, under(tool.sensitive, "result"))
        else:
            kept = redact.encoded(kept)
        if keep == "whole":
            kept, blobs = placed(kept)
            result = msgspec.Raw(kept)
        else:
            _leave_out("result", kept, keep, sealing, store)
    if pending is not None and pending.followed is not None:
        compared = echo(outcome.status, data, outcome.error, store.keys.digest)
    cost = None if pending is None else _cost(pending, outcome, data)
    made = None if pending is None else pending.admit.entry
    error: str | dict[str, Any] | None = None
    if outcome.error is not None:
        error = _failure(outcome.error, tool, sealing)
        if keep != "whole":
            _leave_out("error", canonical.encode(error), keep, sealing, store)
            error = None
    entry = OutcomeEntry(
        of=decision.seq,
        run=decision.run_id,
        agent=None if made is None else made.agent,
        user=None if made is None else made.user,
        tenant=None if made is None else made.tenant,
        tool=decision.tool,
        policy=decision.policy,
        status=outcome.status,
        result=result,
        error=error,
        latency=outcome.latency,
        cost=cost,
        over=() if pending is None or cost is None else _over(pending, cost),
        echo=None if compared is None or decision.run_id is None else write_echo(compared),
        blobs=blob_sizes(blobs),
        sealed=sealing.names,
        unkept=sealing.unkept,
    )
    return entry, blobs, compared


def _leave_out(name: str, data: bytes, keep: Keep, sealing: Sealing, store: Store) -> None:
    """Have an entry say that it does not hold a value, which is without secrets by now."""
    # What is to be erased some day must leave nothing that it could be recognised by.
    digest = None if sealing.values else store.keys.digest
    sealing.unkept[name] = unkept(data, keep, digest)
    sealing.values.clear()


def _failure(error: str, tool: ToolPolicy | None, sealing: Sealing) -> str | dict[str, Any]:
    """The text of an error, sealed whole where it may repeat what is sensitive."""
    told = _told(error)
    if tool is None or not tool.sensitive:
        return told
    left: dict[str, Any] = msgspec.json.decode(sealing.whole("error", canonical.encode(told)))
    return left


def _cost(pending: Pending, outcome: Outcome, data: bytes | None) -> int | None:
    """What the call truly cost, in micro-dollars; what was held where the tool does not say."""
    tool = pending.tool
    if tool.cost is None or outcome.status == "not_started":
        return None
    if outcome.status == "error" and tool.releasable:
        return 0
    if data is None or len(data) > plain.MAX_BYTES:
        return pending.cost
    return tool.cost.true(data, pending.cost)


def _over(pending: Pending, cost: int) -> tuple[str, ...]:
    """The limits that were held for less than the call cost."""
    return tuple(
        hold.limit.id for hold in pending.holds if hold.limit.sum == COST and cost > hold.amount
    )


def _refused(ruling: Ruling, message: str) -> Ruling:
    """The ruling with an objection of the gate's own, unless nothing is to be denied at all."""
    if ruling.mode == "observe":
        return ruling
    reason = Reason(id="gate", effect="deny", source="gate", message=message)
    return msgspec.structs.replace(ruling, verdict="deny", reasons=(reason, *ruling.reasons))


def _types(opaque: Mapping[str, str]) -> dict[str, str]:
    """Names and types of what was not read. Names may come from a model, so they are bounded.

    Cut twice: before, so that a huge name costs no more than a large one, and to its final
    length only once the secrets are out, so that no half of one is left.
    """
    return {
        redact.text(name[:2_000])[:80]: kind[:200]
        for name, kind in itertools.islice(opaque.items(), 50)
    }


def _told(error: str) -> str:
    # Cut after the secrets are out, so that no half of one is left; and before, so that a
    # huge text costs no more than a large one.
    return redact.text(error[: 4 * MAX_ERROR])[:MAX_ERROR].encode(errors="replace").decode()
