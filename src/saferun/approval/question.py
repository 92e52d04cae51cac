"""What a person is asked, what they answer, and what a channel is.

A channel brings one question to people and one answer back. It decides nothing: whether the
answer still counts is settled in the store, after which the call is admitted or refused like
any other.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from saferun.call import Effect, PolicyRef, Reason, RunRef


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a person, as it may be shown: secrets are out, nothing is left out unsaid.

    `args` are the arguments that would run, and `hidden` names those of them that hold what
    looks like a secret and are not shown as they are. Nobody should approve those: what stands
    where the secret would is the model's to choose. `seconds` is how long the question
    stands. `groups` are the people and groups that the policy names. `still_open` tells
    whether an answer would still count.
    """

    id: str
    tool: str
    args: dict[str, Any]
    hidden: tuple[str, ...] = ()
    run: RunRef | None
    reasons: tuple[Reason, ...]
    groups: tuple[str, ...]
    effect: Effect | None
    policy: PolicyRef | None
    digest: str
    seconds: float
    still_open: Callable[[], bool]


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """A person's answer: who, yes or no, and why."""

    approved: bool
    by: str
    reason: str | None = None


class Channel(Protocol):
    """A way to ask people. `name` stands in the ledger beside every answer."""

    name: str

    def unreachable(self) -> str | None:
        """Why nobody can be asked here, as the end of a sentence; None where somebody can."""
        ...

    def ask(self, question: Question) -> Vote | None:
        """Ask, and wait for the answer for as long as the question stands; None without one.

        May block and is called on a thread of its own for asynchronous callers. An exception
        counts as no answer.
        """
        ...
