"""`saferun ledger search`: find entries again, by who, what, when and the words in them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, complain, opened
from saferun.cli.ledger import filters
from saferun.cli.options import JsonOption, StoreOption
from saferun.cli.screen import (
    ALLOWED,
    ASKED,
    DENIED,
    IMPORTED,
    MODEL,
    MODIFIED,
    USER,
    VERDICTS,
    Mark,
    counted,
    document,
    moment,
    progress,
    screen,
    shown,
    told,
)

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.ledger import Entry
    from saferun.store.index import Hit, Index

_BRIEF = 160
"""Characters of what an entry says that are looked at: more does not fit on any screen."""

_NAMES = 14
"""Columns for the name of an agent, a user or a tool."""

_ENDS = {
    "ok": ALLOWED,
    "approved": ALLOWED,
    "resumed": ALLOWED,
    "closed": ALLOWED,
    "error": DENIED,
    "timeout": DENIED,
    "rejected": DENIED,
    "stopped": DENIED,
    "opened": DENIED,
    "unknown": ASKED,
    "requested": ASKED,
    "escalated": ASKED,
    "voted": ALLOWED,
    "granted": ALLOWED,
    "invited": ALLOWED,
    "enrolled": ALLOWED,
    "edited": MODIFIED,
    "refused": DENIED,
    "expired": DENIED,
    "cancelled": DENIED,
    "stale": DENIED,
    "revoked": DENIED,
    "withdrawn": DENIED,
}
"""How it went, at a glance."""


@filters.filtered
def search(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='Words in it; "several words" in a row.')
    ] = "",
    chosen: filters.Filters = filters.ALL,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to show.")] = 20,
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

    with opened(store, archive) as reader, Index(reader) as index:
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

    columns: dict[str, list[Text]] = {
        "entry": [Text(f"{hit.seq:,}") for hit in hits],
        "when": [Text(when, "dim") for when in _moments(hits)],
        "": [_glance(hit) for hit in hits],
        "agent": [Text(_name(hit, "agent")) for hit in hits],
        "user": [Text(_name(hit, "user")) for hit in hits],
        "tool": [Text(_name(hit, "tool")) for hit in hits],
        "what": [Text(_brief(hit)) for hit in hits],
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

    if hit.entry is None:
        return Text(f"{IMPORTED.icon} archived", "dim")
    mark, word = _mark(hit.entry)
    return Text(f"{mark.icon} {inert(word, 20)}", mark.style)


def _mark(entry: "Entry") -> tuple[Mark, str]:
    fields = entry.fields
    match entry.kind:
        case "decision":
            mark = VERDICTS[fields["verdict"]]
            mark = MODIFIED if mark is ALLOWED and fields.get("modified") else mark
            return mark, mark.word
        case "model":
            return MODEL, MODEL.word
        case "user":
            return USER, USER.word
        case "call":
            return IMPORTED, IMPORTED.word
    word = str(fields.get("status") or fields.get("event") or fields.get("act") or entry.kind)
    return _ENDS.get(word, Mark("·", word, "")), f"run {word}" if entry.kind == "run" else word


def _name(hit: "Hit", key: str) -> str:
    """The name of an agent, a user or a tool that an entry belongs to."""
    entry = hit.entry
    if entry is None:
        return inert(hit.known.get(key, ""), 60)
    value = entry.fields.get(key)
    if value is None and entry.kind == "control" and entry.fields["scope"] == key:
        value = entry.fields.get("value")
    value = value.get("id") if isinstance(value, Mapping) else value
    return inert(value, 60) if isinstance(value, str) else ""


def _brief(hit: "Hit") -> str:
    """What an entry says, as far as it fits beside the rest."""
    entry = hit.entry
    if entry is None:
        word = hit.verdict if hit.known.get("kind") == "decision" else hit.known.get("status")
        return inert(" ".join(filter(None, (hit.known.get("kind"), word))), _BRIEF)
    fields = entry.fields
    match entry.kind:
        case "decision":
            reasons = [reason["id"] for reason in fields.get("reasons", ())]
            said = ", ".join(reasons) if reasons else fields.get("args")
        case "outcome" | "recovery" | "call":
            said = fields.get("error") or fields.get("reason") or fields.get("result")
        case "model" | "user":
            said = fields.get("output", fields.get("text"))
        case "approval":
            said = _approval(fields)
        case "control" | "erasure" | "key" | "restart":
            words = [f"by {fields['by']}" if fields.get("by") else "", fields.get("reason") or ""]
            said = ": ".join(word for word in words if word)
        case "run":
            said = fields.get("error") or fields.get("prompt") or fields["run"]
        case "policy":
            said = f"{fields['name']} @ {fields['live'][:12]} by {fields['by']}"
        case "archive":
            said = f"{fields['first']:,} to {fields['size']:,} by {fields['by']}"
        case _:
            said = fields.get("origin")
    if said is None:
        return ""
    return inert(said, _BRIEF) if isinstance(said, str) else shown(said, _BRIEF)


def _approval(fields: Mapping[str, Any]) -> str:
    """Who has done what with a request, or why what they did does not count."""
    by = f"by {fields['by']}" if fields.get("by") else fields.get("channel") or ""
    glass = "breaking the glass" if fields.get("glass") else ""
    joins = f"with {fields['joins']}" if fields.get("joins") else ""
    head = ", ".join(filter(None, (by, glass, joins, fields.get("grant"))))
    if fields.get("why"):
        return f"{fields['why']}{f', {head}' if head else ''}"
    return ": ".join(filter(None, (head, fields.get("reason"))))
