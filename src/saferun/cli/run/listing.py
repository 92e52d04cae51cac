"""`saferun run list`: which runs there are, chosen and counted by the search index."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption
from saferun.cli.ledger.filters import when
from saferun.cli.options import CannotError, JsonOption, LimitOption, StoreOption
from saferun.cli.run.short import Short, listed, unknown
from saferun.cli.run.told import history_of, named, say_where, warn
from saferun.cli.screen import ASKED, DENIED, Mark, beside, document, moment, put, screen

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from saferun.store.index import Index
    from saferun.store.synopsis import Choice, Synopsis

ID = 12
"""Characters of a run id in a list; `run show` takes any beginning that is unique."""

WHO = 8
"""Characters of who it was that a long run id leaves."""

LOOKED = 10_000
"""Entries of the runs in one list that are held against the ledger."""

EVERY = 0.5
"""Seconds between two looks of a list that follows."""


def _flag(name: str, what: str) -> "object":
    return typer.Option(name, help=what)


def runs(
    limit: LimitOption = 20,
    denied: Annotated[bool, _flag("--denied", "That were denied a call.")] = False,
    asked: Annotated[bool, _flag("--asked", "That people were asked about.")] = False,
    near: Annotated[bool, _flag("--near-miss", "With a call that nearly was denied.")] = False,
    error: Annotated[bool, _flag("--error", "With a call that failed, or that failed.")] = False,
    stopped: Annotated[bool, _flag("--stopped", "That are stopped now.")] = False,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="Of this agent.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="For this user.")] = None,
    tool: Annotated[
        str | None, typer.Option("--tool", metavar="NAME", help="That called this tool.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="That began then or later: 2h, 2026-05-04."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="That began before.")
    ] = None,
    text: Annotated[
        str, typer.Option("--text", metavar="WORDS", help="With an entry that has these words.")
    ] = "",
    children: Annotated[
        bool,
        _flag("--children", "List child runs too, and not only count them."),
    ] = False,
    within: Annotated[
        str | None,
        typer.Option("--within", metavar="RUN", help="That began right within this run."),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option("--view", metavar="NAME", help="A view that somebody named in the console."),
    ] = None,
    follow: Annotated[bool, _flag("--follow", "Keep it up to date until Ctrl-C.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the newest runs, the newest first."""
    from saferun.store.synopsis import Choice, Trait

    traits: dict[Trait, bool] = {
        "denied": denied,
        "asked": asked,
        "near": near,
        "failed": error,
        "stopped": stopped,
    }
    with history_of(store, archive) as (reader, index):
        now = reader.now()
        choice = Choice(
            traits=tuple(name for name, wanted in traits.items() if wanted),
            agent=agent,
            user=user,
            tool=tool,
            since=None if since is None else when(since, now),
            until=None if until is None else when(until, now, end=True),
            text=text,
            parent=None if within is None else named(index, within),
            tops=not children and within is None,
        )
        if view is not None:
            choice = _viewed(choice, reader.path, view)
        console = screen()
        if follow and not as_json and console.is_terminal:
            _keep_looking(console, index, choice, limit)
            return 0
        found = _found(index, choice, limit)
        if as_json:
            for each in found:
                document(msgspec.to_builtins(each))
        else:
            console.print(drawn(console, found))
            warn(console, [seq for each in found for seq in each.unreadable])
            _doubt(console, found)
        archived = [seq for each in found for seq in each.archived]
        lacking = sum(each.frames is None and not each.archived for each in found)
        say_where(screen(stderr=as_json), index, archived, lacking)
        if follow:
            _tell(index, choice, as_json=as_json)
    return 0


def _viewed(choice: "Choice", store: Path, name: str) -> "Choice":
    """What a view that somebody has named asks for, and what is asked for beside it.

    Raises CannotError.
    """
    from saferun.store.views import Views

    found = Views(store).named(name)
    if not found:
        raise CannotError(
            f"There is no view {name!r}; views are named in the console, on its page of runs."
        )
    if len(found) > 1:
        some = " or ".join(f"{whose}/{view.name}" for whose, view in found[:3])
        raise CannotError(f"Several people have a view {name!r}; say whose: {some}.")
    [(_, view)] = found
    traits = (view.trait,) if view.trait is not None else ()
    parent = choice.parent or view.within or None
    return msgspec.structs.replace(
        choice,
        traits=tuple(dict.fromkeys((*traits, *choice.traits))),
        agent=choice.agent or view.agent or None,
        user=choice.user or view.user or None,
        tool=choice.tool or view.tool or None,
        text=f"{view.text} {choice.text}".strip(),
        parent=parent,
        tops=choice.tops and not view.children and parent is None,
    )


def _found(index: "Index", choice: "Choice", limit: int) -> list[Short]:
    """The newest runs of a choice, each held against the ledger as far as there is time."""
    from saferun.store.runs import newest_runs, run_began
    from saferun.store.synopsis import Choice

    some = index.runs(choice, limit=limit)
    found = dict(_checked(index, some))
    if choice in (Choice(), Choice(tops=True)) and index.lacking(0) is not None:
        # Of what lies in an archive the store knows that it began, and the index nothing.
        for run_id in newest_runs(index.reader, limit):
            first = run_began(index.reader, run_id)
            if first is not None and index.synopsis(run_id) is None:
                found[first] = unknown(run_id)
    return [found[first] for first in sorted(found, reverse=True)][:limit]


def _checked(index: "Index", some: "list[Synopsis]") -> Iterator[tuple[int, Short]]:
    """Each with the number of its first entry."""
    from saferun.store.synopsis import Checked, together, whole

    left = LOOKED
    for each in some:
        seqs = index.frames(each.run) if left > 0 else []
        left -= len(seqs)
        # A long run is looked at when it is opened, and not in a list.
        looked = bool(seqs) and left >= 0
        checked = whole(index.reader, each, seqs) if looked else Checked("unread")
        within = together(index.within(each.run).values())
        yield (
            each.first,
            listed(each, checked, within, lacking=index.lacking(each.first) is not None),
        )


def _keep_looking(console: "Console", index: "Index", choice: "Choice", limit: int) -> None:
    from rich.live import Live

    size = -1
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                if index.reader.head().size != size:
                    size = index.reader.head().size
                    index.build()
                    live.update(drawn(console, _found(index, choice, limit)), refresh=True)
                time.sleep(EVERY)
        except KeyboardInterrupt:
            return


def _tell(index: "Index", choice: "Choice", *, as_json: bool) -> None:
    """A line for each run that moves, from now on: when it begins, and as it goes on."""
    from saferun.store.synopsis import Checked

    # A child that moves is told of itself, since nothing of the run above it does.
    choice = msgspec.structs.replace(choice, tops=False)
    size = index.size
    try:
        while True:
            index.build()
            for each in index.moved(size - 1, choice):
                short = listed(each, Checked("unread"))
                if as_json:
                    document(msgspec.to_builtins(short))
                else:
                    console = screen()
                    put(console, beside(console, _line(short), ""))
            size = index.size
            time.sleep(EVERY)
    except KeyboardInterrupt:
        return


def _line(short: Short) -> "Text":
    from rich.text import Text

    return Text("  ").join(
        [
            Text(inert(short.run_id)),
            Text(short.who),
            _tally(short.denied, DENIED),
            _tally(short.asked, ASKED),
            Text(short.took),
        ]
    )


def _doubt(console: "Console", found: list[Short]) -> None:
    """Say of which runs the index tells another story than the ledger."""
    from rich.text import Text

    for each in found:
        if each.integrity == "changed" and not each.unreadable:
            said = (
                f"The ledger has another story of run {inert(each.run_id)} than the search index. "
                "Delete the index, and it is made anew."
            )
            console.print()
            put(console, beside(console, Text("! ", "yellow"), Text(said, "yellow")))


_FIRST_TO_GO = ("frames", "when", "within", "asked", "denied", "took")
"""The columns of a list that a narrow screen can do without, in the order in which it does."""


def drawn(console: "Console", listed: list[Short]) -> "RenderableType":
    """The list as a table that fits the screen."""
    from rich.table import Table
    from rich.text import Text

    if not listed:
        return Text("No runs yet. A run begins with its first guarded call.")
    ids = [each.run_id for each in listed]
    columns: dict[str, list[Text]] = {
        "run": [Text(_beginning(run_id, ids)) for run_id in ids],
        "when": [Text(moment(each.began), "dim") for each in listed],
        "who": [Text(each.who) for each in listed],
        "frames": [Text("" if each.frames is None else f"{each.frames:,}") for each in listed],
        "denied": [_tally(each.denied, DENIED) for each in listed],
        "asked": [_tally(each.asked, ASKED) for each in listed],
        "within": [_inside(each) for each in listed],
        "took": [Text(each.took) for each in listed],
    }
    if not any(each.within for each in listed):
        del columns["within"]
    columns = {head: [Text(head, "dim"), *cells] for head, cells in columns.items()}
    for head in _FIRST_TO_GO:
        if head in columns and _least(columns) > console.width:
            del columns[head]
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    # What the others leave, so that who it was is never all that is cut.
    spare = max(console.width - _least(columns, WHO), 0)
    for head in columns:
        if head == "run":
            # An imported run's id is long, and it has to be whole to be named.
            table.add_column(overflow="fold", max_width=min(ID + spare, 36))
        elif head in ("when", "who"):
            ratio = 1 if head == "who" else None
            table.add_column(no_wrap=True, ratio=ratio, overflow="ellipsis")
        else:
            table.add_column(no_wrap=True, justify="right")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _least(columns: "Mapping[str, list[Text]]", who: int = ID) -> int:
    """Columns of the screen that a list needs, with what stands between its own.

    Who it was may be cut to `who` of them.
    """
    widths = {head: max(cell.cell_len for cell in cells) for head, cells in columns.items()}
    # These two may be broken or cut.
    widths |= {"run": min(widths["run"], ID), "who": min(widths["who"], who)}
    return sum(widths.values()) + 2 * (len(widths) - 1)


def _beginning(run_id: str, every: list[str]) -> str:
    """The beginning of a run id, as long as it takes to tell it from the others."""
    length = ID
    # One that is the beginning of another is told from it by no more than the whole.
    while length < len(run_id) and any(
        other.startswith(run_id[:length]) for other in every if other != run_id
    ):
        length += 1
    return inert(run_id[:length])


def _inside(short: Short) -> "Text":
    """How many runs are within one, and how much was denied in them."""
    from rich.text import Text

    within = short.within
    if within is None:
        return Text()
    said = Text(f"{within.runs:,}")
    return Text(" ").join([said, _tally(within.denied, DENIED)]) if within.denied else said


def _tally(many: int | None, mark: Mark) -> "Text":
    from rich.text import Text

    if many is None:
        return Text()
    return Text(f"{mark.icon} {many:,}", style=mark.style) if many else Text("0", style="dim")
