"""One run on paper: its head, and frame by frame what was said, decided and done."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from saferun.approval.inert import inert
from saferun.call import size, span
from saferun.cli.run.short import Short, child, in_short
from saferun.cli.run.told import Told, stop_of, warn
from saferun.cli.screen import (
    ASKED,
    CHANGED,
    DEFERRED,
    DENIED,
    IMPORTED,
    WITHIN,
    Mark,
    beside,
    counted,
    moment,
    put,
    shown,
    styled,
)
from saferun.control.amount import dollars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.replay import Frame, RunStory

VALUE = 120
"""Characters of one argument that are shown without `--full`."""

SPEECH = 600
"""Characters of what a model, a user or a tool said that are shown without `--full`."""

ARGUMENTS = 40
"""Arguments of one call that are shown without `--full`."""

CHILDREN = 12
"""Runs that began at a frame which are told of there."""

NAME = 24
"""Columns for the names of arguments that stand one below the other."""

LABEL = 9
"""Columns of the labels below the head of a frame."""

_WORD = re.compile(r"[\w.*-]+", re.ASCII)


class Page:
    """One run on paper: each frame has a head, and below it labels in one column.

    Lines are broken here and not by a table: a run may have ten thousand frames.
    """

    def __init__(self, console: "Console", told: Told, *, full: bool) -> None:
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
        # Of a run that has done nothing itself.
        if alone := list(self.children(0)):
            put(self._console, alone)
        for frame in self._told.story.frames:
            put(self._console, chain(self.frame(frame), self.children(frame.number)))
        warn(self._console, self._told.unreadable)

    def _print_head(self) -> None:
        from rich.text import Text

        story, about = self._told.story, self._told.story.about
        if about.get("prompt") is not None:
            self._say(Text(self._speech(about, "prompt"), "bold"))
        short = in_short(self._told)
        parts = [short.who, f"run {inert(short.run_id)}", moment(short.began), short.took]
        if about.get("parent"):
            parts.append(f"child of {inert(about['parent'])}")
        self._say(Text(" · ".join(filter(None, parts))))
        if short.frames is not None:
            self._say_counts(short, short.frames)
        if short.within is not None:
            self._say_within(short)
        if story.error is not None:
            self._say(Text(f"ended by {inert(story.error, 80)}"))

    def _say_counts(self, short: Short, frames: int) -> None:
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

    def _say_within(self, short: Short) -> None:
        from rich.text import Text

        within = short.within
        assert within is not None
        parts = [Text(f"{WITHIN.icon} {counted(within.runs, 'run')} within", WITHIN.style)]
        if short.frames is not None:
            both = counted(short.frames + within.frames, "frame")
            parts.append(Text(f"with {'it' if within.runs == 1 else 'them'} {both}"))
            cost = (short.cost or 0) + within.cost
            parts += [Text(dollars(cost))] if cost else []
        for many, mark in ((within.denied, DENIED), (within.asked, ASKED)):
            if many:
                parts.append(Text(f"{mark.icon} {many:,} {mark.word} within", mark.style))
        self._say(Text(" · ").join(parts))

    def _say(self, said: "Text") -> None:
        from rich.text import Text

        put(self._console, beside(self._console, Text(), said))

    def frame(self, frame: "Frame") -> "Iterator[Text]":
        """The lines of one frame."""
        from rich.text import Text

        yield Text()
        if frame.kind == "call":
            yield self._head(frame, inert(_asked(frame)["tool"], 60), _words(frame))
            yield from self._call(frame)
        elif frame.kind == "changed":
            yield self._head(frame, "entry", CHANGED.word)
            yield from self.row("", "What was written here is not what stands here now.")
        elif frame.kind == "control":
            by = inert(str(frame.said.get("by")), 80)
            yield self._head(frame, "the run", f"{inert(str(frame.said.get('event')))} by {by}")
            yield from self.row("because", inert(str(frame.said.get("reason") or ""), SPEECH))
        else:
            yield self._head(frame, frame.kind, _spent(frame.said))
            key = "output" if frame.kind == "model" else "text"
            if key in frame.said or "error" not in frame.said:
                yield from self.row("said", self._speech(frame.said, key))
            yield from self.row("error", inert(str(frame.said.get("error") or ""), SPEECH))

    def children(self, number: int) -> "Iterator[Text]":
        """The runs that began at a frame, each in a line; of many, some."""
        branches = self._told.branches
        begun = 0 if branches is None else branches.many(number)
        if branches is None or not begun:
            return
        some = list(branches.begun(number, CHILDREN))
        label = "child"
        for each in some:
            yield from self.row(label, child(each))
            label = ""
        if begun > len(some):
            left = counted(begun - len(some), "more run", "more runs")
            run_id = inert(self._told.story.run_id, 80)
            yield from self.row(label, f"… {left}; saferun run list --within {run_id}")

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
            yield from self.row("unread", f"{inert(name, 40)}, a {inert(str(kind), 80)}")
        label, head = "because", _words(frame)
        for reason in decision.get("reasons", ()):
            named = inert(reason["id"])
            # What the head has just named is not named again below it.
            which = (
                "" if head.endswith(f"{_mark(frame).word} by {named}") and label else f"{named}: "
            )
            line = f" (line {reason['line']})" if reason.get("line") else ""
            yield from self.row(label, which + inert(reason["message"], SPEECH) + line)
            yield from self.row("", self._figures(reason, frame.seq))
            label = ""
        for reason in decision.get("shadow", ()):
            said = f"{inert(reason['id'])} would {reason['effect']}: {inert(reason['message'])}"
            yield from self.row("shadow", said)
            yield from self.row("", self._figures(reason, frame.seq))
        if decision.get("nudge"):
            yield from self.row("nudge", inert(str(decision["nudge"]), SPEECH))
        if decision.get("repeats"):
            again = counted(decision["repeats"], "time")
            yield from self.row(
                "again", f"refused {again} more before this, with no entry of its own"
            )
        yield from self._person(frame)
        yield from self.row("result", self._result(frame))
        yield from self.row("cost", _cost(frame))

    def _figures(self, reason: Mapping[str, Any], seq: int) -> str:
        """How the control stood that spoke, and by whom a switch was turned that did."""
        figures, stop = _figures(reason), stop_of(reason)
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
            yield from self.row("args", self._speech(decision, "args"))
            return
        limit = None if self._full else VALUE
        some = list(args.items())[: None if self._full else ARGUMENTS]
        pairs = [(_name(name, limit), shown(value, limit)) for name, value in some]
        line = "  ".join(f"{name}={value}" for name, value in pairs)
        if len(line) <= self._console.width - self._edge - LABEL and len(some) == len(args):
            yield from self.row("args", line or "none")
            return
        column = min(max(cell_len(name) for name, _ in pairs), NAME)
        label = "args"
        for name, value in pairs:
            short = name if cell_len(name) <= column else ""
            if not short:
                # A long name has a line to itself, so that values still stand in one column.
                yield from self.row(label, name)
                label = ""
            yield from self.row(label, value, f"{set_cell_size(short, column)}  ")
            label = ""
        if len(args) > len(some):
            yield from self.row("", f"… {counted(len(args) - len(some), 'more argument')}")

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
            yield from self.row("given", line)

    def _person(self, frame: "Frame") -> "Iterator[Text]":
        for step in frame.approvals:
            event = str(step.get("event"))
            if event == "requested":
                yield from self.row("asked", _asked_of(step))
                continue
            yield from self.row(_STEPS.get(event, "answer"), _answer(step, step["at"] - frame.at))
        if frame.decision is not None and frame.decision.get("grant"):
            grant = inert(frame.decision["grant"], 40)
            yield from self.row("grant", f"runs without being asked about, by {grant}")

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
        if "error" in outcome.get("unkept", {}):
            return f"{said}: {self._speech(outcome, 'error')}"
        return f"{said}: {inert(error, limit)}" if error else said

    def _speech(self, fields: Mapping[str, Any], key: str) -> str:
        """What a model, a user or a tool said: text as it is, anything else as JSON."""
        from saferun.replay import large

        if key in fields.get("unkept", {}):
            length = fields["unkept"][key].get("bytes")
            return "not kept" if length is None else f"{size(length)}, not kept"
        kept = large.named(fields, key)
        if kept is not None:
            where = "no longer held" if self._full else "--full shows it"
            return f"{size(kept[1])}, kept beside the ledger; {where}"
        value = fields.get(key)
        if key == "output" and value is None:
            return "nothing, and asked for tools"
        limit = None if self._full else SPEECH
        if isinstance(value, str) and key != "result":
            return inert(value, limit)
        return shown(value, limit)

    def row(self, label: str, said: str, name: str = "") -> "Iterator[Text]":
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
    from saferun.replay import mark

    return styled(mark(frame))


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
