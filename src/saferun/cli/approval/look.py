"""`saferun approval list` and `show`: what waits for people, and what has become of it."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
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
    screen,
    shown,
)
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

NAMES = 16
"""Columns for names in a list."""

_VALUE = 200_000
"""Characters of one argument that are shown: whoever approves has to have seen all of it."""

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
        found = requests.newest(limit) if everything else requests.open()
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
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show one request: what would run, why, and who has said what."""
    desk = desk_of(store)
    found = known(desk, request)
    if as_json:
        document(told(found))
        return 0
    print_request(found)
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
    """The one id that begins so; what was given, where none does. Raises CannotError for many."""
    from saferun.store import Requests

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
            "demands": question.demands,
            "votes": request.votes,
            "joined": request.joined,
            "by": request.by,
            "reason": request.reason,
        }
    )
    return fields


def print_request(request: "Request") -> None:
    """Print one request for people."""
    from rich.text import Text

    console = screen()
    question = request.question
    console.print(
        Text.assemble(_state(request), "  ", (inert(question.tool, 80), "bold"), f"  {request.id}")
    )
    facts(console, *_facts(request))
    if request.open and not request.whole:
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


def _facts(request: "Request") -> "Iterator[tuple[str, str | Text]]":
    question, run = request.question, request.question.run
    if run is not None:
        yield "agent", inert(" for ".join(each for each in (run.agent, run.user_id) if each), 200)
        yield "run", inert(run.run_id, 200)
        if run.prompt:
            yield "asked to", inert(str(run.prompt), 600)
        if run.plan:
            yield "plan", shown(run.plan, 600)
    for name, value in question.args.items():
        text = inert(value, _VALUE) if isinstance(value, str) else shown(value, _VALUE)
        hides = request.open and name in question.hidden
        yield inert(name, 40), text + (" (not shown as it is)" if hides else "")
    if question.effect is not None:
        yield "effect", question.effect
    for reason in question.reasons:
        yield "because", inert(f"{reason.message} ({reason.id})", 400)
        if reason.measure is not None:
            yield "", inert(reason.measure.said(), 400)
    if question.policy is not None:
        yield "policy", inert(f"{question.policy.name} @ {question.policy.version[:12]}", 120)
    for demand in question.demands:
        yield "needs", inert(needed(demand), 200)
    if request.open and question.edits:
        yield "may change", inert(", ".join(question.edits), 200)
    for vote in request.votes:
        word = "yes" if vote.approved else "no"
        why = f": {vote.reason}" if vote.reason else ""
        glass = ", breaking the glass" if vote.glass else ""
        yield "said", inert(f"{word} by {vote.by} ({vote.channel}){glass}{why}", 400)
    if request.joined:
        yield (
            "also",
            f"{counted(request.joined, 'further call waits', 'further calls wait')} for it",
        )
    if request.open:
        yield "ends", f"{moment(request.deadline)}, asked {moment(question.asked)}"
    elif request.by and not request.votes:
        yield "by", inert(request.by, 80)
    if request.reason and not request.votes:
        yield "why", inert(request.reason, 400)
    yield "digest", question.digest


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
