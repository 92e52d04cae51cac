"""What commands share that a person answers for."""

from typing import Annotated, TypeAlias

import typer

from saferun.cli.options import CannotError, spelled

ReasonOption: TypeAlias = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; for people, and kept in clear.")
]

MAX_REASON = 2_000
"""Characters of a reason, which stands in one entry of the ledger."""


def reason_of(text: str | None) -> str | None:
    """A reason as it goes into the ledger. Raises CannotError where it cannot."""
    from saferun import redact

    if text is None:
        return None
    if not 0 < len(spelled("--reason", text)) <= MAX_REASON or "\0" in text:
        raise CannotError(f"--reason takes 1 to {MAX_REASON:,} characters.")
    return redact.text(text)
