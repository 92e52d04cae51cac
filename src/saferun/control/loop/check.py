"""Whether a call goes on with a loop: every signal, held against what is known of the run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from saferun.control.loop.finding import Finding, message
from saferun.control.loop.ladder import Rung
from saferun.control.loop.repeat import Repeat
from saferun.control.loop.settings import Loops
from saferun.control.loop.sign import Sign

if TYPE_CHECKING:
    from saferun.control.loop.trail import Trail

_POLLS = 6
"""Polls without a change before their time counts: two at an hour's distance are no polling."""

_SUBJECTS = 3
"""How much further calls in vain may go that share no words: the thirty customers of a batch of
whom none is known yet. It is no rewording, and not much of a success."""

Signal: TypeAlias = tuple[str, int, int, int | None]
"""A field of `Loops`, what has been made, what had been when such a call was last let through, and
what is allowed."""


def checked(
    trail: "Trail", settings: Loops, sign: Sign, now: int, *, poll: bool, effect: str
) -> Finding | None:
    """What is to be said of a call, the gravest if there is more than one thing."""
    nudge: tuple[str, int, int] | None = None
    found = _signals(trail, settings, sign, now, poll=poll, effect=effect)
    for signal, count, before, limit in found:
        if limit is None or count * 2 < limit:
            continue
        if count >= limit:
            step = trail.ladder.rung(settings, sign.masked, trail.news, now)
            return _finding(trail, sign, step, signal, count, limit)
        if nudge is None and _tells(count, before, limit):
            nudge = signal, count, limit
    return None if nudge is None else _finding(trail, sign, "nudge", *nudge)


def _tells(count: int, before: int, limit: int) -> bool:
    """Whether the model is told at this call: half way to the limit, and at the last before it.

    A word with every call would only be more of the same. What grew by several at once, since they
    were made at once, is told when it has passed these; what did not grow has been told.
    """
    half = max(2, (limit + 1) // 2)
    last = max(half, limit - 1)
    return before < half <= count or before < last <= count


def _finding(
    trail: "Trail", sign: Sign, step: Rung, signal: str, count: int, limit: int
) -> Finding:
    repeat = trail.calls.get(sign.masked)
    unknown = repeat is not None and repeat.unknown
    told = message(signal, sign.tool, count, step, unknown=unknown)
    return Finding(step=step, signal=signal, count=count, limit=limit, message=told)


def _signals(
    trail: "Trail", settings: Loops, sign: Sign, now: int, *, poll: bool, effect: str
) -> Iterator[Signal]:
    repeat = trail.calls.get(sign.masked)
    if repeat is not None:
        fresh = repeat.news == trail.news
        if fresh:
            yield from _errors(trail, settings, sign, repeat, poll=poll)
        if poll:
            if fresh and repeat.alike >= _POLLS:
                since = repeat.since
                yield "poll_for", now - since, repeat.last - since, settings.poll_for
            # Who keeps to one pace is told once, though the count goes up and down by one.
            before = max(repeat.burst(repeat.last) - 1, repeat.before)
            yield "poll_burst", repeat.burst(now), before, settings.poll_burst
        else:
            hasty = repeat.hastily(trail.paces + 1, now)
            if fresh:
                yield from _sameness(settings, sign, repeat, hasty=hasty)
            if hasty:
                # Sleep and look, sleep and look: rounds that wait are judged as spaced results.
                yield "cycle", *trail.rounds.completed(sign.masked), settings.cycle
            if trail.head == sign.masked:
                yield "changing", trail.in_row, trail.in_row - 1, settings.changing
    if poll:
        return
    barren = trail.tools.get(sign.tool)
    if barren is not None and barren.news == trail.news and settings.barren is not None:
        read = effect == "read"
        (alike, every), (alike_before, every_before) = barren.count(read=read), barren.before[read]
        yield "barren", alike, alike_before, settings.barren
        yield "barren", every, every_before, settings.barren * _SUBJECTS
    count = trail.lifetime.count(sign.masked) - (trail.excused.get(sign.masked) or 0)
    more = 1 if repeat is None else repeat.usual
    yield "lifetime", count, count - more, settings.lifetime


def _errors(
    trail: "Trail", settings: Loops, sign: Sign, repeat: Repeat, *, poll: bool
) -> Iterator[Signal]:
    if not repeat.failed:
        return
    # With nothing between, it is a retry whatever the error says. A poller waits.
    if trail.head == sign.masked and not poll and settings.retries is not None:
        yield "retries", trail.retries, trail.retries - 1, settings.retries
    elif repeat.call == sign.exact:
        errors, transients, more = repeat.errors, repeat.transients, repeat.ended
        yield "same_error", errors, errors - more, settings.same_error
        yield "transient_error", transients, transients - more, settings.transient_error


def _sameness(settings: Loops, sign: Sign, repeat: Repeat, *, hasty: bool) -> Iterator[Signal]:
    more = repeat.ended
    if repeat.call == sign.exact:
        if hasty:
            yield "same_result", repeat.hasty, repeat.hasty - more, settings.same_result
        yield "spaced_result", repeat.same, repeat.same - more, settings.spaced_result
    if settings.masked is None:
        return
    if hasty:
        yield "masked", repeat.alike_hasty, repeat.alike_hasty - more, settings.masked
    if settings.spaced_result is not None:
        # Who waits in between is given as long as where the results are the very same.
        limit = max(settings.masked, settings.spaced_result)
        yield "masked", repeat.alike, repeat.alike - more, limit
