"""The forms: a reason for a no, other arguments, how far a yes goes, breaking the glass. Pure.

A form has a field for each argument that may be changed, made from its schema. What cannot be
told apart in a text field (records, lists, text with characters that are not seen) is written
as JSON.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from saferun.approval import Question, Request, inert
from saferun.approval.grant import MINUTES, Permit, narrowing, permit
from saferun.channel.slack.mark import marked
from saferun.channel.slack.text import NAME, Block, Element, plain, said

MOST = 3_000
"""Characters of a text field of Slack's."""

_FIELDS = 90
_OPTIONS, _OPTION = 100, 75
_LONG = 80
_DEPTH = 32

REASON, SPAN, SAME = "reason", "span", "same"


class Field(NamedTuple):
    """A field as it comes back: what has been typed, or the option chosen, or `several` of them."""

    value: str | None = None
    chosen: str | None = None
    several: tuple[str, ...] = ()


class Edits(NamedTuple):
    """What a form comes to: new values by name, and what is wrong with fields, by their ids."""

    args: dict[str, Any]
    errors: dict[str, str]


def reject(request: Request) -> dict[str, Any]:
    """The form in which somebody says why not."""
    asked = _reason("Reason", "The agent is told it, and the ledger keeps it.")
    about = said("The call does not run.")
    return _view("reject", "Reject", request, [{"type": "section", "text": about}, asked])


def glass(request: Request) -> dict[str, Any]:
    """The form in which somebody says why it cannot wait for those who are asked."""
    what = (
        "*Your one yes counts for everybody who is asked.* All others hear of it at once, and it"
        " stands out in the ledger. The call has fifteen minutes to start."
    )
    asked = _reason("Why can it not wait?", "Kept in the ledger, and told to everybody else.")
    blocks: list[Block] = [{"type": "section", "text": said(what)}, asked]
    return _view("glass", "Break the glass", request, blocks)


def grant(request: Request) -> dict[str, Any]:
    """The form in which somebody says for which further calls their yes holds."""
    question = request.question
    spans = {f"{each}": f"In any run, for {each} minutes" for each in MINUTES}
    if question.run is not None:
        spans = {"run": "In this run, for an hour at most", **spans}
    options = [{"text": plain(text, _OPTION), "value": span} for span, text in spans.items()]
    blocks: list[Block] = [
        {
            "type": "section",
            "text": said(
                "This call runs, and calls like it run without a question until the grant ends."
            ),
        },
        {
            "type": "input",
            "block_id": SPAN,
            "label": plain("For how long", NAME),
            "element": {"type": "static_select", "action_id": "value", "options": options},
        },
    ]
    names = _named(question)
    if names:
        narrowed: Block = {
            "type": "input",
            "block_id": SAME,
            "optional": True,
            "label": plain("“Like it” means equal in", NAME),
            "hint": plain("With none chosen, all arguments have to be equal.", 150),
            "element": {
                "type": "multi_static_select",
                "action_id": "value",
                "options": [
                    {"text": plain(inert(name), _OPTION), "value": str(number)}
                    for number, name in names.items()
                ],
            },
        }
        blocks.append(narrowed)
    return _view("grant", "Approve further calls", request, blocks)


def permitted(question: Question, fields: Mapping[str, Field]) -> Permit:
    """How far a form says that a yes goes. Raises ValueError where it says none of what it can."""
    names = _named(question)
    several = fields.get(SAME, Field()).several
    if any(not re.fullmatch(r"[0-9]{1,3}", each) or int(each) not in names for each in several):
        raise ValueError(SAME)
    by = tuple(names[int(each)] for each in dict.fromkeys(several))
    found = permit(fields.get(SPAN, Field()).chosen or "", by)
    if found is None:
        raise ValueError(SPAN)
    return found


def _named(question: Question) -> dict[int, str]:
    """The arguments that a grant can be narrowed by, by their place."""
    names = enumerate(narrowing(question)[:_OPTIONS])
    return {number: name for number, name in names if 0 < len(inert(name)) <= _OPTION}


def _reason(label: str, hint: str) -> Block:
    return {
        "type": "input",
        "block_id": REASON,
        "label": plain(label, NAME),
        "hint": plain(hint, 150),
        "element": {
            "type": "plain_text_input",
            "action_id": "value",
            "multiline": True,
            "min_length": 1,
            "max_length": 2_000,
        },
    }


def edit(request: Request) -> dict[str, Any]:
    """The form in which somebody changes arguments."""
    question = request.question
    blocks: list[Block] = [
        {
            "type": "section",
            "text": said("Policy is asked about the call as you change it, and votes start anew."),
        }
    ]
    left = []
    for number, name in enumerate(question.edits[:_FIELDS]):
        element = _element(question, name)
        if element is None or len(name) > NAME:
            left.append(name)
            continue
        field: Block = {
            "type": "input",
            "block_id": _id(number),
            "label": plain(name, NAME),
            "optional": name not in question.args or question.args[name] == "",
            "element": {**element, "action_id": "value"},
        }
        if _is_json(question, name):
            field["hint"] = plain("As JSON", 150)
        blocks.append(field)
    if left or len(question.edits) > _FIELDS:
        blocks.append(
            {"type": "section", "text": said("Other arguments are too long to be changed here.")}
        )
    return _view("edit", "Edit", request, blocks)


def edited(question: Question, fields: Mapping[str, Field]) -> Edits:
    """The arguments that a form changes. What has been left as it was is not among them."""
    args: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for number, name in enumerate(question.edits[:_FIELDS]):
        field = fields.get(_id(number))
        if field is None:
            continue
        try:
            value = _value(question, name, field)
        except ValueError as problem:
            errors[_id(number)] = str(problem)
            continue
        as_it_was = name in question.args and _same(question.args[name], value)
        if value is not _AS_IT_WAS and not as_it_was:
            args[name] = value
    return Edits(args, errors)


def beside(question: Question, fields: Mapping[str, Field], why: str) -> dict[str, str]:
    """Where a refusal is told: at the argument that it names, else at the first field."""
    known = {name: _id(number) for number, name in enumerate(question.edits[:_FIELDS])}
    named = (
        at
        for name, at in known.items()
        if at in fields and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", why)
    )
    first = next(iter(fields), REASON)
    return {next(named, first): inert(why, 400)}


def _view(form: str, title: str, request: Request, blocks: list[Block]) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": form,
        "private_metadata": str(marked(request)),
        "title": plain(title, 24),
        "submit": plain(title, 24),
        "close": plain("Back", 24),
        "blocks": blocks,
    }


def _id(number: int) -> str:
    return f"argument-{number}"


# What a field is, and what comes back from it.


class _AsItWas:
    pass


_AS_IT_WAS = _AsItWas()


def _schema(question: Question, name: str) -> Mapping[str, Any]:
    found = (question.schema or {}).get("properties", {}).get(name)
    return found if isinstance(found, Mapping) else {}


def _options(question: Question, name: str) -> list[Any] | None:
    """The values that an argument can have, None where they are no list to choose from."""
    schema = _schema(question, name)
    values = [False, True] if schema.get("type") == "boolean" else schema.get("enum")
    if not isinstance(values, list) or not 0 < len(values) <= _OPTIONS:
        return None
    if name in question.args and not any(_same(question.args[name], each) for each in values):
        return None
    shown = [_option(each) for each in values]
    fits = all(0 < len(each) <= _OPTION for each in shown) and len(set(shown)) == len(shown)
    return values if fits else None


def _option(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return inert(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _is_text(question: Question, name: str) -> bool:
    """Whether an argument is text of which every character can be seen in a field."""
    if _schema(question, name).get("type") != "string":
        return False
    value = question.args.get(name, "")
    return isinstance(value, str) and all(inert(line) == line for line in value.split("\n"))


def _is_number(question: Question, name: str) -> bool:
    value = question.args.get(name, 0)
    return _schema(question, name).get("type") in ("integer", "number") and (
        isinstance(value, int | float) and not isinstance(value, bool)
    )


def _is_json(question: Question, name: str) -> bool:
    return not (_options(question, name) or _is_text(question, name) or _is_number(question, name))


def _written(value: Any) -> str:
    """A value as JSON in which every character can be seen."""
    text = msgspec.json.encode(value).decode()
    return "".join(
        each if each.isascii() or inert(each) == each else _escape(each) for each in text
    )


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _element(question: Question, name: str) -> Element | None:
    """The field of an argument, None where its value does not fit into one."""
    has = name in question.args
    value = question.args.get(name)
    options = _options(question, name)
    if options is not None:
        return _choice(options, value, has=has)
    if _is_number(question, name):
        whole = _schema(question, name)["type"] == "integer"
        number: Element = {"type": "number_input", "is_decimal_allowed": not whole}
        return {**number, "initial_value": _written(value)} if has else number
    as_text = _is_text(question, name)
    text = str(value) if as_text else _written(value)
    if has and len(text) > MOST:
        return None
    field: Element = {"type": "plain_text_input", "max_length": MOST}
    field["multiline"] = not as_text or len(text) > _LONG or "\n" in text
    return {**field, "initial_value": text} if has and text else field


def _choice(options: list[Any], value: Any, *, has: bool) -> Element:
    shown = [
        {"text": plain(_option(each), _OPTION), "value": str(number)}
        for number, each in enumerate(options)
    ]
    field: Element = {"type": "static_select", "options": shown}
    if has:
        at = next(number for number, each in enumerate(options) if _same(each, value))
        field["initial_option"] = shown[at]
    return field


def _value(question: Question, name: str, field: Field) -> Any:
    """What a field says. Raises ValueError, with what is wrong, for people."""
    has = name in question.args
    before = question.args.get(name)
    options = _options(question, name)
    if options is not None:
        return _chosen(options, field)
    text = field.value
    if _is_text(question, name):
        # Slack gives nothing back for an empty field, and ends lines in its own way.
        typed = (text or "").replace("\r\n", "\n")
        known = str(before).replace("\r\n", "\n") if has else ""
        return _AS_IT_WAS if typed == known else typed
    if text is None or not text.strip():
        if has:
            raise ValueError("It takes a value.")
        return _AS_IT_WAS
    return _number(text) if _is_number(question, name) else _json(text)


def _chosen(options: list[Any], field: Field) -> Any:
    if field.chosen is None:
        return _AS_IT_WAS
    if not re.fullmatch(r"[0-9]{1,3}", field.chosen) or int(field.chosen) >= len(options):
        raise ValueError("Choose one of these.")
    return options[int(field.chosen)]


def _number(text: str) -> int | float:
    text = text.strip()
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,30})", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]{1,30}\.[0-9]{1,30}", text):
        return float(text)
    raise ValueError("Write a number.")


def _json(text: str) -> Any:
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("This is not JSON.") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEPTH:
            raise ValueError(f"It is nested more than {_DEPTH} deep.")
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return value
