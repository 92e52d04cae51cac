"""Agents of every build, recorded and made again without a change."""

import asyncio
import configparser
import contextvars
import dataclasses
import datetime as dt
import random
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

import saferun
import saferun.policy.amend
from guarding import Asked, approve, enforcing
from publishing import Published
from saferun import (
    ApprovalPending,
    Call,
    Denied,
    Diverged,
    Gate,
    LimitExceeded,
    Outcome,
    Rejected,
    RerunStopped,
    Unanswered,
    guard,
    rerun,
)
from saferun.approval import Vote
from saferun.config import load
from saferun.keeping import Keeping
from saferun.policy import loads
from saferun.store import Reader
from saferun.store.runs import newest_runs

ASKING = """
version: 1
name: asking
default: ask
"""


@pytest.fixture
def gate() -> Gate:
    return Gate()


class Tools:
    """Tools that say how often they were really called."""

    def __init__(self, gate: Gate) -> None:
        self.calls: list[Any] = []
        self.gate = gate

    def add(self, function: Callable[..., Any], **options: Any) -> Any:
        calls = self.calls

        def noted(*args: Any, **kwargs: Any) -> Any:
            calls.append(function.__name__)
            return function(*args, **kwargs)

        noted.__annotations__ = function.__annotations__
        return guard(noted, gate=self.gate, name=function.__name__, **options)


@pytest.fixture
def tools(gate: Gate) -> Tools:
    return Tools(gate)


def flushed(gate: Gate, run_id: str) -> str:
    gate.store.flush()
    return run_id


# Results, errors and denials.


def test_results_come_back_and_no_tool_is_called(gate, tools):
    def look(order: str) -> Any:
        return {"order": order, "items": [1, 2.5, None, True]}

    safe = tools.add(look)

    def main() -> tuple[str, Any]:
        with gate.run() as run:
            return run.run_id, safe("A-17")

    run_id, found = main()
    tools.calls.clear()
    with rerun(flushed(gate, run_id)):
        assert main() == (run_id, found)
    assert tools.calls == []


@dataclasses.dataclass
class Order:
    number: str
    due: dt.date


class Lines(msgspec.Struct):
    of: tuple[int, ...]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Order, Order("A-17", dt.date(2026, 5, 4))),
        (Lines, Lines((1, 2))),
        (dt.datetime, dt.datetime(2026, 5, 4, tzinfo=dt.UTC)),
        (bytes, b"\x00\xff"),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (uuid.UUID, uuid.UUID(int=7)),
        (list[Order], [Order("A-17", dt.date(2026, 5, 4))]),
        (str, "text"),
        (Any, {"plain": 1}),
    ],
)
def test_a_result_comes_back_in_the_type_that_its_tool_says(gate, tools, kind, value):
    def look():
        return value

    look.__annotations__ = {"return": kind}
    safe = tools.add(look)
    with gate.run() as run:
        safe()
    with rerun(flushed(gate, run.run_id)), gate.run():
        found = safe()
    assert found == value
    assert type(found) is type(value)


class Handle: ...


def test_a_result_of_which_only_the_type_is_known_stops_at_its_frame(gate, tools):
    def opened():
        return Handle()

    safe = tools.add(opened)
    with gate.run() as run:
        safe()
    flushed(gate, run.run_id)
    with (
        pytest.raises(Unanswered, match=r"Frame 1 .*Handle.*restore") as caught,
        rerun(run.run_id),
        gate.run(),
    ):
        safe()
    assert (caught.value.run, caught.value.frame) == (run.run_id, 1)
    made = Handle()
    with (
        rerun(run.run_id, restore=lambda tool, value: made if tool == "opened" else value),
        gate.run(),
    ):
        assert safe() is made


class PaymentError(Exception):
    """Known where the tools of these tests are defined."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), ValueError),
        (KeyError("A-17"), KeyError),
        (FileNotFoundError(2, "No such file"), FileNotFoundError),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), UnicodeDecodeError),
        (TimeoutError("slow"), TimeoutError),
        (KeyError("it's"), KeyError),
        (ExceptionGroup("both", [ValueError("a"), KeyError("b")]), ExceptionGroup),
        # Of modules that the tool's module imports, and of what lies in these.
        (msgspec.ValidationError("no"), msgspec.ValidationError),
        (saferun.policy.amend.AmendError("no"), saferun.policy.amend.AmendError),
    ],
)
def test_an_error_comes_back_as_the_type_that_it_was(gate, tools, error, kind):
    def broken() -> None:
        raise error

    safe = tools.add(broken)
    with gate.run() as run, pytest.raises(kind):
        safe()
    tools.calls.clear()
    with rerun(flushed(gate, run.run_id)), gate.run(), pytest.raises(kind) as caught:
        safe()
    assert type(caught.value).__name__ == kind.__name__
    assert str(caught.value) == str(error)
    assert tools.calls == []


def test_an_error_of_the_tools_own_module_is_known_there(gate):
    def pays() -> None:
        raise PaymentError("declined")

    safe = guard(pays, gate=gate)
    with gate.run() as run, pytest.raises(PaymentError):
        safe()
    with (
        rerun(flushed(gate, run.run_id)),
        gate.run(),
        pytest.raises(PaymentError, match="declined"),
    ):
        safe()


def test_an_error_says_again_what_its_type_made_of_what_is_not_on_record(gate):
    def reads() -> None:
        configparser.ConfigParser().get("shop", "open")

    safe = guard(reads, gate=gate)
    with gate.run() as run, pytest.raises(configparser.NoSectionError) as then:
        safe()
    with (
        rerun(flushed(gate, run.run_id)),
        gate.run(),
        pytest.raises(configparser.NoSectionError) as now,
    ):
        safe()
    assert str(now.value) == str(then.value) == "No section: 'shop'"


def test_an_error_that_is_nowhere_known_has_its_name(gate):
    class HiddenError(Exception): ...

    def hides() -> None:
        raise HiddenError("gone")

    safe = guard(hides, gate=gate)
    with gate.run() as run, pytest.raises(HiddenError):
        safe()
    with (
        rerun(flushed(gate, run.run_id)),
        gate.run(),
        pytest.raises(Exception, match="gone") as caught,
    ):
        safe()
    assert type(caught.value).__name__ == "HiddenError"
    assert not isinstance(caught.value, HiddenError)


LIMITED = """
version: 1
name: limited
default: deny
limits:
  - {id: few, max: 1, per: run}
tools:
  look: {effect: read, args: {order: {type: string, maxLength: 100}}}
"""


def test_a_denial_is_raised_again_with_its_own_words_and_kind(tools):
    gate = Gate(policy=loads(LIMITED))

    def look(order: str) -> str:
        return order

    safe, told = guard(look, gate=gate), guard(look, gate=gate, on_deny="return")

    def main() -> list[str]:
        said = []
        with gate.run() as run:
            safe("A-1")
            with pytest.raises(LimitExceeded) as caught:
                safe("A-2")
            said = [run.run_id, caught.value.for_model, str(caught.value), told("A-3")]
        return said

    first = main()
    gate.store.flush()
    with rerun(first[0]):
        assert main() == first


def test_a_call_that_was_held_back_waits_no_second_time(monkeypatch):
    policy = """
version: 1
name: slow
default: allow
tools:
  look:
    effect: read
    limits: [{id: pace, max: 1, per: run, window: 1s, on_limit: defer}]
"""
    gate = Gate(policy=loads(policy))
    safe = guard(lambda: "found", gate=gate, name="look", wait=5)
    with gate.run() as run:
        safe()
        safe()
    flushed(gate, run.run_id)
    naps = []
    monkeypatch.setattr(time, "sleep", naps.append)
    with rerun(run.run_id), gate.run():
        assert [safe(), safe()] == ["found", "found"]
    assert naps == []


# Streams, coroutines and objects.


def test_generators_give_what_they_gave(gate):
    def counts(upto: int):
        yield from range(upto)

    async def acounts(upto: int):
        for each in range(upto):
            yield each

    def given(upto: int):
        return iter(range(upto))

    safe, asafe, handed = (guard(each, gate=gate) for each in (counts, acounts, given))

    async def main() -> Any:
        async with gate.run() as run:
            found = [list(safe(3)), [each async for each in asafe(2)], list(handed(4))]
        return run.run_id, found

    run_id, found = asyncio.run(main())
    with rerun(flushed(gate, run_id)):
        assert asyncio.run(main()) == (run_id, found)
    assert found == [[0, 1, 2], [0, 1], [0, 1, 2, 3]]


def test_of_a_stream_that_was_not_kept_whole_it_says_so(gate):
    safe = guard(lambda: iter(range(2_000)), gate=gate, name="counts")
    with gate.run() as run:
        list(safe())
    flushed(gate, run.run_id)
    with (
        pytest.raises(Unanswered, match=r"2,000 items, of which 1,000 were kept"),
        rerun(run.run_id),
        gate.run(),
    ):
        list(safe())


class Broken(Exception):
    """Known where the tools are defined."""


def counts(many: int) -> Iterator[int]:
    yield from range(many)
    raise Broken("no more")


async def acounts(many: int) -> AsyncIterator[int]:
    for each in range(many):
        yield each
    raise Broken("no more")


def handed(many: int) -> Iterator[int]:
    return counts(many)


async def _taken(stream: Any, most: int) -> list[Any]:
    """At most so many of what a stream gives, and how it ends."""
    found: list[Any] = []
    try:
        while len(found) < most:
            found.append(await anext(stream) if hasattr(stream, "__anext__") else next(stream))
    except (Broken, StopIteration, StopAsyncIteration) as problem:
        found.append(repr(problem))
    await stream.aclose() if hasattr(stream, "aclose") else stream.close()
    return found


@pytest.mark.parametrize("most", [1, 2, 9])
@pytest.mark.parametrize("tool", [counts, acounts, handed])
def test_a_stream_that_fails_or_is_left_gives_what_it_gave_until_then(gate, tool, most):
    safe = guard(tool, gate=gate)

    async def main() -> tuple[str, list[Any]]:
        async with gate.run() as run:
            return run.run_id, await _taken(safe(4), most)

    first = asyncio.run(main())
    with rerun(flushed(gate, first[0])):
        assert asyncio.run(main()) == first
    assert first[1] == [*range(min(most, 4)), *(["Broken('no more')"] if most > 4 else [])]


def test_who_wants_more_of_a_stream_than_was_once_taken_is_stopped_there(gate):
    safe = guard(counts, gate=gate)

    async def main(most: int) -> str:
        async with gate.run() as run:
            await _taken(safe(4), most)
        return run.run_id

    flushed(gate, run_id := asyncio.run(main(2)))
    with pytest.raises(Unanswered, match="left after 2 of what it gave"), rerun(run_id):
        asyncio.run(main(3))


def test_a_tool_that_was_cancelled_is_cancelled_again(gate):
    begun = asyncio.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.sleep(60)

    safe = guard(waits, gate=gate)

    async def main() -> str:
        async with gate.run() as run:
            task = asyncio.create_task(safe())
            # In the rerun it is set already: the tool is not called, and nothing is waited for.
            await begun.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return run.run_id

    flushed(gate, run_id := asyncio.run(main()))
    with rerun(run_id) as again:
        assert asyncio.run(main()) == run_id
    assert again.frames == 1


async def test_a_time_limit_that_cancelled_a_tool_does_so_again(gate):
    @guard(gate=gate)
    async def look(order: int) -> int:
        if order == 2:
            await asyncio.sleep(60)
        return order

    async def main() -> str:
        async with gate.run() as run:
            try:
                async with asyncio.timeout(0.6):
                    await look(1)
                    await look(2)
            except TimeoutError:
                await look(3)
        return run.run_id

    run_id = await main()
    async with rerun(flushed(gate, run_id)) as again:
        assert await main() == run_id
    assert again.frames == 3


async def test_what_cancelled_the_whole_run_is_not_waited_for(gate):
    begun = asyncio.Event()

    @guard(gate=gate)
    async def look() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def main() -> None:
        async with gate.run(run_id="r-1"):
            await look()

    task = asyncio.create_task(main())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(asyncio.CancelledError):
        async with rerun(flushed(gate, "r-1")):
            await main()


async def test_what_goes_on_at_once_ends_in_the_order_in_which_it_ended(gate):
    ends = {order: asyncio.Event() for order in range(4)}
    ends[3].set()

    @guard(gate=gate)
    async def look(order: int) -> int:
        await ends[order].wait()
        return order

    @guard(gate=gate)
    async def note(order: int) -> None:
        if order:
            # The next one ends when this one is written down.
            await asyncio.sleep(0.002)
            ends[order - 1].set()

    async def main() -> str:
        async with gate.run() as run:
            tasks = [asyncio.create_task(look(order)) for order in range(4)]
            for each in asyncio.as_completed(tasks):
                await note(await each)
        return run.run_id

    run_id = await main()
    async with rerun(flushed(gate, run_id)) as again:
        assert await main() == run_id
    assert again.frames == 8


async def test_what_does_not_come_is_not_waited_for(gate):
    first = asyncio.Event()

    @guard(gate=gate)
    async def look(order: int) -> int:
        await first.wait() if order else first.set()
        return order

    async def main(*orders: int) -> None:
        async with gate.run(run_id="r-1"):
            await asyncio.gather(*map(look, orders))

    await main(1, 0)
    flushed(gate, "r-1")
    with pytest.raises(Diverged) as stopped:
        async with rerun("r-1"):
            await main(1)
    assert (stopped.value.frame, stopped.value.now["kind"]) == (2, "ends")


class Delegating:
    """A tool that has an agent do something, which calls another tool."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.looked: list[str] = []

        @guard(gate=gate)
        def look(order: str) -> str:
            self.looked.append(order)
            return f"{order} found"

        @guard(gate=gate)
        def delegate(task: str) -> str:
            with gate.run(agent="worker", prompt=task) as run:
                run.model("I look.")
                found = look(task)
                run.user("And?")
            return look(f"{found}, and once more")

        @guard(gate=gate)
        def one_by_one(task: str) -> Iterator[str]:
            with gate.run(agent="streamer", prompt=task):
                for each in "ab":
                    yield look(task + each)

        @guard(gate=gate)
        async def later(task: str) -> str:
            async with gate.run(agent="worker", prompt=task):
                await asyncio.sleep(0)
                return await asyncio.to_thread(look, task)

        @guard(gate=gate)
        async def later_one_by_one(task: str) -> AsyncIterator[str]:
            async with gate.run(agent="streamer", prompt=task):
                for each in "ab":
                    yield look(task + each)

        self.look, self.delegate, self.one_by_one = look, delegate, one_by_one
        self.later, self.later_one_by_one = later, later_one_by_one

    async def main(self) -> str:
        async with self.gate.run(agent="boss") as run:
            run.model("Ask them.")
            self.look(self.delegate("A-1"))
            for each in self.one_by_one("A-2"):
                self.look(f"own {each}")
            for found in await asyncio.gather(self.later("A-3"), self.later("A-4")):
                self.look(f"own {found}")
            async for each in self.later_one_by_one("A-5"):
                self.look(f"own {each}")
            run.model("Done.")
        return run.run_id


async def test_a_tool_that_has_an_agent_do_something_is_answered_with_all_of_it(gate):
    agent = Delegating(gate)
    run_id = await agent.main()
    agent.looked.clear()
    async with rerun(flushed(gate, run_id)) as again:
        assert await agent.main() == run_id
    assert agent.looked == []
    # Two turns, five calls of such tools, and seven of its own.
    assert again.frames == 14


async def test_what_its_agent_did_is_left_out_where_the_code_parts(gate):
    agent = Delegating(gate)
    run_id = await agent.main()

    async def otherwise() -> None:
        async with gate.run(agent="boss") as run:
            run.model("Ask them.")
            agent.delegate("A-1")
            agent.look("A-9")

    flushed(gate, run_id)
    with pytest.raises(Diverged) as stopped:
        async with rerun(run_id):
            await otherwise()
    assert stopped.value.recorded is not None
    assert stopped.value.recorded["args"] == {"order": "A-1 found, and once more found"}


async def test_agents_below_that_begin_alike_go_in_the_order_of_the_record(gate):
    @guard(gate=gate)
    async def look(order: int) -> int:
        return order

    async def worker(most: int, begun: asyncio.Event, before: asyncio.Event) -> None:
        await before.wait()
        async with gate.run(agent="worker"):
            for order in range(most):
                await look(order)
                begun.set()

    async def main() -> str:
        begun = [asyncio.Event() for _ in range(8)]
        begun[0].set()
        async with gate.run(agent="boss") as run:
            run.model("All of them.")
            await asyncio.gather(
                *(worker(most, begun[most], begun[most - 1]) for most in range(1, 8))
            )
        return run.run_id

    run_id = await main()
    async with rerun(flushed(gate, run_id)) as again:
        assert await main() == run_id
    assert again.frames == 29


async def test_tasks_of_one_turn_may_come_in_any_order(gate):
    calls = []

    async def look(order: int) -> int:
        calls.append(order)
        await asyncio.sleep(0)
        return order * 2

    safe = guard(look, gate=gate)

    async def main(orders: list[int]) -> tuple[str, list[int]]:
        async with gate.run() as run:
            run.model("I look at all of them.")
            found = await asyncio.gather(*(safe(each) for each in orders))
            run.model("Done.")
        return run.run_id, sorted(found)

    run_id, found = await main(list(range(20)))
    calls.clear()
    async with rerun(flushed(gate, run_id)):
        assert await main(random.Random(7).sample(range(20), 20)) == (run_id, found)
    assert calls == []


def test_threads_of_one_turn_may_come_in_any_order(gate):
    def look(order: int) -> int:
        return order * 2

    safe = guard(look, gate=gate)

    def main(orders: list[int]) -> tuple[str, list[int]]:
        with gate.run() as run, ThreadPoolExecutor(4) as pool:
            # Not every pool hands the context on; these agents do it themselves.
            contexts = [contextvars.copy_context() for _ in orders]
            found = pool.map(lambda at: contexts[at].run(safe, orders[at]), range(len(orders)))
            return run.run_id, sorted(found)

    run_id, found = main([1, 2, 3, 4, 5, 6])
    with rerun(flushed(gate, run_id)):
        assert main([1, 2, 3, 4, 5, 6]) == (run_id, found)


async def test_agents_below_are_told_apart_by_what_they_do(gate):
    async def look(order: str) -> str:
        await asyncio.sleep(0)
        return f"{order} found"

    safe = guard(look, gate=gate)

    async def worker(order: str) -> str:
        async with gate.run(agent="worker", prompt="Look.") as run:
            run.model(f"I look at {order}.")
            return await safe(order)

    async def main(orders: list[str]) -> tuple[str, list[str]]:
        async with gate.run(agent="boss") as run:
            found = await asyncio.gather(*map(worker, orders))
            run.model("All found.")
        return run.run_id, sorted(found)

    run_id, found = await main(["A-1", "A-2", "A-3"])
    async with rerun(flushed(gate, run_id)):
        assert await main(["A-3", "A-1", "A-2"]) == (run_id, found)


def test_a_run_in_which_only_its_children_did_something_is_made_again_whole(gate):
    safe = guard(lambda order: order, gate=gate, name="look")

    def main() -> str:
        with gate.run(agent="boss") as run, gate.run(agent="lead"), gate.run(agent="worker"):
            safe("A-17")
        return run.run_id

    run_id = main()
    gate.store.flush()
    with Reader(gate.store.path) as reader:
        [worker] = newest_runs(reader, 10)
    with rerun(worker) as again:
        assert main() == run_id
    assert (again.run_id, again.frames) == (run_id, 1)


def test_the_same_call_twice_gives_its_first_result_first(gate):
    results = iter(["pending", "done"])
    safe = guard(lambda: next(results), gate=gate, name="poll")

    def main() -> list[str]:
        with gate.run() as run:
            return [run.run_id, safe(), safe()]

    first = main()
    with rerun(flushed(gate, first[0])):
        assert main() == first


# People.


def test_people_answer_as_they_have_and_nobody_waits(gate):
    answers = iter([Vote(approved=True, by="dana"), Vote(approved=False, by="dana", reason="no")])
    gate = enforcing(ASKING, lambda _: next(answers))
    safe = guard(lambda order: "refunded", gate=gate, name="refund")

    def main() -> list[str]:
        with gate.run() as run:
            given = safe("A-1")
            with pytest.raises(Rejected) as caught:
                safe("A-2")
        return [run.run_id, given, caught.value.for_model]

    first = main()
    asked = next(iter(gate._channels))
    assert isinstance(asked, Asked)
    with rerun(flushed(gate, first[0])):
        assert main() == first
    assert len(asked.questions) == 2


def test_a_call_that_was_left_is_left_again_and_resumed(gate):
    gate = enforcing(ASKING, approve)
    calls = []

    def refund(order: str) -> str:
        calls.append(order)
        return f"{order} refunded"

    safe = guard(refund, gate=gate, on_ask="suspend")

    def main() -> list[str]:
        with gate.run() as run:
            with pytest.raises(ApprovalPending) as caught:
                safe("A-1")
            request = caught.value.approval_id
            while True:
                try:
                    return [run.run_id, request, saferun.resume(request, safe)]
                except ApprovalPending:
                    time.sleep(0.01)

    first = main()
    calls.clear()
    with rerun(flushed(gate, first[0])):
        assert main() == first
    assert calls == []


# Whoever goes through a gate by hand.


def test_a_check_has_the_recorded_decision_and_its_end_and_starts_nothing(gate):
    call = Call(tool="look", args={"order": "A-17"}, call_id="call_1")

    def checked(run: Any) -> Any:
        return gate.check(msgspec.structs.replace(call, run=run.ref))

    with gate.run() as run:
        decision = checked(run)
        assert decision.starts
        gate.settle(decision, Outcome(status="ok", result={"found": True}))
    with rerun(flushed(gate, run.run_id)), gate.run() as again:
        repeated = [checked(again), checked(again)]
    for each in repeated:
        assert (each.verdict, each.starts, each.seq) == ("allow", False, decision.seq)
        assert (each.outcome.status, each.outcome.result) == ("ok", {"found": True})


# What nobody can answer.


def test_a_result_that_was_not_kept_stops_at_its_frame_and_says_why():
    settings = msgspec.structs.replace(load(), record=Keeping(results="hashed"))
    gate = Gate(settings=settings)
    safe = guard(lambda: "found", gate=gate, name="look")
    with gate.run() as run:
        safe()
    flushed(gate, run.run_id)
    with (
        pytest.raises(Unanswered, match=r"Frame 1 .*only a digest of it was kept"),
        rerun(run.run_id),
        gate.run(),
    ):
        safe()


def test_a_call_of_which_nobody_knows_the_end_stops_there(gate):
    call = Call(tool="look", args={})
    with gate.run() as run:
        gate.check(msgspec.structs.replace(call, run=run.ref))
    flushed(gate, run.run_id)
    safe = guard(lambda: "found", gate=gate, name="look")
    with (
        pytest.raises(Unanswered, match="nobody knows what came of it"),
        rerun(run.run_id),
        gate.run(),
    ):
        safe()


def test_a_record_that_ends_before_its_run_goes_no_further(gate):
    safe = guard(lambda order: order, gate=gate, name="look")

    def begins() -> str:
        # As a process that has died since.
        run = gate.run()
        run.__enter__()
        safe("A-1")
        return run.run_id

    def goes_on() -> None:
        with rerun(run_id), gate.run():
            safe("A-1")
            safe("A-2")

    run_id = flushed(gate, contextvars.copy_context().run(begins))
    with pytest.raises(Unanswered, match="goes no further"):
        goes_on()


def test_a_call_outside_of_any_run_is_stopped(gate):
    safe = guard(lambda order: order, gate=gate, name="look")
    with gate.run() as run:
        safe("A-1")
    flushed(gate, run.run_id)
    with pytest.raises(Diverged, match="outside of any run"), rerun(run.run_id):
        safe("A-1")


def test_a_second_run_is_not_that_of_the_record(gate):
    safe = guard(lambda order: order, gate=gate, name="look")

    def main() -> str:
        with gate.run() as run:
            safe("A-1")
        return run.run_id

    def twice() -> None:
        with rerun(run_id):
            main()
            main()

    flushed(gate, run_id := main())
    with pytest.raises(Diverged, match="another run begins"):
        twice()


def test_nothing_is_made_again_that_is_not_there(gate):
    gate.store.flush()
    with pytest.raises(saferun.StoreError, match="no run 'r-none'"), rerun("r-none"):
        pass
    with pytest.raises(saferun.StoreError, match="cannot be read"), rerun("it.saferun"):
        pass


def test_one_rerun_goes_on_at_a_time(gate):
    with gate.run() as run:
        run.user("Hello.")
    flushed(gate, run.run_id)
    with rerun(run.run_id), gate.run() as within:
        within.user("Hello.")
        with pytest.raises(saferun.ConfigError, match="one at a time"):
            rerun(run.run_id).__enter__()


def test_what_a_rerun_leaves_behind_never_comes_to_a_real_tool(gate):
    calls = []
    safe = guard(lambda: calls.append("called"), gate=gate, name="look")
    with gate.run() as run:
        safe()
    calls.clear()
    go, met = threading.Event(), []

    def later() -> None:
        go.wait()
        try:
            safe()
        except RerunStopped as stop:
            met.append(stop)

    with rerun(flushed(gate, run.run_id)), gate.run():
        safe()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(later,))
        thread.start()
    go.set()
    thread.join()
    assert calls == []
    assert len(met) == 1


def test_an_error_of_whoever_looks_is_not_hidden(gate):
    safe = guard(lambda: "found", gate=gate, name="look")
    with gate.run() as run:
        safe()
        safe()
    flushed(gate, run.run_id)

    def looks() -> None:
        with rerun(run.run_id):
            with gate.run():
                safe()
            raise AssertionError("mine")

    with pytest.raises(AssertionError, match="mine"):
        looks()
    with pytest.raises(KeyboardInterrupt), rerun(run.run_id):
        raise KeyboardInterrupt


def test_a_place_for_temporary_files_is_its_own(gate):
    with gate.run() as run:
        run.user("Hello.")
    flushed(gate, run.run_id)
    with rerun(run.run_id) as again, gate.run() as within:
        within.user("Hello.")
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).parent == again.scratch
        with pytest.raises(PermissionError, match="does nothing to the world"):
            Path("elsewhere.txt").write_text("x")
    assert [each.event for each in again.refused] == ["open"]
    assert not again.scratch.exists()


def test_policies_that_were_published_are_read_all_the_same(gate, monkeypatch):
    Published(gate.store, "shop").publish("version: 1\nname: shop\ndefault: allow\n")
    monkeypatch.setenv("SAFERUN_POLICIES", "store")

    def main() -> str:
        through = Gate(policy="shop")
        with through.run() as run:
            guard(lambda: "found", gate=through, name="look")()
        return run.run_id

    flushed(gate, run_id := main())
    with rerun(run_id) as again:
        assert main() == run_id
    assert again.refused == []


def test_afterwards_tools_are_called_again(gate):
    calls = []
    safe = guard(lambda: calls.append("called"), gate=gate, name="look")
    with gate.run() as run:
        safe()
    with rerun(flushed(gate, run.run_id)), gate.run():
        safe()
    with gate.run():
        safe()
    assert calls == ["called", "called"]


def test_a_rerun_writes_nothing_to_the_store(gate):
    safe = guard(lambda: "found", gate=gate, name="look")
    with gate.run() as run:
        run.user("Hello.")
        safe()
    flushed(gate, run.run_id)
    before = gate.store.size()
    with rerun(run.run_id), gate.run() as again:
        again.user("Hello.")
        safe()
        with pytest.raises(saferun.StoreError, match="opens no store"):
            Gate().store
    gate.store.flush()
    assert gate.store.size() == before


# Secrets, and what is not shown.


def test_secrets_are_compared_by_their_placeholders(gate):
    safe = guard(lambda url, token: {"token": token}, gate=gate, name="fetch")

    def main(token: str) -> tuple[str, Any]:
        with gate.run() as run:
            return run.run_id, safe("https://example.com", token)

    run_id, _ = main("first-secret-of-this-machine")
    flushed(gate, run_id)
    with rerun(run_id):
        _, found = main("another-secret-elsewhere")
    assert found == {"token": "[redacted: secret]"}


HIDING = """
version: 1
name: hiding
default: allow
tools:
  refund:
    effect: write
    args: {card: {type: string, maxLength: 40}, amount: {type: integer}}
    redact: [args.card]
"""


def test_what_a_policy_keeps_out_may_be_anything(gate):
    gate = Gate(policy=loads(HIDING))
    safe = guard(lambda card, amount: "refunded", gate=gate, name="refund")

    def main(card: str, amount: int) -> str:
        with gate.run() as run:
            safe(card, amount)
        return run.run_id

    run_id = flushed(gate, main("4-1", 10))
    with rerun(run_id):
        main("5-2", 10)
    with pytest.raises(Diverged), rerun(run_id):
        main("4-1", 11)


def test_large_values_are_put_back(gate):
    safe = guard(lambda text: text[::-1], gate=gate, name="turn")
    text = "x" * 100_000 + "y"

    def main() -> tuple[str, str]:
        with gate.run() as run:
            return run.run_id, safe(text)

    first = main()
    with rerun(flushed(gate, first[0])):
        assert main() == first


# What is held fast.


def test_time_goes_by_the_record(gate):
    safe = guard(lambda: "found", gate=gate, name="look")
    with gate.run() as run:
        safe()
    flushed(gate, run.run_id)
    real = dt.datetime
    with rerun(run.run_id, pin=["time"]) as again, gate.run():
        safe()
        seen = again.now()
        assert abs(time.time() - seen.timestamp()) < 1e-3
        assert dt.datetime.now(dt.UTC) == seen
        assert isinstance(seen, dt.datetime)
        assert dt.date.today() == seen.astimezone().date()
    assert dt.datetime is real
    assert seen < dt.datetime.now(dt.UTC)


def test_chance_and_ids_are_the_same_each_time(gate):
    with gate.run() as run:
        run.user("Hello.")
    flushed(gate, run.run_id)
    found = []
    for _ in range(2):
        with rerun(run.run_id, pin=["random", "ids"]), gate.run() as again:
            again.user("Hello.")
            found.append((random.random(), uuid.uuid4(), uuid.uuid4()))
    assert found[0] == found[1]
    assert found[0][1] != found[0][2]
    with pytest.raises(saferun.ConfigError, match="pin is of"):
        rerun(run.run_id, pin=["chance"])


def test_denied_is_what_catches_a_recorded_denial():
    gate = Gate(policy=loads("version: 1\nname: shut\ndefault: deny\n"))
    safe = guard(lambda: "found", gate=gate, name="look")

    def main() -> str:
        with gate.run() as run, pytest.raises(Denied):
            safe()
        return run.run_id

    run_id = flushed(gate, main())
    with rerun(run_id):
        main()


CHANGING = """
version: 1
name: changing
default: allow
tools:
  refund:
    effect: write
    args: {amount: {type: integer}}
    rules:
      - id: cap
        when: args.amount > 100
        clamp: {amount: {maximum: 100}}
  look:
    effect: read
    args: {order: {type: string, maxLength: 10}}
    rules:
      - {id: never, deny: true, mode: shadow, message: Never.}
"""


def test_what_was_changed_or_only_tried_out_is_told_again(gate):
    gate = Gate(policy=loads(CHANGING))
    refund = guard(lambda amount: amount, gate=gate, name="refund")
    look = guard(lambda order: order, gate=gate, name="look")

    def main() -> list[Any]:
        with gate.run() as run:
            return [run.run_id, refund(500), look("A-17")]

    first = main()
    assert first[1:] == [100, "A-17"]
    with rerun(flushed(gate, first[0])):
        assert main() == first
