"""The form that changes arguments: made from their schema, and read back into values."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from saferun.approval import Question, inert

Kind = Literal["choice", "number", "line", "lines", "json"]

MAX_CHOICES = 200
MAX_LINE = 200


class Field(NamedTuple):
    """One argument in the form: how it is entered, what stands there, and what is wrong with it."""

    name: str
    key: str
    kind: Kind
    text: str
    choices: tuple[str, ...] = ()
    least: str | None = None
    most: str | None = None
    step: str | None = None
    error: str | None = None
    about: str | None = None


def fields(
    question: Question,
    said: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    *,
    most: int | None = None,
) -> tuple[Field, ...]:
    """A field for each argument that may be changed, as it is, or as somebody has entered it.

    With `most`, those of more characters are left out.
    """
    properties = (question.schema or {}).get("properties", {})
    found = []
    for number, name in enumerate(question.edits):
        schema = properties.get(name) or {}
        value = question.args.get(name)
        key = f"edit-{number}"
        field = _field(name, key, schema if isinstance(schema, dict) else {}, value)
        if said is not None and key in said:
            field = field._replace(text=said[key])
        if most is not None and len(field.text) > most:
            continue
        found.append(field._replace(error=(errors or {}).get(name)))
    return tuple(found)


def changes(question: Question, said: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments that somebody has changed, and what is wrong with what they have entered."""
    changed: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for field in fields(question):
        text = said.get(field.key)
        # A browser sends what was entered in several lines with its own ends of line.
        if text is None or text.replace("\r\n", "\n") == field.text.replace("\r\n", "\n"):
            continue
        try:
            changed[field.name] = _value(field, question.args.get(field.name), text)
        except ValueError as problem:
            errors[field.name] = str(problem)
    return changed, errors


def beside(question: Question, why: str) -> dict[str, str]:
    """Why an edit was refused, beside the one field that it speaks of, if it does of one."""
    named = [name for name in question.edits if re.search(rf"\b{re.escape(name)}\b", why)]
    return {named[0]: why} if len(named) == 1 else {}


def _field(name: str, key: str, schema: Mapping[str, Any], value: Any) -> Field:
    about = schema.get("description")
    about = about[:300] if isinstance(about, str) else None
    listed = schema.get("enum")
    if isinstance(listed, list) and 0 < len(listed) <= MAX_CHOICES:
        return Field(name, key, "choice", _json(value), tuple(map(_json, listed)), about=about)
    kind = schema.get("type")
    if kind == "boolean" or (kind is None and isinstance(value, bool)):
        return Field(name, key, "choice", _json(value), ("true", "false"), about=about)
    if kind in ("integer", "number"):
        return Field(
            name,
            key,
            "number",
            "" if value is None else _json(value),
            least=_bound(schema, "minimum"),
            most=_bound(schema, "maximum"),
            step="1" if kind == "integer" else "any",
            about=about,
        )
    if kind == "string" or (kind is None and isinstance(value, str)):
        text = value if isinstance(value, str) else ""
        if any(inert(line) != line for line in text.split("\n")):
            # With characters that one does not see, or that turn others round: all are spelled.
            return Field(name, key, "json", json.dumps(text), about=about)
        long = len(text) > MAX_LINE or "\n" in text or "\r" in text
        return Field(name, key, "lines" if long else "line", text, about=about)
    return Field(name, key, "json", json.dumps(value, ensure_ascii=False, indent=2), about=about)


def _value(field: Field, before: Any, text: str) -> Any:
    """The value that was entered. Raises ValueError, with a sentence."""
    if field.kind == "line":
        return text
    if field.kind == "lines":
        # As the ends of line were before.
        lines = text.replace("\r\n", "\n")
        return lines.replace("\n", "\r\n") if "\r\n" in str(before) else lines
    if field.kind == "choice":
        if text not in field.choices:
            raise ValueError("Choose one of those.")
        return _decoded(text)
    if field.kind == "number":
        if not re.fullmatch(r"\s*-?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,3})?\s*", text, re.ASCII):
            raise ValueError("Enter a number.")
        value = _decoded(text.strip())
        if field.step == "1" and not isinstance(value, int):
            raise ValueError("Enter a whole number.")
        return value
    return _decoded(text)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        raise ValueError("Enter JSON: a list, an object, a number, or text in quotes.") from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bound(schema: Mapping[str, Any], key: str) -> str | None:
    found = schema.get(key)
    return _json(found) if isinstance(found, (int, float)) else None
