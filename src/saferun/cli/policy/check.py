"""`saferun policy check`: what is wrong with a policy file, and what is rarely meant."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, near, settings
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.screen import ALLOWED, DENIED, counted, document, screen

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.policy import Finding
    from saferun.policy.analysis.signatures import Taken

MAX_TOOLS = 16 * 1024 * 1024
"""Bytes of a file with the schemas of tools."""

# Where ruamel.yaml, which counts the lines of a policy, begins a new one.
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

ToolsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tools",
        metavar="FILE|MODULE[:NAME]",
        help="Hold it against the tools: a .json file of schemas, or functions of a module.",
    ),
]


def check(
    policy: PolicyArgument,
    tools: ToolsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what is wrong with a policy file, and what is rarely meant.

    Exits 1 where there is an error, and 0 where there is none.
    """
    from saferun.policy import check as findings_in
    from saferun.policy.source import MAX_BYTES

    path = policy_file(policy, store)
    text = contents(path, MAX_BYTES)
    held = None if tools is None else _tools(tools)
    findings = findings_in(text, near(path), tools=held, people=settings(store).members)
    if as_json:
        document({"findings": msgspec.to_builtins(findings)})
    else:
        _print_findings(screen(), findings, text, near(path))
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _tools(where: str) -> "dict[str, Taken]":
    """The tools that `--tools` means. Importing a module runs it, as whoever asks knows."""
    from saferun.policy.analysis.signatures import from_module, from_schemas

    if where.endswith(".json"):
        try:
            return from_schemas(msgspec.json.decode(contents(Path(where), MAX_TOOLS)))
        except (msgspec.MsgspecError, RecursionError) as problem:
            raise CannotError(f"{where} holds no JSON: {problem}.") from None
    # As with `python -m`, a module is looked for in the working folder first.
    sys.path.insert(0, str(Path.cwd()))
    return from_module(where)


def _print_findings(console: "Console", findings: "list[Finding]", text: bytes, path: str) -> None:
    from rich.text import Text

    from saferun.policy.source import MAX_BYTES

    files: dict[str | None, list[str]] = {path: _lines(text)}
    for finding in findings:
        error = finding.severity == "error"
        place = (finding.path, finding.line, finding.column)
        where = ":".join(str(part) for part in place if part is not None)
        said = Text.assemble(
            (f"{inert(where)}: ", "bold"),
            (f"{finding.severity}: ", "red" if error else "yellow"),
            inert(finding.message),
            (f" [{finding.code}]", "dim"),
        )
        # In a pipe, a finding is one line for whatever reads it there.
        console.print(said, soft_wrap=not console.is_terminal)
        if finding.path is not None and finding.path not in files:
            # It stands in a file that the policy includes.
            files[finding.path] = _lines(contents(Path(finding.path), MAX_BYTES))
        lines = files[finding.path]
        if finding.line is not None and finding.line <= len(lines):
            line = Text(inert(lines[finding.line - 1].rstrip()), style="dim")
            line.truncate(console.width - 9, overflow="ellipsis")
            console.print(Text(f"{finding.line:6} │ ", style="dim") + line)
    console.print(_sum(findings, text, path))


def _lines(text: bytes) -> list[str]:
    return _LINE_END.split(text.decode("utf-8-sig", errors="replace"))


def _sum(findings: "list[Finding]", text: bytes, path: str) -> "Text":
    from rich.text import Text

    from saferun.policy import loads

    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        return Text.assemble((f"{DENIED.icon} {counted(errors, 'error')}", DENIED.style))
    sound = loads(text, path)
    tools = {tool.name for tool in sound.document.tools}
    said = f"! {counted(len(findings), 'warning')}" if findings else f"{ALLOWED.icon} sound"
    return Text.assemble(
        (said, "yellow" if findings else ALLOWED.style),
        f"  {sound.name} @ {sound.version[:12]}, {counted(len(tools), 'tool')}",
    )
