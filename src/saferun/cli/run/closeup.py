"""One frame with all that there is to say of it: what `run show --frame` and `run step` show."""

from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from saferun.approval.inert import inert
from saferun.cli.run.page import SPEECH, Page
from saferun.cli.run.told import Told, turns
from saferun.cli.screen import CHANGED, shown, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from saferun.replay import Closeup, Playback
    from saferun.replay.changes import Change

DIFFERENCES = 12
"""Changed arguments that are shown; `--json` has more of them."""

PART = 60
"""Characters of a changed value."""

NEAR = {
    "approved": "a person was asked, and said yes",
    "shadow": "what is only tried out would have denied it",
    "limit": "a limit was used by four fifths or more",
    "retried": "it was denied just before, with other arguments",
}

STANDINGS = {
    "signed": ("✓", "signed", "green"),
    "unsigned": ("·", "unsigned", "dim"),
    "archived": ("↓", "archived", "cyan"),
    "doubtful": ("!", "doubtful", "bold red"),
    "changed": (CHANGED.icon, CHANGED.word, CHANGED.style),
}


def lines(console: "Console", playback: "Playback", seen: "Closeup") -> "Iterator[Text]":
    """A frame as `run show` has it, and below it what only a closer look tells."""
    from saferun.replay import RunStory

    story = RunStory(run_id=playback.run_id, frames=[seen.frame])
    told = Told(story, [], turns=turns(playback.index, story))
    page = Page(console, told, full=False)
    # A frame on paper has an empty line above it, which sets it off from the one before.
    yield from islice(page.frame(seen.frame), 1, None)
    for rule, clauses in seen.grounds.items():
        label = "where"
        for clause in clauses:
            mark = "✓" if clause.holds else "✕"
            yield from page.row(
                label, f"{mark} {inert(clause.text, SPEECH)}  {shown(clause.value, PART)}"
            )
            label = ""
        if not clauses:
            yield from page.row("where", inert(rule))
    yield from _since(page, seen)
    for label, why in zip_longest(("near",), seen.near, fillvalue=""):
        yield from page.row(label, NEAR.get(why, ""))
    for value in seen.values:
        held = "" if value.held else ", no longer held"
        yield from page.row("value", f"{value.field}: {size(value.bytes)}, {value.sha256}{held}")
    for run in seen.runs:
        yield from page.row("child", inert(run, 80))
    yield from _vouched(page, seen)


def _since(page: Page, seen: "Closeup") -> "Iterator[Text]":
    if seen.since is None:
        return
    label, found = "differs", seen.since.changes
    lead = f"from frame {seen.since.number}: "
    if not found.changes:
        yield from page.row(label, f"{lead}the same arguments")
    for change in found.changes[:DIFFERENCES]:
        yield from page.row(label, lead + said(change))
        label, lead = "", ""
    left = len(found.changes) - DIFFERENCES
    if left > 0 or not found.whole:
        yield from page.row("", f"… {max(left, 0):,} more" if found.whole else "… and more")


def said(change: "Change") -> str:
    """A difference in one line: its path, and the value before and after."""
    path = inert(".".join(map(str, change.path)) or "all of it", PART)
    return f"{path}  {_value(change.before)} → {_value(change.after)}"


def _value(value: Any) -> str:
    return "nothing" if value is msgspec.UNSET else shown(value, PART)


def _vouched(page: Page, seen: "Closeup") -> "Iterator[Text]":
    icon, word, _ = STANDINGS[seen.standing]
    bad = [each.says for each in seen.vouched if each.standing == seen.standing]
    if seen.standing in ("changed", "doubtful"):
        for sentence in bad:
            yield from page.row("ledger", f"{icon} {sentence}")
    else:
        entries = ", ".join(f"#{each.seq}" for each in seen.vouched)
        yield from page.row("ledger", f"{icon} {word}: {entries}")
