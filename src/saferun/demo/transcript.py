"""The recorded session that the demo's agent works through.

It lies in `transcript.jsonl` in the trace format of `saferun run import`: a run a line, its
messages those of an OpenAI chat, whose tool calls carry their arguments as JSON text. The
model's turns are replayed; what the tools answered then is not, since here they answer
themselves.
"""

from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal

import msgspec


class Function(msgspec.Struct, frozen=True):
    """The tool that the model asks for. `arguments` is JSON text, as models write it."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True):
    function: Function
    id: str

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name. Raises msgspec.DecodeError where they are no JSON object."""
        return msgspec.json.decode(self.function.arguments, type=dict[str, Any])


class Message(msgspec.Struct, frozen=True):
    """One message of the chat. Only the assistant's have `tool_calls`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Transcript(msgspec.Struct, frozen=True):
    """One recorded run: who, for whom, what was asked, and everything that was said."""

    run_id: str
    agent: str
    user: str
    prompt: str
    messages: tuple[Message, ...]

    def turns(self) -> Iterator[Message]:
        """What the model said, turn by turn."""
        return (message for message in self.messages if message.role == "assistant")


def read() -> Transcript:
    """The transcript that comes with the demo."""
    line = resources.files(__package__).joinpath("transcript.jsonl").read_bytes()
    return msgspec.json.decode(line, type=Transcript)
