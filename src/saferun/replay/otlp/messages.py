"""What was said in a model turn, from either convention's attributes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from saferun import convention as names


class Wanted(NamedTuple):
    """A call that a model asks for, its arguments as it wrote them."""

    id: str | None
    tool: str
    arguments: Any


class Spoken(NamedTuple):
    """One message. `answers` are results of calls, each with the id of its call."""

    role: str
    text: str | None
    wants: tuple[Wanted, ...] = ()
    answers: tuple[tuple[str | None, Any], ...] = ()


def given(attributes: Mapping[str, Any]) -> list[Spoken]:
    """What a model was given."""
    return _either(attributes, names.INPUT_MESSAGES, names.LLM_INPUT)


def said(attributes: Mapping[str, Any]) -> list[Spoken]:
    """What a model said."""
    return _either(attributes, names.OUTPUT_MESSAGES, names.LLM_OUTPUT)


def _either(attributes: Mapping[str, Any], genai: str, openinference: str) -> list[Spoken]:
    found = list(_of_genai(attributes.get(genai)))
    return found or list(_of_openinference(attributes, openinference))


def decoded(value: Any) -> Any:
    """JSON within a string, as what it holds; anything else, or what is none, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return value


def _of_genai(value: Any) -> Iterator[Spoken]:
    found = decoded(value)
    for message in found if isinstance(found, list) else ():
        if not isinstance(message, dict):
            continue
        parts = message.get("parts")
        if not isinstance(parts, list):
            parts = [{"type": "text", "content": message.get("content")}]
        yield _of_parts(_text(message.get("role")) or "", [p for p in parts if isinstance(p, dict)])


def _of_parts(role: str, parts: list[dict[str, Any]]) -> Spoken:
    texts, wants, answers = list[str](), list[Wanted](), list[tuple[str | None, Any]]()
    for part in parts:
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("content"), str):
            texts.append(part["content"])
        elif kind == "tool_call" and isinstance(part.get("name"), str):
            wants.append(Wanted(_text(part.get("id")), part["name"], part.get("arguments", {})))
        elif kind == "tool_call_response":
            # `result` was its name in earlier versions.
            answers.append((_text(part.get("id")), part.get("response", part.get("result"))))
    return Spoken(role, "\n".join(texts) if texts else None, tuple(wants), tuple(answers))


def _of_openinference(attributes: Mapping[str, Any], prefix: str) -> Iterator[Spoken]:
    """Messages whose parts stand in attributes of their own: `PREFIX.0.message.role`."""
    each: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        place = _numbered(name, prefix)
        if place is not None:
            each.setdefault(place[0], {})[place[1]] = value
    for _, fields in sorted(each.items()):
        role = _text(fields.get(names.MESSAGE_ROLE)) or ""
        text = _text(fields.get(names.MESSAGE_CONTENT))
        if text is None:
            parts = _members(fields, names.MESSAGE_CONTENTS)
            texts = [_text(part.get(names.MESSAGE_CONTENT_TEXT)) for part in parts]
            text = "\n".join(each for each in texts if each is not None) or None
        if role == "tool":
            yield Spoken(role, None, (), ((_text(fields.get(names.MESSAGE_TOOL_CALL_ID)), text),))
            continue
        wants = [
            Wanted(
                _text(call.get(names.TOOL_CALL_ID)),
                call[names.CALL_NAME],
                call.get(names.CALL_ARGUMENTS, "{}"),
            )
            for call in _members(fields, names.MESSAGE_TOOL_CALLS)
            if isinstance(call.get(names.CALL_NAME), str)
        ]
        yield Spoken(role, text, tuple(wants))


def _members(fields: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for name, value in fields.items():
        place = _numbered(name, prefix)
        if place is not None:
            found.setdefault(place[0], {})[place[1]] = value
    return [member for _, member in sorted(found.items())]


_REST = re.compile(r"\.([0-9]{1,6})\.(.+)", re.ASCII)


def _numbered(name: str, prefix: str) -> tuple[int, str] | None:
    if not name.startswith(prefix):
        return None
    found = _REST.fullmatch(name, len(prefix))
    return None if found is None else (int(found[1]), found[2])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
