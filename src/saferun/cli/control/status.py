"""`saferun control status`: what is used of every limit, how tools fare, and what is stopped."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from saferun.cli.options import JsonOption, StoreOption, settings
from saferun.cli.screen import ALLOWED, DENIED, document, moment, screen
from saferun.config import sqlite_path
from saferun.control.amount import MICRO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as Drawn

    from saferun.gauges import Table, Tone
    from saferun.store.usage import LimitUse, ToolState, Usage

EVERY = 1.0
"""Seconds between two looks of a live table."""

_MARKS: Mapping["Tone", tuple[str, str]] = {
    "stopped": (DENIED.icon, DENIED.style),
    "near": ("!", "yellow"),
    "tried": ("?", "yellow"),
    "plain": (" ", ""),
    "more": ("", "dim"),
}


def status(
    most: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            max=1_000_000_000,
            help="How many rows to show of each limit, and of runs that went in circles.",
        ),
    ] = 5,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep it up to date until Ctrl-C.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what is used of each limit and budget, which breakers are open and what is stopped.

    What is nearest to its bound comes first.
    """
    from saferun.gauges import NEWEST, looking
    from saferun.store import Reader

    chosen = settings(store)
    console = screen()
    with Reader(sqlite_path(chosen.store)) as reader:
        watched = watch and console.is_terminal and not as_json
        # All of it is counted once; what is drawn anew every second has to keep up with that.
        looked = looking(reader, chosen, NEWEST if watched else None)

        def look() -> "Usage":
            return looked(most, "")

        if as_json:
            document(_document(look()))
        elif watched:
            _keep_looking(console, look, most)
        else:
            console.print(drawn(look(), most))
    return 0


def _keep_looking(console: "Console", look: Callable[[], "Usage"], most: int) -> None:
    from rich.live import Live

    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(drawn(look(), most), console=console, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(EVERY)
            live.update(drawn(look(), most), refresh=True)


def _document(usage: "Usage") -> dict[str, Any]:
    return {
        "at": usage.at,
        "stopped": msgspec.to_builtins(usage.stopped),
        "breakers": [_fares(each) for each in usage.breakers],
        "limits": msgspec.to_builtins(usage.limits),
        "budgets": [_sums(each) for each in usage.budgets],
    }


def _sums(use: "LimitUse") -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(use)
    told["max"] = _plain(use.max)
    for group in told["groups"]:
        group["used"], group["held"] = _plain(group["used"]), _plain(group["held"])
    return told


def _fares(fared: "ToolState") -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(fared)
    told["spent"] = _plain(fared.spent)
    return told


def _plain(amount: int | None) -> float | int | None:
    """Millionths as the number that they are."""
    if amount is None or amount % MICRO == 0:
        return amount if amount is None else amount // MICRO
    return amount / MICRO


def drawn(usage: "Usage", most: int) -> "RenderableType":
    """All of it as tables, for a console of any width, with `most` runs that went in circles."""
    from rich.console import Group
    from rich.text import Text

    from saferun.gauges import tables, unlooked

    parts: list[RenderableType] = []
    for table in tables(usage, most, moment):
        if table.rows:
            parts += [Text(), _table(table)]
    if usage.unseen:
        parts += [Text(), Text(f"! {unlooked(usage)}", "yellow")]
    if not parts:
        nothing = "Nothing is stopped or failing, and nothing counts towards any limit."
        return Text.assemble((f"{ALLOWED.icon} ", ALLOWED.style), nothing)
    return Group(*parts[1:])


def _table(told: "Table") -> "Drawn":
    from rich.table import Table
    from rich.text import Text

    from saferun.gauges import FIGURES

    heads, columns = told.heads, told.columns
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, width=1)
    for at in columns:
        figures = heads[at] in FIGURES
        justify: Literal["left", "right"] = "right" if figures else "left"
        table.add_column(overflow="fold", justify=justify, no_wrap=figures)
    table.add_row("", *(Text(heads[at], "dim" if at else "bold") for at in columns))
    for row in told.rows:
        mark, style = _MARKS[row.tone]
        quiet = style if row.tone == "more" else ""
        cells = (*row.cells, *("" for _ in heads))
        table.add_row(Text(mark, style), *(Text(cells[at], quiet) for at in columns))
    return table
