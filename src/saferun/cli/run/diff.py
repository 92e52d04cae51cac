"""`saferun run diff`: two runs side by side, and where they first part."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption
from saferun.cli.options import JsonOption, StoreOption
from saferun.cli.run.closeup import said
from saferun.cli.run.told import history_of, named
from saferun.cli.screen import ALLOWED, DENIED, MODIFIED, counted, document, put, screen, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from saferun.replay import Closeup, Difference, Pair, Playback, Row

AROUND = 3
"""Pairs that are the same and shown before and after one that is not."""

DIFFERS = len("args, verdict, result")
"""Columns for what differs in a pair; costs beside all of these are cut on a narrow screen."""

MOST = 200
"""Lines of pairs without `--full`."""


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="A run's id, or its beginning.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The run to hold beside it.")],
    full: Annotated[bool, typer.Option("--full", help="Show what is the same too.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare two runs frame by frame. Exits 1 where they part."""
    from saferun.replay import Playback, difference

    with history_of(store, archive) as (_, index):
        left = Playback(index, named(index, one), opens=True)
        right = Playback(index, named(index, other), opens=True)
        found = difference(left.outline, right.outline)
        if as_json:
            document(_document(found, left, right))
        else:
            put(console := screen(), _lines(console, found, left, right, full=full))
    return int(found.first is not None)


def _document(found: "Difference", left: "Playback", right: "Playback") -> dict[str, Any]:
    return {
        "one": left.run_id,
        "other": right.run_id,
        "divergence": None
        if found.first is None
        else msgspec.to_builtins(found.pairs[found.first]),
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
    if found.first is None:
        yield Text("✓ They never part.", ALLOWED.style)
    else:
        pair = found.pairs[found.first]
        yield Text()
        where = " | ".join(f"frame {n}" if n else "nothing" for n in (pair.one, pair.other))
        yield Text(f"✕ They part at {where}:", f"bold {DENIED.style}")
        yield from parted(pair, left, right)
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
    for part, read in (("verdict", _verdict), ("result", _result), ("said", _words)):
        if part in pair.differs:
            before, after = (shown(read(each), 60) for each in (one, other))
            yield Text(f"  {part}  {before} → {after}")
    if "cost" in pair.differs:
        yield Text(f"  cost  {one.cost or 0:,} → {other.cost or 0:,} millionths of a dollar")


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
