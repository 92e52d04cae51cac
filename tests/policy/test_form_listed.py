"""`forbid`, none of these, and `among`, one of these."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policy.making import call, error, of, said, text
from saferun.policy.form.fold import fold
from saferun.policy.matcher import Matcher

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def admits(schema, value):
    return Matcher(schema).admits(value, floats=True)


def catches(schema, value):
    return Matcher(schema).catches(value, floats=True)


DROP = {"type": "string", "forbid": ["DROP TABLE"]}


@pytest.mark.parametrize(
    "spelling",
    [
        "DROP TABLE",
        "drop table",
        "  Drop\t\n table ",
        "DROP\u00a0TABLE",
        "D\u200bROP TABLE",
        "DROP\u2060 TABLE\ufeff",
        "DR\u00adOP TABLE",
        "DROP TAB\ufe0fLE",
        "ＤＲＯＰ　ＴＡＢＬＥ",
        "𝐃𝐑𝐎𝐏 𝐓𝐀𝐁𝐋𝐄",
        "DROP\x00 TABLE",
        "DROP TABLE\U000e0041",
        "DROP\u3164 TABLE",
    ],
)
def test_a_forbidden_text_is_refused_in_every_spelling(spelling):
    assert not admits(DROP, spelling)


@pytest.mark.parametrize("other", ["DROPTABLE", "DROP TABLES", "", "drop"])
def test_another_text_is_not_forbidden(other):
    assert admits(DROP, other)


@pytest.mark.parametrize("value", [5, 5.0])
def test_a_forbidden_number_is_refused_in_either_reading(value):
    assert not admits({"type": "number", "forbid": [5]}, value)


@pytest.mark.parametrize(("forbidden", "value"), [(1, True), (0, False), ("1", 1), (None, "")])
def test_values_of_different_types_are_not_each_other(forbidden, value):
    assert admits({"forbid": [forbidden]}, value)


def test_a_forbidden_list_or_object_is_recognised_by_what_it_holds():
    schema = {"forbid": [["Root"], {"User": ["root", 1]}]}
    assert not admits(schema, ["ROOT "])
    assert not admits(schema, {"user": ["ROOT", 1.0]})
    assert admits(schema, {"user": ["root", 1, 2]})


def test_a_value_of_any_depth_is_compared_no_deeper_than_what_is_forbidden():
    deep = []
    for _ in range(50_000):
        deep = [deep]
    assert admits({"forbid": [["a"], {"b": [1]}]}, deep)


def test_a_rule_that_stops_all_but_one_value_is_met_by_every_other_spelling_of_it():
    rule = {"type": "string", "forbid": ["USD"]}
    assert not catches(rule, "USD")
    assert catches(rule, "usd")
    assert catches(rule, "EUR")


@given(st.lists(values, min_size=1, max_size=4), values)
def test_what_is_listed_is_never_let_through_and_what_differs_is_caught(listed, value):
    schema = {"forbid": listed}
    assert not any(admits(schema, each) for each in listed)
    assert catches(schema, value) >= admits(schema, value)


@given(st.text())
def test_folding_twice_is_folding_once(word):
    assert fold(fold(word)) == fold(word)


@given(st.text(max_size=20))
def test_spellings_of_one_text_fold_alike(word):
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, word)) == fold(word)
    assert fold(f" {word}\u200b") == fold(word)


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_ascii_folds_as_python_folds_it(word):
    assume(word.isprintable())
    assert fold(word.upper()) == " ".join(word.lower().split())


COUNTRIES = {"type": "string", "among": ["DE", "FR", "Österreich"]}


def test_among_lets_through_the_very_texts_alone():
    assert admits(COUNTRIES, "DE")
    for value in ("de", "DE ", "D\u200bE", "O\u0308sterreich", "IT", ""):
        assert not admits(COUNTRIES, value)


def test_a_rule_that_stops_is_met_by_whatever_resembles_a_text_of_the_list():
    for value in ("DE", "de", " DE ", "D\u200bE", "ÖSTERREICH"):
        assert catches(COUNTRIES, value)
    assert not catches(COUNTRIES, "IT")


def test_what_is_not_among_some_texts_does_not_resemble_one_either():
    schema = {"type": "string", "not": {"among": ["root"]}}
    assert admits(schema, "alice")
    assert not admits(schema, "ROOT")


def test_a_list_may_be_long():
    many = [f"customer-{at}" for at in range(50_000)]
    schema = {"type": "string", "among": many}
    assert admits(schema, many[-1])
    assert not admits(schema, "customer-50000")


def test_neither_is_about_other_types_where_the_type_allows_them():
    assert admits({"type": ["string", "null"], "among": ["a"]}, None)


def test_a_denial_names_what_is_forbidden_and_not_what_was_said():
    policy = of("word: {type: string, forbid: [DROP, TRUNCATE]}")
    ruling = policy.decide(call({"word": "drop"}))
    assert said(ruling) == "word may not be any of DROP, TRUNCATE"


def test_a_denial_does_not_quote_a_list_of_texts():
    policy = of("to: {type: string, among: [alpha, beta, gamma]}")
    assert said(policy.decide(call({"to": "delta"}))) == "to must be one of the 3 values listed"


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{type: string, forbid: DROP}", "`forbid` is a list of the values"),
        ("{type: string, forbid: []}", "`forbid` is a list of the values"),
        ("{type: string, among: []}", "`among` is a list of texts, or `{file: NAME}`"),
        ("{type: string, among: [a, 5]}", "`among` lists texts; found the number 5"),
        ("{among: [a]}", "`among` is about text, and a value of any other type would pass"),
        ("{type: integer, among: [a]}", "`among` is about text and would check nothing here"),
        ("{type: string, forbids: [a]}", "did you mean `forbid`?"),
    ],
)
def test_what_is_wrong_with_a_list_is_told(schema, fault):
    assert fault in error(text(f"args: {{a: {schema}}}\n"))
