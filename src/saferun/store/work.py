"""What the gate has the store do, each in one transaction.

Everything that can be prepared is prepared before the lock: entries are encoded but for
their number and time, keys are digested. Under the lock stand only the reads that must be
exact and the decision that follows from them, which `saferun.admission` makes.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from saferun import admission
from saferun.admission import State
from saferun.call import Outcome, Past, Reason, Verdict
from saferun.control import Charge
from saferun.ledger import (
    ApprovalEntry,
    DecisionEntry,
    Other,
    OutcomeEntry,
    RecoveryEntry,
    encode,
    parse,
)
from saferun.store.locks import buried, bury_the_rest
from saferun.store.transaction import Intent, Transaction
from saferun.store.versions import Pin, Pinned, Version


class Blob(msgspec.Struct, frozen=True):
    """A value too large for an entry, under the hash of salt and data that the entry names."""

    hash: bytes
    salt: bytes
    data: bytes

    def write(self, tx: Transaction) -> None:
        tx.write("INSERT OR IGNORE INTO blob VALUES (?, ?, ?)", self.hash, self.salt, self.data)


class Opening(msgspec.Struct, frozen=True):
    """The run of a call: whom it is bound to, and its first entry should it be new."""

    run_id: str
    root: str
    identity: bytes
    entry: bytes

    def admits(self, tx: Transaction) -> bool:
        """Bind the run at its first use; whether it is still the same one's afterwards."""
        bound = tx.identity(self.run_id)
        if bound is None:
            seq = tx.append(self.entry)
            tx.bind(self.run_id, seq, self.identity)
            if self.root != self.run_id:
                tx.write("INSERT OR IGNORE INTO family VALUES (?, ?)", self.root, seq)
            return True
        return bound == self.identity


class Request(msgspec.Struct, frozen=True):
    """A question to a person, should the call turn out to need one.

    `binding` is what an answer holds for; `deadline` is in microseconds from now.
    """

    id: str
    binding: bytes
    deadline: int
    entry: ApprovalEntry
    shown: bytes


class Admitted(msgspec.Struct, frozen=True):
    """The store's answer to `Admit`: see `saferun.call.Decision` for the fields.

    `pinned` is the version that the run keeps, where `Admit` wanted to know. Where that is
    another than the one that has ruled, nothing was decided and `seq` is -1.
    """

    seq: int
    verdict: Verdict
    reasons: tuple[Reason, ...]
    starts: bool
    approval_id: str | None = None
    outcome: Outcome | None = None
    pinned: Pinned | None = None


class Admit(msgspec.Struct, frozen=True, kw_only=True):
    """Let a call through or not: limits, approval, intent and answer in one commit.

    `entry` carries the policy's verdict, `rest` the same already encoded. `due` pairs each
    charge with the digest that its counter is kept under. `key` is the call among its own
    repetitions, None where it came without an id and therefore cannot be repeated.

    `keeps` are the versions of policies that may not have decided before. `pin` is the version
    that has ruled, where it is not yet known which one the run keeps. `compared` is what the
    call would count towards under `entry.other`, on counters that decide nothing.
    """

    entry: DecisionEntry
    rest: bytes
    boot: str
    key: bytes | None = None
    opening: Opening | None = None
    due: Sequence[tuple[Charge, bytes | None]] = ()
    request: Request | None = None
    blobs: Sequence[Blob] = ()
    keeps: Sequence[Version] = ()
    pin: Pin | None = None
    compared: Sequence[tuple[Charge, bytes | None]] = ()

    def apply(self, tx: Transaction) -> Admitted:
        for version in self.keeps:
            version.write(tx)
        if self.key is not None:
            recorded = _recorded(tx, self.key)
            if recorded is not None:
                return recorded
        if self.opening is not None and not self.opening.admits(tx):
            return self._decide(tx, "deny", (_FOREIGN_RUN,))
        if self.pin is None:
            return self._admitted(tx)
        pinned = self.pin.settled(tx)
        if pinned.version != self.pin.version:
            return Admitted(-1, "deny", (), starts=False, pinned=pinned)
        return msgspec.structs.replace(self._admitted(tx), pinned=pinned)

    def _admitted(self, tx: Transaction) -> Admitted:
        moves: tuple[bytes, ...] = ()
        if not self.due:
            verdict, reasons = self.entry.verdict, self.entry.reasons
        else:
            due, used = _used(tx, self.due)
            asked = self.entry.verdict
            if asked == "ask" and self.request is not None and self.entry.mode == "enforce":
                # Tried as what it becomes if a person says yes.
                asked = "allow"
            tried = admission.admit(asked, self.entry.reasons, due, used)
            verdict, reasons, moves = tried.verdict, tried.reasons, tried.moves
            if verdict == "allow":
                verdict = self.entry.verdict
        if verdict == "ask" and self.entry.mode == "enforce":
            return self._ask(tx, reasons, moves)
        if verdict == "allow":
            for key in moves:
                tx.move(key)
        return self._decide(tx, verdict, reasons)

    def _ask(
        self, tx: Transaction, reasons: tuple[Reason, ...], moves: Sequence[bytes]
    ) -> Admitted:
        assert self.request is not None, "a call that may be asked about carries its request"
        asked = self.request
        row = tx.read("SELECT id, state, binding, deadline FROM approval WHERE id = ?", asked.id)
        if row is None and self.key is not None:
            row = tx.read(
                "SELECT id, state, binding, deadline FROM approval WHERE call = ?"
                " AND state IN ('pending', 'approved') LIMIT 1",
                self.key,
            )
        if row is None:
            return self._request(tx, reasons)
        found, state, binding, deadline = msgspec.convert(row, tuple[str, State, bytes, int])
        stands = admission.standing(
            state, binding=binding, asked=asked.binding, deadline=deadline, now=tx.now
        )
        if stands == "pending":
            return Admitted(-1, "ask", reasons, starts=False, approval_id=found)
        if stands == "approved":
            tx.write("UPDATE approval SET state = 'executing' WHERE id = ?", found)
            for key in moves:
                tx.move(key)
            return self._decide(tx, "allow", reasons, approval=found)
        if stands != state:
            _move(tx, found, stands, asked.entry)
        refusal = admission.refusal(stands)
        return self._decide(tx, "deny", (refusal, *reasons), approval=found)

    def _request(self, tx: Transaction, reasons: tuple[Reason, ...]) -> Admitted:
        assert self.request is not None
        asked = self.request
        deadline = tx.now + asked.deadline
        other, _ = self._other(tx)
        entry = msgspec.structs.replace(self.entry, reasons=reasons, approval=asked.id, other=other)
        seq = tx.append(encode(entry))
        self._keep_blobs(tx)
        tx.append(encode(msgspec.structs.replace(asked.entry, deadline=deadline)))
        tx.write(
            "INSERT INTO approval (id, state, call, binding, deadline, request)"
            " VALUES (?, 'pending', ?, ?, ?, ?)",
            *(asked.id, self.key, asked.binding, deadline, asked.shown),
        )
        return Admitted(seq, "ask", reasons, starts=False, approval_id=asked.id)

    def _decide(
        self,
        tx: Transaction,
        verdict: Verdict,
        reasons: tuple[Reason, ...],
        approval: str | None = None,
    ) -> Admitted:
        rest = self.rest
        other, moves = self._other(tx)
        for key in moves:
            tx.move(key)
        if (
            verdict != self.entry.verdict
            or reasons != self.entry.reasons
            or approval != self.entry.approval
            or other != self.entry.other
        ):
            rest = encode(
                msgspec.structs.replace(
                    self.entry, verdict=verdict, reasons=reasons, approval=approval, other=other
                )
            )
        seq = tx.append(rest)
        self._keep_blobs(tx)
        starts = verdict == "allow" or self.entry.mode != "enforce"
        if starts:
            tx.open(Intent(seq, self.boot, self.key, approval))
        if self.key is not None:
            tx.write("INSERT INTO call (key, decision) VALUES (?, ?)", self.key, seq)
        return Admitted(seq, verdict, reasons, starts, approval)

    def _other(self, tx: Transaction) -> tuple[Other | None, tuple[bytes, ...]]:
        """What the version that is compared would have said here, and the counters it moves."""
        other = self.entry.other
        if other is None or not self.compared:
            return other, ()
        due, used = _used(tx, self.compared)
        tried = admission.admit(other.verdict, (), due, used)
        if tried.verdict == other.verdict:
            return other, tried.moves
        rules = (*(reason.id for reason in tried.reasons), *other.rules)
        return msgspec.structs.replace(other, verdict=tried.verdict, rules=rules), ()

    def _keep_blobs(self, tx: Transaction) -> None:
        for blob in self.blobs:
            blob.write(tx)


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """Append what came of an admitted call, once. `rest` is the encoded outcome entry."""

    of: int
    status: str
    rest: bytes
    boot: str
    key: bytes | None = None
    approval: str | None = None
    blobs: Sequence[Blob] = ()

    def apply(self, tx: Transaction) -> None:
        if not tx.is_open(self.of, self.boot):
            # Written already, by a commit whose answer was lost, or not this process's to write.
            return
        seq = tx.append(self.rest)
        tx.settled(self.of)
        for blob in self.blobs:
            blob.write(tx)
        _close(tx, self.status, seq, self.key, self.approval)


class Append(msgspec.Struct, frozen=True):
    """Append entries that decide nothing: what models and users said, how runs ended."""

    entries: Sequence[bytes]
    opening: Opening | None = None
    blobs: Sequence[Blob] = ()

    def apply(self, tx: Transaction) -> None:
        if self.opening is not None and not self.opening.admits(tx):
            return
        for entry in self.entries:
            tx.append(entry)
        for blob in self.blobs:
            blob.write(tx)


class Import(msgspec.Struct, frozen=True):
    """Bring in one run from elsewhere, whole or not at all. Returns whether it was new.

    Its id is bound to the file that it came from, so no live run can go on with it, and the
    same file brings it in once. It opens no call, and moves no counter.
    """

    run_id: str
    identity: bytes
    entries: Sequence[bytes]
    blobs: Sequence[Blob] = ()

    def apply(self, tx: Transaction) -> bool:
        if tx.identity(self.run_id) is not None:
            return False
        first, *further = self.entries
        tx.bind(self.run_id, tx.append(first), self.identity)
        for entry in further:
            tx.append(entry)
        for blob in self.blobs:
            blob.write(tx)
        return True


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
            _move(tx, self.id, now, self.entry)
        return now


class Look(msgspec.Struct, frozen=True):
    """The state that a request is in now. Writes nothing."""

    id: str

    def apply(self, tx: Transaction) -> State:
        row = tx.read("SELECT state FROM approval WHERE id = ?", self.id)
        return "cancelled" if row is None else msgspec.convert(row[0], State)


class PastOf(msgspec.Struct, frozen=True):
    """What a run and its children have done so far, and the time that it is now."""

    root: str

    def apply(self, tx: Transaction) -> tuple[int, Past]:
        return tx.now, tx.past(self.root)


class Recover(msgspec.Struct, frozen=True):
    """Record `unknown` for every call whose process died before it could settle.

    Never "failed": of such calls in a test of a hundred kills, most had happened.
    Returns how many there were.
    """

    boot: str
    boots: Path

    def apply(self, tx: Transaction) -> int:
        found = 0
        for (owner,) in tx.rows("SELECT DISTINCT boot FROM head WHERE boot != ?", self.boot):
            assert isinstance(owner, str)
            with buried(self.boots, owner) as dead:
                if dead:
                    found += self._close_all(tx, owner)
        bury_the_rest(self.boots)
        return found

    def _close_all(self, tx: Transaction, owner: str) -> int:
        left = tx.rows("SELECT seq, call, approval FROM head WHERE boot = ?", owner)
        for of, key, approval in left:
            assert isinstance(of, int)
            decision = parse(_body(tx, of)).entry
            assert isinstance(decision, DecisionEntry)
            entry = RecoveryEntry(
                of=of,
                run=decision.run,
                tool=decision.tool,
                status="unknown",
                owner=owner,
                boot=self.boot,
            )
            seq = tx.append(encode(entry))
            tx.settled(of)
            _close(tx, "unknown", seq, key, approval)
        return len(left)


def _used(
    tx: Transaction, due: Sequence[tuple[Charge, bytes | None]]
) -> tuple[list[Charge], dict[bytes, int]]:
    """Charges under the digests that their counters are kept under, and what those stand at."""
    kept = [Charge(charge.limit, key, charge.missing) for charge, key in due]
    return kept, {charge.key: tx.used(charge.key) for charge in kept if charge.key is not None}


def _recorded(tx: Transaction, key: bytes) -> Admitted | None:
    """The decision that this very call has got before, with its outcome if it has one."""
    row = tx.read("SELECT decision, outcome FROM call WHERE key = ?", key)
    if row is None:
        return None
    seq, settled = row
    assert isinstance(seq, int)
    decision = parse(_body(tx, seq)).entry
    assert isinstance(decision, DecisionEntry)
    outcome = None
    if settled is not None:
        last = parse(_body(tx, settled)).entry
        assert isinstance(last, OutcomeEntry | RecoveryEntry)
        outcome = Outcome(status=last.status)
        if isinstance(last, OutcomeEntry):
            outcome = Outcome(
                status=last.status,
                result=_whole(tx, last),
                error=last.error,
                latency=last.latency,
            )
    return Admitted(
        seq,
        decision.verdict,
        decision.reasons,
        starts=False,
        approval_id=decision.approval,
        outcome=outcome,
    )


def _body(tx: Transaction, seq: object) -> bytes:
    row = tx.read("SELECT body FROM entry WHERE seq = ?", seq)
    assert row is not None
    assert isinstance(row[0], bytes)
    return row[0]


def _whole(tx: Transaction, entry: OutcomeEntry) -> object:
    """A recorded result, from beside the entry where it was too large to stand in it."""
    for name in entry.blobs:
        row = tx.read("SELECT data FROM blob WHERE hash = ?", bytes.fromhex(name))
        if row is not None:
            assert isinstance(row[0], bytes)
            return msgspec.json.decode(row[0])
    return entry.result


def _close(tx: Transaction, status: str, seq: int, key: object, approval: object) -> None:
    if key is not None:
        if status == "not_started":
            # Nothing happened, so the same call may be decided again.
            tx.write("DELETE FROM call WHERE key = ?", key)
        else:
            tx.write("UPDATE call SET outcome = ? WHERE key = ?", seq, key)
    if approval is not None:
        state = {"ok": "succeeded", "unknown": "unknown"}.get(status, "failed")
        tx.write("UPDATE approval SET state = ? WHERE id = ?", state, approval)


def _move(tx: Transaction, approval: str, state: State, entry: ApprovalEntry) -> None:
    told = msgspec.structs.replace(entry, id=approval, event=state)
    tx.append(encode(told))
    tx.write(
        "UPDATE approval SET state = ?, by = ?, reason = ?, deadline = ? WHERE id = ?",
        *(state, told.by, told.reason, tx.now + admission.START_BY, approval),
    )


_FOREIGN_RUN = Reason(
    id="run",
    effect="deny",
    source="gate",
    message="this run id belongs to another agent, user, tenant or parent run",
)
