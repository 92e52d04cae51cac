"""`guard`: one wrap around a tool, after which it cannot be called past the gate.

What comes back looks like what went in: a function stays a function of the same name,
signature and kind, an object keeps its other attributes, a list stays a list. What does not
come back is a way to the raw tool: no `__wrapped__`, no bound original, no entry point that
was forgotten.

A call is bound by name and taken down (`binding`), checked by the gate, run with the very
values that were decided on, and settled whatever comes of it (`attempt`).
"""

import functools
import inspect
import re
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
)
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary, WeakSet

import msgspec

from saferun import function, run
from saferun.attempt import Attempt, async_stream, relaying, returned
from saferun.binding import Binding
from saferun.call import Call, Decision, FunctionRef, Outcome, Reason, canonical
from saferun.errors import ApprovalPending, ConfigError, denial
from saferun.gate import Gate, Ways, configured, gate_for
from saferun.inquiry import Check, Recovered
from saferun.plain import NotPlainError, take_down
from saferun.policy import Policy
from saferun.recall import Answers
from saferun.recalled import Recalled
from saferun.standin import ENTRIES, stand_in
from saferun.waiting import aside

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

OnDeny = Literal["raise", "return"]
OnAsk = Literal["wait", "suspend"]

MAX_WAIT = 3_600.0
"""Seconds that a call can be held back at most."""

MAX_NAME = 200
"""Characters of a tool's name: it is a key in policies and stands in every entry."""


class _Returning(Protocol):
    """What guards a tool so that a denial is its result: a sentence among its results."""

    @overload
    def __call__(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | str]]: ...
    @overload
    def __call__(
        self, tool: Callable[P, AsyncGenerator[R, S]], /
    ) -> Callable[P, AsyncGenerator[R | str, S]]: ...
    @overload
    def __call__(
        self, tool: Callable[P, AsyncIterator[R]], /
    ) -> Callable[P, AsyncIterator[R | str]]: ...
    @overload
    def __call__(
        self, tool: Callable[P, Generator[R, S, T]], /
    ) -> Callable[P, Generator[R | str, S, T | None]]: ...
    @overload
    def __call__(self, tool: Callable[P, Iterator[R]], /) -> Callable[P, Iterator[R | str]]: ...
    @overload
    def __call__(self, tool: Callable[P, R], /) -> Callable[P, R | str]: ...
    @overload
    def __call__(self, tool: T, /) -> T: ...


@overload
def guard(
    tool: T,
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["raise"] = ...,
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> T: ...
@overload
def guard(
    tool: Callable[P, Coroutine[Any, Any, R]],
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[P, Coroutine[Any, Any, R | str]]: ...
@overload
def guard(
    tool: Callable[P, AsyncGenerator[R, S]],
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[P, AsyncGenerator[R | str, S]]: ...
@overload
def guard(
    tool: Callable[P, AsyncIterator[R]],
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[P, AsyncIterator[R | str]]: ...
@overload
def guard(
    tool: Callable[P, Generator[R, S, T]],
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[P, Generator[R | str, S, T | None]]: ...
@overload
def guard(
    tool: Callable[P, Iterator[R]],
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[P, Iterator[R | str]]: ...
@overload
def guard(
    tool: Callable[P, R],
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[P, R | str]: ...
@overload
def guard(
    tool: T,
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> T: ...
@overload
def guard(
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["raise"] = ...,
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> Callable[[T], T]: ...
@overload
def guard(
    *,
    policy: str | Policy | None = ...,
    approval: Ways = ...,
    name: str | None = ...,
    on_deny: Literal["return"],
    on_ask: OnAsk = ...,
    wait: float = ...,
    verify: Check | None = ...,
    gate: Gate | None = ...,
) -> _Returning: ...
def guard(
    tool: Any = None,
    *,
    policy: str | Policy | None = None,
    approval: Ways = None,
    name: str | None = None,
    on_deny: OnDeny = "raise",
    on_ask: OnAsk = "wait",
    wait: float = 0.0,
    verify: Check | None = None,
    gate: Gate | None = None,
) -> Any:
    """Put a tool behind the gate.

    Usable as `guard(tool, policy="production")`, as `@guard` and as `@guard(...)`.

    Args:
        tool: a function, a coroutine function, a generator function of either kind, a method,
            a callable object, an object with `execute`, `invoke`, `run` or another known
            entry, or a list of any of these.
        policy: the name of a policy, the path of its file, or a loaded one; `policy` of the
            configuration by default. With none at all, calls are recorded, and only loops,
            breakers and stop switches deny any.
        approval: the channel by which people are asked, or several; those of the configuration
            by default.
        name: the tool's name in policies and in the ledger; its own name by default.
        on_deny: `raise` raises `Denied`; `return` gives back `decision.for_model` as the
            tool's result, for agents that read what their tools say. What a control has to tell
            the model beside a result then stands below it, where the result is a text.
        on_ask: `wait` waits for people where they have to be asked. `suspend` raises
            `ApprovalPending` at once, and the call is made later by `saferun.resume`, in this
            process or another.
        wait: how many seconds a call may be held back where a limit with `on_limit: defer` has
            no room for it yet; 0, the default, has `Deferred` raised at once. Whoever calls is
            kept waiting for as long, a task without blocking the others.
        verify: the tool's own check of whether a call has happened of which nobody knows, as
            after a crash: it takes the arguments as a dict and the idempotency key, and answers
            True, False (it has not and never will) or None (nobody can tell), within 30
            seconds. It never runs the tool. A plain function; for a tool that is awaited, a
            coroutine function too. It is asked where a framework makes the same call again, and
            by `saferun.recover`.
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
    if on_ask not in ("wait", "suspend"):
        raise ConfigError(f"on_ask is 'wait' or 'suspend', not {on_ask!r}")
    if not 0 <= wait <= MAX_WAIT:
        raise ConfigError(f"wait is from 0 to {MAX_WAIT:g} seconds, not {wait!r}")
    through = gate if gate is not None else gate_for(policy, approval)
    if tool is None:
        return functools.partial(
            _guarded, gate=through, name=name, how=_How(on_deny, on_ask, wait, verify)
        )
    return _guarded(tool, gate=through, name=name, how=_How(on_deny, on_ask, wait, verify))


class _How(NamedTuple):
    """How calls of a tool go: what a denial and a question give, and what else `guard` takes."""

    on_deny: OnDeny
    on_ask: OnAsk
    wait: float
    verify: Check | None


def _guarded(tool: Any, *, gate: Gate, name: str | None, how: _How) -> Any:
    verify = how.verify
    if isinstance(tool, list):
        if name is not None:
            raise TypeError("a list of tools has no one name; give each its own with guard(tool)")
        if verify is not None:
            raise TypeError("a list of tools has no one check; give each its own with guard(tool)")
        return [_guarded(each, gate=gate, name=None, how=how) for each in tool]
    if isinstance(tool, type):
        raise TypeError(f"{tool.__qualname__} is a class; guard an instance of it, or its methods")
    if isinstance(tool, staticmethod | classmethod | property):
        raise TypeError(f"put @guard below @{type(tool).__name__}, next to the function itself")
    named = name if name is not None else _name_of(tool)
    if not (0 < len(named) <= MAX_NAME and named.isprintable()):
        raise TypeError(f"a tool's name is 1 to {MAX_NAME} printable characters; give it another")

    def enter(raw: Any) -> Any:
        if _is_guarded(raw):
            raise TypeError(f"{named} is guarded already; a call is decided once")
        streams = inspect.isgeneratorfunction(raw) or inspect.isasyncgenfunction(raw)
        if how.on_ask == "suspend" and streams:
            raise TypeError(
                f"{named} is a generator, whose calls can wait for people and not leave"
            )
        if inspect.iscoroutinefunction(verify) and not _is_awaited(raw):
            raise TypeError(f"{named} is not awaited, so its check cannot be either")
        return _function(_Tool(raw, named, gate, how))

    if _is_guarded(tool) or _is_function(tool):
        return enter(tool)
    again = functools.partial(_guarded, gate=gate, name=named, how=how)
    return stand_in(tool, named, enter, again)


def _is_guarded(tool: Any) -> bool:
    tool = _behind(tool)
    return "__saferun__" in (*vars(type(tool)), *getattr(tool, "__dict__", ()))


def _is_function(tool: Any) -> bool:
    if inspect.isfunction(tool) or inspect.ismethod(tool) or isinstance(tool, functools.partial):
        return True
    # Some tool objects bind like functions too, and have entries of their own beside.
    return inspect.isroutine(tool) and not any(hasattr(tool, each) for each in ENTRIES[1:])


def _is_awaited(raw: Any) -> bool:
    return inspect.iscoroutinefunction(raw) or inspect.isasyncgenfunction(raw)


def _behind(tool: Any) -> Any:
    while isinstance(tool, functools.partial):
        tool = tool.func
    return tool


def _name_of(tool: Any) -> str:
    tool = _behind(tool)
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

    __slots__ = (
        *("_on_deny", "_receiver", "binding", "function", "gate", "leaves", "name", "raw"),
        *("verify", "wait"),
    )

    def __init__(
        self,
        raw: Callable[..., Any],
        name: str,
        gate: Gate,
        how: _How,
    ) -> None:
        self.raw = raw
        self.wait = how.wait
        self.verify = how.verify
        self.leaves = how.on_ask == "suspend"
        self.name = name
        self.gate = gate
        self._receiver = _is_method(raw)
        self.binding = Binding(raw, receiver=self._receiver)
        self.function = function.reference(raw, self.binding.signature, receiver=self._receiver)
        self._on_deny = how.on_deny

    @property
    def needs_object(self) -> bool:
        """Whether it is a method, which is called on an object of its own."""
        return self._receiver

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Ready | Recalled":
        """Take one call down."""
        ready = self._taken_down(args, kwargs)
        answers = run.answering()
        return ready if answers is None else ready.recalled(answers)

    def _taken_down(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Ready":
        before: tuple[Any, ...] = ()
        if self._receiver:
            before, args = args[:1], args[1:]
        resumption = _resuming.get()
        if resumption is not None and resumption.take(self.name):
            return self._again(resumption, (before, args, kwargs))
        within = run.current()
        about = within.ref if within is not None else None
        bound = self.binding.bind(args, kwargs, self.gate.opaque(self.name, about))
        if within is not None:
            within.record_by(self.gate.recorder)
        call = Call(
            tool=self.name,
            args=bound.plain,
            run=about,
            defaulted=bound.defaulted,
            opaque=bound.opaque,
            problems=bound.problems,
            function=self._function(before),
        )
        return _Ready(self, call, (before, args, kwargs), bound.live)

    def _function(self, before: tuple[Any, ...]) -> FunctionRef:
        """What would run: for a method, on the object that stands before its arguments."""
        return function.on(self.function, before[0]) if before else self.function

    def _again(
        self,
        resumption: "_Resumption",
        given: tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]],
    ) -> "_Ready":
        """A call that was taken down before, with its arguments as they were kept."""
        call = resumption.call
        bound = self.binding.bind(given[1], given[2], frozenset())
        here = self._function(given[0])
        if here != call.function:
            # Whatever it takes: the gate denies it, and says why.
            call = msgspec.structs.replace(call, function=here)
            return _Ready(self, call, given, bound.live, resumption.request)
        if canonical.encode(bound.plain) != canonical.encode(call.args):
            raise TypeError(
                f"{self.name} does not take the arguments any more that it was to be called with"
            )
        return _Ready(self, call, given, bound.live, resumption.request)

    def refused(self, decision: Decision) -> Any:
        """The sentence for the model, where that is what a denial gives; raises otherwise.

        Whoever resumes a call that somebody else has resumed meanwhile gets what came of that.
        """
        if decision.verdict == "ask" and decision.mode == "enforce":
            assert decision.approval_id is not None
            raise ApprovalPending(decision.approval_id) from None
        if decision.verdict == "allow":
            resumption, outcome = _resuming.get(), decision.outcome
            ours = resumption is not None and resumption.request == decision.approval_id
            if ours and outcome is not None and outcome.status == "ok":
                return outcome.result
            decision = _begun(decision)
        if self._on_deny == "raise":
            raise denial(decision) from None
        return decision.for_model

    def nudged(self, result: Any, decision: Decision) -> Any:
        """The result, with what the model has to be told, where a model reads what tools say."""
        if decision.nudge is None or self._on_deny == "raise" or type(result) is not str:
            return result
        return f"{result}\n\n[{decision.nudge}]"


_ABSENT = object()


def _begun(decision: Decision) -> Decision:
    """A call that somebody else has started, for whoever came for it as well."""
    outcome = decision.outcome
    how = "and nobody knows yet how it ends" if outcome is None else f"and ended: {outcome.status}"
    begun = Reason(
        id="approval", effect="deny", source="approval", message=f"it was started before, {how}"
    )
    return msgspec.structs.replace(decision, verdict="deny", mode="enforce", reasons=(begun,))


class _Ready:
    """One call that has been taken down: to be checked, and then run as decided."""

    __slots__ = ("_given", "_live", "_resumes", "_tool", "call")

    def __init__(
        self,
        tool: _Tool,
        call: Call,
        given: tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]],
        live: dict[str, Any],
        resumes: str | None = None,
    ) -> None:
        self._resumes = resumes
        self._tool = tool
        self.call = call
        self._given = given
        self._live = live

    @property
    def gate(self) -> Gate:
        return self._tool.gate

    def recalled(self, answers: Answers) -> Recalled:
        """The same call, to be answered from a record."""
        tool = self._tool
        return Recalled(
            *(answers, self.call, tool.raw),
            wait=tool.wait,
            leaves=tool.leaves,
            resumes=self._resumes,
        )

    def check(self) -> Decision:
        decision = self._check()
        left = self._tool.wait
        while True:
            if decision.starts and time.monotonic() > decision.start_by:
                # The process slept between the decision and here; what was decided is stale.
                self._tool.gate.settle(decision, Outcome(status="not_started"))
            elif (pause := _pause(decision, left)) is not None:
                time.sleep(pause)
                left -= pause
            else:
                return decision
            decision = self._check()

    async def acheck(self) -> Decision:
        decision = await self._acheck()
        left = self._tool.wait
        while True:
            if decision.starts and time.monotonic() > decision.start_by:
                await self._tool.gate.asettle(decision, Outcome(status="not_started"))
            elif (pause := _pause(decision, left)) is not None:
                # Whoever awaits has asyncio already; the others are spared its import.
                from asyncio import sleep

                await sleep(pause)
                left -= pause
            else:
                return decision
            decision = await self._acheck()

    def _check(self) -> Decision:
        tool = self._tool
        return tool.gate.check(
            self.call, verify=tool.verify, leaves=tool.leaves, resumes=self._resumes
        )

    async def _acheck(self) -> Decision:
        tool = self._tool
        return await tool.gate.acheck(
            self.call, verify=tool.verify, leaves=tool.leaves, resumes=self._resumes
        )

    def run(self, decision: Decision) -> Any:
        """Call the raw tool: with what was decided on, and with nothing else.

        Where nothing is enforced, the call goes through as it came: watching changes nothing.
        """
        binding = self._tool.binding
        before, args, named = self._given
        kwargs: Mapping[str, Any] = named
        if decision.mode == "enforce":
            args, kwargs = binding.places(self._decided(decision))
        if binding.takes_key:
            args, kwargs = binding.keyed(args, kwargs, decision.idempotency_key)
        return self._tool.raw(*before, *args, **kwargs)

    def _decided(self, decision: Decision) -> dict[str, Any]:
        if not decision.modified:
            return self._live
        taken = self.call.args
        changed = {
            name: value
            for name, value in decision.args.items()
            if taken.get(name, _ABSENT) is not value
        }
        return {**self._live, **changed}


def _pause(decision: Decision, left: float) -> float | None:
    """How many seconds to wait before a call is made again, None where nobody waits for it."""
    if decision.verdict != "defer" or decision.starts or decision.retry_after is None:
        return None
    # Never none at all: a clock that stands still must not make this a spinning loop.
    pause = max(decision.retry_after, _BREATH)
    return pause if pause <= left else None


_BREATH = 0.001


# The four kinds of function, each as the language has it, so that whoever looks finds the kind
# that went in.


def _function(tool: _Tool) -> Any:
    if inspect.isasyncgenfunction(tool.raw):
        wrapper = _async_stream(tool)
    elif inspect.iscoroutinefunction(tool.raw):
        wrapper = _coroutine(tool)
    elif inspect.isgeneratorfunction(tool.raw):
        wrapper = _stream(tool)
    else:
        wrapper = _plain(tool)
    like = _behind(tool.raw)
    # Not its `__dict__`, where decorators leave the function that they have wrapped.
    functools.update_wrapper(wrapper, like, updated=())
    wrapper.__dict__.clear()
    wrapper.__dict__.update(
        (name, value) for name, value in getattr(like, "__dict__", {}).items() if _is_data(value)
    )
    wrapper.__name__ = getattr(like, "__name__", tool.name)
    wrapper.__signature__ = tool.binding.signature
    wrapper.__saferun__ = True
    if not tool.needs_object:
        _by_name.setdefault(tool.name, WeakSet()).add(wrapper)
    if tool.verify is not None:
        _checked[wrapper] = _Checked(tool.gate, tool.name, tool.verify)
    _guards[wrapper] = _Guard(tool.gate, tool.name, tool.function)
    return wrapper


class _Guard(NamedTuple):
    """The gate that a tool goes through, as what; and no way to the raw one."""

    gate: Gate
    name: str
    function: FunctionRef


_guards: WeakKeyDictionary[Any, _Guard] = WeakKeyDictionary()
_by_name: dict[str, WeakSet[Any]] = {}


class _Resumption:
    """One call that is being resumed: for the first call of its tool, and for no other."""

    def __init__(self, request: str, call: Call) -> None:
        self.request = request
        self.call = call
        self._taken = False

    def take(self, tool: str) -> bool:
        if self._taken or tool != self.call.tool:
            return False
        self._taken = True
        return True


class AwaitedError(TypeError):
    """A tool is awaited, and was to be called without."""


_resuming: ContextVar[_Resumption | None] = ContextVar("saferun_resuming", default=None)


def resume(request: str, tool: Any = None) -> Any:
    """Make the call that waited for people, now that they have said yes. It starts once.

    For calls of which `guard(..., on_ask="suspend")` has raised `ApprovalPending`, in any process
    on the same store. The tool gets what was approved, with what people have changed of it.
    Resumed again, it gives back what came of it.

    Args:
        request: the id of the request, `approval_id` of `ApprovalPending`.
        tool: the guarded tool; the one of that name in this process by default. For a method,
            the one of the object that it is to be called on.

    Raises:
        ApprovalPending: nobody has answered yet.
        Denied: people have said no, nobody has answered in time, what was approved is not what
            would run, the tool is another function than the one that was asked about, or a
            control has come to object. Of these, the last two do not use up the approval.
        TypeError: there is no such tool here, or it is awaited: see `aresume`.
        StoreError: there is no such request, or the store cannot be used.

    """
    way, resumption = _resumed(request, tool)
    if isinstance(resumption, Decision):
        return _ended(resumption)
    if _is_awaited(way):
        raise AwaitedError(f"{resumption.call.tool} is awaited, so await saferun.aresume(...)")
    token = _resuming.set(resumption)
    try:
        return way(**resumption.call.args)
    finally:
        _resuming.reset(token)


async def aresume(request: str, tool: Any = None) -> Any:
    """`resume`, for a tool that is awaited."""
    way, resumption = await aside(functools.partial(_resumed, request, tool))
    if isinstance(resumption, Decision):
        return _ended(resumption)
    token = _resuming.set(resumption)
    try:
        result = way(**resumption.call.args)
        return await result if inspect.isawaitable(result) else result
    finally:
        _resuming.reset(token)


def _resumed(request: str, tool: Any) -> tuple[Any, "_Resumption | Decision"]:
    """How a call is made again, and what is known of it; a decision where it has its end."""
    ways = [] if tool is None else _ways_in(tool)
    gate = _guards[_bare(ways[0])].gate if ways else configured()
    call = gate.taken_up(request)
    if isinstance(call, Decision):
        return None, call
    if not ways:
        ways = list(_by_name.get(call.tool, ()))
        if len(ways) > 1:
            ways = [way for way in ways if _runs(way) == call.function]
        if len(ways) != 1:
            many = f"{len(ways)} functions" if ways else "No function"
            raise TypeError(
                f"{many} called {call.tool!r} {'are' if ways else 'is'} guarded in this process;"
                " name the one that is to run, as saferun.resume(request, tool)."
            )
    elif _guards[_bare(ways[0])].name != call.tool:
        raise TypeError(f"The request is for {call.tool!r}, and not for this tool.")
    # Of the ways into an object, the one that was asked about; else what the gate will refuse.
    way = next((way for way in ways if _runs(way) == call.function), ways[0])
    return way, _Resumption(request, call)


def _ways_in(tool: Any) -> list[Any]:
    ways = [tool, *(getattr(tool, name, None) for name in ENTRIES)]
    found = [way for way in ways if _bare(way) in _guards]
    if not found:
        raise TypeError("resume takes a tool that was guarded with guard(tool)")
    return found


def _runs(way: Any) -> FunctionRef:
    """What runs where a guarded tool is entered so: a method, on the object that it is of."""
    runs, owner = _guards[_bare(way)].function, getattr(_behind(way), "__self__", None)
    return runs if owner is None else function.on(runs, owner)


def _bare(way: Any) -> Any:
    way = getattr(_behind(way), "__func__", _behind(way))
    # Not everything that is handed in can be looked up.
    return way if inspect.isfunction(way) else None


def _ended(decision: Decision) -> Any:
    """What came of a call that was resumed before, or why it never will be made."""
    outcome = decision.outcome
    if decision.verdict == "allow" and outcome is not None and outcome.status == "ok":
        return outcome.result
    raise denial(decision)


class _Checked(NamedTuple):
    """What `recover` needs of a guarded tool, and no way to the raw one."""

    gate: Gate
    name: str
    check: Check


_checked: WeakKeyDictionary[Any, _Checked] = WeakKeyDictionary()


def recover(tool: Any) -> Recovered:
    """Have a guarded tool's own check say what became of its calls of which nobody knows.

    Asks `verify` of `guard` about each of them, one after the other; those whose process is
    still there, or whose arguments the ledger does not hold whole, are left alone. For programs
    at their start, before agents go on.

    Raises:
        TypeError: it was guarded without `verify`, or is no guarded tool.
        StoreError: the store cannot be used.

    """
    found = _check_of(tool)
    return found.gate.recover(found.name, found.check)


async def arecover(tool: Any) -> Recovered:
    """`recover`, awaiting instead of blocking: for checks that are coroutine functions."""
    found = _check_of(tool)
    return await found.gate.arecover(found.name, found.check)


def _check_of(tool: Any) -> _Checked:
    tool = _behind(tool)
    ways = [tool] if _is_function(tool) else [getattr(tool, name, None) for name in ENTRIES]
    bound = (getattr(way, "__func__", way) for way in ways)
    found = next(
        (_checked[way] for way in bound if inspect.isfunction(way) and way in _checked), None
    )
    if found is None:
        raise TypeError("recover takes a tool that was guarded with guard(tool, verify=check)")
    return found


def _is_data(value: Any) -> bool:
    try:
        take_down(value, "")
    except NotPlainError:
        return False
    return True


def _plain(tool: _Tool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = ready.check()
        if not decision.starts:
            return tool.refused(decision)
        with Attempt(ready.gate, decision) as attempt:
            attempt.run(lambda: ready.run(decision))
            return tool.nudged(returned(attempt), decision)

    return call


def _coroutine(tool: _Tool) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = await ready.acheck()
        if not decision.starts:
            return tool.refused(decision)
        async with Attempt(ready.gate, decision) as attempt:
            await attempt.wait(ready.run(decision))
            return tool.nudged(returned(attempt), decision)

    return call


def _stream(tool: _Tool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        ready = tool.call(args, kwargs)
        decision = ready.check()
        if not decision.starts:
            yield tool.refused(decision)
            return None
        with Attempt(ready.gate, decision) as attempt:
            attempt.result = ready.run(decision)
            source = returned(attempt)
        return (yield from source)

    return call


def _async_stream(tool: _Tool) -> Any:
    async def begin(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        ready = tool.call(args, kwargs)
        decision = await ready.acheck()
        if not decision.starts:
            return _only(tool.refused(decision))
        async with Attempt(ready.gate, decision) as attempt:
            attempt.result = ready.run(decision)
            return async_stream(attempt)

    return relaying(begin)


async def _only(item: Any) -> AsyncGenerator[Any, Any]:
    yield item
