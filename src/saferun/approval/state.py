"""The states of a request, and what each is worth to the call that comes back for it.

pending → approved | rejected | expired | cancelled
pending → pending, edited: one revision on, the votes cleared
approved → executing → succeeded | failed | unknown
approved → expired | stale
"""

import hmac

from saferun.approval.question import State
from saferun.call import Reason

START_BY = 60_000_000
"""Microseconds that an approved call has to start in, where its caller waits for it."""

RESUME_BY = 86_400_000_000
"""Microseconds that an approved call has to be resumed in, where its caller has gone."""

GLASS_BY = 900_000_000
"""Microseconds that a call has to start in where one person has broken the glass for it."""

NOES = 2
"""How often people say no to the same call of a run before they are not asked again."""


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


def refusal(state: State, why: str | None = None) -> Reason:
    """Why a call whose request stands at `state` does not run.

    `why` is what whoever said no gave as the reason. The model is told it, so that it does what
    they would rather have; no longer than a sentence or a few.
    """
    message, error = _REFUSALS.get(state, ("its approval has been used", "Denied"))
    said = "" if why is None else " ".join(why.split())
    if state == "rejected" and said:
        message = f"{message}: {said if len(said) <= _TOLD else f'{said[:_TOLD]}…'}"
    return Reason(id="approval", effect="deny", source="approval", message=message, error=error)


_TOLD = 500
"""Characters of a reason that a model is told."""

_REFUSALS: dict[State, tuple[str, str]] = {
    "executing": ("it was started before, and nobody knows yet how it ends", "Denied"),
    "rejected": ("a person was asked and said no", "Rejected"),
    "expired": ("nobody approved it in time", "ApprovalExpired"),
    "cancelled": ("the request for approval was withdrawn", "ApprovalExpired"),
    "stale": ("what was approved is no longer what would run", "ApprovalExpired"),
}

ANSWERED_BY_OTHERS = Reason(
    id="approval",
    effect="deny",
    source="approval",
    message="those who have approved it may not, by the people that are known here",
)
"""Why a call does not run whose approval came of people who may not answer for it where it runs."""

REFUSED_BEFORE = Reason(
    id="approval",
    effect="deny",
    source="approval",
    message="people have said no to this very call twice in this run, and are not asked again",
    error="Rejected",
)
