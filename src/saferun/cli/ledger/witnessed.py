"""What `ledger verify --witness` goes by: cosignatures, by keys that come from outside.

The notes may lie beside the store, since nobody without a witness's key can make its line. So
no checkpoint has to be kept anywhere by the one who verifies, only the witnesses' keys and the
ledger's own, which says which of the ledgers that they know it is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, contents
from saferun.cli.screen import counted, moment

if TYPE_CHECKING:
    from saferun.ledger import Checkpoint, Quorum, Verifier, Witness
    from saferun.store import Reader

WitnessOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--witness", metavar="FILE", help="Keys of witnesses, one a line; may be said twice."
    ),
]
QuorumOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--quorum", metavar="N", help="How many of them are enough; all by default."),
]

_MAX_KEYS = 100_000
"""Bytes of a file with witnesses' keys, which have about 150 each."""


class Witnessed(NamedTuple):
    """What witnesses vouch for, of how many that had to, or what speaks against that."""

    quorum: "Quorum | None"
    need: int
    doubt: str | None = None

    @property
    def agreed(self) -> "tuple[Checkpoint, ...]":
        """The checkpoint that enough of them vouch for, if there is one."""
        found = None if self.quorum is None else self.quorum.checkpoint
        return () if found is None else (found,)

    @property
    def beyond(self) -> "Sequence[Checkpoint]":
        """Longer ones, for which fewer vouch: the ledger has to hold them all the same."""
        return () if self.quorum is None else self.quorum.beyond

    def rows(self) -> Iterator[tuple[str, str]]:
        """What is said of it to people."""
        if self.need == 0:
            return
        said = [] if self.quorum is None else self.quorum.said
        many = counted(len(said), "witness vouches", "witnesses vouch")
        yield "quorum", f"{many} for it, and it takes {self.need}"
        for each in said:
            seen = counted(each.checkpoint.size, "entry", "entries")
            yield "", f"{inert(each.witness.name)}: {seen}, {moment(each.time * 1_000_000)}"

    def document(self) -> dict[str, object]:
        said = [] if self.quorum is None else self.quorum.said
        return {
            "quorum": self.need or None,
            "witnesses": [
                {
                    "name": each.witness.name,
                    "size": each.checkpoint.size,
                    "time": each.time * 1_000_000,
                }
                for each in said
            ],
        }


def witnessed(
    reader: "Reader",
    files: Sequence[Path] | None,
    need: int | None,
    checkpoint: Path | None,
    trusted: "Sequence[Verifier]",
) -> Witnessed:
    """How far the witnesses in `files` vouch for the ledger.

    By the notes that places have given back and that the store keeps, and the one in the file
    `checkpoint`. Raises CannotError where the files hold no keys, or too few, and where none of
    the `trusted` keys is of the ledger as it is called now.
    """
    from saferun.ledger import NoteError, Verifier, quorum
    from saferun.ledger.note import MAX_NOTE
    from saferun.store.anchors import anchored

    if not files:
        if need is not None:
            raise CannotError("--quorum counts witnesses; name their keys with --witness FILE.")
        return Witnessed(None, 0)
    witnesses = [witness for file in files for witness in _keys(file)]
    own = {Verifier(vkey).key for _, vkey in reader.named_keys().vkeys}
    if any(witness.key in own for witness in witnesses):
        raise CannotError("One of the witnesses has the ledger's own key, and so is none.")
    different = len({witness.key for witness in witnesses})
    need = different if need is None else need
    if not 1 <= need <= different:
        raise CannotError(f"--quorum is 1 to {different}, as many as there are witnesses.")
    if all(key.name != reader.origin for key in trusted):
        # Else any ledger that they have ever seen could stand in the place of this one.
        raise CannotError(
            f"Witnesses vouch for every ledger that they know; name the key of {reader.origin}, as "
            "it was kept outside, with --vkey FILE."
        )
    notes = [place.note for place in anchored(reader) if place.note]
    if checkpoint is not None:
        notes.append(contents(checkpoint, MAX_NOTE))
    try:
        return Witnessed(quorum(notes, witnesses, need, reader.origin), need)
    except NoteError as problem:
        return Witnessed(None, need, f"A note that a witness has signed does not open. {problem}")


def _keys(file: Path) -> "Iterator[Witness]":
    from saferun.ledger import NoteError, Witness

    try:
        lines = contents(file, _MAX_KEYS).decode().split("\n")
        found = [Witness(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    except (NoteError, UnicodeDecodeError) as problem:
        raise CannotError(
            f"{file} holds no keys of witnesses, NAME+ID+KEY, one a line: {problem}"
        ) from None
    if not found:
        raise CannotError(f"{file} holds no key of a witness.")
    yield from found
