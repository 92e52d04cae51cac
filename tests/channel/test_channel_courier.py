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
from hooking import SECRET, program
from saferun import ApprovalPending, Gate, config, guard
from saferun.approval import Request, UnfinishedError
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


def gate(*channels: Board, policy: str = POLICY, **approval: Any) -> Gate:
    settings = msgspec.structs.replace(
        config.load(),
        people={"dana": Person(), "erin": Person()},
        groups=GROUPS,
        approval=ApprovalTable(**{"timeout": 60.0, "break_glass": ["erin"], **approval}),
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


def test_a_channel_that_got_halfway_is_given_what_it_had_done() -> None:
    class Halfway(Board):
        def bring(self, request: Request, desk: Any, receipt: str | None) -> str | None:
            if receipt is None:
                raise UnfinishedError("erin has no letter yet", "dana")
            return super().bring(request, desk, receipt)

    board = Halfway("board")
    left(gate(board))
    board.wait(lambda each: each.open)
    assert board.pinned[0][1] == "dana"


def test_an_alarm_that_a_process_left_behind_is_brought_by_the_next() -> None:
    wet = Board("board", failures=1_000_000)
    through = gate(wet)
    request = left(through)
    assert through._courier is not None
    through._courier.close(0)
    desk = Desk(through.store, through.config)
    assert desk.vote(
        request, by="erin", approved=True, channel="test", revision=0, reason="fire", glass=True
    ).counted
    dry = Board("board")
    taken = Courier(through.store, desk)
    taken.take_over([dry])
    told = dry.wait(lambda each: each.glass is not None)
    assert desk.alarmed(told) == {"dana"}
    taken.close(0)


def test_an_end_that_could_not_be_shown_at_first_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(couriers, "ELSEWHERE", 0.01)
    board = Board("board")
    through = gate(board)
    entered, go_on = threading.Event(), threading.Event()
    bring, ends = board.bring, []

    def late(request: Request, desk: Any, receipt: str | None) -> str | None:
        if request.open:
            return bring(request, desk, receipt)
        ends.append(request)
        if len(ends) == 1:
            # It goes on to its end while its approval fails to be shown.
            entered.set()
            assert go_on.wait(30)
            raise ConnectionError
        return bring(request, desk, receipt)

    monkeypatch.setattr(board, "bring", late)
    monkeypatch.setattr(couriers, "AGAIN", (0.2,))
    refund = guard(lambda amount: amount, name="refund", gate=through)
    told: list[object] = []
    with through.run(agent="support"):
        caller = threading.Thread(target=lambda: told.append(refund(30_000)))
        caller.start()
        vote(through, board.wait(lambda each: each.open).id)
        assert entered.wait(30)
        caller.join(30)
    assert told == [30_000]
    through.store.flush()
    go_on.set()
    board.wait(lambda each: each.state == "succeeded")


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


def test_a_call_that_joins_has_people_see_what_a_dead_process_has_asked() -> None:
    Path("policies").mkdir()
    Path("policies/money.yaml").write_text(POLICY, encoding="utf-8")
    toml = Path("saferun.toml")
    toml.write_text(toml.read_text() + "[people.erin]\n", encoding="utf-8")
    script = """
import os, sys
from saferun import Gate, guard

class Board:
    name = "board"
    def unreachable(self):
        return None
    def bring(self, request, desk, receipt):
        print(request.id, request.joined, flush=True)
        os._exit(9)

gate = Gate(policy="money", approvals=Board())
refund = guard(lambda amount: amount, name="refund", gate=gate)
with gate.run(run_id="r-1", agent="support"):
    refund(30_000)
"""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        ).stdout.split()
        for _ in range(2)
    )
    assert first[1:] == ["0"]
    assert second == [first[0], "1"]


LEAVING = """
import sys
from saferun import ApprovalPending, Gate, guard

gate = Gate(policy="money")
refund = guard(lambda amount: amount, name="refund", gate=gate, on_ask="suspend")
try:
    refund(30_000)
except ApprovalPending as pending:
    print(pending.approval_id, flush=True)
    if sys.argv[1] == "killed":
        import os
        os._exit(9)
"""

RUNNING = """
import threading
from saferun import Gate, guard
from saferun.desk import Desk

gate = Gate(policy="money")
refund = guard(lambda amount: amount, name="refund", gate=gate)
desk = Desk(gate.store, gate.config)

def yes():
    while not (found := desk.open()):
        threading.Event().wait(0.01)
    while not gate._courier._desk.store.feed or not _shown(found[0].id):
        threading.Event().wait(0.01)
    assert desk.vote(found[0].id, by="dana", approved=True, channel="t", revision=0).counted

def _shown(request):
    from saferun.store import Requests
    with Requests(gate.store.path) as requests:
        return requests._connection.execute(
            "SELECT 1 FROM delivery WHERE approval = ? AND shown > 0", (request,)
        ).fetchone()

threading.Thread(target=yes, daemon=True).start()
print(refund(30_000))
"""


def _hooked(url: str) -> None:
    Path("policies").mkdir()
    Path("policies/money.yaml").write_text(POLICY, encoding="utf-8")
    Path("saferun.toml").write_text(
        'durability = "process"\n[approval]\ndefault = "webhook"\nurl = "https://x.example"\n'
        f'[approval.webhook.ops]\nurl = "{url}"\nsecret_env = "HOOK_SECRET"\n'
        "allow_private = true\n[people.dana]\n[people.erin]\n"
        '[groups]\nfinance = ["dana"]\nlead = ["erin"]\n',
        encoding="utf-8",
    )


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_process_that_leaves_a_call_and_is_gone_has_told_people_of_it(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with program() as server:
        _hooked(server.url.replace("127.0.0.1", "localhost"))
        done = subprocess.run(
            [sys.executable, "-c", LEAVING, how], capture_output=True, text=True, check=False
        )
        message = server.messages.get_nowait()
        assert (message.type, message.data["request"]) == (
            "approval.requested",
            done.stdout.strip(),
        ), done.stderr


def test_who_closes_has_shown_what_the_feed_has_not_told_of_yet() -> None:
    board = Board("board")
    through = gate(board)
    request = left(through)
    board.wait(lambda each: each.open)
    courier = through._courier
    assert courier is not None
    courier._leave()
    vote(through, request)
    courier.close()
    assert board.pinned[-1][0].state == "approved"


def test_a_process_that_ends_with_its_call_has_told_how_that_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with program() as server:
        _hooked(server.url.replace("127.0.0.1", "localhost"))
        done = subprocess.run(
            [sys.executable, "-c", RUNNING], capture_output=True, text=True, check=False
        )
        assert done.stdout == "30000\n", done.stderr
        states = []
        while not server.messages.empty():
            states.append(server.messages.get_nowait().data["state"])
        assert states[0] == "pending"
        assert states[-1] == "succeeded", done.stderr


def test_with_bring_serve_the_process_that_asks_brings_nothing_itself() -> None:
    board, serving = Board("board"), Board("board")
    through = gate(board, bring="serve")
    # Nor has it what reaching people takes.
    board.unreachable = lambda: "no password here"  # type: ignore[method-assign]
    request = left(through)
    store = Store(through.config.store, durability="process")
    courier = Courier(store, Desk(store, through.config))
    courier.take_over([serving])
    assert serving.wait(lambda each: each.open).id == request
    second = left(through)
    serving.wait(lambda each: each.id == second)
    assert board.pinned == []
    courier.close(0)
    store.close()


def test_an_end_that_a_dead_process_has_not_shown_is_shown_by_whoever_takes_over() -> None:
    board = Board("board")
    through = gate(board)
    request = left(through)
    board.wait(lambda each: each.open)
    assert through._courier is not None
    through._courier.close(0)
    vote(through, request)
    serving = Board("board")
    store = Store(through.config.store, durability="process")
    courier = Courier(store, Desk(store, through.config))
    courier.take_over([serving])
    assert serving.wait(lambda each: each.state == "approved").id == request
    assert serving.pinned[0][1] == "board 1"
    courier.close(0)
    store.close()
