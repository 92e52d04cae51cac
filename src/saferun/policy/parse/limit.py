"""Limits: how many, or how much of what, counted by what and for how long."""

import re
from fractions import Fraction
from typing import Any, NamedTuple

from saferun.control import COST, Limit
from saferun.control.amount import MICRO, micro
from saferun.control.limit import OnLimit
from saferun.policy import form
from saferun.policy.parse.rule import NUMBERS, Owner
from saferun.policy.parse.whole import Whole, unknown
from saferun.policy.part import Part
from saferun.policy.schema import meant, types
from saferun.policy.source import Path
from saferun.policy.wording import found, listed, named

_LIMIT = (
    "id",
    "max",
    "rate",
    "burst",
    "per",
    "sum",
    "window",
    "on_limit",
    "message",
    "disclose",
    "mode",
)
SCOPES = ("run", "agent", "user", "tenant", "tool", "all")
"""What a limit counts by, beside the values of arguments."""

ON_LIMIT: tuple[OnLimit, ...] = ("deny", "defer", "ask")

FOREVER = "forever"
"""The `window` of what counts for good, for those who mean it."""

_MAX_COUNT = 2**63 - 1
"""The largest count that every store can keep."""

MAX_RATE = 1_000_000
"""The most calls of a rate, and of its burst."""

_RATE = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9]+(?:\.[0-9]+)?)?\s*([A-Za-z]+)\s*", re.ASCII)
_UNITS = ("s", "min", "h", "d", "second", "minute", "hour", "day")


class _Bound(NamedTuple):
    """How far a limit goes, as `Limit` has it."""

    max: int = 1
    window: int | None = None
    burst: int | None = None


def limits(whole: Whole, holder: Part, owner: Owner | None) -> tuple[Limit, ...]:
    """The limits of a tool, or with `owner` None those over all of them."""
    return tuple(
        _limit(whole, (*holder.path, "limits", at), body, owner)
        for at, body in enumerate(holder.list("limits"))
    )


def _limit(whole: Whole, path: Path, body: Any, owner: Owner | None) -> Limit:
    part = Part(whole.source, path, body, _LIMIT)
    addend = _sum(part, owner) if "sum" in part else None
    bound = _paced(part) if "rate" in part else _bounded(part, owner, addend)
    on_limit = part.choice("on_limit", ON_LIMIT, "deny")
    if on_limit == "defer" and "rate" not in part and part["window"] in (None, FOREVER):
        what = "`defer` tells when the limit is free again by itself, which it is with a `window`"
        part.fault(("on_limit",), "value", f"{what} or a `rate` alone")
    return Limit(
        id=whole.id(part),
        max=bound.max,
        per=_scopes(part, owner),
        sum=addend,
        window=bound.window,
        burst=bound.burst,
        on_limit=on_limit,
        tool=owner and owner.name,
        message=part.sentence("message"),
        disclose=part.flag("disclose", default=owner is None or owner.disclose),
        shadow=whole.tried(part),
        line=part.line,
    )


def _sum(limit: Part, owner: Owner | None) -> str:
    """What is added up."""
    said = limit["sum"]
    if said == COST:
        return COST
    what: str | None = None
    if not isinstance(said, str) or not said.startswith("args."):
        hint = meant(said, (COST,)) if isinstance(said, str) else ""
        what = f"expected `{COST}`, or `args.NAME` for a number of the call; {found(said)}{hint}"
    elif owner is None:
        what = f"a limit over all tools adds up `{COST}`; an argument belongs to a tool's own"
    elif (what := _not_an_argument(said, owner)) is None and owner.args is not None:
        argument = said.removeprefix("args.")
        # What is said of an argument that is at fault itself would only mislead.
        if limit.source.sound((*owner.path, "args", argument)):
            known = types(owner.args[argument].schema)
            if known is None or not known <= NUMBERS:
                what = f"only numbers can be added up, and {named(argument)} may be something else"
    if what is not None:
        limit.fault(("sum",), "value", what)
    return str(said)


def _bounded(limit: Part, owner: Owner | None, addend: str | None) -> _Bound:
    """The bound of a limit that is no rate."""
    if "burst" in limit:
        what = "`burst` is how many calls of a `rate` may come at once; say `rate`, or leave it out"
        limit.fault(("burst",), "value", what)
    most = _calls(limit, "max", _MAX_COUNT) if addend is None else _amount(limit, owner, addend)
    return _Bound(max=most, window=None if limit["window"] == FOREVER else limit.duration("window"))


def _calls(limit: Part, key: str, most: int) -> int:
    said = limit[key]
    if type(said) is int and 1 <= said <= most:
        return said
    what = "expected a whole number of calls, 1 or more"
    if type(said) is int and said > most:
        what = f"expected a whole number of calls, {most:,} at most"
    if key not in limit:
        what += ", or `rate` in its place"
    limit.fault((key,), "value", f"{what}; {found(said)}")
    return 1


def _amount(limit: Part, owner: Owner | None, addend: str) -> int:
    """The most that a sum may come to, in millionths."""
    # It may be written in the unit of what is added up, as the bounds of the argument are.
    about: dict[str, Any] = {"type": "number", "unit": "USD"}
    if addend != COST:
        argument = ((owner and owner.args) or {}).get(addend.removeprefix("args."))
        said = argument.schema if argument is not None else {}
        about = {word: said[word] for word in ("type", "unit") if word in said}
    path: Path = (*limit.path, "max")
    most: Any = limit["max"]
    if isinstance(most, str):
        bound = form.expand(
            {**about, "maximum": most},
            lambda _, why: limit.source.fault(path, "value", why),
        )
        most = bound.get("maximum")
    if not limit.source.sound(path):
        return 1
    if type(most) not in (int, float) or most <= 0:
        what = f"expected a number above 0, the most that `{addend}` may come to; {found(most)}"
        limit.fault(("max",), "value", what)
        return 1
    try:
        millionths = micro(most)
    except ValueError:
        what = f"no sum is counted so far; {found(most)}"
        limit.fault(("max",), "value", what)
        return 1
    if millionths != Fraction(repr(most)) * MICRO:
        what = f"sums are kept in millionths, and this is finer; {found(most)}"
        limit.fault(("max",), "value", what)
    return millionths


def _paced(limit: Part) -> _Bound:
    """The bound of a limit that is a rate."""
    for other, why in (
        ("max", "a limit says `max` or `rate`"),
        ("window", "a `rate` says itself in what time"),
        ("sum", "a `rate` counts calls and adds nothing up"),
    ):
        if other in limit:
            limit.fault((other,), "value", f"{why}; leave one of the two out")
    said = limit["rate"]
    parts = _RATE.fullmatch(said) if isinstance(said, str) else None
    what = f"expected so many calls in a time, such as `10/s`, `10/5min` or `600/h`; {found(said)}"
    if parts is None:
        limit.fault(("rate",), "value", what)
        return _Bound()
    most, unit = int(parts[1]), parts[3]
    if not 1 <= most <= MAX_RATE:
        limit.fault(("rate",), "value", f"a rate is 1 to {MAX_RATE:,} calls in a time")
    try:
        window = form.parse_duration(f"{parts[2] or 1}{unit}")
    except ValueError:
        limit.fault(("rate",), "value", what + meant(unit, _UNITS))
        return _Bound()
    if window > form.LONGEST:
        limit.fault(("rate",), "value", f"no more than ten years are looked back; {found(said)}")
    burst = _calls(limit, "burst", MAX_RATE) if "burst" in limit else most
    if burst * window > form.LONGEST * most and window <= form.LONGEST:
        what = "at this rate so many calls take more than ten years, and no more are looked ahead"
        limit.fault(("burst",), "value", f"{what}; {found(burst)}")
    return _Bound(max=most, window=window, burst=burst)


def _scopes(limit: Part, owner: Owner | None) -> tuple[str, ...]:
    said = limit["per"] if isinstance(limit["per"], list) else [limit["per"]]
    for scope in said or [None]:
        if (what := _not_a_scope(scope, owner)) is not None:
            limit.fault(("per",), "value", what)
    scopes = dict.fromkeys(scope for scope in said if isinstance(scope, str))
    if len(scopes) < len(said):
        limit.fault(("per",), "duplicate", "the same scope stands here twice")
    if "all" in scopes and len(scopes) > 1:
        limit.fault(("per",), "value", "`all` is everything together, so it stands alone")
    return tuple(scopes)


def _not_a_scope(scope: Any, owner: Owner | None) -> str | None:
    """What is wrong with one scope of a limit, None where it can be counted by."""
    if isinstance(scope, str) and scope in SCOPES:
        return None
    if not isinstance(scope, str) or not scope.startswith("args."):
        hint = meant(scope, SCOPES) if isinstance(scope, str) else ""
        words = [*SCOPES, *(("args.NAME",) if owner is not None else ())]
        return f"expected {listed(words)}, or a list of some; {found(scope)}{hint}"
    if owner is None:
        what = "an argument belongs to a tool's own limits"
        return f"{what}, and a limit over all tools counts by {listed(SCOPES)}"
    return _not_an_argument(scope, owner)


def _not_an_argument(path: str, owner: Owner) -> str | None:
    """What is wrong with `args.NAME`, None where it is an argument that can be looked at."""
    name = path.removeprefix("args.")
    if name in owner.opaque:
        return f"{named(name)} is opaque, and what is opaque is never looked at"
    if not name:
        return f"expected `args.` and the name of an argument; {found(path)}"
    if owner.args is None or name in owner.args:
        return None
    return unknown(name, owner.args)
