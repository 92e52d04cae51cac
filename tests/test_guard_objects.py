"""What `guard` makes of a tool object: a stand-in with all its ways in guarded, and no other."""

import asyncio
import copy
import dataclasses
import inspect
import pickle
import weakref
from typing import Any

import pydantic
import pytest

from guarding import enforcing, entries, observing, statuses
from saferun import Denied, guard
from saferun.standin import ENTRIES

CLOSED = """
version: 1
name: closed
default: deny
tools:
  listed: {effect: read, args: {}}
"""


class Refund:
    """A tool with the usual parts."""

    name = "refund"

    def __init__(self) -> None:
        self.paid: list[int] = []
        self.tags = ["money"]

    def execute(self, amount: int) -> int:
        self.paid.append(amount)
        return sum(self.paid)

    def twice(self, amount: int) -> int:
        self.execute(amount)
        return self.execute(amount)

    def me(self) -> "Refund":
        return self

    def parts(self) -> dict[str, Any]:
        return {"bound": self, "way": self.execute}

    apply = execute

    @property
    def schema(self) -> dict[str, str]:
        return {"amount": "integer"}


def test_the_entry_leads_through_the_gate_under_the_object_s_name():
    gate = observing()
    assert guard(Refund(), gate=gate).execute(amount=3) == 3
    (entry,) = entries(gate, "decision")
    assert (entry["tool"], entry["args"]) == ("refund", {"amount": 3})


def test_without_a_name_the_class_gives_it():
    class SearchWeb:
        def run(self, q: str) -> str:
            return q

    gate = observing()
    guard(SearchWeb(), gate=gate).run("x")
    assert entries(gate, "decision")[0]["tool"] == "search_web"


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_known_entry_is_guarded(entry):
    ran = []
    kind = type("Tool", (), {entry: lambda self, x: ran.append(x)})
    safe = guard(kind(), gate=enforcing(CLOSED))
    with pytest.raises(Denied):
        getattr(safe, entry)(1)
    if entry == "__call__":
        with pytest.raises(Denied):
            safe(1)
    assert ran == []


def test_a_call_that_enters_through_one_entry_and_goes_on_to_another_is_decided_once():
    class Tool:
        def invoke(self, x):
            return self.run(x)

        def run(self, x):
            return x + 1

    gate = observing()
    assert guard(Tool(), name="tool", gate=gate).invoke(1) == 2
    assert statuses(gate) == ["ok"]


def test_an_async_callable_object_is_awaited_through_the_gate():
    class Tool:
        async def __call__(self, x: int) -> int:
            return x + 1

    gate = observing()
    safe = guard(Tool(), gate=gate)
    assert asyncio.run(safe(x=1)) == 2
    assert inspect.iscoroutinefunction(safe.__call__)
    assert callable(safe)
    assert statuses(gate) == ["ok"]


def test_an_object_that_cannot_be_called_is_not_callable_afterwards():
    assert not callable(guard(Refund()))


def test_a_callable_object_takes_arguments_of_any_name():
    class Tool:
        def __call__(self, /, **named):
            return named

    assert guard(Tool())(_=1, self=2, tool=3) == {"_": 1, "self": 2, "tool": 3}


def test_an_object_without_a_known_entry_is_refused():
    class Tool:
        def refund(self, amount): ...

    with pytest.raises(TypeError, match="Tool has none of the entries of a tool"):
        guard(Tool())


def test_an_object_that_is_guarded_is_not_guarded_again():
    with pytest.raises(TypeError, match="guarded already"):
        guard(guard(Refund()))


def test_an_object_around_a_guarded_function_is_refused():
    class Tool:
        def __init__(self, func):
            self.func = func

    with pytest.raises(TypeError, match="guarded already"):
        guard(Tool(guard(lambda x: x)))


def test_a_list_may_hold_objects_and_functions():
    gate = observing()
    refund, echo = guard([Refund(), len], gate=gate)
    refund.execute(1)
    echo("abc")
    assert [entry["tool"] for entry in entries(gate, "decision")] == ["refund", "len"]


# What it keeps.


def test_the_object_keeps_its_attributes_and_can_be_given_others():
    tool = Refund()
    safe = guard(tool)
    assert (safe.name, safe.tags, safe.schema) == ("refund", ["money"], {"amount": "integer"})
    assert safe.__doc__ == "A tool with the usual parts."
    safe.tags = ["new"]
    safe.more = 1
    assert (tool.tags, tool.more) == (["new"], 1)
    del safe.more
    assert not hasattr(tool, "more")
    assert dir(safe) == dir(tool)
    with pytest.raises(AttributeError):
        safe.nothing


def test_it_is_still_an_instance_of_its_class():
    safe = guard(Refund())
    assert isinstance(safe, Refund)
    assert safe.__class__ is Refund
    assert type(safe).__name__ == "Refund"


def test_it_can_be_compared_hashed_and_referred_to_weakly():
    safe = guard(Refund())
    assert safe == safe
    assert len({safe, safe}) == 1
    assert weakref.ref(safe)() is safe


def test_its_text_says_that_it_is_guarded():
    assert repr(guard(Refund())).startswith("<guarded <")


def test_what_the_language_looks_up_on_the_class_still_works():
    class Tool:
        items = (1, 2)

        def run(self, x):
            return x

        def __len__(self):
            return len(self.items)

        def __iter__(self):
            return iter(self.items)

        def __getitem__(self, at):
            return self.items[at]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

        def __or__(self, other):
            return (self, other)

        def __eq__(self, other):
            return isinstance(other, Tool) and self.items == other.items

        __hash__ = None

    safe = guard(Tool())

    async def entered():
        async with safe as inside:
            return inside

    assert (len(safe), list(safe), safe[1]) == (2, [1, 2], 2)
    with safe as inside:
        assert inside is safe
    assert asyncio.run(entered()) is safe
    assert (safe | 3) == (safe, 3)
    assert safe == Tool()
    with pytest.raises(TypeError, match="unhashable"):
        hash(safe)


def test_its_methods_call_super_as_before():
    class Loud(Refund):
        def twice(self, amount):
            return super().twice(amount) * 10

    gate = observing()
    assert guard(Loud(), gate=gate).twice(1) == 20
    assert len(statuses(gate)) == 2


# No way to the raw object.


def test_other_methods_run_with_the_guarded_object():
    gate = observing()
    safe = guard(Refund(), gate=gate)
    assert safe.twice(2) == 4
    assert len(statuses(gate)) == 2
    assert safe.me() is safe
    assert safe.twice.__self__ is safe


def test_what_a_method_hands_out_is_guarded():
    gate = enforcing(CLOSED)
    tool = Refund()
    safe = guard(tool, gate=gate)
    for way in (safe.parts()["bound"].execute, safe.parts()["way"], safe.apply):
        with pytest.raises(Denied):
            way(1)
    assert tool.paid == []


def raw_entries(safe: Any, tool: Any) -> list[str]:
    """The attributes, two steps deep, that lead to the object or to something bound to it."""

    def raw(found: Any) -> bool:
        return found is tool or getattr(found, "__self__", None) is tool

    found = []
    for first in dir(safe):
        try:
            one = getattr(safe, first)
        except Exception:
            continue
        if raw(one):
            found.append(first)
        for second in dir(one):
            if second not in ("__globals__", "__closure__", "__builtins__"):
                try:
                    two = getattr(one, second)
                except Exception:
                    continue
                if raw(two):
                    found.append(f"{first}.{second}")
    return found


@dataclasses.dataclass
class Data:
    func: Any
    name: str = "data"

    def execute(self, x: int) -> Any:
        return self.func(x)


class Model(pydantic.BaseModel):
    name: str = "model"

    def run(self, x: int) -> int:
        return x


class Dict(dict):
    def run(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    "make", [Refund, lambda: Data(len), Model, Dict], ids=["object", "dataclass", "model", "dict"]
)
def test_no_attribute_hands_out_the_object(make):
    tool = make()
    assert raw_entries(guard(tool), tool) == []


@pytest.mark.parametrize("look", [vars, lambda safe: safe.__dict__], ids=["vars", "__dict__"])
def test_the_object_s_dict_shows_guarded_functions_and_cannot_be_written_through(look):
    tool = Data(func=lambda x: x)
    safe = guard(tool, gate=enforcing(CLOSED))
    with pytest.raises(Denied):
        look(safe)["func"](1)
    look(safe)["name"] = "other"
    assert tool.name == "data"


def test_looking_up_an_entry_by_force_finds_nothing_raw():
    safe = guard(Refund(), gate=enforcing(CLOSED))
    with pytest.raises(Denied):
        safe.__getattribute__("execute")(1)
    with pytest.raises(AttributeError):
        object.__getattribute__(safe, "execute")
    with pytest.raises(AttributeError):
        inspect.getattr_static(safe, "execute")
    assert "execute" not in vars(type(safe))


def test_a_guarded_entry_cannot_be_replaced_or_removed():
    safe = guard(Refund())
    with pytest.raises(AttributeError, match="execute of refund is guarded"):
        safe.execute = print
    with pytest.raises(AttributeError, match="execute of refund is guarded"):
        del safe.execute


def test_a_function_that_the_object_gets_later_is_guarded_as_well():
    tool = Data(func=None)
    safe = guard(tool, gate=enforcing(CLOSED))
    assert safe.func is None
    tool.func = lambda x: x
    with pytest.raises(Denied):
        safe.func(1)
    tool.func = lambda x: -x
    with pytest.raises(Denied):
        safe.func(1)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_is_guarded_and_apart(way):
    tool = Refund()
    safe = guard(tool, gate=(gate := observing()))
    made = way(safe)
    assert made is not safe
    made.name = "copied"
    assert tool.name == "refund"
    made.execute(1)
    assert len(statuses(gate)) == 1


def test_a_copy_by_the_object_s_own_method_is_guarded():
    safe = guard(Model(), gate=enforcing(CLOSED))
    made = safe.model_copy(update={"name": "other"})
    assert made.name == "other"
    with pytest.raises(Denied):
        made.run(1)


@pytest.mark.parametrize(
    "way",
    [
        pickle.dumps,
        lambda safe: safe.__reduce__(),
        lambda safe: safe.__reduce_ex__(2),
        lambda safe: copy.copy(safe).__reduce_ex__(4),
    ],
)
def test_a_guarded_object_cannot_be_pickled(way):
    with pytest.raises(TypeError, match="cannot be pickled"):
        way(guard(Refund()))


class Forwarding:
    """Has no entry of its own: all are those of an object inside."""

    def __init__(self, inner):
        self._inner = inner
        self.name = "forwarding"

    def __getattr__(self, name):
        return getattr(self._inner, name)


def test_entries_that_are_forwarded_are_guarded_and_so_is_the_object_inside():
    tool = Refund()
    safe = guard(Forwarding(tool), gate=enforcing(CLOSED))
    ways = [
        safe.execute,
        safe._inner.execute,
        safe.__getattr__("execute"),
        safe.twice,
        safe._inner.twice,
        vars(safe)["_inner"].execute,
    ]
    for way in ways:
        with pytest.raises(Denied):
            way(1)
    assert tool.paid == []
    assert safe._inner is not tool
    assert safe.twice.__self__ is not tool


def test_an_object_that_binds_like_a_function_keeps_its_attributes():
    class Bound:
        name = "bound"

        def __get__(self, owner, kind=None):
            return self

        def run(self, x):
            return x

    safe = guard(Bound())
    assert safe.name == "bound"
    assert safe.run(1) == 1


def test_a_property_that_fails_at_the_wrap_is_guarded_once_it_works():
    class Late:
        ready = False

        def run(self, x):
            return x

        @property
        def func(self):
            if not self.ready:
                raise RuntimeError("not yet")
            return lambda x: x

    tool = Late()
    safe = guard(tool, gate=enforcing(CLOSED))
    tool.ready = True
    with pytest.raises(Denied):
        safe.func(1)


def test_pydantic_objects_are_read_as_before():
    safe = guard(Model(name="m"), name="m")
    assert safe.model_dump() == {"name": "m"}
    assert safe.model_fields_set == {"name"}
    assert safe.run(1) == 1
