"""Limits: how often something may happen, or how much of it, for whom, and how long it counts.

    {id: refunds-per-user, max: 20, per: user, window: 1h}         counts calls
    {id: run-cost, sum: cost_usd, max: 2.00, per: run}             adds up
    {id: slow, rate: 10/min, burst: 3, per: tenant}                spreads out

A limit counts under a group, which is the values of its scopes: one user, or one lead in one
run. Whether a call fits is decided here, from the states of its groups alone. Limits are all
checked before any is moved, so a denial consumes nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Measure, canonical
from saferun.control import rate, window
from saferun.control.amount import MAX, MICRO, dollars, micro, said

# Characters that a reader does not see: they would make one recipient count as many.
_INVISIBLE = frozenset(("Cf", "Cc"))
_MARKS = frozenset(("\u034f", *map(chr, range(0xFE00, 0xFE10))))
_QUOTING = str.maketrans("", "", '"\\')

MAX_SHOWN = 200
"""Characters of an argument that are looked at to say a group for people."""

COST = "cost_usd"
"""What a limit sums that is about money; everything else that is summed is an argument."""

OnLimit: TypeAlias = Literal["deny", "defer", "ask"]

CLOSE = 10
"""A call comes close to a limit where it leaves a tenth of it at most."""

State: TypeAlias = Any
"""What is kept of a limit in a group: a total, the slices of a window, or the state of a rate."""


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At most `max` for each combination of the values of `per`.

    `per` is a tuple of scopes: `run`, `agent`, `user`, `tenant`, `tool`, `all`, or `args.NAME`
    for each value of that argument. `sum` is None where calls are counted, else `cost_usd` or
    `args.NAME`; then `max` is in millionths. `window` is in microseconds; without one it counts
    for good. With `burst` it is a rate: `max` in a `window`, and `burst` of them at once.

    `tool` is None for a limit over all the tools of the policy.
    `disclose=False` keeps the threshold out of what the model is told. With `shadow` it counts
    what it would let through, as ever, and stops nothing: only what it would say is kept.
    `name` is what its state is kept under, within a group: whatever would make it another count
    is part of it, so that a new version of a policy never reads one count as another. In shadow it
    is the same count: what was tried out goes on from there once it is enforced.
    """

    id: str
    max: int
    per: tuple[str, ...]
    sum: str | None = None
    window: int | None = None
    burst: int | None = None
    on_limit: OnLimit = "deny"
    tool: str | None = None
    message: str | None = None
    disclose: bool = True
    shadow: bool = False
    line: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            what = self.sum or ("calls" if self.burst is None else f"{self.max}~{self.burst}")
            kept = f"{self.id} {what}{'' if self.window is None else f' {self.window}'}"
            msgspec.structs.force_setattr(self, "name", kept)

    def sentence(self) -> str:
        """What a denial by this limit says, to people and to the model alike."""
        if self.message is not None:
            return self.message
        if not self.disclose:
            return "a limit of the policy is reached"
        named = (scope if scope in _PLAIN else f"value of {scope}" for scope in self.per)
        each = "" if self.per == ("all",) else f" for each {' and '.join(named)}"
        if self.sum is not None:
            most = dollars(self.max) if self.sum == COST else f"{said(self.max)} of {self.sum}"
            return f"at most {most} in sum{each}{self._within()}"
        if self.burst is not None:
            return f"at most {self.max} {_calls(self.max)} in {duration(self.window or 0)}{each}"
        if self.per == ("run",) and self.window is None:
            return f"at most {self.max} {_calls(self.max)} in one run"
        return f"at most {self.max} {_calls(self.max)}{each}{self._within()}"

    def uncountable(self, missing: str) -> str:
        """What is said where a scope is missing: outside a run, or without the argument."""
        if missing == "run":
            return "it counts within a run, and this call is in none; use saferun.run(...)"
        if missing in ("agent", "user", "tenant"):
            return f"it counts by {missing}, and the run says none; use saferun.run({missing}=...)"
        return f"it counts by {missing}, which this call does not have"

    def _within(self) -> str:
        return "" if self.window is None else f" in {duration(self.window)}"


class Charge(msgspec.Struct, frozen=True):
    """One limit, and what a call would add to it.

    `key` is the group that it counts in, None where the call has none; `missing` is the scope
    that it lacks, or the sum that cannot be formed. `about` says the group for people, beginning
    with the `policy` whose space it is. `amount` is one call or so many millionths: of a cost,
    the most that the call may come to.
    """

    limit: Limit
    key: Any
    amount: int = 1
    missing: str = ""
    about: tuple[tuple[str, str], ...] = ()


class Over(NamedTuple):
    """A charge that does not fit: what is used, and when it would fit, if ever."""

    charge: Charge
    used: int = 0
    frees_at: int | None = None

    def measure(self) -> Measure:
        return replace(
            measured(self.charge, self.used),
            wants=_shown(self.charge.limit, self.charge.amount),
            frees_at=self.frees_at,
        )


class Group(NamedTuple):
    """Whom a limit counts for in one call: `key` is None where the call lacks `missing`.

    `about` says it for people: the policy, then each scope with its value, arguments last.
    """

    key: Any
    about: tuple[tuple[str, str], ...] = ()
    missing: str = ""


class Groups:
    """The groups that the calls of one run count in, each worked out once.

    Whom a run is for never changes while it lasts, so only what counts by arguments is looked
    at again. `number` makes the key of a group from what it is, as bytes.
    """

    MAX = 1_000

    def __init__(self, number: Callable[[bytes], Any] = bytes) -> None:
        self._number = number
        self._known: dict[tuple[str, tuple[str, ...], str], Group] = {}

    def of(self, per: tuple[str, ...], call: Call, space: str) -> Group:
        at = (space, per, call.tool)
        found = self._known.get(at)
        if found is None:
            found = self._group(per, call, space)
            if not any(scope.startswith("args.") for scope in per):
                if len(self._known) >= self.MAX:
                    self._known.clear()
                self._known[at] = found
        return found

    def _group(self, per: tuple[str, ...], call: Call, space: str) -> Group:
        parts: list[object] = [space]
        known, written = [("policy", space)], []
        for scope in per:
            if scope.startswith("args."):
                name = scope.removeprefix("args.")
                if name not in call.args:
                    return Group(None, missing=scope)
                value = call.args[name]
                parts.append((scope, folded(value)))
                written.append((scope, _legible(str(value)[:MAX_SHOWN])))
            elif scope != "all":
                who = _who(scope, call)
                if who is None:
                    return Group(None, missing=scope)
                parts.append((scope, who))
                known.append((scope, who))
        return Group(self._number(canonical.encode(parts)), (*known, *written))


def _legible(text: str) -> str:
    # It stands in logs and on terminals, and may come from a model.
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _who(scope: str, call: Call) -> str | None:
    run = call.run
    if scope == "tool":
        return call.tool
    if run is None:
        return None
    if scope == "run":
        # A child counts at the top of its family, or spawning one would be a way round.
        return run.root
    if scope == "user":
        return run.user_id
    return run.tenant if scope == "tenant" else run.agent


def charges(
    limits: Sequence[Limit], call: Call, space: str, cost: int | None, groups: Groups
) -> list[Charge]:
    """What this call would count towards. `space` sets a shadow policy's counters apart.

    `cost` is the most that the call may cost, in micro-dollars, None where that cannot be told.
    Where a limit has nothing to count by, or no amount to add, the charge has no key; such a
    call does not fit, since a limit that cannot count cannot allow.
    """
    due = []
    for limit in limits:
        key, about, missing = groups.of(limit.per, call, space)
        amount = 1
        if limit.sum is not None:
            addend = cost if limit.sum == COST else _addend(call, limit.sum)
            amount = addend or 0
            if addend is None:
                key, missing = None, missing or limit.sum
        due.append(Charge(limit, key, amount, missing, about))
    return due


def measured(charge: Charge, used: int) -> Measure:
    """How a limit stands at `used`, for people."""
    limit = charge.limit
    return Measure(
        control="rate" if limit.burst is not None else "budget" if limit.sum else "limit",
        scope=", ".join(f"{name} {value}" for name, value in charge.about[1:]),
        max=_shown(limit, limit.max if limit.burst is None else limit.burst),
        used=_shown(limit, used),
        hidden=not limit.disclose,
    )


def _shown(limit: Limit, amount: int) -> str:
    return dollars(amount) if limit.sum == COST else said(amount) if limit.sum else str(amount)


def over(charge: Charge, state: State, now: int) -> Over | None:
    """Why a charge does not fit on top of `state`, None where it does."""
    return tried(charge, state, now)[1]


def tried(charge: Charge, state: State, now: int) -> tuple[int, Over | None]:
    """What a limit stands at with a charge that fits, and `over`.

    Of a rate it is 0: it is there to be kept up with, and nobody comes close to it.
    """
    limit = charge.limit
    if charge.key is None:
        return 0, Over(charge)
    if limit.burst is not None:
        burst, span = limit.burst, limit.window or 1
        at = state or 0
        frees = rate.free_at(at, most=limit.max, window=span, burst=burst, now=now)
        if frees <= now:
            return 0, None
        return 0, Over(charge, rate.used(at, most=limit.max, window=span, now=now), frees)
    if limit.window is None:
        used = state or 0
        return used + charge.amount, None if _fits(charge, used) else Over(charge, used)
    used = window.held(state or (), limit.window, now)
    if _fits(charge, used):
        return used + charge.amount, None
    room = limit.max - max(1, charge.amount)
    return 0, Over(charge, used, window.free_at(state or (), limit.window, room, now))


def close(charge: Charge, stands: int) -> Measure | None:
    """How near a charge that fits came to its limit, which then `stands` at so much.

    None from a distance. A call that is the first of only one has come to no edge.
    """
    limit = charge.limit
    if (limit.max - stands) * CLOSE > limit.max:
        return None
    first = limit.sum is None and stands == charge.amount
    # For whom it counts, the entry of the call says.
    return None if first else replace(measured(charge, stands), scope="")


def _fits(charge: Charge, used: int) -> bool:
    # What is spent is spent: a call that costs nothing itself is no way round a budget.
    return used + charge.amount <= charge.limit.max and (
        charge.amount > 0 or used < charge.limit.max
    )


def counted(charge: Charge, state: State, now: int) -> State:
    """The state once the call is let through."""
    limit = charge.limit
    if limit.burst is not None:
        return rate.moved(state or 0, most=limit.max, window=limit.window or 1, now=now)
    if limit.window is None:
        return min(MAX, (state or 0) + charge.amount)
    at = window.slice_of(limit.window, now)
    return window.moved(state or (), limit.window, at, charge.amount, now)


def corrected(limit: Limit, state: State, by: int, admitted: int, now: int) -> State:
    """The state once more, or less, is known of a call that was `admitted` at that time.

    It counts where it was counted: in the window that it was admitted in. A rate gives nothing
    back, since what came after it was paced by it. What a call cost is known from its tool alone,
    so a total is bounded, or the store could not keep it.
    """
    if limit.burst is not None:
        return state
    if limit.window is None:
        return min(MAX, max(0, (state or 0) + by))
    at = window.slice_of(limit.window, admitted)
    return window.moved(state or (), limit.window, at, by, now)


def used(limit: Limit, state: State, now: int) -> int:
    """What a limit stands at."""
    if limit.burst is not None:
        return rate.used(state or 0, most=limit.max, window=limit.window or 1, now=now)
    if limit.window is None:
        return int(state or 0)
    return window.held(state or (), limit.window, now)


def spent(name: str, state: State, now: int) -> bool:
    """Whether nothing is left of a state that is kept under a limit's `name`.

    It then says no more than none would, now and at any later time. A total counts for good.
    Windows and rates are known by the name alone, so that this can be told of versions that are
    no longer at hand.
    """
    if isinstance(state, int):
        pace = _RATE.fullmatch(name)
        if pace is None:
            return False
        return rate.used(state, most=int(pace[1]), window=int(pace[2]), now=now) == 0
    return window.held(state, int(name.rpartition(" ")[2]), now) == 0


_RATE = re.compile(r"\S+ (\d+)~\d+ (\d+)")
"""The name of a rate, as `Limit` makes it: id, most and burst, window."""


def duration(microseconds: int) -> str:
    """A stretch of time as people say it: `1 hour`, `90 seconds`."""
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, rest = divmod(microseconds, length * MICRO)
        if count and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{microseconds / MICRO:g} seconds"


_PLAIN = ("run", "agent", "user", "tenant", "tool", "all")


def _calls(count: int) -> str:
    return "call" if count == 1 else "calls"


def _addend(call: Call, path: str) -> int | None:
    try:
        return micro(call.args.get(path.removeprefix("args.")))
    except ValueError:
        return None


def folded(value: object) -> object:
    """One spelling for what a reader takes for one value.

    `Lead@Acme.test`, full-width letters and zero-width joiners would otherwise each
    start a count of their own. Folding can only merge counts, so it errs towards no.
    Numbers that are equal count as one, whether written 5 or 5.0.
    """
    if isinstance(value, str):
        wide = unicodedata.normalize("NFKC", value).casefold()
        seen = "".join(
            c for c in wide if unicodedata.category(c) not in _INVISIBLE and c not in _MARKS
        )
        if "@" in seen:
            # RFC 5322 lets a mailbox be quoted: `"dana"@x` and `"da\\na"@x` are dana@x.
            seen = seen.translate(_QUOTING)
        return " ".join(seen.split())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [folded(item) for item in value]
    if isinstance(value, dict):
        return {key: folded(item) for key, item in value.items()}
    return value
