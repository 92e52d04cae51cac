"""What `ledger search` and `ledger export` are asked for: which entries are meant."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias, get_type_hints

import typer

from saferun.cli.options import CannotError, meant

if TYPE_CHECKING:
    from saferun.store import Reader
    from saferun.store.index import Index, Query

Values: TypeAlias = list[str] | None


def _option(name: str, metavar: str, what: str) -> Any:
    return typer.Option(name, metavar=metavar, help=what)


class Filters(NamedTuple):
    """The options by which entries are chosen, each a field of its name. See `filtered`."""

    agent: Annotated[Values, _option("--agent", "NAME", "Of this agent.")] = None
    user: Annotated[Values, _option("--user", "ID", "For this user.")] = None
    tenant: Annotated[Values, _option("--tenant", "NAME", "Of this tenant.")] = None
    run: Annotated[Values, _option("--run", "ID", "Of this run.")] = None
    tool: Annotated[Values, _option("--tool", "NAME", "Of this tool.")] = None
    verdict: Annotated[
        Values, _option("--verdict", "VERDICT", "allow, ask, deny or defer, and what came of it.")
    ] = None
    status: Annotated[
        Values,
        _option("--status", "STATUS", "How it went: ok, error, unknown, approved, stopped ..."),
    ] = None
    rule: Annotated[Values, _option("--rule", "ID", "Where this rule or limit spoke.")] = None
    kind: Annotated[
        Values,
        _option("--kind", "KIND", "decision, outcome, approval, run, model, user, policy ..."),
    ] = None
    person: Annotated[Values, _option("--person", "NAME", "Done by this person.")] = None
    policy: Annotated[
        Values, _option("--policy", "NAME", "Under this policy, by its name or its whole version.")
    ] = None
    host: Annotated[Values, _option("--host", "NAME", "Written on this host.")] = None
    since: Annotated[
        str | None,
        _option("--since", "WHEN", "From then on: 2h, 7d, 2026-05-04, 2026-05-04T10:00Z."),
    ] = None
    until: Annotated[
        str | None, _option("--until", "WHEN", "Up to then; a date alone is the whole day.")
    ] = None

    @property
    def facets(self) -> dict[str, tuple[str, ...]]:
        """What is asked for by its value, without the times."""
        return {
            name: tuple(values)
            for name, values in self._asdict().items()
            if values and name not in ("since", "until")
        }


_KEYWORD = inspect.Parameter.KEYWORD_ONLY

ALL = Filters()
"""Every entry."""


def filtered(command: Callable[..., int]) -> Callable[..., int]:
    """A command whose parameter `chosen`, some `Filters`, is given as an option for each field.

    What reads the signature of a command for its options finds those in that parameter's place.
    """

    @functools.wraps(command)
    def called(**given: Any) -> int:
        chosen = Filters(**{name: given.pop(name) for name in Filters._fields})
        return command(chosen=chosen, **given)

    hints = get_type_hints(Filters, include_extras=True)
    options = [
        inspect.Parameter(name, _KEYWORD, default=None, annotation=hints[name])
        for name in Filters._fields
    ]
    parameters = [
        option
        for each in inspect.signature(command).parameters.values()
        for option in (options if each.name == "chosen" else [each.replace(kind=_KEYWORD)])
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def asked(reader: "Reader", text: str, chosen: Filters) -> "Query":
    """The query that text and options come to. Raises CannotError."""
    from saferun.store.index import Query

    now = reader.now()
    return Query(
        text=text,
        facets=chosen.facets,  # type: ignore[arg-type]
        since=None if chosen.since is None else when(chosen.since, now),
        until=None if chosen.until is None else when(chosen.until, now, end=True),
    )


def when(given: str, now: int, *, end: bool = False) -> int:
    """A time as `moments.when` takes it. Raises CannotError."""
    from saferun.store import moments

    try:
        return moments.when(given, now, end=end)
    except ValueError as problem:
        raise CannotError(str(problem)) from None


def unknown(index: "Index", query: "Query") -> str | None:
    """The first of the values asked for that no entry has, and what it may have been meant for."""
    for facet, values in query.facets.items():
        known = index.values(facet)
        for value in values:
            if value not in known and not index.has(facet, value):
                return f"No entry has the {facet} {value!r}{meant(value, known)}"
    return None
