"""Grants: a yes that holds for further calls, for one run or a bounded time.

A grant is for one tool of one agent, for one user and tenant, and answers only the rules and
controls that the approved call was asked for. It is exact, or narrowed by the values of some
arguments, and there is none for what cannot be undone.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from saferun.approval.question import Question
from saferun.call import Effect

MAX_GRANT = 3_600_000_000
"""Microseconds that a grant can hold: an hour."""

MINUTES = (10, 30, 60)
"""How long a grant for a time holds, where people choose among lengths."""

_MANY = 100
"""Arguments that people can choose among."""


class Permit(NamedTuple):
    """How far a yes goes beyond the one call: for how many microseconds, and for which calls.

    `run` says that it is for the run of the call alone. `by` are the arguments whose values a
    further call has to share; with none, it has to be the same in all of them.
    """

    span: int
    run: bool = True
    by: tuple[str, ...] = ()


def permit(span: str, by: tuple[str, ...] = ()) -> Permit | None:
    """How far somebody has chosen that a yes goes: `once`, `run`, or one of `MINUTES`.

    None where it is for the one call alone. Raises ValueError for any other span.
    """
    if span == "once":
        return None
    if span == "run":
        return Permit(MAX_GRANT, run=True, by=by)
    if span not in map(str, MINUTES):
        raise ValueError(span)
    return Permit(int(span) * 60_000_000, run=False, by=by)


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody has let run again without being asked.

    `whose` is a keyed digest of tool, agent, user and tenant, and `run` the root of the run that
    it is for, None for any. `digest` is that of the arguments, None where `parts` narrows it:
    keyed digests of the values of some arguments, by name. `answers` are the ids of what it
    overrides, and `policy` is the version that asked for it: another may ask for more. `until` is
    in microseconds since 1970, UTC.
    """

    id: str
    tool: str
    whose: str
    run: str | None = None
    digest: str | None = None
    parts: Mapping[str, str] = {}
    policy: str | None = None
    answers: tuple[str, ...] = ()
    by: str = ""
    since: int = 0
    until: int = 0

    def covers(
        self,
        *,
        whose: str,
        run: str | None,
        digest: str,
        parts: Mapping[str, str],
        asks: frozenset[str],
        policy: str | None,
        now: int,
    ) -> bool:
        """Whether a call runs by this grant that would be asked about for `asks`."""
        if self.whose != whose or not self.since <= now < self.until:
            return False
        if self.run is not None and self.run != run:
            return False
        if self.policy != policy:
            return False
        if not asks <= frozenset(self.answers):
            return False
        if self.digest is not None:
            return self.digest == digest
        return bool(self.parts) and all(
            parts.get(name) == value for name, value in self.parts.items()
        )


def grantable(question: Question) -> bool:
    """Whether one person's yes to a question can go further than its call."""
    return objection(question.effect, MAX_GRANT) is None and all(
        each.approvals == 1 for each in question.demands
    )


def narrowing(question: Question) -> list[str]:
    """The arguments by which a grant can be narrowed: those that are seen as they are."""
    return [name for name in question.args if name not in question.hidden][:_MANY]


def objection(effect: Effect | None, span: int) -> str | None:
    """Why there can be no grant of that length for a tool, None where there can."""
    if effect is None or effect == "destructive":
        return "what cannot be undone is asked about each time"
    if not 0 < span <= MAX_GRANT:
        return "a grant holds for an hour at most"
    return None
