"""A small ledger in memory, written the way a store writes one, and what a forger makes of it."""

from collections.abc import Sequence

from saferun.ledger import (
    FORMAT,
    AnyEntry,
    Checkpoint,
    DecisionEntry,
    Frontier,
    Head,
    LedgerEntry,
    OutcomeEntry,
    Row,
    RunEntry,
    encode,
    leaf_hash,
    seal,
)

ORIGIN = "saferun.local/default"
START = 1_763_942_400_000_000


class Book:
    """Entry 0 is there from the beginning; each further one is a millisecond later."""

    def __init__(self, origin: str = ORIGIN, vkey: str | None = None) -> None:
        self.bodies: list[bytes] = []
        begun = {"name": "default", "origin": origin, "created_by": "saferun-sdk 0"}
        self.write(LedgerEntry(**begun, format=1 if vkey is None else FORMAT, vkey=vkey))

    def write(self, entry: AnyEntry, time: int | None = None) -> int:
        seq = len(self.bodies)
        at = START + 1000 * seq if time is None else time
        self.bodies.append(seal(seq, at, encode(entry)))
        return seq

    def calls(self, count: int) -> "Book":
        """A run with that many calls, each with its outcome: 2 entries a call, and 1 before."""
        self.write(RunEntry(event="start", run="run-1", root="run-1", agent="support"))
        for number in range(count):
            seq = self.write(
                DecisionEntry(
                    run="run-1",
                    call=f"call-{number}",
                    tool="refund",
                    args={"order_id": f"A-{number}", "amount": 4000},
                    verdict="allow",
                )
            )
            self.write(OutcomeEntry(of=seq, tool="refund", status="ok", result={"refunded": True}))
        return self

    def nodes(self, level: int, place: int) -> bytes:
        """The root of a perfect subtree, as `ledger.Nodes` gives it."""
        return tree_of(self.bodies[place << level : (place + 1) << level]).root()

    def rows(self) -> list[Row]:
        return rows_of(self.bodies)

    def head(self) -> Head:
        return head_of(self.bodies)

    def checkpoint(self, size: int | None = None, origin: str = ORIGIN) -> Checkpoint:
        size = len(self.bodies) if size is None else size
        return Checkpoint(origin, size, tree_of(self.bodies[:size]).root())


def tree_of(bodies: Sequence[bytes]) -> Frontier:
    tree = Frontier()
    for body in bodies:
        tree.append(leaf_hash(body))
    return tree


def rows_of(bodies: Sequence[bytes]) -> list[Row]:
    """Rows with leaves that fit: what an honest store has, and a forger who is thorough."""
    return [(seq, body, leaf_hash(body)) for seq, body in enumerate(bodies)]


def head_of(bodies: Sequence[bytes]) -> Head:
    tree = tree_of(bodies)
    return Head(tree.size, tree.encode())
