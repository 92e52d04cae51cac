"""Arguments by name: bound before the decision, put back where they came from."""

import functools
import inspect
import itertools
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guarding import enforcing, observing
from saferun import Denied, guard
from saferun.binding import Binding

NAMES = ("a", "b", "c", "d", "args", "kwargs", "self")


@st.composite
def signatures(draw) -> str:
    """A parameter list as it is written in Python, of any shape that the language allows."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    only = draw(st.integers(0, len(names)))
    by_place = draw(st.integers(only, len(names)))
    optional = draw(st.integers(0, by_place))
    parts = [
        name if at < by_place - optional else f"{name}={draw(st.integers(0, 3))}"
        for at, name in enumerate(names[:by_place])
    ]
    if only:
        parts.insert(only, "/")
    rest = [name for name in ("rest", "args") if name not in names]
    star = draw(st.sampled_from([None, *rest]))
    keyword_only = [
        name if draw(st.booleans()) else f"{name}='{name}'" for name in names[by_place:]
    ]
    if star is not None:
        parts.append(f"*{star}")
    elif keyword_only:
        parts.append("*")
    parts += keyword_only
    named = [name for name in ("named", "kwargs") if name not in names]
    double = draw(st.sampled_from([None, *named]))
    if double is not None:
        parts.append(f"**{double}")
    return ", ".join(parts)


values = st.one_of(
    st.integers(), st.text(string.ascii_letters, max_size=5), st.lists(st.integers())
)
keywords = st.dictionaries(
    st.sampled_from((*NAMES, "rest", "named", "*", "**a", "*0", "*2", "")), values, max_size=4
)


def function(parameters: str) -> Any:
    space: dict[str, Any] = {}
    exec(f"def tool({parameters}):\n    return dict(locals())", space)
    return space["tool"]


def outcome(call: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        return call(*args, **kwargs)
    except Denied:
        return Denied
    except TypeError:
        return TypeError


@settings(max_examples=settings.default.max_examples * 3)
@given(parameters=signatures(), args=st.lists(values, max_size=5), kwargs=keywords)
def test_an_observed_function_behaves_as_the_bare_one(parameters, args, kwargs):
    bare = function(parameters)
    expected = outcome(bare, args, kwargs)
    safe = guard(bare, name=_name(), gate=_observing())
    assert outcome(safe, args, kwargs) == expected


@settings(max_examples=settings.default.max_examples * 3)
@given(parameters=signatures(), args=st.lists(values, max_size=5), kwargs=keywords)
def test_under_a_policy_a_call_runs_as_it_came_or_is_denied(parameters, args, kwargs):
    bare = function(parameters)
    expected = outcome(bare, args, kwargs)
    found = outcome(guard(bare, name=_name(), gate=_enforcing()), args, kwargs)
    assert found in (expected, Denied)
    try:
        names = inspect.signature(bare).bind(*args, **kwargs).arguments
    except TypeError:
        return
    if not {*names, "rest", "args"} & kwargs.keys():
        # Whatever names can tell is let through.
        assert found == expected


@settings(max_examples=settings.default.max_examples * 3)
@given(parameters=signatures(), args=st.lists(values, max_size=5), kwargs=keywords)
def test_what_is_bound_goes_back_to_where_it_came_from(parameters, args, kwargs):
    bare = function(parameters)
    binding = Binding(bare)
    bound = binding.bind(tuple(args), kwargs)
    if not bound.problems:
        placed, named = binding.places(bound.live)
        assert outcome(bare, placed, named) == outcome(bare, args, kwargs)


_numbers = itertools.count()


def _name() -> str:
    # Each example is a tool of its own: what keeps failing, with arguments that do not fit, is
    # rightly left alone after a while.
    return f"tool-{next(_numbers)}"


@functools.cache
def _gates() -> dict[str, Any]:
    return {}


def _observing() -> Any:
    # One store for all examples of a test; the next test has a folder of its own.
    gates = _gates()
    if "observing" not in gates or gates["observing"].store.closed:
        gates["observing"] = observing()
    return gates["observing"]


def _enforcing() -> Any:
    gates = _gates()
    if "enforcing" not in gates or gates["enforcing"].store.closed:
        gates["enforcing"] = enforcing()
    return gates["enforcing"]


# What policy gets to see.


def bound(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return Binding(function).bind(args, kwargs).plain


def test_positions_keywords_and_defaults_are_one_set_of_names():
    def tool(a, b, c=3, *, d=4): ...

    assert bound(tool, 1, 2) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert bound(tool, b=2, a=1, d=5) == {"a": 1, "b": 2, "c": 3, "d": 5}


def test_variadic_arguments_are_a_list_and_names_of_their_own():
    def tool(a, *more, **named): ...

    assert bound(tool, 1, 2, 3, x=4) == {"a": 1, "more": [2, 3], "x": 4}
    assert bound(tool, 1, named=4) == {"a": 1, "named": 4}


def test_arguments_stand_in_the_order_in_which_they_were_given():
    def tool(a, b, c=3): ...

    assert list(bound(tool, 1, b=2)) == ["a", "b", "c"]


def test_what_the_caller_left_out_is_named():
    def tool(a, b=2, c=None): ...

    assert Binding(tool).bind((1,), {"c": 3}).defaulted == {"b"}


def test_a_default_that_no_caller_can_mean_is_left_to_the_tool():
    absent = object()

    def tool(a, b=absent):
        return b is absent

    assert bound(tool, 1) == {"a": 1}
    assert guard(tool, gate=enforcing())(1) is True


def test_a_default_that_the_tool_changes_is_looked_at_again_at_every_call():
    def tool(a, seen=[]):  # noqa: B006 - the very thing
        seen.append(a)
        return list(seen)

    tool(1)
    assert bound(tool, 2) == {"a": 2, "seen": [1]}
    safe = guard(tool, gate=enforcing())
    assert safe(2) == [1, 2]
    assert safe(3) == [1, 3]


@pytest.mark.parametrize(
    ("parameters", "args", "kwargs", "problem"),
    [
        ("a", (1, 2), {}, "it takes 1 arguments by position at most"),
        ("a", (1,), {"a": 2}, "a cannot be given by its name here"),
        ("a, /, **named", (1,), {"a": 2}, "a cannot be given by its name here"),
        ("*rest, **named", (1,), {"rest": 2}, "rest cannot be given by its name here"),
        ("idempotency_key", (), {"idempotency_key": "mine"}, "idempotency_key cannot be given"),
    ],
)
def test_what_names_cannot_tell_is_a_problem_and_denied(parameters, args, kwargs, problem):
    tool = function(parameters)
    (said,) = Binding(tool).bind(args, kwargs).problems
    assert problem in said
    with pytest.raises(Denied, match=r"cannot be given|takes 1"):
        guard(tool, gate=enforcing())(*args, **kwargs)


@pytest.mark.parametrize("name", ["**a", "*1", "*", "a "])
def test_no_name_that_a_caller_invents_reaches_another_argument(name):
    def tool(a=0, **named):
        return a, named

    safe = guard(tool, gate=enforcing())
    assert safe(**{name: 5}) == (0, {name: 5})


def test_a_name_that_is_shown_is_short_and_holds_no_secret():
    def tool(a, /, **named): ...

    secret = "sk-live-" + "a1B2" * 8
    problem = Binding(tool).bind((1,), {"a": 2, secret: float("nan")}).problems[1]
    assert "a1B2" not in problem
    huge = Binding(tool).bind((1,), {"x" * 10_000_000: float("nan")}).problems[0]
    assert len(huge) < 100
    marked = Binding(tool).bind((1,), {"\x1b[31m\u202e`": float("nan")}).problems[0]
    assert marked.isprintable()


# The key that the gate fills in.


@pytest.mark.parametrize(
    "parameters",
    [
        "a, b=2, idempotency_key=None",
        "a, idempotency_key, b=2",
        "idempotency_key, a, b=2",
        "a, b=2, *, idempotency_key",
        "idempotency_key, /, a, b=2",
        "a, idempotency_key, b=2, /",
        "a, b=2, idempotency_key=None, /",
        "a, idempotency_key, b=2, *rest",
        "a, b=2, *rest, idempotency_key, **named",
    ],
)
@pytest.mark.parametrize("gate", [observing, enforcing])
def test_the_key_is_given_wherever_the_tool_takes_it(parameters, gate):
    safe = guard(function(parameters), gate=gate())
    more = (3, 4) if "*rest" in parameters else ()
    for got in (safe(1, 2), safe(1), *([safe(1, 2, *more)] if more else [])):
        assert (got["a"], got["b"]) == (1, 2)
        assert got["idempotency_key"].startswith("saferun-")
    assert got.get("rest", ()) == more


def test_the_key_is_hidden_from_the_signature():
    def tool(a: int, idempotency_key: str = ""): ...

    assert list(inspect.signature(guard(tool)).parameters) == ["a"]


def test_a_caller_s_own_key_is_never_used():
    def tool(a, idempotency_key=None):
        return idempotency_key

    with pytest.raises(Denied):
        guard(tool, gate=enforcing())(1, idempotency_key="mine")
    assert guard(tool, gate=observing())(1, idempotency_key="mine").startswith("saferun-")


def test_every_call_has_a_key_of_its_own():
    def tool(a, idempotency_key):
        return idempotency_key

    safe = guard(tool, gate=observing())
    assert safe(1) != safe(1)


# What a policy fills in.


@pytest.mark.parametrize("parameters", ["a=1, b=2", "a=1, b=2, /", "a=1, *, b=2", "a=1, /, b=2"])
def test_a_default_of_the_policy_reaches_the_tool(parameters):
    gate = enforcing(
        """
        version: 1
        name: fills
        tools:
          tool:
            effect: read
            args:
              a: {type: integer, optional: true}
              b: {type: integer, default: 20}
        """
    )
    safe = guard(function(parameters), name="tool", gate=gate)
    assert safe() == {"a": 1, "b": 20}


def test_a_policy_that_only_shadows_fills_in_nothing():
    gate = enforcing(
        """
        version: 1
        name: shadows
        mode: shadow
        tools:
          tool: {effect: read, args: {b: {type: integer, default: 20}}}
        """
    )
    assert guard(function("b=2"), name="tool", gate=gate)() == {"b": 2}
