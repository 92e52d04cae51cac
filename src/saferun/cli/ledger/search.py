"""`saferun ledger search`: find entries again, by who, what, when and the words in them."""

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.cli.history import ArchiveOption, complain, opened
from saferun.cli.ledger import filters
from saferun.cli.options import JsonOption, LimitOption, StoreOption
from saferun.cli.screen import (
    ALLOWED,
    ASKED,
    DEFERRED,
    DENIED,
    IMPORTED,
    MODEL,
    MODIFIED,
    USER,
    counted,
    document,
    moment,
    progress,
    screen,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from saferun.store.index import Hit, Index

_NAMES = 14
"""Columns for the name of an agent, a user or a tool."""

_MARKS = {
    "allow": ALLOWED,
    "modified": MODIFIED,
    "ask": ASKED,
    "deny": DENIED,
    "defer": DEFERRED,
    "model": MODEL,
    "user": USER,
}


@filters.filtered
def search(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='Words in it; "several words" in a row.')
    ] = "",
    chosen: filters.Filters = filters.ALL,
    limit: LimitOption = 20,
    newest: Annotated[
        bool, typer.Option("--newest/--oldest", help="Which come first.", show_default=False)
    ] = True,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find entries, by who, what, when and the words in them.

    An option that is given twice takes either value. Exits 0 where something is found and 1
    where nothing is.
    """
    from saferun.store.index import Index

    with opened(store, archive, part=True) as reader, Index(reader) as index:
        query = filters.asked(reader, text, chosen)
        # Before the index is built, which may take long: it says what is wrong with the words.
        hits = index.find(query, newest=newest)
        with progress("indexing", reader.head().size) as done:
            index.build(done)
        if as_json:
            found = 0
            for hit in islice(hits, limit):
                document(_fields(hit))
                found += 1
            _warn(index)
            return 0 if found else 1
        listed = list(islice(hits, limit + 1))
        if not listed:
            screen().print(f"Nothing is found among {counted(index.size, 'entry', 'entries')}.")
            hint = filters.unknown(index, query)
            if hint is not None:
                told(hint)
        else:
            _print(screen(), listed[:limit], index, more=len(listed) > limit)
        _warn(index)
    return 0 if listed else 1


def _fields(hit: "Hit") -> dict[str, Any]:
    from saferun.ledger import leaf_hash

    if hit.entry is None:
        return {"seq": hit.seq, "time": hit.time, **hit.known, "archived": True}
    return {
        "seq": hit.seq,
        "time": hit.entry.time,
        "kind": hit.entry.kind,
        "leaf": leaf_hash(hit.body).hex(),
        **msgspec.to_builtins(hit.entry.fields),
    }


def _print(console: "Console", hits: "Sequence[Hit]", index: "Index", *, more: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from saferun.replay.glance import brief, name_of

    columns: dict[str, list[Text]] = {
        "entry": [Text(f"{hit.seq:,}") for hit in hits],
        "when": [Text(when, "dim") for when in _moments(hits)],
        "": [_glance(hit) for hit in hits],
        "agent": [Text(name_of(hit, "agent")) for hit in hits],
        "user": [Text(name_of(hit, "user")) for hit in hits],
        "tool": [Text(name_of(hit, "tool")) for hit in hits],
        "what": [Text(brief(hit)) for hit in hits],
    }
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    shown_columns = {head: cells for head, cells in columns.items() if any(cells)}
    for head in shown_columns:
        most = _NAMES if head in ("agent", "user", "tool") else None
        table.add_column(
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if head == "entry" else "left",
            max_width=most,
            ratio=1 if head == "what" else None,
        )
    table.add_row(*(Text(head, "dim") for head in shown_columns))
    for row in zip(*shown_columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    end = "; more with --limit" if more else ""
    searched = f"{counted(len(hits), 'entry', 'entries')} of {index.size:,}{end}"
    console.print(Text(f"\n{searched}", "dim"))


def _warn(index: "Index") -> None:
    complain(index.reader)
    if index.missing:
        many = counted(index.missing, "entry", "entries")
        told(
            f"{many} could not be searched: archived before they were indexed, or changed. "
            "--archive FOLDER has those searched that it holds, and saferun ledger verify tells "
            "which."
        )


def _moments(hits: "Sequence[Hit]") -> list[str]:
    """When each was written; the year only where it is not this one for all of them."""
    times = [hit.time if hit.entry is None else hit.entry.time for hit in hits]
    said = [moment(at) if at is not None else "" for at in times]
    this = datetime.now(UTC).astimezone().strftime("%Y-")
    return (
        [each[5:] for each in said] if all(each.startswith(this) for each in said if each) else said
    )


def _glance(hit: "Hit") -> Any:
    from rich.text import Text

    from saferun.replay.glance import glance

    look, word = glance(hit)
    if look == "away":
        return Text(f"{IMPORTED.icon} {word}", "dim" if hit.entry is None else IMPORTED.style)
    mark = _MARKS.get(look)
    return Text(f"· {word}") if mark is None else Text(f"{mark.icon} {word}", mark.style)
