"""Tools behind a gate, and what its ledger says of them, as tests put them."""

from collections.abc import Callable
from typing import Any

import msgspec

from saferun import Gate, config
from saferun.approval import Question, Request, Vote
from saferun.config import ApprovalTable
from saferun.desk import Desk
from saferun.ledger import ApprovalEntry, read
from saferun.policy import loads
from saferun.store import Answer, Reader

OPEN = """
version: 1
name: open
default: allow
"""
"""Every call is decided on, and none is denied for its arguments."""


class Asked:
    """A channel that answers by a function, and remembers what it was shown."""

    name = "test"

    def __init__(self, answer: Callable[[Question], Vote | None]) -> None:
        self.answer = answer
        self.questions: list[Question] = []

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        if receipt is not None or not request.open:
            return receipt
        self.questions.append(request.question)
        vote = self.answer(request.question)
        if vote is None:
            # Nobody answers, and nobody has to wait for that.
            gone = ApprovalEntry(id=request.id, event="expired")
            desk.store.commit(Answer(request.id, "expired", gone))
            desk.store.feed.poke()
        else:
            desk.vote(
                request.id,
                by=vote.by,
                approved=vote.approved,
                channel=self.name,
                revision=request.revision,
                reason=vote.reason,
            )
        return "asked"


class Yes:
    """A channel in which dana always says yes."""

    def __init__(self, name: str = "test", reason: str | None = "a good customer") -> None:
        self.name = name
        self._reason = reason

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        if request.open:
            desk.vote(
                request.id,
                by="dana",
                approved=True,
                channel=self.name,
                revision=request.revision,
                reason=self._reason,
            )
        return receipt


def approve(_: Question) -> Vote:
    return Vote(approved=True, by="dana")


def enforcing(
    policy: str = OPEN,
    answer: Callable[[Question], Vote | None] | None = None,
    timeout: float = 30.0,
) -> Gate:
    """A gate of that policy; questions are answered by `answer`, within so many seconds."""
    settings = msgspec.structs.replace(config.load(), approval=ApprovalTable(timeout=timeout))
    channel = None if answer is None else Asked(answer)
    return Gate(policy=loads(policy), approvals=channel, settings=settings)


def observing() -> Gate:
    """A gate without a policy: it records, and denies nothing."""
    return Gate()


def entries(gate: Gate, kind: str | None = None) -> list[dict[str, Any]]:
    """The ledger as it lies on disk, all of it or one kind."""
    gate.store.flush()
    with Reader(gate.store.path) as reader:
        found = [read(body) for _, body, _ in reader.rows()]
    told = [{"seq": entry.seq, "kind": entry.kind, **entry.fields} for entry in found]
    return [entry for entry in told if kind in (None, entry["kind"])]


def verdicts(gate: Gate) -> list[str]:
    return [entry["verdict"] for entry in entries(gate, "decision")]


def statuses(gate: Gate) -> list[str]:
    """How calls ended, after making sure that each has one end at most."""
    ends = entries(gate, "outcome")
    assert len({end["of"] for end in ends}) == len(ends)
    return [end["status"] for end in ends]
