"""`saferun policy`: is the file sound, and why does it say what it says about a call."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import (
    CannotError,
    JsonOption,
    StoreOption,
    contents,
    meant,
    near,
    settings,
)
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    MODIFIED,
    VERDICTS,
    beside,
    counted,
    document,
    facts,
    put,
    screen,
    shown,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.call import Call
    from saferun.policy import Explanation, Finding
    from saferun.policy.explain import Spoken

app = typer.Typer(name="policy", help="Check policies, and ask them why.", no_args_is_help=True)

MAX_CALL = 16 * 1024 * 1024
"""Bytes of a file with a call: the gate takes no larger arguments either."""

_VALUE = 60
"""Characters of a value beside the condition that looked at it."""

_CLAUSE = 44
"""Characters of a condition itself."""


# Where ruamel.yaml, which counts the lines of a policy, begins a new one.
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

PolicyArgument = Annotated[
    str, typer.Argument(metavar="POLICY", help="A policy's name, or the path of its file.")
]


@app.command()
def check(policy: PolicyArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Say what is wrong with a policy file, and what is rarely meant.

    Exits 1 where there is an error, and 0 where there is none.
    """
    from saferun.policy import check as findings_in
    from saferun.policy.source import MAX_BYTES

    path = policy_file(policy, store)
    text = contents(path, MAX_BYTES)
    findings = findings_in(text, near(path))
    if as_json:
        document({"findings": msgspec.to_builtins(findings)})
    else:
        _print_findings(screen(), findings, text, near(path))
    return 1 if any(finding.severity == "error" for finding in findings) else 0


@app.command()
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
    asked = _call(call)
    explanation = explained(loaded, asked)
    if as_json:
        document(msgspec.to_builtins(explanation))
    else:
        _print_explanation(screen(), asked.tool, explanation)
    return 0


def policy_file(named: str, store: str | None) -> Path:
    """The file of a policy, found as `guard` finds it. Raises CannotError where it is not there."""
    configured = settings(store)
    path = configured.policy_file(named)
    if not path.is_file() and path.parent == configured.policies:
        known = [file.stem for file in path.parent.glob("*.yaml")]
        raise CannotError(f"There is no policy {named!r} in {path.parent}{meant(named, known)}")
    return path


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A call as the file states it. `context` is the run's; the rules of today see none of it."""

    tool: str
    args: dict[str, Any] = {}
    context: dict[str, Any] = {}


def _call(named: str) -> "Call":
    """The call in a file, its arguments taken down as the gate takes them."""
    from saferun.call import Call, RunRef
    from saferun.plain import NotPlainError, take_down

    data = _stdin() if named == "-" else contents(Path(named), MAX_CALL)
    try:
        asked = msgspec.json.decode(data, type=_Asked)
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
    run = RunRef(run_id="explain", root="explain", context=asked.context)
    return Call(tool=asked.tool, args=args, run=run, problems=tuple(problems))


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(MAX_CALL + 1)
    if len(data) > MAX_CALL:
        raise CannotError(f"stdin has more than {MAX_CALL:,} bytes, which is the most.")
    return data


def _print_findings(console: "Console", findings: "list[Finding]", text: bytes, path: str) -> None:
    from rich.text import Text

    lines = _LINE_END.split(text.decode("utf-8-sig", errors="replace"))
    for finding in findings:
        error = finding.severity == "error"
        place = (path, finding.line, finding.column)
        where = ":".join(str(part) for part in place if part is not None)
        said = Text.assemble(
            (f"{inert(where)}: ", "bold"),
            (f"{finding.severity}: ", "red" if error else "yellow"),
            inert(finding.message),
            (f" [{finding.code}]", "dim"),
        )
        # In a pipe, a finding is one line for whatever reads it there.
        console.print(said, soft_wrap=not console.is_terminal)
        if finding.line is not None and finding.line <= len(lines):
            line = Text(inert(lines[finding.line - 1].rstrip()), style="dim")
            line.truncate(console.width - 9, overflow="ellipsis")
            console.print(Text(f"{finding.line:6} │ ", style="dim") + line)
    console.print(_sum(findings, text, path))


def _sum(findings: "list[Finding]", text: bytes, path: str) -> "Text":
    from rich.text import Text

    from saferun.policy import loads

    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        return Text.assemble((f"{DENIED.icon} {counted(errors, 'error')}", DENIED.style))
    sound = loads(text, path)
    said = f"! {counted(len(findings), 'warning')}" if findings else f"{ALLOWED.icon} sound"
    return Text.assemble(
        (said, "yellow" if findings else ALLOWED.style),
        f"  {sound.name} @ {sound.version[:12]}, {counted(len(sound.tools), 'tool')}",
    )


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
