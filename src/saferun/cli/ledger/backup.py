"""`saferun ledger backup`: a copy of the store, of one moment, while agents run."""

import base64
from pathlib import Path
from typing import Annotated

import typer

from saferun.call import size
from saferun.cli.ledger.note import own_key
from saferun.cli.options import JsonOption, StoreOption, near, store_file
from saferun.cli.screen import (
    ALLOWED,
    beside,
    counted,
    document,
    facts,
    progress,
    put,
    screen,
)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy is to lie.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there already.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Copy the store while agents run, and verify the copy.

    The keys are not in it: keep the folder `keys` as well, somewhere else.
    """
    from rich.text import Text

    from saferun.store import Reader
    from saferun.store.backup import backup as copied
    from saferun.store.sizes import health_of

    path = store_file(store)
    with Reader(path) as reader:
        signer = own_key(reader, store)
        total = health_of(reader).size
    with progress("copying", total) as tell:
        done = copied(path, file, signer, force=force, progress=lambda at, _: tell(at))
    root = base64.b64encode(done.checkpoint.root).decode()
    if as_json:
        document(
            {
                "file": str(file),
                "bytes": done.size,
                "entries": done.entries,
                "checkpoint": {
                    "origin": done.checkpoint.origin,
                    "size": done.checkpoint.size,
                    "root": root,
                    "note": done.note.decode(),
                },
            }
        )
        return 0
    console = screen()
    said = f"to {near(file)}, {size(done.size)}; every entry in it was read again."
    put(console, beside(console, Text(f"{ALLOWED.icon} copied  ", ALLOWED.style), said))
    console.print()
    facts(
        console,
        ("ledger", done.checkpoint.origin),
        ("entries", f"{done.entries:,}"),
        ("signed", f"the first {counted(done.checkpoint.size, 'entry', 'entries')}"),
        ("root", root),
        ("keys", f"not in it; keep {near(path.parent / 'keys')} as well, somewhere else"),
    )
    return 0
