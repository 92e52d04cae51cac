"""The tool's run between admission and settlement, and results that are still to come.

A tool that has returned has not always ended: a generator, an iterator, a coroutine or a
future goes on after it. Such a result takes the settling of its call along, wherever it
goes, and settles it once: when it is exhausted, fails, is closed, or is forgotten by
everybody.
"""

import inspect
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from saferun import redact
from saferun.call import Decision, Outcome, Status
from saferun.errors import Denied
from saferun.plain import encode_result
from saferun.run import AtWork
from saferun.waiting import Apart, OverdueError, awaited_within

if TYPE_CHECKING:
    # Imported where it is used: a program without a loop shall not wait for it.
    from asyncio import Future

MAX_STREAMED = 1_000
"""Items of a stream that are kept for the ledger; the rest is counted."""

MAX_STREAMED_BYTES = 64 * 1024
"""Bytes of JSON of a stream that are kept for the ledger."""


class Settles(Protocol):
    """Where the end of a call goes: its gate, or what answers in its place."""

    def settle(self, decision: Decision, outcome: Outcome) -> None: ...

    def asettle(self, decision: Decision, outcome: Outcome) -> Awaitable[None]: ...


class Attempt:
    """One start of a tool, as a block of either kind.

    Leaving the block settles the call by how it was left, unless the result has taken the
    settling along: then the block's end is not the call's.
    """

    __slots__ = (
        *("_apart", "_decision", "_gate"),
        *("at_work", "began", "busy", "result", "settles_later"),
    )

    def __init__(self, gate: Settles, decision: Decision) -> None:
        self._gate = gate
        self._decision = decision
        self.began = time.perf_counter_ns()
        self._apart = False
        self.at_work = AtWork(decision.seq)
        self.result: Any = None
        self.settles_later = False
        # Nanoseconds that a stream has worked: whoever reads it slowly is not its doing.
        self.busy: int | None = None

    def run(self, call: Callable[[], Any]) -> None:
        """Have the tool run, in the time that it is given, and keep its result."""
        seconds = self._decision.timeout
        if seconds is None:
            with self.at_work:
                self.result = call()
            return
        # Whoever interrupts the wait does not interrupt the tool.
        with self.at_work:
            apart = Apart(call)
        try:
            self.result = apart.result(seconds)
        finally:
            self._apart = not apart.over

    async def wait(self, source: Awaitable[Any]) -> None:
        """Wait for what the tool has begun, in the time that it is given, and keep the result."""
        seconds = self._decision.timeout
        with self.at_work:
            self.result = await source if seconds is None else await awaited_within(seconds, source)

    def settle(self, error: BaseException | None = None) -> None:
        self._gate.settle(self._decision, self._outcome(error))

    async def asettle(self, error: BaseException | None = None) -> None:
        await self._gate.asettle(self._decision, self._outcome(error))

    def _outcome(self, error: BaseException | None) -> Outcome:
        spent = time.perf_counter_ns() - self.began if self.busy is None else self.busy
        latency = spent // 1000
        if error is None:
            return Outcome(status="ok", result=self.result, latency=latency)
        said = f"{type(error).__name__}: {_said(error)}"
        status = _status(error)
        if not self._decision.idempotent and (isinstance(error, OverdueError) or self._apart):
            # It may have done its work or not, and must not be made again by itself.
            status = "unknown"
        # A call that it made itself and that was denied says nothing of the tool.
        return Outcome(
            status=status,
            # Of a stream, what it has given until then.
            result=None if self.busy is None else self.result,
            error=said,
            latency=latency,
            blameless=isinstance(error, Denied),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None or not self.settles_later:
            self.settle(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None or not self.settles_later:
            await self.asettle(error)


def _status(error: BaseException) -> Status:
    if isinstance(error, TimeoutError):
        return "timeout"
    # Cancellations, interrupts and closed generators are not Exceptions, and nothing else is not.
    return "error" if isinstance(error, Exception) else "cancelled"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - an exception whose own text fails
        return "(its text cannot be read)"


_WHOLE = frozenset((type(None), bool, int, float, str, bytes, list, dict, tuple))
"""What most tools give, spared the questions whether something of it is still to come."""


def returned(attempt: Attempt) -> Any:
    """The result for the caller: as it is, or as one that settles the call at its own end.

    Generators and coroutines stay what they are, for whoever asks what they are.
    """
    result = attempt.result
    # Asked of its type alone: a result may answer for itself whatever it likes, or raise.
    kind = type(result)
    if kind in _WHOLE:
        return result
    if issubclass(kind, AsyncIterator) and not hasattr(kind, "__aenter__"):
        stream = async_stream(attempt)
        return _named(_relayed(stream), result) if inspect.isasyncgen(result) else stream
    if _is_stream(kind):
        source = (_Generator if issubclass(kind, Generator) else _Stream)(result, attempt)
        return _named(_generated(source), result) if inspect.isgenerator(result) else source
    if issubclass(kind, CoroutineType):
        return _named(_awaited(_Held(result, attempt)), result)
    if issubclass(kind, Awaitable):
        from asyncio import isfuture

        return _watched(result, attempt) if isfuture(result) else _Awaitable(result, attempt)
    return result


def async_stream(attempt: Attempt) -> AsyncIterator[Any]:
    """The asynchronous iterator that an attempt has given, settling it at its end."""
    kind = _AsyncGenerator if isinstance(attempt.result, AsyncGenerator) else _AsyncStream
    return kind(attempt.result, attempt)


def relaying(begin: Callable[..., Awaitable[Any]]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """An asynchronous generator function that hands on what `begin` gives: `yield from`."""

    async def relay(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        source = await begin(*args, **kwargs)
        try:
            item = await anext(source)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # noqa: BLE001 - it is the tool's to catch
                    item = await source.athrow(thrown)
                else:
                    item = await source.asend(sent)
        except StopAsyncIteration:
            return
        finally:
            await source.aclose()

    return relay


async def _itself(source: Any) -> Any:
    return source


_relayed = relaying(_itself)


def _generated(source: Any) -> Generator[Any, Any, Any]:
    return (yield from source)


def _named(wrapper: Any, like: Any) -> Any:
    """A wrapper under the name that warnings and tracebacks give the original."""
    wrapper.__name__, wrapper.__qualname__ = like.__name__, like.__qualname__
    return wrapper


def _is_stream(kind: type[Any]) -> bool:
    # A file or a database cursor can be iterated over and is much more than that: what the
    # tool did is done when it returns one.
    return (
        issubclass(kind, Iterator)
        and not issubclass(kind, io.IOBase)
        and not hasattr(kind, "fetchone")
        and not hasattr(kind, "__enter__")
    )


def _watched(future: "Future[Any]", attempt: Attempt) -> "Future[Any]":
    """A future is its loop's and stays itself; the call ends when it does."""
    from asyncio import CancelledError

    attempt.settles_later = True

    def done(future: "Future[Any]") -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            attempt.result = future.result()
        attempt.settle(error)

    future.add_done_callback(done)
    return future


class _Held:
    """A result on its way to the caller, and with it the end of the call that gave it.

    Every way in which it can end settles the call; the gate sees to it that the first counts.
    """

    def __init__(self, source: Any, attempt: Attempt) -> None:
        attempt.settles_later = True
        self._source = source
        self._attempt = attempt

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__.get("_source"), name)

    def __del__(self) -> None:
        if inspect.iscoroutine(self._source):
            self._source.close()
        # From a finalizer nothing may be waited for, and a cancelled outcome never is.
        self._over().settle(GeneratorExit("forgotten before its end"))

    def _over(self) -> Attempt:
        """The call, which has its end now."""
        return self._attempt


class _Awaitable(_Held, Awaitable[Any]):
    """An awaitable that is no coroutine: it keeps what else it can do."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return _awaited(self).__await__()


async def _awaited(held: _Held) -> Any:
    attempt, source = held._attempt, held._source  # noqa: SLF001 - one thing in two forms
    attempt.settles_later = False
    async with attempt:
        await attempt.wait(source)
        return attempt.result


class _Kept:
    """What the ledger keeps of a stream: how many items came, and the first of them."""

    def __init__(self) -> None:
        self._count = 0
        self._left = MAX_STREAMED_BYTES
        self._items: list[msgspec.Raw] = []
        self._texts: list[str] = []

    def add(self, item: Any) -> None:
        self._count += 1
        if self._left <= 0 or self._count > MAX_STREAMED:
            return
        # Taken down at once: the caller may go on to change it.
        data = encode_result(item)
        self._left -= len(data)
        if self._left > 0:
            self._items.append(msgspec.Raw(data))
            if isinstance(item, str):
                self._texts.append(item)

    def record(self) -> dict[str, Any]:
        items: list[Any] = self._items
        if len(self._texts) == len(items):
            # A model's answer comes in pieces, and so does a secret in it.
            whole = "".join(self._texts)
            clean = redact.text(whole)
            if clean != whole:
                items = [clean]
        return {"streamed": self._count, "items": items}


class _Steps(_Held):
    """A stream: something that gives items until it ends."""

    def __init__(self, source: Any, attempt: Attempt) -> None:
        super().__init__(source, attempt)
        self._kept = _Kept()
        self._told: dict[str, Any] | None = None
        attempt.busy = time.perf_counter_ns() - attempt.began

    def _worked(self, began: int) -> None:
        assert self._attempt.busy is not None
        self._attempt.busy += time.perf_counter_ns() - began

    def _over(self) -> Attempt:
        if self._told is None:
            # Once: whoever has read it to its end forgets it later.
            self._told = self._attempt.result = self._kept.record()
        return self._attempt


class _Stream(_Steps, Iterator[Any]):
    def __next__(self) -> Any:
        return self._step(self._source.__next__)

    def close(self) -> None:
        try:
            if hasattr(self._source, "close"):
                self._source.close()
        except BaseException as problem:
            self._over().settle(problem)
            raise
        self._over().settle(GeneratorExit("closed before its end"))

    def _step(self, advance: Callable[..., Any], *values: Any) -> Any:
        began = time.perf_counter_ns()
        try:
            with self._attempt.at_work:
                item = advance(*values)
        except StopIteration:
            self._worked(began)
            self._over().settle()
            raise
        except BaseException as problem:
            self._worked(began)
            self._over().settle(problem)
            raise
        self._worked(began)
        self._kept.add(item)
        return item


class _Generator(_Stream, Generator[Any, Any, Any]):
    def send(self, value: Any) -> Any:
        return self._step(self._source.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._source.throw, *error)


class _AsyncStream(_Steps, AsyncIterator[Any]):
    async def __anext__(self) -> Any:
        return await self._step(self._source.__anext__)

    async def aclose(self) -> None:
        try:
            if hasattr(self._source, "aclose"):
                await self._source.aclose()
        except BaseException as problem:
            await self._over().asettle(problem)
            raise
        await self._over().asettle(GeneratorExit("closed before its end"))

    async def _step(self, advance: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        began = time.perf_counter_ns()
        try:
            with self._attempt.at_work:
                item = await advance(*values)
        except StopAsyncIteration:
            self._worked(began)
            await self._over().asettle()
            raise
        except BaseException as problem:
            self._worked(began)
            await self._over().asettle(problem)
            raise
        self._worked(began)
        self._kept.add(item)
        return item


class _AsyncGenerator(_AsyncStream, AsyncGenerator[Any, Any]):
    async def asend(self, value: Any) -> Any:
        return await self._step(self._source.asend, value)

    async def athrow(self, *error: Any) -> Any:
        return await self._step(self._source.athrow, *error)
