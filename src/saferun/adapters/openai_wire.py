"""How answers of OpenAI look on their way: put together anew from what was recorded of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from saferun.adapters.turn import Wire
from saferun.recall import Spoken

OWN = "recorded"
"""The id of an answer whose own was not kept."""


def outputs(spoken: Spoken) -> list[Mapping[str, Any]]:
    """What was recorded of an answer, choice by choice."""
    every = spoken.output if isinstance(spoken.output, list) else [spoken.output]
    return [each if isinstance(each, Mapping) else {"content": each} for each in every]


def calls(output: Mapping[str, Any]) -> list[tuple[Any, Any, str]]:
    """The calls that an output asks for: id, name and arguments, as text."""
    return [
        (each.get("id"), each.get("name"), text(each.get("arguments")))
        for each in output.get("tool_calls") or ()
    ]


def text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# Chat completions.


def _completion(spoken: Spoken) -> dict[str, Any]:
    choices = []
    for index, output in enumerate(outputs(spoken)):
        message: dict[str, Any] = {"role": "assistant", "content": output.get("content")}
        if output.get("refusal"):
            message["refusal"] = output["refusal"]
        if asked := calls(output):
            message["tool_calls"] = [
                {"id": own, "type": "function", "function": {"name": name, "arguments": given}}
                for own, name, given in asked
            ]
        finish = output.get("finish_reason") or ("tool_calls" if asked else "stop")
        choices.append({"index": index, "message": message, "finish_reason": finish})
    read, written = spoken.input_tokens or 0, spoken.output_tokens or 0
    return {
        "id": OWN,
        "object": "chat.completion",
        "created": spoken.at // 1_000_000,
        "model": spoken.model or OWN,
        "choices": choices,
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def _chunks(whole: dict[str, Any]) -> list[dict[str, Any]]:
    about = {**whole, "object": "chat.completion.chunk"}
    usage = about.pop("usage", None)
    events = []
    for choice in whole["choices"]:
        delta = {name: item for name, item in choice["message"].items() if name != "tool_calls"}
        asked = choice["message"].get("tool_calls") or ()
        pieces = [
            delta,
            *({"tool_calls": [{"index": at, **each}]} for at, each in enumerate(asked)),
        ]
        finishes = [None] * len(pieces) + [choice.get("finish_reason")]
        for piece, finish in zip([*pieces, {}], finishes, strict=True):
            part = {"index": choice["index"], "delta": piece, "finish_reason": finish}
            events.append({**about, "choices": [part]})
    if usage is not None:
        events.append({**about, "choices": [], "usage": usage})
    return events


# Responses.


def _response(spoken: Spoken) -> dict[str, Any]:
    [output, *_] = outputs(spoken)
    items: list[dict[str, Any]] = []
    if output.get("reasoning"):
        summary = [{"type": "summary_text", "text": output["reasoning"]}]
        items.append({"type": "reasoning", "id": f"{OWN}-r", "summary": summary})
    parts: list[dict[str, Any]] = []
    if output.get("content") is not None:
        parts.append({"type": "output_text", "text": text(output["content"]), "annotations": []})
    if output.get("refusal"):
        parts.append({"type": "refusal", "refusal": output["refusal"]})
    if parts:
        said = {"type": "message", "id": f"{OWN}-m", "role": "assistant", "status": "completed"}
        items.append({**said, "content": parts})
    for own, name, given in calls(output):
        asked = {"type": "function_call", "id": f"{OWN}-{own}", "call_id": own, "name": name}
        items.append({**asked, "arguments": given, "status": "completed"})
    why = output.get("finish_reason")
    read, written = spoken.input_tokens or 0, spoken.output_tokens or 0
    return {
        "id": OWN,
        "object": "response",
        "created_at": spoken.at // 1_000_000,
        "model": spoken.model or OWN,
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index, "item_id": item.get("id")}
        empty = {**item, "status": "in_progress"}
        pieces: list[dict[str, Any]] = []
        if item["type"] == "message":
            empty["content"] = []
            for at, part in enumerate(item["content"]):
                pieces += _parts(part, {**place, "content_index": at})
        elif item["type"] == "function_call":
            empty["arguments"] = ""
            kind = "response.function_call_arguments"
            pieces = [
                {"type": f"{kind}.delta", **place, "delta": item["arguments"]},
                {
                    "type": f"{kind}.done",
                    **place,
                    "name": item["name"],
                    "arguments": item["arguments"],
                },
            ]
        told.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        told += pieces
        told.append({"type": "response.output_item.done", "output_index": index, "item": item})
    status = whole.get("status") or "completed"
    told.append({"type": f"response.{status}", "response": whole})
    return [{**event, "sequence_number": at} for at, event in enumerate(told)]


def _parts(part: dict[str, Any], place: dict[str, Any]) -> list[dict[str, Any]]:
    name = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if name == "refusal" else "response.output_text"
    logs: dict[str, Any] = {} if name == "refusal" else {"logprobs": []}
    return [
        {"type": "response.content_part.added", **place, "part": {**part, name: ""}},
        {"type": f"{kind}.delta", **place, "delta": part[name], **logs},
        {"type": f"{kind}.done", **place, name: part[name], **logs},
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _is(kind: str) -> Any:
    return lambda answer: isinstance(answer, Mapping) and answer.get("object") == kind


COMPLETION = Wire(_is("chat.completion"), _completion, _chunks, b"data: [DONE]\n\n")
RESPONSE = Wire(_is("response"), _response, _events)
