"""What one rule would do to the calls of history, counted."""

import msgspec

from saferun.replay.suggest.sweep import Tried

EXAMPLES = 3
"""Calls of each sort that are named, the newest."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded call to look at: the run it is of, and the entry that it began with."""

    run_id: str | None
    seq: int


class Effect(msgspec.Struct, kw_only=True):
    """A rule's effect over `calls` recorded calls of its tool, of which `fine` were.

    `hits` are the calls that it speaks of, or that it denies since it cannot be evaluated on what
    they hold. Of these, `newly_denied` and `newly_asked` had a milder verdict, or none, when they
    were made; `newly_allowed` is 0 for a rule that stops, and `undecided` counts the calls of which
    nobody can tell. `touched` are the hits that are taken to have been fine: they ran, and no
    person has called it right to stop them.

    People have called `right` of the hits right to stop, and `false` of them false alarms.
    `missed` are calls that are right to stop and that it does not speak of, `known_bad` all that
    are, and `near` the near misses among the hits.
    """

    calls: int = 0
    fine: int = 0
    hits: int = 0
    newly_denied: int = 0
    newly_asked: int = 0
    newly_allowed: int = 0
    undecided: int = 0
    touched: int = 0
    right: int = 0
    false: int = 0
    known_bad: int = 0
    missed: int = 0
    near: int = 0
    hit_examples: list[Example] = []
    undecided_examples: list[Example] = []
    touched_examples: list[Example] = []
    missed_examples: list[Example] = []
    near_examples: list[Example] = []

    @property
    def precision(self) -> float | None:
        """The share of its labelled hits that were right; None where none is labelled."""
        labelled = self.right + self.false
        return self.right / labelled if labelled else None

    @property
    def labelled(self) -> int:
        """How many hits a person has said something of: what `precision` rests on."""
        return self.right + self.false

    def take(self, rule: str, effect: str, tried: Tried, *, fine: bool) -> None:
        """Count one call. `fine` says that it is taken to have been as it should."""
        known, spoken = tried
        bad = known.label == "right"
        if spoken is None or rule in spoken.unsure:
            self.undecided += 1
            _note(self.undecided_examples, tried)
            return
        failed = rule in spoken.failed
        if rule not in spoken.applies and not failed:
            if bad:
                self.miss(tried)
            return
        self.hits += 1
        _note(self.hit_examples, tried)
        self.right += bad
        self.false += known.label == "false"
        if effect == "deny" or failed:
            self.newly_denied += known.verdict not in ("deny", "defer")
        else:
            self.newly_asked += known.verdict not in ("deny", "defer", "ask")
        if fine:
            self.touched += 1
            _note(self.touched_examples, tried)
        if known.near:
            self.near += 1
            _note(self.near_examples, tried)

    def miss(self, tried: Tried) -> None:
        """Count a call that is right to stop, and that it does not speak of."""
        self.missed += 1
        _note(self.missed_examples, tried)


def _note(examples: list[Example], tried: Tried) -> None:
    examples.append(Example(run_id=tried.known.run, seq=tried.known.seq))
    if len(examples) > EXAMPLES:
        del examples[0]
