"""Which JSON Schemas a policy may hold: draft 2020-12, less all that would check nothing.

JSON Schema ignores what it does not know, and lets everything through that a keyword
is not about: under `{maximum: 100}` any text is valid. A policy can afford neither, so
an unknown keyword is an error, and a keyword about numbers needs a type to stand on.
References are refused altogether: nothing is ever fetched, and a schema that points to
no other is checked in time proportional to its size.
"""

from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeAlias

from jsonschema_rs import Draft202012Validator

from saferun.policy import form
from saferun.policy.form import KEPT, SAME_VALUE, inside
from saferun.policy.matcher import compiled
from saferun.policy.pattern import alike
from saferun.policy.source import Path, Source
from saferun.policy.wording import meant, named, typed

__all__ = ["Types", "examine", "meant", "types"]

Types: TypeAlias = frozenset[str]

_ANY: Types = frozenset(("string", "integer", "number", "boolean", "array", "object", "null"))
_NUMBERS: Types = frozenset(("integer", "number"))
_STRINGS: Types = frozenset(("string",))
_LISTS: Types = frozenset(("array",))
_OBJECTS: Types = frozenset(("object",))

_ABOUT: Mapping[str, Types] = {
    **dict.fromkeys(("type", "enum", "const", "anyOf", "oneOf", "allOf", "not"), _ANY),
    **dict.fromkeys(("if", "then", "else"), _ANY),
    **dict.fromkeys(("title", "description", "examples", "$comment"), _ANY),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBERS),
    "multipleOf": _NUMBERS,
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), _STRINGS),
    **dict.fromkeys(("items", "prefixItems", "unevaluatedItems", "uniqueItems"), _LISTS),
    **dict.fromkeys(("contains", "minContains", "maxContains", "minItems", "maxItems"), _LISTS),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties"), _OBJECTS),
    **dict.fromkeys(("required", "minProperties", "maxProperties", "propertyNames"), _OBJECTS),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "unevaluatedProperties"), _OBJECTS),
    "forbid": _ANY,
    "unit": _NUMBERS,
    **dict.fromkeys(("among", "email", "url", "under", "sql"), _STRINGS),
}
"""Every keyword that a schema may use, and the types that it is about."""

_KINDS = {_NUMBERS: "numbers", _STRINGS: "text", _LISTS: "lists", _OBJECTS: "objects"}

_TYPE_OF = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    NoneType: "null",
}

_NEEDS = {
    "then": ("if",),
    "else": ("if",),
    "if": ("then", "else"),
    "minContains": ("contains",),
    "maxContains": ("contains",),
}
"""Keywords that check nothing unless one of these stands beside them."""

_REFUSED = {
    **dict.fromkeys(
        (
            "$ref",
            "$dynamicRef",
            "$recursiveRef",
            "$id",
            "$anchor",
            "$dynamicAnchor",
            "$recursiveAnchor",
            "$defs",
            "definitions",
            "$schema",
            "$vocabulary",
        ),
        "schemas do not refer to each other; write this one out in place",
    ),
    **dict.fromkeys(
        ("contentEncoding", "contentMediaType", "contentSchema"),
        "text is checked as it stands and never decoded; use `pattern` or `maxLength`",
    ),
    "default": "a default is filled in for a whole argument of a tool and nowhere else",
    "optional": "a whole argument of a tool can be optional; inside an object use `required`",
    "nullable": "add null to the list of types",
}
"""Keywords that other readers of JSON Schema know, and what to do instead."""

_FORMATS = (
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uri-template",
    "iri",
    "iri-reference",
    "uuid",
    "json-pointer",
    "relative-json-pointer",
    "regex",
)

_META = Draft202012Validator({"$ref": "https://json-schema.org/draft/2020-12/schema"}, offline=True)


def examine(source: Source, path: Path, schema: Any, inherited: Types | None = None) -> None:
    """Tell `source` everything that is wrong with a schema.

    `inherited` holds the types that the value is known to have, None where nothing is known.
    """
    _walk(source, path, (), schema, inherited)
    if not source.sound(path):
        return
    for error in _META.iter_errors(schema):
        at = (*path, *error.instance_path)
        source.fault(at, "schema", f"not a JSON Schema: {error.message[:200]}")
    if source.sound(path):
        try:
            compiled(schema)
        except ValueError as error:
            first, *_ = str(error).splitlines()
            source.fault(path, "schema", f"not a JSON Schema: {first[:200]}")


def types(schema: Mapping[str, Any]) -> Types | None:
    """The types that a schema's own `type`, `enum` or `const` leave a value, None for any."""
    if "type" in schema:
        said = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        # What is no type at all gets its own fault; no other should follow from it.
        found = frozenset(each for each in said if isinstance(each, str)) & _ANY or _ANY
    elif "const" in schema:
        found = frozenset((_type(schema["const"]),))
    elif isinstance(schema.get("enum"), list):
        found = frozenset(map(_type, schema["enum"]))
    else:
        return None
    return found | {"integer"} if "number" in found else found


def _walk(source: Source, top: Path, steps: Path, schema: Any, inherited: Types | None) -> None:
    path = (*top, *steps)
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        source.fault(path, "type", "expected a JSON Schema, such as `{type: string}`")
        return
    own = types(schema)
    known = inherited if own is None else own if inherited is None else own & inherited
    if own and inherited and not known:
        source.fault(
            path,
            "schema",
            f"it can never match: the value is {_typed(inherited)}, and never {_typed(own)}",
        )
    for keyword, value in schema.items():
        if keyword != KEPT:
            _keyword(source, (*path, keyword), schema, value, known)
    if "under" in schema and steps not in ((), ("items",)):
        source.fault(
            (*path, "under"),
            "schema",
            "`under` stands at the top of an argument, or of its `items`: links can only be "
            "resolved where the argument is a path, or a list of paths",
        )
    for at, held in inside(schema):
        _walk(source, top, (*steps, *at), held, known if at[0] in SAME_VALUE else None)


def _keyword(
    source: Source, path: Path, schema: Mapping[str, Any], value: Any, known: Types | None
) -> None:
    keyword = str(path[-1])
    about = _ABOUT.get(keyword)
    needs = _NEEDS.get(keyword, ())
    if keyword in _REFUSED:
        source.fault(path, "schema", f"`{keyword}` has no place here: {_REFUSED[keyword]}")
    elif about is None:
        source.fault(
            path,
            "unknown-key",
            f"{named(keyword)} is no keyword of JSON Schema that SafeRun checks"
            + meant(keyword, _ABOUT),
        )
    elif needs and schema.keys().isdisjoint(needs):
        beside = " or ".join(f"`{other}`" for other in needs)
        source.fault(path, "schema", f"`{keyword}` checks nothing without {beside} beside it")
    elif about is not _ANY and known is None:
        source.fault(
            path,
            "schema",
            f"`{keyword}` is about {_KINDS[about]}, and a value of any other type would pass; "
            "say `type` beside it",
        )
    elif about is not _ANY and known and not about & known:
        source.fault(
            path, "schema", f"`{keyword}` is about {_KINDS[about]} and would check nothing here"
        )
    elif check := _CHECKS.get(keyword):
        check(source, path, value)


def _check_type(source: Source, path: Path, value: Any) -> None:
    for each in value if isinstance(value, list) and value else [value]:
        if not isinstance(each, str) or each not in _ANY:
            word = each if isinstance(each, str) else ""
            source.fault(
                path,
                "schema",
                f"a type is one of {', '.join(sorted(_ANY))}" + meant(word, _ANY),
            )


def _check_enum(source: Source, path: Path, value: Any) -> None:
    if not isinstance(value, list) or not value:
        source.fault(path, "schema", "`enum` is a list of the values that are allowed")


def _check_format(source: Source, path: Path, value: Any) -> None:
    if value not in _FORMATS:
        word = value if isinstance(value, str) else ""
        source.fault(
            path,
            "schema",
            f"SafeRun does not check a format of that name, so it cannot promise it; "
            f"the formats are {', '.join(_FORMATS)}" + meant(word, _FORMATS),
        )


def _check_pattern(source: Source, path: Path, value: Any) -> None:
    try:
        compiled({"pattern": value})
    except ValueError:
        source.fault(
            path,
            "schema",
            "this pattern cannot be used: patterns run in linear time, so look-around and "
            "back-references are not available, and their compiled size is bounded",
        )
        return
    if isinstance(value, str) and not alike(value):
        source.fault(
            path,
            "schema",
            "engines disagree on what this pattern means: write `\\[` for a bracket in a class, "
            "and the characters themselves for a class such as `[:alpha:]`",
        )


def _check_form(source: Source, path: Path, value: Any) -> None:
    for steps, what in form.faults(str(path[-1]), value):
        source.fault((*path, *steps), "schema", what)


def _check_pattern_names(source: Source, path: Path, value: Any) -> None:
    for pattern in value if isinstance(value, dict) else ():
        _check_pattern(source, (*path, pattern), pattern)


_CHECKS = {
    "type": _check_type,
    "enum": _check_enum,
    "format": _check_format,
    "pattern": _check_pattern,
    "patternProperties": _check_pattern_names,
    **dict.fromkeys((*form.FORMS, "unit"), _check_form),
}
"""What the meta-schema does not say, or says less clearly."""


def _type(value: Any) -> str:
    return _TYPE_OF[type(value)]


def _typed(some: Types) -> str:
    return typed(sorted(some - {"integer"} if "number" in some else some))
