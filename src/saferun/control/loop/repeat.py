"""What is kept of one call of a run, and of one tool: how often it came to the same."""

from typing import TypeAlias

import msgspec

SPACED = 5_000_000
"""Microseconds from a call to the next at which a run is waiting and not hasty, on the average of
all its calls from one call to the same call again."""

_ASKED = 64
"""Words of barren calls that are remembered."""

BURST = 10_000_000
"""Microseconds in which the calls of a poller are counted."""


class Repeat(msgspec.Struct, gc=False):
    """One call, as far as `Sign.masked` tells calls apart.

    Streaks hold only while `news` is the run's own: when something new appears they are over.
    """

    news: int = 0
    # The last of these calls exactly, how often in a row it was made with the result `exact`,
    # and how many of these came hastily.
    call: bytes = b""
    exact: bytes = b""
    same: int = 0
    hasty: int = 0
    # How often the same error came, and how many errors that may pass.
    error: bytes = b""
    errors: int = 0
    transients: int = 0
    failed: bool = False
    unknown: bool = False
    # The last outcome but for what changes anyway, how often it came in a row, and since when.
    masked: bytes = b""
    alike: int = 0
    alike_hasty: int = 0
    since: int = 0
    # How many have ended since it was last let through, and how many of these with the outcome
    # that is its most frequent one.
    ended: int = 0
    usual: int = 0
    # When it was last made, as which of the run's calls, and how often in this and the last slice
    # of `BURST`.
    last: int = 0
    number: int = 0
    slice: int = 0
    made: int = 0
    before: int = 0

    def hastily(self, number: int, now: int) -> bool:
        """Whether it is made again, as that call of the run, without much waiting."""
        return now - self.last < SPACED * (number - self.number)

    def start(self, number: int, now: int) -> bool:
        """Let it be made once more, as that call of the run; whether that is hasty."""
        hasty = self.hastily(number, now)
        at = now // BURST
        if at != self.slice:
            self.before = self.made if at == self.slice + 1 else 0
            self.slice, self.made = at, 0
        self.made += 1
        self.ended = self.usual = 0
        self.last, self.number = now, number
        return hasty

    def burst(self, now: int) -> int:
        """How often it was made in the last `BURST`, the slice before taken as even."""
        at, into = divmod(now, BURST)
        if at == self.slice:
            return self.made + self.before * (BURST - into) // BURST
        return self.made * (BURST - into) // BURST if at == self.slice + 1 else 0

    def renew(self, news: int) -> None:
        """End all streaks: something new has appeared."""
        self.news = news
        self.same = self.hasty = self.errors = self.transients = 0
        self.alike = self.alike_hasty = 0

    def forgive(self, news: int) -> None:
        """End all that may be held against it."""
        self.renew(news)
        self.failed = self.unknown = False
        self.made = self.before = 0

    def succeed(self, call: bytes, exact: bytes, *, hasty: bool) -> None:
        self.failed = self.unknown = False
        self.errors = self.transients = 0
        if call == self.call and exact == self.exact and self.same:
            self.same += 1
            self.hasty += hasty
        else:
            self.same = self.hasty = 1
        self.call, self.exact = call, exact

    def fail(self, call: bytes, error: bytes, *, transient: bool, unknown: bool) -> None:
        self.failed, self.unknown = True, unknown
        if call != self.call:
            self.same = self.hasty = self.errors = self.transients = 0
        self.call = call
        if transient:
            self.transients += 1
        else:
            self.errors = self.errors + 1 if error == self.error else 1
            self.error = error

    def resound(self, masked: bytes, now: int, *, hasty: bool) -> None:
        """Let an outcome be told that is known but for what changes anyway."""
        self.ended += 1
        if masked == self.masked and self.alike:
            self.alike += 1
            self.alike_hasty += hasty
        else:
            self.alike = self.alike_hasty = 1
            self.since = now
        self.masked = masked


_InVain: TypeAlias = tuple[int, int]
_NONE: tuple[_InVain, _InVain] = ((0, 0), (0, 0))


class Barren(msgspec.Struct):
    """Calls of one tool that came to nothing, since something new appeared.

    `hollow` are results that hold nothing, `silent` those that are none at all, and of each,
    `reworded` are those of calls that share words with another. `varied` says whether the tool
    has ever had anything to say. `asked` has the words of the last such calls. `before` is what
    `count` was when a call of the tool was last let through, for one that does not read and one
    that does.
    """

    news: int = 0
    failed: int = 0
    hollow: int = 0
    silent: int = 0
    hollow_reworded: int = 0
    silent_reworded: int = 0
    varied: bool = False
    asked: list[bytes] = []
    before: tuple[_InVain, _InVain] = _NONE

    def start(self) -> None:
        """A call of the tool is let through."""
        self.before = self.count(read=False), self.count(read=True)

    def count(self, *, read: bool) -> _InVain:
        """How many calls were in vain: those that failed or were reworded, and all.

        A tool that never returns anything is a tool that does something, as most that write.
        So emptiness counts only in a tool that reads, or one that has returned something else
        before; but to find nothing in other words is no success of any tool. Silence, as of a
        shell that makes a folder, counts only in a tool that reads.
        """
        alike = self.failed + self.hollow_reworded
        every = self.failed + (self.hollow if read or self.varied else 0)
        if read:
            alike += self.silent_reworded
            every += self.silent
        return alike, every

    def come_empty(self, words: bytes, *, silent: bool) -> bool:
        """Let a call come to nothing; whether it is a rewording of another."""
        reworded = self._reworded(words)
        if silent:
            self.silent += 1
            self.silent_reworded += reworded
        else:
            self.hollow += 1
            self.hollow_reworded += reworded
        return reworded

    def renew(self, news: int) -> None:
        self.news = news
        self.failed = self.hollow = self.silent = 0
        self.hollow_reworded = self.silent_reworded = 0
        self.before = _NONE
        self.asked.clear()

    def _reworded(self, words: bytes) -> bool:
        """Whether this asks in words that were asked in before; the first is its own rewording."""
        marks = [words[at : at + 2] for at in range(0, len(words), 2)]
        first = not self.hollow and not self.silent
        shared = first or any(mark in self.asked for mark in marks)
        self.asked.extend(marks)
        del self.asked[:-_ASKED]
        return shared
