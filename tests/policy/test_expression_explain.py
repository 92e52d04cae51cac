"""What a condition tells of itself: its clauses, what it reads, its constants, its variants."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.call import Clause
from saferun.policy.expression import (
    BOOL,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    EvaluationError,
    Expression,
    ListOf,
    MapOf,
    ObjectOf,
    compile_expression,
)

NAMES = {
    "args": ObjectOf(
        {"amount": INT, "note": STRING, "urgent": BOOL, "tags": ListOf(STRING), "extra": MapOf(DYN)}
    ),
    "user": ObjectOf({"tier": STRING}, open=True),
    "run": ObjectOf({"tools": ListOf(STRING)}),
    "now": TIMESTAMP,
    "a": DYN,
}
VALUES = {
    "args": {"amount": 30_000, "note": "hi", "urgent": False, "tags": ["a"], "extra": {"k": 1}},
    "user": {"tier": "silver"},
    "run": {"tools": ["search"]},
    "now": 1_700_000_000_000_000,
}


def compiled(text: str) -> Expression:
    return compile_expression(text, NAMES)


def told(text: str) -> list[tuple[str, Any, bool]]:
    return [(each.text, each.value, each.holds) for each in compiled(text).clauses(VALUES)]


def test_each_clause_is_told_with_the_value_it_saw() -> None:
    assert compiled('args.amount > 20000 && user.tier != "gold"').clauses(VALUES) == (
        Clause(text="args.amount > 20000", value=30_000, holds=True),
        Clause(text='user.tier != "gold"', value="silver", holds=True),
    )


def test_clauses_are_what_stands_below_every_logical_operator() -> None:
    text = "!(args.urgent || (args.note == 'x')) && (args.urgent ? 1 > 2 : 20000 < args.amount)"
    assert told(text) == [
        ("args.urgent", False, False),
        ("args.note == 'x'", "hi", False),
        ("args.urgent", False, False),
        ("1 > 2", False, False),
        ("20000 < args.amount", 30_000, True),
    ]


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("args.amount == args.extra.k", [30_000, 1], False),
        ("args.amount + 1 > 5", 30_001, True),
        ("args.note in ['hi', 'ho']", "hi", True),
        ("'search' in run.tools", ["search"], True),
        ("args.note in run.tools", ["hi", ["search"]], False),
        ("args.note.startsWith('h')", "hi", True),
        ("args.note.startsWith(user.tier)", ["hi", "silver"], False),
        ("matches(args.note, '^h')", "hi", True),
        ("size(args.note) > 1", 2, True),
        ("has(user.tier)", True, True),
        ("has(user.none)", None, False),
        ("args.tags.all(t, t == 'b')", ["a"], False),
        ("now > timestamp(0)", "2023-11-14T22:13:20Z", True),
        ("now - timestamp(0) > duration('1h')", "1700000000s", True),
        ("true", True, True),
    ],
)
def test_a_clause_shows_the_operands_that_are_no_constants(
    text: str, value: Any, holds: bool
) -> None:
    assert told(text) == [(text, value, holds)]


@pytest.mark.parametrize("text", ["user.none == 1", "1 / 0 > 1", "a.b.c", "user.tier.exists(x, x)"])
def test_a_clause_that_errs_saw_nothing_and_does_not_hold(text: str) -> None:
    asked = text.replace("user.tier.exists", "dyn(user.tier).exists")
    assert told(f"{asked} || true") == [(asked, None, False), ("true", True, True)]


def test_a_clause_that_costs_too_much_saw_nothing_and_leaves_its_neighbours_alone() -> None:
    asked = compiled("args.tags.all(t, t != '') && args.amount > 1")
    values = {"args": {"tags": ["a"] * 100_000, "amount": 5}}
    assert [each.value for each in asked.clauses(values)] == [None, 5]


@given(
    st.sampled_from(["args.amount > 1 && user.x == 2", "a", "!a.b || has(a.c)", "a.all(x, x)"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from("abcx"), inner, max_size=3)
        ),
        max_leaves=5,
    ),
)
def test_telling_raises_nothing_whatever_the_values_are(text: str, value: Any) -> None:
    asked = compiled(text)
    for values in ({}, {"a": value}, {"args": value, "user": value, "a": value}):
        clauses = asked.clauses(values)
        assert all(type(each.holds) is bool for each in clauses)
        if len(clauses) == 1:
            assert clauses[0].holds == _holds(asked, values)


def _holds(asked: Expression, values: dict[str, Any]) -> bool:
    try:
        return asked.holds(values)
    except EvaluationError:
        return False


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("args.amount > 1 && user.tier == 'a'", {("args", "amount"), ("user", "tier")}),
        ("args['amount'] > 1 && a['b'].c == 1", {("args", "amount"), ("a", "b", "c")}),
        ("has(user.none) || 'x' in run.tools", {("user", "none"), ("run", "tools")}),
        ("args.tags.all(t, t == args.note)", {("args", "tags"), ("args", "note")}),
        ("args.tags.exists(args, args == 'a')", {("args", "tags")}),
        ("a[0].b == 1 && a.c[args.note] == 1", {("a",), ("a", "c"), ("args", "note")}),
        ("now > timestamp(0)", {("now",)}),
        ("args == a", {("args",), ("a",)}),
        ("true", set()),
    ],
)
def test_a_condition_names_every_path_that_it_may_read(text: str, paths: set[Any]) -> None:
    assert compiled(text).reads == paths


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("args.amount > 20000", [(("args", "amount"), 20_000)]),
        ("20000 < args.amount", [(("args", "amount"), 20_000)]),
        ("args.amount > 200 * 100", [(("args", "amount"), 20_000)]),
        ("args.amount > -5", [(("args", "amount"), -5)]),
        ("args.note in ['a', 'b']", [(("args", "note"), "a"), (("args", "note"), "b")]),
        ("'a' in run.tools", [(("run", "tools"), "a")]),
        ("now > timestamp('1970-01-01T00:00:01Z')", [(("now",), 1_000_000)]),
        ("!(user.x == null) ? a == true : a.b != 1.5", None),
        ("args.amount > args.extra.k && size(args.note) > 3", []),
    ],
)
def test_a_condition_names_the_constants_that_it_compares_paths_with(
    text: str, constants: list[Any] | None
) -> None:
    if constants is None:
        constants = [(("user", "x"), None), (("a",), True), (("a", "b"), 1.5)]
    assert compiled(text).constants() == tuple(constants)


def test_a_variant_changes_one_thing_and_says_what() -> None:
    text = "args.amount > 20000 && user.tier != 'gold'"
    assert dict(compiled(text).variants()) == {
        "`&&` became `||` at character 21": "args.amount > 20000 || user.tier != 'gold'",
        "`>` became `>=` at character 13": "args.amount >= 20000 && user.tier != 'gold'",
        "`>` became `<` at character 13": "args.amount < 20000 && user.tier != 'gold'",
        "`20000` became `20001` at character 15": "args.amount > 20001 && user.tier != 'gold'",
        "`20000` became `19999` at character 15": "args.amount > 19999 && user.tier != 'gold'",
        "`!=` became `==` at character 34": "args.amount > 20000 && user.tier == 'gold'",
        "`'gold'` became `\"gold~\"` at character 37": (
            'args.amount > 20000 && user.tier != "gold~"'
        ),
        "the whole condition was negated": f"!({text}\n)",
    }


CONDITIONS = [
    "args.amount > 20000 && user.tier != 'gold'",
    "args.amount >= -1 || args.note in ['a', \"b\\n\"] // why",
    "(args.urgent || args.amount <= 0x10) && !has(user.none)",
    "args.tags.exists(t, t.startsWith('x') && t != 'xyz') ? args.urgent : a.b == 5u",
    "now > timestamp('2024-01-01T00:00:00Z') && now.getHours('Europe/Berlin') >= 9",
    "args.note.matches('^a{2}(b|c)$') == false || args.amount == 9223372036854775807",
    "args.extra['k'] == 1 && {'k': 'v'}.k == 'v' && size(args.tags) < 3",
    "a < 1 || a <= 2 || a > 3 || a >= 4 || a == 5 || a != 6",
]


@pytest.mark.parametrize("text", CONDITIONS)
def test_every_variant_is_a_condition_over_the_same_names_and_another_than_it_was(
    text: str,
) -> None:
    found = list(compiled(text).variants())
    assert len(found) >= 3
    texts = [changed for _, changed in found]
    assert len(set(texts)) == len(texts)
    for changed in texts:
        assert compiled(changed).text != text


def test_every_operator_and_constant_has_its_variants() -> None:
    texts = {changed for _, changed in compiled(CONDITIONS[-1]).variants()}
    for operator, others in {"<": ("<=", ">"), "<=": ("<", ">="), "!=": ("==",)}.items():
        for other in others:
            assert any(f"a {other} " in each for each in texts), operator
    assert len(texts) == 5 + (2 * 4 + 2) + 2 * 6 + 1


def test_a_negated_condition_answers_the_opposite() -> None:
    for text in CONDITIONS[:3]:
        asked = compiled(text)
        [negated] = [new for what, new in asked.variants() if "negated" in what]
        assert compiled(negated).holds(VALUES) is not asked.holds(VALUES)


def test_a_condition_shows_its_text_and_nothing_else() -> None:
    assert repr(compiled("args.amount > 1")) == "Expression('args.amount > 1')"
