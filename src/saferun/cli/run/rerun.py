"""`saferun run rerun`: a program's own code against the record of one of its runs."""

import contextlib
import os
import secrets
import subprocess
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, store_file
from saferun.cli.run.told import history_of, named
from saferun.cli.screen import ALLOWED, DENIED, counted, document, facts, put, screen, told
from saferun.rerun import PINS, VARIABLE, Order, Pin, Report, made

_STDERR = 2

_NOT_NEEDED = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
"""What clients of models want to have before they are asked anything, and nothing is sent with."""


def rerun(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's id, or its beginning, or an incident file."),
    ],
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND", help="The program, and its arguments.")
    ],
    pin: Annotated[
        str, typer.Option(metavar="WHAT", help=f"Of {', '.join(PINS)}, what is to hold fast.")
    ] = "",
    writes: Annotated[
        list[Path] | None,
        typer.Option("--writes", metavar="FOLDER", help="A folder that may be written in."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep what it did as a run, for saferun run diff."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have a program make a run again, answered from its record. Exits 1 where it diverges.

    An incident file in the place of the run is made again as well, and needs no store.
    """
    if keep is not None:
        from saferun.replay.rerun import room

        room(keep)
    with contextlib.ExitStack() as until:
        path, run_id = _recorded(run, store, until)
        scratch = Path(until.enter_context(TemporaryDirectory(prefix="saferun-rerun-")))
        report = scratch / f"report-{secrets.token_hex(4)}.json"
        order = Order(
            run=run_id,
            store=f"sqlite:///{path.absolute()}",
            scratch=str(scratch),
            report=str(report),
            pin=_pins(pin),
            writes=[str(each.absolute()) for each in writes or ()],
        )
        status = _run(command, order, scratch, to_stderr=as_json)
        said = _report(report, command)
        if keep is not None:
            _keep(path, said, keep)
    if as_json:
        document({**_document(said, status), **({} if keep is None else {"kept": str(keep)})})
    else:
        put(screen(), _lines(said))
        if keep is not None:
            facts(
                screen(),
                ("kept", f"saferun run diff {quote(inert(run))} {quote(inert(str(keep)))}"),
            )
    return 0 if said.stopped is None else 1 if said.stopped.diverged else 2


def _recorded(run: str, store: str | None, until: contextlib.ExitStack) -> tuple[Path, str]:
    """The store that has the record, for as long as `until` is open, and the run's id."""
    if run.endswith(".saferun"):
        from saferun.incident import opened

        try:
            found = until.enter_context(opened(Path(run)))
        except OSError as problem:
            raise CannotError(f"{run} cannot be read: {problem.strerror}.") from None
        told(f"{run}: {found.incident.summary}")
        return found.path, found.incident.manifest.run
    with history_of(store, None) as (_, index):
        return store_file(store), named(index, run)


def _pins(given: str) -> list[Pin]:
    named = [each.strip() for each in given.split(",") if each.strip()]
    found = [each for each in PINS if each in named]
    if len(found) < len(set(named)):
        raise CannotError(f"--pin takes some of {', '.join(PINS)}, with commas between them.")
    return found


def _run(command: list[str], order: Order, scratch: Path, *, to_stderr: bool) -> int:
    """Have the program run under that order. Returns its exit status."""
    file = scratch / "order.json"
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(order))
    environment = {
        **dict.fromkeys(_NOT_NEEDED, "rerun"),
        **os.environ,
        VARIABLE: str(file),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        # What the program prints must not stand in the document.
        done = subprocess.run(  # noqa: S603 - the command that was asked for
            command, env=environment, check=False, stdout=_STDERR if to_stderr else None
        )
    except OSError as problem:
        raise CannotError(f"{command[0]} cannot be run: {problem.strerror}.") from None
    return done.returncode


def _report(path: Path, command: list[str]) -> Report:
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except FileNotFoundError:
        raise CannotError(
            f"{command[0]} has not said how far it came: it never imported saferun, or was ended "
            "before its own end."
        ) from None
    if report.stopped is None and not report.ended:
        raise CannotError(f"{command[0]} was ended before its own end.")
    return report


def _keep(path: Path, said: Report, folder: Path) -> None:
    from saferun.replay.rerun import keep
    from saferun.store import Reader
    from saferun.store.index import Index

    with Reader(path) as reader, Index(reader) as index:
        index.build()
        keep(index, made(said.made, said.stopped, said.aside), folder)


def _document(said: Report, status: int) -> dict[str, Any]:
    stopped = said.stopped
    found: dict[str, Any] = {"run": said.run, "frames": said.frames, "divergence": None}
    if stopped is not None:
        where = {"run": stopped.run, "frame": stopped.frame}
        if stopped.diverged:
            found["divergence"] = {**where, "recorded": stopped.recorded, "now": stopped.now}
        else:
            found["unanswered"] = {**where, "why": stopped.why}
    return {**found, "left": said.left, "refused": said.refused, "exit": status}


def _lines(said: Report) -> Any:
    from rich.text import Text

    stopped = said.stopped
    if stopped is None:
        many = counted(said.frames, "frame")
        yield Text(f"✓ No divergence: {many} of run {inert(said.run, 80)}.", ALLOWED.style)
        yield from (Text(f"  {each}", "dim") for each in said.left)
    else:
        first, *others = stopped.why.split("\n")
        yield Text(f"✕ {first}", f"bold {DENIED.style}")
        yield from (Text(each) for each in others)
    for each in said.refused[:10]:
        yield Text(f"! refused: {inert(each, 200)}", "yellow")
