"""What has happened, as spans: one for each run, each model turn and each call.

They are made after the fact, of what the ledger has, with the times that it has. What a span
says of arguments, results and messages is what stands in the entry: without secrets, sealed where
it is sensitive, and by its hash where it is large.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from saferun import convention as names
from saferun.ledger import DecisionEntry, ModelEntry, OutcomeEntry, RunEntry, UserEntry
from saferun.telemetry.account import Begun, Called, Event, Heard, Over, Turned

MOST_RUNS = 1_000
"""Runs whose span is open; beyond that, the one that has rested longest is ended."""

MOST_HEARD = 20
"""Messages of the user's that wait for the turn that answers them."""

Value: TypeAlias = str | bool | int | float | Sequence[str]

_NOWHERE = Context()


class _Run(NamedTuple):
    """An open run: its span, the caller's own span at its beginning, and what the user said."""

    span: Span
    place: SpanContext | None
    root: str
    heard: list[Any]
    seen: list[int]


class Spans:
    """Makes spans of events.

    With `content`, arguments, results, messages, and who the user is, go along.
    """

    def __init__(self, tracer: Tracer, origin: str, *, content: bool) -> None:
        self._tracer = tracer
        self._origin = origin
        self._content = content
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    def tell(self, event: Event, place: SpanContext | None, within: SpanContext | None) -> None:
        """Make of an event what it comes to.

        `place` is the caller's own span at the time, and `within` that in which its run was
        entered.
        """
        match event:
            case Begun():
                self._begin(event.entry, event.at, within, event.seq)
            case Over():
                self._end(event)
            case Called():
                self._call(event, place, within)
            case Turned():
                self._turn(event, within)
            case Heard():
                self._hear(event, within)
            case _:
                return

    def close(self) -> None:
        """End the spans of runs that are not over, and say so in them."""
        while self._runs:
            self._drop(*self._runs.popitem(last=False))

    # Runs.

    def _begin(
        self, entry: RunEntry, at: int, place: SpanContext | None, seq: int | None = None
    ) -> _Run:
        known = self._runs.get(entry.run)
        if known is not None:
            return known
        root = entry.root or entry.run
        about: dict[str, Value | None] = {
            names.OPERATION: names.INVOKE_AGENT,
            names.SPAN_KIND: "AGENT",
            names.AGENT: entry.agent,
            names.AGENT_NAME: entry.agent,
            names.CONVERSATION: root,
            names.SESSION: root,
            names.RUN: entry.run,
            names.RUN_ROOT: root,
            names.RUN_PARENT: entry.parent,
            names.TENANT: entry.tenant,
            names.LEDGER: self._origin,
            names.ENTRY: seq,
        }
        if self._content:
            about |= _input(entry.prompt)
            about[names.USER] = _whose(entry.user.get("id"))
            if entry.context:
                about[names.CONTEXT] = _text(entry.context)
        span = self._tracer.start_span(
            f"{names.INVOKE_AGENT} {entry.agent}" if entry.agent else names.INVOKE_AGENT,
            context=self._under(entry.parent, place),
            kind=SpanKind.INTERNAL,
            attributes=_said(about),
            start_time=at * 1000,
        )
        if len(self._runs) >= MOST_RUNS:
            self._drop(*self._runs.popitem(last=False))
        run = self._runs[entry.run] = _Run(span, place, root, [], [at])
        return run

    def _within(
        self, entry: DecisionEntry | ModelEntry | UserEntry, at: int, place: SpanContext | None
    ) -> _Run | None:
        """The run that an entry belongs to; one that began elsewhere goes on here."""
        if entry.run is None:
            return None
        run = self._runs.get(entry.run)
        if run is None:
            user = {} if entry.user is None else {"id": entry.user}
            began = RunEntry(
                event="start", run=entry.run, agent=entry.agent, user=user, tenant=entry.tenant
            )
            return self._begin(began, at, place)
        self._runs.move_to_end(entry.run)
        run.seen[0] = at
        return run

    def _under(self, run_id: str | None, place: SpanContext | None) -> Context:
        """Where a span hangs: the caller's own span, if it is within the run, or else the run."""
        run = None if run_id is None else self._runs.get(run_id)
        valid = place is not None and place.is_valid
        if run is None or (valid and not _same(place, run.place)):
            if not valid:
                return _NOWHERE
            assert place is not None
            return set_span_in_context(NonRecordingSpan(place), _NOWHERE)
        return set_span_in_context(run.span, _NOWHERE)

    def _end(self, event: Over) -> None:
        run = self._runs.pop(event.entry.run, None)
        if run is None:
            return
        self._left(run)
        if event.entry.error is not None:
            run.span.set_attribute(names.ERROR, event.entry.error)
            run.span.set_status(Status(StatusCode.ERROR))
        run.span.end(event.at * 1000)

    def _drop(self, _: str, run: _Run) -> None:
        self._left(run)
        run.span.set_attribute(names.RUN_OPEN, True)
        run.span.end(run.seen[0] * 1000)

    def _left(self, run: _Run) -> None:
        """Have what the user said last, and no model has answered, stand with the run."""
        if run.heard:
            run.span.set_attribute(names.INPUT_MESSAGES, _messages("user", run.heard))

    def _hear(self, event: Heard, within: SpanContext | None) -> None:
        run = self._within(event.entry, event.at, within)
        if run is not None and self._content and len(run.heard) < MOST_HEARD:
            run.heard.append(event.entry.text)

    # Model turns and calls.

    def _turn(self, event: Turned, within: SpanContext | None) -> None:
        entry = event.entry
        run = self._within(entry, event.at - (entry.latency or 0), within)
        about: dict[str, Value | None] = {
            names.OPERATION: names.CHAT,
            names.SPAN_KIND: "LLM",
            names.REQUEST_MODEL: entry.model,
            names.MODEL_NAME: entry.model,
            names.PROVIDER: _provider(entry.model),
            names.INPUT_TOKENS: entry.input_tokens,
            names.OUTPUT_TOKENS: entry.output_tokens,
            names.PROMPT_TOKENS: entry.input_tokens,
            names.COMPLETION_TOKENS: entry.output_tokens,
            names.COST: entry.cost_usd,
            names.COST_USD: entry.cost_usd,
            names.ENTRY: event.seq,
            **self._belongs(entry, run),
        }
        if self._content:
            about[names.OUTPUT_MESSAGES] = _messages("assistant", [entry.output])
            about |= _output(entry.output)
            if run is not None and run.heard:
                about[names.INPUT_MESSAGES] = _messages("user", run.heard)
                about |= _input(run.heard[-1])
                run.heard.clear()
        span = self._tracer.start_span(
            f"{names.CHAT} {entry.model}" if entry.model else names.CHAT,
            context=self._under(entry.run, within),
            kind=SpanKind.CLIENT,
            attributes=_said(about),
            start_time=(event.at - (entry.latency or 0)) * 1000,
        )
        span.end(event.at * 1000)

    def _call(self, event: Called, place: SpanContext | None, within: SpanContext | None) -> None:
        decision, outcome, answer = event.decision, event.outcome, event.answer
        run = self._within(decision, event.began, within)
        error = _error(event)
        about: dict[str, Value | None] = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.SPAN_KIND: "TOOL",
            names.TOOL: decision.tool,
            names.TOOL_TYPE: "function",
            names.TOOL_NAME: decision.tool,
            names.CALL_ID: decision.call,
            names.TOOL_CALL_ID: decision.call,
            names.ERROR: error,
            names.VERDICT: decision.verdict,
            names.MODE: decision.mode,
            names.MODIFIED: decision.modified or None,
            names.RULES: [reason.id for reason in decision.reasons] or None,
            names.POLICY: None if decision.policy is None else decision.policy.name,
            names.POLICY_VERSION: None if decision.policy is None else decision.policy.version,
            names.STATUS: event.status,
            names.DECISION: event.seq,
            names.OUTCOME: event.outcome_seq,
            names.APPROVAL: decision.approval,
            **self._belongs(decision, run),
        }
        if answer is not None:
            about[names.APPROVAL_STATE] = answer.state
            about[names.APPROVAL_BY] = answer.by
            about[names.APPROVAL_WAITED] = answer.waited / 1e6
        if isinstance(outcome, OutcomeEntry):
            if outcome.cost is not None:
                about[names.COST_USD] = outcome.cost / 1e6
            if self._content and outcome.status == "ok":
                about[names.RESULT] = _text(outcome.result)
                about |= _output(outcome.result)
        if self._content:
            about[names.ARGUMENTS] = about[names.TOOL_PARAMETERS] = _json(decision.args)
            about |= {names.INPUT: _json(decision.args), names.INPUT_TYPE: names.JSON}
        span = self._tracer.start_span(
            f"{names.EXECUTE_TOOL} {decision.tool}",
            context=self._under(decision.run, place),
            kind=SpanKind.INTERNAL,
            attributes=_said(about),
            start_time=event.began * 1000,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(event.began, event.ended) * 1000)

    def _belongs(
        self, entry: DecisionEntry | ModelEntry, run: _Run | None
    ) -> dict[str, Value | None]:
        root = None if run is None else run.root
        return {
            names.AGENT: entry.agent,
            names.AGENT_NAME: entry.agent,
            names.CONVERSATION: root,
            names.SESSION: root,
            names.RUN: entry.run,
            names.TENANT: entry.tenant,
            names.USER: entry.user if self._content else None,
            names.LEDGER: self._origin,
        }


def _error(event: Called) -> str | None:
    """What went wrong with a call, None where nothing did: the class of an error, if it says one.

    An exception's text may hold anything, so of what the tool raised there is the name alone.
    """
    if event.outcome is None:
        return next((each.error for each in event.decision.reasons if each.error), "Denied")
    if event.outcome.status == "ok":
        return None
    raised = event.outcome.error if isinstance(event.outcome, OutcomeEntry) else None
    if isinstance(raised, str):
        name = raised.partition(":")[0]
        if name.isidentifier() and len(name) <= 100:
            return name
    return event.outcome.status


def _provider(model: str | None) -> str | None:
    """The provider, where the model's name begins with it."""
    before, slash, _ = (model or "").partition("/")
    return before if slash and before else None


def _same(one: SpanContext | None, other: SpanContext | None) -> bool:
    return one is not None and other is not None and one.span_id == other.span_id


def _said(about: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in about.items() if value is not None}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(value: Any) -> str:
    """Text as it is, and anything else as JSON."""
    return value if isinstance(value, str) else _json(value)


def _input(value: Any) -> dict[str, Value | None]:
    if value is None:
        return {}
    kind = names.TEXT if isinstance(value, str) else names.JSON
    return {names.INPUT: _text(value), names.INPUT_TYPE: kind}


def _output(value: Any) -> dict[str, Value | None]:
    kind = names.TEXT if isinstance(value, str) else names.JSON
    return {names.OUTPUT: _text(value), names.OUTPUT_TYPE: kind}


def _messages(role: str, said: Sequence[Any]) -> str:
    """Messages in the shape that OpenTelemetry has for them."""
    parts = [[{"type": "text", "content": _text(each)}] for each in said]
    return _json([{"role": role, "parts": each} for each in parts])


def _whose(user: Any) -> str | None:
    return user if isinstance(user, str) else None
