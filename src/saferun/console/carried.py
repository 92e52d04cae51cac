"""A run as one file that can be carried off: it opens anywhere, and asks for nothing.

It holds the pages of the console and its replay, and of the run as much as an audience gets. The
frames stand in it packed, a hundred in a page, and are unpacked as they are looked at; the first
hundred also as they are, for whoever has no script, and for paper. Its own policy lets nothing in
and nothing out: only the one script and the one style whose hashes it names.
"""

import gzip
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import msgspec
from markupsafe import Markup

from saferun.approval import inert
from saferun.audience import PARTS, Act, Audience, Showing
from saferun.call import at, span
from saferun.console import closeup, rendering
from saferun.control.amount import dollars
from saferun.ledger import Checkpoint
from saferun.replay import Frame, Playback, shown
from saferun.replay.given import fresh
from saferun.replay.vouching import checkpoint

PAGE = 100
"""Frames that are packed together, as the replay has it (`island/src/source.ts`)."""

PLAIN = 100
"""Frames that can be read without a script."""

_HERE = Path(__file__).parent
_STYLES = ("console.css", "replay.css", "carried.css", "print.css")


class Head(NamedTuple):
    """The run in one line."""

    title: str
    run: str
    who: str
    began: str
    took: str
    cost: str
    counts: tuple[tuple[str, str], ...]


class Vouched(NamedTuple):
    """How the ledger stood to the frames when the file was made: all that a copy can say of it."""

    all_signed: bool
    says: str
    root: str


def page(
    play: Playback,
    showing: Showing,
    now: int,
    progress: Callable[[int], None] = lambda _: None,
) -> bytes:
    """The file, as the audience of `showing` gets it. `now` is in microseconds since 1970, UTC.

    `progress` is told how many frames are done. Raises StoreError.
    """
    templates = rendering.templates()
    shown.met(showing, play)
    head = _head(play, showing)
    standings: Counter[str] = Counter()
    total, first, packed = len(play.outline), list[str](), list[str]()
    rows, frames = list[Any](), list[str]()
    for number, (markup, row, standing) in enumerate(_frames(play, showing, templates), 1):
        standings[standing] += 1
        rows.append(row)
        frames.append(markup)
        if number <= PLAIN:
            first.append(markup)
        if len(frames) == PAGE or number == total:
            packed.append(_packed({"rows": rows, "frames": frames}))
            rows, frames = [], []
        progress(number)
    outline = play.outline.document(1)
    outline |= {
        "over": True,
        "forks": play.branches.marked(),
        "tools": [showing.words(each) for each in outline["tools"]],
    }
    script = (_HERE / "static" / "replay.js").read_text(encoding="utf-8")
    style = "".join((_HERE / "static" / each).read_text(encoding="utf-8") for each in _STYLES)
    return (
        templates.get_template("carried.html")
        .render(
            head=head,
            audience=_said(showing.audience),
            made=at(now),
            vouched=_vouched(checkpoint(play.index.reader), standings, total),
            total=total,
            frames=[Markup(each) for each in first],  # noqa: S704 - made by our own templates
            data=[("outline", _packed(outline)), *((f"page-{n}", p) for n, p in enumerate(packed))],
            script=_inlined(script),
            style=_inlined(style),
            script_hash=_hash(script),
            style_hash=_hash(style),
        )
        .encode()
    )


def _frames(
    play: Playback, showing: Showing, templates: jinja2.Environment
) -> Iterator[tuple[str, closeup.Line, str]]:
    """Each frame as markup, its line in the list, and how the ledger stands to it."""
    template = templates.get_template("frame.html")
    total, said = len(play.outline), Frame(number=0, kind="user", seq=0, at=0)
    for close in shown.frames(showing, play):
        frame = close.frame
        near = said.kind == "model" and frame.number - said.number <= 10
        led = said if frame.kind == "call" and near else None
        if frame.kind != "call":
            said = frame
        it = closeup.view(close, total, led, fresh(frame.said) if frame.kind == "model" else None)
        markup = template.render(it=it, link="#run", run="", away=True)
        yield markup, closeup.line(frame), close.standing


def _head(play: Playback, showing: Showing) -> Head:
    about, found = shown.about(showing, play), play.synopsis
    user = about.get("user")
    names = (about.get("agent"), user.get("id") if isinstance(user, dict) else user)
    prompt = about.get("prompt")
    run = inert(str(showing.value(("run",), play.run_id)), 80)
    kept = showing.audience.act(("prompt",)) == "keep" and isinstance(prompt, str)
    titled = str(prompt).strip() if kept else ""
    counts: list[tuple[str, str]] = []
    if found is not None:
        counts += [("deny", f"✕ {found.denied:,} denied")] * bool(found.denied)
        counts += [("ask", f"? {found.asked:,} asked")] * bool(found.asked)
        counts += [("deny", f"✕ {found.failed:,} failed")] * bool(found.failed)
        counts += [("deny", "■ stopped")] * bool(found.stopped)
    ended = found is not None and found.began is not None and found.ended is not None
    return Head(
        title=inert(titled, 300) or f"Run {run}",
        run=run,
        who=" for ".join(inert(str(each), 60) for each in names if each) or "nobody named",
        began="" if found is None or found.began is None else at(found.began),
        took=span(found.ended - found.began) if ended else "",  # type: ignore[union-attr, operator]
        cost=dollars(found.cost) if found is not None and found.cost else "",
        counts=tuple(counts),
    )


def _said(audience: Audience) -> dict[Act, str]:
    """What is kept, replaced and hidden, in words."""
    found: dict[Act, str] = {}
    acts: tuple[Act, ...] = ("hide", "replace", "keep")
    for act in acts:
        parts: list[str] = [each for each in PARTS if audience.parts[each] == act]
        parts += [".".join(path) for path, own in audience.paths.items() if own == act]
        found[act] = inert(", ".join(parts))
    return found


def _vouched(found: Checkpoint | None, standings: Counter[str], total: int) -> Vouched:
    signed = standings["signed"]
    if found is None:
        said = "No checkpoint lay with the ledger when this was made, so nobody vouched for it."
        return Vouched(all_signed=False, says=said, root="")
    by = f"a checkpoint of {found.size:,} entries, signed as {inert(found.origin, 120)},"
    which = f"all {total:,} frames" if signed == total else f"{signed:,} of {total:,} frames"
    words = {
        "changed": "changed since they were written",
        "doubtful": "not in the tree that was signed",
        "unsigned": "newer than that",
        "archived": "in an archive that was not at hand",
    }
    rest = [f"{standings[each]:,} {word}" for each, word in words.items() if standings[each]]
    more = f"; {', '.join(rest)}" if rest else ""
    said = f"When this was made, {by} vouched for {which}{more}."
    return Vouched(all_signed=signed == total, says=said, root=b64encode(found.root).decode())


def _packed(value: Any) -> str:
    data = gzip.compress(msgspec.json.encode(value), 6, mtime=0)
    return b64encode(data).decode()


def _inlined(text: str) -> Markup:
    """Our own script or style, as it may stand between its tags."""
    low = text.lower()
    if "</s" in low or "<!--" in low or "\r" in text:
        raise AssertionError("The script or the style would end early on a page.")
    return Markup(text)  # noqa: S704 - it is ours, and looked at just now


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
