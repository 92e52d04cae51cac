"""All that can happen to requests, in any order, against a model; and an independent judge.

The model knows what people have been told and have said. The judge, `agentack`, knows nothing of
SafeRun: it is given what was proposed, shown, answered and run, the last as the tool itself has
noted it, and looks for what must never be.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import agentack
import msgspec
from agentack.models import TraceEvent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import saferun
from guarding import entries
from saferun import ApprovalPending, Denied, Gate, config, guard
from saferun.approval import Request
from saferun.config import ApprovalTable, Person
from saferun.desk import Desk
from saferun.policy import loads
from saferun.store import Store

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      order_id: {type: string}
      amount: {type: integer, minimum: 1, maximum: 100000}
    rules:
      - {id: big, ask: [finance], edits: [amount], when: args.amount > 20000}
      - {id: huge, ask: [lead], approvals: 2, edits: [amount], when: args.amount > 50000}
"""
GROUPS = {"finance": ["dana", "erin"], "lead": ["erin", "finn", "gus"]}
EVERYBODY = ("dana", "erin", "finn", "gus", "mallory", "support", "maria")
MINUTE = 60_000_000
SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Silent:
    name = "silent"

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: object, receipt: str | None) -> str | None:
        return receipt or "shown"


class Told(msgspec.Struct):
    """What the model knows of one request."""

    amount: int
    given: int
    deadline: int
    state: str = "pending"
    revision: int = 0
    yes: set[str] = msgspec.field(default_factory=set)
    ran: int = 0

    def settled(self) -> bool:
        """Whether the yeses so far are enough, by the rules that the amount meets."""
        finance = bool(self.yes & set(GROUPS["finance"])) or self.amount <= 20_000
        lead = len(self.yes & set(GROUPS["lead"])) >= 2 or self.amount <= 50_000
        if self.amount <= 20_000:
            # It was asked about as it was at first, and so it stays.
            finance = bool(self.yes & set(GROUPS["finance"])) or self.given <= 20_000
            lead = len(self.yes & set(GROUPS["lead"])) >= 2 or self.given <= 50_000
        return finance and lead


class Requests(RuleBasedStateMachine):
    """People and agents do what they like; nothing runs but what was approved, as it was, once."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        # A thread of the store's may be at its last look as the folder goes.
        self.folder = TemporaryDirectory(ignore_cleanup_errors=True)
        self.clock = [1_000 * MINUTE]
        self.store = Store(
            f"sqlite:///{Path(self.folder.name, 'saferun.db')}",
            durability="process",
            clock=lambda: self.clock[0],
            checkpoints=False,
        )
        self.settings = msgspec.structs.replace(
            config.load(),
            people={name: Person() for name in EVERYBODY},
            groups=GROUPS,
            approval=ApprovalTable(timeout=600.0),
        )
        self.gate = Gate(
            policy=loads(POLICY), store=self.store, approvals=Silent(), settings=self.settings
        )
        self.desk = Desk(self.store, self.settings)
        self.told: dict[str, Told] = {}
        self.trace: list[Mapping[str, Any]] = []
        self.effects: list[tuple[str, int]] = []
        self.running: str | None = None

        def refund(order_id: str, amount: int) -> str:
            self.effects.append((order_id, amount))
            assert self.running is not None
            self._note("action_executed", self.running, amount=amount)
            return f"refunded {amount}"

        self.refund = guard(refund, gate=self.gate, on_ask="suspend")

    def teardown(self) -> None:
        self.judge()
        self.gate.close()
        self.folder.cleanup()

    @rule(target=requests, amount=st.sampled_from([20_001, 30_000, 60_000, 90_000]))
    def ask(self, amount: int) -> str:
        order = f"A-{len(self.told)}"
        with self.gate.run(run_id=f"r-{len(self.told)}", agent="support", user="maria"):
            try:
                self.refund(order, amount)
            except ApprovalPending as pending:
                request = pending.approval_id
        self.told[request] = Told(amount, amount, self.clock[0] + 10 * MINUTE)
        self._show(request)
        return request

    @rule(request=requests, by=st.sampled_from(EVERYBODY), yes=st.booleans(), stale=st.booleans())
    def vote(self, request: str, by: str, yes: bool, stale: bool) -> None:
        told = self.told[request]
        revision = told.revision - 1 if stale else told.revision
        answered = self.desk.vote(request, by=by, approved=yes, channel="test", revision=revision)
        may = by in GROUPS["finance"] or (
            by in GROUPS["lead"] and max(told.amount, self._asked_for(told)) > 50_000
        )
        assert answered.counted == (self._open(told) and may and not stale)
        if not answered.counted:
            return
        if not yes:
            told.state = "rejected"
            self._note("approval_decision", request, decision="deny")
            return
        told.yes.add(by)
        if told.settled():
            told.state, told.deadline = "approved", self.clock[0] + 24 * 60 * MINUTE
            self._note("approval_decision", request, decision="allow")

    @rule(
        request=requests,
        by=st.sampled_from(EVERYBODY),
        amount=st.sampled_from([1, 20_001, 40_000, 60_000, 100_001]),
    )
    def edit(self, request: str, by: str, amount: int) -> None:
        told = self.told[request]
        edited = self.desk.edit(
            request, by=by, args={"amount": amount}, channel="test", revision=told.revision
        )
        may = by in GROUPS["finance"] or (
            by in GROUPS["lead"] and max(told.amount, self._asked_for(told)) > 50_000
        )
        fine = amount <= 100_000 and amount != told.amount
        assert edited.counted == (self._open(told) and may and fine)
        if edited.counted:
            self._note("approval_decision", request, decision="deny")
            told.amount = amount
            told.revision += 1
            told.yes = set()
            self._show(request)

    @rule(request=requests)
    def resume(self, request: str) -> None:
        told = self.told[request]
        before = len(self.effects)
        self.running = request
        try:
            result = saferun.resume(request, self.refund)
        except ApprovalPending:
            assert self._open(told)
        except Denied:
            assert told.state == "rejected" or self.clock[0] > told.deadline
        else:
            assert result == f"refunded {told.amount}"
            assert told.ran == 1 or (told.state == "approved" and self.clock[0] <= told.deadline)
        if len(self.effects) > before:
            told.ran += 1
            assert self.effects[-1][1] == told.amount
            assert told.state == "approved"

    @rule(minutes=st.integers(1, 6))
    def time_goes_on(self, minutes: int) -> None:
        self.clock[0] += minutes * MINUTE

    @rule(request=consumes(requests))
    def forget(self, request: str) -> None:
        """Nobody looks at it any more."""

    @invariant()
    def each_runs_once_at_most(self) -> None:
        assert all(told.ran <= 1 for told in self.told.values())
        assert len(self.effects) == sum(told.ran for told in self.told.values())

    def judge(self) -> None:
        """Have the independent judge look at all that has happened."""
        if not self.trace:
            return
        ended = [*self.trace, self._event("session_end", reason="over")]
        report = agentack.evaluate_events(
            [TraceEvent.from_dict(dict(each), line=n) for n, each in enumerate(ended, 1)],
            policy=agentack.Policy(
                require_approval_for=("refund:*",), max_approval_age_seconds=86_400
            ),
        )
        # What was never answered is an incomplete story, and no fault.
        faults = [each for each in report.findings if each.rule_id != "ACK009"]
        assert faults == []
        runs = [each for each in entries(self.gate, "decision") if each["verdict"] == "allow"]
        assert len(runs) == len(self.effects)

    def _open(self, told: Told) -> bool:
        return told.state == "pending" and self.clock[0] <= told.deadline

    def _asked_for(self, told: Told) -> int:
        # An edit below all rules leaves the question with those that it was asked for at first.
        return told.given if told.amount <= 20_000 else told.amount

    def _show(self, request: str) -> None:
        self._note("action_proposed", request, amount=self.told[request].amount)
        self._note("approval_requested", request, amount=self.told[request].amount)

    def _note(
        self, kind: str, request: str, amount: int | None = None, decision: str | None = None
    ) -> None:
        told = self.told[request]
        name = f"{request}.{told.revision}"
        more: dict[str, Any] = {"action_id": name}
        if kind != "action_proposed":
            more["approval_id"] = name
        if amount is not None:
            action = {"tool": "refund", "operation": "pay", "parameters": {"amount": amount}}
            more["action"] = action
        if decision is not None:
            more["decision"] = decision
        self.trace.append(self._event(kind, **more))

    def _event(self, kind: str, **more: Any) -> Mapping[str, Any]:
        at = SINCE + dt.timedelta(microseconds=self.clock[0])
        return {
            "schema_version": 2,
            "type": kind,
            "timestamp": at.isoformat(),
            "session_id": "s-1",
            **more,
        }


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=25, stateful_step_count=25)


def test_the_judge_finds_what_runs_otherwise_than_it_was_approved() -> None:
    machine = Requests()
    request = machine.ask(30_000)
    machine.vote(request, "dana", yes=True, stale=False)
    machine._note("action_executed", request, amount=31_000)
    with suppress(AssertionError):
        machine.teardown()
        raise RuntimeError("the judge has seen nothing")
    machine.gate.close()
    machine.folder.cleanup()
