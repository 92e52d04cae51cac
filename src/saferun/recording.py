"""What runs record through a gate: how they begin and end, what is said, and what that costs."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from saferun import conversation, narration, spoken
from saferun.call import Call, RunRef
from saferun.choice import Choices
from saferun.config import Config
from saferun.control import Charge, Groups
from saferun.control.amount import micro
from saferun.narration import Rules
from saferun.policy import Policy
from saferun.run import Costs, ModelTurn, Run, current
from saferun.store import Append, Opening, Store

log = logging.getLogger("saferun")

MAX_RUNS = 1_000
"""Runs whose first entry is kept at hand; one that was forgotten is only prepared again."""


class _Known(NamedTuple):
    """A run that was seen here: its first entry, and the groups that its calls count in."""

    about: RunRef
    opening: Opening
    groups: Groups


class Debt:
    """What a run's model turns have cost, taken to be counted with its next call."""

    def __init__(self, costs: Costs, by: str, amount: int) -> None:
        self.amount = amount
        self._costs = costs
        self._by = by

    def paid(self) -> None:
        self.amount = 0

    def give_back(self) -> None:
        """Leave to another call what none has counted."""
        self._costs.give_back(self._by, self.amount)
        self.amount = 0


class Recording:
    """The recorder of the runs of one gate, and what it knows of them.

    `choices` say which policy guards a run, None where only loops, breakers and stops do. The
    `store` is opened when it is first asked for.
    """

    def __init__(
        self, settings: Config, choices: Choices | None, store: Callable[[], Store]
    ) -> None:
        self._settings = settings
        self._choices = choices
        self._store = store
        self._runs: dict[str, _Known] = {}
        self._nowhere: Groups | None = None

    def of(self, about: RunRef | None) -> tuple[Opening | None, Groups]:
        """A run's first entry, and the groups that its calls count in; no entry outside of any."""
        if about is not None:
            return self._opened(about)
        if self._nowhere is None:
            self._nowhere = Groups(self._store().group)
        return None, self._nowhere

    def _opened(self, about: RunRef) -> tuple[Opening, Groups]:
        known = self._runs.get(about.run_id)
        if known is not None and known.about is about:
            return known.opening, known.groups
        if len(self._runs) >= MAX_RUNS:
            self._runs.clear()
        known = _Known(
            about,
            narration.opening(about, self._store(), self._rules(self._guarding(about))),
            Groups(self._store().group),
        )
        self._runs[about.run_id] = known
        return known.opening, known.groups

    def debt(self, call: Call) -> Debt | None:
        """What the model turns of a call's run have cost that no budget has counted yet.

        They may have come before anything said which policy guards the run.
        """
        within = current()
        if within is None or within.ref is not call.run or within.costs.none:
            return None
        policy = self._guarding(within.ref)
        if policy is None:
            return None
        by = self._budgets(policy)
        amount = within.costs.take(by)
        return Debt(within.costs, by, amount) if amount > 0 else None

    def owed(self, call: Call, debt: Debt | None, groups: Groups) -> list[Charge]:
        """A debt as a call has to count it, by the budgets of the policy that guards its run."""
        if debt is None or not debt.amount or call.run is None:
            return []
        policy = self._guarding(call.run)
        return [] if policy is None else policy.spent(call.run, debt.amount, groups)

    def model_turn(self, of: Run, turn: ModelTurn) -> None:
        named = conversation.named() if turn.given is not None else None
        written = self._write(
            of,
            lambda opening, groups: self._turned(
                of, narration.countable(turn), opening, groups, named
            ),
        )
        if written and named is not None and turn.given is not None:
            of.conversation.remember(named, turn.given)

    def _turned(
        self, of: Run, turn: ModelTurn, opening: Opening, groups: Groups, named: str | None
    ) -> Append:
        spent: list[Charge] = []
        policy = self._guarding(of.ref)
        if turn.cost_usd is not None:
            cost = micro(turn.cost_usd)
            spent = [] if policy is None else policy.spent(of.ref, cost, groups)
            of.costs.add(cost, self._budgets(policy) if policy is not None and spent else None)
        if policy is not None and spoken.hides(policy):
            turn = _quiet(turn, policy, of.conversation.calls)
        return narration.model_turn(
            of.ref, turn, opening, spent, self._store(), self._rules(policy), named
        )

    def user_message(self, of: Run, text: str) -> None:
        self._write(of, lambda opening, _: self._told(of, text, opening))

    def _told(self, of: Run, text: str, opening: Opening) -> Append:
        self._store().trails.of(of.ref.root).told(self._store().now())
        rules = self._rules(self._guarding(of.ref))
        return narration.user_message(of.ref, text, opening, self._store(), rules)

    def ended(self, of: Run, error: str | None) -> None:
        # A run in which nothing happened has no beginning in the ledger and needs no end.
        if of.run_id in self._runs:
            self._write(of, lambda opening, _: self._over(of, error, opening))
            self._runs.pop(of.run_id, None)

    def _over(self, of: Run, error: str | None, opening: Opening) -> Append:
        if of.run_id == of.ref.root:
            self._store().trails.over(of.run_id)
        return narration.run_end(of.run_id, error, opening, self._store().boot)

    def _write(self, of: Run, write: Callable[[Opening, Groups], Append]) -> bool:
        """Have a frame join the next commit. Returns whether it will."""
        try:
            self._store().ride(write(*self._opened(of.ref)))
        except Exception as problem:  # noqa: BLE001 - recording never breaks the agent
            log.error("saferun could not record a frame of run %s: %s", of.run_id, problem)
            return False
        return True

    def _rules(self, policy: Policy | None) -> Rules:
        """What is kept of what a run says: as much as both settings and policy have kept."""
        keeping = self._settings.record
        if policy is not None:
            keeping = keeping.and_(policy.document.record)
        return Rules(self._settings.sensitive, keeping)

    def _guarding(self, about: RunRef) -> Policy | None:
        """The policy that guards a run, None where only loops, breakers and stops do."""
        return None if self._choices is None else self._choices.of(about, self._store()).policy

    def _budgets(self, policy: Policy) -> str:
        """The counters of a policy in the store, under a name for accounts of costs."""
        return f"{self._store().path} {policy.space}"


def _quiet(turn: ModelTurn, policy: Policy, calls: dict[str, str]) -> ModelTurn:
    """A turn without what the policy keeps out of the ledger of the calls that it speaks of."""
    given = turn.given
    if given is not None:
        # First: an answer comes after what it answers to.
        given = given._replace(new=spoken.without(given.new, policy, calls))
    return msgspec.structs.replace(
        turn,
        given=given,
        output=spoken.without(turn.output, policy, calls),
        answer=spoken.without(turn.answer, policy, calls),
    )
