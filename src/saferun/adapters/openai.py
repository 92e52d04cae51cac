"""How the client of OpenAI asks: chat completions and responses, whole and as streams.

Written for versions 1 to 3 of the package, and for whatever has the same shape.
"""

from typing import Any

from saferun.adapters.openai_wire import COMPLETION, RESPONSE
from saferun.adapters.turn import Answer, Asked, Talk, Text, call, own, said


def _messages(asked: Asked) -> Any:
    return asked.get("messages")


def _input(asked: Asked) -> Any:
    """What a response is asked for with, as messages: instructions come first, as they count."""
    sent, rules = asked.get("input"), asked.get("instructions")
    if isinstance(sent, str):
        sent = [{"role": "user", "content": sent}]
    if not isinstance(rules, str):
        return sent if isinstance(sent, list | tuple) else None
    first = [{"role": "system", "content": rules}]
    return [*first, *sent] if isinstance(sent, list | tuple) else first


# Chat completions.


def _completed(response: Any) -> Answer:
    outputs = [_choice(choice) for choice in response.choices]
    usage = response.usage
    return Answer(
        outputs[0] if len(outputs) == 1 else outputs,
        response.model,
        getattr(usage, "prompt_tokens", None),
        getattr(usage, "completion_tokens", None),
        own(response),
    )


def _choice(choice: Any) -> dict[str, Any]:
    message = choice.message
    return said(
        message.content,
        [_called(each) for each in message.tool_calls or ()],
        finish=choice.finish_reason,
        refusal=getattr(message, "refusal", None),
    )


def _called(asked: Any) -> dict[str, Any]:
    function = getattr(asked, "function", None)
    if function is not None:
        return call(asked.id, function.name, function.arguments)
    # A tool of the caller's own format takes text.
    return call(asked.id, asked.custom.name, asked.custom.input)


class _Calls:
    """The tool calls of a stream, each by its place in the answer."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, tuple[list[Any], Text]] = {}

    def add(self, place: int, own: Any, name: Any, arguments: Any) -> None:
        named, text = self._calls.setdefault(place, ([None, None], Text()))
        named[0] = named[0] or own
        named[1] = named[1] or name
        text.add(arguments)

    def told(self) -> list[dict[str, Any]]:
        return [
            call(own, name, str(text)) for _, ((own, name), text) in sorted(self._calls.items())
        ]

    def as_sent(self) -> list[dict[str, Any]]:
        return [
            {"id": own, "type": "function", "function": {"name": name, "arguments": str(text)}}
            for _, ((own, name), text) in sorted(self._calls.items())
        ]


class _Choice:
    __slots__ = ("calls", "content", "finish", "refusal")

    def __init__(self) -> None:
        self.content, self.refusal, self.calls = Text(), Text(), _Calls()
        self.finish: Any = None


class _Chunks:
    """The chunks of a streamed chat completion."""

    def __init__(self) -> None:
        self.finished = False
        self._model: str | None = None
        self._about: dict[str, Any] = {}
        self._usage: Any = None
        self._choices: dict[int, _Choice] = {}

    def hear(self, event: Any) -> None:
        self._model = event.model or self._model
        self._usage = event.usage or self._usage
        if not self._about:
            self._about = {"id": event.id, "created": event.created}
        for each in event.choices:
            choice = self._choices.setdefault(each.index, _Choice())
            delta = each.delta
            choice.content.add(delta.content)
            choice.refusal.add(getattr(delta, "refusal", None))
            for asked in delta.tool_calls or ():
                function = asked.function
                choice.calls.add(
                    asked.index,
                    asked.id,
                    getattr(function, "name", None),
                    getattr(function, "arguments", None),
                )
            if each.finish_reason is not None:
                choice.finish = each.finish_reason
                self.finished = True

    def answer(self) -> Answer:
        outputs = [
            said(
                str(each.content),
                each.calls.told(),
                finish=each.finish,
                refusal=str(each.refusal),
            )
            for _, each in sorted(self._choices.items())
        ]
        return Answer(
            outputs[0] if len(outputs) == 1 else outputs or None,
            self._model,
            getattr(self._usage, "prompt_tokens", None),
            getattr(self._usage, "completion_tokens", None),
            self._as_sent() if self.finished else None,
        )

    def _as_sent(self) -> dict[str, Any]:
        """The same answer as if it had come whole."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": str(each.content) or None,
                    **({"refusal": str(each.refusal)} if str(each.refusal) else {}),
                    **({"tool_calls": calls} if (calls := each.calls.as_sent()) else {}),
                },
                "finish_reason": each.finish,
            }
            for index, each in sorted(self._choices.items())
        ]
        told = {"object": "chat.completion", "model": self._model, "choices": choices}
        usage = own(self._usage)
        return {**self._about, **told, **({} if usage is None else {"usage": usage})}


# Responses.


def _responded(response: Any) -> Answer:
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    others: list[Any] = []
    for item in response.output or ():
        if item.type == "message":
            for part in item.content:
                if part.type == "output_text":
                    texts.append(part.text)
                elif part.type == "refusal":
                    refusals.append(part.refusal)
        elif item.type == "function_call":
            calls.append(call(item.call_id, item.name, item.arguments))
        elif item.type == "custom_tool_call":
            calls.append(call(item.call_id, item.name, item.input))
        elif item.type == "reasoning":
            thoughts.extend(part.text for part in item.summary or ())
        else:
            others.append(item)
    why = getattr(response.incomplete_details, "reason", None)
    usage = response.usage
    return Answer(
        said(
            "".join(texts),
            calls,
            finish=why or response.status,
            refusal="".join(refusals),
            reasoning="\n".join(thoughts),
            other=others,
        ),
        response.model,
        getattr(usage, "input_tokens", None),
        getattr(usage, "output_tokens", None),
        own(response),
    )


_LAST = frozenset(("response.completed", "response.incomplete", "response.failed"))


class _Events:
    """The events of a streamed response; the last one has all of it."""

    def __init__(self) -> None:
        self.finished = False
        self._whole: Any = None
        self._model: str | None = None
        self._content, self._refusal = Text(), Text()
        self._calls = _Calls()

    def hear(self, event: Any) -> None:
        kind = event.type
        if kind == "response.output_text.delta":
            self._content.add(event.delta)
        elif kind == "response.refusal.delta":
            self._refusal.add(event.delta)
        elif kind == "response.function_call_arguments.delta":
            self._calls.add(event.output_index, None, None, event.delta)
        elif kind == "response.output_item.added" and event.item.type == "function_call":
            self._calls.add(event.output_index, event.item.call_id, event.item.name, None)
        elif kind == "response.created":
            self._model = event.response.model
        elif kind in _LAST:
            self._whole, self.finished = event.response, True

    def answer(self) -> Answer:
        if self._whole is not None:
            return _responded(self._whole)
        calls = self._calls.told()
        content, refusal = str(self._content), str(self._refusal)
        if not (content or refusal or calls):
            return Answer(None, self._model)
        return Answer(said(content, calls, refusal=refusal), self._model)


# `stream` of both goes through `create`.
TALKS = (
    Talk("chat.completions", ("create", "parse"), _messages, COMPLETION, _completed, _Chunks),
    Talk("responses", ("create", "parse"), _input, RESPONSE, _responded, _Events),
)
