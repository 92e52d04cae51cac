"""The near misses of all runs in a row, for a person to say what they were."""

from collections.abc import Iterator

import msgspec

from saferun.ledger import Mark
from saferun.replay.playback import Playback
from saferun.store.index import Index
from saferun.store.near import Near
from saferun.store.synopsis import Choice

RUNS = 100
"""Runs that are looked up at a time."""


class Nearly(msgspec.Struct, frozen=True, kw_only=True):
    """A near miss: which frame of which run, since when, why it is one, and what is said of it.

    `seq` is the entry that it began with, and `at` is in microseconds since 1970, UTC.
    """

    run_id: str
    frame: int
    seq: int
    at: int
    tool: str | None
    verdict: str | None
    status: str | None
    near: tuple[Near, ...]
    label: Mark | None


class NearRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has near misses, the entry that it began with, and those of them looked for."""

    run_id: str
    first: int
    calls: list[Nearly]


def near_calls(index: Index, *, labelled: bool = False) -> Iterator[Nearly]:
    """The near misses of which nobody has said anything, of the newest runs first.

    With `labelled`, all of them. Within a run they come in its order. The index has to be built.
    """
    for run in near_runs(index, labelled=labelled):
        yield from run.calls


def near_runs(index: Index, *, labelled: bool = False, before: int = 1 << 62) -> Iterator[NearRun]:
    """The same run by run, of those that began before an entry.

    A run is named also where somebody has said something of all its near misses, so that whoever
    stops anywhere can go on from there.
    """
    while some := index.runs(Choice(traits=("near",)), before=before, limit=RUNS):
        for run in some:
            before = min(before, run.first)
            rows = Playback(index, run.run).outline.rows
            yield NearRun(
                run_id=run.run,
                first=run.first,
                calls=[
                    Nearly(
                        run_id=run.run,
                        frame=row.number,
                        seq=row.seq,
                        at=row.at,
                        tool=row.tool,
                        verdict=row.verdict,
                        status=row.status,
                        near=row.near,
                        label=row.label,
                    )
                    for row in rows
                    if row.near and (labelled or row.label is None)
                ],
            )
