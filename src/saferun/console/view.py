"""A request as pages show it: everything made inert, and what is long cut or said to be.

The templates escape what they are given; what is made here cannot turn the direction of what
stands beside it, hide in nothing, or fill the page.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from saferun.approval import Grant, People, Request, Vote, inert, others, tally
from saferun.approval.grant import grantable
from saferun.call import Demand, at, canonical
from saferun.console.session import Who

CUT = 4_000
"""Characters of one value that a page shows by itself; there is a way to see the whole."""

WHOLE = 500_000
"""Characters of all arguments, as shown, that a page can show whole: nobody reads more."""

LINES = 5_000
"""Lines of all arguments, likewise, and how many arguments."""

MANY = 100
"""Arguments, steps of a plan, and the like, that a page shows by itself."""

STATES = {
    "pending": ("ask", "?", "waiting"),
    "approved": ("allow", "✓", "approved"),
    "rejected": ("deny", "✕", "rejected"),
    "expired": ("deny", "✕", "expired"),
    "cancelled": ("model", "○", "withdrawn"),
    "stale": ("deny", "✕", "stale"),
    "executing": ("allow", "▸", "running"),
    "succeeded": ("allow", "✓", "done"),
    "failed": ("deny", "!", "failed"),
    "unknown": ("ask", "?", "outcome unknown"),
}

EFFECTS = {
    "read": ("model", "reads", "It reads, and changes nothing."),
    "write": ("ask", "writes", "It changes something."),
    "destructive": ("deny", "destructive", "It destroys something, and that cannot be undone."),
}

UNKNOWN_EFFECT = ("ask", "effect unknown", "No policy says what it does.")


class Arg(NamedTuple):
    """One argument: its value as text, in `lines` where it is text of several."""

    name: str
    lines: tuple[str, ...]
    left: int = 0
    hidden: bool = False
    changed: bool = False
    editable: bool = False


class View(NamedTuple):
    """One request for one reader."""

    id: str
    tool: str
    brief: str
    state: tuple[str, str, str]
    open: bool
    revision: int
    left: float
    deadline: str
    agent: str
    user: str
    tenant: str
    run: str
    effect: tuple[str, str, str]
    args: tuple[Arg, ...]
    more: int
    whole: bool
    shown: bool
    large: bool
    prompt: str
    prompt_left: int
    plan: tuple[str, ...]
    plan_left: int
    reasons: tuple[tuple[str, str, int | None, str, tuple[str, ...]], ...]
    policy: str
    digest: str
    needs: str
    lacking: tuple[str, ...]
    votes: tuple[tuple[str, str, str, str, bool], ...]
    also: str | None
    by: str
    reason: str
    glass: str
    objection: str | None
    seen: str
    grantable: bool
    of_run: bool
    channels: str


class Row(NamedTuple):
    """One request in a list."""

    id: str
    tool: str
    brief: str
    who: str
    state: tuple[str, str, str]
    effect: tuple[str, str, str]
    left: float
    votes: str
    by: str
    mine: bool
    moved: int


class Alarm(NamedTuple):
    """Somebody has broken the glass: for what, why, and how many seconds ago."""

    id: str
    tool: str
    brief: str
    by: str
    reason: str
    ago: float


def alarm(request: Request, glass: Vote, now: int) -> Alarm:
    return Alarm(
        id=request.id,
        tool=inert(request.question.tool, 80),
        brief=_brief(request.question.args),
        by=inert(glass.by, 80),
        reason=inert(glass.reason or "", 300),
        ago=max(now - glass.at, 0) / 1e6,
    )


def row(request: Request, people: People, who: Who, now: int) -> Row:
    question, run = request.question, request.question.run
    named = (run.agent, run.user_id) if run is not None else ()
    wanted = sum(each.approvals for each in question.demands)
    given = wanted - sum(lacks for _, lacks in _lacking(request, people, now))
    return Row(
        id=question.id,
        tool=inert(question.tool, 80),
        brief=_brief(question.args),
        who=" for ".join(inert(name, 60) for name in named if name) or "nobody named",
        state=STATES[request.state],
        effect=EFFECTS.get(question.effect or "", UNKNOWN_EFFECT),
        left=max(request.deadline - now, 0) / 1e6,
        votes=f"{given} of {wanted} {'vote' if wanted == 1 else 'votes'}",
        by=inert(request.by or "", 60),
        mine=_objection(request, people, who, now) is None,
        moved=request.moved,
    )


def view(
    request: Request,
    people: People,
    who: Who,
    now: int,
    *,
    whole: bool = False,
    seen: Mapping[str, str] | None = None,
) -> View:
    """A request as somebody sees it: `whole` with every value as long as it is.

    `seen` are the digests of the arguments that they have looked at before, by name.
    """
    question, run = request.question, request.question.run
    full = whole and _fits(question.args)
    args = tuple(_args(request, full=full, seen=seen))
    more = max(len(question.args) - len(args), 0)
    prompt = "" if run is None or run.prompt is None else run.prompt
    plan = [] if run is None else _steps(run.plan)
    return View(
        id=question.id,
        tool=inert(question.tool, 80),
        brief=_brief(question.args),
        state=STATES[request.state],
        open=request.open,
        revision=request.revision,
        left=max(request.deadline - now, 0) / 1e6,
        deadline=at(request.deadline),
        agent="" if run is None else inert(run.agent or "", 80),
        user="" if run is None else inert(run.user_id or "", 80),
        tenant="" if run is None else inert(run.tenant or "", 80),
        run="" if run is None else inert(run.run_id, 80),
        effect=EFFECTS.get(question.effect or "", UNKNOWN_EFFECT),
        args=args,
        more=more,
        whole=request.whole,
        shown=not more and not any(each.left for each in args),
        large=not _fits(question.args),
        prompt=inert(prompt[:CUT]),
        prompt_left=max(len(prompt) - CUT, 0),
        plan=tuple(inert(each, 400) for each in plan[:MANY]),
        plan_left=max(len(plan) - MANY, 0),
        reasons=tuple(
            (
                inert(each.id, 80),
                inert(each.message, 1_000),
                each.line,
                inert(each.measure.said(), 400) if each.measure is not None else "",
                tuple(inert(said, 500) for said in question.why(each)),
            )
            for each in question.reasons[:MANY]
        ),
        policy=""
        if question.policy is None
        else f"{inert(question.policy.name, 80)} @ {inert(question.policy.version[:12])}",
        digest=inert(question.digest, 80),
        needs=inert(" and ".join(map(_demanded, question.demands)), 300),
        lacking=tuple(
            inert(_demanded(demand, lacks), 200) for demand, lacks in _lacking(request, people, now)
        ),
        votes=tuple(
            (
                inert(vote.by, 80),
                "said yes" if vote.approved else "said no",
                inert(vote.reason or "", 2_000),
                inert(vote.channel, 40),
                vote.glass,
            )
            for vote in request.votes[:MANY]
        ),
        also=others(request),
        by=inert(request.by or "", 80),
        reason=inert(request.reason or "", 2_000),
        glass="" if request.glass is None else inert(request.glass.by, 80),
        objection=_objection(request, people, who, now),
        seen=json.dumps(digests(request)),
        grantable=grantable(question),
        of_run=run is not None,
        channels=inert(", ".join(question.channels), 200),
    )


def digests(request: Request) -> dict[str, str]:
    """A short digest of each argument, by which a page that comes back says what it has shown."""
    args = list(request.question.args.items())[:MANY]
    return {name[:80]: sha256(canonical.encode(value)).hexdigest()[:16] for name, value in args}


def whole_text(request: Request, part: str) -> str | None:
    """A part of a request in full, inert, line by line; None where there is none of that name."""
    question, run = request.question, request.question.run
    value: Any = None
    if part == "arguments":
        value = question.args
    elif run is not None and part in ("prompt", "plan"):
        value = run.prompt if part == "prompt" else run.plan
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(f"{inert(line)}\n" for line in text.split("\n"))


class Granted(NamedTuple):
    """A grant in a list. `left` is in seconds, and `mine` says that the reader may take it back."""

    id: str
    tool: str
    scope: str
    by: str
    left: float
    mine: bool


def granted(grant: Grant, people: People, who: Who, now: int) -> Granted:
    narrowed = ", ".join(inert(name, 60) for name in grant.parts)
    scope = f"the same {narrowed}" if narrowed else "the very same arguments"
    scope += f", in run {inert(grant.run, 40)}" if grant.run is not None else ", in any run"
    return Granted(
        id=grant.id,
        tool=inert(grant.tool, 80),
        scope=scope,
        by=inert(grant.by, 80),
        left=max(grant.until - now, 0) / 1e6,
        mine=who.answers and people.may_revoke(who.person, grant),
    )


def _objection(request: Request, people: People, who: Who, now: int) -> str | None:
    """Why somebody is not to be offered an answer. The store says it again of any that is given."""
    if who.person is None:
        return "You may look here. To answer, log in with your own secret"
    if not who.answers:
        return f"{who.person} may look and not answer"
    return people.objection(who.person, request.question, now)


def _lacking(request: Request, people: People, now: int) -> tuple[tuple[Demand, int], ...]:
    return tally(people, request.question, request.votes, now).lacking if request.open else ()


def _demanded(demand: Demand, many: int | None = None) -> str:
    whom = " or ".join(demand.of) or "anybody"
    many = demand.approvals if many is None else many
    return whom if many == 1 else f"{many} of {whom}"


def _args(request: Request, *, full: bool, seen: Mapping[str, str] | None) -> Iterator[Arg]:
    question = request.question
    now = digests(request)
    for number, (name, value) in enumerate(question.args.items()):
        if number >= MANY and not full:
            return
        text = _text(value)
        shown = text if full else text[:CUT]
        # A name that is cut is an argument that is not shown whole.
        left = len(text) - len(shown) + (0 if full else max(len(name) - 80, 0))
        yield Arg(
            name=inert(name, None if full else 80),
            lines=tuple(inert(line) for line in shown.split("\n")),
            left=left,
            hidden=name in question.hidden,
            changed=seen is not None and seen.get(name[:80]) != now.get(name[:80]),
            editable=name in question.edits,
        )


def _text(value: Any) -> str:
    """Text as it is where it has several lines, and everything else as JSON."""
    if isinstance(value, str) and "\n" in value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _fits(args: Mapping[str, Any]) -> bool:
    """Whether a page can show all of them whole. An escape takes up to ten times its room."""
    texts = [each for name, value in args.items() for each in (name, _text(value))]
    return (
        sum(map(len, texts)) <= WHOLE
        and sum(1 + text.count("\n") for text in texts) <= 2 * LINES
        and sum(len(inert(text)) for text in texts) <= WHOLE
    )


def _steps(plan: Any) -> list[str]:
    if plan is None:
        return []
    if isinstance(plan, str):
        return [line for line in plan.split("\n") if line.strip()]
    steps = plan if isinstance(plan, list) else [plan]
    return [
        each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in steps
    ]


def _brief(args: Mapping[str, Any]) -> str:
    parts = [f"{name} {_text(value)}" for name, value in list(args.items())[:4]]
    return inert(", ".join(part[:80] for part in parts), 140)


def countdown(seconds: float) -> str:
    """A length of time, as `12 m 04 s`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes:02} m"
    return f"{minutes} m {rest:02} s" if minutes else f"{rest} s"
