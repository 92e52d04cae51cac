"""Questions to people: asked, withdrawn, and moved from one state to the next."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from saferun import approval
from saferun.approval import Question, State
from saferun.call import Reason
from saferun.control import Charge
from saferun.ledger import ApprovalEntry, encode
from saferun.store.envelope import Envelope
from saferun.store.locks import lives
from saferun.store.transaction import Transaction


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question to people, should the call turn out to need one.

    `key` is the call among its own repetitions. `binding` is what an answer holds for, `came` what
    it would hold for had people changed nothing, None where that is the same, and `same`
    that of all calls of its run that one answer serves, None where there is no run. `deadline` is
    in microseconds from now, and `lease` those that an approved call has to start in. `pace` is
    what asking counts towards. `held` is the call itself, sealed, where somebody may have to make
    it again. `whose` and `parts` are what grants go by: see `Grant`. `caller` is who asks, among
    all who make the same call, and `leaves` says that they do not wait for the answer.
    """

    envelope: Envelope
    key: bytes | None
    binding: bytes
    deadline: int
    entry: ApprovalEntry
    question: Question
    pace: Charge
    lease: int = approval.START_BY
    same: bytes | None = None
    held: bytes | None = None
    came: bytes | None = None
    root: str | None = None
    whose: str = ""
    parts: Mapping[str, str] = {}
    caller: str = ""
    leaves: bool = False

    @property
    def id(self) -> str:
        return self.question.id

    def write(self, tx: Transaction, reasons: tuple[Reason, ...], decision: int) -> bool:
        """Ask, for these reasons. Whether people have to be told: else somebody is asking them."""
        deadline = tx.now + self.deadline
        question = msgspec.structs.replace(self.question, reasons=reasons, asked=tx.now)
        lead = self._lead(tx)
        told = msgspec.structs.replace(
            self.entry, id=self.id, deadline=deadline, reasons=reasons, joins=lead
        )
        moved = tx.append(encode(told))
        # Every column by name: the table has grown, and its order is an accident.
        tx.write(
            "INSERT INTO approval (id, state, call, binding, deadline, request, overrides, moved,"
            " decision, tool, same, lead, held, lease)"
            " VALUES (?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(self.id, self.key, self.binding, deadline),
            self.envelope.seal("question", msgspec.json.encode(question)),
            " ".join(reason.id for reason in reasons),
            *(moved, decision, question.tool, self.same, lead, self.held, self.lease),
        )
        if lead is not None:
            # Whoever has it before them is to see that it is about one call more.
            tx.write("UPDATE approval SET moved = ? WHERE id = ?", moved, lead)
        return lead is None

    def _lead(self, tx: Transaction) -> str | None:
        """The request of the same call that people have before them, if they have one."""
        if self.same is None or self.question.effect in (None, "destructive"):
            # What cannot be undone is looked at each time.
            return None
        row = tx.read(
            "SELECT id FROM approval WHERE same = ? AND state = 'pending' AND lead IS NULL"
            " AND revision = 0 AND deadline > ? LIMIT 1",
            *(self.same, tx.now),
        )
        return None if row is None else str(row[0])

    def refused_before(self, tx: Transaction) -> bool:
        """Whether people have said no to this very call often enough."""
        if self.same is None:
            return False
        row = tx.read(
            "SELECT count(*) FROM approval WHERE same = ? AND state = 'rejected' AND lead IS NULL",
            self.same,
        )
        return row is not None and msgspec.convert(row[0], int) >= approval.NOES


class Answer(msgspec.Struct, frozen=True):
    """That a request has expired or is withdrawn, if it still stands. Returns its state now.

    With `caller`, it is they who wait for it no longer: then it stands for as long as others do.
    `boots` is where it is seen whether their processes are still there.
    """

    id: str
    answer: State
    entry: ApprovalEntry
    caller: str | None = None
    boots: Path | None = None

    def apply(self, tx: Transaction) -> State:
        row = tx.read("SELECT state, deadline FROM approval WHERE id = ?", self.id)
        if row is None:
            return "cancelled"
        state, deadline = msgspec.convert(row, tuple[State, int])
        now = approval.answered(state, self.answer, deadline=deadline, now=tx.now)
        if now == "cancelled" and self._awaited(tx):
            return state
        if now != state:
            move(tx, self.id, now, self.entry)
            free(tx, self.id)
        return now

    def _awaited(self, tx: Transaction) -> bool:
        """Whether somebody else waits for it. Whoever withdraws it does no longer."""
        if self.caller is None or self.boots is None:
            return False
        tx.write("DELETE FROM waiting WHERE approval = ? AND caller = ?", self.id, self.caller)
        others = tx.rows(
            "SELECT boot FROM waiting WHERE approval = ? AND caller != ?", self.id, self.caller
        )
        return any(boot is None or lives(self.boots, str(boot)) for (boot,) in others)


def waits(tx: Transaction, request: str, asked: Ask, boot: str) -> None:
    """Note that the caller of a question waits for the answer to a request, in that process."""
    tx.write(
        "INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)",
        *(request, asked.caller, None if asked.leaves else boot),
    )


class Lapse(msgspec.Struct, frozen=True):
    """Have requests be expired whose time is over, where whoever asked is gone. Returns which."""

    def apply(self, tx: Transaction) -> tuple[str, ...]:
        rows = tx.rows(
            "SELECT id, tool FROM approval WHERE state = 'pending' AND deadline < ? LIMIT ?",
            *(tx.now, _LAPSED),
        )
        over = msgspec.convert(rows, list[tuple[str, str]])
        for request, tool in over:
            move(tx, request, "expired", ApprovalEntry(id=request, event="expired", tool=tool))
        for request, _ in over:
            free(tx, request)
        return tuple(request for request, _ in over)


_LAPSED = 1_000
"""Requests that are found to have expired in one transaction."""


def move(
    tx: Transaction,
    request: str,
    state: State,
    entry: ApprovalEntry,
    lease: int = approval.START_BY,
) -> None:
    """Move a request to another state, with the entry that says so."""
    moved = tx.append(encode(msgspec.structs.replace(entry, id=request, event=state)))
    tx.write(
        "UPDATE approval SET state = ?, by = ?, reason = ?, deadline = ?, moved = ? WHERE id = ?",
        *(state, entry.by, entry.reason, tx.now + lease, moved, request),
    )
    tx.write("DELETE FROM waiting WHERE approval = ?", request)
    if state != "approved":
        forget(tx, request)


def forget(tx: Transaction, request: str) -> None:
    """Keep nothing more of a request that has ended: its key goes, and nothing opens it."""
    tx.write("UPDATE approval SET request = x'', held = NULL WHERE id = ?", request)


def free(tx: Transaction, lead: str) -> None:
    """Have calls that joined a request be asked about by themselves from now on."""
    row = tx.read("SELECT id FROM approval WHERE lead = ? AND state = 'pending' LIMIT 1", lead)
    if row is None:
        return
    [first] = row
    # One of them is the lead of the others, and has moved by that: so it is brought to people.
    tx.write("UPDATE approval SET lead = NULL, moved = ? WHERE id = ?", tx.size - 1, first)
    tx.write(
        "UPDATE approval SET lead = ? WHERE lead = ? AND id != ? AND state = 'pending'",
        *(first, lead, first),
    )
