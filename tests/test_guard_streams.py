"""Results that are still to come: they behave as the tool's own, and settle their call once."""

import asyncio
import collections.abc
import contextlib
import gc
import inspect
import io
import sqlite3
import types
import warnings
from typing import Any

import pytest

from guarding import enforcing, entries, observing, statuses
from saferun import Gate, guard
from saferun.attempt import MAX_STREAMED, MAX_STREAMED_BYTES


def results(gate: Gate) -> list[Any]:
    return [entry.get("result") for entry in entries(gate, "outcome")]


class Log:
    """A generator's life, from inside."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def stream(self, upto: int = 3):
        try:
            for at in range(upto):
                try:
                    self.events.append((yield at))
                except KeyError as error:
                    self.events.append(error)
        finally:
            self.events.append("closed")
        return "end"

    async def astream(self, upto: int = 3):
        try:
            for at in range(upto):
                try:
                    self.events.append((yield at))
                except KeyError as error:
                    self.events.append(error)
        finally:
            self.events.append("closed")

    def given(self, upto: int = 3):
        return self.stream(upto)

    def agiven(self, upto: int = 3):
        return self.astream(upto)

    async def awaited(self, upto: int = 3):
        return self.stream(upto)


WAYS = ["stream", "given"]
AWAYS = ["astream", "agiven"]


def opened(way: str) -> tuple[Gate, Log, Any]:
    gate, log = observing(), Log()
    return gate, log, guard(getattr(log, way), gate=gate)


@pytest.mark.parametrize("way", WAYS)
def test_a_generator_that_is_read_to_its_end_is_ok(way):
    gate, log, safe = opened(way)
    assert list(safe()) == [0, 1, 2]
    assert statuses(gate) == ["ok"]
    assert results(gate) == [{"streamed": 3, "items": [0, 1, 2]}]
    assert log.events == [None, None, None, "closed"]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_settled_before_the_end(way):
    gate, _, safe = opened(way)
    stream = safe()
    next(stream)
    assert statuses(gate) == []
    list(stream)
    assert statuses(gate) == ["ok"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_sent_and_returned_goes_through(way):
    gate, log, safe = opened(way)
    stream = safe(2)

    def delegating():
        return (yield from stream)

    outer = delegating()
    assert next(outer) == 0
    assert outer.send("a") == 1
    with pytest.raises(StopIteration) as end:
        outer.send("b")
    assert end.value.value == "end"
    assert log.events == ["a", "b", "closed"]
    assert statuses(gate) == ["ok"]


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_that_is_thrown_in_is_the_tool_s_to_catch(way):
    gate, log, safe = opened(way)
    stream = safe()
    next(stream)
    caught = KeyError("x")
    assert stream.throw(caught) == 1
    assert log.events == [caught]
    problem = ValueError("y")
    with pytest.raises(ValueError) as raised:
        stream.throw(problem)
    assert raised.value is problem
    assert statuses(gate) == ["error"]
    assert log.events[-1] == "closed"


@pytest.mark.parametrize("way", WAYS)
def test_a_generator_that_is_closed_is_cancelled(way):
    gate, log, safe = opened(way)
    stream = safe()
    next(stream)
    stream.close()
    stream.close()
    assert log.events[-1] == "closed"
    assert statuses(gate) == ["cancelled"]
    with pytest.raises(StopIteration):
        next(stream)
    assert statuses(gate) == ["cancelled"]


@pytest.mark.parametrize("way", WAYS)
def test_a_generator_that_is_forgotten_is_cancelled(way):
    gate, log, safe = opened(way)
    stream = safe()
    next(stream)
    del stream
    gc.collect()
    assert log.events[-1] == "closed"
    assert statuses(gate) == ["cancelled"]


def test_a_generator_function_whose_generator_is_never_read_decides_nothing():
    gate, _, safe = opened("stream")
    safe()
    gc.collect()
    assert entries(gate, "decision") == []


@pytest.mark.parametrize("end", [lambda stream: stream.close(), lambda stream: None])
def test_a_returned_generator_that_is_never_read_is_cancelled(end):
    gate, log, safe = opened("given")
    end(safe())
    gc.collect()
    assert statuses(gate) == ["cancelled"]
    assert log.events == []


@pytest.mark.parametrize("way", ["stream", "given"])
def test_a_generator_that_fails_is_an_error(way):
    problem = ValueError("broken")

    def stream():
        yield 1
        raise problem

    gate = observing()
    safe = guard(stream if way == "stream" else lambda: stream(), name="tool", gate=gate)
    made = safe()
    assert next(made) == 1
    with pytest.raises(ValueError) as raised:
        next(made)
    assert raised.value is problem
    assert statuses(gate) == ["error"]
    assert list(made) == []
    assert statuses(gate) == ["error"]


def test_a_generator_that_fails_while_it_is_closed_is_an_error():
    def stream():
        try:
            yield 1
        finally:
            raise ValueError("while closing")

    gate = observing()
    made = guard(stream, gate=gate)()
    next(made)
    with pytest.raises(ValueError, match="while closing"):
        made.close()
    assert statuses(gate) == ["error"]


def test_a_returned_generator_is_a_generator_of_the_same_name():
    _, _, safe = opened("given")
    stream = safe()
    assert isinstance(stream, types.GeneratorType)
    assert inspect.isgenerator(stream)
    assert stream.__name__ == "stream"
    stream.close()


def test_a_coroutine_that_gives_a_generator_settles_at_its_end():
    gate, _, safe = opened("awaited")
    stream = asyncio.run(safe())
    assert statuses(gate) == []
    assert list(stream) == [0, 1, 2]
    assert statuses(gate) == ["ok"]


# Asynchronous generators.


async def collect(stream: Any) -> list[Any]:
    return [item async for item in stream]


@pytest.mark.parametrize("way", AWAYS)
async def test_an_async_generator_that_is_read_to_its_end_is_ok(way):
    gate, log, safe = opened(way)
    assert await collect(safe()) == [0, 1, 2]
    assert statuses(gate) == ["ok"]
    assert results(gate) == [{"streamed": 3, "items": [0, 1, 2]}]
    assert log.events == [None, None, None, "closed"]


@pytest.mark.parametrize("way", AWAYS)
async def test_what_is_sent_to_an_async_generator_goes_through(way):
    gate, log, safe = opened(way)
    stream = safe(2)
    assert await anext(stream) == 0
    assert await stream.asend("a") == 1
    with pytest.raises(StopAsyncIteration):
        await stream.asend("b")
    assert log.events == ["a", "b", "closed"]
    assert statuses(gate) == ["ok"]


@pytest.mark.parametrize("way", AWAYS)
async def test_what_is_thrown_into_an_async_generator_is_the_tool_s_to_catch(way):
    gate, log, safe = opened(way)
    stream = safe()
    await anext(stream)
    caught = KeyError("x")
    assert await stream.athrow(caught) == 1
    assert log.events == [caught]
    problem = ValueError("y")
    with pytest.raises(ValueError) as raised:
        await stream.athrow(problem)
    assert raised.value is problem
    assert statuses(gate) == ["error"]


@pytest.mark.parametrize("way", AWAYS)
async def test_an_async_generator_that_is_closed_is_cancelled(way):
    gate, log, safe = opened(way)
    stream = safe()
    await anext(stream)
    await stream.aclose()
    assert log.events[-1] == "closed"
    assert statuses(gate) == ["cancelled"]


@pytest.mark.parametrize("way", AWAYS)
async def test_an_async_generator_that_is_forgotten_is_cancelled(way):
    gate, _, safe = opened(way)
    stream = safe()
    await anext(stream)
    del stream
    gc.collect()
    for _ in range(5):
        # The loop closes it in a task of its own.
        await asyncio.sleep(0)
    assert statuses(gate) == ["cancelled"]


@pytest.mark.parametrize("way", AWAYS)
async def test_an_async_generator_that_fails_is_an_error(way):
    problem = ValueError("broken")

    async def stream():
        yield 1
        raise problem

    gate = observing()
    safe = guard(stream if way == "astream" else lambda: stream(), name="tool", gate=gate)
    with pytest.raises(ValueError) as raised:
        await collect(safe())
    assert raised.value is problem
    assert statuses(gate) == ["error"]


async def test_a_returned_async_generator_is_one_of_the_same_name():
    _, _, safe = opened("agiven")
    stream = safe()
    assert isinstance(stream, types.AsyncGeneratorType)
    assert stream.__name__ == "astream"
    assert await collect(stream) == [0, 1, 2]


async def test_a_returned_async_generator_that_is_never_read_is_cancelled():
    gate, _, safe = opened("agiven")
    safe()
    gc.collect()
    assert statuses(gate) == ["cancelled"]


async def test_a_task_that_is_cancelled_between_two_items_cancels_the_stream():
    waiting = asyncio.Event()

    async def stream():
        yield 1
        waiting.set()
        await asyncio.Event().wait()

    gate = observing()
    task = asyncio.create_task(collect(guard(stream, gate=gate)()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(gate) == ["cancelled"]


# Other iterators.


class Reader:
    """An iterator with something beside it."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.closed = False
        self.status_code = 200

    def __iter__(self):
        return self

    def __next__(self):
        if not self.items:
            raise StopIteration
        return self.items.pop(0)

    def close(self):
        self.closed = True


class AReader:
    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.status_code = 200

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.items:
            raise StopAsyncIteration
        return self.items.pop(0)


def test_an_iterator_keeps_what_it_has_beside_its_items():
    gate, made = observing(), Reader([1, 2])
    stream = guard(lambda: made, name="tool", gate=gate)()
    assert isinstance(stream, collections.abc.Iterator)
    assert stream.status_code == 200
    assert next(stream) == 1
    stream.close()
    assert made.closed
    assert statuses(gate) == ["cancelled"]


@pytest.mark.parametrize(
    "make",
    [lambda: iter([1, 2]), lambda: map(int, "12"), lambda: zip([1, 2]), lambda: Reader([1, 2])],
    ids=["list", "map", "zip", "class"],
)
def test_an_iterator_settles_when_it_is_exhausted(make):
    gate = observing()
    stream = guard(make, name="tool", gate=gate)()
    assert statuses(gate) == []
    assert len(list(stream)) == 2
    assert statuses(gate) == ["ok"]


async def test_an_async_iterator_settles_when_it_is_exhausted_and_keeps_its_attributes():
    gate = observing()
    stream = guard(lambda: AReader([1, 2]), name="tool", gate=gate)()
    assert stream.status_code == 200
    assert await collect(stream) == [1, 2]
    assert statuses(gate) == ["ok"]


@pytest.mark.parametrize(
    "make",
    [lambda: io.StringIO("a\nb"), lambda: [1, 2], lambda: range(3), lambda: "text"],
    ids=["file", "list", "range", "text"],
)
def test_what_is_more_than_a_stream_is_a_result_like_any_other(make):
    gate = observing()
    made = make()
    assert guard(lambda: made, name="tool", gate=gate)() is made
    assert statuses(gate) == ["ok"]


def test_a_cursor_is_a_result_that_can_be_fetched_from():
    gate = observing()
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        query = guard(lambda sql: connection.execute(sql), name="query", gate=gate)
        cursor = query("SELECT 5")
        assert cursor.fetchall() == [(5,)]
    assert statuses(gate) == ["ok"]


# What the ledger keeps of a stream.


def test_of_a_long_stream_the_ledger_keeps_the_beginning_and_the_count():
    gate = observing()
    for _ in guard(lambda: iter(range(MAX_STREAMED + 500)), name="tool", gate=gate)():
        pass
    (result,) = results(gate)
    assert "$blob" in result or result["streamed"] == MAX_STREAMED + 500


def test_of_a_wide_stream_the_ledger_keeps_no_more_than_a_bound():
    gate = observing()
    item = "x" * (MAX_STREAMED_BYTES // 2)
    for _ in guard(lambda: iter([item] * 10), name="tool", gate=gate)():
        pass
    (result,) = results(gate)
    assert result["$blob"]["bytes"] <= MAX_STREAMED_BYTES


def test_an_item_is_recorded_as_it_was_when_it_came():
    gate = observing()
    for item in guard(lambda: iter([[1], [2]]), name="tool", gate=gate)():
        item.append("changed")
    assert results(gate) == [{"streamed": 2, "items": [[1], [2]]}]


# Awaitables.


async def test_a_coroutine_that_a_plain_function_gives_settles_when_it_is_awaited():
    async def work():
        return 5

    gate = observing()
    made = guard(lambda: work(), name="tool", gate=gate)()
    assert inspect.iscoroutine(made)
    assert made.__name__ == "work"
    assert statuses(gate) == []
    assert await made == 5
    assert statuses(gate) == ["ok"]
    assert results(gate) == [5]


async def test_such_a_coroutine_can_be_a_task():
    async def work():
        await asyncio.sleep(0)
        return 5

    gate = observing()
    assert await asyncio.create_task(guard(lambda: work(), name="tool", gate=gate)()) == 5
    assert statuses(gate) == ["ok"]


async def test_such_a_coroutine_that_fails_is_an_error():
    problem = ValueError("broken")

    async def work():
        raise problem

    gate = observing()
    with pytest.raises(ValueError) as raised:
        await guard(lambda: work(), name="tool", gate=gate)()
    assert raised.value is problem
    assert statuses(gate) == ["error"]


def test_such_a_coroutine_that_is_forgotten_is_cancelled_and_warned_about_once():
    async def work():
        return 5

    gate = observing()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        guard(lambda: work(), name="tool", gate=gate)()
        gc.collect()
    assert [str(each.message) for each in caught] == [
        f"coroutine '{work.__qualname__}' was never awaited"
    ]
    # A warning that is kept keeps the coroutine, too.
    caught.clear()
    gc.collect()
    assert statuses(gate) == ["cancelled"]


def test_such_a_coroutine_that_is_closed_is_cancelled():
    async def work():
        return 5

    gate = observing()
    guard(lambda: work(), name="tool", gate=gate)().close()
    assert statuses(gate) == ["cancelled"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda future: future.set_result(5), "ok"),
        (lambda future: future.set_exception(ValueError("x")), "error"),
        (lambda future: future.cancel(), "cancelled"),
    ],
)
async def test_a_future_stays_itself_and_settles_when_it_is_done(end, status):
    gate = observing()
    future = asyncio.get_running_loop().create_future()
    assert guard(lambda: future, name="tool", gate=gate)() is future
    assert statuses(gate) == []
    end(future)
    await asyncio.wait([future])
    assert statuses(gate) == [status]


async def test_a_task_that_is_returned_settles_when_it_is_done():
    async def work():
        return 5

    gate = observing()
    made = guard(lambda: asyncio.create_task(work()), name="tool", gate=gate)()
    assert await made == 5
    assert statuses(gate) == ["ok"]


async def test_another_awaitable_keeps_what_it_has_beside():
    class Request:
        url = "https://example.com"

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return 5

    gate = observing()
    made = guard(lambda: Request(), name="tool", gate=gate)()
    assert made.url == "https://example.com"
    assert await made == 5
    assert statuses(gate) == ["ok"]


# Finalizers.


class Collecting:
    """Work for the store that forgets a stream in the middle of its own commit."""

    def __init__(self, held: list[Any]) -> None:
        self.held = held

    def apply(self, _: Any) -> None:
        self.held.clear()
        gc.collect()


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_is_forgotten_in_the_middle_of_a_commit_blocks_nothing(way):
    gate, _, safe = opened(way)
    stream = safe()
    next(stream)
    held = [stream]
    held.append(held)
    del stream
    gate.store.commit(Collecting(held))
    assert statuses(gate) == ["cancelled"]


def test_a_stream_that_outlives_its_store_ends_quietly():
    gate, _, safe = opened("given")
    stream = safe()
    next(stream)
    gate.store.close()
    del stream
    gc.collect()


def test_streams_settle_under_a_policy_as_without_one():
    gate = enforcing()
    log = Log()
    assert list(guard(log.stream, gate=gate)(2)) == [0, 1]
    assert statuses(gate) == ["ok"]
