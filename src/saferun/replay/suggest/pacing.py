"""Limits for one call, and what each would have done: history counted as it would have been.

A limit stops by what came before, so calls are gone through in their order, and it is the admission
of calls itself that counts them, as it does for a limit in shadow: what was let start counts, and
what the limit would have stopped does not.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from msgspec.structs import replace

from saferun.admission import Due, admit
from saferun.call import Call, Verdict
from saferun.control import Groups, charges
from saferun.policy import Policy
from saferun.policy.suggest import Calls, Pace, paces
from saferun.replay.suggest.history import History, Known
from saferun.replay.suggest.place import Place
from saferun.replay.suggest.sweep import Spoken, Tried

TRIED = 3
"""Limits that history is counted for: the most telling at a glance."""

_NOTHING = Spoken(frozenset(), frozenset())


class Paced(NamedTuple):
    """Limits for a call, all calls as they would have been counted, and which of these were fine.

    What its own run did before the call is part of the incident, and none of `fine`.
    """

    found: list[Pace]
    tried: list[Tried]
    fine: set[int]


def paced(
    place: Place,
    incident: Known,
    history: History,
    good: Sequence[Known],
    taken: frozenset[str],
    dearest: float,
) -> Paced:
    """Limits that the incident is over, and that may cost no more than `dearest`.

    `good` are the calls that were fine, and `taken` ids that something has already.
    """
    own = _root(incident)
    fine = {each.seq for each in good if own is None or _root(each) != own}
    known = [each for each in history.calls if each.call is not None]
    at = next(at for at, each in enumerate(known) if each.seq == incident.seq)
    found = paces(
        place.entry,
        history.tool,
        _columns(known, fine),
        at,
        taken=taken,
        hidden=history.hidden,
    )
    found = [each for each in found if each.cost <= dearest][:TRIED]
    candidates, policy = place.sound(each.candidate for each in found)
    found = [each for each in found if each.candidate in candidates]
    if not found:
        return Paced([], [], fine)
    among = {known[place].seq for each in found for place in each.among}
    tried = list(counted(policy, {each.id for each in candidates}, history.calls, among))
    # It stands out by all that were made, and may still have been free again just then.
    spoken = next(each.spoken for each in tried if each.known.seq == incident.seq)
    stops = frozenset() if spoken is None else spoken.applies
    return Paced([each for each in found if each.candidate.id in stops], tried, fine)


def counted(
    policy: Policy, limits: AbstractSet[str], calls: Sequence[Known], among: AbstractSet[int]
) -> Iterator[Tried]:
    """What some limits of a policy, in shadow, say of calls in the order in which they were made.

    A call that was not let start is tried and does not count. Of one whose arguments are not known
    nobody can tell, and it does not count either. Only those `among` certain ones are looked at.
    """
    counting = _Counting(policy, limits)
    for known in calls:
        if known.call is None:
            yield Tried(known, None)
        elif known.seq in among:
            yield Tried(known, counting.take(known.call, known))
        else:
            yield Tried(known, _NOTHING)


class _Counting:
    """What has been counted so far."""

    def __init__(self, policy: Policy, wanted: AbstractSet[str]) -> None:
        self._policy = policy
        self._wanted = wanted
        self._states: dict[Any, dict[str, Any]] = {}

    def take(self, call: Call, known: Known) -> Spoken:
        ruling = self._policy.decide(call, known.facts)
        limits = [
            each
            for each in ruling.tool.limits
            if each.id in self._wanted and (each.window is None or _timed(known))
        ]
        if ruling.args is not call.args:
            call = replace(call, args=ruling.args)
        due = Due(charges=charges(limits, call, self._policy.space, 0, Groups()))
        verdict: Verdict = "allow" if known.ran else "ask"
        tried = admit(verdict, (), due, self._group, known.facts.now)
        for move in tried.moves:
            self._states.setdefault(move.key, {})[move.name] = move.state
        return Spoken(
            frozenset(each.id for each in tried.shadow if not each.failed),
            frozenset(each.id for each in tried.shadow if each.failed),
        )

    def _group(self, key: Any) -> dict[str, Any]:
        return self._states.get(key, {})


def _timed(known: Known) -> bool:
    """Whether it was decided on when it says, and not brought in then from elsewhere."""
    return known.verdict is not None


def _root(known: Known) -> str | None:
    run = None if known.call is None else known.call.run
    return None if run is None else run.root


def _columns(known: Sequence[Known], fine: set[int]) -> Calls:
    calls = [each.call for each in known if each.call is not None]
    return Calls(
        at=[each.facts.now for each in known],
        run=[None if each.run is None else each.run.root for each in calls],
        user=[None if each.run is None else each.run.user_id for each in calls],
        args=[each.args for each in calls],
        ran=[each.ran for each in known],
        fine=[each.seq in fine for each in known],
        timed=[_timed(each) for each in known],
    )
