"""`saferun run export`: a run as a file, for people who have no access to the store."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from saferun.cli.history import ArchiveOption
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.run import carried


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
    audience: Annotated[
        For, typer.Option("--for", help="Who gets to see it, and so how much of it goes out.")
    ] = For.PUBLIC,
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
    preview: Annotated[
        bool, typer.Option("--preview", help="Say what would go out, and write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask once more.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a run to one file, for an audience.

    It holds no more than who gets it may see. At a terminal it shows what goes out, field by field,
    and asks. Nothing is written to the ledger. Exits 0, and 1 where somebody says no.
    """
    if html is None and not preview:
        raise CannotError("Say what to write: --html FILE, or --preview for what would go out.")
    wanted = carried.wanted(audience.value, show=show, replace=replace, hide=hide)
    return carried.export(
        run,
        None if preview else html,
        wanted,
        opens=sealed,
        yes=yes,
        archive=archive,
        store=store,
        as_json=as_json,
    )
