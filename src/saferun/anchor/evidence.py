"""What places outside say of the ledger, for a verification.

A witness's line under a note can be made by its key alone, so that it counts wherever the note is
kept. A folder's files are counted as they lie there now, and not as the store remembers them. What
a command was told is nowhere to be read.
"""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from saferun.anchor.folder import FolderPlace
from saferun.anchor.place import Place
from saferun.anchor.witness import WitnessPlace
from saferun.ledger import Checkpoint, NoteError, Verifier, quorum
from saferun.store import Reader
from saferun.store.anchors import anchored


class Evidence(NamedTuple):
    """The newest checkpoint of each place that has one, and what speaks against the ledger."""

    checkpoints: tuple[Checkpoint, ...] = ()
    doubt: str | None = None


def evidence(reader: Reader, places: Sequence[Place]) -> Evidence:
    """What these places say of a store's ledger. A folder that cannot be read says nothing.

    Raises StoreError where the store cannot be read.
    """
    keys = [Verifier(vkey) for _, vkey in reader.named_keys().vkeys]
    own = {each.key for each in keys}
    found: list[Checkpoint] = []
    for place in places:
        if isinstance(place, FolderPlace):
            with contextlib.suppress(OSError):
                newest = place.newest(keys, reader.origin)
                found += [newest] if newest is not None else []
    witnesses = [
        place.witness
        for place in places
        # One that has the ledger's own key adds nothing to it.
        if isinstance(place, WitnessPlace) and place.witness.key not in own
    ]
    notes = [each.note for each in anchored(reader) if each.note]
    try:
        said = quorum(notes, witnesses, 1, reader.origin).said if witnesses else ()
    except NoteError as problem:
        doubt = f"A note that a witness has signed does not open. {problem}"
        return Evidence(tuple(found), doubt)
    return Evidence((*found, *(each.checkpoint for each in said)))
