"""Verdict, controls and a person's answer put together: what finally becomes of a call.

Pure, and the only place where it is decided, so that the store in production, a test of a
policy and a backtest over last month's calls cannot come to different answers.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from saferun.call import Reason, Verdict
from saferun.control import Charge, exceeded


class Admission(msgspec.Struct, frozen=True):
    """The final verdict, everything that spoke for it, and the counters that it moves."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    moves: tuple[bytes, ...]


def admit(
    verdict: Verdict,
    reasons: tuple[Reason, ...],
    due: Sequence[Charge],
    used: Mapping[bytes, int],
) -> Admission:
    """Try a policy's verdict against the controls.

    `due` is what the call would count towards and `used` what those counters stand at.
    Controls are tried for `ask` as well, before anybody is asked: a person's time is not
    spent on a call that a limit would stop anyway. Counters move for `allow` alone, all of
    them or none, so neither a denial nor a question consumes anything.
    """
    if verdict == "deny":
        return Admission(verdict, reasons, ())
    over = exceeded(due, used)
    if over:
        return Admission("deny", (*(_spoken(charge) for charge in over), *reasons), ())
    if verdict == "allow":
        return Admission(verdict, reasons, tuple(c.key for c in due if c.key is not None))
    return Admission(verdict, reasons, ())


State: TypeAlias = Literal[
    "pending",
    "approved",
    "rejected",
    "expired",
    "cancelled",
    "stale",
    "executing",
    "succeeded",
    "failed",
    "unknown",
]
"""Of a request to a person: pending until answered, approved until consumed by one start."""

START_BY = 60_000_000
"""Microseconds that an approved call has to start in (threats, rules 2 and 15)."""


def standing(state: State, *, binding: bytes, asked: bytes, deadline: int, now: int) -> State:
    """What a request is worth now, to the call that comes back for it.

    `binding` is what the request was made for and `asked` what would run now: tenant, run,
    call, tool, arguments, rules and people. Anything else than the same is stale, since what
    was approved is what runs. `deadline` ends the wait for an answer, and after an approval
    the time to start; both in microseconds.
    """
    if state not in ("pending", "approved"):
        return state
    if now > deadline:
        return "expired"
    return state if hmac.compare_digest(binding, asked) else "stale"


def answered(state: State, answer: State, *, deadline: int, now: int) -> State:
    """The state after an answer. The first answer in time counts and the others change nothing."""
    if state != "pending":
        return state
    return answer if now <= deadline else "expired"


def refusal(state: State) -> Reason:
    """Why a call whose request stands at `state` does not run."""
    message, error = _REFUSALS.get(state, ("its approval has been used", "Denied"))
    return Reason(id="approval", effect="deny", source="approval", message=message, error=error)


_REFUSALS: dict[State, tuple[str, str]] = {
    "rejected": ("a person was asked and said no", "Rejected"),
    "expired": ("nobody approved it in time", "ApprovalExpired"),
    "cancelled": ("the request for approval was withdrawn", "ApprovalExpired"),
    "stale": ("what was approved is no longer what would run", "ApprovalExpired"),
}


def _spoken(charge: Charge) -> Reason:
    limit = charge.limit
    return Reason(
        id=limit.id,
        effect="deny",
        source="limit",
        message=limit.sentence() if charge.key is not None else limit.uncountable(charge.missing),
        error="LimitExceeded",
        line=limit.line,
    )
