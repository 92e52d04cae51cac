"""Near misses: calls that ran, or were let start, and might well not have. Pure.

And those of which a person has said no, and those that went wrong: whoever looks for what to make
a rule of looks there first. Nobody writes them down. They are read out of decisions and outcomes,
as everything else about a run is: by the search index, which counts them, and by the replay, which
shows them.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

Near: TypeAlias = Literal[
    "approved", "shadow", "limit", "retried", "edited", "rejected", "nudged", "failed"
]

NEAR: tuple[Near, ...] = get_args(Near)
"""Why a call is one: a person was asked and said yes; something that is only tried out would have
denied it; a limit let it through, or a person in spite of one, with less than a tenth of it
left; the same tool was denied to the run just before, with
other arguments; a person has changed it and then said yes, or has said no; it was repeated until
the model was told; or it ended in an error, ran out of time, or nobody knows how it ended."""

FAILED = ("error", "timeout", "unknown")
"""The outcomes that make a call one."""

FULL = 0.9
"""How much of a limit is used where a call is near it that ran in spite of it. Of those that it
lets through by itself it is noted: see `saferun.control.limit.CLOSE`."""


WEIGHED = ("verdict", "mode", "approval", "digest", "reasons", "shadow", "other", "nudge", "close")
"""The fields of a decision that are looked at."""


def weighed(decision: object) -> dict[str, Any]:
    """These of one that was read into a record of its own, which has them by their names."""
    return {name: getattr(decision, name) for name in WEIGHED}


def near_misses(
    fields: Mapping[str, Any],
    denied: str | None = None,
    *,
    edited: bool = False,
    status: str | None = None,
) -> tuple[Near, ...]:
    """Why a decision is a near miss.

    `denied` is the digest of the run's last denied call of the tool, `edited` whether a person has
    changed the call before it was decided on, and `status` how it ended, so far. A decision in
    shadow that says `deny` lets its call start, and so it is one.
    """
    verdict, enforced = fields.get("verdict"), fields.get("mode", "enforce") == "enforce"
    if verdict == "deny" and enforced:
        return ("rejected",) if _rejected(fields) else ()
    if verdict != "allow" and (enforced or verdict != "deny"):
        return ()
    found: list[Near] = []
    if verdict == "allow" and fields.get("approval") is not None:
        found.append("approved")
    other = fields.get("other") or {}
    tried = [each.get("effect") for each in fields.get("shadow", ())]
    if not enforced or "deny" in tried or "defer" in tried or other.get("verdict") == "deny":
        found.append("shadow")
    spoken = (*fields.get("reasons", ()), *fields.get("shadow", ()))
    if fields.get("close") or any(_full(each.get("measure") or {}) for each in spoken):
        found.append("limit")
    if verdict == "allow" and denied is not None and denied != fields.get("digest"):
        found.append("retried")
    if edited and "approved" in found:
        found.append("edited")
    if fields.get("nudge") is not None:
        found.append("nudged")
    if status in FAILED:
        found.append("failed")
    return tuple(found)


def _rejected(fields: Mapping[str, Any]) -> bool:
    """Whether it is a person who has said no."""
    return any(each.get("error") == "Rejected" for each in fields.get("reasons", ()))


def _full(measure: Mapping[str, Any]) -> bool:
    try:
        used, most = float(measure["used"]), float(measure["max"])
    except (KeyError, TypeError, ValueError):
        return False
    return 0 < most * FULL <= used
