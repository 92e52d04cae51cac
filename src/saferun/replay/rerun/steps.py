"""What the code has to do again: the steps of each run, and which of them may change places. Pure.

The order of a record is that of the ledger, and says more than the code has meant: of two tools
that a model asks for at once, one is decided on first. So two steps of a run may change places

- where the times that they took overlap, by the record's own times,
- or where both are calls, or runs that begin, between the same two turns.

What a tool has done by itself, such as to call other tools or to have an agent do something, is
none of them: the tool is not called, and is answered with all of that.

All else comes after what the record has before it. Steps of two programs (`programs`) have no order
but that the one was resumed from the other. That a single thread or task does in another
order what it once did one by one, is seen all the same: see `matching`.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from saferun import ledger, redact
from saferun.call import canonical
from saferun.ledger import ERASED
from saferun.replay.frames import Frame, RunStory
from saferun.replay.rerun.programs import FIRST, Programs, programs
from saferun.replay.rerun.record import LOST, Record
from saferun.replay.unsealing import EITHER, OUT_OF_REACH

VEILS = (redact.placeholder("by policy"), OUT_OF_REACH, ERASED, ledger.LOST, EITHER)
"""The words that stand for a value which the record does not show, whatever it was."""


Kind: TypeAlias = Literal["model", "user", "call", "run"]


class Step(msgspec.Struct, kw_only=True):
    """One step of a run. `frame` is the frame's number there, and `seq` that of its entry.

    `name` is the tool of a call, or the agent of a run that begins, which is `child`. `args` are
    those that the code gave, and `key` is what they are looked up by. `began` and `ended` are in
    microseconds since 1970, UTC, and `over` is the entry with which it ended. `turn` counts the
    turns before it. Fields of `lost` are not to be had, for the reason that stands there. `veiled`
    says that some of what the code gave is not shown. `boot` is the process that has written it, of
    `program`, and `resumed` is the other one that has gone on from it. `inner` are the steps that
    its tool made.
    """

    run: str
    frame: int
    kind: Kind
    seq: int
    at: int
    began: int
    ended: int
    over: int
    turn: int
    name: str | None = None
    args: Any = None
    key: bytes = b""
    veiled: bool = False
    child: str | None = None
    said: Mapping[str, Any] = {}
    decision: Mapping[str, Any] | None = None
    outcome: Mapping[str, Any] | None = None
    approvals: list[Mapping[str, Any]] = []
    lost: Mapping[str, str] = {}
    taken: bool = False
    boot: str | None = None
    program: str = FIRST
    resumed: str | None = None
    inner: list["Step"] = []

    def all(self) -> Iterator["Step"]:
        """The step, and all that its tool has made, however deep."""
        left = [self]
        while left:
            step = left.pop()
            yield step
            left += step.inner

    @property
    def place(self) -> str:
        """The frame as the command line names it."""
        return f"{self.run}#{self.frame}"

    @property
    def decided(self) -> str:
        """What was decided on a call, in short: `refund: deny`, `refund: allow, asked`."""
        fields = self.decision
        if fields is None:
            return f"{self.name}: made elsewhere"
        words = [fields["verdict"]]
        words += ["asked"] if self.approvals else []
        words += [] if fields.get("mode", "enforce") == "enforce" else [fields["mode"]]
        return f"{self.name}: {', '.join(words)}"

    def overlaps(self, other: "Step") -> bool:
        """Whether both were under way at the same time, or nobody can say."""
        if self.program != other.program:
            return True
        return self.began < other.ended and other.began < self.ended

    def may_swap(self, other: "Step") -> bool:
        """Whether the order in which the record has the two says nothing."""
        between = self.turn == other.turn and _begins(self) and _begins(other)
        return between or self.overlaps(other)

    def document(self) -> dict[str, Any]:
        """The step for whoever compares it with what the code did."""
        if self.kind == "call":
            return {"kind": "call", "tool": self.name, "args": self.args}
        if self.kind == "run":
            return {"kind": "run", "run": self.child, "agent": self.name}
        if self.kind == "model":
            shown = {key: self.said[key] for key in _SHOWN if self.said.get(key) is not None}
            return {"kind": "model", **shown}
        return {"kind": self.kind, "text": self.said.get("text")}


_SHOWN = ("model", "asked", "messages", "output", "error")


def _begins(step: Step) -> bool:
    return step.kind in ("call", "run")


class Script(msgspec.Struct, kw_only=True):
    """The steps of one run, in the order of the record.

    `about` is what it said of itself when it began. `ends` has the programs that came to its end,
    with the type of the error where one did with one.
    """

    run: str
    parent: str | None = None
    agent: str | None = None
    about: Mapping[str, Any] = {}
    steps: list[Step] = []
    ends: Mapping[str, str | None] = {}
    began: int = 0

    @property
    def lost(self) -> Mapping[str, str]:
        """What it said of itself that is not to be had, by name."""
        found: Mapping[str, str] = self.about.get(LOST, {})
        return found


def scripts(record: Record) -> dict[str, Script]:
    """The scripts of a run and its children, by their ids."""
    by = programs(record.stories.values())
    tools = _Tools(record)
    made = {run_id: _script(told, by, tools) for run_id, told in record.stories.items()}
    tools.give()
    for script in list(made.values()):
        parent = script.parent
        if script.run != record.root and parent is not None and parent not in made:
            # Nothing happened in it but what its children did, so the ledger knows it by name.
            ends = _anyway(by, None)
            made[parent] = Script(run=parent, parent=record.root, ends=ends, began=script.began)
    for script in sorted(made.values(), key=lambda each: each.began):
        above = None if script.parent is None else made.get(script.parent)
        if above is not None and script.steps:
            _insert(above, script)
    # Of runs that are alike, the code begins the first one first.
    return {each.run: each for each in sorted(made.values(), key=_first)}


def _first(script: Script) -> tuple[int, int]:
    return (script.steps[0].seq if script.steps else sys.maxsize, script.began)


class _Tools:
    """The calls of a record that other steps were made within, by what those name them by."""

    def __init__(self, record: Record) -> None:
        frames = [each for told in record.stories.values() for each in told.frames]
        self._started = {each.decided: each for each in frames if each.decided is not None}
        self._steps: dict[int, Step] = {}
        self._inner: list[tuple[int, Step]] = []

    def within(self, frame: Frame) -> int | None:
        """The frame of the call within which another one was made, by its entry."""
        fields = frame.decision if frame.decision is not None else frame.said
        call = self._started.get(fields.get("within", -1))
        # What comes first is within nothing that comes after it, whatever a file says.
        return None if call is None or call.seq >= frame.seq else call.seq

    def take(self, step: Step, within: int | None) -> None:
        self._steps[step.seq] = step
        if within is not None:
            self._inner.append((within, step))

    def give(self) -> None:
        """Have each call know what was made within it."""
        for within, step in self._inner:
            self._steps[within].inner.append(step)


def _anyway(by: Programs, error: str | None) -> dict[str, str | None]:
    """The ends of a run of which the record does not say that it ended, and it has."""
    return dict.fromkeys((FIRST, *by.resumes.values()), error)


def _script(told: RunStory, by: Programs, tools: _Tools) -> Script:
    unsaid = not told.about or told.about.get("imported")
    ended = {by.of(each.boot): each.error for each in told.ends}
    script = Script(
        run=told.run_id,
        parent=told.about.get("parent"),
        agent=told.about.get("agent"),
        about=told.about,
        steps=[],
        ends=_anyway(by, told.error) if unsaid else ended,
        began=told.began or 0,
    )
    turn = 0
    for frame in told.frames:
        if frame.kind == "control":
            continue
        step = _step(script.run, frame, turn)
        step.boot, step.program = frame.boot, by.of(frame.boot)
        resumed = by.resumes.get((step.decision or {}).get("approval") or "")
        step.resumed = None if resumed == step.program else resumed
        within = tools.within(frame)
        tools.take(step, within)
        if within is not None:
            continue
        if step.kind in ("model", "user"):
            turn += 1
            step.turn = turn
            turn += 1
        script.steps.append(step)
    return script


def _step(run: str, frame: Frame, turn: int) -> Step:
    lost = _lost(frame)
    common: dict[str, Any] = {
        "run": run,
        "frame": frame.number,
        "seq": frame.seq,
        "over": frame.seq if frame.settled is None else frame.settled,
        "at": frame.at,
        "turn": turn,
    }
    if frame.kind == "model":
        took = frame.said.get("latency") or 0
        return Step(
            **common,
            kind="model",
            began=frame.at - took,
            ended=frame.at,
            said=frame.said,
            lost=lost,
        )
    if frame.kind == "user":
        key = canonical.encode(frame.said.get("text"))
        return Step(
            **common,
            kind="user",
            began=frame.at,
            ended=frame.at,
            said=frame.said,
            key=key,
            lost=lost,
        )
    fields = frame.decision if frame.decision is not None else frame.said
    name = "given" if fields.get("given") is not None else "args"
    args = fields.get(name)
    key = canonical.encode(args)
    took = (frame.outcome or {}).get("latency") or 0
    decided = max([frame.at, *(each["at"] for each in frame.approvals)])
    return Step(
        **common,
        kind="call",
        began=frame.at,
        ended=decided + took,
        name=fields["tool"],
        args=args,
        key=key,
        veiled=name in lost or any(each.encode() in key for each in VEILS),
        said=frame.said,
        decision=frame.decision,
        outcome=frame.outcome,
        approvals=frame.approvals,
        lost=lost,
    )


def _lost(frame: Frame) -> dict[str, str]:
    parts = (frame.said, frame.decision, frame.outcome)
    return {name: why for part in parts if part for name, why in part.get(LOST, {}).items()}


def _insert(above: Script, script: Script) -> None:
    """Have a run know that another begins within it."""
    first, last = script.steps[0], script.steps[-1]
    place = next(
        (at for at, step in enumerate(above.steps) if step.seq > first.seq), len(above.steps)
    )
    before = above.steps[place - 1] if place else None
    turn = 0
    if before is not None:
        turn = before.turn + (before.kind in ("model", "user"))
    above.steps.insert(
        place,
        Step(
            run=script.run,
            frame=first.frame,
            kind="run",
            seq=first.seq,
            at=first.at,
            began=first.began,
            ended=max(last.ended, first.ended),
            over=max(last.over, first.over),
            turn=turn,
            name=script.agent,
            child=script.run,
            boot=first.boot,
            program=first.program,
        ),
    )
