"""Ways round a policy that have been tried elsewhere, and must not work here."""

import math
from decimal import Decimal
from enum import IntEnum, StrEnum

import pytest

from policy.making import FITS, REFUND, call, of, policy, said
from saferun.policy import explain

LARGE = "- {id: large, deny: true, args: {amount: {minimum: 5000}}}\n"


def verdict(schema: str, value: object) -> str:
    return of(f"a: {schema}").decide(call({"a": value})).verdict


@pytest.mark.parametrize("amount", ["4000", "9e9x", "1", "", "0x10", "４０００"])
def test_a_number_as_text_is_no_number(amount):
    assert policy().decide(call({**FITS, "amount": amount})).verdict == "deny"


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "schema",
    ["{type: integer}", "{type: number}", "{enum: [0, 1]}", "{enum: [0.0, 1.0]}", "{const: 1}"],
)
def test_a_boolean_is_no_number(schema, value):
    assert verdict(schema, value) == "deny"


@pytest.mark.parametrize("schema", ["{const: true}", "{enum: [true, false]}", "{type: boolean}"])
@pytest.mark.parametrize("value", [1, 0, 1.0, "true"])
def test_a_number_is_no_boolean(schema, value):
    assert verdict(schema, value) == "deny"


@pytest.mark.parametrize(
    "schema",
    [
        "{type: integer}",
        "{type: [integer, string]}",
        "{const: 5}",
        "{enum: [4, 5]}",
        "{type: number, const: 5}",
        "{anyOf: [{type: integer}, {type: string}]}",
        "{oneOf: [{type: integer}, {type: string}]}",
        "{allOf: [{type: integer}]}",
        "{type: number, not: {const: 5}}",
        "{not: {type: integer}}",
        "{type: number, if: {const: 5}, then: false}",
        "{type: number, if: {type: integer}, then: {minimum: 6}}",
    ],
)
def test_a_whole_number_with_a_decimal_point_does_not_pass_for_another(schema):
    assert verdict(schema, 5.0) == "deny"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("{type: array, items: {type: integer}}", [5, 5.0]),
        ("{type: array, prefixItems: [{type: integer}]}", [5.0]),
        ("{type: array, contains: {type: integer}}", [5.0]),
        ("{type: object, properties: {b: {type: integer}}}", {"b": 5.0}),
        ("{type: object, patternProperties: {'^b': {type: integer}}}", {"b": 5.0}),
        ("{type: object, additionalProperties: {type: integer}}", {"b": 5.0}),
        ("{type: object, unevaluatedProperties: {type: integer}}", {"b": 5.0}),
        (
            "{type: object, dependentSchemas: {b: {properties: {c: {const: 5}}}}}",
            {"b": 1, "c": 5.0},
        ),
        ("{const: {b: [5]}}", {"b": [5.0]}),
        ("{enum: [[5], [6]]}", [5.0]),
        (
            "{type: array, items: {type: array, items: {anyOf: [{type: integer}, {const: x}]}}}",
            [["x"], [5, 5.0]],
        ),
    ],
)
def test_a_decimal_point_is_seen_however_deep_it_is(schema, value):
    assert verdict(schema, value) == "deny"


@pytest.mark.parametrize("value", [1e3, 1e300, -0.0])
def test_a_number_in_scientific_notation_is_no_integer(value):
    assert verdict("{type: integer}", value) == "deny"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("{type: number}", 5),
        ("{type: number}", 5.0),
        ("{type: number, maximum: 5}", 5.0),
        ("{const: 5.0}", 5),
        ("{const: 5.0}", 5.0),
        ("{enum: [0.5, 1.0]}", 1),
        ("{const: {b: 5.0}}", {"b": 5}),
        ("{type: object, properties: {b: {type: integer}, c: {type: number}}}", {"b": 5, "c": 5.0}),
    ],
)
def test_numbers_that_are_the_same_to_everybody_pass(schema, value):
    assert verdict(schema, value) == "allow"


@pytest.mark.parametrize("value", [5000, 5000.0])
def test_what_stops_a_call_is_not_fooled_by_the_spelling_of_a_number(value):
    made = of(
        "amount: {type: number}",
        rules="- {id: r, deny: true, args: {amount: {enum: [5000, 6000]}}}",
    )
    assert made.decide(call({"amount": value})).verdict == "deny"
    made = of(
        "amount: {type: number}",
        rules="- {id: r, deny: true, args: {amount: {type: integer}}}",
    )
    assert made.decide(call({"amount": value})).verdict == "deny"


def test_a_rule_that_allows_is_not_fooled_by_the_spelling_of_a_number():
    made = of(
        "amount: {type: number}",
        rules="- {id: r, allow: true, args: {amount: {enum: [5000]}}}\n- {id: s, ask: true}",
    )
    assert [r.id for r in made.decide(call({"amount": 5000})).reasons] == ["s", "r"]
    assert [r.id for r in made.decide(call({"amount": 5000.0})).reasons] == ["s"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "tool",
    [
        "args: {a: {type: number}}\n",
        "args: {a: {type: number, maximum: 5}}\n",
        "args: {a: {type: number, minimum: 5}}\n",
        "args: {a: {}}\n",
        "args: any\n",
    ],
)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [1, [x]], lambda x: {"b": {"c": x}}])
def test_a_number_that_is_none_never_passes(tool, value, wrap):
    ruling = policy(tool).decide(call({"a": wrap(value)}))
    assert ruling.verdict == "deny"


@pytest.mark.parametrize("bound", [2**53, 2**63, 2**64, 2**70, 10**60])
def test_large_integers_are_compared_exactly(bound):
    schema = f"{{type: integer, maximum: {bound}}}"
    assert verdict(schema, bound) == "allow"
    assert verdict(schema, bound + 1) == "deny"
    assert verdict(f"{{const: {bound}}}", bound + 1) == "deny"
    assert verdict(f"{{enum: [{bound}]}}", bound) == "allow"
    assert verdict(f"{{enum: [{bound}]}}", float(bound)) == "deny"


@pytest.mark.parametrize("value", [2**53 + 1, 2**64 + 1, 10**400, -(10**400)])
def test_an_integer_of_any_size_is_held_to_its_bounds(value):
    assert verdict("{type: integer, minimum: 1, maximum: 100000}", value) == "deny"


def test_a_rule_catches_integers_of_any_size():
    made = of("amount: {type: integer}", rules=LARGE)
    for value in (5000, 2**64 + 1, 10**400):
        assert made.decide(call({"amount": value})).verdict == "deny"


@pytest.mark.parametrize(
    "name",
    [
        "Refund",
        "REFUND",
        " refund",
        "refund ",
        "refund\u200b",
        "ref\xadund",
        "rеfund",
        "refund\x00",
        "ｒefund",
        "refund.",
        "refund_v2",
        "functions.refund",
        "",
    ],
)
def test_a_tool_under_another_spelling_of_its_name_is_not_that_tool(name):
    ruling = policy(rules=LARGE).decide(call(tool=name))
    assert (ruling.verdict, ruling.reasons[0].id) == ("deny", "default")


@pytest.mark.parametrize("name", ["Amount", "amount ", "amоunt", "amount\u200b", "**amount", "*3"])
def test_an_argument_under_another_spelling_of_its_name_is_another_argument(name):
    assert policy().decide(call({**FITS, name: 1})).verdict == "deny"
    renamed = {key: value for key, value in FITS.items() if key != "amount"}
    assert policy().decide(call({**renamed, name: 1})).verdict == "deny"


@pytest.mark.parametrize("value", ["usd", "USD ", "USD\u200b", "ＵSD", "USD\n", ["USD"], None])
def test_a_constant_under_another_spelling_is_not_that_constant(value):
    assert policy().decide(call({**FITS, "currency": value})).verdict == "deny"


@pytest.mark.parametrize("value", [{"$gt": 0}, {"amount": 1}, [4000], [[4000]], {}, []])
def test_a_structure_in_the_place_of_a_number_is_no_number(value):
    assert policy().decide(call({**FITS, "amount": value})).verdict == "deny"


def test_an_argument_that_the_policy_does_not_name_never_passes():
    assert policy().decide(call({**FITS, "as_admin": True})).verdict == "deny"
    assert policy().decide(call({**FITS, "": None})).verdict == "deny"


def test_leaving_out_the_argument_that_a_rule_looks_at_is_no_way_round_it():
    without = {"order_id": "A-17", "currency": "USD"}
    assert policy(rules=LARGE).decide(call(without)).verdict == "deny"


def test_giving_null_for_the_argument_that_a_rule_looks_at_is_no_way_round_it():
    assert policy(rules=LARGE).decide(call({**FITS, "amount": None})).verdict == "deny"


def test_marking_an_argument_as_left_to_the_tool_is_no_way_round_its_schema():
    marked = call({**FITS, "amount": 10**9}, defaulted=frozenset(FITS))
    assert policy().decide(marked).verdict == "deny"


class _Text(str):
    __slots__ = ()


class _Number(float):
    __slots__ = ()


class _Whole(IntEnum):
    ONE = 1


class _Word(StrEnum):
    USD = "USD"


@pytest.mark.parametrize(
    "value",
    [(1,), {1}, b"x", Decimal(1), object(), _Text("x"), _Number(5.0), _Whole.ONE, _Word.USD, 1j],
)
@pytest.mark.parametrize("tool", ["args: {a: {}}\n", "args: any\n"])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"b": [x]}])
def test_a_value_of_any_type_but_jsons_own_is_denied(tool, value, wrap):
    assert policy(tool).decide(call({"a": wrap(value)})).verdict == "deny"


@pytest.mark.parametrize("tool", ["args: {a: {}}\n", "args: any\n"])
def test_an_object_whose_keys_are_no_text_is_denied(tool):
    assert policy(tool).decide(call({"a": {1: 2}})).verdict == "deny"


@pytest.mark.parametrize(
    "schema", ["{enum: [a]}", "{type: string, pattern: '.'}", "{type: string, format: email}"]
)
def test_half_a_surrogate_pair_matches_nothing(schema):
    assert verdict(schema, "\ud800") == "deny"


def _deep(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [300, 100_000])
@pytest.mark.parametrize("schema", ["{type: string}", "{const: [[1]]}", "{enum: [a, 1]}"])
def test_a_value_of_any_depth_is_denied_without_an_error(schema, depth):
    ruling = of(f"a: {schema}").decide(call({"a": _deep(depth)}))
    assert (ruling.verdict, ruling.reasons[0].id) == ("deny", "refund.args")


def test_a_value_of_any_depth_is_looked_through_for_decimal_points():
    made = of("a: {}\nb: {type: integer}")
    assert made.decide(call({"a": [5.0, _deep(100_000)], "b": 5})).verdict == "allow"
    assert made.decide(call({"a": [5.0, _deep(100_000)], "b": 5.0})).verdict == "deny"


def test_a_value_of_any_length_is_held_to_its_length():
    assert verdict("{type: string, maxLength: 40}", "x" * 10_000_000) == "deny"
    assert verdict("{type: array, maxItems: 40}", [0] * 1_000_000) == "deny"


def test_a_value_with_very_many_faults_is_denied_without_listing_them():
    made = of("a: {anyOf: [{type: string}, {type: array, items: {type: string}}]}")
    ruling = made.decide(call({"a": [0] * 1_000_000}))
    assert said(ruling) == "a does not fit the schema of the policy"


def test_very_many_strange_arguments_make_a_short_message():
    args = {f"{n}" * 100: n for n in range(100_000)}
    assert len(said(policy().decide(call(args)))) < 3000


@pytest.mark.parametrize(
    "hostile", ["\x1b[31m", "\u202eevil", "`", "\n\n# Heading", "\u200b", "<b>"]
)
def test_a_name_that_the_model_chose_cannot_act_on_a_reader(hostile):
    ruling = policy().decide(call({**FITS, f"a{hostile}b": 1}))
    strange = policy().decide(call(tool=f"a{hostile}b"))
    for message in (said(ruling), said(strange)):
        assert message.isprintable()
        assert message.count("`") == 2


def test_a_key_of_an_object_that_the_model_chose_cannot_act_on_a_reader():
    made = of("a: {type: object, additionalProperties: {type: integer}}")
    message = said(made.decide(call({"a": {"\x1b[31m" + "x" * 500: "y"}})))
    assert message.isprintable()
    assert len(message) < 200


def test_a_path_of_very_many_steps_is_told_in_part():
    made = of("a: {type: array, items: {type: array, items: {anyOf: [{type: array}]}}}")
    assert len(said(made.decide(call({"a": [[_deep(3)], [["x"], "y"]]})))) < 200


def test_explaining_a_hostile_call_raises_nothing():
    made = policy(rules=LARGE)
    for args in (
        {**FITS, "amount": math.nan},
        {**FITS, "amount": "\ud800"},
        {**FITS, "amount": _deep(1000)},
        {**FITS, "amount": object()},
        {**FITS, "x" * 1000: None},
        {},
    ):
        assert explain(made, call(args)).verdict == "deny"


def test_what_was_decided_is_the_very_dict_that_is_handed_on():
    given = call()
    assert policy(REFUND).decide(given).args is given.args
