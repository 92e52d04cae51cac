"""How the controls stand: what is used of each limit, how tools fare, and what is stopped.

What the store keeps of a limit names it and says nothing of its bound, so that a new version of
a policy goes on counting where the old one stops. The bound is the one that decides now: that
of the version in force, or of the newest that the store has kept.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

import msgspec

from saferun import policy as policies
from saferun.admission import ASKING, HEALTH, health
from saferun.control import Charge, Health, Limit, Switch
from saferun.control import breaker as breakers
from saferun.control import limit as limits
from saferun.errors import SafeRunError
from saferun.policy import Policy
from saferun.store.controls import Group, groups, held_amounts, newest_groups, switches
from saferun.store.reading import Reader
from saferun.store.runs import agent_of
from saferun.store.versions import kept_version, versions_of
from saferun.store.work.turn import BY_ITSELF


class Used(msgspec.Struct, kw_only=True):
    """What is used of a limit by those that it counts together.

    `counts_for` says who that is, by scope. `used` and `held` are calls, or millionths where the
    limit sums up; `held` is the part of `used` that calls under way may come to. `frees_at` is
    when the next call may fit, in microseconds since 1970, UTC; None for a limit that is not
    `full`, or that no time frees.
    """

    counts_for: dict[str, str]
    used: int
    held: int = 0
    full: bool = False
    frees_at: int | None = None


class LimitUse(msgspec.Struct, kw_only=True):
    """One limit, and those who have used most of it.

    `mode` is that of the policy, or `trial` for what a version on trial counts by itself. `max`
    is in calls, or in millionths where the limit sums up `sum`; None where no version that the
    store has kept knows the limit any more. A rate has `burst`, which is what uses are of, and
    lets `max` through in a `window` of microseconds. One in `shadow` stops nothing, full or not.

    `all` says of how many it counts anything, and `full` for how many it is used up; `groups`
    has those that are nearest to it first, and is no longer than was asked for.
    """

    policy: str
    mode: str
    limit: str
    sum: str | None = None
    max: int | None = None
    window: int | None = None
    burst: int | None = None
    shadow: bool = False
    all: int = 0
    full: int = 0
    groups: list[Used] = []

    @property
    def most(self) -> int | None:
        """What uses are of."""
        return self.max if self.burst is None else self.burst

    def share(self, used: Used) -> float:
        """How much of it is used; one that nobody knows the bound of is as good as unused."""
        return used.used / self.most if self.most else 0.0


class ToolState(msgspec.Struct, kw_only=True):
    """How one tool fares, for one tenant or for all that have none.

    While it is `open` or `half-open`, it is so since `since`, and may be tried again from
    `until` on, both in microseconds since 1970, UTC. `good` tries of the trial under way have
    succeeded. The last four are of the last minute; `spent` is in micro-dollars.
    """

    tool: str
    tenant: str | None
    state: breakers.State
    opened: int = 0
    since: int | None = None
    until: int | None = None
    good: int = 0
    calls: int = 0
    failed: int = 0
    slow: int = 0
    spent: int = 0


class Usage(msgspec.Struct, kw_only=True):
    """All of it at `at`, in microseconds since 1970, UTC. What is nearest to its bound is first.

    Of what is `stopped`, there is first what persons have stopped, and in both parts what was
    stopped last. `agents` has the agents of the runs among it, where they have said one.
    `unseen` counts the groups that were not looked at, since enough others have moved after them.
    Of tools there are those whose breaker is not closed, or of which something has failed or
    was slow in the last minute; `all_breakers` counts those that did not fit.
    """

    at: int
    stopped: list[Switch]
    breakers: list[ToolState] = []
    limits: list[LimitUse] = []
    budgets: list[LimitUse] = []
    all_breakers: int = 0
    agents: dict[str, str] = {}
    unseen: int = 0

    @property
    def by_itself(self) -> list[Switch]:
        """The runs that SafeRun has stopped, as far as nobody has let them go on."""
        return [switch for switch in self.stopped if switch.by == BY_ITSELF]

    @property
    def by_people(self) -> list[Switch]:
        return [switch for switch in self.stopped if switch.by != BY_ITSELF]


class Bounds:
    """Looks up limits by the names that their states are kept under.

    `in_force` gives the version that decides under a policy's name, where anybody knows; the
    store's own versions come after it, the newest first.
    """

    def __init__(self, reader: Reader, in_force: Callable[[str], Policy | None]) -> None:
        self._reader = reader
        self._in_force = in_force
        self._known: dict[str, dict[str, Limit]] = {}
        self._left: dict[str, list[str]] = {}

    def of(self, space: "_Space", name: str) -> Limit | None:
        known = self._known.get(space.text)
        if known is None:
            # What is limited where no policy says so.
            known = self._known[space.text] = {ASKING.name: ASKING}
            self._begin(space, known)
        left = self._left[space.text]
        while name not in known and left:
            self._learn(known, self._kept(left.pop()))
        return known.get(name)

    def _begin(self, space: "_Space", known: dict[str, Limit]) -> None:
        if space.version is not None:
            self._left[space.text] = [space.version]
            return
        self._left[space.text] = [version for version, _ in versions_of(self._reader, space.policy)]
        self._learn(known, self._in_force(space.policy))

    def _kept(self, version: str) -> Policy | None:
        try:
            return policies.restore(kept_version(self._reader, version))
        except SafeRunError:
            # One that is gone or damaged explains nothing; what is used is shown without it.
            return None

    def _learn(self, known: dict[str, Limit], policy: Policy | None) -> None:
        if policy is None:
            return
        for limit in limits_of(policy):
            known.setdefault(limit.name, limit)


def limits_of(policy: Policy) -> Iterable[Limit]:
    """All limits of a policy: those over all tools, and each tool's own."""
    entries = [policy.stranger, *_flat(policy.tools), *_flat(policy.prefixes)]
    return {limit.name: limit for entry in entries for limit in entry.limits}.values()


def _flat(tools: Mapping[str, Sequence[Any]]) -> list[Any]:
    return [entry for entries in tools.values() for entry in entries]


class _Space(NamedTuple):
    """Whose counts these are: a policy's in one mode, those of a version on trial, or our own."""

    text: str
    policy: str
    mode: str
    version: str | None


_TRIAL = re.compile(r"(.*)@([0-9a-f]{64})", re.DOTALL)


def _space(text: str) -> _Space:
    trial = _TRIAL.fullmatch(text)
    if trial is not None:
        return _Space(text, trial[1], "trial", trial[2])
    name, _, mode = text.rpartition("/")
    # What SafeRun counts by itself belongs to no policy.
    return _Space(text, name, mode if name else "enforce", None)


RESTING = 3_600_000_000
"""Microseconds after which a run that has counted nothing is likely to be over."""

MOST_TOOLS = 50
"""Tools that are told of at once."""


def usage(
    reader: Reader, bounds: Bounds, most: int, about: str = "", newest: int | None = None
) -> Usage:
    """How the controls stand now, with `most` groups of each limit at most.

    With `about`, what has that in a name alone: of a tool, a user, a run, a limit, an agent. With
    `newest`, of so many groups that moved last, and of all whose tool has a breaker.

    Raises StoreError where the store cannot be read.
    """
    tally = _Tally(bounds, held_amounts(reader), reader.now(), most, about)
    since, unseen = (0, 0) if newest is None else newest_groups(reader, newest)
    # A breaker may have been open for long, and is told of whatever has moved since.
    for group in groups(reader, since, HEALTH):
        tally.add(group)
    uses = sorted(tally.uses(), key=_nearest)
    found = stops(reader, about)
    found.at, found.unseen = tally.now, unseen
    found.breakers, found.all_breakers = tally.tools.first(), tally.tools.seen
    found.limits = [use for use in uses if use.sum is None]
    found.budgets = [use for use in uses if use.sum is not None]
    return found


def stops(reader: Reader, about: str = "") -> Usage:
    """What is stopped, and nothing else of it: at once, however much there is to count."""
    stopped = sorted(switches(reader), key=lambda each: (each.by == BY_ITSELF, -each.since))
    runs = [each.value for each in stopped if each.scope == "run" and each.value is not None]
    agents = {run: agent for run in runs if (agent := agent_of(reader, run)) is not None}
    # What stops everything is about whatever one looks for.
    stopped = [
        each
        for each in stopped
        if each.value is None or _has(about, each.value, agents.get(each.value))
    ]
    return Usage(at=reader.now(), stopped=stopped, agents=agents)


def _has(about: str, *names: str | None) -> bool:
    """Whether that stands in any of some names, in whatever case."""
    return not about or any(about.casefold() in name.casefold() for name in names if name)


def _nearest(use: LimitUse) -> tuple[float, bool, str]:
    # What frees by itself first: what is once for good, as one refund an order, is no news.
    return (-min(use.share(use.groups[0]), 1.0), use.window is None, use.limit)


class _Tally:
    """What the states of groups say at one time."""

    def __init__(
        self,
        bounds: Bounds,
        held: Mapping[tuple[int, str], int],
        now: int,
        most: int,
        about: str,
    ) -> None:
        self.now = now
        self._about = about
        self.tools = _Top(MOST_TOOLS)
        self._bounds = bounds
        self._held = held
        self._most = most
        self._uses: dict[tuple[str, str], tuple[LimitUse, Limit | None, _Top]] = {}

    def add(self, group: Group) -> None:
        about = dict(group.about)
        space = about.pop("policy", "")
        found = _has(self._about, *about.values())
        for name, state in group.states.items():
            if not found and not _has(self._about, name.partition(" ")[0]):
                continue
            if name == HEALTH:
                self._fared(about, health(group.states))
            else:
                self._used(space, name, state, group, about)

    def uses(self) -> Iterator[LimitUse]:
        for use, _, top in self._uses.values():
            if top.seen:
                use.groups, use.all = top.first(), top.seen
                yield use

    def _used(self, space: str, name: str, state: Any, group: Group, about: dict[str, str]) -> None:
        if (space, name) not in self._uses:
            of = _space(space)
            limit = self._bounds.of(of, name)
            use = LimitUse(policy=of.policy, mode=of.mode, limit=name.partition(" ")[0])
            if limit is not None:
                use.sum, use.max = limit.sum, limit.max
                use.window, use.burst, use.shadow = limit.window, limit.burst, limit.shadow
            self._uses[space, name] = (use, limit, _Top(self._most))
        use, limit, top = self._uses[space, name]
        if limit is None:
            # A total says what it is by itself, and nothing else does.
            used = Used(
                counts_for=about, used=state if type(state) is int and "~" not in name else 0
            )
        else:
            used = Used(counts_for=about, used=limits.used(limit, state, self.now))
            over = limits.over(Charge(limit, 0), state, self.now)
            if over is not None:
                used.full, used.frees_at = True, over.frees_at
        if used.used:
            # At most: between two readings a call may have ended.
            used.held = min(used.used, self._held.get((group.key, name), 0))
            use.full += used.full
            # What a run has used up stays so when the run is over, and few say that they are:
            # those that have rested come after all others, lest they crowd out the living.
            rests = use.window is None and "run" in about and group.time < self.now - RESTING
            # Of equals, and whatever is full is equal, those that moved last.
            top.add((not rests, min(use.share(used), 1.0), group.time), used)

    def _fared(self, about: Mapping[str, str], found: Health) -> None:
        minute = breakers.tally(found, self.now)
        if found.state == "closed" and not (minute.failed or minute.slow):
            return
        tool = ToolState(
            tool=about.get("tool", ""),
            tenant=about.get("tenant"),
            state=found.state,
            opened=found.opened,
            good=found.good,
            calls=minute.calls,
            failed=minute.failed,
            slow=minute.slow,
            spent=minute.spent,
        )
        if found.opened:
            tool.since, tool.until = found.since, found.until
        self.tools.add((found.state != "closed", minute.failed + minute.slow), tool)


class _Top:
    """Those that rank highest of many, without keeping all of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[Any, int, Any]] = []
        self.seen = 0

    def add(self, rank: tuple[Any, ...], value: Any) -> None:
        self.seen += 1
        # The number decides between equals, so that values are never compared.
        self._kept.append((rank, -self.seen, value))
        if len(self._kept) >= 4 * self._most + 100:
            self._kept = nlargest(self._most, self._kept)

    def first(self) -> list[Any]:
        return [value for _, _, value in nlargest(self._most, self._kept)]
