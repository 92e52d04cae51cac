"""The runs within a run: at which of its frames each began, and what they come to."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from saferun.replay.outline import Wanted
from saferun.store.index import Index
from saferun.store.synopsis import Synopsis, Within, together

BEGUN = 50
"""Runs that are told of at the frame that they began at."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A run that began within another, and what it and all that is within it come to."""

    run: Synopsis
    within: Within


class Branches:
    """The children of one run. `refresh` them once the index is built anew.

    Each stands at the frame that was the newest when it began. One that is older than all frames
    stands at the first, and at 0 where there is none.
    """

    def __init__(self, index: Index, run_id: str) -> None:
        self._index = index
        self._run_id = run_id
        self._known = -1
        self._within: dict[int, Within] = {}
        self._began: dict[int, list[int]] = {}
        self.at: dict[int, Within] = {}
        """The frames at which runs began, and what those come to with all that is within them."""

    def marked(self, known: Mapping[int, Within] | None = None) -> list[tuple[int, ...]]:
        """The frames at which runs began, and how many were denied, asked about and failed there.

        Those alone of which not all of that was `known`.
        """
        return [
            (number, some.runs, some.denied, some.asked + some.deferred, some.failed)
            for number, some in self.at.items()
            if known is None or known.get(number) != some
        ]

    def refresh(self, firsts: Sequence[int]) -> None:
        """Take up what has come. `firsts` are the entries that the run's frames begin with."""
        if self._known != self._index.size:
            self._known = self._index.size
            self._within = self._index.within(self._run_id)
        self._began = {}
        for began in self._within:
            self._began.setdefault(placed(firsts, began), []).append(began)
        self.at = {
            number: together(self._within[each] for each in some)
            for number, some in sorted(self._began.items())
        }

    @property
    def below(self) -> Within:
        """What all runs within this one come to, however deep."""
        return together(self._within.values())

    def before(self, seq: int) -> bool:
        """Whether any run within this one had begun before an entry."""
        return any(began < seq for began in self._within)

    def many(self, number: int) -> int:
        """How many runs began at a frame."""
        return len(self._began.get(number, ()))

    def begun(self, number: int, most: int = BEGUN) -> Iterator[Child]:
        """Runs that began at a frame, in their order; of many, those that are loud."""
        found = self._began.get(number, ())
        loud = sorted(found, key=lambda each: not self._within[each].loud)[:most]
        for began in sorted(loud):
            run = self._run(began)
            if run is not None:
                yield Child(run=run, within=self._within[began])

    def inward(self, number: int) -> str | None:
        """The run that one goes into at a frame: the first that is loud, else the first."""
        found = self._began.get(number)
        if not found:
            return None
        run = self._run(next((each for each in found if self._within[each].loud), found[0]))
        return None if run is None else run.run

    def next(self, number: int, wanted: Wanted, *, forward: bool = True) -> int | None:
        """The nearest frame at which a run began with something in it that is wanted."""
        found = (
            each
            for each, some in self.at.items()
            if (each > number if forward else each < number) and has(some, wanted)
        )
        return min(found, default=None) if forward else max(found, default=None)

    def _run(self, began: int) -> Synopsis | None:
        between = {"after": began - 1, "before": began + 1}
        return next(iter(self._index.children(self._run_id, 1, **between)), None)


def placed(firsts: Sequence[int], seq: int) -> int:
    """The number of the frame that was the newest before an entry of the ledger."""
    return max(bisect_left(firsts, seq), min(len(firsts), 1))


def has(some: Within, wanted: Wanted) -> bool:
    """Whether there is anything in some runs that is wanted."""
    match wanted:
        case "denied":
            return some.denied > 0
        case "asked":
            return some.asked > 0
        case "halted":
            return some.halted > 0
        case "error":
            return some.failed > 0
        case "near":
            return some.near > 0
    return False
