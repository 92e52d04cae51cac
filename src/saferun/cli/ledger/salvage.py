"""`saferun ledger recover --salvage`: what can be read of a torn store, in a new one."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from saferun.approval.inert import inert
from saferun.cli.history import archived
from saferun.cli.options import near, settings
from saferun.cli.screen import (
    ALLOWED,
    beside,
    counted,
    document,
    facts,
    progress,
    put,
    screen,
)
from saferun.cli.screen import told as complained
from saferun.config import sqlite_path

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.store.salvage import Salvaged

_WORDS = {
    "anchor": "places outside that have the ledger",
    "approval": "requests to people",
    "assignment": "which policy holds",
    "blob": "large values",
    "call": "calls that came with an id",
    "callback": "messages from outside that have come once",
    "run": "runs",
    "checkpoint": "checkpoints",
    "counters": "counters of limits, budgets and breakers",
    "delivery": "how far requests were brought to people",
    "opening": "values that can be opened",
    "permit": "grants",
    "person": "people and their secrets",
    "pin": "versions that runs keep",
    "subject": "keys of subjects",
    "switch": "what is stopped",
    "ticket": "letters with a code",
    "version": "versions of policies",
    "vote": "answers of people",
}
"""What tables hold, for people."""


def salvage(new: Path, store: str | None, archive: Path | None, *, as_json: bool) -> int:
    """Save, and say what was saved and what was lost. Exits 0 where that is nothing."""
    from saferun.store.salvage import salvage as save

    chosen = settings(store)
    torn = sqlite_path(chosen.store)
    total = torn.stat().st_size if torn.is_file() else 0
    with contextlib.ExitStack() as stack:
        at_hand = None if archive is None else stack.enter_context(archived(archive))
        done = stack.enter_context(progress("looking through", total))
        told = save(torn, new, lambda at, _: done(at), at_hand, chosen.signing)
    if at_hand is not None and at_hand.trouble is not None:
        complained(at_hand.trouble)
    if as_json:
        document(
            {
                "store": str(new),
                "origin": told.origin,
                "whole": told.whole,
                "entries": told.entries,
                "found": told.found,
                "counted": told.counted,
                "vouched": told.vouched,
                "lost_entries": told.lost_entries,
                "problem": told.problem,
                "open_calls": told.open_calls,
                "voided": told.voided,
                "away": told.away,
                "tables": [
                    {"name": each.name, "saved": each.saved, "whole": each.whole}
                    for each in told.tables
                ],
            }
        )
    else:
        _print(screen(), told, torn, new)
    return 0 if told.whole else 1


def _print(console: "Console", told: "Salvaged", torn: Path, new: Path) -> None:
    from rich.text import Text

    icon, style = (ALLOWED.icon, ALLOWED.style) if told.whole else ("!", "yellow")
    what = "All of it is saved" if told.whole else "What could be read is saved, and some is lost"
    said = Text.assemble((what, "bold"), f": {inert(told.origin)}, in {inert(near(new))}.")
    put(console, beside(console, Text(f"{icon} ", style), said))
    console.print()
    rows: list[tuple[str, str | Text]] = [("entries", f"{told.entries:,} saved")]
    if told.lost_entries:
        lost = f"{counted(told.lost_entries, 'entry', 'entries')}. {inert(told.problem or '', 300)}"
        rows.append(("lost", Text(lost, "yellow")))
    if told.open_calls:
        calls = counted(told.open_calls, "call")
        rows.append(("open", f"{calls} without an end, which will be unknown"))
    if told.voided:
        requests = counted(told.voided, "request")
        rows.append(("void", f"{requests} to people, which may have been used up in what is lost"))
    if told.away:
        entries = counted(told.away, "entry lies", "entries lie")
        rows.append(("away", f"{entries} in an archive; what follows from them needs it"))
    facts(console, *rows)
    console.print()
    shown = [each for each in told.tables if each.saved or not each.whole]
    column = max((len(f"{each.saved:,}") for each in shown), default=0)
    for each in shown:
        mark = Text("  ") if each.whole else Text("! ", "yellow")
        lead = Text.assemble("  ", mark, f"{each.saved:>{column},}  ")
        text = _WORDS.get(each.name, each.name)
        if not each.whole:
            text += "; not all could be read"
            if each.name == "counters":
                text += ", and those that are lost start anew"
        put(console, beside(console, lead, text))
    console.print()
    put(
        console, (line for each in _next(told, torn, new) for line in beside(console, Text(), each))
    )


def _next(told: "Salvaged", torn: Path, new: Path) -> "list[str]":
    steps = [f"Next: keep {inert(near(torn))} as it is, and name {inert(near(new))} as `store`."]
    if new.absolute().parent != torn.absolute().parent:
        steps.append(
            f"Put the folder {inert(near(torn.parent / 'keys'))} beside it: it opens with its keys."
        )
    if told.away:
        steps.append(
            f"For what follows from archived entries, such as whose runs they are, delete"
            f" {inert(near(new))} and save again with --archive FOLDER."
        )
    if told.behind:
        steps.append(
            f"A checkpoint vouches for {counted(told.vouched - told.entries, 'entry', 'entries')}"
            " more than could be saved, so nothing can be signed under the old name:"
            " saferun ledger restart goes on under a new one, with the loss on record."
        )
    steps.append("Then saferun ledger verify, and saferun ledger recover for what is unknown.")
    return steps
