"""A store that policies are published to, as tests put it."""

from typing import Any

from saferun.ledger import Signer
from saferun.policy import assignment, loads
from saferun.policy.assignment import Assignment
from saferun.store import Assign, Enrol, Reader, Store, Version
from saferun.store.versions import assignments_of


class Published:
    """What is published under one name, by somebody who may."""

    def __init__(self, store: Store, name: str = "shop", signer: Signer | None = None) -> None:
        self.store = store
        self.name = name
        self.signer = signer
        self.credential = store.keys.digest(b"secret")
        store.commit(Enrol("alice", self.credential))

    def history(self) -> list[Assignment]:
        with Reader(self.store.path) as reader:
            return [
                assignment.read(note, name=self.name, origin=self.store.origin)
                for note in assignments_of(reader, self.name)
            ]

    def who(self) -> dict[str, Any]:
        about = {"by": "alice", "at": self.store.now()}
        return (
            about if self.history() else {**about, "name": self.name, "origin": self.store.origin}
        )

    def publish(self, text: str, **how: Any) -> Assignment:
        policy = loads(text)
        version = Version(policy.name, policy.version, policy.canonical)
        before = self.history()[-1] if self.history() else None
        said = assignment.published(before, policy.version, **how, **self.who())
        return self.put(said, version)

    def promote(self, **how: Any) -> Assignment:
        return self.put(assignment.promoted(self.history()[-1], **how, **self.who()))

    def roll_back(self, version: str | None = None, **how: Any) -> Assignment:
        said = assignment.rolled_back(self.history(), version, **how, **self.who())
        return self.put(said)

    def put(self, said: Assignment, version: Version | None = None) -> Assignment:
        self.store.commit(
            Assign(
                assignment=said,
                note=said.sealed(self.signer),
                credential=self.credential,
                version=version,
            )
        )
        return said
