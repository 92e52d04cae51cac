"""`saferun run diff`: two runs side by side, and where they first part."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, incident, incident_file
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.run.closeup import said
from saferun.cli.run.told import history_of, named
from saferun.cli.screen import ALLOWED, DENIED, MODIFIED, counted, document, put, screen, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from saferun.replay import Closeup, Difference, Pair, Playback, Row
    from saferun.store.index import Index

AROUND = 3
"""Pairs that are the same and shown before and after one that is not."""

DIFFERS = len("args, verdict, result")
"""Columns for what differs in a pair; costs beside all of these are cut on a narrow screen."""

MAX_RUNS = 10_000
"""Runs of an incident file, or of a rerun."""

MOST = 200
"""Lines of pairs without `--full`."""


def diff(
    one: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A run's id, or its beginning, an incident file, or a kept rerun."
        ),
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="The run to hold beside it.")],
    full: Annotated[bool, typer.Option("--full", help="Show what is the same too.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare two runs frame by frame. Exits 1 where they part.

    In the place of a run there may be an incident file, or the folder of `run rerun --keep`: it is
    the run there that the other side is, if there is one of its id, or else the one at the top.
    """
    from saferun.replay import difference

    with contextlib.ExitStack() as until:
        left, right = _sides(one, other, store, archive, until)
        keyed = left.index.reader.origin == right.index.reader.origin
        found = difference(left.outline, right.outline, keyed=keyed)
        if as_json:
            document(_document(found, left, right))
        else:
            put(console := screen(), _lines(console, found, left, right, full=full))
    return int(found.part)


def _sides(
    one: str, other: str, store: str | None, archive: Path | None, until: contextlib.ExitStack
) -> "tuple[Playback, Playback]":
    """Both runs, each where it lies, for as long as `until` is open."""
    from saferun.replay import Playback

    own: Index | None = None
    found: list[tuple[Index, str | None, str]] = []
    for given in (one, other):
        elsewhere = _elsewhere(given, until)
        if elsewhere is not None:
            found.append((*elsewhere, given))
            continue
        if own is None:
            _, own = until.enter_context(history_of(store, archive))
        found.append((own, named(own, given), given))
    runs = [run for index, run, _ in found if index is own]
    sides = []
    for index, top, given in found:
        same = next((run for run in runs if run is not None and index.has("run", run)), top)
        run = top if index is own else same
        if run is None:
            raise CannotError(f"{given} has no run; the rerun was stopped before its first.")
        sides.append(Playback(index, run, opens=True))
    return sides[0], sides[1]


def _elsewhere(given: str, until: contextlib.ExitStack) -> "tuple[Index, str | None] | None":
    """What lies outside of the store: its index, and the run at the top; None for a run's id."""
    from saferun.replay.rerun import kept_in
    from saferun.store import Reader
    from saferun.store.index import Index
    from saferun.store.runs import newest_runs

    file, kept = incident_file(given), kept_in(Path(given))
    if file is None and kept is None:
        return None
    path = kept if file is None else until.enter_context(incident(file))
    assert path is not None
    reader = until.enter_context(Reader(path))
    index = until.enter_context(Index(reader))
    index.build()
    # The run at the top begins before all others.
    return index, next(reversed(newest_runs(reader, MAX_RUNS)), None)


def _document(found: "Difference", left: "Playback", right: "Playback") -> dict[str, Any]:
    return {
        "one": left.run_id,
        "other": right.run_id,
        "divergence": None
        if found.first is None
        else msgspec.to_builtins(found.pairs[found.first]),
        "ends": found.ends,
        **found.counts,
        "pairs": msgspec.to_builtins(found.pairs),
    }


def _lines(
    console: "Console", found: "Difference", left: "Playback", right: "Playback", *, full: bool
) -> "Iterator[Text]":
    from rich.text import Text

    counts = found.counts
    yield Text(f"{inert(left.run_id, 36)} | {inert(right.run_id, 36)}", "bold")
    yield Text(
        f"{counted(counts['same'], 'frame')} the same · {counts['differ']:,} differ · "
        f"{counts['only_one']:,} only in the first · {counts['only_other']:,} only in the second"
    )
    if not found.part:
        yield Text("✓ They never part.", ALLOWED.style)
    elif found.first is not None:
        pair = found.pairs[found.first]
        yield Text()
        where = " | ".join(f"frame {n}" if n else "nothing" for n in (pair.one, pair.other))
        yield Text(f"✕ They part at {where}:", f"bold {DENIED.style}")
        yield from parted(pair, left, right)
    if found.ends is not None:
        lead = "They end otherwise" if found.first is not None else "They part at their ends"
        ends = " | ".join(f"ends with {inert(each, 60)}" if each else "ends" for each in found.ends)
        yield Text(f"✕ {lead}: {ends}", f"bold {DENIED.style}")
    yield Text()
    for printed, place in enumerate(_chosen(found, full=full)):
        if printed >= MOST and not full:
            yield Text("… `--full` shows the rest", "dim")
            return
        yield Text("  ⋮", "dim") if place is None else _line(console, found, place, left, right)


def _chosen(found: "Difference", *, full: bool) -> "Iterator[int | None]":
    """The places of the pairs that are shown, with None where some are left out."""
    if full:
        yield from range(len(found.pairs))
        return
    near: set[int] = set()
    for place, pair in enumerate(found.pairs):
        if not pair.same:
            near.update(range(place - AROUND, place + AROUND + 1))
    last = -1
    for place in sorted(each for each in near if 0 <= each < len(found.pairs)):
        if place != last + 1:
            yield None
        yield place
        last = place
    if last + 1 < len(found.pairs):
        yield None


def _line(
    console: "Console", found: "Difference", place: int, left: "Playback", right: "Playback"
) -> "Text":
    from rich.text import Text

    pair = found.pairs[place]
    room = max((console.width - DIFFERS - 6) // 2, 8)
    cells = [
        _cell(None if number is None else of.outline.row(number), room)
        for number, of in ((pair.one, left), (pair.other, right))
    ]
    icon, style = ("=", "dim")
    if pair.one is None or pair.other is None:
        icon, style = ("+", "green") if pair.one is None else ("-", "red")
    elif pair.differs:
        icon, style = ("~", MODIFIED.style)
    pin = "▶" if place == found.first else " "
    whole = Text.assemble(f"{pin}{icon} ", *cells, (", ".join(pair.differs), style), style=style)
    whole.rstrip()
    whole.truncate(console.width, overflow="ellipsis")
    return whole


def _cell(row: "Row | None", room: int) -> "Text":
    from rich.text import Text

    said = Text() if row is None else Text(f"{row.number:>5} {inert(row.tool or row.kind, 60)}")
    if row is not None and row.verdict is not None:
        said.append(f" {row.verdict}")
    said.truncate(room, overflow="ellipsis", pad=True)
    return said.append("  ")


def parted(pair: "Pair", left: "Playback", right: "Playback") -> "Iterator[Text]":
    """What differs in a pair, part by part."""
    from rich.text import Text

    from saferun.replay.changes import changes

    if pair.one is None or pair.other is None:
        of, number = (left, pair.one) if pair.other is None else (right, pair.other)
        if number is not None:
            row = of.outline.row(number)
            which = "first" if of is left else "second"
            yield Text(f"  only the {which} run has {inert(row.tool or row.kind, 60)}")
        return
    one, other = left.frame(pair.one), right.frame(pair.other)
    if "args" in pair.differs:
        for change in changes(_args(one), _args(other)).changes[:12]:
            yield Text(f"  {said(change)}")
    if right.outline.row(pair.other).unmade or left.outline.row(pair.one).unmade:
        yield from _stopped(pair, one, other)
        return
    for part, read in (("verdict", _verdict), ("result", _result), ("said", _words)):
        if part in pair.differs:
            before, after = (shown(read(each), 60) for each in (one, other))
            yield Text(f"  {part}  {before} → {after}")
    if "cost" in pair.differs:
        yield Text(f"  cost  {one.cost or 0:,} → {other.cost or 0:,} millionths of a dollar")


def _stopped(pair: "Pair", one: "Closeup", other: "Closeup") -> "Iterator[Text]":
    """What differs in a step that a rerun was stopped at, beside its arguments."""
    from rich.text import Text

    from saferun.replay.changes import changes

    if "said" in pair.differs:
        for part in ("messages", "output", "text"):
            before, now = (each.frame.said.get(part) for each in (one, other))
            if before is not None and now is not None and before != now:
                for change in changes({part: before}, {part: now}).changes[:12]:
                    yield Text(f"  {said(change)}")
    yield Text("  the rerun was stopped here: nothing came of it", "dim")


def _args(seen: "Closeup") -> Any:
    return (seen.frame.decision or seen.frame.said).get("args")


def _verdict(seen: "Closeup") -> Any:
    said = (seen.frame.decision or {}).get("verdict")
    return f"{said}, asked" if seen.frame.approvals else said


def _result(seen: "Closeup") -> Any:
    outcome = seen.frame.outcome or {}
    if outcome.get("status") == "ok":
        return outcome.get("result")
    return outcome.get("error") or outcome.get("status")


def _words(seen: "Closeup") -> Any:
    return seen.frame.said.get("output") or seen.frame.said.get("text")
