"""A model's provider on loopback: speaks the wire formats of OpenAI and Anthropic, by a script.

Each request takes the next line of the script: an answer as the provider's JSON, a list of events
to stream, or a `Fault`. What was sent stands in `requests`.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

# What is asked of each kind of endpoint.
ASKED = [{"role": "user", "content": "Where is A-17?"}]
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": ASKED}
RESPONSE: dict[str, Any] = {"model": "gpt-4o", "input": "Where is A-17?"}
MESSAGE: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": ASKED}


class Fault(NamedTuple):
    """An answer that is an error of the provider's."""

    status: int
    body: Any


class Broken(NamedTuple):
    """A stream that breaks off in the middle of the line."""

    events: list[Any]


class Provider:
    def __init__(self, url: str) -> None:
        self.url = url
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            told.requests.append(json.loads(sent))
            line = told.script.pop(0)
            if isinstance(line, Fault):
                self._whole(line.status, line.body)
            elif isinstance(line, list | Broken):
                self._streamed(line, anthropic=self.path.endswith("/messages"))
            else:
                self._whole(200, line)

        def _whole(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _streamed(self, line: Any, *, anthropic: bool) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            events = line.events if isinstance(line, Broken) else line
            with contextlib.suppress(OSError):
                for event in events:
                    named = f"event: {event['type']}\n" if "type" in event else ""
                    self._piece(f"{named}data: {json.dumps(event)}\n\n".encode())
                if isinstance(line, Broken):
                    self.wfile.flush()
                    self.close_connection = True
                    return
                if not anthropic:
                    self._piece(b"data: [DONE]\n\n")
                self.wfile.write(b"0\r\n\r\n")

        def _piece(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# What the providers say, cut down to what their clients need.


def completion(content: str | None = None, calls: list[Any] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls is not None:
        message["tool_calls"] = calls
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        ],
        "usage": {"prompt_tokens": 812, "completion_tokens": 96, "total_tokens": 908},
    }


def function(name: str, arguments: str, own: str = "call_1") -> dict[str, Any]:
    return {"id": own, "type": "function", "function": {"name": name, "arguments": arguments}}


def chunk(delta: dict[str, Any], finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if usage is None else []
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": choices,
        "usage": usage,
    }


CHUNKS = [
    chunk({"role": "assistant", "content": "I will "}),
    chunk({"content": "refund it."}),
    chunk({"tool_calls": [{"index": 0, **function("refund", "")}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"order_id":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": ' "A-17"}'}}]}),
    chunk({}, "tool_calls"),
    chunk({}, usage={"prompt_tokens": 812, "completion_tokens": 96, "total_tokens": 908}),
]

REFUNDS = {
    "content": "I will refund it.",
    "tool_calls": [{"id": "call_1", "name": "refund", "arguments": {"order_id": "A-17"}}],
}
"""What all of these say, as it is recorded."""


def response(output: list[Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "r-1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4o-2024-08-06",
        "status": status,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 812,
            "output_tokens": 96,
            "total_tokens": 908,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        **more,
    }


SAYS = {
    "type": "message",
    "id": "m-1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "I will refund it.", "annotations": []}],
}
CALLS = {
    "type": "function_call",
    "id": "f-1",
    "call_id": "call_1",
    "name": "refund",
    "arguments": '{"order_id": "A-17"}',
    "status": "completed",
}

_CALLING = {**CALLS, "arguments": "", "status": "in_progress"}

RESPONSE_EVENTS = [
    {"type": "response.created", "sequence_number": 0, "response": response([], "in_progress")},
    {
        "type": "response.output_item.added",
        "sequence_number": 1,
        "output_index": 0,
        "item": {**SAYS, "content": [], "status": "in_progress"},
    },
    {
        "type": "response.content_part.added",
        "sequence_number": 2,
        "output_index": 0,
        "content_index": 0,
        "item_id": "m-1",
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    {
        "type": "response.output_text.delta",
        "sequence_number": 3,
        "output_index": 0,
        "content_index": 0,
        "item_id": "m-1",
        "delta": "I will refund it.",
        "logprobs": [],
    },
    {
        "type": "response.output_item.added",
        "sequence_number": 4,
        "output_index": 1,
        "item": _CALLING,
    },
    {
        "type": "response.function_call_arguments.delta",
        "sequence_number": 5,
        "output_index": 1,
        "item_id": "f-1",
        "delta": '{"order_id": "A-17"}',
    },
    {"type": "response.completed", "sequence_number": 6, "response": response([SAYS, CALLS])},
]


def message(content: list[Any], stop: str = "end_turn", **usage: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 812, "output_tokens": 96, **usage},
    }


TEXT = {"type": "text", "text": "I will refund it."}
USE = {"type": "tool_use", "id": "call_1", "name": "refund", "input": {"order_id": "A-17"}}


def _delta(at: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": at, "delta": delta}


MESSAGE_EVENTS = [
    {
        "type": "message_start",
        "message": {
            **message([], None),  # type: ignore[arg-type]
            "usage": {"input_tokens": 812, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    _delta(0, type="text_delta", text="I will "),
    _delta(0, type="text_delta", text="refund it."),
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {**USE, "input": {}}},
    _delta(1, type="input_json_delta", partial_json='{"order_id":'),
    _delta(1, type="input_json_delta", partial_json=' "A-17"}'),
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 96},
    },
    {"type": "message_stop"},
]
