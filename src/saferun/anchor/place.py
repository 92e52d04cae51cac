"""A place outside: what it is offered, how long it may take, and how it says no."""

import re
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal, NamedTuple, Protocol

from saferun.errors import SafeRunError
from saferun.ledger import Checkpoint, Verifier

Kind = Literal["witness", "folder", "command"]


class AnchorError(SafeRunError):
    """A place that has not taken a checkpoint: one sentence on why, without the place's name."""


class RefusedError(AnchorError):
    """A place that has seen something else than this ledger, which speaks against the ledger."""


class History(Protocol):
    """The ledger's tree as it is now, for proofs to whoever has seen less of it."""

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries."""
        ...

    def proof(self, old: int, new: int) -> list[bytes]:
        """That the first `old` of the first `new` entries are these still: RFC 6962, 2.1.2."""
        ...


class Former(NamedTuple):
    """A name that the ledger had: it holds the first `size` entries that were signed under it."""

    origin: str
    size: int


class Offered(NamedTuple):
    """What a place is offered: the note, what stands in it, and what it takes to prove it.

    `verifiers` are the keys that this ledger's checkpoints may have been signed with, and `former`
    the names under which that was, besides the one of now.
    """

    note: bytes
    checkpoint: Checkpoint
    verifiers: Sequence[Verifier]
    history: History
    former: Sequence[Former] = ()

    @property
    def slug(self) -> str:
        """The ledger's origin, fit to be the beginning of a file's name."""
        return slug_of(self.checkpoint.origin)


def slug_of(origin: str) -> str:
    """An origin, fit to be the beginning of a file's name.

    It comes from the database, so it is no path and no option of a command here.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", origin).strip("-") or "ledger"


class Patience:
    """How long a place may take, in seconds of a clock that never jumps; it can be cut short."""

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        return max(0.0, self._end - self._clock())

    def hurry(self, seconds: float) -> None:
        """Leave no more than that."""
        self._end = min(self._end, self._clock() + seconds)


class Place(Protocol):
    """Somewhere outside that keeps checkpoints."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def seconds(self) -> float:
        """How long taking one may last."""
        ...

    def take(self, offered: Offered, last: int, patience: Patience, /) -> bytes:
        """Have the place keep a checkpoint; `last` is the size of the one that it took before.

        On return it is kept there. The answer is the note with all that the place has added.

        Raises:
            RefusedError: the place has seen something else than this ledger.
            AnchorError: it could not be reached, or has not done what it should.

        """
        ...
