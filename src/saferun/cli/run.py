"""`saferun run`: what agents did, read back from the ledger frame by frame."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, complain, opened
from saferun.cli.options import CannotError, JsonOption, StoreOption, meant
from saferun.cli.run_import import bring_in
from saferun.cli.screen import (
    ALLOWED,
    ASKED,
    DEFERRED,
    DENIED,
    IMPORTED,
    MODEL,
    MODIFIED,
    USER,
    VERDICTS,
    Mark,
    beside,
    counted,
    document,
    moment,
    progress,
    put,
    screen,
    shown,
    size,
    span,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.ledger import Entry
    from saferun.replay import Frame, RunStory
    from saferun.store import Reader
    from saferun.store.index import Index
    from saferun.store.openings import Openings

app = typer.Typer(name="run", help="Look at what agents did.", no_args_is_help=True)

ID = 12
"""Characters of a run id in a list; `run show` takes any beginning that is unique."""

VALUE = 120
"""Characters of one argument that are shown without `--full`."""

SPEECH = 600
"""Characters of what a model, a user or a tool said that are shown without `--full`."""

ARGUMENTS = 40
"""Arguments of one call that are shown without `--full`."""

NAME = 24
"""Columns for the names of arguments that stand one below the other."""

LABEL = 9
"""Columns of the labels below the head of a frame."""

_WORD = re.compile(r"[\w.*-]+", re.ASCII)

_LARGE = {"args", "result", "output", "text"}
"""The fields of an entry whose value may lie beside the ledger."""

_SEALED = {*_LARGE, "given", "error", "prompt", "plan", "user", "context"}
"""The fields of an entry in which sensitive values may be sealed."""

OUT_OF_REACH = "[sealed]"
"""What is shown in place of a sealed value whose key is not here."""

EITHER = "[erased or lost]"
"""What is shown in place of one that nobody can open, where some were erased and others lost."""


@app.command("list")
def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to show.")] = 20,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the newest runs, the newest first."""
    from saferun.store.runs import newest_runs

    with _history(store, archive) as (reader, index):
        # In short at once: whole stories of many runs would not fit into memory.
        listed: list[_Short] = []
        for run_id in newest_runs(reader, limit):
            listed.append(_in_short(_told(index, run_id)))
            if as_json:
                document(msgspec.to_builtins(listed[-1]))
        if not as_json:
            _print_list(screen(), listed)
        archived = [seq for each in listed for seq in each.archived]
        lacking = sum(each.frames is None and not each.archived for each in listed)
        _say_where(screen(stderr=as_json), index, archived, lacking)
    return 0


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    full: Annotated[bool, typer.Option("--full", help="Cut nothing.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show one run frame by frame: what was said, decided and done."""
    with _history(store, archive) as (_, index):
        run_id = _named(index, run)
        told = _told(index, run_id, whole=full, opened=True)
        if told.lacking is not None and not told.story.frames:
            raise CannotError(f"Run {run_id!r} lies in an archive{_elsewhere(index)}.")
        if as_json:
            document(_in_full(told))
        else:
            told.turns = _turns(index, told.story)
            _Page(screen(), told, full=full).print()
        lacking = told.lacking is not None and not told.archived
        _say_where(screen(stderr=as_json), index, told.archived, lacking)
    return 0


app.command("import")(bring_in)


class _Told(msgspec.Struct):
    """A run's story, and the numbers of its entries that could not be read.

    `archived` are those that lie in an archive which was not given. `lacking` is the first of the
    entries that may be its own and that the index has never seen, None where there is none.
    `turns` are the switches that were turned, where any has stopped a call of the run.
    """

    story: "RunStory"
    unreadable: list[int]
    archived: list[int] = []
    lacking: int | None = None
    turns: list["Entry"] = []


@contextlib.contextmanager
def _history(store: str | None, archive: Path | None) -> "Iterator[tuple[Reader, Index]]":
    """The store's history, and its index brought up to the newest entry."""
    from saferun.store.index import Index

    with opened(store, archive) as reader, Index(reader) as index:
        with progress("indexing", reader.head().size) as done:
            index.build(done)
        yield reader, index
        complain(reader)


def _told(index: "Index", run_id: str, *, whole: bool = False, opened: bool = False) -> _Told:
    """The story of a run: `whole` with its large values, and with what is sealed `opened`."""
    from saferun.replay import story
    from saferun.store.runs import run_began

    missed: list[int] = []
    found = story(run_id, _entries(index, run_id, missed, whole=whole, opened=opened))
    archived = [seq for seq in missed if index.reader.away(seq)]
    unreadable = [seq for seq in missed if seq not in archived]
    # A run that nobody has bound to anybody has its entries in the index alone.
    lacking = index.lacking(run_began(index.reader, run_id) or 0)
    return _Told(found, unreadable, archived, lacking)


def _turns(index: "Index", story: "RunStory") -> "list[Entry]":
    """What was stopped and resumed that may have stopped a call of the run, in its order."""
    stops = {stop for frame in story.frames for stop in map(_stop, _reasons(frame)) if stop}
    if not stops:
        return []
    # The turns of what is no run stand under a name that no run has.
    places = {"", *(value for scope, value in stops if scope == "run")}
    entries = (each for place in places for each in _entries(index, place, []))
    return sorted((each for each in entries if each.kind == "control"), key=lambda each: each.seq)


def _reasons(frame: "Frame") -> tuple[Mapping[str, Any], ...]:
    return tuple(frame.decision.get("reasons", ())) if frame.decision is not None else ()


def _stop(reason: Mapping[str, Any]) -> tuple[str, str] | None:
    """The scope and value of the switch that a reason is about, None where it is about none."""
    if reason.get("source") != "stop":
        return None
    scope, _, value = str((reason.get("measure") or {}).get("scope")).partition(" ")
    return scope, value.strip()


def _entries(
    index: "Index",
    run_id: str,
    missed: list[int],
    *,
    whole: bool = False,
    opened: bool = False,
) -> "Iterator[Entry]":
    from saferun.ledger import EntryError, read
    from saferun.replay import large
    from saferun.store.openings import Openings

    openings = Openings(index.reader)
    for seq in index.frames(run_id):
        for body in index.reader.bodies([seq]):
            try:
                entry = read(body)
            except (EntryError, TypeError):
                # It is archived, or was changed since it was indexed: `ledger verify` says how.
                missed.append(seq)
                continue
            if whole:
                for key in _LARGE & entry.fields.keys():
                    entry.fields[key] = large.found(entry.fields, key, index.reader.blob)
            if opened and "sealed" in entry.fields:
                _open(openings, index, entry.fields)
            yield entry


def _open(openings: "Openings", index: "Index", fields: dict[str, Any]) -> None:
    """Put what is sealed in the place of its commitments, and a word where that cannot be."""
    from saferun.ledger import ERASED, LOST, filled, opened

    def word(commitment: bytes) -> str:
        if openings.holds(commitment):
            return OUT_OF_REACH
        if not index.has("kind", "erasure"):
            return LOST
        # Whose of the two it was, only the key could tell that is gone.
        return EITHER if openings.lacks() else ERASED

    names = fields["sealed"]
    for key in _SEALED & fields.keys():
        fields[key] = filled(opened(fields[key], names, openings.opening), names, word)


def _elsewhere(index: "Index") -> str:
    """The end of a sentence on what lies in an archive: where to look for it."""
    archive = index.reader.archive
    if archive is None:
        return "; name its folder with --archive FOLDER"
    lacks = archive.lacks(index.reader.archives())
    return f" and not in {archive.folder}" + (f": {lacks.removesuffix('.')}" if lacks else "")


def _named(index: "Index", given: str) -> str:
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
            f"an archive{_elsewhere(index)}."
        )
    raise CannotError(f"There is no run {given!r} in {reader.path}{meant(given, every[:1000])}")


class _Short(msgspec.Struct):
    """A run in one line. Times are in microseconds, as in the ledger, and `cost` in millionths.

    Nothing is counted where not all of its entries are at hand, since that would be too few.
    """

    run_id: str
    began: int | None
    ended: int | None
    duration: int | None
    agent: str | None
    user: str | None
    tenant: str | None
    frames: int | None
    denied: int | None
    asked: int | None
    deferred: int | None
    cost: int | None
    stopped: bool
    error: str | None
    imported: str | None
    unreadable: list[int]
    archived: list[int]

    @property
    def who(self) -> str:
        named = [inert(name, 60) for name in (self.agent, self.user) if name]
        return " for ".join(named) or ("nobody named" if self.began is not None else "")

    @property
    def took(self) -> str:
        if self.imported is not None:
            return IMPORTED.word
        if self.stopped:
            return "stopped"
        if self.frames is None and self.duration is None:
            return "archived"
        # A run that did not say that it ended goes on, or its process came to its end first.
        return "open" if self.duration is None else span(self.duration)


def _in_short(told: _Told) -> _Short:
    story, about = told.story, told.story.about
    began, ended = story.began, story.ended
    user = about.get("user", {}).get("id")
    counts: dict[str, int | None] = {
        "frames": len(story.frames),
        "denied": story.denied,
        "asked": story.asked,
        "deferred": story.deferred,
        "cost": story.cost,
    }
    if told.archived or told.lacking is not None:
        counts = dict.fromkeys(counts)
    return _Short(
        run_id=story.run_id,
        began=began,
        ended=ended,
        duration=None if began is None or ended is None else ended - began,
        agent=about.get("agent"),
        user=user if isinstance(user, str) else None,
        tenant=about.get("tenant"),
        **counts,
        stopped=story.stopped,
        error=story.error,
        imported=about.get("imported"),
        unreadable=told.unreadable,
        archived=told.archived,
    )


def _in_full(told: _Told) -> dict[str, Any]:
    about = told.story.about
    return {
        **msgspec.to_builtins(_in_short(told)),
        "user": about.get("user", {}),
        **{key: about.get(key) for key in ("root", "parent", "prompt", "plan", "context")},
        "frames": msgspec.to_builtins(told.story.frames),
    }


_FIRST_TO_GO = ("frames", "when", "asked", "denied", "took")
"""The columns of a list that a narrow screen can do without, in the order in which it does."""


def _print_list(console: "Console", listed: list[_Short]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not listed:
        console.print("No runs yet. A run begins with its first guarded call.")
        return
    ids = [each.run_id for each in listed]
    columns: dict[str, list[Text]] = {
        "run": [Text(_beginning(run_id, ids)) for run_id in ids],
        "when": [Text(moment(each.began), "dim") for each in listed],
        "who": [Text(each.who) for each in listed],
        "frames": [Text("" if each.frames is None else f"{each.frames:,}") for each in listed],
        "denied": [_tally(each.denied, DENIED) for each in listed],
        "asked": [_tally(each.asked, ASKED) for each in listed],
        "took": [Text(each.took) for each in listed],
    }
    columns = {head: [Text(head, "dim"), *cells] for head, cells in columns.items()}
    for head in _FIRST_TO_GO:
        if _least(columns) > console.width:
            del columns[head]
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for head in columns:
        if head == "run":
            # An imported run's id is long, and it has to be whole to be named.
            table.add_column(overflow="fold", max_width=36)
        elif head in ("when", "who"):
            ratio = 1 if head == "who" else None
            table.add_column(no_wrap=True, ratio=ratio, overflow="ellipsis")
        else:
            table.add_column(no_wrap=True, justify="right")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    _warn(console, [seq for each in listed for seq in each.unreadable])


def _least(columns: "Mapping[str, list[Text]]") -> int:
    """Columns of the screen that a list needs, with what stands between its own."""
    widths = {head: max(cell.cell_len for cell in cells) for head, cells in columns.items()}
    # These two may be broken or cut.
    widths |= {"run": min(widths["run"], ID), "who": min(widths["who"], ID)}
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


def _tally(many: int | None, mark: Mark) -> "Text":
    from rich.text import Text

    if many is None:
        return Text()
    return Text(f"{mark.icon} {many:,}", style=mark.style) if many else Text("0", style="dim")


def _warn(console: "Console", unreadable: list[int]) -> None:
    from rich.text import Text

    if unreadable:
        many = counted(len(unreadable), "entry", "entries")
        some = ", ".join(str(seq) for seq in unreadable[:5])
        said = f"{many} cannot be read ({some}). `saferun ledger verify` says what is wrong."
        console.print()
        put(console, beside(console, Text("! ", "yellow"), Text(said, "yellow")))


def _say_where(console: "Console", index: "Index", archived: list[int], lacking: int) -> None:
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
        sentence = f"{each}{_elsewhere(index)}."
        put(console, beside(console, Text("! ", "yellow"), sentence))


class _Page:
    """One run on paper: each frame has a head, and below it labels in one column.

    Lines are broken here and not by a table: a run may have ten thousand frames.
    """

    def __init__(self, console: "Console", told: _Told, *, full: bool) -> None:
        self._console = console
        self._told = told
        self._full = full
        frames = told.story.frames
        self._digits = len(str(len(frames)))
        self._entries = max((len(str(frame.seq)) for frame in frames), default=1) + 3
        self._edge = self._digits + 4
        """Columns before the labels; the icon stands just left of them."""

    def print(self) -> None:
        self._print_head()
        for frame in self._told.story.frames:
            put(self._console, self._frame(frame))
        _warn(self._console, self._told.unreadable)

    def _print_head(self) -> None:
        from rich.text import Text

        story, about = self._told.story, self._told.story.about
        if about.get("prompt") is not None:
            self._say(Text(self._speech(about, "prompt"), "bold"))
        short = _in_short(self._told)
        parts = [short.who, f"run {inert(short.run_id)}", moment(short.began), short.took]
        if about.get("parent"):
            parts.append(f"child of {inert(about['parent'])}")
        self._say(Text(" · ".join(filter(None, parts))))
        if short.frames is not None:
            self._say_counts(short, short.frames)
        if story.error is not None:
            self._say(Text(f"ended by {inert(story.error, 80)}"))

    def _say_counts(self, short: _Short, frames: int) -> None:
        from rich.text import Text

        counts = Text(counted(frames, "frame"))
        tallies = [(short.denied, DENIED), (short.asked, ASKED)]
        if short.deferred:
            tallies.append((short.deferred, DEFERRED))
        for many, mark in tallies:
            said = f"{mark.icon} {many:,} {mark.word}" if many else f"0 {mark.word}"
            counts.append(" · ").append(said, mark.style if many else "dim")
        if short.cost:
            counts.append(f" · ${short.cost / 1e6:,.4f}")
        for name, version in sorted(_policies(self._told.story)):
            counts.append(f" · {inert(name)} @ {inert(version[:12])}", "dim")
        self._say(counts)

    def _say(self, said: "Text") -> None:
        from rich.text import Text

        put(self._console, beside(self._console, Text(), said))

    def _frame(self, frame: "Frame") -> "Iterator[Text]":
        from rich.text import Text

        yield Text()
        if frame.kind == "call":
            yield self._head(frame, inert(_asked(frame)["tool"], 60), _words(frame))
            yield from self._call(frame)
        elif frame.kind == "control":
            by = inert(str(frame.said.get("by")), 80)
            yield self._head(frame, "the run", f"{inert(str(frame.said.get('event')))} by {by}")
            yield from self._row("because", inert(str(frame.said.get("reason") or ""), SPEECH))
        else:
            yield self._head(frame, frame.kind, _spent(frame.said))
            key = "output" if frame.kind == "model" else "text"
            yield from self._row("said", self._speech(frame.said, key))

    def _head(self, frame: "Frame", name: str, words: str) -> "Text":
        from rich.text import Text

        mark = _mark(frame)
        took = (frame.outcome or frame.said).get("latency")
        entry = f"#{frame.seq}"
        right = Text(span(took) if took else "").append(f"{entry:>{self._entries}}", "dim")
        left = Text.assemble(
            (f"{frame.number:>{self._digits}}  ", "dim"),
            (mark.icon, mark.style),
            " ",
            (name, "bold"),
            "  ",
            (words, mark.style),
        )
        room = self._console.width - right.cell_len - 2
        left.truncate(room, overflow="ellipsis", pad=True)
        return left.append("  ").append(right)

    def _call(self, frame: "Frame") -> "Iterator[Text]":
        decision = _asked(frame)
        yield from self._given(decision)
        yield from self._arguments(decision)
        for name, kind in decision.get("opaque", {}).items():
            yield from self._row("unread", f"{inert(name, 40)}, a {inert(str(kind), 80)}")
        label, head = "because", _words(frame)
        for reason in decision.get("reasons", ()):
            named = inert(reason["id"])
            # What the head has just named is not named again below it.
            which = (
                "" if head.endswith(f"{_mark(frame).word} by {named}") and label else f"{named}: "
            )
            line = f" (line {reason['line']})" if reason.get("line") else ""
            yield from self._row(label, which + inert(reason["message"], SPEECH) + line)
            yield from self._row("", self._figures(reason, frame.seq))
            label = ""
        for reason in decision.get("shadow", ()):
            said = f"{inert(reason['id'])} would {reason['effect']}: {inert(reason['message'])}"
            yield from self._row("shadow", said)
        if decision.get("nudge"):
            yield from self._row("nudge", inert(str(decision["nudge"]), SPEECH))
        if decision.get("repeats"):
            again = counted(decision["repeats"], "time")
            yield from self._row(
                "again", f"refused {again} more before this, with no entry of its own"
            )
        yield from self._person(frame)
        yield from self._row("result", self._result(frame))
        yield from self._row("cost", _cost(frame))

    def _figures(self, reason: Mapping[str, Any], seq: int) -> str:
        """How the control stood that spoke, and by whom a switch was turned that did."""
        figures, stop = _figures(reason), _stop(reason)
        if not figures or stop is None:
            return figures
        turned = next(
            (
                each
                for each in reversed(self._told.turns)
                if each.seq < seq and stop == (each.fields.get("scope"), _stopped(each.fields))
            ),
            None,
        )
        if turned is None or turned.fields.get("event") != "stopped":
            return f"{figures}; `saferun control status` says by whom, while it is"
        by, why = turned.fields.get("by"), turned.fields.get("reason")
        said = f"{figures}: by {inert(str(by), 80)} since {moment(turned.time)}"
        return f"{said}: {inert(str(why), SPEECH)}" if why else said

    def _arguments(self, decision: Mapping[str, Any]) -> "Iterator[Text]":
        from rich.cells import cell_len, set_cell_size

        from saferun.replay import large

        args = decision.get("args")
        if large.named(decision, "args") is not None or not isinstance(args, dict):
            yield from self._row("args", self._speech(decision, "args"))
            return
        limit = None if self._full else VALUE
        some = list(args.items())[: None if self._full else ARGUMENTS]
        pairs = [(_name(name, limit), shown(value, limit)) for name, value in some]
        line = "  ".join(f"{name}={value}" for name, value in pairs)
        if len(line) <= self._console.width - self._edge - LABEL and len(some) == len(args):
            yield from self._row("args", line or "none")
            return
        column = min(max(cell_len(name) for name, _ in pairs), NAME)
        label = "args"
        for name, value in pairs:
            short = name if cell_len(name) <= column else ""
            if not short:
                # A long name has a line to itself, so that values still stand in one column.
                yield from self._row(label, name)
                label = ""
            yield from self._row(label, value, f"{set_cell_size(short, column)}  ")
            label = ""
        if len(args) > len(some):
            yield from self._row("", f"… {counted(len(args) - len(some), 'more argument')}")

    def _given(self, decision: Mapping[str, Any]) -> "Iterator[Text]":
        """The arguments that the call came with, as far as policy has changed them."""
        given, args = decision.get("given"), decision.get("args")
        if not isinstance(given, dict) or not isinstance(args, dict):
            return
        changed = {name: value for name, value in given.items() if args.get(name) != value}
        some = list(changed.items())[: None if self._full else ARGUMENTS]
        limit = None if self._full else VALUE
        line = "  ".join(f"{_name(name, limit)}={shown(value, limit)}" for name, value in some)
        if line:
            yield from self._row("given", line)

    def _person(self, frame: "Frame") -> "Iterator[Text]":
        for step in frame.approvals:
            event = str(step.get("event"))
            if event == "requested":
                yield from self._row("asked", _asked_of(step))
                continue
            yield from self._row(_STEPS.get(event, "answer"), _answer(step, step["at"] - frame.at))
        if frame.decision is not None and frame.decision.get("grant"):
            grant = inert(frame.decision["grant"], 40)
            yield from self._row("grant", f"runs without being asked about, by {grant}")

    def _result(self, frame: "Frame") -> str:
        outcome = frame.outcome
        if outcome is None:
            decision = _asked(frame)
            starts = decision["verdict"] == "allow" or decision.get("mode", "enforce") != "enforce"
            return "none so far" if starts else ""
        if outcome["status"] == "ok":
            return self._speech(outcome, "result")
        if frame.decision is None:
            return "none in the file"
        limit = None if self._full else SPEECH
        if outcome["status"] == "unknown":
            return _unknown(outcome, limit)
        error = outcome.get("error")
        said = _ENDS[outcome["status"]]
        return f"{said}: {inert(error, limit)}" if error else said

    def _speech(self, fields: Mapping[str, Any], key: str) -> str:
        """What a model, a user or a tool said: text as it is, anything else as JSON."""
        from saferun.replay import large

        kept = large.named(fields, key)
        if kept is not None:
            where = "no longer held" if self._full else "--full shows it"
            return f"{size(kept[1])}, kept beside the ledger; {where}"
        value = fields.get(key)
        limit = None if self._full else SPEECH
        if isinstance(value, str) and key != "result":
            return inert(value, limit)
        return shown(value, limit)

    def _row(self, label: str, said: str, name: str = "") -> "Iterator[Text]":
        """A label, and what it says beside it; nothing where it says nothing."""
        from rich.text import Text

        if said:
            lead = Text(" " * self._edge).append(f"{label:{LABEL}}", "dim").append(name, "dim")
            yield from beside(self._console, lead, said)


def _figures(reason: Mapping[str, Any]) -> str:
    """How the control stood that spoke; nothing where none did."""
    from saferun.call import Measure

    try:
        return inert(msgspec.convert(reason.get("measure"), Measure).said(), SPEECH)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return ""


_STEPS = {"escalated": "asked", "edited": "changed", "refused": "refused", "granted": "grant"}
"""The labels of what happens to a request, where it is no answer."""

_SETTLES = {"approved", "rejected", "expired", "cancelled", "stale"}
"""The events after which a request takes no answer any more."""


def _asked_of(step: Mapping[str, Any]) -> str:
    """Whom a request goes to, and what it waits for where that is another's answer."""
    demands = step.get("demands", ())
    named = [
        f"{each['approvals']} of {', '.join(each.get('of', ())) or 'anybody'}"
        if each.get("approvals", 1) > 1
        else ", ".join(each.get("of", ()))
        for each in demands
    ]
    groups = "; ".join(filter(None, named)) or ", ".join(step.get("groups", ())) or "anybody"
    joins = f", with {step['joins']}" if step.get("joins") else ""
    return inert(f"{groups}{joins}", SPEECH)


def _answer(step: Mapping[str, Any], waited: int) -> str:
    """What somebody has answered, or what became of a request by itself."""
    event = str(step.get("event"))
    said = {
        "voted": "yes",
        "escalated": "further people",
        "granted": f"calls like it run by {step.get('grant')}",
        "refused": f"did not count, since {step.get('why')}",
    }.get(event, event)
    glass = ", breaking the glass" if step.get("glass") else ""
    by = f" by {step['by']}" if step.get("by") else ""
    channel = f" ({step['channel']})" if step.get("channel") else ""
    why = f": {step['reason']}" if step.get("reason") and event != "granted" else ""
    if event in ("edited", "refused"):
        # Who has done it comes first: the rest is what became of that.
        who = f"by {step['by']}" if step.get("by") else "something"
        rest = f"; {said}" if event == "refused" else ""
        return inert(f"{who} after {span(waited)}{channel}{rest}", SPEECH)
    return inert(f"{said}{by}{glass} after {span(waited)}{channel}{why}", SPEECH)


def _cost(frame: "Frame") -> str:
    """What a call cost, and which limits were held for less than that."""
    outcome = frame.outcome or {}
    if outcome.get("cost") is None:
        return ""
    over = ", ".join(inert(limit) for limit in outcome.get("over", ()))
    said = f"${outcome['cost'] / 1e6:,.6f}".rstrip("0").rstrip(".")
    return f"{said}, more than was held by {over}" if over else said


def _name(name: str, limit: int | None) -> str:
    """The name of an argument, in quotes unless it is one word: names may come from a model."""
    return inert(name, limit) if _WORD.fullmatch(name) else shown(name, limit)


_ENDS = {
    "error": "failed",
    "timeout": "timed out",
    "cancelled": "was cancelled",
    "not_started": "never started",
}


def _unknown(outcome: Mapping[str, Any], limit: int | None) -> str:
    """Why nobody knows whether a call happened."""
    if outcome.get("owner") is not None:
        # Only whoever closes the calls of a process that is gone says whose they were.
        return "unknown, since its process ended before it could say"
    said, error = "unknown, and it may still have happened", outcome.get("error")
    return f"{said}: {inert(error.removeprefix(_OVERDUE), limit)}" if error else said


_OVERDUE = "OverdueError: "
"""How the text of an outcome begins where the tool took longer than its `timeout`."""


def _stopped(fields: Mapping[str, Any]) -> str:
    """The value of a switch as a reason has it: without the space at its ends."""
    return str(fields.get("value") or "").strip()


def _asked(frame: "Frame") -> Mapping[str, Any]:
    """What a call's frame begins with: its decision, or the call that was brought in."""
    return frame.decision if frame.decision is not None else frame.said


def _mark(frame: "Frame") -> Mark:
    if frame.kind == "control":
        return DENIED if frame.said.get("event") == "stopped" else ALLOWED
    if frame.kind != "call":
        return MODEL if frame.kind == "model" else USER
    decision = frame.decision
    if decision is None:
        return IMPORTED
    if decision["verdict"] == "allow" and frame.approvals:
        return ASKED
    if decision["verdict"] == "allow" and decision.get("modified"):
        return MODIFIED
    return VERDICTS[decision["verdict"]]


def _words(frame: "Frame") -> str:
    """What was decided on a call, in the words that stand beside its icon."""
    decision = frame.decision
    if decision is None:
        return IMPORTED.word
    verdict, mode = decision["verdict"], decision.get("mode", "enforce")
    word = _mark(frame).word
    if mode == "observe":
        return f"{word}, only observed"
    if mode == "shadow":
        return f"would be {word}, in shadow"
    answers = [step for step in frame.approvals if step.get("event") in _SETTLES]
    if answers:
        by = f" by {inert(answers[-1]['by'], 40)}" if answers[-1].get("by") else ""
        return f"{word}, {answers[-1]['event']}{by}"
    if verdict == "ask":
        votes = sum(step.get("event") == "voted" for step in frame.approvals)
        return f"{word}, {votes} yes so far" if votes else f"{word}, no answer so far"
    if decision.get("grant"):
        return f"{word} by grant"
    if verdict in ("deny", "defer"):
        reasons = decision.get("reasons", ())
        return f"{word} by {inert(reasons[0]['id'])}" if reasons else word
    return word


def _spent(said: Mapping[str, Any]) -> str:
    parts = [inert(str(said["model"]), 60)] if said.get("model") else []
    for key, word in (("input_tokens", "in"), ("output_tokens", "out")):
        if said.get(key) is not None:
            parts.append(f"{said[key]:,} {word}")
    if said.get("cost_usd"):
        parts.append(f"${said['cost_usd']:,.4f}")
    return " · ".join(parts)


def _policies(story: "RunStory") -> set[tuple[str, str]]:
    """The policies that decided in a run, by name and version."""
    found = (frame.decision.get("policy") for frame in story.frames if frame.decision is not None)
    return {(policy["name"], policy["version"]) for policy in found if policy}
