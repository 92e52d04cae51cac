"""`saferun policy explain`: what a policy decides on one call, and why."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, near, settings
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    MODIFIED,
    VERDICTS,
    beside,
    document,
    facts,
    put,
    screen,
    shown,
)

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.call import Call, Facts, RunRef
    from saferun.policy import Explanation
    from saferun.policy.explain import Spoken

MAX_CALL = 16 * 1024 * 1024
"""Bytes of a file with a call: the gate takes no larger arguments either."""

_VALUE = 60
"""Characters of a value beside the condition that looked at it."""

_CLAUSE = 44
"""Characters of a condition itself."""


def explain(
    policy: PolicyArgument,
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL.json",
            help='{"tool": ..., "args": {...}, "context": {...}} in a file, or - for stdin.',
        ),
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what a policy decides on one call, and why.

    Nothing runs, nobody is asked and nothing is counted. Limits are not part of the answer,
    since they look at what happened before.
    """
    from saferun.policy import explain as explained
    from saferun.policy import load

    loaded = load(near(policy_file(policy, store)))
    asked, known = _call(call, settings(store).environment)
    explanation = explained(loaded, asked, known)
    if as_json:
        document(msgspec.to_builtins(explanation))
    else:
        _print_explanation(screen(), asked.tool, explanation)
    return 0


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A call as the file states it, and what is known beside it.

    `context` may have `user` (an id, or a mapping with an `id`), `agent`, `tenant`,
    `environment`, `now` (a time such as 2026-01-31T09:00:00Z), `run` (`calls`, `cost_usd`,
    `said`, `seconds` and `tools`), and the policy's further inputs.
    """

    tool: str
    args: dict[str, Any] = {}
    context: dict[str, Any] = {}


class _Past(msgspec.Struct, forbid_unknown_fields=True):
    calls: int = 0
    cost_usd: float = 0.0
    said: str | None = None
    seconds: float = 0.0
    tools: list[str] = []


class _Known(msgspec.Struct):
    """The part of a context that SafeRun knows by itself, when a call is really made."""

    user: str | dict[str, Any] | None = None
    agent: str | None = None
    tenant: str | None = None
    environment: str | None = None
    now: datetime | None = None
    run: _Past | None = None


def _call(named: str, environment: str | None) -> "tuple[Call, Facts]":
    """The call in a file, its arguments taken down as the gate takes them, and its facts."""
    from saferun.call import Call
    from saferun.plain import NotPlainError, take_down

    data = _stdin() if named == "-" else contents(Path(named), MAX_CALL)
    try:
        asked = msgspec.json.decode(data, type=_Asked)
        known = msgspec.convert(asked.context, _Known)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        why = "it is nested too deeply" if isinstance(problem, RecursionError) else str(problem)
        where = "stdin" if named == "-" else named
        raise CannotError(
            f'{where} holds no call of the form {{"tool": "...", "args": {{...}}}}: {why}.'
        ) from None
    args: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in asked.args.items():
        try:
            args[name], _ = take_down(value, name)
        except NotPlainError as problem:
            problems.append(str(problem))
    call = Call(tool=asked.tool, args=args, run=_run(known, asked), problems=tuple(problems))
    return call, _facts(known, environment)


def _run(known: _Known, asked: _Asked) -> "RunRef":
    from saferun.call import RunRef

    user = {"id": known.user} if isinstance(known.user, str) else known.user or {}
    return RunRef(
        run_id="explain",
        root="explain",
        agent=known.agent,
        user=user,
        tenant=known.tenant,
        context={
            name: said
            for name, said in asked.context.items()
            if name not in _Known.__struct_fields__
        },
    )


def _facts(known: _Known, environment: str | None) -> "Facts":
    from saferun.call import Facts, Past

    moment = known.now or datetime.now(UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    now = round(moment.timestamp() * 1e6)
    past = known.run or _Past()
    return Facts(
        now=now,
        environment=known.environment or environment,
        past=Past(
            began=now - round(past.seconds * 1e6),
            calls=past.calls,
            cost_usd=past.cost_usd,
            tools=tuple(sorted(past.tools)),
            said=() if past.said is None else (past.said,),
        ),
    )


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(MAX_CALL + 1)
    if len(data) > MAX_CALL:
        raise CannotError(f"stdin has more than {MAX_CALL:,} bytes, which is the most.")
    return data


def _print_explanation(console: "Console", tool: str, explanation: "Explanation") -> None:
    from rich.text import Text

    mark = VERDICTS[explanation.verdict]
    by = f"{explanation.policy.name} @ {explanation.policy.version[:12]}"
    console.print(
        Text.assemble(
            (f"{mark.icon} ", mark.style),
            (inert(tool, 80), "bold"),
            (f"  {mark.word}", mark.style),
            (f"  by {by}", "dim"),
        )
    )
    entry = explanation.entry
    if entry.name != tool or entry.scope is not None:
        # More than one entry could have been meant, so the one that decided is named.
        about = f"  under {inert(entry.name, 80)}"
        about += f", for {inert(entry.scope)}" if entry.scope is not None else ""
        about += f" (line {entry.line})" if entry.line is not None else ""
        console.print(Text(about, style="dim"))
    if explanation.modified:
        said = f"{MODIFIED.icon} {MODIFIED.word}: the tool would be given"
        console.print(Text(said, style=MODIFIED.style))
        facts(
            console,
            *((inert(name, 40), shown(value, _VALUE)) for name, value in explanation.args.items()),
        )
    for spoken in explanation.rules:
        console.print()
        _print_rule(console, spoken)
    if not explanation.rules:
        console.print(Text("  No rule speaks about it.", style="dim"))


def _print_rule(console: "Console", spoken: "Spoken") -> None:
    from rich.text import Text

    from saferun.policy.demand import sentence

    mark = VERDICTS[spoken.effect]
    lead = Text.assemble("  ", (f"{mark.icon} ", mark.style))
    said = Text.assemble((inert(spoken.id), "bold"), f"  {inert(spoken.message)}")
    put(console, beside(console, lead, said))
    column = max((len(inert(clause.text, _CLAUSE)) for clause in spoken.clauses), default=0)
    for clause in spoken.clauses:
        held = ALLOWED if clause.holds else DENIED
        lead = Text.assemble("      ", (f"{held.icon} ", held.style))
        lead.append(f"{inert(clause.text, _CLAUSE):{column}}  ")
        seen = Text(shown(clause.value, _VALUE), "dim" if clause.holds else "bold")
        put(console, beside(console, lead, seen))
    if spoken.demand:
        lead = Text.assemble("      ", ("needs  ", "dim"))
        put(console, beside(console, lead, Text(inert(sentence(spoken.demand)))))
