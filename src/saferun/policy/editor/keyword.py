"""What `args` may say of a value: the keywords of JSON Schema, and the forms beside them."""

from typing import Any

from saferun.policy.editor.shape import (
    Schema,
    any_of,
    by_name,
    by_type,
    closed,
    flag,
    many,
    one_of,
    text,
    use,
)
from saferun.policy.form.currency import DECIMALS
from saferun.policy.form.listed import MAX_AMONG, MAX_FORBIDDEN
from saferun.policy.form.sql import DIALECTS
from saferun.policy.form.units import UNITS

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")

FORMATS = (
    *("date", "date-time", "time", "duration"),
    *("email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
    *("uri", "uri-reference", "uri-template", "iri", "iri-reference"),
    *("uuid", "json-pointer", "relative-json-pointer", "regex"),
)

OTHER_UNITS = (
    *("millisecond", "milliseconds", "sec", "second", "seconds", "m", "minute", "minutes"),
    *("hour", "hours", "day", "days", "byte", "bytes", "cent"),
)
"""Other words for a unit. They stand last, so that an editor offers the short ones first."""

QUANTITY = r"^\s*-?(\s*[$€£₹]\s*[0-9]+(\.[0-9]+)?|(\s*[0-9]+(\.[0-9]+)?\s*[A-Za-z]+)+)\s*$"
_DOMAIN = r"^[^\s/:@]+$|^\[[0-9A-Fa-f:.]+\]$"
_FOLDER = r"^/"
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NAMES: Schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_VALUE = use("schema")
_VALUES: Schema = {"type": "array", "items": _VALUE, "minItems": 1}


def bound(meaning: str, *examples: Any, **more: Any) -> Schema:
    """A number, or beside a `unit` a text such as `200 USD`."""
    written = f"{meaning} Beside a `unit` it may be written with one: `200 USD`, `1h30m`, `10 MB`."
    number = {"type": ["number", "string"], **more, "pattern": QUANTITY}
    return {"description": written, **number, "examples": list(examples)}


def _count(meaning: str, example: int) -> Schema:
    return {"description": meaning, **_COUNT, "examples": [example]}


def _of(meaning: str, *examples: Any) -> Schema:
    """What holds a schema for the value itself or for a part of it."""
    return {**use("schema", meaning), "examples": list(examples)}


def _several(meaning: str, *examples: Any) -> Schema:
    return {"description": meaning, **_VALUES, "examples": list(examples)}


def _any(meaning: str, *examples: Any) -> Schema:
    return {"description": meaning, "examples": list(examples)}


def _domains(meaning: str) -> Schema:
    which = f"{meaning} `acme.com` is that host alone, `*.acme.com` any host below it."
    each = {"type": "string", "pattern": _DOMAIN}
    return many(which, each, minItems=1, uniqueItems=True, examples=[["acme.com", "*.acme.com"]])


def _idents(meaning: str, example: str) -> Schema:
    each = {"type": "string", "pattern": r"^[^\s.;()]+(\.[^\s.;()]+){0,2}$"}
    return many(meaning, each, minItems=1, uniqueItems=True, examples=[[example]])


_OF_ANY_VALUE: dict[str, Schema] = {
    "type": any_of(
        "What the value is, in the words of JSON Schema. `integer` takes no `5.0`, and no "
        "boolean is a number.",
        {"enum": list(TYPES)},
        {"type": "array", "items": {"enum": list(TYPES)}, "minItems": 1, "uniqueItems": True},
        examples=["string", "integer", ["string", "null"]],
    ),
    "enum": many("One of these values.", {}, minItems=1, examples=[["USD", "EUR", "GBP"]]),
    "const": _any("This very value.", "GBP", 5),
    "anyOf": _several("At least one of these holds.", [{"type": "string"}, {"type": "null"}]),
    "oneOf": _several("Exactly one of these holds.", [{"const": 0}, {"type": "string"}]),
    "allOf": _several("All of these hold.", [{"minimum": 1}, {"multipleOf": 5}]),
    "not": _of("This does not hold.", {"const": "root"}),
    "if": _of("Where this holds, so must `then`, and otherwise `else`.", {"required": ["to"]}),
    "then": _of("What must hold where `if` does.", {"required": ["subject"]}),
    "else": _of("What must hold where `if` does not.", {"maxProperties": 1}),
    "title": text("A name for readers; it checks nothing.", "Amount"),
    "description": text("A remark for readers; it checks nothing.", "The order to refund."),
    "examples": many("Values for readers; they check nothing.", {}, examples=[["A-17"]]),
    "$comment": text("A remark for readers; it checks nothing.", "Agreed with finance."),
}

_OF_NUMBERS: dict[str, Schema] = {
    "minimum": bound("The least that a number may be.", 1),
    "maximum": bound("The most that a number may be.", 100_000, "200 USD"),
    "exclusiveMinimum": bound("A number is above this.", 0),
    "exclusiveMaximum": bound("A number is below this.", 100_000),
    "multipleOf": bound("A number is this, or twice it, or thrice ...", 5, exclusiveMinimum=0),
}

_OF_TEXT: dict[str, Schema] = {
    "minLength": _count("How many characters a text has at least.", 1),
    "maxLength": _count("How many characters a text has at most.", 200),
    "pattern": text(
        "A regular expression that a text matches, in linear time: without look-around and "
        "back-references. It matches anywhere, unless it begins with `^` and ends with `$`.",
        "^[A-Z]{2}[0-9]{6}$",
    ),
    "format": one_of("The form of a text. It is checked.", FORMATS),
}

_OF_LISTS: dict[str, Schema] = {
    "items": _of("What each entry is.", {"type": "string"}),
    "prefixItems": _several(
        "What the first entries are, one after the other.", [{"const": "orders"}]
    ),
    "contains": _of("Some entry is this.", {"const": "finance"}),
    "minContains": _count("How many entries are what `contains` says, at least.", 1),
    "maxContains": _count("How many entries are what `contains` says, at most.", 1),
    "minItems": _count("How many entries there are at least.", 1),
    "maxItems": _count("How many entries there are at most.", 20),
    "uniqueItems": flag("No entry stands in the list twice.", default=False),
    "unevaluatedItems": _of("What the entries are that nothing else says anything about.", False),
}

_OF_OBJECTS: dict[str, Schema] = {
    "properties": by_name(
        "What the properties are that are named here.",
        {"type": "string"},
        _VALUE,
        examples=[{"street": {"type": "string"}}],
    ),
    "patternProperties": by_name(
        "What the properties are whose names match these patterns.",
        {"type": "string"},
        _VALUE,
        examples=[{"^x-": {"type": "string"}}],
    ),
    "additionalProperties": _of(
        "What all other properties are. `false` lets none of them through; without it, an "
        "object inside an argument is open.",
        False,
    ),
    "unevaluatedProperties": _of(
        "What the properties are that nothing else says anything about.", False
    ),
    "propertyNames": _of("What the names of the properties are.", {"maxLength": 40}),
    "required": {
        "description": "The properties that must be there. Arguments of a tool are required "
        "without it.",
        **_NAMES,
        "examples": [["street", "city"]],
    },
    "minProperties": _count("How many properties there are at least.", 1),
    "maxProperties": _count("How many properties there are at most.", 20),
    "dependentRequired": by_name(
        "The properties that must be there where one is.",
        {"type": "string"},
        _NAMES,
        examples=[{"card": ["billing_address"]}],
    ),
    "dependentSchemas": by_name(
        "What the object is where a property is there.",
        {"type": "string"},
        _VALUE,
        examples=[{"card": {"required": ["billing_address"]}}],
    ),
}

_FORMS: dict[str, Schema] = {
    "use": text("The name of one of the policy's `definitions`, which holds here too.", "order_id"),
    "forbid": many(
        "None of these values. A text that differs in case, white space or invisible characters "
        "alone is taken for the same.",
        {},
        minItems=1,
        maxItems=MAX_FORBIDDEN,
        examples=[["root", "admin"]],
    ),
    "among": by_type(
        "One of these texts, compared exactly. A list may stand in a file beside the policy, with "
        "one text a line.",
        many("The texts.", {"type": "string"}, minItems=1, maxItems=MAX_AMONG),
        closed(
            "The file that lists the texts.",
            {"file": text("Its name, as seen from the policy's folder.", "customers.txt")},
            required=("file",),
        ),
        examples=[["eu-west-1", "eu-north-1"], {"file": "customers.txt"}],
    ),
    "unit": {
        "description": "What a number counts. Bounds may then be written with a unit: under "
        "`unit: cents`, `maximum: 200 USD` is 20000.",
        "enum": [*UNITS, "USD", "EUR", "GBP"]
        + [code for code in DECIMALS if code not in ("USD", "EUR", "GBP")]
        + list(OTHER_UNITS),
    },
    "email": closed(
        "One plain e-mail address, at one of these domains where any are listed.",
        {"domains": _domains("Where mail may go.")},
        examples=[{"domains": ["acme.com", "*.acme.com"]}],
    ),
    "url": closed(
        "One URL that every client reads alike, at one of these domains where any are listed.",
        {
            "domains": _domains("Where a request may go."),
            "schemes": many(
                "The schemes that are allowed.",
                {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*$"},
                minItems=1,
                uniqueItems=True,
                default=["https"],
                examples=[["https", "wss"]],
            ),
            "ports": many(
                "The ports that are allowed; without them, the scheme's own.",
                {"type": "integer", "minimum": 1, "maximum": 65_535},
                minItems=1,
                examples=[[443, 8443]],
            ),
        },
        examples=[{"domains": ["api.acme.com"]}],
    ),
    "under": by_type(
        "A path in one of these folders, once links and `..` are resolved.",
        text("A folder, written from the root.", "/srv/data", pattern=_FOLDER),
        many("Several folders.", {"type": "string", "pattern": _FOLDER}, minItems=1),
        examples=["/srv/data", ["/srv/data", "/srv/reports"]],
    ),
    "sql": closed(
        "One SQL query that only reads. This does not take the place of a role that may only "
        "read. It needs the extra `sql`.",
        {
            "dialect": one_of("Which SQL it is.", DIALECTS),
            "read_only": {
                "description": "Only queries can be checked, so it is `true`.",
                "const": True,
                "default": True,
            },
            "tables": _idents("The tables that may be read; without it, all.", "shop.orders"),
            "functions": _idents(
                "Functions that may be called although they are not known to be harmless.",
                "similarity",
            ),
        },
        required=("dialect",),
        examples=[{"dialect": "postgres", "tables": ["orders"]}],
    ),
}

KEYWORDS: dict[str, Schema] = {
    **_OF_ANY_VALUE,
    **_FORMS,
    **_OF_NUMBERS,
    **_OF_TEXT,
    **_OF_LISTS,
    **_OF_OBJECTS,
}
"""Every keyword that a schema in a policy may use, at any depth."""

_OPTIONAL = flag(
    "It may be left out, and is checked where it is given. Without this or a `default`, an "
    "argument is required.",
    default=False,
)
_DEFAULT = _any("The value that is filled in where the argument is left out.", "USD", 20)


def _whole(meaning: str, **more: Schema) -> Schema:
    """A whole schema of the policy, or the name of a definition; `more` are further keys."""
    keywords = {word: use(f"schema/properties/{word}") for word in KEYWORDS}
    return by_type(
        meaning, closed("Its keywords.", {**more, **keywords}), _DEFINITION, examples=_EXAMPLES
    )


_DEFINITION = text("The name of a definition.", minLength=1)
_EXAMPLES = ({"type": "string", "maxLength": 40}, "order_id")

PART = by_type(
    "What a value is: keywords, the name of a definition, or whether there may be one at all.",
    closed("Its keywords.", KEYWORDS),
    _DEFINITION,
    {"type": "boolean"},
    examples=_EXAMPLES,
)
"""A schema inside another one. The keywords stand here once, and the others refer to them."""

ARGUMENT = _whole("What an argument is.", optional=_OPTIONAL, default=_DEFAULT)
DEFINITION = _whole("What a value is, wherever this is used.", default=_DEFAULT)
FRAGMENT = {**_whole("What the argument is where the rule applies."), "minProperties": 1}
