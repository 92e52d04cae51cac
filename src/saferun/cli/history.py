"""The history that a command reads: a store's, and where it is named, an archive's with it."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from saferun.cli.options import CannotError, store_file
from saferun.cli.screen import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saferun.store import Reader

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
    from saferun.store.archive import Archive

    if not archive.is_dir():
        raise CannotError(f"There is no archive at {archive}; name the folder of its segments.")
    with Archive(archive) as segments, Reader(store_file(store), segments) as reader:
        yield reader


def complain(reader: "Reader") -> None:
    """Say on stderr what was wrong with the archive, should anything have been."""
    if reader.archive is not None and reader.archive.trouble is not None:
        told(reader.archive.trouble)
