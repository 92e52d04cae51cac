"""People's answers: a vote, an edit, and what is refused of them."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from saferun import approval
from saferun.approval import Grant, People, Question, State, Vote
from saferun.ledger import ApprovalEntry, encode
from saferun.store.locks import lives
from saferun.store.transaction import Transaction
from saferun.store.versions import WrongSecretError, vouch
from saferun.store.work.ask import free, move

MAX_REFUSED = 20
"""Answers to one request that are refused with an entry each; further ones leave none."""


class Voted(NamedTuple):
    """What became of an answer. `why` says why it did not count, as a sentence.

    `joined` are the further requests that it has answered too.
    """

    counted: bool
    state: State
    why: str | None = None
    grant: str | None = None
    joined: tuple[str, ...] = ()


class _Row(NamedTuple):
    state: State
    revision: int
    deadline: int
    lease: int
    refused: int
    lead: str | None


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody answers a question, as they have seen it at `revision`.

    `credential` is the keyed digest of their own secret, None where the channel knows them by
    something else. `entry` is what stands in the ledger of it, but for what became of it.
    `grant` is what a yes lets run again.
    """

    question: Question
    revision: int
    vote: Vote
    people: People
    entry: ApprovalEntry
    credential: bytes | None = None
    grant: Grant | None = None

    def apply(self, tx: Transaction) -> Voted:
        if self.credential is not None:
            try:
                vouch(tx, self.vote.by, self.credential)
            except WrongSecretError as problem:
                return self._refused(tx, _row(tx, self.question.id), str(problem))
        row = _row(tx, self.question.id)
        closed = _closed(tx, row, self.revision)
        if row is None or closed is not None:
            if row is not None and row.state == "pending" and tx.now > row.deadline:
                # Whoever waits for it is to know at once.
                move(tx, self.question.id, "expired", ApprovalEntry(id="", event="expired"))
                free(tx, self.question.id)
            return self._refused(tx, row, closed or _MISSING)
        objection = self._objection(tx)
        if objection is not None:
            return self._refused(tx, row, objection)
        vote = msgspec.structs.replace(self.vote, at=tx.now)
        known = [each for each in votes(tx, self.question.id, self.revision) if each.by != vote.by]
        tx.write(
            "INSERT OR REPLACE INTO vote VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(self.question.id, self.revision, vote.by, vote.approved, vote.reason),
            *(vote.channel, vote.at, vote.glass),
        )
        if not vote.approved:
            joined = self._settled(tx, "rejected", row)
            return Voted(counted=True, state="rejected", joined=joined)
        told = approval.tally(self.people, self.question, (*known, vote), tx.now)
        if not told.approved:
            tx.append(encode(self._entry(event="voted", approved=True)))
            _touch(tx, self.question.id)
            return Voted(counted=True, state="pending")
        joined = self._settled(tx, "approved", row)
        return Voted(counted=True, state="approved", grant=self._granted(tx), joined=joined)

    def _objection(self, tx: Transaction) -> str | None:
        vote, question = self.vote, self.question
        if vote.glass:
            objection = self.people.glass_objection(vote.by, question)
            if objection is None and not vote.reason:
                return "whoever breaks the glass has to say why"
        else:
            objection = self.people.objection(vote.by, question, tx.now)
        if objection is not None:
            return objection
        if vote.approved and question.hidden:
            return (
                f"{', '.join(question.hidden)} cannot be shown as it is, and nobody approves what"
                " they cannot see"
            )
        return None

    def _settled(self, tx: Transaction, state: State, row: _Row) -> tuple[str, ...]:
        """Settle the request. Which of the calls that wait for the same are settled with it.

        A no is for all of them. A yes is for one start, since nobody has seen how many might
        join until it came, and the others are asked about again; but by a yes for further calls
        they run as well.
        """
        entry = self._entry(event=state)
        lease = min(row.lease, approval.GLASS_BY) if self.vote.glass else row.lease
        move(tx, self.question.id, state, entry, lease)
        if state == "approved" and self.grant is None:
            free(tx, self.question.id)
            return ()
        joined = msgspec.convert(
            tx.rows(
                "SELECT id, lease FROM approval WHERE lead = ? AND state = 'pending'",
                self.question.id,
            ),
            list[tuple[str, int]],
        )
        for request, lease in joined:
            move(tx, request, state, entry, lease)
        return tuple(request for request, _ in joined)

    def _granted(self, tx: Transaction) -> str | None:
        if self.grant is None:
            return None
        grant = self.grant
        length = grant.until - grant.since
        grant = msgspec.structs.replace(grant, since=tx.now, until=tx.now + length)
        tx.write(
            "INSERT INTO permit VALUES (?, ?, ?, ?)",
            *(grant.id, grant.whose, grant.until, msgspec.json.encode(grant)),
        )
        tx.append(encode(self._entry(event="granted", grant=grant.id, deadline=grant.until)))
        return grant.id

    def _refused(self, tx: Transaction, row: _Row | None, why: str) -> Voted:
        return _refuse(tx, row, self._entry(event="refused", why=why), why)

    def _entry(self, **changes: object) -> ApprovalEntry:
        return msgspec.structs.replace(self.entry, **changes)


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody changes the arguments of a call that waits; policy has been asked again.

    `question`, sealed as `sealed`, is what is asked from now on, about a call that is sealed as
    `held`. Votes on what it was before no longer count. With `refused`, policy has said no.
    """

    question: Question
    before: Question
    revision: int
    by: str
    people: People
    entry: ApprovalEntry
    sealed: bytes = b""
    held: bytes = b""
    binding: bytes = b""
    credential: bytes | None = None
    refused: str | None = None

    def apply(self, tx: Transaction) -> Voted:
        row = _row(tx, self.question.id)
        if self.credential is not None:
            try:
                vouch(tx, self.by, self.credential)
            except WrongSecretError as problem:
                return self._refused(tx, row, str(problem))
        closed = _closed(tx, row, self.revision)
        if row is None or closed is not None:
            return self._refused(tx, row, closed or _MISSING)
        objection = self.people.objection(self.by, self.before, tx.now) or self.refused
        if objection is not None:
            return self._refused(tx, row, objection)
        entry = msgspec.structs.replace(
            self.entry, event="edited", revision=self.revision + 1, digest=self.question.digest
        )
        moved = tx.append(encode(entry))
        tx.write(
            "UPDATE approval SET revision = ?, request = ?, held = ?, binding = ?,"
            " moved = ?, overrides = ? WHERE id = ?",
            *(self.revision + 1, self.sealed, self.held, self.binding, moved),
            " ".join(reason.id for reason in self.question.reasons),
            self.question.id,
        )
        # They wait for the answer to another call now.
        free(tx, self.question.id)
        return Voted(counted=True, state="pending")

    def _refused(self, tx: Transaction, row: _Row | None, why: str) -> Voted:
        entry = msgspec.structs.replace(self.entry, event="refused", why=why)
        return _refuse(tx, row, entry, why)


class Escalate(msgspec.Struct, frozen=True, kw_only=True):
    """Note that a question goes to further people, once for each of its steps."""

    id: str
    step: int
    entry: ApprovalEntry

    def apply(self, tx: Transaction) -> bool:
        row = tx.read("SELECT state, escalated FROM approval WHERE id = ?", self.id)
        if row is None or row[0] != "pending" or msgspec.convert(row[1], int) >= self.step:
            return False
        moved = tx.append(encode(msgspec.structs.replace(self.entry, event="escalated")))
        tx.write(
            "UPDATE approval SET escalated = ?, moved = ? WHERE id = ?",
            *(self.step, moved, self.id),
        )
        return True


class Revoked(NamedTuple):
    """The grant that was taken back, None where it was not; `why` says why not, as a sentence."""

    grant: Grant | None
    why: str | None = None


class Revoke(msgspec.Struct, frozen=True, kw_only=True):
    """Take a grant back, for whoever has given it, or is an admin among the people."""

    id: str
    entry: ApprovalEntry
    people: People
    credential: bytes | None = None

    def apply(self, tx: Transaction) -> Revoked:
        if self.credential is not None:
            vouch(tx, self.entry.by or "", self.credential)
        row = tx.read("SELECT data FROM permit WHERE id = ? AND until > ?", self.id, tx.now)
        if row is None:
            return Revoked(None, "there is no such grant that still holds")
        grant = msgspec.json.decode(msgspec.convert(row[0], bytes), type=Grant)
        if not self.people.may_revoke(self.entry.by, grant):
            return Revoked(None, "only who has given a grant, or an admin, takes it back")
        tx.write("DELETE FROM permit WHERE id = ?", self.id)
        tx.append(encode(msgspec.structs.replace(self.entry, event="revoked", tool=grant.tool)))
        return Revoked(grant)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Have one channel's delivery of a request be this process's to make.

    Returns what is known of it, None where another process is at it. What is not due yet is not
    claimed, and says how long that will be. `boots` is where it is seen whether a process is
    still there.
    """

    request: str
    channel: str
    boot: str
    boots: Path

    def apply(self, tx: Transaction) -> "Delivery | None":
        row = tx.read(
            "SELECT boot, shown, receipt, tries, due FROM delivery"
            " WHERE approval = ? AND channel = ?",
            *(self.request, self.channel),
        )
        if row is None:
            tx.write(
                "INSERT OR IGNORE INTO delivery VALUES (?, ?, ?, -1, NULL, 0, 0, NULL)",
                *(self.request, self.channel, self.boot),
            )
            return Delivery(shown=-1)
        boot, shown, receipt, tries, due = msgspec.convert(
            row, tuple[str | None, int, str | None, int, int]
        )
        if boot is not None and boot != self.boot and lives(self.boots, boot):
            return None
        if due > tx.now:
            return Delivery(shown=shown, receipt=receipt, tries=tries, due_in=due - tx.now)
        tx.write(
            "UPDATE delivery SET boot = ? WHERE approval = ? AND channel = ?",
            *(self.boot, self.request, self.channel),
        )
        return Delivery(shown=shown, receipt=receipt, tries=tries)


class Delivery(NamedTuple):
    """How far a channel has brought a request: `shown` is the entry that it has shown last.

    After a failure it is not tried again for another `due_in` microseconds.
    """

    shown: int
    receipt: str | None = None
    tries: int = 0
    due_in: int = 0


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery. With `failed`, it is tried again after `again` microseconds."""

    request: str
    channel: str
    shown: int
    receipt: str | None = None
    failed: str | None = None
    again: int = 0

    def apply(self, tx: Transaction) -> None:
        if self.failed is None:
            tx.write(
                "UPDATE delivery SET boot = NULL, shown = ?, receipt = ?, tries = 0, due = 0,"
                " failed = NULL WHERE approval = ? AND channel = ?",
                *(self.shown, self.receipt, self.request, self.channel),
            )
            return
        tx.write(
            "UPDATE delivery SET boot = NULL, tries = tries + 1, due = ?, failed = ?, receipt = ?"
            " WHERE approval = ? AND channel = ?",
            *(tx.now + self.again, self.failed[:500], self.receipt, self.request, self.channel),
        )


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something from outside comes for the first time within so many microseconds."""

    channel: str
    id: str
    within: int

    def apply(self, tx: Transaction) -> bool:
        tx.write("DELETE FROM callback WHERE until <= ?", tx.now)
        row = tx.read(
            "SELECT until FROM callback WHERE channel = ? AND id = ?", self.channel, self.id
        )
        if row is not None and msgspec.convert(row[0], int) > tx.now:
            return False
        tx.write(
            "INSERT OR REPLACE INTO callback VALUES (?, ?, ?)",
            *(self.channel, self.id, tx.now + self.within),
        )
        return True


_MISSING = "there is no such request"
_ALREADY = {
    "expired": "has expired",
    "executing": "is under way",
    "succeeded": "has run",
    "failed": "has run",
    "unknown": "has been started",
}


def _row(tx: Transaction, request: str) -> _Row | None:
    row = tx.read(
        "SELECT state, revision, deadline, lease, refused, lead FROM approval WHERE id = ?", request
    )
    return None if row is None else msgspec.convert(row, _Row)


def _closed(tx: Transaction, row: _Row | None, revision: int) -> str | None:
    """Why a request takes no answer any more, None where it does."""
    if row is None:
        return _MISSING
    if row.lead is not None:
        return f"it waits for the answer to {row.lead}"
    if row.state != "pending":
        return f"it {_ALREADY.get(row.state, f'is {row.state}')} already"
    if tx.now > row.deadline:
        return "it has expired"
    if row.revision != revision:
        return "it was changed since it was shown, so look at it again"
    return None


def votes(tx: Transaction, request: str, revision: int) -> tuple[Vote, ...]:
    """The votes on a request as it is at that revision."""
    rows = tx.rows(
        "SELECT by, approved, reason, channel, at, glass FROM vote"
        " WHERE approval = ? AND revision = ?",
        *(request, revision),
    )
    return tuple(vote_of(row) for row in rows)


def vote_of(row: tuple[object, ...]) -> Vote:
    by, approved, reason, channel, at, glass = msgspec.convert(
        row, tuple[str, int, str | None, str, int, int]
    )
    return Vote(
        by=by, approved=bool(approved), reason=reason, channel=channel, at=at, glass=bool(glass)
    )


def _touch(tx: Transaction, request: str) -> None:
    """Have those who show a request look at it again, after the entry that stands last now."""
    tx.write("UPDATE approval SET moved = ? WHERE id = ?", tx.size - 1, request)


def _refuse(tx: Transaction, row: _Row | None, entry: ApprovalEntry, why: str) -> Voted:
    if row is None:
        return Voted(counted=False, state="cancelled", why=why)
    if row.refused < MAX_REFUSED:
        tx.append(encode(entry))
        tx.write("UPDATE approval SET refused = refused + 1 WHERE id = ?", entry.id)
    return Voted(counted=False, state=row.state, why=why)
