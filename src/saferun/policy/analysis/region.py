"""Sets of values, as far as a JSON Schema can name them, and what is certain about them.

`jsonschema_rs` puts schemas into a canonical form that can be intersected, subtracted and asked
whether anything is left. It answers yes, no or unknown, and only yes and no count here: who asks
for a proof gets one or nothing.

That form knows JSON Schema's own reading of numbers alone, in which 5.0 is an integer. What it
says is therefore used only where the two readings of `policy.matcher` cannot differ.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from jsonschema_rs import CanonicalSchema, RegexOptions, canonicalize
from jsonschema_rs.canonical import Containment, Satisfiability

from saferun.call import canonical
from saferun.policy import form
from saferun.policy.matcher import Matcher
from saferun.policy.schema import types

Region: TypeAlias = CanonicalSchema
"""The values that a schema admits."""

_ONE_READING = frozenset(("string", "integer", "boolean", "null"))
"""Types of values that hold no float which a policy would let through."""

_ANY = frozenset(("number", "array", "object"))


NOBODY = canonicalize({"not": {}}, pattern_options=RegexOptions(), validate_formats=True)
"""No value at all."""


def region(
    schema: Mapping[str, Any], *, to_allow: bool = True, exactly: bool = True
) -> Region | None:
    """What a schema admits, or with `to_allow` False what it catches.

    None where JSON Schema cannot say it; with `exactly` False, more may be in it.
    """
    return _region(canonical.encode(schema), to_allow, exactly)


@lru_cache(maxsize=4_096)
def _region(schema: bytes, to_allow: bool, exactly: bool) -> Region | None:
    # One schema is held against each other one of its tool.
    plain, exact = form.plain(msgspec.json.decode(schema), to_allow=to_allow)
    return canonical_region(plain) if exact or not exactly else None


def canonical_region(plain: Mapping[str, Any]) -> Region | None:
    """What a schema of JSON Schema's own words admits, None where it has no canonical form."""
    try:
        return canonicalize(dict(plain), pattern_options=RegexOptions(), validate_formats=True)
    except ValueError:
        return None


def is_empty(some: Region) -> bool:
    """Whether it is certain that no value is in it."""
    return bool(some.satisfiability() == Satisfiability.NO)


def is_inhabited(some: Region) -> bool:
    """Whether it is certain that some value is in it."""
    return bool(some.satisfiability() == Satisfiability.YES)


def covers(outer: Region, inner: Region) -> bool:
    """Whether it is certain that every value of `inner` is in `outer`."""
    return bool(outer.covers(inner) == Containment.YES) or is_empty(inner.subtract(outer))


def schema_of(some: Region) -> Any:
    """A JSON Schema that admits just these values."""
    said = some.to_json_schema()
    if isinstance(said, dict):
        said.pop("$schema", None)
    return said


def read_alike(
    arguments: Iterable[Mapping[str, Any]], conditions: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether each value that a schema of an argument admits is read in one way by all of these."""
    described = list(arguments)
    if all((types(each) or _ANY) <= _ONE_READING for each in described):
        return True
    return not any(_exacting(canonical.encode(each)) for each in (*described, *conditions))


@lru_cache(maxsize=4_096)
def _exacting(schema: bytes) -> bool:
    return Matcher(msgspec.json.decode(schema)).exacting
