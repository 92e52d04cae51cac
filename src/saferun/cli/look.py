"""`saferun open`: the console on an incident file, with nothing else needed."""

import contextlib
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.ledger.kept import keys_in
from saferun.cli.options import CannotError, JsonOption
from saferun.cli.run.verify import VkeyOption
from saferun.cli.screen import ALLOWED, document, headline, screen
from saferun.cli.serve import lacking, until_told

_PATIENCE = 5.0
"""Seconds that the end waits for the index of the file, so that nothing is left of it."""


def look(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An incident file.")],
    vkey: VkeyOption = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; by default any that is free.")
    ] = 0,
    print_link: Annotated[
        bool,
        typer.Option("--print-link", help="Print the one-time link where no terminal shows it."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Show an incident file in the console, until told to stop.

    It is read to its end and held against itself first, and a file that was changed is not shown:
    see `saferun run verify`. The page says how far it is verified. Nothing in it can act, and
    nobody but whoever has started this can look. It ends by Ctrl-C or SIGTERM, and exits 0.
    """
    from saferun.incident import opened

    missing = lacking()
    if missing is not None:
        raise CannotError(missing)
    from saferun.console import Server
    from saferun.console.incident import Viewer, banner

    trusted = () if vkey is None else keys_in(vkey)
    leaving = threading.Event()
    with until_told(leaving), contextlib.ExitStack() as until:
        try:
            found = until.enter_context(opened(file, trusted))
        except OSError as problem:
            raise CannotError(f"{file} cannot be read: {problem.strerror}.") from None
        viewer = Viewer(found)
        server = Server(viewer.app, "127.0.0.1", port)
        until.callback(server.stop)
        until.callback(viewer.close)
        server.start()
        indexing = threading.Thread(target=viewer.history.index, name="saferun-index", daemon=True)
        indexing.start()
        until.callback(indexing.join, _PATIENCE)
        if as_json:
            document({"url": f"{server.url}{viewer.link()}", "state": found.incident.state})
        else:
            said, verified = banner(found), found.incident.by is not None
            icon, style = (ALLOWED.icon, ALLOWED.style) if verified else ("!", "yellow")
            headline(screen(), icon, style, f"{said.name}: {said.says}")
            if print_link or sys.stdout.isatty():
                sys.stdout.write(f"  {inert(server.url)}{viewer.link()}\n\n")
            else:
                # Whatever is no terminal is a log, and read by others than who has started this.
                sys.stdout.write(f"  {server.url}; --print-link prints a link that leads in\n\n")
        sys.stdout.flush()
        leaving.wait()
    return 0
