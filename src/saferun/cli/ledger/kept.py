"""What somebody has kept outside, in files: checkpoints and verifier keys."""

from pathlib import Path
from typing import TYPE_CHECKING

from saferun.cli.options import CannotError, contents

if TYPE_CHECKING:
    from saferun.ledger import Checkpoint, Verifier

_MAX_KEYS = 100_000
"""Bytes of a file with verifier keys, which have about 150 each."""


def keys_in(file: Path, names: tuple[str, ...] = ()) -> "tuple[Verifier, ...]":
    """The verifier keys in a file, one a line, of these ledgers or of others of the same store.

    At least one is of one of these. Raises CannotError.
    """
    from saferun.ledger import NoteError, Verifier

    try:
        lines = contents(file, _MAX_KEYS).decode().split("\n")
        given = tuple(Verifier(line.strip()) for line in lines if line.strip())
    except (NoteError, UnicodeDecodeError):
        given = ()
    if not given:
        raise CannotError(
            f"{file} holds no verifier key of the form NAME+ID+KEY, or keys, one a line; `saferun "
            "ledger vkey` prints those of a store."
        )
    if names and all(each.name not in names for each in given):
        raise CannotError(
            f"The key in {file} is of the ledger {given[-1].name!r}, and this store holds "
            f"{names[0]!r}."
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
