"""A run as the commands tell it: its story, and what of it could not be read."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from saferun.cli.history import complain, opened
from saferun.cli.options import CannotError, meant
from saferun.cli.screen import beside, counted, progress, put

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.ledger import Entry
    from saferun.replay import Branches, Frame, RunStory
    from saferun.store import Reader
    from saferun.store.index import Index

LARGE = {"args", "result", "output", "answer", "text", "messages", "plan", "context"}
"""The fields of an entry whose value may lie beside the ledger."""


class Told(msgspec.Struct):
    """A run's story, and the numbers of its entries that could not be read.

    `archived` are those that lie in an archive which was not given. `lacking` is the first of the
    entries that may be its own and that the index has never seen, None where there is none.
    `turns` are the switches that were turned, where any has stopped a call of the run, and
    `branches` the runs within it.
    """

    story: "RunStory"
    unreadable: list[int]
    archived: list[int] = []
    lacking: int | None = None
    turns: list["Entry"] = []
    branches: "Branches | None" = None


@contextlib.contextmanager
def history_of(store: str | None, archive: Path | None) -> "Iterator[tuple[Reader, Index]]":
    """The store's history, and its index brought up to the newest entry."""
    from saferun.store.index import Index

    with opened(store, archive, part=True) as reader, Index(reader) as index:
        with progress("indexing", reader.head().size) as done:
            index.build(done)
        yield reader, index
        complain(reader)


def vouching(reader: "Reader") -> None:
    """Bring up the roots of subtrees that whether an entry is vouched for is read from."""
    from saferun.errors import StoreError
    from saferun.store.nodes import index_tree

    # Where it cannot be written to, each look reads more, and that is all.
    with contextlib.suppress(StoreError), progress("reading the tree", reader.head().size) as done:
        index_tree(reader.path, progress=lambda many, _: done(many))


def read_back(index: "Index", run_id: str, *, whole: bool = False, opened: bool = False) -> Told:
    """The story of a run: `whole` with its large values, and with what is sealed `opened`."""
    from saferun.replay import Branches, story
    from saferun.store.runs import run_began

    missed: list[int] = []
    found = story(run_id, entries(index, run_id, missed, whole=whole, opened=opened))
    archived = [seq for seq in missed if index.reader.away(seq)]
    unreadable = [seq for seq in missed if seq not in archived]
    # A run that nobody has bound to anybody has its entries in the index alone.
    lacking = index.lacking(run_began(index.reader, run_id) or 0)
    branches = Branches(index, run_id)
    branches.refresh([frame.seq for frame in found.frames])
    return Told(found, unreadable, archived, lacking, branches=branches)


def turns(index: "Index", story: "RunStory") -> "list[Entry]":
    """What was stopped and resumed that may have stopped a call of the run, in its order."""
    stops = {stop for frame in story.frames for stop in map(stop_of, reasons_of(frame)) if stop}
    if not stops:
        return []
    # The turns of what is no run stand under a name that no run has.
    places = {"", *(value for scope, value in stops if scope == "run")}
    found = (each for place in places for each in entries(index, place, []))
    return sorted((each for each in found if each.kind == "control"), key=lambda each: each.seq)


def reasons_of(frame: "Frame") -> tuple[Mapping[str, Any], ...]:
    return tuple(frame.decision.get("reasons", ())) if frame.decision is not None else ()


def stop_of(reason: Mapping[str, Any]) -> tuple[str, str] | None:
    """The scope and value of the switch that a reason is about, None where it is about none."""
    if reason.get("source") != "stop":
        return None
    scope, _, value = str((reason.get("measure") or {}).get("scope")).partition(" ")
    return scope, value.strip()


def entries(
    index: "Index",
    run_id: str,
    missed: list[int],
    *,
    whole: bool = False,
    opened: bool = False,
) -> "Iterator[Entry]":
    from saferun.ledger import EntryError, read
    from saferun.replay import large
    from saferun.replay.unsealing import Unsealing

    unsealing = Unsealing(index)
    for seq in index.frames(run_id):
        for body in index.reader.bodies([seq]):
            try:
                entry = read(body)
            except (EntryError, TypeError):
                # It is archived, or was changed since it was indexed: `ledger verify` says how.
                missed.append(seq)
                continue
            if whole:
                for key in LARGE & entry.fields.keys():
                    entry.fields[key] = large.found(entry.fields, key, index.reader.blob)
            if opened:
                unsealing.fill(entry.fields)
            yield entry


def elsewhere(index: "Index") -> str:
    """The end of a sentence on what lies in an archive: where to look for it."""
    archive = index.reader.archive
    if archive is None:
        return "; name its folder with --archive FOLDER"
    lacks = archive.lacks(index.reader.archives())
    return f" and not in {archive.folder}" + (f": {lacks.removesuffix('.')}" if lacks else "")


def named(index: "Index", given: str) -> str:
    """The id of the one run that `given` names or begins. Raises CannotError."""
    from saferun.store.runs import is_run, newest_runs

    reader = index.reader
    # What was saved of a torn store may know runs by their entries alone.
    if is_run(reader, given) or index.has("run", given):
        return given
    every = newest_runs(reader, 1 << 62)
    found = [run_id for run_id in every if run_id.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(found[:3])
        raise CannotError(f"{len(found):,} runs begin with {given!r}, such as {some}; say more.")
    if index.lacking(0) is not None:
        raise CannotError(
            f"There is no run {given!r} among what {reader.path} has at hand, and the rest lies in "
            f"an archive{elsewhere(index)}."
        )
    raise CannotError(f"There is no run {given!r} in {reader.path}{meant(given, every[:1000])}")


def warn(console: "Console", unreadable: list[int]) -> None:
    from rich.text import Text

    if unreadable:
        many = counted(len(unreadable), "entry", "entries")
        some = ", ".join(str(seq) for seq in unreadable[:5])
        said = f"{many} cannot be read ({some}). `saferun ledger verify` says what is wrong."
        console.print()
        put(console, beside(console, Text("! ", "yellow"), Text(said, "yellow")))


def say_where(console: "Console", index: "Index", archived: list[int], lacking: int) -> None:
    """Where to look for what is not shown: some entries, and what some runs lack besides."""
    from rich.text import Text

    said = []
    if archived:
        said.append(f"{counted(len(archived), 'entry lies', 'entries lie')} in an archive")
    if lacking:
        some = counted(lacking, "run lies", "runs lie")
        said.append(f"{some} in an archive, whole or in part")
    for each in said:
        console.print()
        sentence = f"{each}{elsewhere(index)}."
        put(console, beside(console, Text("! ", "yellow"), sentence))
