"""`guard`: one wrap around a tool, after which it cannot be called past the gate.

What comes back looks like what went in: a function stays a function of the same name,
signature and kind, an object keeps its other attributes, a list stays a list. What does not
come back is a way to the raw tool: no `__wrapped__`, no bound original, no entry point that
was forgotten.

A call is bound by name and taken down (`binding`), checked by the gate, run with the very
values that were decided on, and settled whatever comes of it: a result, an exception, a
cancellation, or a stream that is read to its end, closed or forgotten.
"""

import asyncio
import functools
import inspect
import io
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

import msgspec

from saferun import run
from saferun.approval import Channel
from saferun.binding import IDEMPOTENCY, Binding
from saferun.call import Call, Decision, Outcome, Status
from saferun.errors import ConfigError, denial
from saferun.gate import Gate, gate_for
from saferun.policy import Policy

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OnDeny = Literal["raise", "return"]

ENTRIES = (
    *("__call__", "execute", "aexecute", "invoke", "ainvoke", "run", "arun", "_run", "_arun"),
    *("call", "acall", "_call", "_acall", "forward", "aforward", "func", "coroutine", "fn"),
    *("batch", "abatch", "batch_as_completed", "abatch_as_completed", "stream", "astream"),
    *("astream_events", "astream_log", "transform", "atransform", "on_invoke_tool", "run_json"),
)
"""Every name by which frameworks are known to enter a tool object."""

MAX_STREAMED = 1_000
"""Items of a stream that are kept for the ledger; the rest is counted."""


@overload
def guard(
    tool: T,
    *,
    policy: str | Policy | None = ...,
    approval: str | Channel | None = ...,
    name: str | None = ...,
    on_deny: Literal["raise"] = ...,
    gate: Gate | None = ...,
) -> T: ...
@overload
def guard(
    tool: Callable[P, Coroutine[Any, Any, R]],
    *,
    policy: str | Policy | None = ...,
    approval: str | Channel | None = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    gate: Gate | None = ...,
) -> Callable[P, Coroutine[Any, Any, R | str]]: ...
@overload
def guard(
    tool: Callable[P, R],
    *,
    policy: str | Policy | None = ...,
    approval: str | Channel | None = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    gate: Gate | None = ...,
) -> Callable[P, R | str]: ...
@overload
def guard(
    *,
    policy: str | Policy | None = ...,
    approval: str | Channel | None = ...,
    name: str | None = ...,
    on_deny: Literal["raise"] = ...,
    gate: Gate | None = ...,
) -> Callable[[T], T]: ...
@overload
def guard(
    *,
    policy: str | Policy | None = ...,
    approval: str | Channel | None = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    gate: Gate | None = ...,
) -> Callable[[Callable[P, R]], Callable[P, R | str]]: ...
def guard(
    tool: Any = None,
    *,
    policy: str | Policy | None = None,
    approval: str | Channel | None = None,
    name: str | None = None,
    on_deny: OnDeny = "raise",
    gate: Gate | None = None,
) -> Any:
    """Put a tool behind the gate.

    Usable as `guard(tool, policy="production")`, as `@guard` and as `@guard(...)`.

    Args:
        tool: a function, a coroutine function, a generator function of either kind, a method,
            a callable object, an object with `execute`, `invoke`, `run` or another known
            entry, or a list of any of these.
        policy: the name of a policy, the path of its file, or a loaded one; `policy` of the
            configuration by default. With none at all, calls are recorded and not denied.
        approval: the channel by which people are asked; that of the configuration by default.
        name: the tool's name in policies and in the ledger; its own name by default.
        on_deny: `raise` raises `Denied`; `return` gives back `decision.for_model` as the
            tool's result, for agents that read what their tools say.
        gate: a gate of one's own instead of `policy` and `approval`.

    Raises:
        PolicyError: the policy cannot be found or used.
        ConfigError: `gate` and others are given together, or the configuration is wrong.
        TypeError: this cannot be guarded, with the reason.

    """
    if gate is not None and (policy is not None or approval is not None):
        raise ConfigError("guard takes either a gate, or policy and approval for one of its own")
    if on_deny not in ("raise", "return"):
        raise ConfigError(f"on_deny is 'raise' or 'return', not {on_deny!r}")
    through = gate if gate is not None else gate_for(policy, approval)
    if tool is None:
        return functools.partial(_guarded, gate=through, name=name, on_deny=on_deny)
    return _guarded(tool, gate=through, name=name, on_deny=on_deny)


def _guarded(tool: Any, *, gate: Gate, name: str | None, on_deny: OnDeny) -> Any:
    if isinstance(tool, list):
        if name is not None:
            raise TypeError("a list of tools has no one name; give each its own with guard(tool)")
        return [_guarded(each, gate=gate, name=None, on_deny=on_deny) for each in tool]
    if getattr(type(tool), "__saferun__", False) or getattr(tool, "__saferun__", False) is True:
        raise TypeError(f"{_name_of(tool)} is guarded already; a call is decided once")
    if isinstance(tool, type):
        raise TypeError(f"{tool.__qualname__} is a class; guard an instance of it, or its methods")
    if isinstance(tool, staticmethod | classmethod | property):
        raise TypeError(f"put @guard below @{type(tool).__name__}, next to the function itself")
    named = name or _name_of(tool)
    if inspect.isroutine(tool) or isinstance(tool, functools.partial):
        return _function(_Tool(tool, named, gate, on_deny, receiver=_is_method(tool)), tool)
    return _object(tool, named, gate, on_deny)


def _name_of(tool: Any) -> str:
    if isinstance(tool, functools.partial):
        return _name_of(tool.func)
    for attribute in ("name", "__name__"):
        found = getattr(tool, attribute, None)
        if isinstance(found, str) and found:
            return found
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(tool).__name__).lower()


def _is_method(tool: Any) -> bool:
    """Whether this is a function in a class body, whose first parameter is no argument."""
    if not inspect.isfunction(tool):
        return False
    owner = tool.__qualname__.rpartition(".")[0]
    if not owner or owner.endswith("<locals>"):
        return False
    first = next(iter(inspect.signature(tool).parameters), None)
    return first in ("self", "cls")


class _Tool:
    """One raw entry and everything that a call of it needs."""

    __slots__ = ("_on_deny", "binding", "gate", "name", "raw", "receiver")

    def __init__(
        self,
        raw: Callable[..., Any],
        name: str,
        gate: Gate,
        on_deny: OnDeny,
        *,
        receiver: bool = False,
    ) -> None:
        self.raw = raw
        self.name = name
        self.gate = gate
        self.receiver = receiver
        self.binding = Binding(raw, receiver=receiver)
        self._on_deny = on_deny

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Ready":
        """Take one call down."""
        before, args = (args[:1], args[1:]) if self.receiver else ((), args)
        bound = self.binding.bind(args, kwargs, self.gate.opaque(self.name))
        within = run.current()
        if within is not None and within.recorder is None:
            within.recorder = self.gate
        call = Call(
            tool=self.name,
            args=bound.plain,
            run=within.ref if within is not None else None,
            defaulted=bound.defaulted,
            opaque=bound.opaque,
            problems=bound.problems,
        )
        return _Ready(self, call, before, bound.live)

    def refused(self, decision: Decision) -> str:
        """The sentence for the model, where that is what a denial gives; raises otherwise."""
        if self._on_deny == "raise":
            raise denial(decision) from None
        return decision.for_model


_ABSENT = object()


class _Ready:
    """One call that has been taken down: to be checked, and then run as decided."""

    __slots__ = ("_before", "_live", "_tool", "call")

    def __init__(
        self, tool: _Tool, call: Call, before: tuple[Any, ...], live: dict[str, Any]
    ) -> None:
        self._tool = tool
        self.call = call
        self._before = before
        self._live = live

    def check(self) -> Decision:
        decision = self._tool.gate.check(self.call)
        while decision.starts and time.monotonic() > decision.start_by:
            # The process slept between the decision and here; what was decided then is stale.
            self._tool.gate.settle(decision, Outcome(status="not_started"))
            decision = self._tool.gate.check(self.call)
        return decision

    async def acheck(self) -> Decision:
        decision = await self._tool.gate.acheck(self.call)
        while decision.starts and time.monotonic() > decision.start_by:
            await self._tool.gate.asettle(decision, Outcome(status="not_started"))
            decision = await self._tool.gate.acheck(self.call)
        return decision

    def run(self, decision: Decision) -> Any:
        """Call the raw tool with what was decided on, and with nothing else."""
        live = self._live
        if decision.modified:
            live = {
                name: live[name] if self.call.args.get(name, _ABSENT) is value else value
                for name, value in decision.args.items()
            } | {name: live[name] for name in self.call.opaque}
        args, kwargs = self._tool.binding.places(live)
        if self._tool.binding.takes_key:
            kwargs[IDEMPOTENCY] = decision.idempotency_key
        return self._tool.raw(*self._before, *args, **kwargs)


class _Attempt:
    """The tool's run between admission and settlement, as a block of either kind.

    Leaving the block settles the call by how it was left. A result that is still to come (a
    stream, an awaitable) takes the settling along: then the block's end is not the call's.
    """

    __slots__ = ("_began", "_decision", "_gate", "result", "settles_later")

    def __init__(self, gate: Gate, decision: Decision) -> None:
        self._gate = gate
        self._decision = decision
        self._began = time.perf_counter_ns()
        self.result: Any = None
        self.settles_later = False

    def settle(self, error: BaseException | None = None) -> None:
        self._gate.settle(self._decision, self._outcome(error))

    async def asettle(self, error: BaseException | None = None) -> None:
        await self._gate.asettle(self._decision, self._outcome(error))

    def _outcome(self, error: BaseException | None) -> Outcome:
        latency = (time.perf_counter_ns() - self._began) // 1000
        if error is None:
            return Outcome(status="ok", result=self.result, latency=latency)
        said = f"{type(error).__name__}: {_said(error)}"
        return Outcome(status=_status(error), error=said, latency=latency)

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
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
        return "cancelled"
    return "error"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose own text fails
        return "(its text cannot be read)"


# The four kinds of function, each as the language has it, so that whoever looks finds the kind
# that went in.


def _function(tool: _Tool, like: Any) -> Any:
    if inspect.isasyncgenfunction(tool.raw):
        wrapper = _async_stream(tool)
    elif inspect.iscoroutinefunction(tool.raw):
        wrapper = _coroutine(tool)
    elif inspect.isgeneratorfunction(tool.raw):
        wrapper = _stream(tool)
    else:
        wrapper = _plain(tool)
    functools.update_wrapper(wrapper, like)
    # `update_wrapper` leaves the raw tool under this name, and copies what else hung on it.
    del wrapper.__wrapped__
    for entry in ENTRIES:
        wrapper.__dict__.pop(entry, None)
    wrapper.__name__ = getattr(like, "__name__", tool.name)
    wrapper.__signature__ = tool.binding.signature
    wrapper.__saferun__ = True
    return wrapper


def _plain(tool: _Tool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = ready.check()
        if not decision.starts:
            return tool.refused(decision)
        with _Attempt(tool.gate, decision) as attempt:
            attempt.result = ready.run(decision)
            return _still_to_come(attempt)

    return call


def _coroutine(tool: _Tool) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = await ready.acheck()
        if not decision.starts:
            return tool.refused(decision)
        async with _Attempt(tool.gate, decision) as attempt:
            attempt.result = await ready.run(decision)
            return _still_to_come(attempt)

    return call


def _stream(tool: _Tool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = ready.check()
        if not decision.starts:
            yield tool.refused(decision)
            return None
        with _Attempt(tool.gate, decision) as attempt:
            attempt.result = ready.run(decision)
            source = _still_to_come(attempt)
        return (yield from source)

    return call


def _async_stream(tool: _Tool) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = await ready.acheck()
        if not decision.starts:
            yield tool.refused(decision)
            return
        async with _Attempt(tool.gate, decision) as attempt:
            attempt.result = ready.run(decision)
            source = _still_to_come(attempt)
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

    return call


# Results that are still to come: the function has returned, the call has not ended.


def _still_to_come(attempt: _Attempt) -> Any:
    result = attempt.result
    if isinstance(result, AsyncIterator):
        attempt.settles_later = True
        return _AsyncStream(result, attempt)
    # A file reads as an iterator and is much more than that; it is a result like any other.
    if isinstance(result, Iterator) and not isinstance(result, io.IOBase):
        attempt.settles_later = True
        return _Stream(result, attempt)
    if inspect.isawaitable(result):
        attempt.settles_later = True
        return _awaited(result, attempt)
    return result


async def _awaited(pending: Awaitable[Any], attempt: _Attempt) -> Any:
    attempt.settles_later = False
    async with attempt:
        attempt.result = await pending
        return attempt.result


class _Streamed(msgspec.Struct):
    """What the ledger keeps of a stream: how many items came, and the first of them."""

    streamed: int = 0
    items: list[Any] = []

    def add(self, item: Any) -> None:
        self.streamed += 1
        if self.streamed <= MAX_STREAMED:
            self.items.append(item)


class _Source:
    """A stream on its way to the caller, and the end of the call that gave it.

    Settled once: when it is exhausted, fails, is closed, or is forgotten by everybody.
    """

    def __init__(self, source: Any, attempt: _Attempt) -> None:
        self._source = source
        self._attempt = attempt
        self._kept = attempt.result = _Streamed()
        self._open = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def _ends(self) -> bool:
        """Whether this is the end: True for one caller only."""
        was, self._open = self._open, False
        return was

    def __del__(self) -> None:
        # From a finalizer nothing may be waited for, and a cancelled outcome never is.
        if self._ends():
            self._attempt.settle(GeneratorExit("forgotten before its end"))


class _Stream(_Source, Iterator[Any]):
    def __next__(self) -> Any:
        return self._step(self._source.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._source.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._source.throw, *error)

    def close(self) -> None:
        if hasattr(self._source, "close"):
            self._source.close()
        if self._ends():
            self._attempt.settle(GeneratorExit("closed before its end"))

    def _step(self, advance: Callable[..., Any], *values: Any) -> Any:
        try:
            item = advance(*values)
        except StopIteration:
            if self._ends():
                self._attempt.settle()
            raise
        except BaseException as problem:
            if self._ends():
                self._attempt.settle(problem)
            raise
        self._kept.add(item)
        return item


class _AsyncStream(_Source, AsyncIterator[Any]):
    async def __anext__(self) -> Any:
        return await self._step(self._source.__anext__)

    async def asend(self, value: Any) -> Any:
        if value is None:
            return await anext(self)
        return await self._step(self._source.asend, value)

    async def athrow(self, *error: Any) -> Any:
        return await self._step(self._source.athrow, *error)

    async def aclose(self) -> None:
        if hasattr(self._source, "aclose"):
            await self._source.aclose()
        if self._ends():
            self._attempt.settle(GeneratorExit("closed before its end"))

    async def _step(self, advance: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        try:
            item = await advance(*values)
        except StopAsyncIteration:
            if self._ends():
                await self._attempt.asettle()
            raise
        except BaseException as problem:
            if self._ends():
                await self._attempt.asettle(problem)
            raise
        self._kept.add(item)
        return item


# Objects.


def _object(tool: Any, name: str, gate: Gate, on_deny: OnDeny) -> Any:
    """A stand-in for a tool object: every way in is guarded, everything else is the object's."""
    guarded: dict[str, Any] = {}
    for entry in ENTRIES:
        raw = getattr(tool, entry, None)
        if entry == "__call__":
            raw = raw if callable(tool) else None
        if callable(raw):
            guarded[entry] = _function(_Tool(raw, name, gate, on_deny), raw)
    if not guarded:
        raise TypeError(
            f"{type(tool).__qualname__} has none of the entries of a tool (execute, invoke, run, "
            "__call__, ...); guard the function or method that acts"
        )

    class Guarded:
        __slots__ = ()
        __saferun__ = True
        # For `isinstance` checks of frameworks. The object itself is reachable through
        # nothing but the entries above and its own further attributes.
        __class__ = type(tool)

        def __getattribute__(self, wanted: str) -> Any:
            if wanted in guarded:
                return guarded[wanted]
            if wanted in ("__class__", "__saferun__"):
                return object.__getattribute__(self, wanted)
            found = getattr(tool, wanted)
            if getattr(found, "__self__", None) is tool and not wanted.startswith("__"):
                # A bound method would hand the raw object out as its `__self__`.
                return _unbound(found)
            return found

        def __setattr__(self, wanted: str, value: Any) -> None:
            if wanted in guarded:
                raise AttributeError(f"{wanted} of {name} is guarded; it cannot be replaced")
            setattr(tool, wanted, value)

        def __dir__(self) -> list[str]:
            return dir(tool)

        def __repr__(self) -> str:
            return f"<guarded {tool!r}>"

    if "__call__" in guarded:
        call = guarded["__call__"]
        setattr(Guarded, "__call__", lambda _, *args, **kwargs: call(*args, **kwargs))  # noqa: B010 - mypy takes the plain form for a mistake
    Guarded.__name__ = Guarded.__qualname__ = type(tool).__name__
    return Guarded()


def _unbound(method: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return call
