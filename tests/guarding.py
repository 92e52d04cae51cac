"""Tools behind a gate, and what its ledger says of them, as tests put them."""

from collections.abc import Callable
from typing import Any

from saferun import Gate
from saferun.approval import Question, Vote
from saferun.ledger import read
from saferun.policy import loads
from saferun.store import Reader

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

    def ask(self, question: Question) -> Vote | None:
        self.questions.append(question)
        return self.answer(question)


def approve(_: Question) -> Vote:
    return Vote(approved=True, by="dana")


def enforcing(policy: str = OPEN, answer: Callable[[Question], Vote | None] | None = None) -> Gate:
    """A gate of that policy; questions are answered by `answer`."""
    return Gate(policy=loads(policy), approvals=None if answer is None else Asked(answer))


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
