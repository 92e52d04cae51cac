"""Rules and limits for one call, each loaded with the policy, tried over history, and put in order.

The order is by what a rule costs: the share of fine calls that it would have touched, and the
share of the newer half that it would have touched had it been made from the older half, which is
what a rule that merely knows history by heart is found out by. A rule for one value is held to be
as dear as `OVERFIT` of the calls. Of rules that cost alike, the one that stops more of what is
known to be bad goes first, then the one of the more telling kind.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from saferun.policy import Policy
from saferun.policy.suggest import KINDS, Answer, Candidate, Seen, propose
from saferun.replay.suggest.collecting import not_collecting
from saferun.replay.suggest.effect import Effect
from saferun.replay.suggest.history import History, Known, fine
from saferun.replay.suggest.pacing import Paced, paced
from saferun.replay.suggest.place import CannotSuggestError, File, Place, written
from saferun.replay.suggest.sweep import Tried, sweep

OVERFIT = 0.02
"""What a rule for one value is held to cost, as a share of calls."""

SAMPLE = 1_000
"""Calls that are looked at first, evenly taken: those of the newer half on which rules of the older
half are tried, and those on which the rules are chosen that are tried on all."""

MOST = 6
"""Rules that are tried on all calls where nobody says how many: the best by the sample."""

SAME = 0.25
"""The share of calls from which on the same call once more is nothing strange."""

STEP = 5_000


class Drift(NamedTuple):
    """Of how many newer calls a rule would have touched how many, made from the older ones."""

    touched: int = 0
    of: int = 0


class Suggested(msgspec.Struct, frozen=True, kw_only=True):
    """A rule or limit that stops the call, and what it would have done to all others.

    `text` is what goes into the policy file.
    """

    candidate: Candidate
    text: str
    effect: Effect
    drift: Drift = Drift()

    @property
    def cost(self) -> float:
        """What it is ordered by, as a share of calls."""
        own = self.effect.touched / self.effect.fine if self.effect.fine else 0.0
        drift = self.drift.touched / self.drift.of if self.drift.of else 0.0
        return own + drift + OVERFIT * self.candidate.single

    @property
    def order(self) -> tuple[Any, ...]:
        """By this the best comes first."""
        good = self.effect.right + self.effect.near
        kind = KINDS.index(self.candidate.kind)
        return (round(self.cost, 3), -good, kind, len(self.text), self.candidate.id)


class Suggestions(NamedTuple):
    """What there is to suggest: rules and limits in their order.

    `stopped` has the rules of the policy that deny the call as it is; then there are no others.
    `heard` has those that would stop it and are in shadow.
    """

    place: Place | None
    found: list[Suggested]
    stopped: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()

    def named(self, own: str) -> Suggested | None:
        """The rule of that id."""
        return next((each for each in self.found if each.candidate.id == own), None)


@not_collecting()
def suggestions(
    file: File,
    history: History,
    incident: Known,
    *,
    effect: Answer = "deny",
    ask: Sequence[str] = (),
    most: int = MOST,
    progress: Callable[[int], None] = lambda _: None,
) -> Suggestions:
    """Rules and limits that would have stopped a call, the best first.

    `ask` are the groups and people that a rule which asks names, and `most` is how many are wanted.
    A limit names nobody, so there is none where people are to be asked. Raises CannotSuggestError
    where the arguments are not known or the policy has no place for a rule, and PolicyError where
    the policy does not load.
    """
    if incident.call is None:
        raise CannotSuggestError(
            "Some of the arguments of this call are not kept, so no rule can be made from them."
        )
    policy = file.policy()
    ruling = policy.decide(incident.call, incident.facts)
    if ruling.verdict == "deny":
        return Suggestions(None, [], tuple(dict.fromkeys(each.id for each in ruling.reasons)))
    heard = tuple(dict.fromkeys(each.id for each in ruling.shadow if each.effect != "allow"))
    place = Place.of(file, policy, incident.call, incident.facts.environment)
    good = [each for each in fine(history.calls, incident) if each.call is not None]
    making = _Making(place, incident, effect, tuple(ask), history.hidden)
    example = _examples(good, incident)
    seen = [said for said in (each.seen for each in example) if said is not None]
    found, joined = making.rules(seen)
    found = making.stopping(found, joined)
    if not found:
        return Suggestions(place, [], heard=heard)
    # What is in shadow already is not suggested again.
    found = [each for each in found if place.standing(each) is None]
    half = len(example) // 2
    drifts = making.drift(seen[:half], example[half:])
    seqs = {each.seq for each in good}
    some = history.calls[:: len(history.calls) // SAMPLE + 1]
    made: list[Suggested] = []
    for calls in (some, history.calls) if found else ():
        joined = place.holding(found, shadow=True)
        effects = _effects(sweep(joined, calls), found, calls, seqs, progress)
        made = [
            Suggested(
                candidate=each,
                text=written(each.rule(shadow=True)),
                effect=effects[each.id],
                drift=drifts.get(each.id, Drift()),
            )
            for each in found
        ]
        made.sort(key=lambda each: each.order)
        found = [each.candidate for each in made[:most]]
    if effect == "deny":
        taken = _ids(policy) | {each.candidate.id for each in made}
        dearest = made[most - 1].cost if len(made) >= most else 1.0
        limits = _limited(paced(place, incident, history, good, taken, dearest), history)
        made += [each for each in limits if place.standing(each.candidate) is None]
        made.sort(key=lambda each: each.order)
    return Suggestions(place, made[:most], heard=heard)


def _limited(limits: Paced, history: History) -> list[Suggested]:
    """Limits with what each would have done, in one pass over all calls of their own."""
    if not limits.found:
        return []
    candidates = [each.candidate for each in limits.found]
    effects = _effects(limits.tried, candidates, history.calls, limits.fine, lambda _: None)
    return [
        Suggested(
            candidate=each.candidate,
            text=written(each.candidate.rule(shadow=True)),
            effect=effects[each.candidate.id],
            drift=Drift(each.drifted, each.newer),
        )
        for each in limits.found
    ]


def _examples(good: Sequence[Known], incident: Known) -> list[Known]:
    """The calls that rules may take for what is usual.

    Not what nearly was stopped, unless somebody has said that this would have been wrong. And not
    the same call once more, unless calls are like that: a tool that is only ever given the same
    arguments is told apart by something else.
    """
    assert incident.call is not None
    args = incident.call.args
    some = [each for each in good if "shadow" not in each.near or each.label == "false"]
    others = [each for each in some if each.call is None or each.call.args != args]
    return others if len(some) - len(others) <= SAME * len(some) else some


def _effects(
    swept: Iterable[Tried],
    found: Sequence[Candidate],
    calls: Sequence[Known],
    good: set[int],
    progress: Callable[[int], None],
) -> dict[str, Effect]:
    """What each rule or limit would have done, in one pass over all calls."""
    answer = found[0].answer
    effects = {each.id: Effect() for each in found}
    for number, tried in enumerate(swept):
        if number % STEP == 0:
            progress(number)
        known, spoken = tried
        if spoken is not None and not any(spoken):
            if known.label == "right":
                for effect in effects.values():
                    effect.miss(tried)
            continue
        for rule, effect in effects.items():
            effect.take(rule, answer, tried, fine=known.seq in good)
    bad = sum(each.label == "right" for each in calls)
    fine_ones = sum(each.seq in good for each in calls)
    for effect in effects.values():
        effect.calls, effect.fine, effect.known_bad = len(calls), fine_ones, bad
    return effects


class _Making:
    """Rules being made for one incident, from one set of fine calls or another."""

    def __init__(
        self,
        place: Place,
        incident: Known,
        effect: Answer,
        ask: tuple[str, ...],
        hidden: frozenset[str],
    ) -> None:
        self._place = place
        self._incident = incident
        self._effect = effect
        self._ask = ask
        self._hidden = hidden

    def rules(self, seen: Sequence[Seen]) -> tuple[list[Candidate], Policy]:
        """The rules with which the policy loads, and the policy with all of them in shadow."""
        assert self._incident.call is not None
        found = propose(
            self._place.entry,
            self._incident.call.tool,
            self._incident.seen or Seen(args={}),
            seen,
            effect=self._effect,
            taken=_ids(self._place.policy),
            hidden=self._hidden,
        )
        if self._ask:
            asked = {"ask": list(self._ask)}
            found = [replace(each, body={**each.body, **asked}) for each in found]
        return self._place.sound(found)

    def stopping(self, found: list[Candidate], joined: Policy) -> list[Candidate]:
        """Those that speak of the incident itself."""
        [tried] = sweep(joined, [self._incident])
        applies = frozenset() if tried.spoken is None else tried.spoken.applies
        return [each for each in found if each.id in applies]

    def drift(self, older: Sequence[Seen], newer: Sequence[Known]) -> dict[str, Drift]:
        """What rules of the same ids, made from older calls, do to newer ones."""
        if not older:
            return {}
        found, joined = self.rules(older)
        some = newer[:: len(newer) // SAMPLE + 1]
        touched = dict.fromkeys((each.id for each in found), 0)
        for tried in sweep(joined, some):
            spoken = tried.spoken
            for rule in () if spoken is None else spoken.applies | spoken.failed:
                if rule in touched:
                    touched[rule] += 1
        return {rule: Drift(many, len(some)) for rule, many in touched.items()}


def _ids(policy: Policy) -> frozenset[str]:
    document = policy.document
    found = [each.id for each in document.limits]
    for tool in document.tools:
        found += [each.id for each in tool.rules]
        found += [each.id for each in tool.limits]
    return frozenset(found)
