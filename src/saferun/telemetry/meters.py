"""What has happened, as figures: how many calls, how long, at what cost."""

from collections import deque
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from saferun import convention as names
from saferun.call import Decision
from saferun.ledger import OutcomeEntry
from saferun.telemetry.account import Answered, Asked, Called, Event, Tripped, Turned
from saferun.telemetry.labels import Few

MOST_OPEN = 10_000
"""Requests and breakers that are counted as open."""


MOST_NOTED = 10_000
"""Times of deciding that are noted until the next look; of more, the newest."""


class Meters:
    """Counts events. The figures are of this process: a backend adds those of all up."""

    def __init__(self, meter: Meter) -> None:
        self._tool, self._rule, self._model, self._tenant = Few(), Few(), Few(), Few()
        self._spent: deque[tuple[str, str, int]] = deque(maxlen=MOST_NOTED)
        self._waiting: dict[str, None] = {}
        self._open: dict[tuple[str, str], None] = {}
        self._calls = meter.create_counter("saferun.calls", "{call}", "Calls, by how they ended.")
        self._denials = meter.create_counter(
            "saferun.denials", "{denial}", "What spoke for calls that were not let start."
        )
        self._before = meter.create_histogram(
            "saferun.decision.duration", "s", "The time that deciding took, before the tool."
        )
        self._during = meter.create_histogram("saferun.tool.duration", "s", "The tool's own time.")
        self._answers = meter.create_histogram(
            "saferun.approval.duration", "s", "How long requests to people stood."
        )
        self._cost = meter.create_counter("saferun.cost", "USD", "What turns and calls have cost.")
        self._tokens = meter.create_histogram(
            names.TOKEN_USAGE, "{token}", "Tokens of a model turn."
        )
        self._turns = meter.create_histogram(names.MODEL_DURATION, "s", "The time of a model turn.")
        meter.create_observable_gauge(
            "saferun.approvals.waiting",
            [self._waits],
            "{request}",
            "Requests of this process that people have before them.",
        )
        meter.create_observable_gauge(
            "saferun.breakers.open", [self._tripped], "{breaker}", "Breakers that are open."
        )

    def decided(self, decision: Decision, spent: int) -> None:
        """`spent` is the time that deciding took, in nanoseconds.

        Where people were asked, it is mostly theirs, and `saferun.approval.duration` has it.
        """
        if decision.approval_id is None and decision.outcome is None:
            # Recorded later: only this is on the path of the call.
            self._spent.append((decision.tool, decision.verdict, spent))

    def catch_up(self) -> None:
        """Record the times that were noted on the path of calls."""
        while self._spent:
            tool, verdict, spent = self._spent.popleft()
            about = {names.TOOL: self._tool(tool), names.VERDICT: verdict}
            self._before.record(spent / 1e9, about)

    def tell(self, event: Event) -> None:
        match event:
            case Called():
                self._called(event)
            case Turned():
                self._turned(event)
            case Asked():
                if len(self._waiting) < MOST_OPEN:
                    self._waiting[event.id] = None
            case Answered():
                self._waiting.pop(event.id, None)
                self._answers.record(event.waited / 1e6, {names.APPROVAL_STATE: event.state})
            case Tripped():
                which = (self._tool(event.tool), self._tenant(event.tenant))
                if event.open:
                    self._open[which] = None
                else:
                    self._open.pop(which, None)
            case _:
                return

    def _called(self, event: Called) -> None:
        tool = self._tool(event.decision.tool)
        verdict, status = event.decision.verdict, event.status
        about = {names.TOOL: tool, names.VERDICT: verdict, names.STATUS: status}
        self._calls.add(1, about)
        outcome = event.outcome
        if outcome is None:
            for reason in event.decision.reasons:
                self._denials.add(
                    1, {"saferun.rule": self._rule(reason.id), "saferun.source": reason.source}
                )
        if isinstance(outcome, OutcomeEntry):
            if status != "not_started":
                self._during.record(outcome.latency / 1e6, {names.TOOL: tool, names.STATUS: status})
            if outcome.cost:
                self._cost.add(outcome.cost / 1e6, {names.TOOL: tool})

    def _turned(self, event: Turned) -> None:
        entry = event.entry
        about = {names.OPERATION: names.CHAT, names.REQUEST_MODEL: self._model(entry.model)}
        if entry.cost_usd:
            self._cost.add(entry.cost_usd, {names.REQUEST_MODEL: about[names.REQUEST_MODEL]})
        for kind, count in (("input", entry.input_tokens), ("output", entry.output_tokens)):
            if count is not None:
                self._tokens.record(count, {**about, names.TOKEN_TYPE: kind})
        if entry.latency is not None:
            self._turns.record(entry.latency / 1e6, about)

    def _waits(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(len(self._waiting))]

    def _tripped(self, _: CallbackOptions) -> Iterable[Observation]:
        # Read while another thread may write.
        return [
            Observation(1, {names.TOOL: tool, names.TENANT: tenant})
            for tool, tenant in list(self._open)
        ]
