"""Values to try: those on either side of every border that a schema or a condition draws.

What a policy decides changes at its constants and nowhere else. A value at each of them and one
next to it on either side therefore show most of what two policies disagree on.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from saferun.call import canonical
from saferun.policy.form import SAME_VALUE, inside

MAX_VALUES = 40
"""Values for one argument."""

_MAX_LENGTH = 2_000
_MAX_ITEMS = 50
_MAX_DEPTH = 6
_MAX_LISTED = 20

_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "string": ("a", ""),
    "integer": (1, 0, -1),
    "number": (1, 0, 0.5, -1),
    "boolean": (True, False),
    "null": (None,),
    "array": ([],),
    "object": ({},),
}

_WRITTEN: Mapping[str, str] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/a",
    "iri": "https://example.com/",
    "iri-reference": "/a",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/a",
}
"""One text of each format that has an obvious one."""


def values(*schemas: Any) -> list[Any]:
    """Values that these schemas draw their lines around, the simplest first.

    Some fit and some do not: what they are good for is being tried.
    """
    found: dict[bytes, Any] = {}
    for schema in schemas:
        for value in islice(_around(schema, 0), 4 * MAX_VALUES):
            found.setdefault(canonical.encode(value), value)
    return sorted(found.values(), key=simplicity)[:MAX_VALUES]


def near(value: Any) -> Iterator[Any]:
    """A constant and what lies next to it."""
    yield value
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
        yield value - 1
    elif isinstance(value, str):
        yield f"{value}x"
        yield f"x{value}"


def simplicity(value: Any) -> tuple[int, int, bytes]:
    """What a value is ordered by so that a reader meets the simplest one first."""
    odd = isinstance(value, float) or value in ("", [], {}, None)
    written = canonical.encode(value)
    return (odd, len(written), written)


def _around(schema: Any, depth: int) -> Iterator[Any]:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    for keyword in ("const", "default"):
        if keyword in schema:
            yield from near(schema[keyword])
    for keyword in ("enum", "among", "forbid", "examples"):
        listed = schema.get(keyword)
        if isinstance(listed, list):
            yield from listed[:_MAX_LISTED]
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
        if keyword in schema:
            yield from near(schema[keyword])
    yield from _texts(schema)
    yield from _lists(schema, depth)
    yield from _objects(schema, depth)
    for steps, held in inside(schema):
        if steps[0] in SAME_VALUE:
            yield from _around(held, depth + 1)
    kind = schema.get("type", ())
    for each in [kind] if isinstance(kind, str) else kind:
        yield from _PLAIN.get(each, ())
    if not schema:
        yield from ("a", 1)


def _texts(schema: Mapping[str, Any]) -> Iterator[str]:
    for keyword in ("minLength", "maxLength"):
        if keyword in schema:
            size = int(schema[keyword])
            for length in (size, size + 1, size - 1):
                if 0 <= length <= _MAX_LENGTH:
                    yield "a" * length
    if schema.get("format") in _WRITTEN:
        yield _WRITTEN[schema["format"]]
    if "pattern" in schema:
        yield from _matching(schema["pattern"])
    for keyword, before, after in (("email", "someone@", ""), ("url", "https://", "/")):
        if keyword in schema:
            domains = schema[keyword].get("domains", ["example.com"])[:_MAX_LISTED]
            for domain in (*domains, "other.example"):
                yield f"{before}{domain.replace('*', 'a')}{after}"
    if "under" in schema:
        folders = schema["under"] if isinstance(schema["under"], list) else [schema["under"]]
        yield from (f"{folder.rstrip('/')}/a" for folder in folders[:_MAX_LISTED])
        yield "/other"
    if "sql" in schema:
        tables = schema["sql"].get("tables", ["a"])[:_MAX_LISTED]
        # Nothing runs these: they are arguments that a policy is asked about.
        yield from (f"SELECT * FROM {table}" for table in (*tables, "other"))  # noqa: S608
        yield "DELETE FROM other"


def _matching(pattern: str) -> Iterator[str]:
    """The texts that a pattern's own words spell out, for patterns such as `^A-` and `@acme$`."""
    word = pattern.removeprefix("^").removesuffix("$").replace("\\", "")
    for text in (word, f"{word}a", f"a{word}"):
        if len(text) <= _MAX_LENGTH:
            yield text
    yield from ("A-1", "a1", "1")


def _lists(schema: Mapping[str, Any], depth: int) -> Iterator[list[Any]]:
    if isinstance(schema.get("prefixItems"), list):
        first = [next(_around(each, depth + 1), "a") for each in schema["prefixItems"]]
        yield first[:_MAX_ITEMS]
    for keyword in ("items", "contains"):
        if keyword not in schema:
            continue
        some = list(islice(_around(schema[keyword], depth + 1), MAX_VALUES)) or ["a"]
        yield from ([each] for each in some)
        for bound in ("minItems", "maxItems"):
            size = schema.get(bound)
            for length in (size, size + 1, size - 1) if isinstance(size, int) else ():
                if 0 <= length <= _MAX_ITEMS:
                    yield [some[at % len(some)] for at in range(length)]


def _objects(schema: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    named = schema.get("properties")
    if not isinstance(named, Mapping):
        return
    tried = {
        name: list(islice(_around(each, depth + 1), _MAX_LISTED)) or ["a"]
        for name, each in named.items()
    }
    needed = [name for name in schema.get("required", ()) if isinstance(name, str)]
    least = {name: tried.get(name, ["a"])[0] for name in needed}
    yield least
    for name, some in tried.items():
        for value in some:
            yield {**least, name: value}
