"""`saferun policy schema`: the form of a policy file, for editors."""

from pathlib import Path
from typing import Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, near
from saferun.cli.screen import ALLOWED, raw, screen


def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it to a file instead."),
    ] = None,
) -> int:
    """Print the JSON Schema that editors complete and check by.

    It is that of this version, so write it anew when SafeRun is updated.
    """
    from rich.text import Text

    from saferun.policy import editor

    published = editor.text().encode()
    if output is None:
        raw(published)
        return 0
    try:
        output.write_bytes(published)
    except OSError as problem:
        raise CannotError(f"{output} cannot be written: {problem.strerror}.") from None
    line = Text.assemble((f"{ALLOWED.icon} wrote", ALLOWED.style), f"  {inert(near(output))}")
    screen().print(line, soft_wrap=True)
    return 0
