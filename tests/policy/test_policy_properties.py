"""What holds for every policy and every call, against a model of a few lines."""

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from policy.making import call
from saferun.policy import Ruling, explain, loads
from saferun.policy.matcher import Matcher
from saferun.policy.reading import floats_in
from saferun.policy.wording import clauses

Holds = Callable[[Any], bool]

CONDITIONS: dict[str, list[tuple[dict[str, Any], Holds]]] = {
    "amount": [
        ({"minimum": 50}, lambda v: v >= 50),
        ({"exclusiveMaximum": 20}, lambda v: v < 20),
        ({"enum": [1, 7, 50]}, lambda v: v in (1, 7, 50)),
        ({"not": {"const": 7}}, lambda v: v != 7),
    ],
    "currency": [
        ({"const": "USD"}, lambda v: v == "USD"),
        ({"pattern": "^E"}, lambda v: v.startswith("E")),
        ({"maxLength": 2}, lambda v: len(v) <= 2),
    ],
    "note": [
        ({"minLength": 3}, lambda v: len(v) >= 3),
        ({"enum": ["", "abc"]}, ["", "abc"].__contains__),
    ],
}

ARGS = {
    "amount": {"type": "integer", "minimum": 1, "maximum": 100},
    "currency": {"enum": ["USD", "EUR", "GBP"]},
    "note": {"type": "string", "maxLength": 5, "optional": True},
}


class Rule(NamedTuple):
    """A rule of the model."""

    id: str
    answer: str
    shadow: bool
    conditions: dict[str, tuple[dict[str, Any], Holds]]

    def applies(self, args: dict[str, Any]) -> bool:
        return all(
            name in args and holds(args[name]) for name, (_, holds) in self.conditions.items()
        )

    def written(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"id": self.id, self.answer: True}
        if self.shadow:
            rule["mode"] = "shadow"
        if self.conditions:
            rule["args"] = {name: schema for name, (schema, _) in self.conditions.items()}
        return rule


def fits(args: dict[str, Any]) -> bool:
    """The model of ARGS."""
    amount, currency, note = args.get("amount"), args.get("currency"), args.get("note", "")
    return (
        args.keys() <= ARGS.keys()
        and type(amount) is int
        and 1 <= amount <= 100
        and currency in ("USD", "EUR", "GBP")
        and type(note) is str
        and len(note) <= 5
    )


def model(rules: list[Rule], default: str, args: dict[str, Any]) -> tuple[str, set[str]]:
    """The verdict and the ids that spoke, worked out rule by rule."""
    if not fits(args):
        return "deny", {"t.args"}
    applied = [rule for rule in rules if not rule.shadow and rule.applies(args)]
    said = {rule.answer for rule in applied}
    if not applied:
        return default, set() if default == "allow" else {"t.default"}
    verdict = next(answer for answer in ("deny", "ask", "allow") if answer in said)
    return verdict, {rule.id for rule in applied}


def decide(rules: list[Rule], default: str, args: dict[str, Any]) -> Ruling:
    tool = {"args": ARGS, "default": default, "rules": [rule.written() for rule in rules]}
    # JSON is YAML 1.2.
    return loads(json.dumps({"version": 1, "tools": {"t": tool}})).decide(call(args, tool="t"))


answers = st.sampled_from(["allow", "ask", "deny"])
conditions = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(each) for name, each in CONDITIONS.items()}
)
rule_lists = st.lists(st.tuples(answers, st.booleans(), conditions), max_size=8).map(
    lambda drawn: [Rule(f"r{at}", *each) for at, each in enumerate(drawn)]
)
good_args = st.fixed_dictionaries(
    {
        "amount": st.sampled_from([1, 7, 19, 20, 49, 50, 100]),
        "currency": st.sampled_from(["USD", "EUR", "GBP"]),
    },
    optional={"note": st.sampled_from(["", "ab", "abc", "abcde"])},
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
any_args = st.dictionaries(
    st.sampled_from(["amount", "currency", "note", "extra"]),
    values | st.sampled_from(["USD", "EUR", "abc", 1, 7, 50, 1.0, 7.0, 50.0]),
    max_size=4,
)


@given(rule_lists, answers, good_args | any_args)
def test_a_ruling_is_that_of_the_model(rules, default, args):
    ruling = decide(rules, default, args)
    assert (ruling.verdict, {reason.id for reason in ruling.reasons}) == model(rules, default, args)


@given(rule_lists, answers, good_args | any_args, st.randoms(use_true_random=False))
def test_the_order_of_rules_changes_neither_the_verdict_nor_who_speaks(
    rules, default, args, chance
):
    shuffled = list(rules)
    chance.shuffle(shuffled)
    one, other = decide(rules, default, args), decide(shuffled, default, args)
    assert one.verdict == other.verdict
    assert one.groups == other.groups
    assert {reason.id for reason in one.reasons} == {reason.id for reason in other.reasons}
    assert {reason.id for reason in one.shadow} == {reason.id for reason in other.shadow}


@given(rule_lists, good_args)
def test_adding_a_rule_that_denies_or_asks_never_lets_more_through(rules, args):
    strength = ["allow", "ask", "deny"]
    before = decide(rules, "allow", args).verdict
    for answer in ("ask", "deny"):
        after = decide([*rules, Rule("more", answer, False, {})], "allow", args).verdict
        assert strength.index(after) >= strength.index(before)


@given(rule_lists, good_args | any_args)
def test_rules_in_shadow_change_nothing(rules, args):
    assert (
        decide(rules, "allow", args).verdict
        == decide([rule for rule in rules if not rule.shadow], "allow", args).verdict
    )


@given(rule_lists, answers, good_args | any_args)
def test_the_strongest_reason_stands_first_and_is_the_verdict(rules, default, args):
    ruling = decide(rules, default, args)
    effects = [reason.effect for reason in ruling.reasons]
    assert effects == sorted(effects, key=["deny", "ask", "allow"].index)
    assert ruling.verdict == (effects[0] if effects else "allow")


@given(rule_lists, answers, any_args)
def test_deciding_and_explaining_raise_nothing_and_agree(rules, default, args):
    tool = {"args": ARGS, "default": default, "rules": [rule.written() for rule in rules]}
    made = loads(json.dumps({"version": 1, "tools": {"t": tool}}))
    ruling = made.decide(call(args, tool="t"))
    explained = explain(made, call(args, tool="t"))
    assert explained.verdict == ruling.verdict
    for each in explained.rules:
        if each.id != "t.args":
            assert all(clause.holds for clause in each.clauses)
        else:
            assert all(clause.holds for clause in each.clauses) == (each.effect == "allow")


def _whole(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(_whole(each) for each in held)


SCHEMAS = st.sampled_from(
    [
        {"type": "integer", "minimum": 0},
        {"type": ["integer", "null"], "maximum": 5},
        {"type": "number", "maximum": 5},
        {"enum": [1, "a", None, [1]]},
        {"const": 0},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "string", "maxLength": 2, "pattern": "^[a-z]*$"},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"not": {"const": 0}},
    ]
)
plain_values = values.filter(lambda value: _plain(value))


def _plain(value: Any) -> bool:
    try:
        floats_in({"": value})
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, UnicodeError):
        return False
    return True


@given(SCHEMAS, plain_values)
def test_a_value_fits_a_schema_where_it_fits_each_of_its_clauses(schema, value):
    floats = floats_in({"": value})
    each = [Matcher(part).admits(value, floats=floats) for _, part in clauses("args.a", schema)]
    assert Matcher(schema).admits(value, floats=floats) == all(each)


@given(SCHEMAS, plain_values)
def test_what_lets_through_never_holds_where_what_stops_does_not(schema, value):
    floats = floats_in({"": value})
    matcher = Matcher(schema)
    assert matcher.catches(value, floats=floats) >= matcher.admits(value, floats=floats)


@given(SCHEMAS, plain_values)
def test_a_value_that_is_not_admitted_has_a_complaint_and_one_that_is_has_none(schema, value):
    matcher = Matcher(schema)
    admitted = matcher.admits(value, floats=floats_in({"": value}))
    assert bool(matcher.complaints(value)) == (not admitted)
