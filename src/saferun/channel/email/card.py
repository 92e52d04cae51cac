"""What a letter or a page says of a request: its text, inert, and cut to what fits.

Pure. All of it is text that a model may have written, made safe to look at here and escaped
for its medium by whoever draws it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from saferun.approval import Request, inert, kind, others, spelled
from saferun.call import Demand, Effect

_NAME = 80
_LINE = 400
_SAID = 2_000
"""Characters of what the run says of itself, such as its plan."""

_ROWS = 200
"""Arguments that are shown, at most."""


class Room(NamedTuple):
    """How much fits: characters of one argument, and of all of them."""

    each: int
    all: int


LETTER = Room(2_000, 10_000)
PAGE = Room(200_000, 200_000)


class Row(NamedTuple):
    """A name and its value. `left` are the characters that did not fit."""

    name: str
    text: str
    left: int = 0


class Card(NamedTuple):
    """A request, ready to be drawn.

    `whole` says that every argument is shown as it is, in full: only then may it be approved.
    `more` counts the arguments that are not shown at all. `said` is the run's own account.
    """

    title: str
    facts: tuple[Row, ...]
    args: tuple[Row, ...]
    more: int
    reasons: tuple[str, ...]
    needs: tuple[str, ...]
    votes: tuple[str, ...]
    said: tuple[Row, ...]
    whole: bool


def card(request: Request, room: Room) -> Card:
    """What is to be seen of a request, in that much room."""
    question = request.question
    run = question.run
    agent = inert(run.agent, _NAME) if run is not None and run.agent else "An agent"
    # What people look for comes first.
    facts = [Row("what it does", _EFFECTS[question.effect])]
    if run is not None and run.user_id:
        facts.append(Row("on behalf of", inert(run.user_id, 200)))
    if request.open:
        facts.append(Row("answer until", moment(request.deadline)))
    said: list[Row] = []
    if run is not None:
        about = (("agent", run.agent), ("tenant", run.tenant), ("run", run.run_id))
        facts += [Row(name, inert(text, 200)) for name, text in about if text]
        told = (
            ("prompt", run.prompt),
            ("plan", _steps(run.plan)),
            ("context", run.context or None),
        )
        said = [row(name, value, _SAID) for name, value in told if value is not None]
    if request.revision:
        facts.append(Row("edited", f"{_times(request.revision)}; this is how it stands now"))
    also = others(request)
    if also is not None:
        facts.append(Row("also", also))
    args, more = _args(question.args, room)
    return Card(
        title=f"{agent} wants to run {inert(question.tool, _NAME)}",
        facts=tuple(facts),
        args=args,
        more=more,
        reasons=tuple(_reasons(request)),
        needs=tuple(needed(each) for each in question.demands),
        votes=tuple(
            f"{inert(vote.by, _NAME)} said {'yes' if vote.approved else 'no'}"
            for vote in request.votes
        ),
        said=tuple(said),
        whole=request.whole and not more and not any(each.left for each in args),
    )


def row(name: str, value: Any, limit: int) -> Row:
    """A value of any kind as text, each of its lines inert."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    left = max(0, len(text) - limit)
    lines = text[:limit].split("\n")
    return Row(inert(name, _NAME), "⏎\n".join(map(inert, lines)), left)


def moment(at: int) -> str:
    """A time in microseconds since 1970 as people read it; those of mails live anywhere."""
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def needed(demand: Demand) -> str:
    """Whose yes one rule wants: `2 of finance, lead (rule big)`."""
    whom = inert(", ".join(demand.of), 200) or "anybody who is known"
    many = f"{demand.approvals} of {whom}" if demand.approvals > 1 else whom
    return f"{many} (rule {inert(demand.rule, _NAME)})"


def ended(request: Request) -> str:
    """How a request has ended, as a sentence."""
    by = f" by {inert(request.by, _NAME)}" if request.by else ""
    why = f": {inert(request.reason, _LINE)}" if request.reason else ""
    if request.state == "expired" and by:
        return f"It was approved{by}{why}, and not started in time. It does not run."
    return {
        "rejected": f"It was rejected{by}{why}. It does not run.",
        "expired": "Nobody approved it in time. It does not run.",
        "cancelled": "It was withdrawn. It does not run.",
        "stale": "It has changed since it was approved, and does not run.",
        "pending": "It waits for an answer.",
    }.get(request.state, f"It was approved{by}{why}.")


def _times(many: int) -> str:
    return "once" if many == 1 else f"{many} times"


def _steps(plan: Any) -> Any:
    """A plan that is a list of steps as lines, and any other as it is."""
    if isinstance(plan, list) and plan and all(isinstance(each, str) for each in plan):
        return "\n".join(f"{at}. {each}" for at, each in enumerate(plan, 1))
    return plan


def _reasons(request: Request) -> list[str]:
    lines = []
    for reason in request.question.reasons:
        lines.append(inert(f"{reason.message} ({reason.id})", _LINE))
        if reason.measure is not None:
            # Whoever lets a call go beyond a limit has to know how far.
            lines.append(inert(reason.measure.said(), _LINE))
        lines += [inert(said, _LINE) for said in request.question.why(reason)]
    return lines


def _args(args: Mapping[str, Any], room: Room) -> tuple[tuple[Row, ...], int]:
    rows: list[Row] = []
    left = room.all
    for name, value in args.items():
        if left <= 0 or len(rows) == _ROWS or len(name) > _NAME:
            break
        # What it is, too: the text "1" and the number 1 are two things.
        shown = row(name, spelled(value), min(room.each, left))
        shown = shown._replace(name=f"{shown.name} ({kind(value)})")
        rows.append(shown)
        left -= len(name) + len(shown.text)
    return tuple(rows), len(args) - len(rows)


_EFFECTS: dict[Effect | None, str] = {
    "read": "only reads",
    "write": "changes something",
    "destructive": "cannot be undone",
    None: "nobody has said what it does",
}
