"""A run in one line, as lists, heads and frames of the console show it. All of it is inert."""

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlencode

from saferun.approval import inert
from saferun.call import at, span
from saferun.control.amount import dollars
from saferun.marks import ASKED, DENIED, IMPORTED, STOPPED, Mark
from saferun.store.synopsis import Synopsis, Within

ENDED = Mark("allow", "✓", "ended")
OPEN = Mark("ask", "…", "open")
FAILED = Mark("deny", "✕", "failed")


class Listed(NamedTuple):
    """A run in a list."""

    id: str
    link: str
    agent: str
    who: str
    began: str
    took: str
    frames: int
    cost: str
    tallies: tuple[tuple[Mark, int], ...]
    state: Mark
    below: "Below | None"
    parent: str | None


class Below(NamedTuple):
    """What is within a run, in sums, and where it is listed."""

    link: str
    runs: int
    frames: int
    cost: str
    tallies: tuple[tuple[Mark, int], ...]


def run_link(run_id: str, **more: object) -> str:
    return f"/run?{urlencode({'id': run_id, **more})}"


def listed(found: Synopsis, within: Within | None = None) -> Listed:
    """A run, and what is `within` it, where there is anything."""
    who = " for ".join(inert(name, 60) for name in (found.agent, found.user) if name)
    took = ""
    if found.began is not None and found.ended is not None:
        took = span(found.ended - found.began)
    return Listed(
        id=inert(found.run, 80),
        link=run_link(found.run),
        agent=inert(found.agent, 60) if found.agent else "",
        who=who or "nobody named",
        began="" if found.began is None else at(found.began),
        took=took,
        frames=found.frames,
        cost=dollars(found.cost) if found.cost else "",
        tallies=tuple(_tallies(found)),
        state=_state(found),
        below=None if within is None or not within.runs else below(found.run, within),
        parent=None
        if found.parent is None
        # By the entry that it begins with, the frame is found that it began at.
        else run_link(found.parent, at=found.first),
    )


def below(run_id: str, within: Within) -> Below:
    return Below(
        link=f"/runs?{urlencode({'within': run_id})}",
        runs=within.runs,
        frames=within.frames,
        cost=dollars(within.cost) if within.cost else "",
        tallies=tuple(_tallies(within)),
    )


def _tallies(found: Synopsis | Within) -> Iterable[tuple[Mark, int]]:
    """What people look for, with how much of it there is."""
    for mark, many in (
        (DENIED, found.denied),
        (ASKED, found.asked),
        (Mark("ask", "!", "near miss" if found.near == 1 else "near misses"), found.near),
        (FAILED, found.failed),
    ):
        if many:
            yield mark, many


def _state(found: Synopsis) -> Mark:
    if found.stopped:
        return STOPPED
    if found.imported is not None:
        return IMPORTED
    if found.ended is None:
        return OPEN
    if found.error is not None:
        return FAILED._replace(word=f"ended by {inert(found.error, 40)}")
    return ENDED
