"""What a person is asked, what they answer, and how that stands.

A question is written down whole when it is asked, and again at each edit: what stands there is
what channels show, what the ledger has, and what an answer is about. Secrets are out of it.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from saferun.approval.known import Known
from saferun.call import Demand, Effect, PolicyRef, Reason, RunRef

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

ANYBODY = Demand(rule="approval")
"""What is demanded where no rule says whose answer it takes, as where a control asks."""


class Because(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition of a rule that asks, and what it saw: as short text, with secrets out.

    One that no longer holds is of a call that was edited since.
    """

    rule: str
    text: str
    saw: str
    holds: bool = True

    def said(self) -> str:
        """`args.amount >= 20001: 25000`."""
        return f"{self.text}: {self.saw}{'' if self.holds else ', so it does not hold'}"


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request to people, as it may be shown: secrets are out, nothing is left out unsaid.

    `args` are the arguments that would run, and `hidden` names those of them that hold what
    looks like a secret and are not shown as they are. Nobody should approve those: what stands
    where the secret would is the model's to choose. `asked` is when, in microseconds since
    1970, UTC. `edits` are the arguments that may be changed, and `schema` the JSON Schema of all
    of them, None where policy checks none. `channels` are the ways by which it goes to people.
    `because` are the conditions for which rules ask. `parts` are keyed digests of the values of
    the arguments, by name, for grants, `whose` is that of whose calls a grant would be for, and
    `function` that of what would run, where that is known. `known` is who may answer, by the
    people of the gate that asks. With `lost`, what it asks about cannot be read any more, and
    nobody can answer it.
    """

    id: str
    tool: str
    args: dict[str, Any]
    hidden: tuple[str, ...] = ()
    run: RunRef | None = None
    reasons: tuple[Reason, ...] = ()
    demands: tuple[Demand, ...] = (ANYBODY,)
    effect: Effect | None = None
    policy: PolicyRef | None = None
    digest: str = ""
    asked: int = 0
    edits: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    channels: tuple[str, ...] = ()
    parts: Mapping[str, str] = {}
    whose: str = ""
    because: tuple[Because, ...] = ()
    known: Known | None = None
    function: str | None = None
    lost: bool = False

    def why(self, reason: Reason) -> list[str]:
        """The conditions for which a reason spoke, with what they saw."""
        return [each.said() for each in self.because if each.rule == reason.id]

    @property
    def groups(self) -> tuple[str, ...]:
        """All who are named by any demand; empty where anybody may answer."""
        return tuple(sorted({name for demand in self.demands for name in demand.of}))


class Vote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person's answer: who, yes or no, why, by which channel and when.

    `at` is in microseconds since 1970, UTC. With `glass`, they have broken the glass: it counts
    for everybody else's yes.
    """

    by: str
    approved: bool
    reason: str | None = None
    channel: str = ""
    at: int = 0
    glass: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """How a question stands: its state, and who has answered what.

    `revision` counts the edits: what is seen of an earlier one is no longer what would run.
    `moved` is the entry that said so last. `deadline`, in microseconds since 1970, UTC, ends the
    wait for an answer, and after an approval the time to start. `joined` are further calls that
    wait for the same answer. `by` and `reason` are those of the answer that has settled it.
    """

    question: Question
    state: State
    revision: int = 0
    moved: int = 0
    deadline: int = 0
    votes: tuple[Vote, ...] = ()
    joined: int = 0
    by: str | None = None
    reason: str | None = None

    @property
    def id(self) -> str:
        return self.question.id

    @property
    def open(self) -> bool:
        """Whether an answer would still count, as far as its state goes."""
        return self.state == "pending"

    @property
    def glass(self) -> Vote | None:
        """The answer by which somebody has broken the glass, which all others are to hear of."""
        return next((vote for vote in self.votes if vote.glass and vote.approved), None)

    @property
    def whole(self) -> bool:
        """Whether every argument is shown as it is. Where not, nobody may approve it."""
        return not self.question.hidden


Edited: TypeAlias = Mapping[str, Any]
"""New values of arguments, by name."""
