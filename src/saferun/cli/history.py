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
def opened(store: str | None, archive: Path | None) -> "Iterator[Reader]":
    """The store's history, with what lies in an archive. Raises CannotError."""
    from saferun.store import Reader

    if archive is None:
        with Reader(store_file(store)) as reader:
            yield reader
        return
    with archived(archive) as segments, Reader(store_file(store), segments) as reader:
        yield reader


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
