"""Limits that would have stopped a call: how many of its kind there were, and there usually are.

What came before a call in its own run is part of what went wrong, and says nothing of what is
usual. How often is looked at for each run, user and value of an argument, in a minute, an hour, a
day and a run; of the stretches of time, the one is taken that sets the call apart the most.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

from saferun.control.limit import folded
from saferun.control.window import SLICES
from saferun.policy.document import UNSET, Tool
from saferun.policy.suggest.candidate import Candidate
from saferun.policy.suggest.propose import MAX_TEXT, MIN_SEEN, free, names_one
from saferun.policy.suggest.words import nameable, rounded, slug

MAX_SCOPES = 4
"""Arguments whose values are counted by."""

TOO_MANY = 0.05
"""The share of fine calls from which on a limit is none that anybody would want."""

MINUTE = 60_000_000
WINDOWS: Mapping[str | None, int] = {"1min": MINUTE, "1h": 60 * MINUTE, "1d": 1_440 * MINUTE}
_IN_A_RUN: Mapping[str | None, int] = {None: 0}


class Calls(NamedTuple):
    """Calls of one tool in their order, a column each.

    `run` is the one at the top of its family, and `at` is in microseconds since 1970, UTC. `ran`
    says that a call was let start, and `fine` that it is taken to have been as it should. `timed`
    says that it was made at that time, as one is not that was brought in from elsewhere.
    """

    at: Sequence[int]
    run: Sequence[str | None]
    user: Sequence[str | None]
    args: Sequence[Mapping[str, Any]]
    ran: Sequence[bool]
    fine: Sequence[bool]
    timed: Sequence[bool]


class Pace(NamedTuple):
    """A limit, and how many of `of` fine calls passed its bound: it stops no more than these.

    `drifted` of the `newer` half passed the bound that the older half leads to. `stands_out` is how
    many times what is usual the incident came to. `among` are the places of all calls that count
    together with one that passed it: no other has a part in what it stops.
    """

    candidate: Candidate
    passed: int
    of: int
    drifted: int
    newer: int
    stands_out: float
    among: list[int]

    @property
    def cost(self) -> float:
        """The most that it may cost, as a share of fine calls."""
        return self.passed / self.of + (self.drifted / self.newer if self.newer else 0.0)

    @property
    def scopes(self) -> frozenset[str]:
        per = self.candidate.body["per"]
        return frozenset((per,) if isinstance(per, str) else per)

    def wider(self, other: "Pace") -> bool:
        """Whether it stops what another one stops, and more to come, at no higher cost."""
        return self.scopes < other.scopes and round(self.cost, 3) <= round(other.cost, 3)

    @property
    def order(self) -> tuple[float, float]:
        return (round(self.cost, 3), -self.stands_out)


def paces(
    tool: Tool,
    name: str,
    calls: Calls,
    incident: int,
    *,
    taken: frozenset[str] = frozenset(),
    hidden: frozenset[str] = frozenset(),
) -> list[Pace]:
    """Limits whose bound a call has passed, the most telling first.

    Args:
        tool: what the policy says of the tool now.
        name: the tool's name as it was called.
        calls: the calls of the tool.
        incident: the place among them of the call that should have been stopped.
        taken: ids that the policy has already.
        hidden: arguments that nothing may count by, beside those that the policy says.

    """
    own = calls.run[incident]
    others = [
        fine and (run is None or run != own)
        for fine, run in zip(calls.fine, calls.run, strict=True)
    ]
    ids, found = set(taken), []
    for scopes in _scopes(tool, calls, incident, hidden):
        if not _repeats(scopes, calls, incident):
            continue
        keys, known, windows = _keys(scopes, calls), others, _IN_A_RUN
        if "run" not in scopes:
            windows = WINDOWS
            known = [fine and timed for fine, timed in zip(others, calls.timed, strict=True)]
        if None in compress(keys, known) or sum(known) < MIN_SEEN:
            # What has nothing to count by would be denied.
            continue
        bounds = (_bound(scopes, keys, calls, incident, known, each) for each in windows.items())
        best = min(
            (each for each in bounds if each is not None), key=lambda each: each.order, default=None
        )
        if best is not None:
            found.append(_named(best, name, scopes, ids))
    found.sort(key=lambda each: each.order)
    return [each for each in found if not any(other.wider(each) for other in found)]


def _scopes(
    tool: Tool, calls: Calls, incident: int, hidden: frozenset[str]
) -> Iterator[tuple[str, ...]]:
    run = calls.run[incident] is not None
    if run:
        yield ("run",)
    timed = calls.timed[incident]
    if timed and calls.user[incident] is not None:
        yield ("user",)
    paths = (*tool.redact, *tool.sensitive)
    kept = {path[1] for path in paths if len(path) > 1 and path[0] == "args"}
    kept |= tool.opaque | hidden
    names = [
        argument
        for argument, value in calls.args[incident].items()
        if argument not in kept and _countable(argument, value) and _always(tool, argument)
    ]
    for argument in names[:MAX_SCOPES]:
        if run:
            yield ("run", f"args.{argument}")
        if timed:
            yield (f"args.{argument}",)


def _countable(name: str, value: Any) -> bool:
    """Whether an argument says whom or what a call is for: a text, or a number that names one."""
    if isinstance(value, str):
        return 0 < len(value) <= MAX_TEXT
    return isinstance(value, int) and not isinstance(value, bool) and names_one(name)


def _always(tool: Tool, name: str) -> bool:
    if tool.args is None:
        return nameable(name)
    argument = tool.args.get(name)
    return argument is not None and (argument.required or argument.default is not UNSET)


def _repeats(scopes: tuple[str, ...], calls: Calls, incident: int) -> bool:
    """Whether a call before the incident may count together with it; it is looked at quickly."""
    if scopes[0] == "run":
        places = [at for at, run in enumerate(calls.run[:incident]) if run == calls.run[incident]]
    else:
        places = list(range(incident))
    for scope in scopes:
        if not scope.startswith("args."):
            continue
        name = scope.removeprefix("args.")
        value = calls.args[incident][name]
        held = (calls.args[at].get(name) for at in places)
        if isinstance(value, str):
            # Not all that counts as one, but folding each would take longer than all the rest.
            alike = value.casefold()
            return any(isinstance(each, str) and each.casefold() == alike for each in held)
        return value in held
    return len(places) > 0


def _keys(scopes: tuple[str, ...], calls: Calls) -> list[Any]:
    """Whom each call counts for, None where it lacks something."""
    columns = [_column(scope, calls) for scope in scopes]
    if len(columns) == 1:
        return columns[0]
    return [None if None in each else each for each in zip(*columns, strict=True)]


def _column(scope: str, calls: Calls) -> list[Any]:
    if scope == "run":
        return [*calls.run]
    if scope == "user":
        return [*calls.user]
    name = scope.removeprefix("args.")
    known: dict[Any, Any] = {None: None}
    column = []
    for args in calls.args:
        value = args.get(name)
        if not isinstance(value, str | int):
            value = None
        if value not in known:
            known[value] = folded(value)
        column.append(known[value])
    return column


def _bound(
    scopes: tuple[str, ...],
    keys: list[Any],
    calls: Calls,
    incident: int,
    others: list[bool],
    window: tuple[str | None, int],
) -> Pace | None:
    """The limit for one stretch of time, without an id; None where it would stop too much."""
    named, length = window
    counts = _counts(keys, calls, length)
    many = counts[incident]
    known = list(compress(counts, others))
    usual, half = max(known), len(known) // 2
    most = _most(usual, many)
    if most < 1:
        return None
    passed = sum(each > most for each in known)
    if passed > TOO_MANY * len(known):
        return None
    then = _most(max(known[:half], default=1), many)
    drifted = sum(each > then for each in known[half:])
    full = {key for key, count in zip(keys, counts, strict=True) if count > most}
    per = scopes[0] if len(scopes) == 1 else [*scopes]
    body = {"max": most, "per": per, **({} if named is None else {"window": named})}
    return Pace(
        Candidate(id="", kind="rate", body=body, part="limits"),
        passed=passed,
        of=len(known),
        drifted=drifted,
        newer=len(known) - half,
        stands_out=many / usual,
        among=[place for place, key in enumerate(keys) if key in full],
    )


def _counts(keys: list[Any], calls: Calls, length: int) -> list[int]:
    """The number of each call among those before it that count with it, without an end or with.

    A window may count a slice longer than it says, so here it always does.
    """
    length += length // SLICES
    held: dict[Any, list[int]] = {}
    counts = []
    counted = calls.ran
    if length:
        counted = [ran and timed for ran, timed in zip(calls.ran, calls.timed, strict=True)]
    for key, at, counts_for_more in zip(keys, calls.at, counted, strict=True):
        mine = held.get(key)
        if mine is None:
            mine = held[key] = []
        counts.append(1 + len(mine) - (bisect_right(mine, at - length - 1) if length else 0))
        if counts_for_more:
            mine.append(at)
    return counts


def _most(usual: int, many: int) -> int:
    """The bound from what is usual on; where that is no less, the highest that stops the call."""
    return int(rounded(usual, many)) if usual < many else many - 1


def _named(pace: Pace, name: str, scopes: tuple[str, ...], taken: set[str]) -> Pace:
    body = pace.candidate.body
    words = [scope.removeprefix("args.") for scope in scopes]
    own = free(slug(name, "per", *words, *filter(None, (body.get("window"),))), taken)
    candidate = Candidate(id=own, kind="rate", body={"id": own, **body}, part="limits")
    return pace._replace(candidate=candidate)
