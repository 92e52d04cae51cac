"""How answers of Anthropic look on their way: put together anew from what was recorded of them."""

from collections.abc import Mapping
from typing import Any

from saferun.adapters.openai_wire import OWN, outputs, text
from saferun.adapters.turn import Wire
from saferun.recall import Spoken


def _message(spoken: Spoken) -> dict[str, Any]:
    [output, *_] = outputs(spoken)
    content: list[dict[str, Any]] = []
    if output.get("reasoning"):
        content.append({"type": "thinking", "thinking": output["reasoning"], "signature": ""})
    if output.get("content") is not None:
        content.append({"type": "text", "text": text(output["content"])})
    asked = output.get("tool_calls") or ()
    content += (
        {
            "type": "tool_use",
            "id": each.get("id"),
            "name": each.get("name"),
            "input": each.get("arguments"),
        }
        for each in asked
    )
    return {
        "id": OWN,
        "type": "message",
        "role": "assistant",
        "model": spoken.model or OWN,
        "content": content,
        "stop_reason": output.get("finish_reason") or ("tool_use" if asked else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": spoken.input_tokens or 0,
            "output_tokens": spoken.output_tokens or 0,
        },
    }


def _events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    usage = whole.get("usage") or {}
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(whole["content"]):
        empty, deltas = _block(block)
        told.append({"type": "content_block_start", "index": index, "content_block": empty})
        told += (
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        )
        told.append({"type": "content_block_stop", "index": index})
    ended = {name: whole.get(name) for name in ("stop_reason", "stop_sequence")}
    written = {"output_tokens": usage.get("output_tokens", 0)}
    told.append({"type": "message_delta", "delta": ended, "usage": written})
    told.append({"type": "message_stop"})
    return told


def _block(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and what makes it whole."""
    match block.get("type"):
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block.get("signature", "")},
            ]
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            given = text(block.get("input"))
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    return block, []


def _is_message(answer: Any) -> bool:
    return isinstance(answer, Mapping) and answer.get("type") == "message"


MESSAGE = Wire(_is_message, _message, _events)
