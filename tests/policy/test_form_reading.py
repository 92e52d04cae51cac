"""Forms in both readings, in the schemas of a whole tool, and without them for analysis."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from policy.making import call
from saferun.policy import explain, loads
from saferun.policy.form import FORMS, plain
from saferun.policy.matcher import Complaint, Matcher, compiled
from saferun.policy.wording import clauses

ACME = {"email": {"domains": ["acme.com"]}}
EVIL = {"email": {"domains": ["evil.com"]}}

atoms = st.sampled_from(
    [
        ACME,
        EVIL,
        {"forbid": ["a@acme.com", 5]},
        {"forbid": [5]},
        {"among": ["a@acme.com", "root"]},
        {"under": "/srv"},
        {"url": {"domains": ["acme.com"]}},
        {"const": "root"},
        {"maxLength": 10},
        {"type": "integer"},
    ]
)
schemas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds(lambda each: {"not": each}, inner),
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"allOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"oneOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda one, two, three: {"if": one, "then": two, "else": three}, inner, inner, inner
        ),
        st.builds(lambda each: {"items": each}, inner),
        st.builds(lambda each: {"contains": each, "maxContains": 1}, inner),
        st.builds(lambda each: {"properties": {"a": each}}, inner),
        st.builds(
            lambda one, two: {"anyOf": [{"properties": {"a": one}}], "unevaluatedProperties": two},
            inner,
            inner,
        ),
    ),
    max_leaves=5,
)
words = st.sampled_from(
    [
        "a@acme.com",
        "A@ACME.com",
        "a@аcme.com",
        "a@evil.com",
        "a@evi1.com",
        "a@other.org",
        "root",
        "ROOT ",
        "/srv/a",
        "/srv/../a",
        "/etc",
        "https://acme.com",
        "http://acme.com",
        "",
    ]
)
values = st.recursive(
    words | st.sampled_from([5, 5.0, 6, True, None]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(schemas, values)
def test_what_is_let_through_is_caught_as_well(schema, value):
    matcher = Matcher(schema)
    assert matcher.catches(value, floats=True) >= matcher.admits(value, floats=True)


@given(schemas, values)
def test_what_lets_through_and_what_stops_are_each_other_turned_round(schema, value):
    turned = Matcher({"not": schema})
    assert turned.admits(value, floats=True) != Matcher(schema).catches(value, floats=True)


@given(schemas, values)
def test_a_glance_is_never_more_generous_than_a_look(schema, value):
    if compiled(schema).is_valid(value):
        assert Matcher(schema).admits(value, floats=False)
    if compiled({"not": schema}).is_valid(value):
        assert not Matcher(schema).catches(value, floats=False)


@given(schemas, values)
def test_a_value_that_is_not_admitted_has_a_complaint(schema, value):
    matcher = Matcher(schema)
    assert bool(matcher.complaints(value)) == (not matcher.admits(value, floats=True))


@given(schemas, values)
def test_a_value_fits_where_it_fits_each_clause(schema, value):
    each = [Matcher(part).admits(value, floats=True) for _, part in clauses("args.a", schema)]
    assert Matcher(schema).admits(value, floats=True) == all(each)


@given(schemas, values, st.booleans())
def test_the_plain_schema_holds_of_everything_that_the_form_holds_of(schema, value, to_allow):
    stripped, exact = plain(schema, to_allow=to_allow)
    matcher = Matcher(schema)
    holds = matcher.admits if to_allow else matcher.catches
    if _holds_number(value):
        return
    fits = Draft202012Validator(stripped).is_valid(value)
    assert fits >= holds(value, floats=False)
    if exact:
        assert fits == holds(value, floats=False)


def _holds_number(value):
    # Two readings of numbers are no matter of the forms.
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, float) or any(map(_holds_number, held))


@pytest.mark.parametrize(
    ("schema", "expected", "exact"),
    [
        ({"type": "integer", "unit": "s", "written": {}}, {"type": "integer"}, True),
        ({"among": ["a"]}, {"allOf": [{"enum": ["a"]}]}, True),
        ({"forbid": [5]}, {"allOf": [{"not": {"enum": [5]}}]}, True),
        ({"forbid": ["a"]}, {"allOf": [{"not": {"enum": ["a"]}}]}, False),
        ({"type": "string", **ACME}, {"type": "string"}, False),
        ({"not": ACME}, {"not": False}, False),
    ],
)
def test_a_plain_schema_keeps_what_json_schema_can_say(schema, expected, exact):
    assert plain(schema) == (expected, exact)


@pytest.mark.parametrize("name", ["email", "sql", "unit", "maximum"])
def test_a_property_may_have_the_name_of_a_form(name):
    matcher = Matcher({"properties": {"unit": {"type": "string"}, name: False}})
    assert matcher.admits({"other": 5}, floats=False)
    assert matcher.complaints({name: 5}) == [Complaint((name,), "falseSchema", False)]


def test_a_schema_without_forms_reads_floats_alone_in_two_ways():
    assert not Matcher({"type": "string", "maxLength": 5}).exacting
    assert Matcher({"type": "string", **ACME}).exacting


@pytest.mark.parametrize("keyword", FORMS)
def test_a_form_that_fails_stands_in_the_way(keyword, monkeypatch):
    said = {"forbid": ["a"], "among": ["a"], "under": "/a", "sql": {"dialect": "mysql"}}
    schema = {"type": "string", keyword: said.get(keyword, {})}

    def fail(*_, **__):
        raise RecursionError

    monkeypatch.setattr(type(FORMS[keyword](schema[keyword])), "holds", fail)
    assert not Matcher(schema).admits("a", floats=False)
    assert Matcher(schema).catches("a", floats=False)
    assert not Matcher({"not": schema}).admits("a", floats=False)
    assert Matcher({"not": schema}).catches("a", floats=False)


fragments = st.sampled_from([ACME, EVIL, {"forbid": ["a@acme.com"]}, {"not": ACME}, {"not": EVIL}])
rules = st.lists(st.tuples(st.sampled_from(["allow", "ask", "deny"]), fragments), max_size=4)
arguments = st.sampled_from([{}, ACME, {"not": EVIL}, {"forbid": ["root"]}])


@given(arguments, rules, st.sampled_from(["allow", "ask", "deny"]), words)
def test_a_ruling_is_what_each_rule_says_by_itself(argument, some, default, value):
    tool = {
        "args": {"to": {"type": "string", **argument}},
        "default": default,
        "rules": [
            {"id": f"r{at}", answer: True, "args": {"to": fragment}}
            for at, (answer, fragment) in enumerate(some)
        ],
    }
    policy = loads(json.dumps({"version": 1, "tools": {"t": tool}}))
    ruling = policy.decide(call({"to": value}, tool="t"))
    explained = explain(policy, call({"to": value}, tool="t"))
    assert explained.verdict == ruling.verdict
    if not Matcher(tool["args"]["to"]).admits(value, floats=False):
        assert ruling.verdict == "deny"
        return
    spoken = set()
    for answer, fragment in some:
        matcher = Matcher(fragment)
        holds = matcher.admits if answer == "allow" else matcher.catches
        if holds(value, floats=False):
            spoken.add(answer)
    expected = next((each for each in ("deny", "ask", "allow") if each in spoken), default)
    assert ruling.verdict == expected
