"""Amounts, durations and sizes, written with their units and compared as numbers."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.making import call, decide, error, of, said, text
from saferun.policy.form import expand, parse_duration, units


def expanded(schema):
    faults = []
    return expand(schema, lambda steps, why: faults.append((steps, why))), faults


def number(unit, quantity, kind="integer"):
    schema, faults = expanded({"type": kind, "unit": unit, "maximum": quantity})
    assert not faults
    return schema["maximum"]


def fault(unit, quantity, kind="integer"):
    _, [(steps, why)] = expanded({"type": kind, "unit": unit, "maximum": quantity})
    assert steps == ("maximum",)
    return why


@pytest.mark.parametrize(
    ("unit", "quantity", "meant"),
    [
        ("cents", "200 USD", 20_000),
        ("cents", "$200", 20_000),
        ("cents", "200.50 EUR", 20_050),
        ("cents", "€0.01", 1),
        ("cents", "15 cents", 15),
        ("USD", "200 USD", 200),
        ("USD", "$ 200", 200),
        ("GBP", "£3", 3),
        ("JPY", "5000 JPY", 5000),
        ("cents", "-5 USD", -500),
        ("s", "1h30m", 5400),
        ("s", "1 h 30 min", 5400),
        ("ms", "500 ms", 500),
        ("ms", "2 seconds", 2000),
        ("min", "1d", 1440),
        ("seconds", "2 hours", 7200),
        ("B", "10 MB", 10_000_000),
        ("B", "10 MiB", 10_485_760),
        ("KiB", "1 GiB", 1_048_576),
        ("kB", "1 MB", 1000),
    ],
)
def test_a_quantity_becomes_the_number_of_the_unit(unit, quantity, meant):
    value = number(unit, quantity)
    assert value == meant
    assert type(value) is int


@pytest.mark.parametrize(
    ("unit", "quantity", "meant"),
    [("s", "500 ms", 0.5), ("USD", "19.99 USD", 19.99), ("h", "90 min", 1.5), ("s", "1 ms", 0.001)],
)
def test_a_number_need_not_be_whole(unit, quantity, meant):
    assert number(unit, quantity, "number") == meant


@pytest.mark.parametrize(
    ("unit", "quantity", "why"),
    [
        ("cents", "200", "expected a quantity such as `200 USD`"),
        ("cents", "1.005 USD", "is a whole number of cents"),
        ("s", "500 ms", "is a whole number of s"),
        ("s", "200 USD", "`200 USD` is an amount of money, and what is counted here is s"),
        ("B", "1h", "`1h` is a duration, and what is counted here is B"),
        ("USD", "200 EUR", "`200 EUR` is another currency, and what is counted here is USD"),
        ("CAD", "$200", "`$200` is another currency, and what is counted here is CAD"),
        ("cents", "¥200", "more than one currency; write JPY or CNY"),
        ("cents", "200 JPY", "JPY has no cents"),
        ("cents", "200 KWD", "KWD has no cents"),
        ("cents", "1,000 USD", "readers disagree on what a comma"),
        ("cents", "1_000 USD", "readers disagree on what a comma or an underscore"),
        ("B", "10 KB", "1000 bytes to some and 1024 to others; write `kB` or `KiB`"),
        ("B", "10 mb", "did you mean `MB`?"),
        ("cents", "10 usd", "did you mean `USD`?"),
        ("s", "10 houres", "did you mean `hours`?"),
        ("s", "30m1h", "the longest unit first"),
        ("s", "1h1h", "the longest unit first"),
        ("cents", "1 USD 5 cents", "only durations are added up"),
        ("s", "1h and 5min", "expected a quantity such as `1h30m`"),
        ("s", "1" * 30 + " s", "not so long a text"),
        ("s", "１h", "expected a quantity such as `1h30m`"),
        ("s", "1e3 s", "`e` is not a unit"),
    ],
)
def test_what_is_no_quantity_of_the_unit_is_told(unit, quantity, why):
    assert why in fault(unit, quantity)


def test_a_bound_that_no_number_is_exactly_is_refused():
    assert "cannot be written exactly in h; use a smaller unit" in fault("h", "1 ms", "number")


def test_every_bound_may_be_written_with_a_unit_and_plain_numbers_stay():
    schema, faults = expanded(
        {
            "type": "integer",
            "unit": "cents",
            "minimum": 1,
            "exclusiveMinimum": "0 USD",
            "exclusiveMaximum": "10 USD",
            "multipleOf": "$0.05",
            "enum": ["1 USD", 200],
            "const": "2 USD",
            "forbid": ["3 USD", 7],
            "default": "1 USD",
        }
    )
    assert not faults
    assert {word: each for word, each in schema.items() if word != "written"} == {
        "type": "integer",
        "unit": "cents",
        "minimum": 1,
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1000,
        "multipleOf": 5,
        "enum": [100, 200],
        "const": 200,
        "forbid": [300, 7],
        "default": 100,
    }


def test_the_unit_holds_for_all_that_looks_at_the_same_value():
    schema, faults = expanded(
        {"type": "integer", "unit": "s", "anyOf": [{"maximum": "1h"}, {"const": "2h"}]}
    )
    assert not faults
    assert [each.get("maximum", each.get("const")) for each in schema["anyOf"]] == [3600, 7200]


def test_the_unit_does_not_hold_for_the_parts_of_a_value():
    _, [(steps, why)] = expanded(
        {"type": ["integer", "array"], "unit": "s", "items": {"type": "integer", "maximum": "1h"}}
    )
    assert steps == ("items", "maximum")
    assert "say beside it what the argument counts" in why


def test_a_part_at_any_depth_may_have_a_unit():
    schema, faults = expanded(
        {
            "type": "object",
            "properties": {"waits": {"items": {"type": "integer", "unit": "s", "maximum": "1h"}}},
        }
    )
    assert not faults
    assert schema["properties"]["waits"]["items"]["maximum"] == 3600


def test_the_schema_that_was_given_stays_as_it_is():
    given_schema = {"type": "integer", "unit": "s", "anyOf": [{"maximum": "1h"}]}
    expand(given_schema, lambda *_: None)
    assert given_schema == {"type": "integer", "unit": "s", "anyOf": [{"maximum": "1h"}]}


def test_an_unknown_unit_is_told_where_it_stands():
    _, [(steps, why)] = expanded({"type": "integer", "unit": "second", "maximum": "1x"})
    assert steps == ("maximum",)
    _, [(steps, why)] = expanded({"type": "integer", "unit": "dollars", "maximum": "1 USD"})
    assert steps == ("unit",)
    assert why.startswith("`dollars` is not a unit; the units are ms, s, min")


def test_what_the_policy_keeps_for_itself_is_no_keyword():
    _, [(steps, _)] = expanded({"type": "integer", "written": {}})
    assert steps == ("written",)


@given(st.decimals(min_value=0, max_value=10**9, places=2), st.sampled_from(["USD", "EUR", "CHF"]))
def test_an_amount_in_cents_is_what_decimal_makes_of_it(amount, currency):
    assert number("cents", f"{amount:f} {currency}") == int(amount * 100)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_the_parts_of_a_duration_are_added_up(days, hours, minutes, seconds):
    whole = f"{days}d{hours}h{minutes}min{seconds}s"
    assert number("s", whole) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@given(st.decimals(min_value=0, max_value=1000, places=6), st.sampled_from(["s", "min", "h", "d"]))
def test_a_number_that_is_kept_is_the_exact_one(amount, unit):
    schema, faults = expanded({"type": "number", "unit": unit, "maximum": f"{amount:f} min"})
    in_seconds = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
    if not faults:
        kept = Fraction(Decimal(repr(schema["maximum"])))
        assert kept * in_seconds[unit] == Fraction(amount) * 60


@given(st.text(max_size=30))
def test_no_text_is_more_than_a_fault(quantity):
    schema, faults = expanded({"type": "number", "unit": "s", "maximum": quantity})
    assert bool(faults) != ("maximum" in schema)


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [("30s", 30_000_000), ("1h30m", 5_400_000_000), ("500 ms", 500_000), ("0.5ms", 500)],
)
def test_a_duration_is_read_in_microseconds(written, microseconds):
    assert parse_duration(written) == microseconds


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (30, "with its unit, such as `30s`; found the number 30"),
        ("30", "expected a quantity such as `1h30m`"),
        ("-5s", "not less than nothing"),
        ("0s", "longer than nothing"),
        ("0.0001ms", "whole microseconds"),
        ("5 USD", "is s"),
        (None, "found nothing"),
    ],
)
def test_what_is_no_duration_says_what_to_write(written, why):
    with pytest.raises(ValueError) as raised:
        parse_duration(written)
    assert why in str(raised.value)


REFUND = """
effect: write
args:
  amount: {type: integer, unit: cents, minimum: 1, maximum: 200 USD}
"""


def test_a_denial_tells_the_bound_as_written_and_as_the_tool_counts_it():
    ruling = of("amount: {type: integer, unit: cents, maximum: 200 USD}").decide(
        call({"amount": 20_001})
    )
    assert said(ruling) == "amount may be at most 200 USD (20000 cents)"


def test_a_bound_in_the_unit_itself_is_told_once():
    ruling = of("amount: {type: integer, unit: USD, minimum: 5, maximum: 200 USD}").decide(
        call({"amount": 201})
    )
    assert said(ruling) == "amount may be at most 200 USD"


def test_a_plain_bound_is_told_in_the_unit():
    ruling = of("wait: {type: integer, unit: s, maximum: 60}").decide(call({"wait": 61}))
    assert said(ruling) == "wait may be at most 60 s"


def test_a_rule_counts_in_the_unit_of_its_argument():
    rules = "- {id: big, deny: true, args: {amount: {minimum: 100 USD}}}"
    assert decide(rules, {"amount": 9_999}, tool=REFUND).verdict == "allow"
    ruling = decide(rules, {"amount": 10_000}, tool=REFUND)
    assert said(ruling) == "the policy denies refund where args.amount >= 100 USD (10000 cents)"


def test_a_default_may_be_written_with_a_unit():
    policy = of("wait: {type: integer, unit: s, maximum: 1h, default: 5 min}")
    assert policy.decide(call({})).args == {"wait": 300}


def test_a_unit_is_about_numbers():
    assert "`unit` is about numbers" in error(text("args: {a: {type: string, unit: s}}\n"))


def test_a_quantity_without_a_unit_says_how_to_give_one():
    message = error(text("args: {a: {type: integer, maximum: 200 USD}}\n"))
    assert "say beside it what the argument counts, such as `unit: cents`" in message


def test_every_word_for_a_unit_leads_to_one():
    assert {*units.UNITS, "USD"} >= {units._unit(word).name for word in (*units._WORDS, "USD")}
