"""One frame with all that there is to say of it: what `run show --frame` and `run step` show."""

from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from saferun import marks
from saferun.approval.inert import inert
from saferun.call import Measure, size
from saferun.cli.run.page import SPEECH, Page
from saferun.cli.run.told import Told, turns
from saferun.cli.screen import counted, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from saferun.replay import Closeup, Playback
    from saferun.replay.changes import Change

MESSAGES = 12
"""New messages to a model that are shown without `--full`."""

DIFFERENCES = 12
"""Changed arguments that are shown; `--json` has more of them."""

PART = 60
"""Characters of a changed value."""


def lines(
    console: "Console", playback: "Playback", seen: "Closeup", *, full: bool = False
) -> "Iterator[Text]":
    """A frame as `run show` has it, and below it what only a closer look tells.

    In `full`, with the messages that earlier turns of a model had already.
    """
    from saferun.replay import RunStory

    story = RunStory(run_id=playback.run_id, frames=[seen.frame])
    told = Told(story, [], turns=turns(playback.index, story), branches=playback.branches)
    page = Page(console, told, full=False)
    # A frame on paper has an empty line above it, which sets it off from the one before.
    yield from islice(page.frame(seen.frame), 1, None)
    yield from _given(page, playback, seen, full=full)
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
        yield from page.row(label, marks.NEAR.get(why, ""))
    for limit, measure in ((seen.frame.decision or {}).get("close") or {}).items():
        stands = msgspec.convert(measure, Measure).said()
        yield from page.row("", inert(f"{limit}: {stands}", SPEECH))
    said_of = seen.frame.label
    if said_of is not None:
        why = f": {said_of['reason']}" if said_of.get("reason") else ""
        word = marks.LABELS[said_of["mark"]]
        yield from page.row("label", inert(f"{word}, says {said_of['by']}{why}"))
    for value in seen.values:
        held = "" if value.held else ", no longer held"
        yield from page.row("value", f"{value.field}: {size(value.bytes)}, {value.sha256}{held}")
    yield from page.children(seen.frame.number)
    yield from _vouched(page, seen)


def _given(page: Page, playback: "Playback", seen: "Closeup", *, full: bool) -> "Iterator[Text]":
    """What the model was given: what is new in it is marked, and the rest folded."""
    given = playback.given(seen.frame)
    if given is None:
        return
    at = len(given.messages) - given.new
    label, earlier, new = "given", given.messages[:at], given.messages[at:]
    if given.lost:
        said = counted(given.lost, "earlier message")
        yield from page.row(label, f"… {said}, which cannot be shown here")
        label = ""
    if earlier and not full:
        yield from page.row(label, f"… {counted(len(earlier), 'message')} as before; --full")
        label = ""
    for mark, some in (("·", earlier if full else ()), ("+", new if full else new[-MESSAGES:])):
        for each in some:
            yield from page.row(label, _message(each, full=full), f"{mark} ")
            label = ""
    if len(new) > MESSAGES and not full:
        yield from page.row("", f"… {counted(len(new) - MESSAGES, 'more message')} before; --full")


def _message(value: Any, *, full: bool) -> str:
    from saferun.replay.given import spoken

    by, words = spoken(value)
    limit = None if full else SPEECH
    text = inert(words, limit) if isinstance(words, str) else shown(words, limit)
    return f"{inert(by, 40)}: {text}" if by else text


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
    _, icon, word = marks.STANDINGS[seen.standing]
    bad = [each.says for each in seen.vouched if each.standing == seen.standing]
    if seen.standing in ("changed", "doubtful"):
        for sentence in bad:
            yield from page.row("ledger", f"{icon} {sentence}")
    else:
        entries = ", ".join(f"#{each.seq}" for each in seen.vouched)
        yield from page.row("ledger", f"{icon} {word}: {entries}")
