"""No text and no value makes a condition cost more than it may."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.policy.expression import (
    DYN,
    INT,
    STRING,
    EvaluationError,
    ExpressionError,
    ListOf,
    compile_expression,
)

NAMES = {"a": DYN, "l": ListOf(INT), "s": STRING, "t": STRING, "i": INT}


def error(text: str, **values: Any) -> str:
    with pytest.raises(EvaluationError) as caught:
        compile_expression(text, NAMES).holds(values)
    return str(caught.value)


def fault(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, NAMES)
    return caught.value.message


def place(text: str) -> int:
    """Where a text is refused; 0 where it is a condition."""
    try:
        compile_expression(text, NAMES)
    except ExpressionError as found:
        return found.offset
    return 0


LONG = "a condition has at most 4,096 characters; split it over several rules"
MANY = "a condition has at most 1,000 parts; split it over several rules"
DEEP = "a condition nests at most 64 deep; make it flatter"


def test_a_text_is_as_long_as_its_bound_and_no_longer() -> None:
    compile_expression("true".ljust(4_096), NAMES)
    assert fault("true".ljust(4_097)) == LONG
    assert fault("(" * 1_000_000) == LONG


def test_a_condition_has_so_many_parts_and_no_more() -> None:
    compile_expression(f"{'a,'.join(['[', *[''] * 996])}] == [1]", NAMES)
    assert fault(f"[{'a,' * 1_000}] == [1]") == MANY


@pytest.mark.parametrize(
    "text",
    [
        *("(" * 65 + "true" + ")" * 65, "[" * 4_000, "((((" * 1_000, "{'k':" * 800, "a[" * 2_000),
        *("f(" * 2_000, "a.all(x," * 500, "true?true:" * 400 + "true", "-(" * 2_000),
        *("a" + ".b" * 64, "1" + "+1" * 64 + " == 1", "a" + "[0]" * 64, "!(" * 70 + "a" + ")" * 70),
    ],
)
def test_what_nests_too_deep_is_refused(text: str) -> None:
    assert fault(text) == DEEP


def test_what_nests_as_deep_as_it_may_is_read_and_evaluated() -> None:
    assert compile_expression("(" * 63 + "true" + ")" * 63, NAMES).holds({})
    assert compile_expression("1" + "+1" * 61 + " == 62", NAMES).holds({})
    deep: dict[str, Any] = {}
    for _ in range(62):
        deep = {"b": deep}
    assert compile_expression("a" + ".b" * 62 + " == {}", NAMES).holds({"a": deep})


def test_rows_and_signs_are_no_nesting() -> None:
    assert not compile_expression("||".join(["false"] * 499), NAMES).holds({})
    assert compile_expression("&&".join(["true"] * 499), NAMES).holds({})
    assert compile_expression("!" * 4_000 + "true", NAMES).holds({})
    assert compile_expression("-" * 4_000 + "1 == 1", NAMES).holds({})


@given(
    st.text(string.ascii_letters + string.digits + "\"'`()[]{}.,:?!&|<>=+-*/%\\ \n", max_size=60)
)
def test_any_text_is_a_condition_or_refused_with_a_place_in_it(text: str) -> None:
    assert place(text) in range(len(text) + 1)


@given(st.text(max_size=40))
def test_any_characters_are_read_or_refused(text: str) -> None:
    for each in (text, f"s == {text}", f"s == '{text}'"):
        assert place(each) in range(len(each) + 1)


STEPS = "the condition takes more than 100,000 steps for these values"
BUILT = "the condition builds more than 100,000 characters or items"
MANY_ITEMS = list(range(60_000))
LONG_TEXT = "a" * 90_000


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("l.all(x, x >= 0)", {"l": MANY_ITEMS}),
        ("l.exists(x, l.exists(y, l.exists(z, x + y + z < 0)))", {"l": MANY_ITEMS[:200]}),
        ("l.map(x, l.map(y, l)) == []", {"l": MANY_ITEMS[:1_000]}),
        ("l.map(x, s + s) == []", {"l": MANY_ITEMS, "s": LONG_TEXT[:40_000]}),
        ("l.all(x, s.contains('b') || true)", {"l": MANY_ITEMS[:200], "s": LONG_TEXT}),
        ("l.all(x, s.matches('(a|aa)*b') || true)", {"l": MANY_ITEMS[:200], "s": LONG_TEXT}),
        ("l.all(x, s != t)", {"l": MANY_ITEMS[:200], "s": LONG_TEXT, "t": LONG_TEXT[:-1] + "b"}),
        ("l.all(x, s <= t)", {"l": MANY_ITEMS[:200], "s": LONG_TEXT, "t": LONG_TEXT + "a"}),
        ("l.all(x, !(s in a))", {"l": MANY_ITEMS[:50], "s": "a", "a": ["b"] * 50_000}),
        ("l.all(x, int(s) == 1 || true)", {"l": MANY_ITEMS[:200], "s": LONG_TEXT}),
        ("a == l", {"a": MANY_ITEMS, "l": list(MANY_ITEMS)}),
        ("a == dyn(l)", {"a": [MANY_ITEMS] * 2, "l": [MANY_ITEMS] * 2}),
        ("-1 in a", {"a": list(range(100_001))}),
    ],
)
def test_an_evaluation_takes_so_many_steps_and_no_more(text: str, values: dict[str, Any]) -> None:
    assert error(text, **values) == STEPS


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("s + s == ''", {"s": LONG_TEXT}),
        ("s + s + s + s == '' || true", {"s": LONG_TEXT}),
        ("l + l == []", {"l": MANY_ITEMS}),
    ],
)
def test_what_is_built_has_a_size_and_no_more(text: str, values: dict[str, Any]) -> None:
    assert error(text, **values) == BUILT


def test_an_evaluation_that_costs_too_much_is_not_absorbed() -> None:
    for text in ("l.all(x, x >= 0) || true", "!(l.all(x, x >= 0) && false)"):
        assert error(text, l=MANY_ITEMS) == STEPS
    assert compile_expression("true || l.all(x, x >= 0)", NAMES).holds({"l": MANY_ITEMS})


def test_values_nested_without_end_are_compared_without_a_call_for_each() -> None:
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    assert compile_expression("a == a", NAMES).holds({"a": deep})


def test_a_value_that_holds_itself_is_compared_until_the_steps_are_spent() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert error("a == a", a=endless) == STEPS


def test_each_evaluation_has_steps_of_its_own() -> None:
    asked = compile_expression("l.all(x, x >= 0)", NAMES)
    for _ in range(5):
        assert asked.holds({"l": MANY_ITEMS[:20_000]})


def test_a_call_inside_a_call_is_made_once() -> None:
    nested = "string(" * 50 + "x" + ")" * 50
    assert compile_expression(f"l.all(x, {nested} == string(x))", NAMES).holds({"l": [1, 2]})
    nested = "(" * 50 + "x" + " + x)" * 50
    assert compile_expression(f"l.all(x, {nested} == 51 * x)", NAMES).holds({"l": [1, 2]})


def test_half_a_character_matches_nothing_and_is_an_error() -> None:
    assert error("s.matches('a')", s="\ud800") == (
        "half a character cannot be matched against a pattern"
    )
