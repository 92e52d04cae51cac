"""Frames: one run, read back from the ledger step by step.

A reading and not a recording: every frame is made of the entries that the ledger vouches
for, and there is no second account that could say something else. Nothing here can act.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from saferun import marks
from saferun.ledger import Entry
from saferun.store.near import near_misses

Kind: TypeAlias = Literal["model", "user", "call", "control", "changed"]


class Frame(msgspec.Struct, kw_only=True):
    """One step: a model turn, a message of the user's, or a call with all that came of it.

    Or the run was stopped, or resumed, between two of them: that is of the kind `control`. One of
    the kind `changed` stands where the entry is that a frame began with, which is no longer what
    was written: nothing is said of it.

    `seq` is the ledger entry that it begins with and `at` its time in microseconds since 1970,
    UTC. For a call, `decision` holds the decision's fields, `approvals` what became of a request
    to a person, and `outcome` how it ended; None where it has not. A call that was brought in
    from elsewhere has no decision: `said` has what was asked for. `label` is the last word of a
    person on whether it is right to stop it, with the `mark`, `by` whom, and the `reason`. `boot`
    names the life of the process that has written the entry at `seq`. `decided` is the entry of the
    decision that the call has by now, and `settled` the one with its end.
    """

    number: int
    kind: Kind
    seq: int
    at: int
    boot: str | None = None
    decided: int | None = None
    settled: int | None = None
    said: Mapping[str, Any] = {}
    decision: Mapping[str, Any] | None = None
    approvals: list[Mapping[str, Any]] = []
    outcome: Mapping[str, Any] | None = None
    label: Mapping[str, Any] | None = None


def mark(frame: Frame) -> marks.Mark:
    """A frame at a glance."""
    made = frame.decision or {}
    return marks.of(
        frame.kind,
        made.get("verdict"),
        asked=bool(frame.approvals),
        modified=bool(made.get("modified")),
        event=frame.said.get("event"),
    )


class End(NamedTuple):
    """That a process ended a run, with the error of that type where one did."""

    seq: int
    boot: str | None
    error: str | None


class RunStory(msgspec.Struct, kw_only=True):
    """One run: who and what for, its frames in order, and how it ended.

    A run that another process has gone on with has more than one of `ends`.
    """

    run_id: str
    began: int | None = None
    ended: int | None = None
    about: Mapping[str, Any] = {}
    error: str | None = None
    ends: list[End] = []
    frames: list[Frame] = []

    @property
    def denied(self) -> int:
        return sum(_verdict(frame) == "deny" for frame in self.frames)

    @property
    def asked(self) -> int:
        return sum(bool(frame.approvals) for frame in self.frames)

    @property
    def deferred(self) -> int:
        return sum(_verdict(frame) == "defer" for frame in self.frames)

    @property
    def near(self) -> int:
        """How many of its calls are near misses."""
        denied: dict[str, str] = {}
        found = 0
        for frame in self.frames:
            if frame.decision is None:
                continue
            tool = frame.decision["tool"]
            status = None if frame.outcome is None else frame.outcome.get("status")
            found += bool(near_misses(frame.decision, denied.get(tool), status=status))
            if frame.decision["verdict"] == "deny":
                denied[tool] = frame.decision.get("digest") or ""
        return found

    @property
    def failed(self) -> int:
        """How many calls ended in an error, ran out of time, or ended nobody knows how."""
        ends = (frame.outcome.get("status") for frame in self.frames if frame.outcome is not None)
        return sum(end in ("error", "timeout", "unknown") for end in ends)

    @property
    def stopped(self) -> bool:
        """Whether the run is stopped now; what it is part of may be, which is not said here."""
        turns = [frame.said.get("event") for frame in self.frames if frame.kind == "control"]
        return bool(turns) and turns[-1] == "stopped"

    @property
    def cost(self) -> int:
        """What its model turns and its calls are known to have cost, in micro-dollars."""
        turns = (frame.said.get("cost_usd") for frame in self.frames if frame.kind == "model")
        calls = (frame.outcome.get("cost") for frame in self.frames if frame.outcome is not None)
        return round(sum(cost or 0 for cost in turns) * 1e6) + sum(cost or 0 for cost in calls)

    @property
    def calls(self) -> int:
        return sum(frame.kind == "call" for frame in self.frames)


def _verdict(frame: Frame) -> str | None:
    return frame.decision["verdict"] if frame.decision is not None else None


def story(run_id: str, entries: Iterable[Entry]) -> RunStory:
    """The story of a run, from its entries in the order of the ledger."""
    told = RunStory(run_id=run_id)
    begun: dict[int, Frame] = {}
    decided: dict[int, Frame] = {}
    asked: dict[str, Frame] = {}
    for entry in entries:
        fields = entry.fields
        if entry.kind == "run":
            _bounds(told, entry)
        elif entry.kind == "model":
            _frame(told, "model", entry).said = fields
        elif entry.kind == "user":
            _frame(told, "user", entry).said = fields
        elif entry.kind == "control":
            _frame(told, "control", entry).said = fields
        elif entry.kind == "call":
            made = _frame(told, "call", entry)
            begun[entry.seq] = made
            made.said = _part(fields, "tool", "call", "args", "blobs")
            made.outcome = _part(fields, "status", "result", "cost_usd", "blobs")
        elif entry.kind == "decision":
            request = fields.get("approval")
            # The question and the decision that follows from its answer are one step.
            frame = asked.get(request) if request is not None else None
            if frame is None:
                frame = begun[entry.seq] = _frame(told, "call", entry)
            frame.decision, frame.decided = fields, entry.seq
            decided[entry.seq] = frame
            if request is not None:
                asked[request] = frame
        elif entry.kind == "approval" and fields.get("id") in asked:
            asked[fields["id"]].approvals.append({**fields, "at": entry.time})
        elif entry.kind in ("outcome", "recovery") and fields.get("of") in decided:
            ended = decided[fields["of"]]
            ended.outcome, ended.settled = fields, entry.seq
        elif entry.kind == "label" and fields.get("of") in begun:
            said = _part(fields, "mark", "by", "reason")
            begun[fields["of"]].label = None if said["mark"] == "none" else said
    return told


def _part(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields}


def _frame(told: RunStory, kind: Kind, entry: Entry) -> Frame:
    frame = Frame(
        number=len(told.frames) + 1,
        kind=kind,
        seq=entry.seq,
        at=entry.time,
        boot=entry.fields.get("boot"),
    )
    told.frames.append(frame)
    return frame


def _bounds(told: RunStory, entry: Entry) -> None:
    if entry.fields.get("event") == "start":
        told.began = entry.time
        told.about = entry.fields
    else:
        told.ended = entry.time
        told.error = entry.fields.get("error")
        told.ends.append(End(entry.seq, entry.fields.get("boot"), told.error))
