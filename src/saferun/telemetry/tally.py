"""Figures of a whole store, added up from its ledger as far as it was read. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

from saferun.ledger import OutcomeEntry
from saferun.telemetry.account import Answered, Called, Event, Tripped, Turned
from saferun.telemetry.labels import OTHER, Few

Labels: TypeAlias = tuple[str, ...]

SECONDS: Sequence[float] = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Up to where the buckets of a tool's time go, in seconds."""

WAITS: Sequence[float] = (10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)
"""Up to where those of the time go that people take to answer."""

MOST_BREAKERS = 200
"""Open breakers that are told of one by one."""


class Buckets:
    """How many values were at most so large, and what they come to."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        at = next((n for n, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[at] += 1
        self.sum += value


class Tally:
    """What events have come to. The values of labels are those that came first, and few."""

    def __init__(self) -> None:
        self._tool, self._rule, self._model = Few(), Few(), Few()
        self.calls: defaultdict[Labels, int] = defaultdict(int)
        self.denials: defaultdict[Labels, int] = defaultdict(int)
        self.answers: dict[Labels, Buckets] = {}
        self.times: dict[Labels, Buckets] = {}
        self.costs: defaultdict[Labels, float] = defaultdict(float)
        self.tokens: defaultdict[Labels, int] = defaultdict(int)
        self._open: dict[Labels, None] = {}

    @property
    def breakers(self) -> dict[Labels, int]:
        """Breakers that are open, by tool and tenant; those for which there is no room as one."""
        told: defaultdict[Labels, int] = defaultdict(int)
        for number, which in enumerate(self._open):
            told[which if number < MOST_BREAKERS else (OTHER, OTHER)] += 1
        return told

    def add(self, event: Event) -> None:
        match event:
            case Called():
                self._called(event)
            case Turned():
                self._turned(event)
            case Answered():
                self.answers.setdefault((event.state,), Buckets(WAITS)).add(event.waited / 1e6)
            case Tripped():
                which = (event.tool, event.tenant or "")
                if event.open:
                    self._open[which] = None
                else:
                    self._open.pop(which, None)
            case _:
                return

    def _called(self, event: Called) -> None:
        tool = self._tool(event.decision.tool)
        self.calls[tool, event.decision.verdict, event.status] += 1
        outcome = event.outcome
        if outcome is None:
            for reason in event.decision.reasons:
                self.denials[self._rule(reason.id), reason.source] += 1
        if isinstance(outcome, OutcomeEntry) and outcome.status != "not_started":
            self.times.setdefault((tool,), Buckets(SECONDS)).add(outcome.latency / 1e6)
            if outcome.cost:
                self.costs["tool", tool] += outcome.cost / 1e6

    def _turned(self, event: Turned) -> None:
        entry = event.entry
        model = self._model(entry.model)
        if entry.cost_usd:
            self.costs["model", model] += entry.cost_usd
        for kind, count in (("input", entry.input_tokens), ("output", entry.output_tokens)):
            if count:
                self.tokens[model, kind] += count
