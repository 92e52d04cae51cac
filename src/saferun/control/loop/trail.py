"""What a run did, as far as loops go: bounded, and the same cost at every step.

The trail of a run is made of what its ledger has: `started` for each call that was let through,
`ended` for what came of it, `refused`, `told`, `answered` and `resumed`. Nothing else changes
it, so telling the same again from the ledger makes an equal one, in whatever process the run
goes on.
"""

from typing import TypeAlias

import msgspec

from saferun.control.loop.check import checked
from saferun.control.loop.echo import Echo
from saferun.control.loop.finding import Finding
from saferun.control.loop.ladder import Ladder
from saferun.control.loop.recent import Recent
from saferun.control.loop.repeat import SPACED, Barren, Repeat
from saferun.control.loop.rounds import Rounds, Step
from saferun.control.loop.settings import Loops
from saferun.control.loop.sign import Sign
from saferun.control.loop.tally import Tally

_Calls: TypeAlias = Recent[bytes, Repeat]
_Tools: TypeAlias = Recent[str, Barren]
_Begun: TypeAlias = Recent[int, tuple[Sign, bool]]
_Counts: TypeAlias = Recent[bytes, int]

_CALLS, _TOOLS, _BEGUN, _EXCUSED = 256, 64, 128, 32
"""How many of each are remembered at least, and half of how many at most."""


class Trail(msgspec.Struct):
    """The loop state of one run with all its children. It takes at most 384 KiB.

    Something new is a call that was not made before, or a result that it did not have before.
    It ends all streaks, and is counted by `news`; only what lasts the whole run stays.

    Attributes:
        news: how often something new appeared.
        paces: how many calls were started or refused: what the pace of the run is told by.
        calls: by `Sign.masked`, what the repeats of a call came to.
        tools: by tool, how many of its calls in a row came to nothing.
        pairs: how often each call came to each outcome, but for what changes anyway.
        lifetime: by `Sign.masked`, how often a call came to its most frequent outcome.
        excused: how much of that a person has approved.
        begun: by ledger number, the calls that have not ended, and whether they were hasty.
        head: the call that was started last, `in_row` times in a row, and of these `retries`
            times after an error.
        ladder: how often the run was refused.

    """

    news: int = 0
    paces: int = 0
    calls: _Calls = msgspec.field(default_factory=lambda: Recent(_CALLS))
    tools: _Tools = msgspec.field(default_factory=lambda: Recent(_TOOLS))
    pairs: Tally = msgspec.field(default_factory=Tally)
    lifetime: Tally = msgspec.field(default_factory=Tally)
    excused: _Counts = msgspec.field(default_factory=lambda: Recent(_EXCUSED))
    begun: _Begun = msgspec.field(default_factory=lambda: Recent(_BEGUN))
    rounds: Rounds = msgspec.field(default_factory=Rounds)
    ladder: Ladder = msgspec.field(default_factory=Ladder)
    head: bytes = b""
    in_row: int = 0
    retries: int = 0

    def check(
        self, settings: Loops, sign: Sign, now: int, *, poll: bool, effect: str
    ) -> Finding | None:
        """What is to be said of a call before it is let through; changes nothing.

        Args:
            settings: the thresholds that hold for its tool.
            sign: what the call looks like.
            now: microseconds since 1970, UTC.
            poll: whether the tool is declared to be polled.
            effect: what it does, of which only `read` matters.

        """
        return checked(self, settings, sign, now, poll=poll, effect=effect)

    def started(self, sign: Sign, seq: int, now: int) -> None:
        """The call was let through under ledger number `seq`."""
        self.paces += 1
        repeat = self.calls.get(sign.masked)
        if repeat is None:
            # As if made long ago: the first call is not hasty.
            repeat = Repeat(news=self.news, last=now - SPACED, number=self.paces - 1)
        self.calls.put(sign.masked, repeat)
        if self.head == sign.masked:
            self.in_row += 1
            self.retries += repeat.failed
        else:
            self.head, self.in_row, self.retries = sign.masked, 1, 0
        barren = self.tools.get(sign.tool)
        if barren is not None:
            barren.start()
        self.begun.put(seq, (sign, repeat.start(self.paces, now)))

    def ended(self, seq: int, echo: Echo, now: int) -> None:
        """What came of the call with that ledger number; what never started is passed over."""
        begun = self.begun.pop(seq)
        if begun is None or not echo.known:
            return
        sign, hasty = begun
        repeat = self.calls.get(sign.masked)
        if repeat is None:
            repeat = Repeat()
            self.calls.put(sign.masked, repeat)
        # What nobody knows is the same, whether its time ran out or its process died.
        outcome = b"" if echo.status == "unknown" else echo.masked
        pair = sign.masked[:8] + outcome[:8]
        seen = self.pairs.count(pair)
        self.pairs.put(pair, seen + 1)
        if seen and seen >= self.lifetime.count(sign.masked):
            self.lifetime.put(sign.masked, seen + 1)
            repeat.usual += 1
        # What came of the call last is known for as long as the call is, and longer than counts.
        self._note(sign, echo, new=not seen and outcome != repeat.masked)
        if repeat.news != self.news:
            repeat.renew(self.news)
        if echo.failed:
            unknown = echo.status == "unknown"
            repeat.fail(sign.exact, outcome, transient=echo.transient, unknown=unknown)
        else:
            repeat.succeed(sign.exact, echo.exact, hasty=hasty)
            if self.head == sign.masked:
                self.retries = 0
        repeat.resound(outcome, now, hasty=hasty)
        if echo.transient:
            # What fails all over the place goes round in no cycle.
            self.rounds.interrupt()
        else:
            self.rounds.add(Step(sign.masked, outcome))

    def refused(self, sign: Sign, now: int) -> None:
        """The gate itself denied, asked about or stopped this call for a loop.

        No streak is over by that, and no round either: the next answer is the same or harder. Nor
        is it waiting: whoever is refused and goes on at once is as hasty as before.
        """
        self.paces += 1
        repeat = self.calls.get(sign.masked)
        if repeat is not None:
            repeat.last, repeat.number = now, self.paces
        self.rounds.refuse(sign.masked)
        self.ladder.climb(sign.masked, self.news, now)

    def told(self, now: int) -> None:  # noqa: ARG002 (what happened comes with its time)
        """The user said something. The run starts over, but for its lifetime counts."""
        self.news += 1
        self._interrupt()
        self.ladder.leave()

    def resumed(self, now: int) -> None:
        """A person lets the run go on that was stopped: all of its counts start over."""
        self.told(now)
        self.pairs, self.lifetime, self.excused = Tally(), Tally(), Recent(_EXCUSED)

    def answered(self, sign: Sign) -> None:
        """A person approved that this call goes on: what it was found by starts over."""
        self._interrupt()
        self.ladder.leave()
        repeat, barren = self.calls.get(sign.masked), self.tools.get(sign.tool)
        if repeat is not None:
            repeat.forgive(self.news)
        if barren is not None:
            barren.renew(self.news)
        self.excused.put(sign.masked, self.lifetime.count(sign.masked))

    def retried(self, sign: Sign) -> bool:
        """Whether this call was made before and failed the last time."""
        repeat = self.calls.get(sign.masked)
        return repeat is not None and repeat.failed

    def _interrupt(self) -> None:
        self.rounds.interrupt()
        self.head, self.in_row, self.retries = b"", 0, 0

    def _note(self, sign: Sign, echo: Echo, *, new: bool) -> None:
        """Take down what the tool came to, and whether that is something new."""
        barren = self.tools.get(sign.tool) or Barren(news=self.news)
        self.tools.put(sign.tool, barren)
        if barren.news != self.news:
            barren.renew(self.news)
        if echo.failed:
            # An outage is the breaker's business. So are many calls of which nothing is known: a
            # service hangs, or a process died in the middle of a batch.
            barren.failed += not echo.transient and echo.status != "unknown"
        elif echo.empty:
            reworded = barren.come_empty(sign.words, silent=echo.silent)
            if new and (echo.silent or not (barren.varied or reworded)):
                # A call that does something and says nothing: new to all but its own tool.
                self.news += 1
                barren.news = self.news
        else:
            barren.varied = True
            if new:
                self.news += 1
                barren.renew(self.news)
