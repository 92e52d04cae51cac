"""What a backtest comes to: by verdict, by rule, by missing input, by label, and by run."""

from collections import Counter
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from saferun.call import PolicyRef
from saferun.replay.backtest import Redecided

LOOK = 20
"""Runs that a summary names; there may be thousands in which something changed."""

Newly: TypeAlias = Literal["allowed", "asked", "denied"]

_NEWLY: dict[str, Newly] = {
    "allow": "allowed",
    "ask": "asked",
    "deny": "denied",
    "defer": "denied",
}


class RuleTally(msgspec.Struct, kw_only=True):
    """One rule, limit or default: the calls that it spoke on, and what it did to them.

    `denied` and `asked` are the calls that it denied or asked about, together with whatever else
    did. `newly_denied` and `newly_asked` are those of them that were recorded as something else;
    `newly_allowed` those that it had spoken on when they were recorded, and that now pass.
    """

    id: str
    calls: int = 0
    denied: int = 0
    asked: int = 0
    newly_denied: int = 0
    newly_asked: int = 0
    newly_allowed: int = 0


class RunTally(msgspec.Struct, kw_only=True):
    """One run that deserves a look, and why: calls by what is worth looking at in it."""

    run_id: str | None
    denied: int = 0
    asked: int = 0
    newly_denied: int = 0
    newly_asked: int = 0
    newly_allowed: int = 0
    missed: int = 0
    false_alarms: int = 0

    @property
    def weight(self) -> tuple[int, ...]:
        """What goes first: an attack that passes, then what is new, then all that is stopped."""
        new = self.newly_denied + self.newly_asked + self.newly_allowed
        return (self.missed, self.false_alarms, new, self.denied, self.asked)


class LabelTally(msgspec.Struct, kw_only=True):
    """How the verdicts stand to a trace's labels.

    Of `malicious` calls, some are `caught`, which is denied or asked about, some are `missed`
    and some `undecided`. Of `harmless` ones, `false_alarms` are denied or asked about. Where
    only whole runs are labelled, `attacked` counts those that were attacked and `stopped` those
    of them in which some call was denied or asked about; `peaceful` and `disturbed` likewise
    the others.
    """

    malicious: int = 0
    caught: int = 0
    missed: int = 0
    undecided: int = 0
    harmless: int = 0
    false_alarms: int = 0
    attacked: int = 0
    stopped: int = 0
    peaceful: int = 0
    disturbed: int = 0


class Summary(msgspec.Struct, kw_only=True):
    """All of a backtest. `recorded` counts the calls that had a verdict to compare with.

    `rules` come with the most telling first, `shadow` says on how many calls each rule or limit in
    shadow would have spoken, and `missing` on how many each input was wanted. `look` has the runs
    to look at first, and `labels` is None where there were none.
    """

    policy: PolicyRef
    runs: int
    calls: int
    recorded: int
    verdicts: dict[str, int]
    newly: dict[str, int]
    rules: list[RuleTally]
    shadow: dict[str, int]
    missing: dict[str, int]
    look: list[RunTally]
    labels: LabelTally | None


class Tally:
    """Counts the calls of a backtest as they come. Runs of one id are counted as one."""

    def __init__(self) -> None:
        self._calls = 0
        self._recorded = 0
        self._verdicts: Counter[str] = Counter()
        self._newly: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()
        self._shadow: Counter[str] = Counter()
        self._rules: dict[str, RuleTally] = {}
        self._runs: dict[str | None, RunTally] = {}
        self._labels = LabelTally()
        self._attacked: dict[str | None, bool] = {}
        self._labelled = False

    def add(self, told: Redecided) -> None:
        """Count one call."""
        self._calls += 1
        self._recorded += told.recorded is not None
        self._verdicts[told.verdict] += 1
        self._missing.update(told.missing)
        self._shadow.update(told.shadow)
        run = self._runs.setdefault(told.run_id, RunTally(run_id=told.run_id))
        run.denied += told.verdict in ("deny", "defer")
        run.asked += told.verdict == "ask"
        newly = _NEWLY[told.newly] if told.newly is not None else None
        if newly is not None:
            self._newly[newly] += 1
            _bump(run, newly)
        self._count_rules(told, newly)
        self._count_labels(told, run)

    def summary(self, policy: PolicyRef) -> Summary:
        look = [run for run in self._runs.values() if any(run.weight)]
        look.sort(key=lambda run: run.weight, reverse=True)
        return Summary(
            policy=policy,
            runs=len(self._runs),
            calls=self._calls,
            recorded=self._recorded,
            verdicts={name: self._verdicts[name] for name in ("allow", "ask", "deny", "unknown")},
            newly={name: self._newly[name] for name in ("allowed", "asked", "denied")},
            rules=sorted(self._rules.values(), key=_telling),
            shadow=dict(self._shadow.most_common()),
            missing=dict(self._missing.most_common()),
            look=look[:LOOK],
            labels=self._labels_told() if self._labelled else None,
        )

    def _count_rules(self, told: Redecided, newly: Newly | None) -> None:
        for name, effect in told.spoke:
            rule = self._rule(name)
            rule.calls += 1
            if effect == told.verdict:
                rule.denied += effect in ("deny", "defer")
                rule.asked += effect == "ask"
                rule.newly_denied += newly == "denied"
                rule.newly_asked += newly == "asked"
        if newly == "allowed":
            for name in told.before:
                self._rule(name).newly_allowed += 1

    def _rule(self, name: str) -> RuleTally:
        return self._rules.setdefault(name, RuleTally(id=name))

    def _count_labels(self, told: Redecided, run: RunTally) -> None:
        stopped = told.verdict in ("deny", "defer", "ask")
        if told.attacked is not None:
            self._labelled = True
            self._attacked[told.run_id] = told.attacked
        if told.malicious is None:
            return
        self._labelled = True
        if told.malicious:
            self._labels.malicious += 1
            self._labels.caught += stopped
            self._labels.missed += told.verdict == "allow"
            self._labels.undecided += told.verdict == "unknown"
            run.missed += told.verdict == "allow"
        else:
            self._labels.harmless += 1
            self._labels.false_alarms += stopped
            run.false_alarms += stopped

    def _labels_told(self) -> LabelTally:
        told = replace(self._labels)
        for run_id, attacked in self._attacked.items():
            run = self._runs[run_id]
            stopped = bool(run.denied or run.asked)
            if attacked:
                told.attacked += 1
                told.stopped += stopped
            else:
                told.peaceful += 1
                told.disturbed += stopped
        return told


def _bump(run: RunTally, newly: Newly) -> None:
    if newly == "allowed":
        run.newly_allowed += 1
    elif newly == "asked":
        run.newly_asked += 1
    else:
        run.newly_denied += 1


def _telling(rule: RuleTally) -> tuple[int, int, str]:
    new = rule.newly_denied + rule.newly_asked + rule.newly_allowed
    return (-new, -rule.calls, rule.id)
