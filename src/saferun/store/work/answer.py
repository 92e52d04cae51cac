"""Questions to people, and what becomes of them."""

import msgspec

from saferun import admission
from saferun.admission import State
from saferun.control import Charge
from saferun.ledger import ApprovalEntry, encode
from saferun.store.transaction import Transaction


class Request(msgspec.Struct, frozen=True):
    """A question to a person, should the call turn out to need one.

    `binding` is what an answer holds for; `deadline` is in microseconds from now. `pace` is what
    asking counts towards.
    """

    id: str
    binding: bytes
    deadline: int
    entry: ApprovalEntry
    shown: bytes
    pace: Charge


class Answer(msgspec.Struct, frozen=True):
    """A person's answer to a request, if it still stands. Returns the state it is in now."""

    id: str
    answer: State
    entry: ApprovalEntry

    def apply(self, tx: Transaction) -> State:
        row = tx.read("SELECT state, deadline FROM approval WHERE id = ?", self.id)
        if row is None:
            return "cancelled"
        state, deadline = msgspec.convert(row, tuple[State, int])
        now = admission.answered(state, self.answer, deadline=deadline, now=tx.now)
        if now != state:
            move(tx, self.id, now, self.entry)
        return now


def move(tx: Transaction, approval: str, state: State, entry: ApprovalEntry) -> None:
    told = msgspec.structs.replace(entry, id=approval, event=state)
    tx.append(encode(told))
    tx.write(
        "UPDATE approval SET state = ?, by = ?, reason = ?, deadline = ? WHERE id = ?",
        *(state, told.by, told.reason, tx.now + admission.START_BY, approval),
    )
