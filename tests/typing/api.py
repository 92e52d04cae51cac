"""What type checkers see of the face. Checked by mypy and never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import assert_type

import saferun
from saferun import (
    Call,
    Decision,
    Denied,
    Diverged,
    Gate,
    Outcome,
    Policy,
    Reason,
    RerunStopped,
    guard,
    on_decision,
    testing,
)
from saferun.approval import Question
from saferun.rerun import Rerun
from saferun.run import Run


def pay(order: str, amount: int = 1) -> float:
    return 0.0


async def apay(order: str, amount: int = 1) -> float:
    return 0.0


def lines(path: str) -> Iterator[bytes]:
    yield b""


def talk(path: str) -> Generator[int, str, bytes]:
    yield 1
    return b""


async def alines(path: str) -> AsyncIterator[bytes]:
    yield b""


async def atalk(path: str) -> AsyncGenerator[int, str]:
    yield 1


class Tool:
    name = "tool"

    def execute(self, x: int) -> str:
        return ""


# A guarded tool has the type that it had.

assert_type(guard(pay)("A-1", amount=2), float)
assert_type(guard(tool=pay, policy="production", approval="terminal", name="pay")("A-1"), float)
assert_type(guard(pay, on_deny="raise")("A-1"), float)
assert_type(guard(lines)("x"), Iterator[bytes])
assert_type(guard(alines)("x"), AsyncIterator[bytes])
assert_type(guard(Tool()), Tool)
assert_type(guard(Tool(), policy=saferun.policy.loads("")).execute(1), str)
assert_type(guard([pay, pay])[0]("A-1"), float)
assert_type(guard([Tool()]), list[Tool])
guard(pay)(1)  # type: ignore[arg-type]
guard(pay)("A-1", note="")  # type: ignore[call-arg]
guard(pay, on_deny="ignore")  # type: ignore[call-overload]
guard(pay, policy=5)  # type: ignore[call-overload]


@guard
def plain(x: int) -> str:
    return ""


@guard(policy="production", gate=None)
def configured(x: int) -> str:
    return ""


@guard()
async def asynchronous(x: int) -> str:
    return ""


assert_type(plain(1), str)
assert_type(configured(x=1), str)
plain("1")  # type: ignore[arg-type]


class Service:
    @guard
    def method(self, x: int) -> str:
        return ""

    @guard(name="other")
    async def amethod(self, x: int) -> str:
        return ""

    @staticmethod
    @guard
    def static(x: int) -> str:
        return ""


assert_type(Service().method(1), str)
assert_type(Service.static(1), str)


# Where a denial is a result, a sentence may be among the results.

assert_type(guard(pay, on_deny="return")("A-1"), float | str)
assert_type(guard(lines, on_deny="return")("x"), Iterator[bytes | str])
assert_type(guard(talk, on_deny="return")("x"), Generator[int | str, str, bytes | None])
assert_type(guard(alines, on_deny="return")("x"), AsyncIterator[bytes | str])
assert_type(guard(atalk, on_deny="return")("x"), AsyncGenerator[int | str, str])
assert_type(guard(Tool(), on_deny="return"), Tool)


@guard(on_deny="return")
def answered(x: int) -> float:
    return 0.0


@guard(on_deny="return", name="answered")
async def aanswered(x: int) -> float:
    return 0.0


assert_type(answered(1), float | str)


async def awaited() -> None:
    assert_type(await guard(apay)("A-1"), float)
    assert_type(await asynchronous(1), str)
    assert_type(await Service().amethod(1), str)
    assert_type(await guard(apay, on_deny="return")("A-1"), float | str)
    assert_type(await aanswered(1), float | str)


# Runs, gates and what they tell.


async def within() -> None:
    with saferun.run(agent="a", user={"id": "u"}, context={"env": "prod"}) as run:
        assert_type(run, Run)
        assert_type(run.run_id, str)
        run.model({"content": ""}, model="m", input_tokens=1, cost_usd=0.1, latency=0.5)
        run.user("more")
    async with saferun.run() as outer:
        assert_type(outer, Run)
    gate = Gate(policy="production", store="sqlite:///a.db", approvals="terminal")
    call = Call(tool="pay", args={}, call_id="c")
    assert_type(gate.check(call), Decision)
    assert_type(await gate.acheck(call), Decision)
    gate.settle(gate.check(call), Outcome(status="ok", result=1))
    await gate.asettle(gate.check(call), Outcome(status="error", error="x"))
    gate.settle(gate.check(call), Outcome(status="fine"))  # type: ignore[arg-type]


def tested() -> None:
    with testing.gate(
        "production", approvals=testing.approve_all, clock=testing.Clock()
    ) as checkpoint:
        assert_type(checkpoint, testing.ScratchGate)
        assert_type(checkpoint.questions, tuple[Question, ...])
        checkpoint.clock.advance(3600)
        with testing.denied(by="big-refund") as block:
            assert_type(guard(pay, gate=checkpoint)("A-1"), float)
        assert_type(block, testing.denied)
        assert_type(block.for_model, str)
    testing.gate()  # type: ignore[call-arg]
    testing.gate("production", approvals="terminal")  # type: ignore[arg-type]


@on_decision
def listen(decision: Decision) -> None:
    assert_type(decision.reasons, tuple[Reason, ...])
    assert_type(decision.for_model, str)


def caught(problem: Denied, policy: Policy) -> None:
    assert_type(problem.decision, Decision)
    assert_type(problem.for_model, str)
    assert_type(policy.name, str)


# A watched client has the type that it had.

assert_type(saferun.watch(Tool()), Tool)


async def made_again(frame: Diverged) -> None:
    with saferun.rerun("r-1", pin=["time"], restore=lambda tool, value: value) as again:
        assert_type(again, Rerun)
        assert_type(again.frames, int)
        assert_type(again.stopped, RerunStopped | None)
        assert_type(again.now(), datetime)
    async with saferun.rerun(Path("r-1"), writes=["out"]) as waiting:
        assert_type(waiting.run_id, str)
    saferun.rerun("r-1", pin=["luck"])  # type: ignore[list-item]
    assert_type(frame.frame, int | None)
