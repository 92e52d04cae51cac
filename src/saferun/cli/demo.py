"""`saferun demo`: the checkpoint at work, in a folder of its own."""

from pathlib import Path
from typing import Annotated

import typer

from saferun.cli.screen import screen


def demo(
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Answer every question with yes, asking nobody.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Where to leave what it makes; demo-out by default."),
    ] = None,
) -> int:
    """Watch an agent meet the checkpoint."""
    from saferun.demo import play

    return play(yes=yes, folder=folder, console=screen())
