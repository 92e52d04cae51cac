"""From a word to the model to the end of the run: what a loop is answered with."""

from typing import Literal, TypeAlias

import msgspec

from saferun.control.loop.settings import Loops

Rung: TypeAlias = Literal["nudge", "deny", "ask", "stop"]

FORGIVEN = 20
"""New things after which earlier refusals are forgotten: the run has found its way again."""

_TOGETHER = 50_000
"""Microseconds within which refusals of different calls are one: a model that makes several
calls at once has not yet read the first refusal when the others come. Counted from the first of
them, or a loop that is fast enough would be refused for ever and never stopped."""

_AT_ONCE = 16
"""How many refusals are one at most."""


class Ladder(msgspec.Struct, gc=False):
    """How often a run was refused for a loop, as long as nothing much came of it since.

    `calls` are those of the last refusal, which began `at`.
    """

    refusals: int = 0
    news: int = 0
    calls: list[bytes] = []
    at: int = 0

    def rung(self, settings: Loops, call: bytes, news: int, now: int) -> Rung:
        """What the refusal of a call is: for those of one refusal, it is the same."""
        made = self._standing(news) - self._joins(call, news, now)
        if made < settings.denials:
            return "deny"
        return "ask" if made < settings.denials + settings.asks else "stop"

    def climb(self, call: bytes, news: int, now: int) -> None:
        if self._joins(call, news, now):
            self.calls.append(call)
        else:
            self.refusals = self._standing(news) + 1
            self.calls, self.at = [call], now
        self.news = news

    def leave(self) -> None:
        self.refusals = 0

    def _joins(self, call: bytes, news: int, now: int) -> bool:
        """Whether the refusal of a call is one with the last."""
        return (
            self._standing(news) > 0
            and abs(now - self.at) < _TOGETHER
            and len(self.calls) < _AT_ONCE
            and call not in self.calls
        )

    def _standing(self, news: int) -> int:
        return self.refusals if news - self.news < FORGIVEN else 0
