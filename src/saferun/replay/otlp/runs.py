"""Runs, from the spans of a file: who did what for whom, in its order.

A span of ours names its run. Of others, what an agent does within another agent is a run of its
own, a child of that one's; and else all that belongs to one session is one run, or to one trace
where there is no session.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from saferun import convention as names
from saferun.replay.otlp.document import Span
from saferun.replay.otlp.messages import Spoken, Wanted, decoded, given, said

_KINDS = {"LLM": "model", "TOOL": "tool", "AGENT": "agent"}

MOST_ABOVE = 64
"""Spans between the one of a run and the call, or the turn, that it is placed at."""

Key: TypeAlias = tuple[str, ...]


class Turn(msgspec.Struct):
    """What a model, or a user, said."""

    by: str
    content: Any
    model: str | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class Made(msgspec.Struct):
    """A call: as a model asked for it, or a tool's span has it, or both. It is step `at`."""

    wanted: Wanted
    at: int
    spanned: bool = False
    result: Any = msgspec.UNSET
    cost_usd: float | None = None


class SpannedRun(msgspec.Struct):
    """One run. `parent` is the `run_id` of the run that it was a part of.

    `begun` are the runs right within it, each with the steps that had come before it began.
    """

    line: int
    run_id: str
    parent: str | None = None
    agent: str | None = None
    user: str | None = None
    tenant: str | None = None
    prompt: Any = None
    context: dict[str, Any] = {}
    steps: list[Turn | Made] = []
    begun: list[tuple[str, int]] = []


def runs(spans: Sequence[Span]) -> Iterator[SpannedRun]:
    """The runs of a file, parents before their children."""
    family = _Family(spans)
    found: dict[Key, list[tuple[int, Span]]] = {}
    # Of two spans that began at once, the one that stands first: a file may have no times.
    for place, span in enumerate(sorted(spans, key=lambda each: each.start)):
        found.setdefault(family.key(span), []).append((place, span))
    below: defaultdict[Key, list[Key]] = defaultdict(list)
    done: set[Key] = set()
    order: list[tuple[Key, Key | None]] = []
    for key in found:
        chain: dict[Key, None] = {}
        above: Key | None = key
        while above is not None and above not in done and above not in chain:
            chain[above] = None
            above = family.parent(above)
        for each in reversed(chain):
            done.add(each)
            if each in found:
                parent = family.parent(each)
                known = parent is not None and parent in found and parent in done
                order.append((each, parent if known else None))
                if parent is not None and known:
                    below[parent].append(each)
    for key, parent in order:
        story, run = _run(key, parent, [span for _, span in found[key]])
        places = [place for place, _ in found[key]]
        for child in below[key]:
            place, first = found[child][0]
            spans_above = islice(family.above(first), MOST_ABOVE)
            at = next((story.after[up] for up in spans_above if up in story.after), None)
            if at is None:
                at = story.counts[bisect_left(places, place)]
            run.begun.append((_named(child), at))
        yield run


def _named(key: Key) -> str:
    return "/".join(key[1:])


class _Family:
    """Which run each span belongs to."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = {(span.trace, span.id): span for span in spans}
        self._keys: dict[tuple[str, str], Key] = {}
        self._agents: dict[tuple[str, str], bool] = {}
        self._parents: dict[Key, Key] = {}
        self._sessions: dict[str, str] = {}
        for span in spans:
            session = _text(span, names.SESSION, names.CONVERSATION)
            if session:
                self._sessions.setdefault(span.trace, session)

    def parent(self, key: Key) -> Key | None:
        return self._parents.get(key)

    def above(self, span: Span) -> Iterator[tuple[str, str]]:
        """The spans that a span is within, the closest first."""
        seen = {(span.trace, span.id)}
        at: Span | None = span
        while at is not None and at.parent is not None:
            where = (at.trace, at.parent)
            if where in seen:
                return
            seen.add(where)
            yield where
            at = self._spans.get(where)

    def key(self, span: Span) -> Key:
        """The run of a span: found by going up to one whose run is known, and down again."""
        way: list[Span] = []
        seen: set[tuple[str, str]] = set()
        at: Span | None = span
        while at is not None and (at.trace, at.id) not in self._keys:
            if (at.trace, at.id) in seen:
                # Spans that are each other's parents: the one that closes the circle is the top.
                at = None
                break
            seen.add((at.trace, at.id))
            way.append(at)
            at = None if at.parent is None else self._spans.get((at.trace, at.parent))
        for each in reversed(way):
            self._place(each, at)
            at = each
        return self._keys[span.trace, span.id]

    def _place(self, span: Span, above: Span | None) -> None:
        where = (span.trace, span.id)
        within = None if above is None else self._keys[above.trace, above.id]
        under_agent = above is not None and self._agents[above.trace, above.id]
        agent = _kind(span) == "agent"
        self._agents[where] = under_agent or agent
        own = _text(span, names.RUN)
        if own:
            key: Key = ("run", own)
            parent = _text(span, names.RUN_PARENT)
            if parent and parent != own:
                self._parents.setdefault(key, ("run", parent))
        elif agent and under_agent and within is not None:
            key = ("agent", span.trace, span.id)
            self._parents.setdefault(key, within)
        elif within is not None:
            key = within
        else:
            session = self._sessions.get(span.trace)
            key = ("trace", span.trace) if session is None else ("session", session)
        self._keys[where] = key


def _kind(span: Span) -> str | None:
    operation = span.attributes.get(names.OPERATION)
    if operation in names.MODEL_OPERATIONS:
        return "model"
    if operation == names.EXECUTE_TOOL:
        return "tool"
    if operation in names.AGENT_OPERATIONS:
        return "agent"
    kind = span.attributes.get(names.SPAN_KIND)
    return _KINDS.get(kind.upper()) if isinstance(kind, str) else None


def _run(key: Key, parent: Key | None, spans: Sequence[Span]) -> tuple["_Story", SpannedRun]:
    agents = [span for span in spans if _kind(span) == "agent"]
    top = agents[0] if agents else spans[0]
    story = _Story()
    for span in spans:
        kind = _kind(span)
        if kind == "model":
            story.turn(span)
        elif kind == "tool":
            story.call(span)
        story.counts.append(len(story.steps))
    for span in agents:
        # What the user said last, and no model has answered.
        story.hear(given(span.attributes))
    context = decoded(top.attributes.get(names.CONTEXT))
    return story, SpannedRun(
        line=min(span.line for span in spans),
        run_id=_named(key),
        parent=None if parent is None else _named(parent),
        agent=_first(agents or spans, names.AGENT, names.AGENT_NAME),
        user=_first(spans, names.USER, "enduser.id"),
        tenant=_first(spans, names.TENANT),
        prompt=_value(top, names.INPUT, names.INPUT_TYPE) if agents else None,
        context=context if isinstance(context, dict) else {},
        steps=story.steps,
    )


class _Story:
    """The steps of one run, as its spans come."""

    def __init__(self) -> None:
        self.steps: list[Turn | Made] = []
        self.counts = [0]
        """How many steps there were after each span, none of them before the first."""
        self.after: dict[tuple[str, str], int] = {}
        """The steps that come no later than the one of a model's or a tool's span."""
        self._heard: list[str] = []
        self._known: set[str] = set()
        # Calls that models have asked for, by id and by tool: they wait for a span, or a result.
        self._by_id: defaultdict[str | None, deque[Made]] = defaultdict(deque)
        self._by_tool: defaultdict[tuple[str, str | None], deque[Made]] = defaultdict(deque)
        self._all: deque[Made] = deque()

    def hear(self, messages: Sequence[Spoken]) -> None:
        """Take in what a model was given: of the whole conversation, what is new in it."""
        users = [each.text for each in messages if each.role == "user" and each.text is not None]
        known = len(self._heard)
        new = users[known:] if users[:known] == self._heard else None
        if new is None:
            # The conversation was cut short in front, or is another: what was not heard yet.
            new = [text for text in users if text not in self._known]
        self._heard += new
        self._known.update(new)
        self.steps += [Turn("user", text) for text in new]
        for message in messages:
            for call_id, result in message.answers:
                self._answered(call_id, result)

    def _answered(self, call_id: str | None, result: Any) -> None:
        made = _first_waiting(self._all if call_id is None else self._by_id[call_id])
        if made is not None:
            made.result = result

    def turn(self, span: Span) -> None:
        about = span.attributes
        self.hear(given(about))
        messages = said(about)
        texts = [each.text for each in messages if each.text is not None]
        content: Any = "\n".join(texts) if texts else None
        whole = _value(span, names.OUTPUT, names.OUTPUT_TYPE)
        silent = content is None and not any(each.wants for each in messages)
        if silent or (content is not None and content == about.get(names.OUTPUT)):
            content = whole
        turn = Turn(
            "model",
            content,
            model=_text(span, names.RESPONSE_MODEL, names.REQUEST_MODEL, names.MODEL_NAME),
            cost_usd=_cost(span),
            input_tokens=_count(span, names.INPUT_TOKENS, names.PROMPT_TOKENS),
            output_tokens=_count(span, names.OUTPUT_TOKENS, names.COMPLETION_TOKENS),
        )
        known = (turn.cost_usd, turn.input_tokens, turn.output_tokens)
        if content not in (None, "") or any(each is not None for each in known):
            self.steps.append(turn)
        for message in messages:
            for wanted in message.wants:
                made = self._made(wanted)
                self._all.append(made)
                self._by_id[wanted.id].append(made)
                self._by_tool[wanted.tool, wanted.id].append(made)
                if wanted.id is not None:
                    self._by_tool[wanted.tool, ANY].append(made)
        self.after[span.trace, span.id] = len(self.steps)

    def call(self, span: Span) -> None:
        about = span.attributes
        call_id = _text(span, names.CALL_ID, names.TOOL_CALL_ID)
        tool = _text(span, names.TOOL, names.TOOL_NAME) or span.name
        made = self._wanted(call_id, tool)
        arguments = next(
            (
                about[name]
                for name in (names.ARGUMENTS, names.INPUT, names.TOOL_PARAMETERS)
                if about.get(name) is not None
            ),
            None,
        )
        if made is None:
            made = self._made(Wanted(call_id, tool, {} if arguments is None else arguments))
        elif arguments is not None:
            made.wanted = made.wanted._replace(arguments=arguments)
        made.spanned = True
        self.after[span.trace, span.id] = made.at + 1
        made.cost_usd = _cost(span)
        result = about.get(names.RESULT, about.get(names.OUTPUT))
        if result is not None and not span.failed:
            typed = about.get(names.OUTPUT_TYPE) == names.JSON
            made.result = decoded(result) if typed else result

    def _made(self, wanted: Wanted) -> Made:
        made = Made(wanted, len(self.steps))
        self.steps.append(made)
        return made

    def _wanted(self, call_id: str | None, tool: str) -> Made | None:
        """The call that a model has asked for, of which this is the span."""
        for named in (None, ANY) if call_id is None else (call_id, None):
            made = _first_waiting(self._by_tool[tool, named])
            if made is not None:
                return made
        return None


ANY = ""
"""Stands for every id that a call may have been asked for under."""


def _first_waiting(queue: deque[Made]) -> Made | None:
    while queue and (queue[0].spanned or queue[0].result is not msgspec.UNSET):
        queue.popleft()
    return queue[0] if queue else None


def _text(span: Span, *among: str) -> str | None:
    for name in among:
        value = span.attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _first(spans: Sequence[Span], *among: str) -> str | None:
    return next((found for span in spans if (found := _text(span, *among)) is not None), None)


def _value(span: Span, name: str, kind: str) -> Any:
    value = span.attributes.get(name)
    return decoded(value) if span.attributes.get(kind) == names.JSON else value


def _cost(span: Span) -> float | None:
    for name in (names.COST_USD, names.COST):
        value = span.attributes.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
            return float(value)
    return None


def _count(span: Span, *among: str) -> int | None:
    for name in among:
        value = span.attributes.get(name)
        if type(value) is int and 0 <= value < 1 << 63:
            return value
    return None
