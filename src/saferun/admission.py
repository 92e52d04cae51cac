"""Verdict, controls and a person's answer put together: what finally becomes of a call.

Pure, and the only place where it is decided, so that the store in production, a test of a
policy and a backtest over last month's calls cannot come to different answers.

Controls are asked in one order (stop switch, loop, breaker, limits), all of them before any is
moved: a call that one of them stops has consumed nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from saferun.call import Measure, Mode, Reason, Status, Verdict
from saferun.control import Breaker, Charge, Finding, Health, Limit, Switch
from saferun.control import breaker as breakers
from saferun.control import limit as limits

HEALTH = "breaker"
"""What a tool's health is kept under in its group; no limit's name is without a space."""

States: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""Gives what is kept in a group, by name; empty where nothing is."""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What a call has to pass besides its policy, and what it would count towards.

    `health` is the group in which the tool's health is kept, said by `about`. `retry` says that
    the call repeats one that has failed. `loop` is what its run's past says of it.
    """

    charges: Sequence[Charge] = ()
    breaker: Breaker | None = None
    health: Any = None
    about: tuple[tuple[str, str], ...] = ()
    retry: bool = False
    loop: Finding | None = None

    @property
    def asks(self) -> bool:
        """Whether anything is to be tried at all."""
        return bool(self.charges) or self.breaker is not None or self.loop is not None


NOTHING = Due()


class Move(NamedTuple):
    """A new state of something in a group. `about` says the group for people."""

    key: Any
    name: str
    state: Any
    about: tuple[tuple[str, str], ...] = ()


class Hold(NamedTuple):
    """What a limit counts of a call that was let through, until more is known of it.

    `about` says the group for people.
    """

    limit: Limit
    key: Any
    amount: int
    about: tuple[tuple[str, str], ...] = ()


class Admission(msgspec.Struct, frozen=True):
    """The final verdict, everything that spoke for it, and the states that it moves.

    `mode` is how it binds: a control holds also where no policy does. `nudge` is what the model
    is told beside the result. `frees_at` is when the call may be made again, as far as that is
    known. `stops` says that the run goes no further after this. `shadow` is what limits in shadow
    would have said: none of them has counted the call. `close` has the limits that a call came
    close to which is let through, by their ids.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    mode: Mode = "enforce"
    moves: tuple[Move, ...] = ()
    nudge: str | None = None
    frees_at: int | None = None
    stops: bool = False
    shadow: tuple[Reason, ...] = ()
    close: Mapping[str, Measure] = {}


_NONE: frozenset[str] = frozenset()


def admit(
    verdict: Verdict,
    reasons: tuple[Reason, ...],
    due: Due,
    states: States,
    now: int,
    *,
    mode: Mode = "enforce",
    call: int = 0,
    stopped: Switch | None = None,
    overridden: frozenset[str] = _NONE,
) -> Admission:
    """Try a policy's verdict against the controls.

    `call` is a number of its own for this call. `overridden` are the ids of what a person has
    answered already; it still counts, and does not ask again.

    Controls are tried for `ask` as well, before anybody is asked: a person's time is not
    spent on a call that a limit would stop anyway. States move for `allow` alone, all of
    them or none, so neither a denial nor a question consumes anything. A limit in shadow is tried
    by itself: what it would stop goes on, and moves every count but its own.
    """
    if stopped is not None:
        # It binds whatever is only tried out or only watched.
        return Admission("deny", (_halted(stopped), *reasons))
    if verdict == "deny" or not due.asks:
        return Admission(verdict, reasons, mode)
    spoken: list[Reason] = []
    shadow: list[Reason] = []
    moves: list[Move] = []
    close: dict[str, Measure] = {}
    nudge: str | None = None
    if due.loop is not None:
        if due.loop.step == "nudge":
            nudge = due.loop.message
        else:
            spoken.append(_looped(due.loop))
    if due.breaker is not None:
        objection, move = _tripped(due, due.breaker, states, now, call)
        spoken += objection
        moves += move
    for charge in due.charges:
        limit, key = charge.limit, charge.key
        if key is None:
            (shadow if limit.shadow else spoken).append(_spoken(limits.Over(charge)))
            continue
        state = states(key).get(limit.name)
        level, over = limits.tried(charge, state, now)
        if over is not None:
            (shadow if limit.shadow else spoken).append(_spoken(over))
            if limit.shadow:
                continue
        if verdict == "allow":
            near = None if over or limit.shadow else limits.close(charge, level)
            if near is not None:
                close[limit.id] = near
            moved = limits.counted(charge, state, now)
            moves.append(Move(key, limit.name, moved, charge.about))
    stands = [each for each in spoken if each.effect != "ask" or each.id not in overridden]
    if stands:
        return _stopped(stands, reasons, due, mode, tuple(shadow))
    # What a person has answered is still said, as what a rule asks is: it ran in spite of that.
    reasons = (*spoken, *reasons)
    if verdict != "allow":
        return Admission(verdict, reasons, mode, nudge=nudge, shadow=tuple(shadow))
    return Admission(verdict, reasons, mode, tuple(moves), nudge, shadow=tuple(shadow), close=close)


_HARDEST: tuple[Verdict, ...] = ("deny", "defer", "ask")
"""What stops a call goes before what puts it off, and that before what a person may allow."""


def _stopped(
    spoken: list[Reason],
    reasons: tuple[Reason, ...],
    due: Due,
    mode: Mode,
    shadow: tuple[Reason, ...],
) -> Admission:
    """The answer where controls object: the hardest of them decides."""
    first = sorted(spoken, key=lambda reason: _HARDEST.index(reason.effect))
    effect = first[0].effect
    told = [each.measure.frees_at for each in first if each.measure and each.effect == effect]
    known = [at for at in told if at is not None]
    return Admission(
        effect,
        (*first, *reasons),
        # With no policy, loops and breakers still hold; in shadow nothing does.
        "enforce" if mode == "observe" else mode,
        frees_at=max(known) if known and len(known) == len(told) else None,
        # Where nothing is enforced, nothing is stopped.
        stops=effect == "deny"
        and mode != "shadow"
        and due.loop is not None
        and due.loop.step == "stop",
        shadow=shadow,
    )


def counted(charges: Iterable[Charge], states: States, now: int) -> Iterator[Move]:
    """The states once charges are counted, whether they fit or not."""
    for charge in charges:
        if charge.key is not None:
            name = charge.limit.name
            state = limits.counted(charge, states(charge.key).get(name), now)
            yield Move(charge.key, name, state, charge.about)


def _tripped(
    due: Due, breaker: Breaker, states: States, now: int, call: int
) -> tuple[list[Reason], list[Move]]:
    before = health(states(due.health))
    passed = breakers.admits(breaker, before, now, call=call, retry=due.retry)
    moves = []
    if passed.health is not before:
        moves.append(Move(due.health, HEALTH, passed.health, due.about))
    if passed.why is None:
        return [], moves
    reason = Reason(
        id=HEALTH,
        effect=passed.verdict,
        source="breaker",
        message=_TRIPPED[passed.why],
        error="BudgetExceeded" if passed.why == "cost-spike" else "CircuitOpen",
        measure=Measure(
            control="breaker",
            scope=", ".join(f"{name} {value}" for name, value in due.about if name != "policy"),
            used=passed.why,
            frees_at=passed.until,
        ),
    )
    return [reason], moves


_TRIPPED: Mapping[breakers.Why, str] = {
    "open": "the tool has been failing, or far too slow, and is left alone for a while",
    "half-open": "the tool has been failing, or far too slow, and is tried with a few calls",
    "retry-budget": "too many calls of the tool are made again after an error",
    "cost-spike": "the tool suddenly costs far more than it did, so a person must approve it",
}


def health(group: Mapping[str, Any]) -> Health:
    """How a tool fares, from what is kept of it."""
    kept = group.get(HEALTH)
    if type(kept) is Health:
        return kept
    # As it was read, in the types that the format knows.
    return _WELL if kept is None else msgspec.convert(kept, Health)


_WELL = Health()


def spent(group: Mapping[str, Any], now: int) -> bool:
    """Whether nothing is left of what is kept in a group: it says no more than an empty one.

    So it may be forgotten by whoever keeps it, also while others still remember it.
    """
    return all(
        breakers.spent(health(group), now) if name == HEALTH else limits.spent(name, state, now)
        for name, state in group.items()
    )


def holds(due: Due, shadow: tuple[Reason, ...] = ()) -> tuple[Hold, ...]:
    """What is held of a call that was let through, for `settled`.

    `shadow` is what limits in shadow have said of it, which have not counted it.
    """
    counted = due.charges
    if shadow:
        passed_by = {reason.id for reason in shadow}
        counted = [charge for charge in counted if charge.limit.id not in passed_by]
    return tuple(
        Hold(charge.limit, charge.key, charge.amount, charge.about)
        for charge in counted
        if charge.key is not None and charge.limit.burst is None
    )


def settled(
    held: Iterable[Hold], status: Status, cost: int | None, *, releasable: bool
) -> list[tuple[Hold, int]]:
    """By how much each hold has to be corrected, now that it is known what came of the call.

    `cost` is what it truly cost, in micro-dollars, None where nobody says: then what was held
    stands. What never started is given back, and so is an error where policy says that it means
    nothing happened. Everything else keeps its full charge.
    """
    if status == "not_started" or (status == "error" and releasable):
        return [(hold, -hold.amount) for hold in held]
    if cost is None:
        return []
    return [
        (hold, cost - hold.amount)
        for hold in held
        if hold.limit.sum == limits.COST and cost != hold.amount
    ]


ASKING = Limit(
    id="asks",
    max=30,
    per=("run",),
    window=3_600_000_000,
    burst=10,
    message="people have been asked too often; go on with something else",
)
"""How often people may be asked, where no policy is asked: their attention is worth something
too. Under a space of its own, for each run, or each tool outside of any."""


def asking(charge: Charge, states: States, now: int) -> Admission | Move:
    """What asking a person moves, or the denial where they have been asked too often."""
    state = states(charge.key).get(ASKING.name)
    over = limits.over(charge, state, now)
    if over is not None:
        return Admission("deny", (_spoken(over),), frees_at=over.frees_at)
    return Move(charge.key, ASKING.name, limits.counted(charge, state, now), charge.about)


def _spoken(over: limits.Over) -> Reason:
    limit, charge = over.charge.limit, over.charge
    countable = charge.key is not None
    effect: Verdict = limit.on_limit if countable else "deny"
    error = "BudgetExceeded" if limit.sum is not None else "LimitExceeded"
    return Reason(
        id=limit.id,
        effect=effect,
        source="limit",
        message=limit.sentence() if countable else limit.uncountable(charge.missing),
        error="Deferred" if effect == "defer" else error,
        line=limit.line,
        failed=limit.shadow and not countable,
        measure=over.measure(),
    )


def _looped(finding: Finding) -> Reason:
    return Reason(
        id="loops",
        effect="ask" if finding.step == "ask" else "deny",
        source="loop",
        message=finding.message,
        error="LoopDetected",
        measure=Measure(
            control="loop",
            scope="run",
            max=str(finding.limit),
            used=f"{finding.count} x {finding.signal}",
        ),
    )


def _halted(switch: Switch) -> Reason:
    return Reason(
        id="stop",
        effect="deny",
        source="stop",
        message=switch.sentence(),
        error="Stopped",
        measure=Measure(control="stop", scope=f"{switch.scope} {switch.value or ''}".strip()),
    )
