"""The options that every command has, and what they are applied to."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from saferun import config, files
from saferun.config import Config
from saferun.errors import SafeRunError

StoreOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Another store than the configured one."),
]

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON, for programs, instead.")
]

LimitOption: TypeAlias = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=1_000_000_000, help="How many to show.")
]


class CannotError(SafeRunError):
    """What was asked for cannot be done: one sentence on why, and on what to do."""


def settings(store: str | None, folder: Path | None = None) -> Config:
    """The configuration that holds in a folder, on the store that the command line names.

    A path in `--store` is meant from the working folder, as on every command line; one in
    the configuration is meant from the folder of its file. Raises ConfigError, and CannotError
    for an incident file: what takes one looks for it before it comes here.
    """
    if store is None:
        return config.load(folder)
    if store.endswith(".saferun"):
        raise CannotError(
            f"{store} is an incident file and no store; saferun run import FILE brings its run "
            "into one, and run list, show, step, diff and ledger search take the file itself."
        )
    named = f"sqlite:///{config.sqlite_path(store).absolute()}"
    return config.load(folder, {**os.environ, "SAFERUN_STORE": named})


def store_file(store: str | None) -> Path:
    """The database that a command reads. Raises ConfigError."""
    return config.sqlite_path(settings(store).store)


def meant(given: str, known: Sequence[str], most: int = 1) -> str:
    """The end of a sentence on a name that nobody knows: what it may have been meant for."""
    # To `difflib`, a letter in other case is as wrong as any other.
    alike = [name for name in known if name.casefold() == given.casefold()]
    close = alike[:most] or difflib.get_close_matches(given, known, most)
    if not close:
        return "."
    *first, last = map(repr, close)
    return f"; did you mean {', '.join(first)}{' or ' if first else ''}{last}?"


def spelled(option: str, value: str) -> str:
    """What an option says. Raises CannotError where that is bytes which are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CannotError(f"What {option} says is no text in UTF-8.") from None
    return value


def near(path: Path) -> str:
    """A path as one would type it here: relative where it lies below the working folder."""
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def contents(path: Path, limit: int) -> bytes:
    """A whole file of at most `limit` bytes, or all that comes through a pipe of that name.

    Raises CannotError.
    """
    try:
        return files.arrived(path, limit, files.PATIENCE)
    except OSError as problem:
        raise CannotError(f"{path} cannot be read: {problem.strerror}.") from None
