"""What has happened, put together from the entries of the ledger as they come. Pure.

A call is told of once, when it has its end: a denial with its decision, and what was let start
with its outcome. A decision whose end does not come is kept for a while and then forgotten.
"""

from collections.abc import Iterator
from typing import TypeAlias, TypeVar

import msgspec

from saferun.ledger import (
    AnyEntry,
    ApprovalEntry,
    ControlEntry,
    DecisionEntry,
    ModelEntry,
    OutcomeEntry,
    RecoveryEntry,
    RunEntry,
    UserEntry,
)

K = TypeVar("K")
V = TypeVar("V")

MOST = 10_000
"""Calls, and requests to people, whose end is waited for; the oldest are forgotten first."""

_ENDS = frozenset(("approved", "rejected", "expired", "cancelled", "stale"))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """People are asked: request `id`, at that time."""

    id: str
    at: int


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A request has its end, after so many microseconds. `by` is a person, where one ended it."""

    id: str
    state: str
    waited: int
    by: str | None = None


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A call with its end, which it came to at `ended`; `began` is when it was first decided on.

    `outcome` is None where it was not let start. `answer` is what became of its request to
    people, if there was one. Times are in microseconds since 1970, UTC.
    """

    seq: int
    began: int
    ended: int
    decision: DecisionEntry
    outcome: OutcomeEntry | RecoveryEntry | None = None
    outcome_seq: int | None = None
    answer: Answered | None = None

    @property
    def status(self) -> str:
        """How it ended, `not_run` where it was not let start."""
        return "not_run" if self.outcome is None else self.outcome.status


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """A model turn, which was recorded at that time."""

    seq: int
    at: int
    entry: ModelEntry


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the user's."""

    at: int
    entry: UserEntry


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A run has begun."""

    seq: int
    at: int
    entry: RunEntry


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """A run has ended."""

    at: int
    entry: RunEntry


class Tripped(msgspec.Struct, frozen=True, kw_only=True):
    """A tool's breaker has opened, or closed again."""

    tool: str
    tenant: str | None
    open: bool


Event: TypeAlias = Asked | Answered | Called | Turned | Heard | Begun | Over | Tripped


def run_of(event: Event) -> str | None:
    """The run that an event belongs to, None where it belongs to none."""
    match event:
        case Called():
            return event.decision.run
        case Turned() | Heard() | Begun() | Over():
            return event.entry.run
        case _:
            return None


class _Open(msgspec.Struct, frozen=True):
    seq: int
    began: int
    decided: int
    decision: DecisionEntry
    answer: Answered | None


class Account:
    """What is not over yet, of all that was taken in."""

    def __init__(self) -> None:
        self._started: dict[int, _Open] = {}
        self._asked: dict[str, int] = {}
        self._answered: dict[str, Answered] = {}
        self._first: dict[str, int] = {}

    @property
    def waits_for_an_end(self) -> bool:
        """Whether a call was let start and its end was not taken in yet."""
        return bool(self._started)

    def waits(self, request: str) -> bool:
        """Whether a request that was taken in has no end yet."""
        return request in self._asked

    def take(self, seq: int, at: int, entry: AnyEntry) -> Iterator[Event]:
        """Take an entry in, in the order of the ledger, and tell what that comes to."""
        match entry:
            case DecisionEntry():
                yield from self._decided(seq, at, entry)
            case OutcomeEntry() | RecoveryEntry():
                yield from self._ended(seq, at, entry)
            case ApprovalEntry():
                yield from self._approval(at, entry)
            case ModelEntry():
                yield Turned(seq=seq, at=at, entry=entry)
            case UserEntry():
                yield Heard(at=at, entry=entry)
            case RunEntry(imported=None, event="start"):
                yield Begun(seq=seq, at=at, entry=entry)
            case RunEntry(imported=None):
                yield Over(at=at, entry=entry)
            case ControlEntry(scope="tool", value=str(tool), event="opened" | "closed"):
                yield Tripped(tool=tool, tenant=entry.tenant, open=entry.event == "opened")
            case _:
                return

    def _decided(self, seq: int, at: int, entry: DecisionEntry) -> Iterator[Event]:
        request = entry.approval
        if entry.verdict == "ask" and entry.mode == "enforce":
            if request is not None:
                _kept(self._first, request, at)
            return
        began, answer = at, None
        if request is not None:
            began = self._first.pop(request, at)
            answer = self._answered.pop(request, None)
        if entry.verdict == "allow" or entry.mode != "enforce":
            _kept(self._started, seq, _Open(seq, began, at, entry, answer))
            return
        yield Called(seq=seq, began=began, ended=at, decision=entry, answer=answer)

    def _ended(self, seq: int, at: int, entry: OutcomeEntry | RecoveryEntry) -> Iterator[Event]:
        call = self._started.pop(entry.of, None)
        if call is None:
            return
        ended = at
        if isinstance(entry, OutcomeEntry) and entry.latency:
            # An outcome that rides is written later than the call has ended.
            ended = min(at, call.decided + entry.latency)
        yield Called(
            seq=call.seq,
            began=call.began,
            ended=ended,
            decision=call.decision,
            outcome=entry,
            outcome_seq=seq,
            answer=call.answer,
        )

    def _approval(self, at: int, entry: ApprovalEntry) -> Iterator[Event]:
        if entry.event == "requested":
            _kept(self._asked, entry.id, at)
            yield Asked(id=entry.id, at=at)
        elif entry.event in _ENDS:
            since = self._asked.pop(entry.id, None)
            if since is None:
                # It was told of already: what was approved may still go stale.
                return
            waited = max(0, at - since)
            answer = Answered(id=entry.id, state=entry.event, waited=waited, by=entry.by)
            _kept(self._answered, entry.id, answer)
            yield answer


def _kept(among: dict[K, V], key: K, value: V) -> None:
    if len(among) >= MOST:
        del among[next(iter(among))]
    among[key] = value
