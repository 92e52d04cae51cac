"""Whether a call is let through, in one transaction with all that this moves."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import msgspec

from saferun import admission, approval
from saferun.admission import NOTHING, Admission, Due, Hold
from saferun.approval import Grant, People, State
from saferun.call import Mode, Outcome, Reason, RunRef, Verdict
from saferun.control import Charge, Switch
from saferun.ledger import (
    ERASED,
    DecisionEntry,
    EntryError,
    Other,
    OutcomeEntry,
    RecoveryEntry,
    encode,
    filled,
    opened,
    parse,
)
from saferun.store.transaction import NOBODY, Intent, Transaction
from saferun.store.versions import Pin, Pinned, Version
from saferun.store.work.append import Blob, Opening, Seal
from saferun.store.work.ask import Ask, free, move, waits
from saferun.store.work.held import kept
from saferun.store.work.turn import BY_ITSELF, turned
from saferun.store.work.vote import votes

Again: TypeAlias = Literal["version", "trail", "request", "edited"]
"""Why nothing was decided yet: the run keeps another version of the policy, its past has to be
read anew, a control wants a person asked and no question was prepared, or people have changed the
call meanwhile, about which they were asked by a process that is gone."""


AGGREGATED = 60_000_000
"""Microseconds in which the same call of what is stopped is refused without another entry."""


AT_MOST = 500
"""Entries since a run was read that are looked through for more of it, under the write lock."""


class Admitted(msgspec.Struct, frozen=True):
    """The store's answer to `Admit`: see `saferun.call.Decision` for the fields.

    `pinned` is the version that the run keeps, where `Admit` wanted to know. With `again`,
    nothing was decided, `seq` is -1, and the call comes back with what it lacked. `holds` is
    what was counted of the call, and `at` when, in microseconds since 1970, UTC. `paid` says
    that what the run owed is counted. Of a request that stands, `revision` counts its edits and
    `deadline` is when it ends; `told` says that it is new, and people are to be told.
    """

    seq: int
    verdict: Verdict
    reasons: tuple[Reason, ...]
    starts: bool
    approval_id: str | None = None
    outcome: Outcome | None = None
    pinned: Pinned | None = None
    mode: Mode | None = None
    nudge: str | None = None
    frees_at: int | None = None
    again: Again | None = None
    holds: tuple[Hold, ...] = ()
    at: int = 0
    paid: bool = False
    revision: int = 0
    deadline: int = 0
    told: bool = False


class Watched(msgspec.Struct, frozen=True):
    """The run of a call as this process remembers it, for the control of loops.

    `fresh` says that it remembers nothing, and `whole` that it has just read all of it, up to
    entry `upto`: that of the run and its children, which are `runs`.
    """

    root: str
    fresh: bool = False
    whole: bool = False
    upto: int = -1
    runs: frozenset[str] = frozenset()

    def stale(self, tx: Transaction, boot: str) -> bool:
        """Whether the run has a past that this process does not know."""
        if self.whole:
            return False
        follower = tx.follower(self.root)
        return follower is not None and (self.fresh or follower != boot)

    def overtaken(self, tx: Transaction, boot: str) -> bool:
        """Whether somebody else may have written of the run since it was read."""
        if not self.whole:
            return False
        since = tx.rows("SELECT body FROM entry WHERE seq > ? LIMIT ?", self.upto, AT_MOST + 1)
        return len(since) > AT_MOST or any(
            not _written_by(boot, body)
            for (body,) in since
            if isinstance(body, bytes) and run_of(body) in self.runs
        )


_RUN = re.compile(rb'"run":("(?:[^"\\]|\\.)*+")')


def run_of(body: bytes) -> str | None:
    """The run that an entry may be of: its own `run` stands before all that it quotes."""
    found = _RUN.search(body)
    try:
        return None if found is None else str(msgspec.json.decode(found[1]))
    except msgspec.MsgspecError:
        return None


class _Standing(msgspec.Struct, frozen=True):
    """A request that was made for this call before, and what it is worth now."""

    id: str
    before: State
    now: State
    overrides: frozenset[str]
    revision: int
    deadline: int
    reason: str | None


class Admit(msgspec.Struct, frozen=True, kw_only=True):
    """Let a call through or not: controls, approval, intent and answer in one commit.

    `entry` carries the policy's verdict, `rest` the same already encoded. `due` is what the
    call has to pass, its groups by the numbers that they are kept under. `key` is the call
    among its own repetitions, None where it came without an id and cannot be repeated.

    `keeps` are the versions of policies that may not have decided before. `pin` is the version
    that has ruled, where it is not yet known which one the run keeps. `compared` is what the
    call would count towards under `entry.other`, on counters that decide nothing. `nobody` is
    said where a person should be asked and there is none. `owes` is what was spent before and
    is counted now, whatever becomes of the call. `seal` says whose the sensitive values of the
    call are, those of its result too.
    """

    entry: DecisionEntry
    rest: bytes
    boot: str
    key: bytes | None = None
    opening: Opening | None = None
    run: RunRef | None = None
    watched: Watched | None = None
    due: Due = NOTHING
    request: Ask | None = None
    nobody: Reason | None = None
    blobs: Sequence[Blob] = ()
    keeps: Sequence[Version] = ()
    pin: Pin | None = None
    compared: Due = NOTHING
    owes: Sequence[Charge] = ()
    seal: Seal | None = None

    def apply(self, tx: Transaction) -> Admitted:
        for version in self.keeps:
            version.write(tx)
        if self.key is not None:
            recorded = _recorded(tx, self.key)
            if recorded is not None:
                return recorded
        if self.opening is not None and not self.opening.admits(tx):
            return self._decide(tx, self._foreign(tx))
        if self.pin is None:
            return self._admitted(tx)
        pinned = self.pin.settled(tx)
        if pinned.version != self.pin.version:
            return msgspec.structs.replace(_undecided("version"), pinned=pinned)
        return msgspec.structs.replace(self._admitted(tx), pinned=pinned)

    def _admitted(self, tx: Transaction) -> Admitted:
        if self.watched is not None and self.watched.stale(tx, self.boot):
            return _undecided("trail")
        entry, asks = self.entry, False
        verdict, standing = entry.verdict, None
        if self.request is not None:
            standing = self._standing(tx, self.request)
            if (
                standing is not None
                and standing.now == "stale"
                and standing.revision > 0
                and standing.id != self.request.id
            ):
                return msgspec.structs.replace(_undecided("edited"), approval_id=standing.id)
            if verdict == "ask" and entry.mode == "enforce":
                # Tried as what it becomes if a person says yes.
                verdict, asks = "allow", True
        if standing is not None and standing.now == "approved":
            tried = self._tried(tx, verdict, standing.overrides)
            if tried.verdict == "ask":
                # Something has come to object since: who is asked anew is told all there is.
                tried = self._tried(tx, verdict, _NO_IDS)
        else:
            tried = self._tried(tx, verdict, _NO_IDS)
        if tried.verdict == "ask" and tried.mode == "enforce":
            return self._ask(tx, tried, standing)
        waits = standing is not None and standing.now in ("pending", "approved")
        if standing is not None and waits and tried.verdict != "allow":
            self._put_off(tx, standing.id)
        # Once a person was asked it is their answer that holds, whatever has freed itself since.
        if tried.verdict == "allow" and (asks or standing is not None):
            return self._ask(tx, tried, standing)
        return self._decide(tx, tried)

    def _foreign(self, tx: Transaction) -> Admission:
        """The answer to a run id of somebody else's; what is stopped is refused as ever."""
        return admission.admit(
            "deny",
            (_FOREIGN_RUN,),
            NOTHING,
            tx.group,
            tx.now,
            mode=self.entry.mode,
            stopped=self._stopped(tx) if tx.switches else None,
        )

    def _tried(self, tx: Transaction, verdict: Verdict, overridden: frozenset[str]) -> Admission:
        return admission.admit(
            verdict,
            self.entry.reasons,
            self.due,
            self._after_debts(tx) if self.owes else tx.group,
            tx.now,
            mode=self.entry.mode,
            call=tx.size,
            stopped=self._stopped(tx) if tx.switches else None,
            overridden=overridden,
        )

    def _after_debts(self, tx: Transaction) -> admission.States:
        """The groups as they will be once what is owed is counted."""
        paid: dict[Any, dict[str, Any]] = {}
        for key, name, state, _ in admission.counted(self.owes, tx.group, tx.now):
            paid.setdefault(key, {})[name] = state
        return lambda key: {**tx.group(key), **paid[key]} if key in paid else tx.group(key)

    def _pay(self, tx: Transaction) -> None:
        """Count what is owed, with the entry that says what became of the call."""
        for owed in admission.counted(self.owes, tx.group, tx.now):
            tx.put(*owed)

    def _stopped(self, tx: Transaction) -> Switch | None:
        found = (each for each in tx.switches if each.stops(self.entry.tool, self.run))
        return next(found, None)

    def _standing(self, tx: Transaction, asked: Ask) -> _Standing | None:
        columns = "SELECT id, state, binding, deadline, overrides, revision, reason FROM approval"
        row = tx.read(f"{columns} WHERE id = ?", asked.id)
        if row is None:
            row = tx.read(
                f"{columns} WHERE call = ? AND state IN ('pending', 'approved')"
                " ORDER BY deadline DESC LIMIT 1",
                self._known_as(asked),
            )
            if row is not None and self.key is None and msgspec.convert(row[3], int) < tx.now:
                # Nobody comes back for what was put off and is over: that is asked about anew.
                row = None
        if row is None:
            return None
        found, state, binding, deadline, overrides, revision, reason = msgspec.convert(
            row, tuple[str, State, bytes, int, str, int, str | None]
        )
        stands = approval.standing(
            state, binding=binding, asked=asked.binding, deadline=deadline, now=tx.now
        )
        overridden = frozenset(overrides.split())
        return _Standing(found, state, stands, overridden, revision, deadline, reason)

    def _known_as(self, asked: Ask) -> bytes:
        """By what a request of this call is found: its key, or, for want of one, all it binds."""
        return self.key or asked.came or asked.binding

    def _put_off(self, tx: Transaction, request: str) -> None:
        """Have what a control does not let go on be found when the call is made again."""
        assert self.request is not None
        tx.write(
            "UPDATE approval SET call = ? WHERE id = ? AND call IS NULL",
            *(self._known_as(self.request), request),
        )

    def _ask(self, tx: Transaction, tried: Admission, standing: _Standing | None) -> Admitted:
        if self.nobody is not None:
            # What the control has to say to the model is still the first thing it is told.
            denied = (
                msgspec.structs.replace(each, effect="deny") if each.effect == "ask" else each
                for each in tried.reasons
            )
            reasons = (*denied, self.nobody)
            return self._decide(tx, msgspec.structs.replace(tried, verdict="deny", reasons=reasons))
        if self.request is None:
            return _undecided("request")
        if standing is None:
            grant = self._grant(tx, self.request, tried.reasons)
            if grant is not None:
                return self._granted(tx, grant)
            return self._request(tx, self.request, tried)
        if standing.now == "approved" and tried.verdict == "ask":
            # A control has come to object since: that is new, and nobody has answered it.
            move(tx, standing.id, "stale", self.request.entry)
            return _undecided("request")
        if standing.now == "pending":
            self._wait(tx, standing.id, self.request)
            return Admitted(
                -1,
                "ask",
                tried.reasons,
                starts=False,
                approval_id=standing.id,
                mode="enforce",
                revision=standing.revision,
                deadline=standing.deadline,
            )
        if standing.now == "approved" and not self._vouched(tx, standing, self.request):
            # Where its people are known, it may still be made.
            reasons = (approval.ANSWERED_BY_OTHERS, *tried.reasons)
            refused = Admission("deny", reasons, shadow=tried.shadow)
            return self._decide(tx, refused, request=standing.id)
        if standing.now == "approved":
            tx.write(
                "UPDATE approval SET state = 'executing', moved = ?, decision = ? WHERE id = ?",
                *(tx.size, tx.size, standing.id),
            )
            return self._decide(tx, tried, request=standing.id)
        if standing.now != standing.before:
            move(tx, standing.id, standing.now, self.request.entry)
            free(tx, standing.id)
        why = approval.refusal(standing.now, standing.reason)
        refused = Admission("deny", (why, *tried.reasons), shadow=tried.shadow)
        return self._decide(tx, refused, request=standing.id)

    def _vouched(self, tx: Transaction, standing: _Standing, asked: Ask) -> bool:
        """Whether those who have approved a request may do so by the people of this gate as well.

        Another gate may have asked, with others, and since then somebody may have left.
        """
        question = asked.question
        if question.known is None:
            return True
        # What has joined another request was answered with that one.
        row = tx.read("SELECT coalesce(lead, id) FROM approval WHERE id = ?", standing.id)
        assert row is not None
        cast = votes(tx, str(row[0]), standing.revision)
        return approval.tally(People.of(question.known), question, cast, tx.now).approved

    def _wait(self, tx: Transaction, request: str, asked: Ask) -> None:
        # A call without an id has one caller, unless it was put off.
        if self.key is not None or request != asked.id:
            waits(tx, request, asked, self.boot)

    def _grant(self, tx: Transaction, asked: Ask, reasons: tuple[Reason, ...]) -> Grant | None:
        """The grant by which this call runs without being asked about, if there is one."""
        rows = tx.rows("SELECT data FROM permit WHERE whose = ? AND until > ?", asked.whose, tx.now)
        asks = frozenset(each.id for each in reasons if each.effect == "ask")
        question = asked.question
        people = None if question.known is None else People.of(question.known)
        for (data,) in rows:
            grant = msgspec.json.decode(msgspec.convert(data, bytes), type=Grant)
            if people is not None and people.objection(grant.by, question, tx.now) is not None:
                # Nobody has let a call run to which they could not say yes.
                continue
            if grant.covers(
                whose=asked.whose,
                run=asked.root,
                digest=asked.question.digest,
                parts=asked.parts,
                asks=asks,
                policy=None if self.entry.policy is None else self.entry.policy.version,
                now=tx.now,
            ):
                return grant
        return None

    def _granted(self, tx: Transaction, grant: Grant) -> Admitted:
        """Let the call run by a grant, if the controls that it does not speak of let it."""
        tried = self._tried(tx, "allow", frozenset(grant.answers))
        return self._decide(tx, tried, grant=grant.id)

    def _request(self, tx: Transaction, asked: Ask, tried: Admission) -> Admitted:
        reasons, shadow = tried.reasons, tried.shadow
        if asked.refused_before(tx):
            refused = (approval.REFUSED_BEFORE, *reasons)
            return self._decide(tx, Admission("deny", refused, shadow=shadow))
        paced = admission.asking(asked.pace, tx.group, tx.now)
        if isinstance(paced, Admission):
            reasons = (*paced.reasons, *reasons)
            return self._decide(tx, msgspec.structs.replace(paced, reasons=reasons, shadow=shadow))
        self._pay(tx)
        tx.put(*paced)
        other, _ = self._other(tx)
        entry = msgspec.structs.replace(
            self.entry,
            verdict="ask",
            mode="enforce",
            reasons=reasons,
            shadow=(*self.entry.shadow, *shadow),
            approval=asked.id,
            other=other,
        )
        seq = tx.append(encode(entry))
        self._keep_beside(tx)
        told = asked.write(tx, reasons, seq)
        self._wait(tx, asked.id, asked)
        return Admitted(
            seq,
            "ask",
            reasons,
            starts=False,
            approval_id=asked.id,
            mode="enforce",
            paid=True,
            deadline=tx.now + asked.deadline,
            told=told,
        )

    def _decide(
        self,
        tx: Transaction,
        tried: Admission,
        request: str | None = None,
        grant: str | None = None,
    ) -> Admitted:
        verdict, reasons, mode = tried.verdict, tried.reasons, tried.mode
        halted = bool(reasons) and reasons[0].source == "stop"
        repeats = 0
        if halted:
            last = tx.halted(self._same(), AGGREGATED)
            if last is not None:
                return Admitted(last, verdict, reasons, starts=False, mode=mode)
            repeats = tx.repeats(self._same())
        other, moves = self._other(tx)
        # First what is owed: the states that move with the call have it in them.
        self._pay(tx)
        for moved in (*tried.moves, *moves) if moves else tried.moves:
            tx.put(*moved)
        seq = tx.append(self._rest(tried, request, grant, other, repeats))
        if halted:
            tx.halt(self._same(), seq)
        if self.watched is not None:
            self._follow(tx, tried)
        self._keep_beside(tx)
        starts = verdict == "allow" or mode != "enforce"
        holds: tuple[Hold, ...] = ()
        if starts:
            if verdict == "allow" and self.due.charges:
                holds = admission.holds(self.due, tried.shadow)
            tx.open(Intent(seq, self.boot, self.key, request, kept(holds)))
        # What has started is on record, whatever would have been denied for now.
        if self.key is not None and (starts or not _passes(tried)):
            tx.write("INSERT INTO call (key, decision) VALUES (?, ?)", self.key, seq)
        return Admitted(
            seq,
            verdict,
            reasons,
            starts,
            request,
            mode=mode,
            nudge=tried.nudge,
            frees_at=tried.frees_at,
            holds=holds,
            at=tx.now,
            paid=True,
        )

    def _rest(
        self,
        tried: Admission,
        request: str | None,
        grant: str | None,
        other: Other | None,
        repeats: int,
    ) -> bytes:
        """The entry but for its number and time; what most calls are was encoded before."""
        entry = self.entry
        if (
            tried.verdict == entry.verdict
            and tried.reasons == entry.reasons
            and tried.mode == entry.mode
            and tried.nudge is None
            and not tried.shadow
            and not tried.close
            and request is None
            and grant is None
            and other is entry.other
        ):
            return self.rest
        return encode(
            msgspec.structs.replace(
                entry,
                verdict=tried.verdict,
                reasons=tried.reasons,
                mode=tried.mode,
                shadow=(*entry.shadow, *tried.shadow),
                approval=request,
                grant=grant,
                nudge=tried.nudge,
                other=other,
                repeats=repeats,
                close=tried.close,
            )
        )

    def _same(self) -> tuple[str, ...]:
        run, entry = self.run, self.entry
        root = run.root if run is not None else ""
        key = "" if self.key is None else self.key.hex()
        return (root, entry.tool, entry.digest or "", key)

    def _follow(self, tx: Transaction, tried: Admission) -> None:
        """Note that this process has seen all of the run, and stop it if it has to be."""
        assert self.watched is not None
        root = self.watched.root
        if _FOREIGN_RUN in tried.reasons:
            # It was not asked what this process has seen, which is nothing of the run.
            return
        # Two that go on with a run at once would send each other back without end. So the call
        # is decided on what was read, and the next one reads what has come since.
        follower = NOBODY if self.watched.overtaken(tx, self.boot) else self.boot
        if tx.follower(root) != follower:
            tx.follow(root, follower)
        if tried.stops:
            switch = Switch(scope="run", value=root, by=BY_ITSELF, reason="loops")
            if tx.turn(switch, on=True):
                tx.append(encode(turned(switch, "stopped")))

    def _other(self, tx: Transaction) -> tuple[Other | None, tuple[admission.Move, ...]]:
        """What the version that is compared would have said here, and what it moves."""
        other = self.entry.other
        if other is None or not self.compared.asks:
            return other, ()
        tried = admission.admit(other.verdict, (), self.compared, tx.group, tx.now)
        if tried.verdict == other.verdict:
            return other, tried.moves
        rules = (*(reason.id for reason in tried.reasons), *other.rules)
        return msgspec.structs.replace(other, verdict=tried.verdict, rules=rules), ()

    def _keep_beside(self, tx: Transaction) -> None:
        for blob in self.blobs:
            blob.write(tx)
        if self.seal is not None:
            self.seal.write(tx)


_NO_IDS: frozenset[str] = frozenset()


def _passes(tried: Admission) -> bool:
    """Whether a denial holds only for now: the same call may come again, and is decided anew."""
    if tried.verdict == "allow" or not tried.reasons:
        return False
    first = tried.reasons[0]
    return (
        first.effect == "defer"
        or tried.frees_at is not None
        or first.source == "stop"
        or first == approval.ANSWERED_BY_OTHERS
    )


def _undecided(again: Again) -> Admitted:
    return Admitted(-1, "deny", (), starts=False, again=again)


class Recorded(msgspec.Struct, frozen=True):
    """The decision that a call has got before, with its outcome; None where it has none."""

    key: bytes

    def apply(self, tx: Transaction) -> Admitted | None:
        return _recorded(tx, self.key)


def _recorded(tx: Transaction, key: bytes) -> Admitted | None:
    """The decision that this very call has got before, with its outcome if it has one."""
    row = tx.read("SELECT decision, outcome FROM call WHERE key = ?", key)
    if row is None:
        return None
    seq, settled = row
    assert isinstance(seq, int)
    body = tx.body(seq)
    if not body:
        return Admitted(seq, "deny", (_archived(seq),), starts=False, mode="enforce")
    decision = parse(body).entry
    assert isinstance(decision, DecisionEntry)
    outcome = None
    if settled is not None:
        last = parse(tx.body(settled)).entry
        assert isinstance(last, OutcomeEntry | RecoveryEntry)
        outcome = Outcome(status=last.status)
        if isinstance(last, OutcomeEntry):
            error = None if last.error is None else str(_opened(tx, last, last.error))
            if "error" in last.unkept:
                error = UNKEPT
            outcome = Outcome(
                status=last.status,
                result=_opened(tx, last, _whole(tx, last)),
                error=error,
                latency=last.latency,
            )
    return Admitted(
        seq,
        decision.verdict,
        decision.reasons,
        starts=False,
        approval_id=decision.approval,
        outcome=outcome,
        mode=decision.mode,
    )


def _archived(seq: int) -> Reason:
    return Reason(
        id="archived",
        effect="deny",
        source="gate",
        message=(
            f"this very call was decided long ago, in entry {seq}, which lies in an archive; "
            "it is not made again"
        ),
    )


def _written_by(boot: str, body: bytes) -> bool:
    try:
        return getattr(parse(body).entry, "boot", None) == boot
    except EntryError:
        return False


UNKEPT = "not kept, as the settings have it"
"""What a repeated call gets in place of a result that was not kept."""


def _whole(tx: Transaction, entry: OutcomeEntry) -> object:
    """A recorded result, from beside the entry where it was too large to stand in it."""
    if "result" in entry.unkept:
        return {"$omitted": UNKEPT}
    for name in entry.blobs:
        row = tx.read("SELECT data FROM blob WHERE hash = ?", bytes.fromhex(name))
        if row is not None:
            assert isinstance(row[0], bytes)
            return msgspec.json.decode(row[0])
    return entry.result


def _opened(tx: Transaction, entry: OutcomeEntry, value: object) -> object:
    """A recorded value with its sealed parts opened; a word stands for what nobody can open."""
    found = opened(value, entry.sealed, partial(tx.vault.find, tx))
    return filled(found, entry.sealed, lambda _: ERASED)


_FOREIGN_RUN = Reason(
    id="run",
    effect="deny",
    source="gate",
    message="this run id belongs to another agent, user, tenant or parent run",
)
