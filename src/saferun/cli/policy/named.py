"""The policy that a command is about."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from saferun.cli.options import CannotError, meant, settings

PolicyArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="POLICY", help="A policy's name, or the path of its file.")
]


def policy_file(named: str, store: str | None) -> Path:
    """The file of a policy, found as `guard` finds it. Raises CannotError where it is not there."""
    configured = settings(store)
    path = configured.policy_file(named)
    if not path.is_file() and path.parent == configured.policies:
        known = [file.stem for file in path.parent.glob("*.yaml")]
        raise CannotError(f"There is no policy {named!r} in {path.parent}{meant(named, known)}")
    return path
