"""`saferun ledger recover`: calls of which nobody knows the end, and what a person found out.

A process that died amid a call leaves it without an end, and a time that ran out leaves one that
may have been reached. Whoever knows says so here, with their own secret, and once: what they say
is the outcome that the same call is told from then on.
"""

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, complain, opened
from saferun.cli.ledger.salvage import salvage
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings, spelled
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import (
    ALLOWED,
    beside,
    counted,
    document,
    facts,
    moment,
    put,
    screen,
    shown,
    told,
)
from saferun.config import sqlite_path
from saferun.errors import SafeRunError

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.config import Config
    from saferun.ledger import AnyEntry, DecisionEntry
    from saferun.policy import Policy, ToolPolicy
    from saferun.store import Cleared, Known, Loose, Reader, Store

MOST_ENTRIES = 1 << 60
"""More than any ledger has."""

MOST = 50
"""Calls that are shown to people at once; for programs there are all."""

MAX_REASON, MAX_RESULT = 2_000, 1_000_000
"""Characters of a reason, and of a result as it is typed."""

WIDEST_ARGS = 300
"""Characters shown of a call's arguments."""

Said = Literal["happened", "not-happened", "failed"]

_STATUSES: dict[Said, "Known"] = {
    "happened": "ok",
    "not-happened": "not_started",
    "failed": "error",
}


def recover(
    seq: Annotated[
        int | None,
        typer.Argument(metavar="SEQ", min=0, max=MOST_ENTRIES, help="The call to settle."),
    ] = None,
    outcome: Annotated[
        Said | None, typer.Option("--outcome", help="What you have found out of it.")
    ] = None,
    result: Annotated[
        str | None, typer.Option("--result", metavar="JSON", help="What it gave, if it happened.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", metavar="TEXT", help="How you know; for people, and kept in clear for good."
        ),
    ] = None,
    person: AsOption = None,
    archive: ArchiveOption = None,
    new: Annotated[
        Path | None,
        typer.Option(
            "--salvage", metavar="NEW", help="Save what can be read of a torn store to this file."
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the calls whose end nobody knows, or settle one.

    Without SEQ, exits 0 where there are none and 1 where there are. With it, exits 0 where the
    call is settled, and 1 where it was settled already or the secret is not yours. With
    --salvage, exits 0 where nothing was lost, and 1 where something was.
    """
    if new is not None:
        if (seq, outcome, result, reason, person) != (None,) * 5:
            raise CannotError("--salvage goes with --archive, --store and --json alone.")
        return salvage(new, store, archive, as_json=as_json)
    chosen = settings(store)
    path = sqlite_path(chosen.store)
    if not path.exists():
        raise CannotError(f"There is no store at {path} yet; run a guarded call first.")
    if seq is None:
        if (outcome, result, reason, person) != (None, None, None, None):
            raise CannotError("Say which call: the number that saferun ledger recover shows.")
        return _list(chosen, store, archive, as_json=as_json)
    if outcome is None or reason is None:
        raise CannotError(
            "Say what you have found out, and how you know: --outcome happened, not-happened or"
            " failed, and --reason TEXT."
        )
    found = _Found(seq, outcome, result, reason)
    return _settle(chosen, found, store, archive, person, as_json=as_json)


class _Found(NamedTuple):
    """What a person says of one call, as it was typed."""

    seq: int
    outcome: Said
    result: str | None
    reason: str


class _Call(NamedTuple):
    """One call as it is shown.

    `idempotent` is None where no policy says. `away` is a call whose decision lies in an archive
    that is not at hand.
    """

    call: "Loose"
    idempotent: bool | None
    away: bool

    def document(self) -> dict[str, Any]:
        call, made = self.call, self.call.decision
        said = _said(call)
        return {
            "seq": call.seq,
            "tool": call.tool,
            "at": call.at,
            "run": None if made is None else made.run,
            "agent": None if made is None else made.agent,
            "user": None if made is None else made.user,
            "tenant": None if made is None else made.tenant,
            "args": None if made is None else msgspec.to_builtins(made.args),
            "digest": None if made is None else made.digest,
            "host": None if made is None else made.host,
            "boot": None if made is None else made.boot,
            "idempotent": self.idempotent,
            "alive": call.alive,
            "why": _why(call, said),
            "archived": self.away,
        }


def _said(call: "Loose") -> "AnyEntry | None":
    from saferun.ledger import parse

    return parse(call.said).entry if call.said else None


def _why(call: "Loose", said: "AnyEntry | None") -> str:
    from saferun.ledger import OutcomeEntry

    if call.said is None:
        return "it is still under way" if call.alive else "its process is gone"
    if isinstance(said, OutcomeEntry):
        # Sealed where it may repeat what is sensitive.
        return said.error if isinstance(said.error, str) else "its tool said nothing"
    return "its process died before it ended"


def _calls(reader: "Reader", found: "Iterator[Loose]", chosen: "Config") -> Iterator[_Call]:
    for call in found:
        tool = None
        with contextlib.suppress(CannotError):
            tool = _governing(reader, call, chosen)
        away = not call.body and reader.away(call.seq)
        yield _Call(call, None if tool is None else tool.idempotent, away)


def _policy(reader: "Reader", made: "DecisionEntry") -> "Policy | None":
    """The policy that decided, None where there was none. Raises SafeRunError."""
    from saferun.policy import restore
    from saferun.store.versions import kept_version

    return None if made.policy is None else restore(kept_version(reader, made.policy.version))


def _tool(policy: "Policy", made: "DecisionEntry", chosen: "Config") -> "ToolPolicy | None":
    """What a policy says of the tool of a call."""
    from saferun.call import Call, RunRef

    about = None
    if made.run is not None:
        user = {} if made.user is None else {"id": made.user}
        about = RunRef(
            run_id=made.run, root=made.run, agent=made.agent, user=user, tenant=made.tenant
        )
    args = made.args if isinstance(made.args, dict) else {}
    return policy.entry(Call(tool=made.tool, args=args, run=about), chosen.environment)


def _governing(reader: "Reader", call: "Loose", chosen: "Config") -> "ToolPolicy | None":
    """What the policy that decided says of the call's tool, None where it says nothing of it.

    Raises CannotError where nobody can tell.
    """
    made = call.decision
    if made is None:
        trouble = reader.archive.trouble if reader.archive is not None else None
        raise CannotError(trouble or f"Of entry {call.seq}, {_where(reader.away(call.seq))}.")
    try:
        policy = _policy(reader, made)
    except SafeRunError as problem:
        raise CannotError(f"The policy of entry {call.seq} is not to be had: {problem}") from None
    return None if policy is None else _tool(policy, made, chosen)


def _list(chosen: "Config", store: str | None, archive: Path | None, *, as_json: bool) -> int:
    from saferun.store.shared import shared_store
    from saferun.store.unsettled import calls_under_way, count_unknown, unknown_calls

    shared_store(chosen.store, chosen).recover()
    with opened(store, archive) as reader:
        many = count_unknown(reader)
        unknown = _calls(reader, unknown_calls(reader), chosen)
        running = _calls(reader, calls_under_way(reader), chosen)
        if as_json:
            document(
                {
                    "unknown": [each.document() for each in unknown],
                    "running": [each.document() for each in running],
                }
            )
        else:
            _print_list(screen(), many, list(islice(unknown, MOST)), list(islice(running, MOST)))
        complain(reader)
    return 1 if many else 0


def _print_list(console: "Console", many: int, unknown: list[_Call], running: list[_Call]) -> None:
    from rich.text import Text

    if not many:
        lead = Text(f"{ALLOWED.icon} ", ALLOWED.style)
        put(console, beside(console, lead, "There is no call of which nobody knows how it ended."))
    else:
        calls = counted(many, "call")
        head = Text(f"Nobody knows how {calls} ended. Each may have happened, or not.")
        put(console, beside(console, Text("! ", "yellow"), head))
    for each in unknown:
        _print_call(console, each, Text("? ", "yellow"))
    if many > len(unknown):
        console.print(f"\n… {many - len(unknown):,} more; --json has them all")
    if many:
        console.print()
        facts(
            console,
            ("to settle", "saferun ledger recover SEQ --outcome happened --reason TEXT"),
            ("", "or not-happened, or failed; with the number of the call for SEQ"),
        )
    if running:
        console.print()
        put(console, beside(console, Text("◇ ", "dim"), "Still running; nothing is to be done:"))
    for each in running:
        _print_call(console, each, Text("◇ ", "dim"))


def _print_call(console: "Console", each: _Call, lead: "Any") -> None:
    from rich.text import Text

    call, made = each.call, each.call.decision
    console.print()
    said = Text.assemble((inert(call.tool, 80), "bold"), f", entry {call.seq}, {moment(call.at)}")
    put(console, beside(console, lead, said))
    rows: list[tuple[str, str | Text]] = []
    if made is not None:
        rows.append(("args", shown(msgspec.to_builtins(made.args), WIDEST_ARGS)))
        whose = [
            f"{name} {inert(value, 80)}"
            for name, value in (
                ("run", made.run),
                ("agent", made.agent),
                ("user", made.user),
                ("tenant", made.tenant),
            )
            if value is not None
        ]
        rows.append(("for", ", ".join(whose) or "no run"))
        rows.append(("digest", inert(made.digest or "none", 80)))
        rows.append(("owner", f"{inert(made.host or '?', 80)}, boot {inert(made.boot or '?', 40)}"))
    else:
        rows.append(("args", _where(each.away)))
    rows.append(("why", inert(_why(call, _said(call)), 200)))
    if call.said is not None and call.alive:
        rows.append(("beware", "its process is still there, and may yet do its work"))
    if each.idempotent is not None:
        again = "may be made again as it is" if each.idempotent else "must not simply be made again"
        rows.append(("by policy", f"{'' if each.idempotent else 'not '}idempotent: it {again}"))
    facts(console, *rows)


def _where(away: bool) -> str:
    """Why nothing is said of a call but its tool."""
    if away:
        return "the decision lies in an archive; name its folder with --archive FOLDER"
    return "the decision cannot be read; run saferun ledger verify"


def _settle(
    chosen: "Config",
    found: _Found,
    store: str | None,
    archive: Path | None,
    person: str | None,
    *,
    as_json: bool,
) -> int:
    from saferun import record
    from saferun.store import WrongSecretError
    from saferun.store.shared import shared_store
    from saferun.store.unsettled import unknown_calls

    seq, outcome, result, reason = found
    given = _result(result, outcome)
    if not 0 < len(spelled("--reason", reason)) <= MAX_REASON or "\0" in reason:
        raise CannotError(f"--reason takes 1 to {MAX_REASON:,} characters.")
    owner: Store = shared_store(chosen.store, chosen)
    owner.recover()
    by, secret = credential(person, owner)
    cleared: Cleared | None = None
    with opened(store, archive) as reader:
        call = next(unknown_calls(reader, seq), None)
        tool = None
        if call is not None and result is not None:
            try:
                tool = _governing(reader, call, chosen)
            except CannotError as problem:
                # Without it, what is sensitive in a result would be kept for all to read.
                raise CannotError(
                    f"{problem} What is sensitive in a result cannot be told without it; leave "
                    "out --result."
                ) from None
        refused = _refusal(reader, seq, call, outcome)
    if refused is None:
        work = record.found_out(
            seq,
            _STATUSES[outcome],
            by=by,
            reason=reason,
            credential=secret,
            result=given,
            tool=tool,
        )
        try:
            cleared = owner.commit(work)
        except WrongSecretError as problem:
            refused = str(problem)
        else:
            if cleared is None:
                refused = f"Somebody else has settled entry {seq} just now."
    if refused is not None:
        told(refused)
    if as_json:
        document(
            {
                "settled": cleared is not None,
                "of": seq,
                "outcome": outcome,
                "by": by,
                "seq": None if cleared is None else cleared.seq,
                "given_back": 0 if cleared is None else cleared.given_back,
                "refused": refused,
            }
        )
    elif cleared is not None:
        _print_settled(screen(), seq, outcome, by, cleared)
    return 0 if cleared is not None else 1


def _result(given: str | None, outcome: Said) -> Any:
    """What was typed as a result, as the value that it is. Raises CannotError."""
    if given is None:
        return msgspec.UNSET
    if outcome != "happened":
        raise CannotError("Only what happened has a result; leave out --result.")
    if len(given) > MAX_RESULT:
        raise CannotError(f"--result takes at most {MAX_RESULT:,} characters.")
    try:
        return msgspec.json.decode(given.encode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise CannotError("What --result says is no JSON; a text stands in quotes.") from None


def _refusal(reader: "Reader", seq: int, call: "Loose | None", outcome: Said) -> str | None:
    """Why a call cannot be settled, None where it can."""
    from saferun.store.unsettled import calls_under_way

    if call is not None:
        if call.alive and outcome == "not-happened":
            return (
                f"The process of entry {seq} is still there, and may yet do its work; end it"
                " first, and look again."
            )
        return None
    if any(each.seq == seq for each in calls_under_way(reader)):
        return f"Entry {seq} is a call that is still under way; its own process settles it."
    return (
        f"Entry {seq} is no call of which nobody knows how it ended: it is settled already, or"
        " never was unknown. saferun ledger recover lists those that are."
    )


def _print_settled(
    console: "Console", seq: int, outcome: Said, by: str, cleared: "Cleared"
) -> None:
    from rich.text import Text

    if outcome == "not-happened":
        follows = "The same call may be made again"
        given = cleared.given_back
        if given:
            follows += (
                f", and {counted(given, 'limit has', 'limits have')} back what it counted for"
            )
    else:
        follows = "The same call gets this outcome, and what it counted for stays counted"
    what = outcome.replace("-", " ")
    said = Text(f"entry {seq}: {what}, says {by} in entry {cleared.seq}. {follows}.")
    put(console, beside(console, Text(f"{ALLOWED.icon} settled  ", ALLOWED.style), said))
