"""`saferun policy backtest`: what a policy would have said about calls that were made."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, complain, incident_file, opened
from saferun.cli.options import (
    CannotError,
    JsonOption,
    StoreOption,
    contents,
    near,
    settings,
)
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.screen import (
    ALLOWED,
    ASKED,
    DENIED,
    VERDICTS,
    Mark,
    beside,
    counted,
    document,
    facts,
    progress,
    put,
    screen,
    told,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.call import RunRef
    from saferun.ledger import Entry
    from saferun.replay import Backtest, Given, LabelTally, Redecided, RuleTally, RunTally, Summary
    from saferun.store import Reader

MAX_CONTEXT = 1024 * 1024
"""Bytes of a file with what is known of the runs."""

RULES = 20
"""Rules in the table; `--json` has all of them."""

RUNS = 8
"""Runs that are named to look at; `--json` has more."""

STEP = 500
"""Entries after which the progress bar moves: drawing it costs more than deciding a call."""

UNKNOWN = Mark("…", "cannot decide", "magenta")

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def backtest(
    policy: PolicyArgument,
    trace: Annotated[
        list[Path] | None,
        typer.Option("--trace", metavar="FILE", help="Runs in a file instead of the store's own."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only calls since then: 7d, 12h, 2026-01-31."),
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only this run.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only this agent's.")] = None,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="KEY=VALUE", help="What is known of every run's user."),
    ] = None,
    context: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Inputs of all runs that do not say them."),
    ] = None,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Decide every recorded call once more, and say what differs.

    Nothing runs and nobody is asked. Exits 0, whatever would change.
    """
    from saferun.policy import load
    from saferun.replay import Backtest, Tally

    if trace and since is not None:
        raise CannotError("A trace has no times, so --since goes with the store's history alone.")
    if trace and archive is not None:
        raise CannotError("--archive goes with the store's history, and not with a trace.")
    environment, given = _given(user or (), context)
    # An incident file is a history, and says nothing of the policies and settings here.
    configured = None if store is None or incident_file(store) is not None else store
    candidate = Backtest(
        load(near(policy_file(policy, configured))),
        environment=environment or settings(configured).environment,
        given=given,
        wanted=_wanted(run, agent),
    )
    tally = Tally()
    decided = (
        _traces(candidate, trace) if trace else _history(candidate, store, archive, _moment(since))
    )
    for each in decided:
        tally.add(each)
        if as_json:
            document(_line(each))
    summary = tally.summary(candidate.policy.ref)
    if as_json:
        document({"summary": msgspec.to_builtins(summary)})
    else:
        _Page(screen(), summary).print()
    return 0


def _line(each: "Redecided") -> dict[str, Any]:
    return {
        "run_id": each.run_id,
        "index": each.index,
        "call_id": each.call_id,
        "tool": each.tool,
        "verdict": each.verdict,
        "rules": each.rules,
        "control": each.control,
        "recorded": each.recorded,
        "missing": each.missing,
    }


def _traces(candidate: "Backtest", files: list[Path]) -> "Iterator[Redecided]":
    from saferun.replay import traces

    for file in files:
        size = file.stat().st_size if file.is_file() else 0
        with progress(f"deciding {inert(file.name, 40)}", size) as done:
            yield from candidate.trace(traces(file, done))


def _history(
    candidate: "Backtest", store: str | None, archive: Path | None, since: int
) -> "Iterator[Redecided]":
    from saferun.store.openings import Openings

    with (
        opened(store, archive, part=True) as reader,
        progress("deciding", reader.head().size) as done,
    ):
        yield from candidate.history(
            _entries(reader, done), reader.blob, since, Openings(reader).opening
        )
        complain(reader)


def _entries(reader: "Reader", done: Callable[[int], None]) -> "Iterator[Entry]":
    from saferun.incident import veiled
    from saferun.ledger import EntryError, read

    archived, away = reader.archived(), 0
    for seq, body, _ in reader.rows():
        if seq % STEP == 0:
            done(seq)
        if body == b"" and seq < archived:
            away += 1
            continue
        try:
            entry = read(body)
        except (EntryError, TypeError):
            told(f"Entry {seq} cannot be read; `saferun ledger verify` says what is wrong.")
            continue
        yield veiled(entry) if reader.redacted(seq) else entry
    if away:
        many = counted(away, "entry lies", "entries lie")
        told(f"{many} in an archive and were left out; name its folder with --archive FOLDER.")


def _wanted(run: str | None, agent: str | None) -> "Callable[[RunRef | None], bool]":
    def wanted(about: "RunRef | None") -> bool:
        if run is not None and (about is None or about.run_id != run):
            return False
        return agent is None or (about is not None and about.agent == agent)

    return wanted


def _given(user: "tuple[str, ...] | list[str]", file: Path | None) -> "tuple[str | None, Given]":
    """The environment and what else the command line says of the runs."""
    from saferun.replay import Given

    said: dict[str, Any] = {}
    if file is not None:
        try:
            said = msgspec.json.decode(contents(file, MAX_CONTEXT), type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            raise CannotError(f"{file} holds no JSON object with inputs: {problem}.") from None
    try:
        own = msgspec.convert(said, _Own)
    except msgspec.ValidationError as problem:
        raise CannotError(f"{file} says something that cannot be: {problem}.") from None
    known = {"id": own.user} if isinstance(own.user, str) else own.user
    return own.environment, Given(
        agent=own.agent,
        user={**known, **dict(_pair(each) for each in user)},
        tenant=own.tenant,
        context={name: value for name, value in said.items() if name not in _OWN},
    )


class _Own(msgspec.Struct):
    """What a file of inputs may say of a run's own fields; all else in it is for `inputs`."""

    user: str | dict[str, Any] = {}
    agent: str | None = None
    tenant: str | None = None
    environment: str | None = None


_OWN = frozenset(_Own.__struct_fields__)


def _pair(said: str) -> tuple[str, str]:
    name, equals, value = said.partition("=")
    if not (name and equals):
        raise CannotError(f"--user {said!r} is not of the form KEY=VALUE, as in tier=gold.")
    return name, value


def _moment(when: str | None) -> int:
    """A time in microseconds since 1970, UTC; one without a zone is local. Raises CannotError."""
    if when is None:
        return 0
    ago = _AGO.fullmatch(when)
    if ago is not None:
        return round((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1e6)
    try:
        return round(datetime.fromisoformat(when).astimezone().timestamp() * 1e6)
    except (ValueError, OverflowError, OSError):
        raise CannotError(
            f"--since {when!r} is no time; write 7d or 12h for so long ago, or 2026-01-31T09:00."
        ) from None


class _Page:
    """A backtest on paper: all of it in two lines, then rules, inputs and runs."""

    def __init__(self, console: "Console", summary: "Summary") -> None:
        self._console = console
        self._summary = summary

    def print(self) -> None:
        self._print_head()
        summary = self._summary
        if not summary.calls:
            return
        if summary.labels is not None:
            self._print_labels(summary.labels)
        if summary.rules:
            self._print_rules(summary.rules)
        for title, calls in (
            ("In shadow, and would have spoken on", summary.shadow),
            ("Cannot decide, for want of", summary.missing),
        ):
            if calls:
                self._title(title)
                rows = ((inert(name, 40), counted(many, "call")) for name, many in calls.items())
                facts(self._console, *rows)
        if summary.look:
            self._title("Runs to look at")
            for run in summary.look[:RUNS]:
                self._print_run(run)

    def _print_head(self) -> None:
        from rich.text import Text

        summary = self._summary
        name, version = summary.policy.name, summary.policy.version[:12]
        said = f"{inert(name)} @ {inert(version)}"
        if not summary.calls:
            self._console.print(Text(f"No calls to decide by {said}."))
            return
        many = f"{counted(summary.calls, 'call')} of {counted(summary.runs, 'run')}"
        self._console.print(Text.assemble((many, "bold"), (f"  by {said}", "dim")))
        line = Text("  ")
        for verdict, number in summary.verdicts.items():
            mark = VERDICTS.get(verdict, UNKNOWN)
            line.append(f"{mark.icon} {number:,} {mark.word}", mark.style if number else "dim")
            line.append("   ")
        self._console.print(line)
        if summary.recorded:
            new = summary.newly
            said = ", ".join(f"{number:,} newly {word}" for word, number in new.items() if number)
            compared = f"  Of {counted(summary.recorded, 'recorded verdict')}, "
            self._console.print(Text(compared + (said or "none would change") + "."))

    def _title(self, said: str) -> None:
        from rich.text import Text

        self._console.print()
        self._console.print(Text(said, "bold"))

    def _print_labels(self, labels: "LabelTally") -> None:
        self._title("By the labels")
        rows: list[tuple[str, str]] = []
        if labels.malicious or labels.harmless:
            rows += [
                ("caught", f"{labels.caught:,} of {counted(labels.malicious, 'malicious call')}"),
                ("missed", f"{labels.missed:,}"),
            ]
            if labels.undecided:
                rows.append(("cannot decide", f"{labels.undecided:,}"))
            harmless = counted(labels.harmless, "harmless call")
            rows.append(("false alarms", f"{labels.false_alarms:,} of {harmless}"))
        if labels.attacked:
            runs = counted(labels.attacked, "attacked run")
            rows.append(("stopped in", f"{labels.stopped:,} of {runs}"))
        if labels.peaceful:
            runs = counted(labels.peaceful, "run that was not", "runs that were not")
            rows.append(("disturbed", f"{labels.disturbed:,} of {runs}"))
        facts(self._console, *rows)

    def _print_rules(self, rules: "list[RuleTally]") -> None:
        from rich.table import Table
        from rich.text import Text

        self._console.print()
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=34)
        # What was recorded is the better thing to compare with, and both would not fit.
        compared = self._summary.recorded > 0
        newly = ["newly denied", "newly asked", "newly allowed"]
        heads = ["spoke", *(newly if compared else ["denied", "asked"])]
        for _ in heads:
            table.add_column(no_wrap=True, justify="right")
        table.add_row(Text("rule", "bold"), *(Text(head, "dim") for head in heads))
        for rule in rules[:RULES]:
            cells = [(rule.denied, DENIED), (rule.asked, ASKED)]
            if compared:
                cells = [
                    (rule.newly_denied, DENIED),
                    (rule.newly_asked, ASKED),
                    (rule.newly_allowed, ALLOWED),
                ]
            told = (_cell(many, mark) for many, mark in cells)
            table.add_row(Text(f"  {inert(rule.id, 60)}"), Text(f"{rule.calls:,}"), *told)
        self._console.print(table)
        if len(rules) > RULES:
            rest = counted(len(rules) - RULES, "more rule")
            self._console.print(Text(f"  … {rest}; --json has them all", "dim"))

    def _print_run(self, run: "RunTally") -> None:
        from rich.text import Text

        told = [
            (run.missed, "missed"),
            (run.false_alarms, counted(run.false_alarms, "false alarm").split(" ", 1)[1]),
            (run.newly_denied, "newly denied"),
            (run.newly_asked, "newly asked"),
            (run.newly_allowed, "newly allowed"),
        ]
        said = [f"{number:,} {word}" for number, word in told if number]
        if not said:
            said = [
                f"{number:,} {word}"
                for number, word in ((run.denied, "denied"), (run.asked, "asked"))
                if number
            ]
        name = "calls of no run" if run.run_id is None else inert(run.run_id, 120)
        lead = Text("  ")
        line = Text.assemble(name, (f"  {', '.join(said)}", "dim"))
        put(self._console, beside(self._console, lead, line))


def _cell(many: int, mark: Mark) -> "Text":
    from rich.text import Text

    return Text(f"{many:,}", mark.style) if many else Text("·", "dim")
