"""Limits: how many, counted by what."""

from typing import Any

from saferun.control import Limit
from saferun.policy.parse.rule import Owner
from saferun.policy.parse.whole import Whole, unknown
from saferun.policy.part import Part
from saferun.policy.source import Path
from saferun.policy.wording import found

_LIMIT = ("id", "max", "per", "message", "disclose")
_LATER_SCOPES = ("agent", "user", "tenant", "tool", "all")

_MAX_COUNT = 2**63 - 1
"""The largest count that every store can keep."""


def limits(whole: Whole, holder: Part, owner: Owner | None) -> tuple[Limit, ...]:
    """The limits of a tool, or with `owner` None those over all of them."""
    return tuple(
        _limit(whole, (*holder.path, "limits", at), body, owner)
        for at, body in enumerate(holder.list("limits"))
    )


def _limit(whole: Whole, path: Path, body: Any, owner: Owner | None) -> Limit:
    part = Part(whole.source, path, body, _LIMIT)
    most = part["max"]
    if type(most) is not int or not 1 <= most <= _MAX_COUNT:
        what = f"expected a whole number of calls, 1 or more; {found(most)}"
        part.fault(("max",), "value", what)
        most = 1
    return Limit(
        id=whole.id(part),
        max=most,
        per=_scopes(part, owner),
        tool=owner and owner.name,
        message=part.sentence("message"),
        disclose=part.flag("disclose", default=owner is None or owner.disclose),
        line=part.line,
    )


def _scopes(limit: Part, owner: Owner | None) -> tuple[str, ...]:
    said = limit["per"] if isinstance(limit["per"], list) else [limit["per"]]
    for scope in said or [None]:
        if (what := _not_a_scope(scope, owner)) is not None:
            limit.fault(("per",), "value", what)
    scopes = dict.fromkeys(scope for scope in said if isinstance(scope, str))
    if len(scopes) < len(said):
        limit.fault(("per",), "duplicate", "the same scope stands here twice")
    return tuple(scopes)


def _not_a_scope(scope: Any, owner: Owner | None) -> str | None:
    """What is wrong with one scope of a limit, None where it can be counted by."""
    if scope == "run":
        return None
    if scope in _LATER_SCOPES:
        return (
            f"`per: {scope}` is not supported by this version of SafeRun; "
            "a limit counts within one run: use `run` or `args.NAME`"
        )
    if not isinstance(scope, str) or not scope.startswith("args."):
        return f"expected `run`, `args.NAME` or a list of these; {found(scope)}"
    if owner is None:
        return "a limit over all tools counts per `run`; an argument belongs to a tool's own limits"
    name = scope.removeprefix("args.")
    if owner.args is None or name in owner.args:
        return None
    return unknown(name, owner.args)
