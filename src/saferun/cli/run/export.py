"""`saferun run export`: a run as a file, for people who have no access to the store."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from saferun.cli.history import ArchiveOption
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.run import carried, incident_out, preview
from saferun.cli.run.as_test import tested


class For(StrEnum):
    """For whom."""

    PUBLIC = "public"
    TEAM = "team"
    FULL = "full"


What: TypeAlias = list[str] | None


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="One page that opens anywhere, offline."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.saferun", help="An incident file."),
    ] = None,
    pytest: Annotated[
        Path | None,
        typer.Option("--pytest", metavar="FILE.py", help="A test, with an incident file beside."),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="The agent's code, which that test reruns."),
    ] = None,
    stops: Annotated[
        list[str] | None,
        typer.Option(metavar="FRAME", help="What that test has stopped; by default, by label."),
    ] = None,
    audience: Annotated[
        For | None,
        typer.Option(
            "--for",
            help="Who gets it, and so how much goes out.",
            show_default="public for a page, and to be said for an incident file",
        ),
    ] = None,
    hide: Annotated[
        What,
        typer.Option("--hide", metavar="WHAT", help="A part, or a path such as args.email."),
    ] = None,
    replace: Annotated[
        What,
        typer.Option("--replace", metavar="WHAT", help="The same, by stable placeholders."),
    ] = None,
    show: Annotated[
        What, typer.Option("--show", metavar="WHAT", help="The same, as it is.")
    ] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Open sensitive values too, as far as keys are here.")
    ] = False,
    previews: Annotated[
        bool, typer.Option("--preview", help="Say what would go out, and write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask once more.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a run to one file.

    That is a page or an incident file, and holds no more than who gets it may see. It says what
    goes out, field by field, and asks at a terminal. Nothing is written to the ledger. Exits 0, and
    1 where somebody says no.

    An incident file has the run and what began within it: the ledger's own entries with their
    proofs, the large values and the policies that decided, signed by the ledger's key where that is
    here. What is sensitive stays sealed. Only one for `full` can be rerun, and without --for it is
    that, once somebody at a terminal has agreed. `saferun open FILE` shows it, and
    `saferun run verify FILE` says who vouches for it.

    With --pytest, a test is written, and an incident file beside it: it has the agent's code make
    the run again, and the policies as they are now decide on its calls.
    """
    if pytest is not None:
        if output is not None or html is not None or previews:
            raise CannotError("Write one at a time: --pytest writes its incident file itself.")
        if audience not in (None, For.FULL) or hide or replace or show or sealed:
            raise CannotError("A test needs all of a run: with --pytest goes --for full alone.")
        return tested(
            run,
            pytest,
            agent,
            stops or (),
            named=audience is not None,
            yes=yes,
            archive=archive,
            store=store,
            as_json=as_json,
        )
    if agent is not None or stops:
        raise CannotError("--agent and --stops are for the test that --pytest writes.")
    if output is not None and html is not None:
        raise CannotError("Write one at a time: -o FILE.saferun, or --html FILE.")
    if output is None and html is None and not previews:
        raise CannotError(
            "Say what to write: --html FILE or -o FILE.saferun, or --preview for what would go out."
        )
    if output is not None and sealed:
        raise CannotError(
            "In an incident file, what is sealed stays sealed: --sealed is for --html."
        )
    default = For.PUBLIC if output is None else For.FULL
    wanted = preview.wanted((audience or default).value, show=show, replace=replace, hide=hide)
    if output is not None:
        return incident_out.export(
            run,
            output,
            wanted,
            named=audience is not None,
            previews=previews,
            yes=yes,
            archive=archive,
            store=store,
            as_json=as_json,
        )
    return carried.export(
        run,
        None if previews else html,
        wanted,
        opens=sealed,
        yes=yes,
        archive=archive,
        store=store,
        as_json=as_json,
    )
