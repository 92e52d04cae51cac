"""A tool's own check: whether a call has happened of which nobody knows."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import saferun
from dying import RUN, paying, payment
from guarding import OPEN, entries
from saferun import Gate, Outcome, guard, inquiry
from saferun.call import Call
from saferun.policy import loads
from saferun.store import Reader, Store
from saferun.store.unsettled import unknown_calls
from storing import audit

REDACTED = (
    OPEN
    + """
tools:
  pay:
    effect: write
    args: {x: {type: integer}, card: {type: string}}
    redact: [args.card]
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "saferun.db"


@pytest.fixture
def gate_on(file: Path) -> Iterator[Callable[..., Gate]]:
    opened: list[Gate] = []

    def open_one(policy: str | None = None) -> Gate:
        store = Store(f"sqlite:///{file}", durability="process")
        gate = Gate(policy=loads(policy) if policy else None, store=store)
        opened.append(gate)
        return gate

    yield open_one
    for gate in opened:
        gate.close()


class Books:
    """The world outside: what it was asked, and what it answers."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[dict[str, Any], str | None]] = []

    def __call__(self, args: dict[str, Any], key: str | None) -> Any:
        self.asked.append((args, key))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def awaited(self, args: dict[str, Any], key: str | None) -> Any:
        await asyncio.sleep(0)
        return self(args, key)


def unknown(file: Path) -> list[int]:
    with Reader(file) as reader:
        return [call.seq for call in unknown_calls(reader)]


CALL = payment({"x": 4}, "c-1")


def test_what_has_happened_is_the_outcome_from_then_on(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate, books = gate_on(), Books(True)
    decision = gate.check(CALL, verify=books)
    assert (decision.starts, decision.outcome) == (False, Outcome(status="ok"))
    assert books.asked == [({"x": 4}, decision.idempotency_key)]
    [end] = entries(gate, "outcome")
    assert (end["status"], end["by"]) == ("ok", "verify")
    assert gate.check(CALL, verify=books).outcome == Outcome(status="ok")
    assert len(books.asked) == 1
    assert audit(file).problem is None


def test_what_has_not_happened_may_start_after_all(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate, books = gate_on(), Books(False)
    decision = gate.check(CALL, verify=books)
    assert (decision.starts, decision.outcome) == (True, None)
    assert not gate.check(CALL, verify=books).starts
    gate.settle(decision, Outcome(status="ok"))
    assert [end["status"] for end in entries(gate, "outcome")] == ["not_started", "ok"]
    assert audit(file).problem is None


@pytest.mark.parametrize("answer", [None, "yes", 1, 0, {}, ValueError("the bank is closed")])
def test_any_other_answer_leaves_it_unknown(file, gate_on, answer) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate = gate_on()
    decision = gate.check(CALL, verify=Books(answer))
    assert (decision.starts, decision.outcome) == (False, Outcome(status="unknown"))
    assert entries(gate, "outcome") == []


def test_a_check_that_takes_too_long_leaves_it_unknown(file, gate_on, monkeypatch) -> None:
    monkeypatch.setattr(inquiry, "PATIENCE", 0.01)
    paying(file, ({"x": 4}, "c-1"), ({"x": 5}, "c-2"))
    gate, asked, over = gate_on(), [], threading.Event()

    def slow(args: dict[str, Any], _: str | None) -> bool:
        asked.append(args)
        over.wait(60)
        return True

    decision = gate.check(CALL, verify=slow)
    assert decision.outcome == Outcome(status="unknown")
    # Whoever does not answer once is not asked about all the others too.
    assert len(gate.recover("pay", slow).left) == 2
    assert asked == [{"x": 4}, {"x": 4}]
    over.set()


def test_a_call_whose_process_is_there_is_not_asked_about(file, gate_on) -> None:
    agent = paying(file, ({"x": 4}, "c-1"), dies=False)
    gate, books = gate_on(), Books(False)
    assert gate.check(CALL, verify=books).outcome is None
    assert gate.recover("pay", books).left == ()
    agent.communicate()
    assert books.asked == []


def test_a_call_whose_time_ran_out_here_is_not_asked_about(file, gate_on) -> None:
    gate, books = gate_on(), Books(False)
    gate.settle(gate.check(CALL), Outcome(status="unknown"))
    assert gate.check(CALL, verify=books).outcome == Outcome(status="unknown")
    assert gate.recover("pay", books).left == tuple(unknown(file)) != ()
    assert books.asked == []
    gate.close()
    # Its process is gone by now.
    assert gate_on().check(CALL, verify=books).starts
    assert len(books.asked) == 1


def test_redacted_arguments_come_from_the_call_itself(file, gate_on) -> None:
    args = {"x": 4, "card": "4111 1111 1111 1111"}
    paying(file, (args, "c-1"), policy=REDACTED)
    gate, books = gate_on(REDACTED), Books(True)
    assert gate.check(payment(args, "c-1"), verify=books).outcome == Outcome(status="ok")
    assert [asked for asked, _ in books.asked] == [args]


def test_where_the_ledger_alone_has_redacted_arguments_it_is_not_asked(file, gate_on) -> None:
    paying(file, ({"x": 4, "card": "4111 1111 1111 1111"}, "c-1"), policy=REDACTED)
    gate, books = gate_on(REDACTED), Books(True)
    assert gate.recover("pay", books).left == tuple(unknown(file)) != ()
    assert books.asked == []


def test_large_arguments_are_rebuilt_whole(file, gate_on) -> None:
    args = {"note": "x" * 100_000, "big": 1 << 80}
    paying(file, (args, "c-1"))
    gate, books = gate_on(), Books(True)
    assert len(gate.recover("pay", books).happened) == 1
    assert [asked for asked, _ in books.asked] == [args]


def test_what_a_check_does_to_the_arguments_changes_nothing(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate = gate_on()

    def check(args: dict[str, Any], _: str | None) -> bool:
        args["x"] = 4_000
        return False

    assert gate.check(CALL, verify=check).args == {"x": 4}


def test_all_unknown_calls_of_a_tool_are_asked_about(file, gate_on) -> None:
    paying(file, *(({"x": each}, f"c-{each}") for each in range(6)), ({"x": 9}, None))
    gate = gate_on()
    calls = unknown(file)
    keys: list[str | None] = []

    def check(args: dict[str, Any], key: str | None) -> bool | None:
        keys.append(key)
        return {0: True, 1: False}.get(args["x"] % 3)

    found = gate.recover("pay", check)
    assert sorted((*found.happened, *found.not_happened, *found.left)) == calls
    assert (len(found.happened), len(found.not_happened), len(found.left)) == (3, 2, 2)
    assert unknown(file) == list(found.left)
    assert len(set(keys)) == 7
    assert gate.recover("other", check) == saferun.Recovered()
    assert audit(file).problem is None


def test_a_recovery_finds_those_that_have_died_since_the_store_was_opened(file, gate_on) -> None:
    gate = gate_on()
    gate.check(Call(tool="look", args={}))
    paying(file, ({"x": 4}, "c-1"))
    assert len(gate.recover("pay", Books(True)).happened) == 1


async def _checks(gate: Gate, check: Any) -> Any:
    return await gate.acheck(CALL, verify=check), await gate.arecover("pay", check)


@pytest.mark.parametrize("kind", ["plain", "awaited"])
def test_tasks_ask_checks_of_either_kind(file, gate_on, kind) -> None:
    paying(file, ({"x": 4}, "c-1"), ({"x": 5}, "c-2"))
    gate, books = gate_on(), Books(True)
    check = books if kind == "plain" else books.awaited
    decision, found = asyncio.run(_checks(gate, check))
    assert decision.outcome == Outcome(status="ok")
    assert (len(found.happened), len(books.asked)) == (1, 2)


def test_a_check_that_must_be_awaited_is_not_asked_where_nobody_awaits(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate, books = gate_on(), Books(True)
    assert gate.check(CALL, verify=books.awaited).outcome == Outcome(status="unknown")
    assert books.asked == []


def test_of_two_who_find_out_at_once_one_settles(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate, other = gate_on(), gate_on()

    def check(_: dict[str, Any], __: str | None) -> bool:
        other.check(CALL, verify=lambda *_: True)
        return False

    decision = gate.check(CALL, verify=check)
    assert (decision.starts, decision.outcome) == (False, Outcome(status="ok"))
    assert len(entries(gate, "outcome")) == 1


# What `guard` and `recover` make of it.


def test_a_guarded_tool_is_recovered_by_the_check_that_it_was_given(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    books = Books(True)

    @guard(gate=gate_on(), verify=books)
    def pay(x: int) -> str:
        raise AssertionError("it never runs the tool")

    assert len(saferun.recover(pay).happened) == 1
    assert [asked for asked, _ in books.asked] == [{"x": 4}]


def test_so_is_one_that_is_awaited(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))

    @guard(gate=gate_on(), verify=Books(True).awaited)
    async def pay(x: int) -> None: ...

    assert len(asyncio.run(saferun.arecover(pay)).happened) == 1


def test_so_are_methods_and_objects(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate = gate_on()

    class Desk:
        @guard(gate=gate, verify=Books(None))
        def pay(self, x: int) -> None: ...

    class Pay:
        name = "pay"

        def invoke(self, x: int) -> None: ...

    assert len(saferun.recover(Desk().pay).left) == 1
    assert len(saferun.recover(Desk.pay).left) == 1
    assert len(saferun.recover(guard(Pay(), gate=gate, verify=Books(True))).happened) == 1


def test_a_tool_without_a_check_cannot_be_recovered(gate_on) -> None:
    gate = gate_on()
    for tool in (guard(lambda x: x, name="pay", gate=gate), print, object(), [], len):
        with pytest.raises(TypeError, match="verify=check"):
            saferun.recover(tool)


def test_a_check_cannot_be_awaited_where_the_tool_is_not(gate_on) -> None:
    with pytest.raises(TypeError, match="pay is not awaited"):
        guard(lambda x: x, name="pay", gate=gate_on(), verify=Books(True).awaited)


def test_a_list_of_tools_has_no_one_check(gate_on) -> None:
    with pytest.raises(TypeError, match="no one check"):
        guard([len], gate=gate_on(), verify=Books(True))


def test_a_call_of_another_run_is_not_taken_for_it(file, gate_on) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate, books = gate_on(), Books(True)
    other = Call(tool="pay", args={"x": 4}, call_id="c-1")
    assert gate.check(other, verify=books).starts
    assert gate.check(payment({"x": 5}, "c-1"), verify=books).starts
    assert books.asked == []
    assert RUN.run_id == "r-1"
