"""One request to a model, from the moment that it is made until it is recorded.

    turn = begin(...)          what is given is taken down, before the request
    turn.hear(event)           of a stream
    turn.answered(response)    or `ended`, or `failed`: whichever comes first is recorded

An agent gets its answer or its error whatever becomes of the record: nothing here raises.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from saferun.adapters.asked import parameters
from saferun.conversation import Given
from saferun.recall import Spoken
from saferun.run import Run, current

log = logging.getLogger("saferun")

MAX_HEARD = 16 * 1024 * 1024
"""Characters that are kept of a stream. What is longer could not be recorded either."""

ABANDONED = "abandoned"
"""The error of a stream that nobody has read to its end."""


class Answer(NamedTuple):
    """What a model gave. Tokens that were not told are None, and so is an answer that is not whole.

    `own` is the provider's own answer as JSON, from which it can be given again.
    """

    output: Any
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    own: Any = None


class Hearing(Protocol):
    """Puts an answer together from the events of a stream."""

    finished: bool
    """Whether the model has said that this is all."""

    def hear(self, event: Any) -> None: ...

    def answer(self) -> Answer: ...


Asked: TypeAlias = Mapping[str, Any]
"""The keyword arguments of a request."""


class Wire(NamedTuple):
    """How an answer looks on its way from the provider.

    `kind` says of JSON whether it is such an answer. `whole` makes one of what was recorded, where
    the provider's own was not kept, and `events` those of a stream that comes to the same.
    """

    kind: Callable[[Any], bool]
    whole: Callable[[Spoken], dict[str, Any]]
    events: Callable[[dict[str, Any]], list[dict[str, Any]]]
    ends: bytes = b""


class Talk(NamedTuple):
    """One way of asking that a client has.

    `path` leads to the methods from the client, of which `methods` answer, whole or as a stream,
    and `managers` give a context manager around a stream. `given` are the messages of a request,
    and `wire` is how an answer looks on its way.
    """

    path: str
    methods: tuple[str, ...]
    given: Callable[[Asked], Any]
    wire: Wire
    answered: Callable[[Any], Answer]
    hearing: Callable[[], Hearing]
    managers: tuple[str, ...] = ()


class Turn:
    """A request that is under way, and the run that it belongs to."""

    __slots__ = ("_answered", "_began", "_given", "_hearing", "_model", "_over", "_run")

    def __init__(self, talk: Talk, run: Run, given: Given | None, model: str | None) -> None:
        self._run = run
        self._given = given
        self._model = model
        self._answered = talk.answered
        self._hearing = talk.hearing()
        self._over = False
        self.begin()

    def begin(self) -> None:
        """The time that it takes counts from here."""
        self._began = time.perf_counter()

    def hear(self, event: Any) -> None:
        try:
            self._hearing.hear(event)
        except Exception as problem:  # noqa: BLE001 - an agent hears its model, whatever we make of it
            log.debug("saferun could not read an event of a model's stream: %s", type(problem))

    def answered(self, response: Any) -> None:
        """The model has answered at once."""
        self._record(lambda: self._answered(response), None)

    def ended(self) -> None:
        """A stream was read to its end, or is left."""
        self._record(self._hearing.answer, None if self._hearing.finished else ABANDONED)

    def exhausted(self) -> None:
        """A stream has no more to say, whether it has said so or not."""
        self._record(self._hearing.answer, None)

    def failed(self, problem: BaseException) -> None:
        """There is no answer, or only a part of one."""
        self._record(self._hearing.answer, _why(problem))

    def _record(self, read: Callable[[], Answer], error: str | None) -> None:
        over, self._over = self._over, True
        if over:
            return
        took = time.perf_counter() - self._began
        try:
            said = read()
        except Exception as problem:  # noqa: BLE001 - clients change, and agents go on
            log.error(
                "saferun could not read what a model has answered: %s", type(problem).__name__
            )
            said = Answer(None)
        try:
            self._run.model(
                said.output,
                model=said.model or self._model,
                input_tokens=said.input_tokens,
                output_tokens=said.output_tokens,
                latency=took,
                messages=self._given,
                error=error,
                answer=said.own,
            )
        except Exception as problem:  # noqa: BLE001 - recording never breaks the agent
            log.error("saferun could not record a model turn: %s", problem)


def begin(talk: Talk, asked: Asked) -> Turn | None:
    """The turn that a request is, None where it belongs to no run."""
    run = current()
    if run is None:
        return None
    try:
        given = given_by(talk, run, asked)
        model = asked.get("model")
        return Turn(talk, run, given, model if isinstance(model, str) else None)
    except Exception as problem:  # noqa: BLE001 - see above
        log.error("saferun could not take a request to a model down: %s", type(problem).__name__)
        return None


def given_by(talk: Talk, run: Run, asked: Asked) -> Given | None:
    """What a request gives a model, None where it has no messages."""
    messages = talk.given(asked)
    return None if messages is None else run.given(messages)._replace(asked=parameters(asked))


def _why(problem: BaseException) -> str:
    """What an exception says may repeat what was sent, so it is told by its type and status."""
    status = getattr(problem, "status_code", None)
    name = type(problem).__name__
    return f"{name} ({status})" if type(status) is int else name


class Text:
    """Text that comes in pieces, up to a bound."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def add(self, piece: Any) -> None:
        if isinstance(piece, str) and self._size <= MAX_HEARD:
            self._pieces.append(piece)
            self._size += len(piece)

    def __str__(self) -> str:
        return "".join(self._pieces)


def said(
    content: Any,
    calls: list[dict[str, Any]],
    *,
    finish: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """An answer as every client's is recorded: its text, the calls it asks for, and the rest.

    How it finished is told where it is not the usual way.
    """
    output: dict[str, Any] = {"content": content or None}
    if calls:
        output["tool_calls"] = calls
    output.update({name: value for name, value in more.items() if value})
    if isinstance(finish, str) and finish not in _USUAL:
        output["finish_reason"] = finish
    return output


_USUAL = frozenset(("stop", "tool_calls", "function_call", "end_turn", "tool_use", "completed"))


def own(response: Any) -> Any:
    """An answer as its provider has sent it, None where its client does not say."""
    tell = getattr(response, "to_dict", None)
    try:
        return tell(mode="json") if callable(tell) else None
    except Exception as problem:  # noqa: BLE001 - clients change, and agents go on
        log.debug("saferun could not keep a model's own answer: %s", type(problem).__name__)
        return None


def call(own: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """A tool call that a model asks for; arguments as an object where they are one in JSON."""
    return {"id": own, "name": name, "arguments": _object(arguments)}


def _object(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return _OBJECT.decode(arguments)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # What the model has written instead.
        return arguments


_OBJECT = msgspec.json.Decoder(dict[str, Any])
