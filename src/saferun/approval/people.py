"""Who may answer: the people and groups of the configuration, held against what rules demand.

A name means somebody only where the configuration says whom. Whoever asks may not answer: not
the agent, and not the user whom it works for, unless the rule lets them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from saferun.approval.question import Question, Vote
from saferun.call import Demand
from saferun.config import Person

NOBODY = "nobody is called that"


class People:
    """Everybody who is known, and the groups that they are in."""

    def __init__(self, persons: Mapping[str, Person], groups: Mapping[str, Sequence[str]]) -> None:
        self._persons = persons
        self._groups = groups

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
        """Whose yes counts for a demand that has waited so long, None for anybody who is known.

        `waited` is in microseconds: who is asked later may answer later.
        """
        if not demand.of:
            return None
        further = [name for step in demand.escalate if waited >= step.after for name in step.to]
        return self.meant((*demand.of, *further))

    def objection(
        self, by: str, question: Question, now: int, demands: Sequence[Demand] | None = None
    ) -> str | None:
        """Why somebody may not answer a question, as a sentence; None where they may."""
        objection = self.never(by, question)
        if objection is not None:
            return objection
        asks = self.is_user(by, question)
        for demand in question.demands if demands is None else demands:
            if asks and not demand.own:
                continue
            whom = self.whom(demand, now - question.asked)
            if whom is None or by in whom:
                return None
        if asks:
            return f"{by} is the one for whom it would run, so somebody else has to answer"
        names = sorted({name for demand in question.demands for name in demand.of})
        return f"{by} is not among those who are asked ({', '.join(names)})"

    def never(self, by: str, question: Question) -> str | None:
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
            if by.casefold() in {f"{agent}".casefold() for agent in agents}:
                return "whoever asks cannot answer"
        return None

    def is_user(self, by: str, question: Question) -> bool:
        """Whether somebody is the user for whom the run goes, by whatever they are known as."""
        user = question.run.user_id if question.run is not None else None
        if user is None:
            return False
        names = {by}
        known = self._persons.get(by)
        if known is not None:
            names.update(known.users)
            names.update(each for each in (known.email, known.slack) if each is not None)
        return user.casefold() in {name.casefold() for name in names}

    def asked(self, question: Question, now: int) -> frozenset[str] | None:
        """Who is to be shown a question by now; None where anybody may answer it."""
        found: set[str] = set()
        for demand in question.demands:
            whom = self.whom(demand, now - question.asked)
            if whom is None:
                return None
            found.update(whom)
        return frozenset(name for name in found if self.objection(name, question, now) is None)

    def unanswerable(self, question: Question) -> str | None:
        """Why a question can never be answered, as the end of a sentence; None where it can."""
        for demand in question.demands:
            if not demand.of:
                continue
            whom = self.whom(demand, max((step.after for step in demand.escalate), default=0))
            assert whom is not None
            can = [
                each
                for each in whom
                if self.objection(each, question, _EVER + question.asked, (demand,)) is None
            ]
            if len(can) < demand.approvals:
                names = ", ".join(demand.of)
                if not self.meant(demand.of):
                    return f"{names} means nobody here; say who that is under [groups] or [people]"
                return f"of {names}, {len(can)} may answer, and it takes {demand.approvals}"
        return None


_EVER = 1 << 62


class Tally(NamedTuple):
    """What votes come to: whether they approve, and for each demand how many it still lacks."""

    approved: bool
    lacking: tuple[tuple[Demand, int], ...]


def tally(people: People, question: Question, votes: Sequence[Vote], now: int) -> Tally:
    """Count the yeses, each person once for each demand that they may answer.

    A no needs no counting: one that counts settles the question.
    """
    yes = {vote.by: vote for vote in votes if vote.approved}
    if any(vote.glass for vote in yes.values()):
        return Tally(approved=True, lacking=())
    lacking = []
    for demand in question.demands:
        count = sum(people.objection(by, question, now, (demand,)) is None for by in yes)
        if count < demand.approvals:
            lacking.append((demand, demand.approvals - count))
    # Where nothing is demanded, nothing is known of what is asked.
    return Tally(approved=bool(question.demands) and not lacking, lacking=tuple(lacking))
