"""One frame of a run as a page shows it: from what the model said to what the ledger says of it.

Everything in here has been made inert, and cut where it is long; what was cut is a link away, in
slices. A template writes it down and decides nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from saferun.approval import inert
from saferun.call import at, span
from saferun.control.amount import dollars
from saferun.replay import Closeup, Frame

Mark = tuple[str, str, str]

MARKS: Mapping[str, Mark] = {
    "allow": ("allow", "✓", "allowed"),
    "modified": ("mod", "~", "modified"),
    "ask": ("ask", "?", "asked"),
    "deny": ("deny", "✕", "denied"),
    "defer": ("ask", "?", "deferred"),
    "model": ("model", "◇", "model"),
    "user": ("model", "○", "user"),
    "control": ("deny", "■", "control"),
    "imported": ("model", "↓", "imported"),
    "changed": ("deny", "!", "changed"),
}
"""For each kind of frame its colour, its icon and its word: colour never stands alone."""

STANDINGS: Mapping[str, Mark] = {
    "signed": ("allow", "✓", "vouched for by a signed checkpoint"),
    "unsigned": ("model", "·", "in the ledger's tree, not signed yet"),
    "archived": ("ask", "?", "in an archive that is not at hand"),
    "doubtful": ("deny", "!", "does not lead to the ledger's root"),
    "changed": ("deny", "!", "changed since it was written"),
}

NEAR: Mapping[str, str] = {
    "approved": "a person was asked, and said yes",
    "shadow": "something that is only tried out would have denied it",
    "limit": "a limit was all but used up",
    "retried": "the same tool had just been denied, with other arguments",
}

SPEECH = 4_000
"""Characters of what was said or came back; the rest is a link away."""

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
    outcome: Mark | None
    result: Said | None
    error: str
    cost: str
    values: tuple[Large, ...]
    runs: tuple[str, ...]
    near: tuple[str, ...]
    standing: Mark
    vouched: tuple[tuple[Mark, str], ...]


def view(close: Closeup, total: int, before: Frame | None = None) -> View:
    """A frame, of `total`; `before` is the model's turn that led to it, where there is one."""
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
        outcome=_came(frame),
        result=None if "result" not in outcome else _said(outcome["result"]),
        error=inert(_text(outcome.get("error") or ""), 1_000),
        cost=_cost(close),
        values=tuple(
            Large(each.field, each.bytes, each.sha256, each.held) for each in close.values
        ),
        runs=close.runs[:MANY],
        near=tuple(NEAR[each] for each in close.near),
        standing=STANDINGS[close.standing],
        vouched=tuple((STANDINGS[each.standing], inert(each.says, 200)) for each in close.vouched),
    )


def mark(frame: Frame) -> Mark:
    """A frame at a glance."""
    if frame.kind != "call":
        return MARKS[frame.kind]
    if frame.decision is None:
        return MARKS["imported"]
    verdict = frame.decision["verdict"]
    return MARKS["modified" if verdict == "allow" and frame.decision.get("modified") else verdict]


def line(frame: Frame) -> tuple[str, str, str]:
    """A frame in one line of a list: what, its words, and what came of it where that matters."""
    said = frame.said
    if frame.kind == "model":
        words = said.get("output")
        return (
            "Model",
            f"“{_short(words)}”" if words not in (None, "", []) else "asked for tools",
            "",
        )
    if frame.kind == "user":
        return "User", f"“{_short(said.get('text'))}”", ""
    if frame.kind == "control":
        by = f" by {inert(str(said['by']), 60)}" if said.get("by") else ""
        return inert(str(said.get("event")), 40), by, ""
    if frame.kind == "changed":
        return "Changed", "what was written here is no longer what it was", ""
    made = frame.decision or {}
    about = made or said
    brief = ", ".join(
        f"{inert(name, 30)} {inert(_text(value), 60)}"
        for name, value in list(_mapping(about.get("args")).items())[:4]
    )
    reasons = made.get("reasons") or ()
    if made.get("verdict") in ("deny", "defer") and reasons:
        brief = f"{inert(str(reasons[0].get('id')), 60)} · {brief}"
    answered = [each for each in frame.approvals if each.get("event") in ("approved", "rejected")]
    if answered and answered[-1].get("by"):
        brief = f"{answered[-1]['event']} by {inert(str(answered[-1]['by']), 40)} · {brief}"
    return inert(str(about.get("tool") or ""), 60), brief[:LINE], ""


def _title(frame: Frame) -> str:
    if frame.kind == "call":
        return inert(str((frame.decision or frame.said).get("tool") or "a call"), 80)
    named = {"model": "Model", "user": "User", "control": "Control", "changed": "Changed"}
    return named[frame.kind]


def _said(value: Any) -> Said:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    shown = text[:SPEECH]
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
    for name, label in (("messages", "Given"), ("plan", "Plan"), ("context", "Context")):
        if said.get(name) not in (None, "", [], {}):
            yield label, inert(_text(said[name]), 2_000)
    if said.get("error"):
        yield "Error", inert(_text(said["error"]), 400)


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
            before = "not there" if missing else _text(change.before)
            if top not in args:
                gone.append(f"{inert(top, 60)} {inert(before, 120)}")
            elif top not in was:
                was[top] = inert(f"{path}: {before}" if path else before, VALUE)
    found = []
    for name, value in list(args.items())[:MANY]:
        text = _text(value)
        found.append(
            Arg(inert(name, 80), inert(text[:VALUE]), was.get(name), max(len(text) - VALUE, 0))
        )
    number = close.since.number if close.since is not None and (was or gone) else None
    return tuple(found), number, tuple(gone[:MANY])


def _verdict(made: Mapping[str, Any]) -> str:
    if not made:
        return ""
    word = MARKS[made["verdict"]][2]
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
            mark=MARKS.get(str(reason.get("effect")), MARKS["deny"]),
            id=inert(str(reason.get("id")), 120),
            message=inert(str(reason.get("message") or ""), 1_000),
            line=reason.get("line"),
            measure=_measured(measure),
            clauses=tuple(
                (
                    ("model", "✓", "holds") if each.holds else ("model", "✕", "does not hold"),
                    inert(each.text, 300),
                    inert(_text(each.value), 200),
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


def _came(frame: Frame) -> Mark | None:
    status = (frame.outcome or {}).get("status")
    if status is None:
        return None
    tone = {"ok": "allow", "not_started": "model"}.get(status, "deny")
    icon = {"ok": "✓", "not_started": "·", "unknown": "?"}.get(status, "✕")
    return tone, icon, inert(str(status).replace("_", " "), 40)


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


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    return inert(value if isinstance(value, str) else _text(value), LINE)
