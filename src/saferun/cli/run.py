"""`saferun run`: what agents did, read back from the ledger frame by frame."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, meant, store_file
from saferun.cli.screen import (
    ASKED,
    DENIED,
    MODEL,
    MODIFIED,
    USER,
    VERDICTS,
    Mark,
    counted,
    document,
    moment,
    progress,
    screen,
    shown,
    size,
    span,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.ledger import Entry
    from saferun.replay import Frame, RunStory
    from saferun.store import Reader

app = typer.Typer(name="run", help="Look at what agents did.", no_args_is_help=True)
