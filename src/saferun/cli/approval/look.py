"""`saferun approval list` and `show`: what waits for people, and what has become of it."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.approval.shown import others
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
from saferun.cli.screen import (
    ALLOWED,
    ASKED,
    DENIED,
    Mark,
    counted,
    document,
    facts,
    moment,
    raw,
    screen,
    shown,
)
from saferun.cli.screen import told as aside
from saferun.config import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from saferun.approval import Request
    from saferun.call import Demand
    from saferun.desk import Desk

SHORT = 10
"""Characters of an id in a list; any beginning that is unique is taken for it."""

_EVERY = "a-"
"""What every id of a request begins with."""

NAMES = 16
"""Columns for names in a list."""

CUT = 4_000
"""Characters of one argument's value, as JSON, that are shown unless everything is asked for."""

LONG = 80
"""Characters of an argument's name, likewise."""

MANY = 100
"""Arguments, likewise."""

_MARKS = {
    "pending": ASKED,
    "approved": ALLOWED,
    "executing": ALLOWED,
    "succeeded": ALLOWED,
    "failed": ALLOWED,
    "unknown": ALLOWED,
}


def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that are settled too, the newest first.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000, help="How many of --all.")
    ] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the requests that wait for people, the first to end on top."""
    from saferun.store import Requests

    with Requests(sqlite_path(settings(store).store)) as requests:
        now = time.time_ns() // 1000
        found = requests.newest(limit) if everything else requests.open(now)
        more = 0 if everything else max(requests.waiting(now) - len(found), 0)
    if more:
        aside(f"Those are the first {len(found):,} to end; {more:,} more wait behind them.")
    if as_json:
        for each in found:
            document(told(each))
        return 0
    console = screen()
    if not found:
        console.print("Nobody has been asked yet." if everything else "Nothing waits for people.")
        return 0
    _print_list(console, found, [each.id for each in found], everything=everything)
    return 0


def show(
    request: Annotated[str, typer.Argument(metavar="ID", help="A request's id, or its beginning.")],
    everything: Annotated[
        bool, typer.Option("--whole", help="Cut nothing, however long it is.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show one request: what would run, why, and who has said what."""
    desk = desk_of(store)
    found = known(desk, request)
    if as_json:
        document(told(found))
        return 0
    print_request(found, everything=everything)
    return 0


def desk_of(store: str | None) -> "Desk":
    """The desk of the configured store, which has to be there. Raises CannotError."""
    from saferun.desk import Desk
    from saferun.store.shared import shared_store

    chosen = settings(store)
    path = sqlite_path(chosen.store)
    if not path.exists():
        raise CannotError(f"There is no store at {path} yet, so nothing waits there.")
    return Desk(shared_store(chosen.store, chosen), chosen)


def known(desk: "Desk", request: str) -> "Request":
    """The request of that id, or the one whose id begins so. Raises CannotError."""
    found = desk.stands(whole(desk.store.path, request))
    if found is None:
        raise CannotError(
            f"There is no request {request[:80]!r}; saferun approval list has those that wait."
        )
    return found


def whole(path: "Path", begins: str) -> str:
    """The one id that begins so; what was given, where none does. Raises CannotError for many.

    What every id begins with names none: it may be a variable of a script that was empty.
    """
    from saferun.store import Requests

    if _EVERY.startswith(begins):
        raise CannotError(
            f"{begins!r} says no request, and every id begins so; saferun approval list has those"
            " that wait."
        )
    with Requests(path) as requests:
        ids = requests.beginning(begins)
    if len(ids) > 1 and begins not in ids:
        some = ", ".join(ids[:3])
        raise CannotError(f"Several requests begin with {begins!r}, such as {some}; say more.")
    return ids[0] if len(ids) == 1 else begins


def told(request: "Request") -> dict[str, Any]:
    """A request as JSON has it."""
    question = request.question
    run = question.run
    fields: dict[str, Any] = msgspec.to_builtins(
        {
            "id": request.id,
            "state": request.state,
            "revision": request.revision,
            "tool": question.tool,
            "args": question.args,
            "hidden": question.hidden,
            "edits": question.edits,
            "effect": question.effect,
            "digest": question.digest,
            "asked": question.asked,
            "deadline": request.deadline,
            "run": None if run is None else run.run_id,
            "agent": None if run is None else run.agent,
            "user": None if run is None else run.user_id,
            "tenant": None if run is None else run.tenant,
            "prompt": None if run is None else run.prompt,
            "plan": None if run is None else run.plan,
            "policy": question.policy,
            "reasons": question.reasons,
            "because": question.because,
            "demands": question.demands,
            "votes": request.votes,
            "joined": request.joined,
            "by": request.by,
            "reason": request.reason,
        }
    )
    return fields


def fits(request: "Request") -> bool:
    """Whether `show` by itself shows all of what would run."""
    args = request.question.args
    return len(args) <= MANY and all(
        len(name) <= LONG and len(_json(value)) <= CUT for name, value in args.items()
    )


def print_request(request: "Request", *, everything: bool = False) -> None:
    """Print one request for people. With `everything`, nothing of what would run is cut."""
    from rich.text import Text

    console = screen()
    question = request.question
    console.print(
        Text.assemble(_state(request), "  ", (inert(question.tool, 80), "bold"), f"  {request.id}")
    )
    fit = fits(request)
    facts(console, *_facts(request, fit=fit, everything=everything))
    if everything and not fit:
        # As lines of their own, which the terminal breaks: they may be megabytes.
        for name, value in question.args.items():
            raw(f"  {inert(name)}  {shown(value, None)}\n".encode())
        raw(f"  digest  {question.digest}\n".encode())
    if request.open and question.lost:
        console.print(
            Text("What it asks about cannot be read any more, so nobody can answer it.", "yellow")
        )
    elif request.open and not request.whole:
        console.print(
            Text("Not every argument is shown as it is, so it cannot be approved.", "yellow")
        )


def _print_list(
    console: "Console", found: "Sequence[Request]", ids: list[str], *, everything: bool
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    columns: dict[str, list[Text]] = {
        "request": [Text(beginning(each, ids)) for each in ids],
        "tool": [Text(inert(each.question.tool, 60)) for each in found],
        "for": [Text(_whom(each)) for each in found],
        "needs": [Text(_needs(each)) for each in found],
        "ends": [Text(moment(each.deadline) if each.open else "", "dim") for each in found],
        "state": [_state(each) for each in found],
    }
    if everything:
        # Most have ended: when they were asked tells them apart.
        del columns["needs"]
    else:
        # All of them wait, and the mark would say no more.
        del columns["state"]
    for head in columns:
        most = NAMES if head in ("tool", "needs") else None
        rest = 1 if head == "for" else None
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=most, ratio=rest)
    table.add_row(*(Text(head, "dim") for head in columns))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)


def beginning(request: str, every: list[str]) -> str:
    """The beginning of an id, as long as it takes to tell it from the others."""
    length = SHORT
    while length < len(request) and sum(each.startswith(request[:length]) for each in every) > 1:
        length += 1
    return request[:length]


def _needs(request: "Request") -> str:
    demands = sorted(request.question.demands, key=lambda each: -each.approvals)
    return inert("; ".join(map(needed, demands)), 80)


def needed(demand: "Demand", lacking: int | None = None) -> str:
    """Whose yes a demand takes, or still does: `finance`, `2 of lead`."""
    whom = ", ".join(demand.of) or "anybody"
    many = demand.approvals if lacking is None else lacking
    return f"{many} of {whom}" if demand.approvals > 1 else whom


def _facts(
    request: "Request", *, fit: bool, everything: bool
) -> "Iterator[tuple[str, str | Text]]":
    question, run = request.question, request.question.run
    some = None if everything else 600
    if run is not None:
        yield "agent", inert(" for ".join(each for each in (run.agent, run.user_id) if each), 200)
        yield "run", inert(run.run_id, 200)
        if run.prompt:
            yield "asked to", inert(str(run.prompt), some)
        if run.plan:
            yield "plan", shown(run.plan, some)
    for name, value in list(question.args.items())[:MANY] if fit or not everything else ():
        # As JSON, so that the text "5" and the number 5 look like two things.
        hides = request.open and name in question.hidden
        yield inert(name, LONG), shown(value, CUT) + (" (not shown as it is)" if hides else "")
    if len(question.args) > MANY and not everything:
        yield "", f"… ({counted(len(question.args) - MANY, 'more argument')})"
    if question.effect is not None:
        yield "effect", question.effect
    for reason in question.reasons:
        yield "because", inert(f"{reason.message} ({reason.id})", 400)
        if reason.measure is not None:
            yield "", inert(reason.measure.said(), 400)
        for said in question.why(reason):
            yield "", inert(said, 500)
    if question.policy is not None:
        yield "policy", inert(f"{question.policy.name} @ {question.policy.version[:12]}", 120)
    for demand in question.demands:
        yield "needs", inert(needed(demand), 200)
    if request.open and question.edits:
        yield "may change", inert(", ".join(question.edits), 200)
    if request.open and (question.edits or request.revision):
        yield "revision", f"{request.revision}"
    for vote in request.votes:
        word = "yes" if vote.approved else "no"
        why = f": {vote.reason}" if vote.reason else ""
        glass = ", breaking the glass" if vote.glass else ""
        yield "said", inert(f"{word} by {vote.by} ({vote.channel}){glass}{why}", 400)
    also = others(request)
    if also is not None:
        yield "also", also
    if request.open:
        asked = f", asked {moment(question.asked)}" if question.asked else ""
        yield "ends", f"{moment(request.deadline)}{asked}"
    elif request.by and not request.votes:
        yield "by", inert(request.by, 80)
    if request.reason and not request.votes:
        yield "why", inert(request.reason, 400)
    if fit:
        yield "digest", question.digest
    elif everything:
        yield "arguments", "below, one on each line, and what to approve them by"
    else:
        # Whoever names it has seen all of what it is taken over.
        yield "cut", f"saferun approval show {request.id} --whole has everything, and the digest"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _state(request: "Request") -> "Text":
    from rich.text import Text

    mark: Mark = _MARKS.get(request.state, DENIED)
    many = f" ({len([v for v in request.votes if v.approved])} yes)" if request.votes else ""
    return Text(f"{mark.icon} {request.state}{many if request.open else ''}", mark.style)


def _whom(request: "Request") -> str:
    run = request.question.run
    if run is None:
        return ""
    return inert(" for ".join(each for each in (run.agent, run.user_id) if each), 40)
