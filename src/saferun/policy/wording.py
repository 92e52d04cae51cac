"""What a policy says in words: to the model, to people, and to whoever asks why.

Every sentence is made of the policy's own constants and of the names of arguments.
No value of a call and no message of the schema library, which quotes values, gets in.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from saferun import redact
from saferun.call import canonical

_MAX_NAME = 60
_MAX_STEPS = 5
_MAX_OPTIONS = 20
_WORD = re.compile(r"[\w.@:/+-]{1,60}", re.ASCII)

_TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

_KEYWORDS = {
    "type": ("must be {}", "{} is {}"),
    "enum": ("must be one of {}", "{} in [{}]"),
    "const": ("must be {}", "{} == {}"),
    "minimum": ("must be at least {}", "{} >= {}"),
    "maximum": ("may be at most {}", "{} <= {}"),
    "exclusiveMinimum": ("must be more than {}", "{} > {}"),
    "exclusiveMaximum": ("must be less than {}", "{} < {}"),
    "multipleOf": ("must be a multiple of {}", "{} is a multiple of {}"),
    "minLength": ("must be at least {} characters long", "size({}) >= {}"),
    "maxLength": ("may be at most {} characters long", "size({}) <= {}"),
    "pattern": ("must match the pattern {}", "{} matches {}"),
    "format": ("must be written as {}", "{} is written as {}"),
    "minItems": ("must be at least {} items long", "size({}) >= {}"),
    "maxItems": ("may be at most {} items long", "size({}) <= {}"),
    "minProperties": ("must be at least {} properties large", "size({}) >= {}"),
    "maxProperties": ("may be at most {} properties large", "size({}) <= {}"),
    "forbid": ("may not be any of {}", "{} not in [{}]"),
    "among": ("must be one of {}", "{} is one of {}"),
    "email": ("must be {}", "{} is {}"),
    "url": ("must be {}", "{} is {}"),
    "under": ("must be {}", "{} is {}"),
    "sql": ("must be {}", "{} is {}"),
}
"""For each keyword whose meaning is its constant: a complaint, and the clause of a rule."""

_FORMS = {
    "required": "is missing",
    "uniqueItems": "may not hold the same item twice",
    "contains": "does not hold the items that the policy asks for",
    "additionalProperties": "has a property that the policy does not name",
    "unevaluatedProperties": "has a property that the policy does not name",
    "unevaluatedItems": "has more items than the policy names",
    "propertyNames": "has a property with a name that the policy does not allow",
    "anyOf": "has none of the forms that the policy allows",
    "oneOf": "does not have exactly one of the forms that the policy allows",
    "not": "has a form that the policy rules out",
    "falseSchema": "is not allowed here",
}
"""For each keyword whose meaning is another schema: a complaint."""

_SILENT = frozenset(("title", "description", "examples", "$comment", "unit", "written"))


class Measured(NamedTuple):
    """A number of the policy with its unit. `written` is how the policy writes it, if it does."""

    number: int | float
    unit: str
    written: str | None


def measured(schema: Mapping[str, Any], keyword: str) -> Any:
    """The value of a keyword for people to read: with the unit that its schema counts in."""
    value = schema[keyword]
    unit = schema.get("unit")
    if unit is None or keyword not in _MEASURED:
        return value
    written = schema.get("written", {})

    def one(each: Any) -> Any:
        if isinstance(each, bool) or not isinstance(each, int | float):
            return each
        return Measured(each, unit, written.get(canonical.encode(each).decode()))

    return [one(each) for each in value] if isinstance(value, list) else one(value)


_MEASURED = frozenset(
    (
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "const",
        "enum",
        "forbid",
    )
)


def named(name: str) -> str:
    """A name that somebody else chose: short, no secret, and no characters that act on a reader."""
    # Cut short after the secrets are out, so that no half of one is left.
    clean = redact.text(name[: 20 * _MAX_NAME])
    shown = "".join(c if c.isprintable() and c != "`" else "?" for c in clean[:_MAX_NAME])
    return f"`{shown}{'…' if len(name) > _MAX_NAME else ''}`"


def listed(words: Iterable[str]) -> str:
    """`a, b, c`, cut where it would run long."""
    every = list(words)
    more = "" if len(every) <= _MAX_OPTIONS else f" and {len(every) - _MAX_OPTIONS} more"
    return ", ".join(every[:_MAX_OPTIONS]) + more


def typed(types: Iterable[str]) -> str:
    """Types in words: `a string or null`."""
    return " or ".join(_TYPES[name] for name in types)


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` where a word is close to a known one, else nothing."""
    # Only what is wrong is compared so, and importing saferun shall not wait for it.
    from difflib import get_close_matches

    close = get_close_matches(word[:100], list(islice(known, 300)), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def constant(value: Any) -> str:
    """A constant of the policy as a reader would write it: plain words bare, the rest as JSON."""
    if isinstance(value, Measured):
        number = f"{constant(value.number)} {value.unit}"
        # Whoever reads it calls the tool with a bare number, and has to know which.
        return f"{value.written} ({number})" if value.written not in (None, number) else number
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    shown = canonical.encode(value).decode()
    return shown if len(shown) <= _MAX_NAME else f"{shown[:_MAX_NAME]}…"


def found(value: Any) -> str:
    """What stands in a file where something else was expected."""
    if value is None:
        return "found nothing"
    if isinstance(value, str):
        return f"found the text {named(value)}"
    if isinstance(value, bool):
        return f"found `{constant(value)}`"
    if isinstance(value, (int, float)):
        return f"found the number {constant(value)}"
    if value == []:
        return "found an empty list"
    return "found a list" if isinstance(value, list) else "found a mapping"


def place(path: Sequence[str | int]) -> str:
    """`address.zip`, `tags[2]`. Below an argument the keys may be the caller's own."""
    head, *rest = path
    parts = [str(head)]
    for step in rest[:_MAX_STEPS]:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if _WORD.fullmatch(step) else f".{named(step)}")
    return "".join(parts) + ("…" if len(rest) > _MAX_STEPS else "")


def complaint(subject: str, keyword: str, value: Any) -> str:
    """Why `subject` does not fit: the sentence that a denial says."""
    if keyword in _KEYWORDS:
        # Models write 5.0 where a tool wants 5, and then need to be told what was wrong with it.
        whole = keyword == "type" and "integer" in value and "number" not in value
        how = ", written without a decimal point" if whole else ""
        return f"{subject} {_KEYWORDS[keyword][0].format(_constants(keyword, value))}{how}"
    return f"{subject} {_FORMS.get(keyword, 'does not fit the schema of the policy')}"


def clauses(subject: str, schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A schema as conditions that a person would write, each with the schema that it stands for.

    `args.amount <= 100000` for each keyword whose meaning is its constant; all the others
    stand together. A value fits the schema if and only if it fits each of the clauses.
    """
    said = schema.get("type", [])
    types = [said] if isinstance(said, str) else said
    # 5.0 is no integer, and yet it is at most 10: one clause says one thing.
    wider = ["number" if each == "integer" else each for each in types]
    loose = {"type": list(dict.fromkeys(wider))} if wider else {}
    told = [
        (
            text.format(subject, _constants(keyword, measured(schema, keyword))),
            {**loose, keyword: schema[keyword]},
        )
        for keyword, (_, text) in _KEYWORDS.items()
        if keyword in schema
    ]
    if schema.keys() - _KEYWORDS.keys() - _SILENT:
        told.append((f"{subject} fits its schema", schema))
    return told


def _constants(keyword: str, value: Any) -> str:
    if keyword == "type":
        return typed([value] if isinstance(value, str) else value)
    if keyword in ("enum", "forbid"):
        return listed(constant(option) for option in value)
    if keyword == "among":
        # A list that somebody keeps in a file may be long, and is not for everybody to read.
        return f"the {len(value)} values listed"
    told = _TOLD.get(keyword)
    return told(value) if told else constant(value)


def _told_email(said: Mapping[str, Any]) -> str:
    return f"one plain e-mail address{_at(said)}"


def _told_url(said: Mapping[str, Any]) -> str:
    schemes = " or ".join(said.get("schemes", ("https",)))
    ports = f" on port {_either(map(str, said['ports']))}" if "ports" in said else ""
    return f"one {schemes} URL{_at(said)}{ports}"


def _told_under(said: str | list[str]) -> str:
    return f"an absolute path under {_either([said] if isinstance(said, str) else said)}"


def _told_sql(said: Mapping[str, Any]) -> str:
    tables = f" from {listed(said['tables'])}" if "tables" in said else ""
    query = f"one {said['dialect']} query that only reads{tables}, without comments"
    if "functions" not in said:
        return query
    return f"{query}; besides common functions it may call {listed(said['functions'])}"


def _at(said: Mapping[str, Any]) -> str:
    return f" at {_either(said['domains'])}" if "domains" in said else ""


def _either(words: Iterable[str]) -> str:
    return " or ".join(listed(words).rsplit(", ", 1))


_TOLD: Mapping[str, Callable[[Any], str]] = {
    "email": _told_email,
    "url": _told_url,
    "under": _told_under,
    "sql": _told_sql,
}
"""For each form that is a mapping or a path: what it asks for, as it stands after `must be`."""
