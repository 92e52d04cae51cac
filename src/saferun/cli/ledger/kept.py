"""What somebody has kept outside, in files: checkpoints and verifier keys."""

from pathlib import Path
from typing import TYPE_CHECKING

from saferun.cli.options import CannotError, contents

if TYPE_CHECKING:
    from saferun.ledger import Checkpoint, Verifier

_MAX_KEY = 10_000
"""Bytes of a file with a verifier key, which has about 150."""


def key_in(file: Path, names: tuple[str, ...] = ()) -> "Verifier":
    """The verifier key in a file, of one of these ledgers. Raises CannotError."""
    from saferun.ledger import NoteError, Verifier

    try:
        given = Verifier(contents(file, _MAX_KEY).decode().strip())
    except (NoteError, UnicodeDecodeError):
        raise CannotError(
            f"{file} holds no verifier key of the form NAME+ID+KEY; `saferun ledger vkey` "
            "prints that of a store."
        ) from None
    if names and given.name not in names:
        raise CannotError(
            f"The key in {file} is of the ledger {given.name!r}, and this store holds {names[0]!r}."
        )
    return given


def checkpoint_in(file: Path, names: tuple[str, ...]) -> "tuple[bytes, Checkpoint]":
    """The signed note in a file, and what it says; whether its signature fits is not looked at.

    One that is none, or another ledger's, is a mistake of whoever called. One that names this
    ledger and was not signed by its key is evidence: it or the key was changed.
    Raises CannotError.
    """
    from saferun.ledger import NoteError
    from saferun.ledger.note import MAX_NOTE
    from saferun.ledger.succession import stated

    note = contents(file, MAX_NOTE)
    try:
        said = stated(note)
    except NoteError:
        raise CannotError(
            f"{file} holds no signed checkpoint; `saferun ledger checkpoint > FILE` makes one."
        ) from None
    # After two losses there is a name in between, and only the entries know it.
    if said.origin not in names and len(set(names)) == 1:
        raise CannotError(
            f"The checkpoint in {file} is of the ledger {said.origin!r}, "
            f"and this store holds {names[0]!r}."
        )
    return note, said
