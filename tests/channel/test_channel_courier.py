"""The courier: every channel has every request, as it stands, whatever fails on the way."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guarding import entries
from saferun import ApprovalPending, Gate, config, guard
from saferun.approval import Request
from saferun.channel import courier as couriers
from saferun.channel.courier import Courier
from saferun.config import ApprovalTable, Person
from saferun.desk import Desk
from saferun.policy import loads
from saferun.store import Requests, Store

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {amount: {type: integer}}
    rules: [{id: big, ask: [finance], expires: 10m, escalate: [{after: 1s, to: [lead]}]}]
"""
GROUPS = {"finance": ["dana"], "lead": ["erin"]}


class Board:
    """A channel that pins requests to a board, and fails as often as it is told to."""

    def __init__(self, name: str, failures: int = 0) -> None:
        self.name = name
        self.failures = failures
        self.pinned: list[tuple[Request, str | None, frozenset[str] | None]] = []
        self.moved = threading.Condition()

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: Any, receipt: str | None) -> str | None:
        with self.moved:
            self.failures -= 1
            if self.failures >= 0:
                raise ConnectionError("the board is wet; token=very-secret-token")
            self.pinned.append((request, receipt, desk.asked(request)))
            self.moved.notify_all()
            return f"{self.name} {len(self.pinned)}"

    def wait(self, until: Callable[[Request], bool]) -> Request:
        with self.moved:
            assert self.moved.wait_for(lambda: any(until(each) for each, _, _ in self.pinned), 30)
            return next(each for each, _, _ in self.pinned if until(each))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(couriers, "AGAIN", (0.01,))


def gate(*channels: Board, policy: str = POLICY) -> Gate:
    settings = msgspec.structs.replace(
        config.load(),
        people={"dana": Person(), "erin": Person()},
        groups=GROUPS,
        approval=ApprovalTable(timeout=60.0),
    )
    return Gate(policy=loads(policy), approvals=channels, settings=settings)


def left(through: Gate) -> str:
    refund = guard(lambda amount: amount, name="refund", gate=through, on_ask="suspend")
    with through.run(agent="support"), pytest.raises(ApprovalPending) as pending:
        refund(30_000)
    return pending.value.approval_id


def vote(through: Gate, request: str, by: str = "dana") -> None:
    desk = Desk(through.store, through.config)
    assert desk.vote(request, by=by, approved=True, channel="test", revision=0).counted


def test_all_channels_have_the_question_and_how_it_ended() -> None:
    boards = Board("left"), Board("right")
    through = gate(*boards)
    request = left(through)
    for board in boards:
        board.wait(lambda each: each.open)
    vote(through, request)
    for board in boards:
        end = board.wait(lambda each: each.state == "approved")
        assert (end.by, end.question.args) == ("dana", {"amount": 30_000})


def test_a_channel_is_given_back_what_it_gave_the_last_time() -> None:
    board = Board("board")
    through = gate(board)
    request = left(through)
    board.wait(lambda each: each.open)
    vote(through, request)
    board.wait(lambda each: each.state == "approved")
    assert [receipt for _, receipt, _ in board.pinned] == [None, "board 1"]


def test_a_channel_that_fails_is_tried_again_and_keeps_no_other_from_its_work() -> None:
    wet, dry = Board("wet", failures=3), Board("dry")
    through = gate(wet, dry)
    left(through)
    dry.wait(lambda each: each.open)
    wet.wait(lambda each: each.open)


def test_what_could_not_be_brought_is_told_without_its_secrets() -> None:
    wet = Board("wet", failures=10**9)
    through = gate(wet)
    request = left(through)
    for _ in range(3_000):
        with Requests(through.store.path) as requests:
            undelivered = requests.undelivered()
        if undelivered:
            break
        threading.Event().wait(0.01)
    [(failed, channel, why)] = undelivered
    assert (failed, channel) == (request, "wet")
    # What an error of somebody else's says may quote what was asked about.
    assert why == "ConnectionError"


def test_further_people_are_asked_when_the_first_have_not_answered() -> None:
    board = Board("board")
    through = gate(board)
    left(through)
    board.wait(lambda each: each.open)
    with board.moved:
        assert board.moved.wait_for(lambda: len(board.pinned) == 2, 30)
    assert [asked for _, _, asked in board.pinned] == [
        frozenset({"dana"}),
        frozenset({"dana", "erin"}),
    ]
    assert "escalated" in [each["event"] for each in entries(through, "approval")]


def test_a_process_that_takes_over_brings_what_is_open_and_what_comes() -> None:
    silent = Board("board")
    through = gate(silent)
    first = left(through)
    silent.wait(lambda each: each.open)
    other = Board("board")
    # Either of them may be the one who brings it.
    other.moved, other.pinned = silent.moved, silent.pinned
    store = Store(through.config.store, durability="process")
    taken = Courier(store, Desk(store, through.config))
    taken.take_over([other])
    vote(through, first)
    silent.wait(lambda each: each.state == "approved")
    second = left(through)
    silent.wait(lambda each: each.id == second and each.open)
    taken.close(0)
    store.close()


def test_what_a_dead_process_was_at_is_gone_on_with() -> None:
    Path("policies").mkdir()
    Path("policies/money.yaml").write_text(POLICY, encoding="utf-8")
    script = """
import os
from saferun import Gate, guard

class Hanging:
    name = "board"
    def unreachable(self):
        return None
    def bring(self, request, desk, receipt):
        os._exit(9)

gate = Gate(policy="money", approvals=Hanging())
refund = guard(lambda amount: amount, name="refund", gate=gate)
refund(30_000)
"""
    toml = Path("saferun.toml")
    toml.write_text(toml.read_text() + "[people.erin]\n", encoding="utf-8")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    board = Board("board")
    store = Store(config.load().store, durability="process")
    courier = Courier(store, Desk(store, config.load()))
    courier.take_over([board])
    board.wait(lambda each: each.open)
    courier.close(0)
    store.close()
