"""How the client of Anthropic asks: messages, whole and as streams of either kind.

Written for versions 0.30 to 2 of the package, and for whatever has the same shape.
"""

from typing import Any

from saferun.adapters.anthropic_wire import MESSAGE
from saferun.adapters.turn import Answer, Asked, Talk, Text, call, own, said


def _messages(asked: Asked) -> Any:
    """What is sent, with the system's words as the first message."""
    messages, system = asked.get("messages"), asked.get("system")
    if not isinstance(system, str | list | tuple) or not isinstance(messages, list | tuple):
        return messages
    return [{"role": "system", "content": system}, *messages]


def _tokens_in(usage: Any) -> int | None:
    """All that was read, from the cache or not, as other providers count it."""
    counts = [
        getattr(usage, name, None)
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    return sum(count or 0 for count in counts) if any(c is not None for c in counts) else None


_CALLS = ("tool_use", "server_tool_use")


def _answered(message: Any) -> Answer:
    calls: list[dict[str, Any]] = []
    others: list[Any] = []
    texts: list[str] = []
    thoughts: list[str] = []
    for block in message.content:
        if block.type == "text":
            texts.append(block.text)
        elif block.type in _CALLS:
            calls.append(call(block.id, block.name, block.input))
        elif block.type == "thinking":
            thoughts.append(block.thinking)
        else:
            others.append(block)
    output = said(
        "".join(texts),
        calls,
        finish=message.stop_reason,
        reasoning="".join(thoughts),
        other=others,
    )
    usage = message.usage
    written = getattr(usage, "output_tokens", None)
    return Answer(output, message.model, _tokens_in(usage), written, own(message))


class _Block:
    __slots__ = ("begun", "input", "signature", "text", "thinking")

    def __init__(self, begun: Any) -> None:
        self.begun = begun
        self.text, self.thinking, self.input, self.signature = Text(), Text(), Text(), Text()
        self.text.add(getattr(begun, "text", None))
        self.thinking.add(getattr(begun, "thinking", None))

    def add(self, delta: Any) -> None:
        self.text.add(getattr(delta, "text", None))
        self.thinking.add(getattr(delta, "thinking", None))
        self.input.add(getattr(delta, "partial_json", None))
        self.signature.add(getattr(delta, "signature", None))

    def as_sent(self) -> dict[str, Any] | None:
        """The block as if it had come whole."""
        block: dict[str, Any] | None = own(self.begun)
        if block is None:
            return None
        for name in ("text", "thinking", "signature"):
            if said := str(getattr(self, name)):
                block[name] = said
        if written := str(self.input):
            block["input"] = call(None, None, written)["arguments"]
        return block


class _Events:
    """The events of a streamed message. What else a helper tells beside them says nothing new."""

    def __init__(self) -> None:
        self.finished = False
        self._model: str | None = None
        self._read: int | None = None
        self._written: int | None = None
        self._finish: Any = None
        self._begun: Any = None
        self._blocks: dict[int, _Block] = {}

    def hear(self, event: Any) -> None:
        kind = event.type
        if kind == "content_block_delta":
            self._blocks[event.index].add(event.delta)
        elif kind == "content_block_start":
            self._blocks[event.index] = _Block(event.content_block)
        elif kind == "message_start":
            message = event.message
            self._model, self._begun = message.model, message
            self._read = _tokens_in(message.usage)
            self._written = getattr(message.usage, "output_tokens", None)
        elif kind == "message_delta":
            self._finish = event.delta.stop_reason
            usage = event.usage
            self._written = getattr(usage, "output_tokens", None) or self._written
            # Running totals, which later versions of the service tell here as well.
            if getattr(usage, "input_tokens", None) is not None:
                self._read = _tokens_in(usage)
        elif kind == "message_stop":
            self.finished = True

    def answer(self) -> Answer:
        blocks = [block for _, block in sorted(self._blocks.items())]
        if not blocks and not self.finished:
            return Answer(None, self._model, self._read, self._written)
        calls = [
            call(each.begun.id, each.begun.name, str(each.input) or each.begun.input)
            for each in blocks
            if each.begun.type in _CALLS
        ]
        known = ("text", "thinking", *_CALLS)
        output = said(
            "".join(str(each.text) for each in blocks),
            calls,
            finish=self._finish,
            reasoning="".join(str(each.thinking) for each in blocks),
            other=[each.begun for each in blocks if each.begun.type not in known],
        )
        sent = self._as_sent(blocks) if self.finished else None
        return Answer(output, self._model, self._read, self._written, sent)

    def _as_sent(self, blocks: list[_Block]) -> dict[str, Any] | None:
        """The same message as if it had come whole."""
        message: dict[str, Any] | None = own(self._begun)
        content = [block.as_sent() for block in blocks]
        if message is None or None in content:
            return None
        usage = {**(message.get("usage") or {}), "output_tokens": self._written or 0}
        return {**message, "content": content, "stop_reason": self._finish, "usage": usage}


TALKS = tuple(
    Talk(path, ("create", "parse"), _messages, MESSAGE, _answered, _Events, managers=("stream",))
    for path in ("messages", "beta.messages")
)
