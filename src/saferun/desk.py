"""The desk: where people's answers are taken, whatever channel has brought them.

A vote is held against the people that the configuration knows, and an edit is decided by policy
like a call, with the version and the facts of the run that waits, before anybody may approve
it. What becomes of either is said by the store, in one transaction.
"""

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from saferun import asking, function, record, redact
from saferun.approval import Edited, Grant, People, Permit, Question, Request, Vote
from saferun.approval import grant as grants
from saferun.asking import Way
from saferun.call import Facts, canonical
from saferun.config import Config
from saferun.control import Groups
from saferun.errors import SafeRunError, StoreError
from saferun.following import kept
from saferun.ledger import ApprovalEntry
from saferun.plain import NotPlainError, take_down
from saferun.policy import Policy
from saferun.record import Asked
from saferun.roster import Roster
from saferun.ruling import changed, ruled, still_asked
from saferun.store import (
    Cast,
    Edit,
    Held,
    Note,
    PastOf,
    Requests,
    Revoke,
    Revoked,
    Store,
    Voted,
)

MAX_REASON = 2_000
"""Characters of a reason, which stands in one entry of the ledger."""


class Answered(NamedTuple):
    """What became of an answer: whether it counted, and if not, why, as a sentence.

    `request` is how the request stands now, and `grant` the id of what further calls run by.
    """

    counted: bool
    why: str | None
    request: Request
    grant: str | None = None


class Desk:
    """The desk of one store, with the people of one configuration."""

    def __init__(self, store: Store, settings: Config) -> None:
        self.store = store
        self.roster = Roster(settings)
        self._settings = settings

    @property
    def people(self) -> People:
        """Who is known, as the configuration has it by now."""
        return self.roster.now().people

    def stands(self, request: str) -> Request | None:
        with Requests(self.store.path) as requests:
            return requests.one(requests.lead(request))

    def open(self) -> list[Request]:
        """Those that people have before them, what ends first before the others."""
        self.store.lapse()
        with Requests(self.store.path) as requests:
            return requests.open(self.store.now())

    def asked(self, request: Request) -> frozenset[str] | None:
        """Who is to be shown a request by now, None where it is put to nobody by name."""
        return self.people.asked(request.question, self.store.now())

    def alarmed(self, request: Request) -> frozenset[str]:
        """Who is to hear that somebody has broken the glass; nobody where nobody has."""
        glass = request.glass
        if glass is None:
            return frozenset()
        return self.people.alarmed(request.question, glass.by)

    def vote(
        self,
        request: str,
        *,
        by: str,
        approved: bool,
        channel: str,
        revision: int,
        reason: str | None = None,
        glass: bool = False,
        credential: bytes | None = None,
        permit: Permit | None = None,
    ) -> Answered:
        """Have somebody answer, whom the channel has identified, or their `credential` does.

        `revision` is the one that they have seen. With `permit`, further calls run by this yes.
        Raises StoreError where the store cannot be used.
        """
        stands, known = self._known(request), self.roster.now()
        # What a channel says of its people goes into the ledger like anything else.
        by, reason = redact.text(by)[:200], _reason(reason)
        grant, problem = None, None
        if permit is not None and stands.open:
            grant, problem = self._grant(stands, by, permit)
            if glass:
                problem = "whoever breaks the glass lets one call run, and no further ones"
        if problem is not None:
            return Answered(counted=False, why=problem, request=stands)
        voted = self.store.commit(
            Cast(
                question=stands.question,
                revision=_seen(revision, stands),
                vote=Vote(by=by, approved=approved, reason=reason, channel=channel, glass=glass),
                people=known.people,
                entry=msgspec.structs.replace(
                    self._entry(stands, by, channel), reason=reason, approved=approved, glass=glass
                ),
                credential=credential,
                grant=grant if approved else None,
            )
        )
        return self._answered(stands, voted)

    def edit(
        self,
        request: str,
        *,
        by: str,
        args: Edited,
        channel: str,
        revision: int,
        credential: bytes | None = None,
    ) -> Answered:
        """Have somebody change arguments of a call that waits, for all to look at again.

        Policy is asked about the call as it would be then, and an edit that it denies is refused.
        Raises StoreError where the store cannot be used.
        """
        stands = self._known(request)
        by = redact.text(by)[:200]
        edited = self._edited(stands, args)
        entry = self._entry(stands, by, channel)
        work = Edit(
            question=edited.question,
            before=stands.question,
            revision=_seen(revision, stands),
            by=by,
            people=self.people,
            entry=entry,
            sealed=edited.sealed,
            held=edited.held,
            binding=edited.binding,
            credential=credential,
            refused=edited.refused,
        )
        return self._answered(stands, self.store.commit(work))

    def revoke(self, grant: str, *, by: str, credential: bytes | None = None) -> Revoked:
        """Take a grant back, for whoever has given it, or is an admin. Raises StoreError."""
        by = redact.text(by)[:200]
        entry = ApprovalEntry(id=grant, event="revoked", by=by, grant=grant)
        return self.store.commit(
            Revoke(id=grant, entry=entry, people=self.people, credential=credential)
        )

    def refused(self, channel: str, why: str) -> None:
        """Have the ledger know of something from outside that was no answer at all."""
        entry = ApprovalEntry(id="", event="refused", channel=channel, why=why[:200])
        self.store.commit(Note(entry))

    def _known(self, request: str) -> Request:
        stands = self.stands(request)
        if stands is None:
            raise StoreError("There is no such request.")
        return stands

    def _answered(self, before: Request, voted: Voted) -> Answered:
        self.store.feed.poke()
        now = self.stands(before.id) or before
        if now.state in ("rejected", "expired", "cancelled"):
            # Whoever waits has the call in hand, and nobody is to read it any more.
            for request in (before.id, *voted.joined):
                self.store.envelope(request).destroy()
            now = msgspec.structs.replace(now, question=before.question)
        return Answered(voted.counted, voted.why, now, voted.grant)

    @staticmethod
    def _entry(stands: Request, by: str, channel: str) -> ApprovalEntry:
        run = stands.question.run
        return ApprovalEntry(
            id=stands.id,
            event="voted",
            run=None if run is None else run.run_id,
            agent=None if run is None else run.agent,
            user=None if run is None else run.user_id,
            tenant=None if run is None else run.tenant,
            tool=stands.question.tool,
            digest=stands.question.digest,
            by=by,
            channel=channel,
            revision=stands.revision,
        )

    # Grants.

    def _grant(self, stands: Request, by: str, permit: Permit) -> tuple[Grant | None, str | None]:
        question, run = stands.question, stands.question.run
        problem = grants.objection(question.effect, permit.span)
        now = self.store.now()
        answers = self.people.objection(by, question, now) is None
        # Whoever may not answer at all is told so by the vote.
        several = any(
            each.approvals > 1
            or (answers and self.people.objection(by, question, now, (each,)) is not None)
            for each in question.demands
        )
        if problem is None and several:
            problem = "what takes several people is asked about each time"
        if problem is None and permit.run and run is None:
            problem = "the call belongs to no run, so the grant has to be for a time"
        if problem is None and not question.whose:
            problem = "it was asked by an older version, so it can be approved by itself only"
        unknown = [name for name in permit.by if name not in question.parts]
        if problem is None and (unknown or set(permit.by) & set(question.hidden)):
            problem = f"there is no argument {unknown[0]!r}" if unknown else "it is not shown whole"
            if unknown and unknown[0] in question.args:
                most = len(question.parts)
                problem = (
                    f"a grant goes by the first {most} arguments, and {unknown[0]!r} is not one"
                )
        if problem is not None:
            return None, problem
        return Grant(
            id=f"g-{secrets.token_hex(10)}",
            tool=question.tool,
            whose=question.whose,
            run=run.root if permit.run and run is not None else None,
            digest=None if permit.by else question.digest,
            parts={name: question.parts[name] for name in permit.by},
            policy=None if question.policy is None else question.policy.version,
            answers=tuple(each.id for each in question.reasons if each.effect == "ask"),
            by=by,
            until=permit.span,
        ), None

    # Edits.

    def _edited(self, stands: Request, args: Edited) -> "_Revision":
        """What would be asked once some arguments are others, or why they may not be."""
        question = stands.question
        as_it_is = _Revision(question=question)
        fixed = sorted(set(args) - set(question.edits))
        if fixed:
            some = ", ".join(redact.text(name[:80]) for name in fixed[:5])
            return as_it_is._replace(refused=f"{some} may not be changed here")
        try:
            with Requests(self.store.path) as requests:
                held = requests.held(stands.id)
            policy = self._policy(question)
        except SafeRunError as problem:
            return as_it_is._replace(refused=str(problem))
        before = held.edited if held.edited is not None else held.call.args
        try:
            after = {**before, **_plain(args)}
        except (NotPlainError, msgspec.MsgspecError, ValueError, RecursionError):
            return as_it_is._replace(refused="the new values are not such as a call can have")
        if canonical.encode(after) == canonical.encode(before):
            return as_it_is._replace(refused="nothing is changed by that")
        return self._decided(stands, held, after, policy)

    def _decided(
        self, stands: Request, held: Held, after: dict[str, Any], policy: Policy
    ) -> "_Revision":
        """What policy says of the call as it would be then."""
        question = stands.question
        call = changed(held.call, after)
        facts = Facts(now=self.store.now(), environment=self._settings.environment)
        if policy.asks_past and call.run is not None:
            now, past = self.store.commit(PastOf(call.run.root))
            facts = msgspec.structs.replace(facts, now=now, past=past)
        ruling = ruled(policy, call, facts)
        if ruling.verdict == "deny":
            said = "; ".join(each.message for each in ruling.reasons if each.effect == "deny")
            return _Revision(question=question, refused=f"policy denies it: {said}")
        if call.function is not None:
            problem = function.unfit(call.function, (*ruling.args, *call.opaque))
            if problem is not None:
                return _Revision(question=question, refused=problem)
        ruling = still_asked(ruling, held.reasons, held.demands)
        again = Asked(question.id, held.key)
        groups = Groups(self.store.group)
        entry = record.admission(
            call, ruling, facts, self.store, None, groups=groups, again=again
        ).admit.entry
        way = Way(channels=question.channels)
        asked = asking.ask(call, ruling, facts, entry, self.store, groups, way, self.people, again)
        # Whose call it is does not change, and neither does among whose people it was asked.
        new = msgspec.structs.replace(asked.question, asked=question.asked, whose=question.whose)
        if question.known is not None and question.known.digest != self.people.digest:
            # Whom these names mean here, the gate that has asked may never have heard of.
            if not question.known.covers(new.demands):
                return _Revision(
                    question=question,
                    refused="policy would ask others then, who are known only where it was asked",
                )
            new = msgspec.structs.replace(new, known=question.known)
        envelope = self.store.envelope(question.id)
        return _Revision(
            question=new,
            sealed=envelope.seal("question", msgspec.json.encode(new)),
            held=envelope.seal(
                "call", canonical.encode(msgspec.structs.replace(held, edited=after))
            ),
            binding=asked.binding,
        )

    def _policy(self, question: Question) -> Policy:
        """The very version that has asked. Raises StoreError, PolicyError."""
        if question.policy is None:
            raise StoreError("no policy has asked, so nothing can be changed")
        return kept(self.store.path, question.policy.name, question.policy.version)


class _Revision(NamedTuple):
    """A question as it would be after an edit, or why there is to be none."""

    question: Question
    sealed: bytes = b""
    held: bytes = b""
    binding: bytes = b""
    refused: str | None = None


def _plain(args: Mapping[str, Any]) -> dict[str, Any]:
    # As they would come from a model: JSON and nothing else, of no more than a call may have.
    taken = {name: take_down(value, name)[0] for name, value in args.items()}
    decoded: dict[str, Any] = msgspec.json.decode(canonical.encode(taken))
    return decoded


def _seen(revision: int, stands: Request) -> int:
    """The revision that an answer is about: none, where it is one that nobody can have seen.

    It would be held against what is asked now, and count for what an edit makes of it meanwhile.
    """
    return revision if revision <= stands.revision else _UNSEEN


_UNSEEN = -1


def _reason(text: str | None) -> str | None:
    """A reason as it goes into the ledger: without secrets, and bounded."""
    if text is None or not text.strip():
        return None
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return redact.text(text.strip()[: 2 * MAX_REASON])[:MAX_REASON]
    return redact.text(text.strip().encode(errors="replace").decode()[:MAX_REASON])
