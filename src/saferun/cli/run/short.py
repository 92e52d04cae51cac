"""A run in short: one line of a list, and the head of what is shown of it."""

from typing import TYPE_CHECKING, Any

import msgspec

from saferun.approval.inert import inert
from saferun.call import span
from saferun.cli.run.told import Told
from saferun.cli.screen import IMPORTED

if TYPE_CHECKING:
    from saferun.store.synopsis import Checked, Synopsis


class Short(msgspec.Struct):
    """A run in one line. Times are in microseconds, as in the ledger, and `cost` in millionths.

    Nothing is counted where not all of its entries are at hand, since that would be too few.
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


def listed(found: "Synopsis", checked: "Checked", *, lacking: bool = False) -> Short:
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
    )


def in_full(told: Told) -> dict[str, Any]:
    about = told.story.about
    return {
        **msgspec.to_builtins(in_short(told)),
        "user": about.get("user", {}),
        **{key: about.get(key) for key in ("root", "parent", "prompt", "plan", "context")},
        "frames": msgspec.to_builtins(told.story.frames),
    }
