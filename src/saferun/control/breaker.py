"""Breakers: a tool that fails too often, or too slowly, is left alone for a while.

    closed ──too many failures, or slow calls──> open ──its time is over──> half-open
       ^                                          ^                             │
       │                                          └────────one probe fails──────┤
       └─────────────────────enough probes in a row succeed─────────────────────┘

The health of a tool is one small record for each tenant, and every function here answers with a
new one. A breaker moves only where a call is let through or comes to its end. An opening whose
time is over stays `open` until somebody calls, and that call is the first probe.

Time is compared by distance in both directions. So a clock that goes back, or that once was far
ahead, holds up nothing for longer than the settings say.

Beside failures, a breaker watches how much of what a tool does is done again (the retry budget),
and whether it suddenly costs many times what it did. The settings are named, and mean, what
people know from resilience4j and Polly.
"""

from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from saferun.control.amount import MAX

BUCKET = 10_000_000
"""What happened is added up by stretches of ten seconds, in microseconds."""

BUCKETS = 6
"""How many of them count: a minute, of which the newest ten seconds are under way."""

BASELINE = 15
"""With how many minutes before it the last minute's spending is compared."""

PROBES_KEPT = 32
"""How many probes of one trial are remembered, which bounds the record and `Breaker.probes`."""

State: TypeAlias = Literal["closed", "open", "half-open"]

Why: TypeAlias = Literal["open", "half-open", "retry-budget", "cost-spike"]

Window: TypeAlias = tuple[tuple[int, int, int, int, int, int], ...]
"""Buckets, the oldest first: number, ended, failed, slow, retried, spent."""

Pairs: TypeAlias = tuple[tuple[int, int], ...]


class Breaker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a tool is left alone, and how it is tried again. Times are in microseconds.

    It opens when at least `min_calls` have ended within a minute, and `failure_rate` of them or
    more have failed, or `slow_rate` of them or more took longer than `slow_after` (None: none
    does). It stays open for `open_for`, twice as long each time that a trial fails, `open_max` at
    most, and up to `jitter` of that more or less, so that tools which broke together are not
    tried together.

    Half-open it lets `probes` through at once, from 1 to 32. A probe's place is free again after
    `lease`, whatever became of it. Any failure opens again; `successes` close, unless `slow_rate`
    of them were slow.

    A person is asked where the last minute cost more than `spike` times what a minute cost in the
    fifteen before, and more than `spike_floor` micro-dollars; None never asks. Where nothing was
    spent before, it is more than `spike` times the floor.

    Calls that try again after an error may be `retry_share` of the minute's calls, and
    `retry_min` of them at any rate.
    """

    failure_rate: float = 0.5
    slow_rate: float = 0.8
    slow_after: int | None = None
    min_calls: int = 20
    open_for: int = 30_000_000
    open_max: int = 600_000_000
    jitter: float = 0.2
    probes: int = 2
    successes: int = 3
    lease: int = 60_000_000
    spike: float | None = 5.0
    spike_floor: int = 1_000_000
    retry_share: float = 0.1
    retry_min: int = 10


class Health(msgspec.Struct, frozen=True, array_like=True):
    """How a tool is doing for one tenant: all that a breaker keeps, under 2 KiB packed.

    `opened` is how many times in a row it has opened, 0 while it is closed. It opened last at
    `since`, and may be probed from `until` on. While `trial` holds, `probing` names the probes
    with their starts; `good` succeeded, `slow` of them too slowly.

    A bucket of `window` is its number, the calls that ended, those that failed, those that were
    slow, the retries that were let through, and the micro-dollars spent. `history` is what was
    spent before those buckets, by minute.
    """

    opened: int = 0
    since: int = 0
    until: int = 0
    trial: bool = False
    good: int = 0
    slow: int = 0
    probing: Pairs = ()
    window: Window = ()
    history: Pairs = ()

    @property
    def state(self) -> State:
        if not self.opened:
            return "closed"
        return "half-open" if self.trial else "open"


class Tally(NamedTuple):
    """What the last minute holds: what ended in it, and how; what was let through as a retry.

    `spent` is in micro-dollars, and so is `earlier`, for the fifteen minutes before together, or
    for the `minutes` since the first of them in which anything was spent.
    """

    calls: int
    failed: int
    slow: int
    retried: int
    spent: int
    earlier: int
    minutes: int


class Pass(msgspec.Struct, frozen=True):
    """Whether a call is let through, and why not.

    `until` is when the next call may get through, in microseconds; None where no time brings
    that about. `health` is how the tool stands once the call has been let through, the very
    record that was given where that changes nothing. `probe` says that the call is one.
    """

    verdict: Literal["allow", "deny", "ask"]
    health: Health
    why: Why | None = None
    until: int | None = None
    probe: bool = False


def admits(settings: Breaker, health: Health, now: int, *, call: int, retry: bool) -> Pass:
    """Whether a call may go through to a tool at `now`.

    `call` is a number of 64 bits that `completed` will be told too: a probe's place is held in
    its name. `retry` says that it repeats a call which ended in an error.
    """
    probe = False
    if health.opened:
        if health.trial:
            lease = settings.lease
            held = [started for _, started in health.probing if abs(now - started) < lease]
            if len(held) >= min(settings.probes, PROBES_KEPT):
                return Pass("deny", health, "half-open", min(held, default=now) + lease)
        elif abs(now - health.since) < health.until - health.since:
            return Pass("deny", health, "open", health.until)
        probe = True
    seen = tally(health, now) if health.window else _NOTHING
    if retry and not _within_budget(settings, seen):
        return Pass("deny", health, "retry-budget", _retries_at(settings, health, now))
    after = health
    if probe or retry:
        window, history = health.window, health.history
        if retry:
            window, history = _counted(health, now, 0, 0, 0, 1, 0)
        probing = health.probing
        if probe:
            # Those whose places are free again are remembered all the same: a tool that takes
            # longer than the lease would never be seen to succeed otherwise.
            probing = (*probing, (call, now))[-PROBES_KEPT:]
        after = replace(health, trial=probe, probing=probing, window=window, history=history)
    if _spikes(settings, seen):
        return Pass("ask", after, "cost-spike", _calm_at(settings, health, now), probe)
    return Pass("allow", after, None, None, probe)


def completed(
    settings: Breaker,
    health: Health,
    now: int,
    *,
    call: int,
    seed: int,
    failed: bool | None,
    latency: int = 0,
    cost: int = 0,
) -> Health:
    """How a tool stands once a call has ended; to be told once of each call that was let through.

    `failed` is None for what says nothing of the tool: a call that was cancelled or that never
    started. A probe of that kind gives back its place. `latency` is in microseconds and `cost`
    is what it did cost, in micro-dollars. `seed` is a number of this tool and tenant, by which
    openings of the same length come to differ.

    Whether to open is looked at with every call that ends and not only with failures, or what
    reaches the minimum by a success would be missed. A call that was let through before the
    breaker opened counts in the window, and has no say in a trial.
    """
    if failed is None:
        window, history = health.window, health.history
        if cost:
            window, history = _counted(health, now, 0, 0, 0, 0, cost)
        elif not health.trial:
            return health
        return _left(health, call, health.good, health.slow, window, history)
    slow = int(settings.slow_after is not None and latency > settings.slow_after)
    window, history = _counted(health, now, 1, int(failed), slow, 0, cost)
    if not health.opened:
        calls = failures = slows = 0
        for bucket in window:
            calls += bucket[1]
            failures += bucket[2]
            slows += bucket[3]
        if calls >= settings.min_calls and (
            failures / calls >= settings.failure_rate or _too_slow(settings, slows, calls)
        ):
            return _open(settings, 1, now, seed, window, history)
        return Health(window=window, history=history)
    if not health.trial or all(known != call for known, _ in health.probing):
        return _left(health, call, health.good, health.slow, window, history)
    if failed:
        return _open(settings, health.opened + 1, now, seed, window, history)
    good, slow = health.good + 1, health.slow + slow
    if good < settings.successes:
        return _left(health, call, good, slow, window, history)
    if _too_slow(settings, slow, good):
        return _open(settings, health.opened + 1, now, seed, window, history)
    # Closed with a clean sheet: the failures that opened it would open it again at once. What
    # was spent and done again stays, since closing does not undo that.
    clean = tuple((number, 0, 0, 0, retried, spent) for number, *_, retried, spent in window)
    return Health(window=clean, history=history)


def spent(health: Health, now: int) -> bool:
    """Whether nothing is left of it: it says no more than `Health()` does, now and later."""
    if health.opened or health.probing:
        return False
    minutes = [bucket[0] // BUCKETS for bucket in health.window]
    minutes += [minute for minute, _ in health.history]
    # What counts longest is spending, in the minutes that the last one is compared with.
    return max(minutes, default=0) < now // BUCKET // BUCKETS - BASELINE


def tally(health: Health, now: int) -> Tally:
    """What counts at `now`."""
    window = health.window
    current = _bucket(window, now)
    oldest = current - BUCKETS
    this_minute = current // BUCKETS
    calls = failed = slow = retried = spent = earlier = 0
    first = this_minute
    for number, ended, failures, slows, retries, cost in window:
        if number > oldest:
            if number <= current:
                calls += ended
                failed += failures
                slow += slows
                retried += retries
                spent += cost
        elif cost and number // BUCKETS >= this_minute - BASELINE:
            earlier += cost
            first = min(first, number // BUCKETS)
    for minute, cost in health.history:
        if this_minute - BASELINE <= minute < this_minute:
            earlier += cost
            first = min(first, minute)
    return Tally(calls, failed, slow, retried, spent, earlier, this_minute - first)


_NOTHING = Tally(0, 0, 0, 0, 0, 0, 0)


def _bucket(window: Window, now: int) -> int:
    """The number of the bucket that a time belongs to: never before the last, but for a jump."""
    number = now // BUCKET
    if window and number < window[-1][0] < number + BUCKETS:
        return window[-1][0]
    return number


def _counted(
    health: Health, now: int, ended: int, failed: int, slow: int, retried: int, cost: int
) -> tuple[Window, Pairs]:
    """The window with something more in it, and the history with what has left the window."""
    window, history = health.window, health.history
    current = _bucket(window, now)
    oldest = current - BUCKETS + 1
    if window and (window[0][0] < oldest or window[-1][0] > current):
        this_minute = current // BUCKETS
        spent = dict(history)
        for number, *_, amount in window:
            if number < oldest and amount:
                minute = number // BUCKETS
                spent[minute] = min(MAX, spent.get(minute, 0) + amount)
        history = tuple(
            (minute, amount)
            for minute, amount in sorted(spent.items())
            if this_minute - BASELINE <= minute < this_minute
        )
        window = tuple(bucket for bucket in window if oldest <= bucket[0] <= current)
    if window and window[-1][0] == current:
        _, a, b, c, d, e = window[-1]
        last = (current, a + ended, b + failed, c + slow, d + retried, min(MAX, e + cost))
        return (*window[:-1], last), history
    return (*window, (current, ended, failed, slow, retried, min(MAX, cost))), history


def _left(
    health: Health,
    call: int,
    good: int,
    slow: int,
    window: Window,
    history: Pairs,
) -> Health:
    """The same state without this call among its probes."""
    probing = health.probing
    if probing:
        probing = tuple(probe for probe in probing if probe[0] != call)
    return replace(health, good=good, slow=slow, probing=probing, window=window, history=history)


def _open(
    settings: Breaker,
    times: int,
    now: int,
    seed: int,
    window: Window,
    history: Pairs,
) -> Health:
    until = now + _pause(settings, times, seed)
    return Health(times, now, until, window=window, history=history)


def _pause(settings: Breaker, times: int, seed: int) -> int:
    """How long it stays open when it has opened for the n-th time in a row."""
    # No further doubling can matter, and the number must not grow without end.
    length = min(settings.open_for << min(times - 1, 40), settings.open_max)
    # SplitMix64 (Steele, Lea, Flood 2014): this room has no chance, and needs only that tools
    # and openings differ.
    mixed = (seed + times * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    mixed ^= mixed >> 31
    return max(1, length + int(length * settings.jitter * (mixed / (1 << 63) - 1)))


def _too_slow(settings: Breaker, slow: int, calls: int) -> bool:
    return settings.slow_after is not None and slow / calls >= settings.slow_rate


def _within_budget(settings: Breaker, seen: Tally) -> bool:
    """Whether one more retry fits."""
    retries = seen.retried + 1
    if retries <= settings.retry_min:
        return True
    return seen.calls > 0 and retries / seen.calls <= settings.retry_share


def _spikes(settings: Breaker, seen: Tally) -> bool:
    spent = seen.spent
    if settings.spike is None or spent <= settings.spike_floor:
        return False
    if not seen.minutes:
        # Nothing to compare it with: a tool that has only begun costs what it costs.
        return spent > settings.spike * settings.spike_floor
    return spent * seen.minutes > settings.spike * seen.earlier


def _retries_at(settings: Breaker, health: Health, now: int) -> int | None:
    """When a retry fits again if nothing happens till then: buckets leave one by one."""
    for bucket in health.window:
        at = (bucket[0] + BUCKETS) * BUCKET
        if at > now and _within_budget(settings, tally(health, at)):
            return at
    return None


def _calm_at(settings: Breaker, health: Health, now: int) -> int | None:
    """When spending is no spike any more if nothing is spent till then."""
    for bucket in health.window:
        at = (bucket[0] + BUCKETS) * BUCKET
        if at > now and not _spikes(settings, tally(health, at)):
            return at
    return None
