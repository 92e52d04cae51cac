"""The history that a command reads: a store's, and where it is named, an archive's with it."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from saferun.cli.options import CannotError, store_file
from saferun.cli.screen import told
from saferun.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saferun.store import Reader
    from saferun.store.archive import Archive

ArchiveOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--archive", metavar="FOLDER", help="Where entries that are archived lie."),
]


@contextlib.contextmanager
def opened(store: str | None, archive: Path | None, *, part: bool = False) -> "Iterator[Reader]":
    """The store's history, with what lies in an archive.

    Where `part` of a ledger will do, that of an incident file as well. Raises CannotError.
    """
    from saferun.store import Reader

    with contextlib.ExitStack() as until:
        file = None if store is None else incident_file(store)
        if file is not None and not part:
            raise _partly(file)
        path = store_file(store) if file is None else until.enter_context(incident(file))
        segments = None if archive is None else until.enter_context(archived(archive))
        reader = until.enter_context(Reader(path, segments))
        if reader.excerpt and not part:
            raise _partly(path)
        yield reader


def _partly(file: Path) -> CannotError:
    return CannotError(
        f"{file} holds a run and no whole ledger; saferun run verify FILE says who vouches for an "
        "incident file."
    )


def incident_file(given: str) -> Path | None:
    """The incident file that a command is given where it takes a store or a run; else None.

    Raises CannotError where it is called like one, and there is no such file.
    """
    # As `incident.SUFFIX` has it, without loading all of that for each look at a store.
    if not given.endswith(".saferun"):
        return None
    path = Path(given)
    if not path.is_file():
        what = "is no ordinary file" if path.exists() else "is not there"
        raise CannotError(f"{given} {what}; name an incident file, or a run or a store.")
    return path


@contextlib.contextmanager
def incident(file: Path) -> "Iterator[Path]":
    """The store of an incident file, for a block. Raises IncidentError."""
    from saferun.incident import opened as unpacked

    with unpacked(file) as found:
        told(f"{file}: {found.incident.summary}")
        yield found.path


def archived(folder: Path) -> "Archive":
    """What lies in a folder of archived entries. Raises CannotError."""
    from saferun.store.archive import Archive

    if not folder.is_dir():
        raise CannotError(f"There is no archive at {folder}; name the folder of its segments.")
    return Archive(folder)


def complain(reader: "Reader") -> None:
    """Say on stderr what was wrong with the archive, should anything have been.

    And that the store has lost its end, should it have: then this is not all that there was.
    """
    try:
        reader.hold()
    except StoreError as problem:
        told(str(problem))
    if reader.archive is not None and reader.archive.trouble is not None:
        told(reader.archive.trouble)
