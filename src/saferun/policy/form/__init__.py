"""What users say most about an argument and JSON Schema has no word for.

Each form is a keyword of its own, in two readings as all that a policy compares: exactly, the
value itself, and roughly, whatever might be taken for it. What lets a call through must hold in
both, what stops one need hold in either; a value that a form cannot make out is therefore
refused by the one and caught by the other.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

from saferun.policy.form.email import Email, email_faults
from saferun.policy.form.fault import Fault
from saferun.policy.form.held import SAME_VALUE, inside, rebuilt
from saferun.policy.form.listed import Among, Forbid, among_faults, forbid_faults
from saferun.policy.form.plain import Plain, plain
from saferun.policy.form.sql import Sql, sql_faults
from saferun.policy.form.under import Under, under_faults
from saferun.policy.form.units import KEPT, LONGEST, expand, parse_duration, unit_fault
from saferun.policy.form.url import Url, url_faults

__all__ = [
    "FORMS",
    "KEPT",
    "LONGEST",
    "SAME_VALUE",
    "Form",
    "Plain",
    "expand",
    "faults",
    "inside",
    "parse_duration",
    "paths",
    "plain",
    "rebuilt",
]


class Form(Protocol):
    """One form of a schema, made from the value of its keyword. Immutable."""

    def holds(self, value: Any, *, exactly: bool) -> bool:
        """Whether a value has the form; a value of a type that it is not about has it."""
        ...


FORMS: Mapping[str, Callable[[Any], Form]] = {
    "forbid": Forbid,
    "among": Among,
    "email": Email,
    "url": Url,
    "under": Under,
    "sql": Sql,
}
"""The keywords that check something; `unit` alone only says what a number counts."""

_FAULTS: Mapping[str, Callable[[Any], Iterator[Fault]]] = {
    "forbid": forbid_faults,
    "among": among_faults,
    "email": email_faults,
    "url": url_faults,
    "under": under_faults,
    "sql": sql_faults,
}


def faults(keyword: str, said: Any) -> Iterator[Fault]:
    """What is wrong with the value of a form's keyword, or of `unit`."""
    if keyword != "unit":
        yield from _FAULTS[keyword](said)
    elif (what := unit_fault(said)) is not None:
        yield (), what


def paths(schema: Mapping[str, Any]) -> Literal["path", "paths"] | None:
    """Whether an argument of this schema is a path, a list of paths, or neither.

    Whoever asks resolves them, links and `..` and all, before the policy decides.
    """
    if "under" in schema:
        return "path"
    items = schema.get("items")
    return "paths" if isinstance(items, dict) and "under" in items else None
