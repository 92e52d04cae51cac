"""Cycles: a run that goes round through a few calls and comes to the same each time."""

import msgspec

PERIODS = range(2, 9)
"""Numbers of calls that a cycle may have."""


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A call and what came of it, both but for what changes anyway. No call: none that counts."""

    call: bytes
    outcome: bytes


class Rounds(msgspec.Struct):
    """The last steps of a run, and for each period for how long each step equals the one before it.

    `last` has the newest step first. `matches` is by period, `alone` the number of steps in a
    row that were the same call: one call with results that come again is no cycle, as when a
    debugger steps through a loop. `refused` is the period of a cycle that a call was refused for:
    while nothing but its own steps is made or asked for, it stands as it is, whichever comes next.
    """

    last: list[Step] = []
    matches: list[int] = msgspec.field(default_factory=lambda: [0] * PERIODS.stop)
    alone: int = 0
    refused: int = 0

    def add(self, step: Step) -> None:
        last, matches = self.last, self.matches
        if self.refused:
            if step in last[: self.refused]:
                return
            self.refused = 0
        for period in PERIODS:
            if period <= len(last) and last[period - 1] == step:
                matches[period] += 1
            else:
                matches[period] = 0
        self.alone = self.alone + 1 if last and last[0].call == step.call else 1
        last.insert(0, step)
        del last[PERIODS.stop - 1 :]

    def interrupt(self) -> None:
        """Let no cycle reach over this."""
        self.last.clear()
        self.matches = [0] * PERIODS.stop
        self.alone = self.refused = 0

    def refuse(self, call: bytes) -> None:
        """Let the cycle stand that a call would have gone on with."""
        self.refused = self._period(call) or self.refused

    def completed(self, call: bytes) -> tuple[int, int]:
        """The whole rounds of the cycle that a call would go on with, 0 where there is none.

        And how many they were when the last step of that cycle was made.
        """
        period = self._period(call)
        if not period:
            return 0, 0
        matched = self.matches[period]
        return matched // period + 1, (matched - 1) // period + 1

    def _period(self, call: bytes) -> int:
        if self.refused:
            # One step was not made, so any of the others may be the next.
            return self.refused * any(step.call == call for step in self.last[: self.refused])
        for period in PERIODS:
            if self.matches[period] >= period > self.alone and self.last[period - 1].call == call:
                # The shortest has the most rounds; its multiples match as well.
                return period
        return 0
