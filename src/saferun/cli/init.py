"""`saferun init`: the files of a project that wants a checkpoint, and its store."""

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption
from saferun.cli.screen import ALLOWED, document, facts, screen

if TYPE_CHECKING:
    from saferun.store import Store

_FILES = {"saferun.toml": "saferun.toml", "production.yaml": "policies/production.yaml"}
"""What is written, by its name in the package and its place in the project."""

_IGNORED = "# The store holds what agents did, and its folder the keys.\n.saferun/\n"
_IS_IGNORED = re.compile(r"^[ \t]*(\*\*)?/?\.saferun/?[ \t]*$", re.MULTILINE)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The project; here by default.")
    ] = Path(),
    as_json: JsonOption = False,
) -> int:
    """Write a configuration and a first policy, and make the store and its keys.

    A file that is there already is kept as it is.
    """
    made, kept = _scaffolded(folder)
    store = _store(folder)
    try:
        key = store.signer().vkey()
    finally:
        store.close()
    if as_json:
        document({"made": made, "kept": kept, "store": str(store.path), "vkey": key})
    else:
        _print(made, kept, store.path, key)
    return 0
