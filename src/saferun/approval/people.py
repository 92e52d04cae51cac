"""Who may answer: the people and groups of the configuration, held against what rules demand.

A name means somebody only where the configuration says whom, and where it knows anybody, nobody
else may answer. Whoever asks may not: not the agent, and not the user whom it works for, unless
the rule lets them. Where a question was asked among other people than these, it takes somebody
who may answer by both.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import msgspec

from saferun import redact
from saferun.approval.grant import Grant
from saferun.approval.known import Known
from saferun.approval.question import Question, Vote
from saferun.call import Demand, canonical
from saferun.config import Person
from saferun.unseen import alike

NOBODY = "nobody is called that"


class People:
    """Everybody who is known, and the groups that they are in.

    `glass` are the names of those who may break it, to answer for all others. Where nobody is
    known, anybody counts for what is asked of nobody by name, unless they are `closed`.
    """

    def __init__(
        self,
        persons: Mapping[str, Person],
        groups: Mapping[str, Sequence[str]],
        glass: Sequence[str] = (),
        *,
        closed: bool = False,
    ) -> None:
        self._persons = persons
        self._groups = groups
        # Who may only look answers nothing, whoever is asked.
        all_ = frozenset(name for name, who in persons.items() if who.role in ("approver", "admin"))
        self._all = all_ if persons or closed else None
        self._glass = tuple(glass)
        self.breakers = self.meant(glass)

    @classmethod
    def of(cls, known: Known) -> "People":
        """Those who were known where a question was asked."""
        return cls(known.persons, known.groups, known.glass)

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups."""
        return frozenset(self._groups)

    @cached_property
    def digest(self) -> str:
        """What tells these people from others, in hexadecimal."""
        said = (dict(self._persons), {name: list(self._groups[name]) for name in self._groups})
        return sha256(canonical.encode((*said, self._glass))).hexdigest()

    def known(self, question: Question) -> Known:
        """These people, as far as it takes them to say who may answer a question."""
        names = {*self._glass}
        for demand in question.demands:
            names.update(demand.of, demand.further)
        groups = {name: tuple(self._groups[name]) for name in names if name in self._groups}
        concerned = names.union(*groups.values())
        if not all(demand.of for demand in question.demands):
            # Everybody is asked, and nobody else.
            concerned.update(self._persons)
        return Known(
            digest=self.digest,
            persons={name: self._persons[name] for name in concerned if name in self._persons},
            groups=groups,
            glass=self._glass,
        )

    def may_revoke(self, by: str | None, grant: Grant) -> bool:
        """Whether somebody may take a grant back: what they have given, or as an admin any."""
        known = self._persons.get(by or "")
        if known is not None and known.role != "approver":
            return known.role == "admin"
        return by is not None and by == grant.by

    def _where_asked(self, question: Question) -> "tuple[People, Question] | None":
        """The people among whom a question was asked, where those are others than these."""
        known = question.known
        if known is None or known.digest == self.digest:
            return None
        return People.of(known), msgspec.structs.replace(question, known=None)

    def __contains__(self, name: object) -> bool:
        return name in self._persons

    def person(self, name: str) -> Person | None:
        """What is known of somebody, None where nothing is."""
        return self._persons.get(name)

    def meant(self, names: Sequence[str]) -> frozenset[str]:
        """The persons whom names of people and groups mean; a name that means nobody adds none."""
        found: set[str] = set()
        for name in names:
            if name in self._groups:
                found.update(self._groups[name])
            elif name in self._persons:
                found.add(name)
        return frozenset(found)

    def whom(self, demand: Demand, waited: int) -> frozenset[str] | None:
        """Whose yes counts for a demand that has waited so long, None for anybody at all.

        That is where it names nobody and the configuration knows nobody either: then it is whomever
        a channel vouches for. `waited` is in microseconds: who is asked later may answer later.
        """
        if not demand.of:
            return self._all
        further = [name for step in demand.escalate if waited >= step.after for name in step.to]
        return self.meant((*demand.of, *further))

    def objection(
        self, by: str, question: Question, now: int, demands: Sequence[Demand] | None = None
    ) -> str | None:
        """Why somebody may not answer a question, as a sentence; None where they may."""
        objection = self._objection(by, question, now, demands)
        asked = self._where_asked(question) if objection is None else None
        if asked is not None:
            others, question = asked
            said = others.objection(by, question, now, demands)
            objection = None if said is None else f"where it was asked, {said}"
        return objection

    def _objection(
        self, by: str, question: Question, now: int, demands: Sequence[Demand] | None
    ) -> str | None:
        objection = self._never(by, question)
        if objection is not None:
            return objection
        asks = self._is_user(by, question)
        for demand in question.demands if demands is None else demands:
            if asks and not demand.own:
                continue
            whom = self.whom(demand, now - question.asked)
            if whom is None or by in whom:
                return None
        if asks:
            return _IS_USER.format(by=by)
        names = sorted({name for demand in question.demands for name in demand.of})
        if not names:
            return f"{by} is nobody whom the configuration knows"
        return f"{by} is not among those who are asked ({', '.join(names)})"

    def glass_objection(self, by: str, question: Question) -> str | None:
        """Why somebody may not answer for all others, as a sentence; None where they may."""
        if by not in self.breakers:
            return f"{by} may not break the glass"
        objection = self._never(by, question)
        if objection is None and self._is_user(by, question):
            objection = _IS_USER.format(by=by)
        asked = self._where_asked(question) if objection is None else None
        if asked is not None:
            others, question = asked
            objection = others.glass_objection(by, question)
        return objection

    def _never(self, by: str, question: Question) -> str | None:
        """Why somebody may answer no question like this, whatever is demanded; None if they may."""
        if question.lost:
            return "what it asks about cannot be read any more"
        known = self._persons.get(by)
        if known is not None and known.role == "viewer":
            return f"{by} may look and not answer"
        run = question.run
        if run is not None:
            # A child asks for those above it as well.
            agents = {run.agent, *(agent for _, agent in run.lineage)} - {None}
            if alike(by) in {alike(f"{agent}") for agent in agents}:
                return "whoever asks cannot answer"
        return None

    def _is_user(self, by: str, question: Question) -> bool:
        """Whether somebody is the user for whom the run goes, by whatever they are known as.

        A child goes for the users of all runs above it as well.
        """
        run = question.run
        users = () if run is None else (run.user_id, *run.users)
        names = {by}
        known = self._persons.get(by)
        if known is not None:
            names.update(known.users)
            names.update(each for each in (known.email, known.slack) if each is not None)
        # What looks like a secret is out of a question, the digits of a card say: whoever has such
        # an id is known by what stands there instead, and so is anybody else who has one.
        asking = {alike(user) for user in users if user is not None}
        return not asking.isdisjoint(
            alike(each) for name in names for each in (name, redact.text(name))
        )

    def asked(self, question: Question, now: int) -> frozenset[str] | None:
        """Who is to be shown a question by now; None where it is put to nobody by name."""
        found: set[str] = set()
        for demand in question.demands:
            whom = self.whom(demand, now - question.asked)
            if whom is None or not demand.of:
                return None
            found.update(whom)
        return frozenset(name for name in found if self.objection(name, question, now) is None)

    def alarmed(self, question: Question, by: str) -> frozenset[str]:
        """Who is to hear that somebody has broken the glass: who could have answered, and admins.

        Who would have been asked later could have, too. Where it is not known any more who that
        was, it is everybody who may answer anything.
        """
        admins = {name for name, each in self._persons.items() if each.role == "admin"}
        if question.lost:
            could = {name for name, each in self._persons.items() if each.role != "viewer"}
        else:
            ever = _EVER + question.asked
            could = {each for each in self._persons if not self.objection(each, question, ever)}
        return frozenset((admins | could) - {by})

    def unanswerable(self, question: Question) -> str | None:
        """Why a question can never be answered, as the end of a sentence; None where it can."""
        for demand in question.demands:
            whom = self.whom(demand, max((step.after for step in demand.escalate), default=0))
            if whom is None:
                continue
            can = [
                each
                for each in whom
                if self.objection(each, question, _EVER + question.asked, (demand,)) is None
            ]
            if len(can) < demand.approvals:
                names = ", ".join(demand.of) or "all who are known"
                if demand.of and not self.meant(demand.of):
                    return f"{names} means nobody here; say who that is under [groups] or [people]"
                return f"of {names}, {len(can)} may answer, and it takes {demand.approvals}"
        return None


_EVER = 1 << 62
_IS_USER = "{by} is the one for whom it would run, so somebody else has to answer"


class Tally(NamedTuple):
    """What votes come to: whether they approve, and for each demand how many it still lacks."""

    approved: bool
    lacking: tuple[tuple[Demand, int], ...]


def tally(people: People, question: Question, votes: Sequence[Vote], now: int) -> Tally:
    """Count the yeses, each person once for each demand that they may answer.

    A no needs no counting: one that counts settles the question.
    """
    yes = {vote.by: vote for vote in votes if vote.approved}
    broken = (vote.by for vote in yes.values() if vote.glass)
    if any(people.glass_objection(by, question) is None for by in broken):
        return Tally(approved=True, lacking=())
    lacking = []
    for demand in question.demands:
        count = sum(people.objection(by, question, now, (demand,)) is None for by in yes)
        if count < demand.approvals:
            lacking.append((demand, demand.approvals - count))
    # Where nothing is demanded, nothing is known of what is asked.
    return Tally(approved=bool(question.demands) and not lacking, lacking=tuple(lacking))
