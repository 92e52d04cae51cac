"""What `guard` makes of a function: the same function to whoever looks, and no way past it."""

import asyncio
import copy
import functools
import inspect
import math
import pickle
from abc import ABC, abstractmethod
from typing import Any

import pytest

from guarding import enforcing, entries, observing, statuses, verdicts
from saferun import ConfigError, Denied, PolicyError, guard
from saferun.gate import configured

DENY = """
version: 1
name: closed
tools:
  listed: {effect: read, args: {x: {type: integer}}}
"""


def add(x: int, y: int = 2) -> int:
    """Add two numbers."""
    return x + y


async def aadd(x: int, y: int = 2) -> int:
    return x + y


def count(upto: int):
    yield from range(upto)


async def acount(upto: int):
    for at in range(upto):
        yield at


@guard
def guarded_at_import(x: int) -> int:
    return x


def tools(base: int) -> Any:
    class Tools:
        def __init__(self, base: int) -> None:
            self.base = base

        @guard
        def plus(self, x: int) -> int:
            return self.base + x

        @guard(name="plus_async")
        async def aplus(self, x: int) -> int:
            return self.base + x

        @staticmethod
        @guard
        def static(x: int) -> int:
            return x

        @classmethod
        @guard
        def of_class(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

    return Tools(base)


def test_a_function_gives_what_it_gave():
    assert guard(add)(1) == 3
    assert guard(add)(1, y=5) == 6


def test_the_decorator_works_with_and_without_arguments():
    @guard
    def one(x):
        return x

    @guard(name="other")
    def two(x):
        return x

    assert (one(1), two(2)) == (1, 2)


def test_a_coroutine_function_is_awaited_through_the_gate():
    gate = observing()
    assert asyncio.run(guard(aadd, gate=gate)(1)) == 3
    assert statuses(gate) == ["ok"]


@pytest.mark.parametrize(
    "function",
    [add, aadd, count, acount, functools.partial(aadd, 1), functools.partial(count, 3)],
    ids=["sync", "async", "generator", "async generator", "partial async", "partial generator"],
)
def test_a_function_stays_of_its_kind(function):
    safe = guard(function)
    for is_kind in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert is_kind(safe) == is_kind(function)
    assert inspect.isfunction(safe)


def test_name_docstring_module_annotations_and_signature_are_kept():
    safe = guard(add)
    assert safe.__name__ == "add"
    assert safe.__qualname__ == "add"
    assert safe.__doc__ == "Add two numbers."
    assert safe.__module__ == __name__
    assert safe.__annotations__ == {"x": int, "y": int, "return": int}
    assert inspect.signature(safe) == inspect.signature(add)


def test_a_partial_goes_by_the_name_and_docstring_of_its_function():
    gate = observing()
    safe = guard(functools.partial(add, y=40), gate=gate)
    assert safe(2) == 42
    assert (safe.__name__, safe.__doc__) == ("add", "Add two numbers.")
    assert entries(gate, "decision")[0]["args"] == {"x": 2, "y": 40}


def test_a_given_name_is_the_tool_s_name():
    gate = observing()
    guard(lambda x: x, name="echo", gate=gate)(1)
    assert entries(gate, "decision")[0]["tool"] == "echo"


def test_builtins_are_guarded_by_their_own_signature():
    gate = observing()
    assert guard(math.sqrt, gate=gate)(9) == 3.0
    assert guard("a,b".split, gate=gate)(",") == ["a", "b"]
    assert [entry["tool"] for entry in entries(gate, "decision")] == ["sqrt", "split"]


def test_a_builtin_without_a_signature_is_refused_with_a_way_out():
    with pytest.raises(TypeError, match=r"no signature .* wrap it in a function of its own"):
        guard(max)


def test_a_cached_function_is_guarded_in_front_of_its_cache():
    calls = []

    @functools.lru_cache
    def look_up(x):
        calls.append(x)
        return x

    gate = observing()
    safe = guard(look_up, gate=gate)
    assert [safe(1), safe(1)] == [1, 1]
    assert calls == [1]
    assert statuses(gate) == ["ok", "ok"]


def test_methods_decorated_in_a_class_body_know_their_object():
    made = tools(40)
    assert made.plus(2) == 42
    assert asyncio.run(made.aplus(x=2)) == 42
    assert type(made).plus(made, 2) == 42
    assert inspect.iscoroutinefunction(made.aplus)
    assert list(inspect.signature(made.plus).parameters) == ["x"]


def test_the_object_of_a_method_is_no_argument():
    tools(40).plus(2)

    (entry,) = entries(configured(), "decision")
    assert (entry["tool"], entry["args"]) == ("plus", {"x": 2})


def test_static_and_class_methods_are_guarded_below_their_decorators():
    assert type(tools(1)).static(3) == 3
    assert tools(1).of_class(3) == ("Tools", 3)


@pytest.mark.parametrize("kind", [staticmethod, classmethod, property])
def test_guard_above_a_method_s_decorator_is_refused_with_the_right_order(kind):
    with pytest.raises(TypeError, match=f"put @guard below @{kind.__name__}"):
        guard(kind(lambda self: 1))


def test_a_bound_method_is_guarded_without_its_object():
    class Books:
        def __init__(self):
            self.sold = []

        def sell(self, title: str) -> int:
            self.sold.append(title)
            return len(self.sold)

    books = Books()
    gate = observing()
    safe = guard(books.sell, gate=gate)
    assert safe("Emma") == 1
    assert not hasattr(safe, "__self__")
    assert entries(gate, "decision")[0]["args"] == {"title": "Emma"}


def test_an_abstract_method_stays_abstract():
    class Base(ABC):
        @guard
        @abstractmethod
        def act(self, x): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_a_list_of_tools_comes_back_as_a_list_of_guarded_tools():
    gate = observing()
    safe = guard([add, aadd], gate=gate)
    assert safe[0](1) == 3
    assert asyncio.run(safe[1](1)) == 3
    assert [entry["tool"] for entry in entries(gate, "decision")] == ["add", "aadd"]


def test_a_list_has_no_one_name():
    with pytest.raises(TypeError, match="no one name"):
        guard([add], name="all")


@pytest.mark.parametrize(
    "again",
    [guard, lambda safe: guard(functools.partial(safe, 1)), lambda safe: guard([safe])],
    ids=["itself", "in a partial", "in a list"],
)
def test_what_is_guarded_is_not_guarded_again(again):
    with pytest.raises(TypeError, match="guarded already"):
        again(guard(add))


def test_a_guarded_method_is_not_guarded_again():
    with pytest.raises(TypeError, match="guarded already"):
        guard(tools(1).plus)


def test_a_class_is_refused():
    with pytest.raises(TypeError, match="is a class; guard an instance"):
        guard(type(tools(1)))


@pytest.mark.parametrize("name", ["", "a\nb", "\ud800", "x" * 201])
def test_a_name_that_cannot_stand_in_a_policy_is_refused(name):
    with pytest.raises(TypeError, match="1 to 200 printable characters"):
        guard(add, name=name)


def test_a_policy_that_is_not_there_fails_at_the_wrap():
    with pytest.raises(PolicyError):
        guard(add, policy="nowhere")


def test_a_channel_that_is_not_there_fails_at_the_wrap():
    with pytest.raises(ConfigError, match="no approval channel 'pigeon'"):
        guard(add, approval="pigeon")


def test_a_gate_and_a_policy_exclude_each_other():
    with pytest.raises(ConfigError, match="either a gate, or policy and approval"):
        guard(add, gate=observing(), policy="production")


def test_on_deny_knows_two_answers():
    with pytest.raises(ConfigError, match="on_deny is 'raise' or 'return', not 'ignore'"):
        guard(add, on_deny="ignore")


# No way to the raw function.


def raw_ways(safe: Any) -> set[int]:
    """Everything that is reached by attributes, as far as a closure, and by id."""
    seen: dict[int, Any] = {}
    queue = [safe]
    while queue:
        found = queue.pop()
        if id(found) in seen or isinstance(found, type | str | int):
            continue
        seen[id(found)] = found
        for name in dir(found):
            if name not in ("__closure__", "__globals__", "__builtins__", "__code__"):
                try:
                    queue.append(getattr(found, name))
                except Exception:
                    continue
        if isinstance(found, dict):
            queue.extend(found.values())
        elif isinstance(found, list | tuple):
            queue.extend(found)
        if len(seen) > 20_000:
            break
    return set(seen)


def test_no_attribute_of_a_guarded_function_leads_to_the_raw_one():
    def inner(x):
        return x

    @functools.wraps(inner)
    def raw(x):
        return inner(x)

    raw.original = inner
    raw.func = inner
    raw.registry = {"int": inner}
    raw.kept = [1, 2]
    safe = guard(raw)
    assert not hasattr(safe, "__wrapped__")
    assert safe.kept == [1, 2]
    assert not {id(inner), id(raw)} & raw_ways(safe)


def test_single_dispatch_does_not_hand_out_its_implementations():
    @functools.singledispatch
    def show(x):
        return "any"

    @show.register
    def _(x: int):
        return "int"

    safe = guard(show)
    assert (safe(1), safe("a")) == ("int", "any")
    assert not hasattr(safe, "dispatch")
    assert not hasattr(safe, "registry")


def test_copying_a_guarded_function_gives_a_guarded_function():
    safe = guard(add)
    assert copy.copy(safe) is safe
    assert copy.deepcopy(safe) is safe


def test_pickling_gives_the_guarded_function_or_nothing():
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(guard(add))
    assert pickle.loads(pickle.dumps(guarded_at_import)) is guarded_at_import


# What a decision does.


def test_a_denied_function_does_not_run():
    ran = []
    gate = enforcing(DENY)
    safe = guard(lambda x: ran.append(x), name="unlisted", gate=gate)
    with pytest.raises(Denied):
        safe(1)
    assert ran == []
    assert verdicts(gate) == ["deny"]


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async generator"])
def test_a_denial_comes_back_as_the_result_where_that_is_asked_for(kind):
    gate = enforcing(DENY)
    about = {"name": "unlisted", "on_deny": "return", "gate": gate}

    async def collected():
        return [item async for item in guard(acount, **about)(3)]

    told = {
        "sync": lambda: guard(add, **about)(1),
        "async": lambda: asyncio.run(guard(aadd, **about)(1)),
        "generator": lambda: next(guard(count, **about)(3)),
        "async generator": lambda: asyncio.run(collected())[0],
    }[kind]()
    assert told.startswith("unlisted was not run: ")
    assert statuses(gate) == []


@pytest.mark.parametrize("kind", ["async", "generator", "async generator"])
def test_a_denial_is_raised_from_every_kind(kind):
    gate = enforcing(DENY)
    about = {"name": "unlisted", "gate": gate}

    async def collected():
        return [item async for item in guard(acount, **about)(3)]

    with pytest.raises(Denied):
        {
            "async": lambda: asyncio.run(guard(aadd, **about)(1)),
            "generator": lambda: list(guard(count, **about)(3)),
            "async generator": lambda: asyncio.run(collected()),
        }[kind]()


def test_a_tool_that_is_only_observed_is_said_so_once(caplog):
    safe = guard(add, name="watched_once")
    with caplog.at_level("WARNING", "saferun"):
        safe(1)
        safe(1)
    said = [record.message for record in caplog.records if "watched_once" in record.message]
    assert len(said) == 1
    assert "has no policy" in said[0]


def test_calls_from_many_threads_are_each_decided():
    from concurrent.futures import ThreadPoolExecutor

    gate = observing()
    safe = guard(add, gate=gate)
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(safe, range(40))) == list(range(2, 42))
    assert statuses(gate) == ["ok"] * 40


FILLS = """
version: 1
name: fills
tools:
  add:
    effect: read
    args: {x: {type: integer}, z: {type: integer, optional: true}}
    rules: [{id: more, set: {z: 3}, args: {x: {minimum: 10}}}]
"""


def test_what_policy_fills_in_and_the_function_does_not_take_is_a_denial_and_no_crash() -> None:
    gate = enforcing(FILLS)
    safe = guard(add, gate=gate)
    assert safe(x=1) == 3
    with pytest.raises(Denied, match="the tool takes no argument z"):
        safe(x=10)
    assert verdicts(gate) == ["allow", "deny"]
