"""A run in short: one line of a list, and the head of what is shown of it."""

from typing import TYPE_CHECKING, Any

import msgspec

from saferun.approval.inert import inert
from saferun.call import span
from saferun.cli.run.told import Told
from saferun.cli.screen import ASKED, DENIED, IMPORTED, counted
from saferun.control.amount import dollars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saferun.replay import Branches, Child
    from saferun.store.synopsis import Checked, Synopsis, Within


class Short(msgspec.Struct):
    """A run in one line. Times are in microseconds, as in the ledger, and `cost` in millionths.

    Nothing is counted where not all of its entries are at hand, since that would be too few.
    `within` has in sums what is in the runs within it, however deep; None where there is none.
    """

    run_id: str
    began: int | None
    ended: int | None
    duration: int | None
    agent: str | None
    user: str | None
    tenant: str | None
    frames: int | None
    denied: int | None
    asked: int | None
    deferred: int | None
    near: int | None
    failed: int | None
    cost: int | None
    stopped: bool
    error: str | None
    imported: str | None
    unreadable: list[int]
    archived: list[int]
    integrity: str = "whole"
    parent: str | None = None
    within: "Within | None" = None

    @property
    def who(self) -> str:
        named = [inert(name, 60) for name in (self.agent, self.user) if name]
        return " for ".join(named) or ("nobody named" if self.began is not None else "")

    @property
    def took(self) -> str:
        if self.imported is not None:
            return IMPORTED.word
        if self.stopped:
            return "stopped"
        if self.frames is None and self.duration is None:
            return "archived"
        # A run that did not say that it ended goes on, or its process came to its end first.
        return "open" if self.duration is None else span(self.duration)


def _integrity(unreadable: list[int], archived: list[int]) -> str:
    if unreadable:
        return "changed"
    return "archived" if archived else "whole"


def listed(
    found: "Synopsis",
    checked: "Checked",
    within: "Within | None" = None,
    *,
    lacking: bool = False,
) -> Short:
    """A run as the index has it, and as far as somebody has held that against the ledger.

    Nothing is counted where entries of it may be `lacking`.
    """
    counts = {name: getattr(found, name) for name in _COUNTED}
    return Short(
        run_id=found.run,
        began=found.began,
        ended=found.ended,
        duration=None if None in (found.began, found.ended) else _between(found),
        agent=found.agent,
        user=found.user,
        tenant=found.tenant,
        **(dict.fromkeys(counts) if lacking else counts),
        stopped=found.stopped > 0,
        error=found.error,
        imported=found.imported,
        unreadable=list(checked.changed),
        archived=list(checked.archived),
        integrity=checked.integrity,
        parent=found.parent,
        within=within if within is not None and within.runs else None,
    )


_COUNTED = ("frames", "denied", "asked", "deferred", "near", "failed", "cost")


def _between(found: "Synopsis") -> int:
    return (found.ended or 0) - (found.began or 0)


def unknown(run_id: str) -> Short:
    """A run of which the index has nothing: all of it lies in an archive that is not at hand."""
    return Short(
        run_id=run_id,
        began=None,
        ended=None,
        duration=None,
        agent=None,
        user=None,
        tenant=None,
        **dict.fromkeys(_COUNTED),
        stopped=False,
        error=None,
        imported=None,
        unreadable=[],
        archived=[],
        integrity="archived",
    )


def in_short(told: Told) -> Short:
    story, about = told.story, told.story.about
    began, ended = story.began, story.ended
    user = about.get("user", {}).get("id")
    counts: dict[str, int | None] = {
        "frames": len(story.frames),
        "denied": story.denied,
        "asked": story.asked,
        "deferred": story.deferred,
        "near": story.near,
        "failed": story.failed,
        "cost": story.cost,
    }
    if told.archived or told.lacking is not None:
        counts = dict.fromkeys(counts)
    return Short(
        run_id=story.run_id,
        began=began,
        ended=ended,
        duration=None if began is None or ended is None else ended - began,
        agent=about.get("agent"),
        user=user if isinstance(user, str) else None,
        tenant=about.get("tenant"),
        **counts,
        stopped=story.stopped,
        error=story.error,
        imported=about.get("imported"),
        unreadable=told.unreadable,
        archived=told.archived,
        integrity=_integrity(told.unreadable, told.archived),
        parent=about.get("parent"),
        within=None if told.branches is None or not told.branches.at else told.branches.below,
    )


def in_full(told: Told) -> dict[str, Any]:
    about = told.story.about
    return {
        **msgspec.to_builtins(in_short(told)),
        "user": about.get("user", {}),
        **{key: about.get(key) for key in ("root", "prompt", "plan", "context")},
        "children": [] if told.branches is None else list(_children(told.branches)),
        "frames": msgspec.to_builtins(told.story.frames),
    }


MOST = 1_000
"""Children that a document has."""


def _children(branches: "Branches") -> "Iterator[dict[str, Any]]":
    """The runs that began within one, with the frame at which each did."""
    left = MOST
    for number in branches.at:
        for each in branches.begun(number, left):
            left -= 1
            yield {"frame": number, **msgspec.to_builtins(each)}


def child(found: "Child") -> str:
    """A run that began within another, in one line."""
    run, within = found.run, found.within
    parts = [inert(run.agent or "nobody named", 60), counted(run.frames, "frame")]
    if within.runs > 1:
        parts.append(f"{counted(within.runs - 1, 'run')} within")
    # What is denied further down counts here too: this is where one goes in to find it.
    for many, mark in ((within.denied, DENIED), (within.asked, ASKED)):
        if many:
            parts.append(f"{mark.icon} {many:,} {mark.word}")
    if within.failed:
        parts.append(f"{within.failed:,} failed")
    if within.cost:
        parts.append(dollars(within.cost))
    if run.began is not None and run.ended is not None:
        parts.append(span(run.ended - run.began))
    elif run.imported is None:
        parts.append("open")
    return f"{inert(run.run, 80)}  {' · '.join(parts)}"
