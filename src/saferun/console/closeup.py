"""One frame of a run as a page shows it: from what the model said to what the ledger says of it.

Everything in here has been made inert, and cut where it is long; what was cut is a link away, in
slices. A template writes it down and decides nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from saferun import marks
from saferun.approval import inert
from saferun.call import at, span
from saferun.console.listed import Listed, listed
from saferun.control.amount import dollars
from saferun.marks import Mark
from saferun.replay import Closeup, Frame, mark
from saferun.replay.given import Given, spoken

SPEECH = 4_000
"""Characters of what was said or came back; the rest is a link away."""

EARLIER = 1_000
"""Characters of a message that an earlier turn had already; that turn shows more of it."""

VALUE = 400
"""Characters of one argument."""

MANY = 60
"""Arguments, conditions and changes that stand on the page."""

LINE = 160
"""Characters in one line of a list."""


class Arg(NamedTuple):
    """An argument; where it is another than last time, `before` has what it was then."""

    name: str
    value: str
    before: str | None = None
    left: int = 0


class Said(NamedTuple):
    """Some words, and how many characters of them are left out."""

    text: str
    left: int = 0


class Message(NamedTuple):
    """One message that a model was given: by whom, and its words."""

    by: str
    said: Said


class Told(NamedTuple):
    """What a model was given: what earlier turns had already, and what is new.

    `lost` messages before them cannot be shown, and `cut` of those that could are left out.
    """

    earlier: tuple[Message, ...]
    new: tuple[Message, ...]
    lost: int
    cut: int


class Spoke(NamedTuple):
    """A rule, limit or control that spoke, with its conditions and the values that they saw."""

    mark: Mark
    id: str
    message: str
    line: int | None
    measure: str
    clauses: tuple[tuple[Mark, str, str], ...]


class Large(NamedTuple):
    """A value that lies beside the ledger."""

    field: str
    bytes: int
    sha256: str
    held: bool


class View(NamedTuple):
    """One frame, ready to be written down."""

    number: int
    total: int
    mark: Mark
    title: str
    at: str
    seq: int
    call: str
    words: Said | None
    by_model: bool
    told: Said | None
    given: Told | None
    facts: tuple[tuple[str, str], ...]
    args: tuple[Arg, ...]
    more_args: int
    since: int | None
    gone: tuple[str, ...]
    verdict: str
    policy: str
    spoke: tuple[Spoke, ...]
    tried: tuple[Spoke, ...]
    approvals: tuple[str, ...]
    nudge: str
    starts: bool
    outcome: Mark | None
    result: Said | None
    error: str
    cost: str
    values: tuple[Large, ...]
    children: tuple[Listed, ...]
    begun: int
    near: tuple[str, ...]
    standing: Mark
    doubted: bool
    vouched: tuple[tuple[Mark, str], ...]


def view(
    close: Closeup, total: int, before: Frame | None = None, given: Given | None = None
) -> View:
    """A frame, of `total`, with the messages that its model was `given`.

    `before` is the model's turn that led to it, where there is one.
    """
    frame = close.frame
    made = frame.decision or {}
    about = made or frame.said
    outcome = frame.outcome or {}
    args, since, gone = _args(close, about)
    own = frame.said.get("output" if frame.kind == "model" else "text")
    words = (
        own if frame.kind in ("model", "user") else (before.said.get("output") if before else None)
    )
    return View(
        number=frame.number,
        total=total,
        mark=mark(frame),
        title=_title(frame),
        at=at(frame.at),
        seq=frame.seq,
        call=inert(str(about.get("call") or ""), 80),
        words=None if words in (None, "", []) else _said(words),
        by_model=frame.kind == "call",
        told=_control(frame),
        given=None if given is None else _given(given),
        facts=tuple(_facts(frame)),
        args=args,
        more_args=max(len(_mapping(about.get("args"))) - len(args), 0),
        since=since,
        gone=gone,
        verdict=_verdict(made),
        policy=_policy(made),
        spoke=tuple(_spoke(close, made.get("reasons", ()))),
        tried=tuple(_spoke(close, made.get("shadow", ()))),
        approvals=tuple(_approvals(frame)),
        nudge=inert(str(made.get("nudge") or ""), 600),
        starts=not made or made["verdict"] == "allow" or made.get("mode", "enforce") != "enforce",
        outcome=_ended(frame),
        result=None if "result" not in outcome else _said(outcome["result"]),
        error=inert(as_json(outcome["error"]), 1_000) if outcome.get("error") else "",
        cost=_cost(close),
        values=tuple(
            Large(each.field, each.bytes, each.sha256, each.held) for each in close.values
        ),
        children=tuple(listed(each.run, each.within) for each in close.children),
        begun=close.begun,
        near=tuple(marks.NEAR[each] for each in close.near),
        standing=marks.of_standing(close.standing),
        doubted=any(each.standing in ("changed", "doubtful") for each in close.vouched),
        vouched=tuple(
            (marks.of_standing(each.standing), inert(each.says, 200)) for each in close.vouched
        ),
    )


class Line(NamedTuple):
    """A frame in one line of a list: what it is, and its words."""

    what: str
    said: str


def line(frame: Frame) -> Line:
    """A frame in one line."""
    said = frame.said
    if frame.kind == "model":
        words = said.get("output")
        spoken = f"“{_short(words)}”" if words not in (None, "", []) else "asked for tools"
        return Line("Model", spoken)
    if frame.kind == "user":
        return Line("User", f"“{_short(said.get('text'))}”")
    if frame.kind == "control":
        by = f"by {inert(str(said['by']), 60)}" if said.get("by") else ""
        return Line(inert(str(said.get("event")), 40), by)
    if frame.kind == "changed":
        return Line("Changed", "what was written here is no longer what it was")
    made = frame.decision or {}
    about = made or said
    args = about.get("args")
    brief = (
        ", ".join(
            f"{inert(name, 30)} {inert(as_json(value), 60)}"
            for name, value in list(args.items())[:4]
        )
        if isinstance(args, Mapping)
        else _short(args)
    )
    reasons = made.get("reasons") or ()
    if made.get("verdict") in ("deny", "defer") and reasons:
        brief = _joined(inert(str(reasons[0].get("id")), 60), brief)
    answered = [each for each in frame.approvals if each.get("event") in ("approved", "rejected")]
    if answered and answered[-1].get("by"):
        brief = _joined(f"{answered[-1]['event']} by {inert(str(answered[-1]['by']), 40)}", brief)
    return Line(inert(str(about.get("tool") or ""), 60), brief[:LINE])


def _joined(*some: str) -> str:
    return " · ".join(each for each in some if each)


def came(frame: Frame) -> str:
    """What came of a call, in a few words; nothing where nothing has."""
    outcome = frame.outcome or {}
    if frame.kind != "call" or not outcome:
        return ""
    status = marks.of_status(inert(str(outcome.get("status")), 40)).word
    result = outcome.get("result")
    return status if result is None else f"{status}: {_short(result)}"


def _title(frame: Frame) -> str:
    if frame.kind == "call":
        return inert(str((frame.decision or frame.said).get("tool") or "a call"), 80)
    named = {"model": "Model", "user": "User", "control": "Control", "changed": "Changed"}
    return named[frame.kind]


def _given(given: Given) -> Told:
    at = len(given.messages) - given.new
    earlier, new = given.messages[:at], given.messages[at:]
    return Told(
        earlier=tuple(_message(each, EARLIER) for each in earlier[-MANY:]),
        new=tuple(_message(each, SPEECH) for each in new[-MANY:]),
        lost=given.lost,
        cut=max(len(earlier) - MANY, 0) + max(len(new) - MANY, 0),
    )


def _message(value: Any, most: int) -> Message:
    by, words = spoken(value)
    return Message(inert(by, 40), _said(words, most))


def _said(value: Any, most: int = SPEECH) -> Said:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    shown = text[:most]
    # Line by line: what is inert is one line, and words have several.
    return Said("\n".join(inert(each) for each in shown.split("\n")), len(text) - len(shown))


def _control(frame: Frame) -> Said | None:
    if frame.kind != "control":
        return None
    said = frame.said
    where = f"{said.get('scope')} {said.get('value') or ''}".strip()
    why = f": {said['reason']}" if said.get("reason") else ""
    return Said(
        inert(f"{where} {said.get('event')} by {said.get('by') or 'nobody named'}{why}", 2_000)
    )


def _facts(frame: Frame) -> Iterator[tuple[str, str]]:
    if frame.kind != "model":
        return
    said = frame.said
    if said.get("model"):
        yield "Model", inert(str(said["model"]), 120)
    for name, label in (("plan", "Plan"), ("context", "Context")):
        if said.get(name) not in (None, "", [], {}):
            yield label, inert(as_json(said[name]), 2_000)
    if said.get("error"):
        yield "Error", inert(as_json(said["error"]), 400)


def _args(
    close: Closeup, about: Mapping[str, Any]
) -> tuple[tuple[Arg, ...], int | None, tuple[str, ...]]:
    """The arguments, the frame that they are held against, and what that had and this has not."""
    args = _mapping(about.get("args"))
    was: dict[str, str] = {}
    gone: list[str] = []
    if close.since is not None:
        for change in close.since.changes.changes[: 10 * MANY]:
            if not change.path:
                continue
            top = str(change.path[0])
            path = ".".join(str(each) for each in change.path[1:])
            missing = change.before.__class__.__name__ == "UnsetType"
            before = "not there" if missing else as_json(change.before)
            if top not in args:
                gone.append(f"{inert(top, 60)} {inert(before, 120)}")
            elif top not in was:
                was[top] = inert(f"{path}: {before}" if path else before, VALUE)
    found = []
    for name, value in list(args.items())[:MANY]:
        text = as_json(value)
        found.append(
            Arg(inert(name, 80), inert(text[:VALUE]), was.get(name), max(len(text) - VALUE, 0))
        )
    number = close.since.number if close.since is not None and (was or gone) else None
    return tuple(found), number, tuple(gone[:MANY])


def _verdict(made: Mapping[str, Any]) -> str:
    if not made:
        return ""
    word = marks.VERDICTS[made["verdict"]].word
    if made.get("mode", "enforce") != "enforce":
        return f"would have been {word}; it was let start in {inert(str(made['mode']), 20)}"
    return f"{word}, as changed by policy" if made.get("modified") else word


def _policy(made: Mapping[str, Any]) -> str:
    policy = made.get("policy")
    if not isinstance(policy, Mapping):
        return ""
    return f"{inert(str(policy.get('name')), 80)} @ {inert(str(policy.get('version'))[:12])}"


def _spoke(close: Closeup, reasons: Any) -> Iterator[Spoke]:
    for reason in list(reasons)[:MANY]:
        measure = reason.get("measure") or {}
        clauses = close.grounds.get(reason.get("id"), ())
        yield Spoke(
            mark=marks.VERDICTS.get(str(reason.get("effect")), marks.DENIED),
            id=inert(str(reason.get("id")), 120),
            message=inert(str(reason.get("message") or ""), 1_000),
            line=reason.get("line"),
            measure=_measured(measure),
            clauses=tuple(
                (
                    Mark("model", "✓", "holds")
                    if each.holds
                    else Mark("model", "✕", "does not hold"),
                    inert(each.text, 300),
                    inert(as_json(each.value), 200),
                )
                for each in clauses[:MANY]
            ),
        )


def _measured(measure: Mapping[str, Any]) -> str:
    if not measure or measure.get("used") is None:
        return ""
    most = f" of {measure['max']}" if measure.get("max") is not None else ""
    wants = f", wants {measure['wants']}" if measure.get("wants") is not None else ""
    return inert(f"{measure.get('scope') or ''} {measure['used']}{most}{wants}".strip(), 300)


def _approvals(frame: Frame) -> Iterator[str]:
    for each in frame.approvals[:MANY]:
        by = f" by {each['by']}" if each.get("by") else ""
        channel = f" ({each['channel']})" if each.get("channel") else ""
        why = each.get("reason") or each.get("why")
        words = f": “{why}”" if why else ""
        glass = ", who broke the glass" if each.get("glass") else ""
        yield inert(f"{at(each['at'])} {each.get('event')}{by}{glass}{channel}{words}", 2_000)


def _ended(frame: Frame) -> Mark | None:
    status = (frame.outcome or {}).get("status")
    if status is None:
        return None
    return marks.of_status(inert(str(status), 40))


def _cost(close: Closeup) -> str:
    said = close.frame.said
    parts = []
    if close.latency:
        parts.append(span(close.latency))
    if close.cost is not None:
        parts.append(dollars(close.cost))
    counts = [(said.get("input_tokens"), "in"), (said.get("output_tokens"), "out")]
    parts += [f"{count:,} tokens {way}" for count, way in counts if isinstance(count, int)]
    return " · ".join(parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def as_json(value: Any) -> str:
    """A value as people read it here, which is not yet inert."""
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return inert(value if isinstance(value, str) else as_json(value), LINE)
