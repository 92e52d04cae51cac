"""What verification finds, and how it is said."""

from typing import Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["verified", "tampered", "unanchored"]

_EXIT: dict[State, int] = {"verified": 0, "tampered": 1, "unanchored": 2}


class Problem(msgspec.Struct, frozen=True):
    """The first thing that is wrong: at which entry, None where no single one is to blame."""

    seq: int | None
    sentence: str


class Wrong(Exception):
    """Verification ends here. `seq` is the entry to blame, None where it is not known."""

    def __init__(self, seq: int | None, sentence: str) -> None:
        self.seq = seq
        self.sentence = sentence
        super().__init__(seq, sentence)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    `entries` are those that were found right, up to the first problem, and `root` is that of
    their tree. The first `anchored` of them are as an external checkpoint has them. Of the first
    `since` only the leaves were looked at, because a checkpoint was trusted that far; of the
    `archived` ones as well, because their bytes lie elsewhere. `lost` entries are missing, and
    the ledger itself says so.

    `emptied` is the newest `archive` entry, where bytes are missing that it says lie elsewhere. One
    that no external checkpoint covers may have been put there by whoever took them away.

    `dangling` decisions may have started and have no outcome; of the `unknown` ones it is
    recorded that nobody knows. `blobs_missing` large values and `sealed_missing` openings of
    sealed ones were not to be had, as happens when they are erased; the others fit their hashes.
    `origin` is the name that the ledger goes under at its end.
    """

    entries: int
    root: bytes
    anchored: int
    dangling: int
    unknown: int
    blobs_missing: int
    sealed_missing: int = 0
    archived: int = 0
    emptied: int | None = None
    since: int = 0
    lost: int = 0
    origin: str | None = None
    problem: Problem | None = None

    @property
    def state(self) -> State:
        if self.problem is not None:
            return "tampered"
        return "verified" if self.anchored and not self._taken else "unanchored"

    @property
    def _taken(self) -> bool:
        """Whether bytes are missing by the word of an entry that nothing outside vouches for."""
        return self.emptied is not None and self.emptied >= self.anchored

    @property
    def exit_code(self) -> int:
        """0 verified up to an external checkpoint, 1 tampered, 2 consistent but not anchored."""
        return _EXIT[self.state]

    @property
    def unanchored(self) -> int:
        """How many entries came after the external checkpoint, or all where there is none."""
        return self.entries - self.anchored

    @property
    def summary(self) -> str:
        """The report in a sentence, and a second one on what was not read."""
        return f"{self._found} {self._left}".rstrip()

    @property
    def _found(self) -> str:
        if self.problem is not None:
            return f"Tampered: {self.problem.sentence}"
        if not self.anchored:
            return (
                f"Consistent but not anchored: no external checkpoint vouches for the "
                f"{counted(self.entries)}, so whoever holds the ledger and its keys could have "
                "rewritten all of it."
            )
        if self._taken:
            return (
                f"Consistent but not anchored: the leaves of the first {self.anchored:,} are those "
                f"that the external checkpoint vouches for, but the bytes of {self.archived:,} "
                f"are not here, and only entry {self.emptied}, which came after it, says that they "
                "were archived. Verify with --archive, or against a newer checkpoint."
            )
        if not self.unanchored:
            return (
                f"Verified: the {counted(self.entries)} are those that the external checkpoint "
                "vouches for."
            )
        after = f"{self.unanchored:,} after it are" if self.unanchored > 1 else "one after it is"
        return (
            f"Verified: of {counted(self.entries)}, the first {self.anchored:,} are those that "
            f"the external checkpoint vouches for; the {after} "
            "consistent but not anchored."
        )

    @property
    def _left(self) -> str:
        if self.problem is not None or not self.since:
            return ""
        return (
            f"Of the first {self.since:,} only the leaves were held against the checkpoint, "
            "and the entries themselves were not read again."
        )


def counted(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries:,} entries"
