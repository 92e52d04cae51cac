"""What a condition means: its operators, errors that are absorbed, and what it reads."""

import threading
from typing import Any

import pytest

from saferun.policy.expression import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    EvaluationError,
    ListOf,
    MapOf,
    ObjectOf,
    compile_expression,
)

NAMES = {
    "args": ObjectOf(
        {
            "amount": INT,
            "rate": DOUBLE,
            "note": STRING,
            "urgent": BOOL,
            "tags": ListOf(STRING),
            "sizes": ListOf(INT),
            "extra": MapOf(DYN),
        }
    ),
    "user": ObjectOf({"tier": STRING}, open=True),
    "run": ObjectOf({"tools": ListOf(STRING), "calls": INT}),
    "now": TIMESTAMP,
}
ARGS = {
    "amount": 30_000,
    "rate": 2.5,
    "note": "hello",
    "urgent": True,
    "tags": ["a", "b"],
    "sizes": [1, 2, 3],
    "extra": {"k": 1},
}
VALUES = {
    "args": ARGS,
    "user": {"tier": "silver", "age": 30},
    "run": {"tools": ["search"], "calls": 3},
    "now": 1_709_208_000_000_000,
}
"""It is noon of the 29th of February 2024, a Thursday, in UTC."""


def holds(text: str, **args: Any) -> bool:
    return compile_expression(text, NAMES).holds({**VALUES, "args": {**ARGS, **args}})


def error(text: str, **args: Any) -> str:
    """Why a condition has no answer."""
    with pytest.raises(EvaluationError) as caught:
        holds(text, **args)
    return str(caught.value)


TRUE = [
    'args.amount > 20000 && user.tier != "gold"',
    "args.amount == 30000.0 && args.rate < 3",
    '"search" in run.tools && !("delete" in run.tools)',
    'args.note in ["hello", "bye"] && args.amount in [1, 30000]',
    '"k" in args.extra && args.extra.k == 1 && args["extra"]["k"] == 1',
    "args.tags.all(t, t.size() == 1) && args.tags.exists(t, t == 'b')",
    "args.sizes.exists_one(s, s > 2) && args.extra.all(k, k == 'k')",
    "args.sizes.map(s, s * 2) == [2, 4, 6] && args.sizes.filter(s, s > 1).size() == 2",
    "args.sizes.map(s, s > 1, s * 2) == [4, 6]",
    "args.sizes.all(a, args.sizes.exists(b, a == b))",
    "args.sizes.all(s, args.sizes.all(s, s > 0) && s < 4)",
    "args.note + '!' == 'hello!' && args.sizes + [4] == [1, 2, 3, 4]",
    "args.note.startsWith('he') && args.note.endsWith('lo') && args.note.contains('ll')",
    "args.note.matches('^h.*o$') && matches(args.note, 'l{2}')",
    "-args.amount == -30000 && 7 / 2 == 3 && -7 / 2 == -3 && -7 % 2 == -1 && 7.0 / 2.0 == 3.5",
    "args.urgent ? args.amount > 1 : false",
    "args.sizes[0] == 1 && args.tags[1] == 'b'",
    "int('5') == 5 && double(5) == 5.0 && string(5) == '5' && bool('true')",
    "now > timestamp('2024-02-29T11:00:00Z') && now - duration('1h') < now",
    "now.getDayOfWeek() == 4 && now.getHours('Asia/Tokyo') == 21 && now.getMonth() == 1",
    "{'a': [1, 2.0]} == {'a': [1.0, 2]} && {'a': 1}.a == 1",
    "dyn(args.note) != 5 && args.extra != {}",
    "user.age >= 18 && user.age == 30.0",
    "size(args.note) == 5 && size(args.tags) == 2 && size(args.extra) == 1",
    "1 + 2 * 3 - 4 / 2 == 5 && !(1 > 2) && (1 < 2) == true",
    "true || false && false // `&&` binds closer",
    "[[1], []] != [[1]] && [] == []",
]


@pytest.mark.parametrize("text", TRUE)
def test_a_condition_holds(text: str) -> None:
    assert holds(text)
    assert not holds(f"!({text}\n)")


def test_whole_numbers_that_json_writes_for_numbers_are_read_as_such() -> None:
    assert holds("args.rate / 2.0 == 2.5", rate=5)


ERRORS = {
    "user.home == 'x'": "`user.home` is missing",
    "user.home.city == 'x'": "`user.home` is missing",
    "user.age.x == 1": "`user.age` is not an object",
    "has(user.home.city)": "`user.home` is missing",
    "has(user.age.city)": "`user.age` is not an object",
    "args.sizes[3] == 1": "`args.sizes[3]` is missing",
    "args.sizes[-1] == 1": "`args.sizes[-1]` is missing",
    "args.extra[args.note] == 1": "`args.extra[args.note]` is missing",
    "args.sizes.map(s, {'a': s})[0].b == 1": "`args.sizes.map(s, {'a': s})[0].b` is missing",
    "dyn(args.note).x == 1": "`dyn(args.note)` is not an object",
    "dyn(args.note)[0] == 'h'": "`dyn(args.note)` has no item of such a kind",
    "args.amount + 9223372036854775807 > 1": (
        "the result is a whole number that does not fit 64 bits"
    ),
    "-(args.amount - 9223372036854775807 - 30001) > 1": (
        "the result is a whole number that does not fit 64 bits"
    ),
    "args.amount / 0 > 1": "division by zero",
    "args.amount % 0 > 1": "division by zero",
    "args.rate / 0.0 > 1.0": "the result is not a finite number",
    "user.age > 'a'": "`>` does not work on a whole number and a string",
    "'a' < user.age": "`<` does not work on a string and a whole number",
    "user.age + 'a' == 'a'": "`+` does not work on a whole number and a string",
    "-user.tags == 1": "`user.tags` is missing",
    "-dyn(args.note) == 1": "`-` does not work on a string",
    "user.age": "`user.age` is not true or false",
    "!user.age": "`user.age` is not true or false",
    "user.age ? true : false": "`user.age` is not true or false",
    "user.age.size() == 1": "`size` does not work on a whole number",
    "user.age.exists(x, true)": "`exists` goes through no whole number",
    "1 in user.age": "what stands after `in` is neither a list nor an object",
    "user.none in args.extra": "`user.none` is missing",
    "dyn(args.sizes) in args.extra": "a list is never a key of an object",
    "int(args.note) == 1": "the text is not a whole number of 64 bits",
    "double(args.note) == 1.0": "the text is not a finite number",
    "bool(args.note)": "the text is neither true nor false",
    "int(args.rate * 1e300) == 1": "the number does not fit a whole number of 64 bits",
    "{args.note: 1, args.note: 2} == {}": "a key of a map stands in it a second time",
    "{user.age: 1} == {}": "a key of a map is not a string",
    "timestamp(args.amount * 100000000) > now": "a timestamp lies outside of the years 1 to 9999",
    "now - timestamp('0001-01-01T00:00:00Z') > duration('1s')": (
        "a duration is longer than 292 years"
    ),
}


@pytest.mark.parametrize(("text", "why"), ERRORS.items())
def test_a_condition_without_an_answer_says_why_and_quotes_no_value(text: str, why: str) -> None:
    assert error(text) == why


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("amount", "9", "`args.amount` is not a whole number of 64 bits"),
        ("amount", True, "`args.amount` is not a whole number of 64 bits"),
        ("amount", 5.0, "`args.amount` is not a whole number of 64 bits"),
        ("amount", 2**63, "`args.amount` is not a whole number of 64 bits"),
        ("amount", None, "`args.amount` is not a whole number of 64 bits"),
        ("rate", float("nan"), "`args.rate` is not a finite number"),
        ("rate", float("inf"), "`args.rate` is not a finite number"),
        ("rate", True, "`args.rate` is not a finite number"),
        ("rate", 2**64, "`args.rate` is not a finite number"),
        ("note", 5, "`args.note` is not a string"),
        ("note", ["hello"], "`args.note` is not a string"),
        ("urgent", 1, "`args.urgent` is not true or false"),
        ("tags", "ab", "`args.tags` is not a list"),
        ("extra", [], "`args.extra` is not an object"),
    ],
)
def test_a_value_of_another_type_than_declared_is_an_error(name: str, value: Any, why: str) -> None:
    compared = {"amount": "> 1", "rate": "> 1", "note": "!= ''", "urgent": "!= false"}
    asked = f"args.{name} {compared.get(name, '!= ' + ('[]' if name == 'tags' else '{}'))}"
    assert error(asked, **{name: value}) == why
    assert error(f"!({asked})", **{name: value}) == why


def test_an_item_of_another_type_than_declared_is_an_error_where_it_is_read() -> None:
    assert (
        error("args.sizes.all(s, s > 0)", sizes=[1, "2"]) == "`s` is not a whole number of 64 bits"
    )
    assert error("args.sizes[0] == 1", sizes=[True]).startswith("`args.sizes[0]` is not")
    assert holds("args.sizes.exists(s, s > 0)", sizes=[1, "2"])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("nan"), (1,), {1}, b"a", object()])
def test_a_value_of_any_type_is_one_that_json_has(value: Any) -> None:
    assert error("args.extra.k != 1", extra={"k": value}) == (
        "`args.extra.k` is not a value that a condition can read"
    )
    assert error("args.extra == {'k': 1}", extra={"k": value}).startswith("a number in a list")


def test_a_name_that_was_not_handed_in_is_missing() -> None:
    with pytest.raises(EvaluationError, match="`args` is missing"):
        compile_expression("args.amount > 1", NAMES).holds({})
    with pytest.raises(EvaluationError, match="`args` is not an object"):
        compile_expression("args.amount > 1", NAMES).holds({"args": [1]})
    with pytest.raises(EvaluationError, match="`now` is missing"):
        compile_expression("now > timestamp(0)", NAMES).holds({})


BROKEN = ["user.none == 1", "1 / 0 == 1", "user.age", "args.sizes[9] == 1"]


@pytest.mark.parametrize("broken", BROKEN)
def test_an_error_is_absorbed_where_the_other_side_decides(broken: str) -> None:
    for decided in (f"{broken} || true", f"true || {broken}", f"false || {broken} || true"):
        assert holds(decided)
    for decided in (f"{broken} && false", f"false && {broken}", f"true && {broken} && false"):
        assert not holds(decided)


@pytest.mark.parametrize("broken", BROKEN)
def test_an_error_stands_where_nothing_decides_without_it(broken: str) -> None:
    for undecided in (f"{broken} || false", f"false || {broken}", f"{broken} && true", broken):
        assert error(undecided) == error(f"true && {broken}")


def test_of_two_errors_the_first_is_told() -> None:
    assert error("user.one == 1 && user.two == 1") == "`user.one` is missing"
    assert error("user.one == 1 || user.two == 1 || user.three == 1") == "`user.one` is missing"


def test_macros_absorb_errors_as_a_row_of_terms_would() -> None:
    assert holds("['a', 2].exists(x, x > 1)")
    assert not holds("['a', 2].all(x, x > 5)")
    assert error("['a', 2].all(x, x > 1)") == "`>` does not work on a string and a whole number"
    assert error("['a', 2].exists_one(x, x > 1)").startswith("`>` does not work on")


def test_only_the_branch_that_is_taken_can_fail() -> None:
    assert holds("args.urgent ? true : user.none == 1")
    assert error("args.urgent ? user.none == 1 : true") == "`user.none` is missing"


def test_a_field_that_may_be_missing_is_asked_for_first() -> None:
    assert holds("has(user.tier) && !has(user.none) && !has(args.extra.other)")
    assert not holds("has(user.none) && user.none > 1")


def test_a_bool_is_no_number() -> None:
    assert holds("dyn(true) != 1 && !(true in [dyn(1)]) && dyn(1) != true && [true] != [dyn(1)]")
    assert holds("args.extra.k != 1 && !(args.extra.k in [1, 2])", extra={"k": True})


def test_names_shadowed_by_a_macro_are_back_after_it() -> None:
    assert holds("args.sizes.all(args, args > 0) && args.amount > 0")


def test_a_time_comes_in_as_microseconds_and_nothing_else() -> None:
    asked = compile_expression("now >= timestamp('1970-01-01T00:00:00.000001Z')", NAMES)
    assert asked.holds({"now": 1})
    assert not asked.holds({"now": 0})
    for value in (1.0, "1970-01-01T00:00:00Z", True, None):
        with pytest.raises(EvaluationError, match="`now` is not a timestamp"):
            asked.holds({"now": value})


def test_deciding_leaves_the_values_as_they_were() -> None:
    values = {"args": {"sizes": [1, 2]}}
    compile_expression("args.sizes.map(s, s + 1) + [1] != []", NAMES).holds(values)
    assert values == {"args": {"sizes": [1, 2]}}


def test_one_condition_answers_several_threads_at_once() -> None:
    asked = compile_expression("args.sizes.all(s, args.sizes.exists(t, t == s + 0))", NAMES)
    wrong: list[int] = []

    def ask(size: int) -> None:
        sizes = list(range(size, size + 40))
        for _ in range(20):
            if not asked.holds({"args": {"sizes": sizes}}):
                wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_condition_cannot_be_changed() -> None:
    asked = compile_expression("args.amount > 1", NAMES)
    with pytest.raises(AttributeError):
        asked.text = "true"  # type: ignore[misc]
