"""Rules that change arguments before the tool runs."""

import pytest

from policy.making import error, ids, policy, said, text
from saferun.call import Call
from saferun.policy import explain, heard, loads

ARGS = """
effect: write
args:
  amount: {type: integer, minimum: 1, maximum: 100000}
  currency: {type: string, default: USD}
  share: {type: number, optional: true}
"""


def _ruled(rules: str, **args: object):
    return policy(ARGS, rules=rules).decide(Call(tool="refund", args={"currency": "EUR", **args}))


def test_a_value_is_set():
    ruling = _ruled("- {id: dollars, set: {currency: USD}}", amount=5)
    assert ruling.args == {"amount": 5, "currency": "USD"}
    assert ruling.modified
    assert (ruling.verdict, ids(ruling)) == ("allow", ["dollars"])


@pytest.mark.parametrize(("given", "becomes"), [(5, 10), (10, 10), (400, 400), (900, 500)])
def test_a_number_is_brought_into_its_range(given, becomes):
    ruling = _ruled("- {id: cap, clamp: {amount: {minimum: 10, maximum: 500}}}", amount=given)
    assert ruling.args["amount"] == becomes
    assert ruling.modified == (given != becomes)


def test_what_is_right_already_is_left_alone():
    call = Call(tool="refund", args={"amount": 5, "currency": "USD"})
    ruling = policy(ARGS, rules="- {id: dollars, set: {currency: USD}}").decide(call)
    assert ruling.args is call.args
    assert not ruling.modified
    assert ruling.reasons == ()


def test_changed_arguments_are_decided_again():
    rules = """
    - {id: cap, clamp: {amount: {maximum: 500}}}
    - {id: big, deny: true, args: {amount: {minimum: 501}}}
    - {id: round, ask: true, args: {amount: {const: 500}}}
    """
    ruling = _ruled(rules, amount=9_000)
    assert (ruling.verdict, ids(ruling)) == ("ask", ["round", "cap"])


def test_changes_are_made_in_the_order_of_the_file():
    rules = """
    - {id: to-pounds, set: {currency: GBP}}
    - {id: cap-pounds, when: 'args.currency == "GBP"', clamp: {amount: {maximum: 7}}}
    """
    assert _ruled(rules, amount=9).args == {"amount": 7, "currency": "GBP"}


def test_a_change_is_made_only_where_its_rule_applies():
    rules = "- {id: cap, args: {currency: {const: GBP}}, clamp: {amount: {maximum: 7}}}"
    assert _ruled(rules, amount=9).args["amount"] == 9
    assert _ruled(rules, amount=9, currency="GBP").args["amount"] == 7


def test_arguments_that_do_not_fit_are_denied_and_not_mended():
    ruling = _ruled("- {id: cap, clamp: {amount: {maximum: 500}}}", amount=100_001)
    assert ruling.verdict == "deny"
    assert ruling.args["amount"] == 100_001


def test_an_optional_argument_that_is_left_out_is_not_clamped_and_can_be_set():
    assert "share" not in _ruled("- {id: cap, clamp: {share: {maximum: 0.5}}}", amount=1).args
    assert _ruled("- {id: s, set: {share: 0.25}}", amount=1).args["share"] == 0.25


def test_a_change_that_cannot_be_decided_on_denies():
    ruling = _ruled("- {id: s, when: tenant == 'acme', set: {currency: USD}}", amount=1)
    assert ruling.verdict == "deny"
    assert "tenant is not known" in said(ruling)


def test_a_change_in_shadow_changes_nothing():
    ruling = _ruled("- {id: cap, clamp: {amount: {maximum: 7}}, mode: shadow}", amount=9)
    assert ruling.args["amount"] == 9
    assert [reason.id for reason in ruling.shadow] == ["cap"]


def test_what_is_set_is_fresh_for_every_call():
    made = loads(
        "version: 1\ntools:\n  t:\n    effect: read\n    args: {xs: {type: array}}\n"
        "    rules: [{id: s, set: {xs: [1]}}]\n"
    )
    made.decide(Call(tool="t", args={"xs": []})).args["xs"].append(2)
    assert made.decide(Call(tool="t", args={"xs": []})).args == {"xs": [1]}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{id: r, set: {amuont: 5}}", "did you mean `amount`"),
        ("{id: r, set: {amount: five}}", "does not fit the argument's schema"),
        ("{id: r, clamp: {currency: {maximum: 5}}}", "only a number"),
        ("{id: r, clamp: {amount: {}}}", "`minimum`, `maximum` or both"),
        ("{id: r, clamp: {amount: {minimum: 5, maximum: 4}}}", "above the maximum"),
        ("{id: r, clamp: {amount: {maximum: 4.5}}}", "a whole number"),
        ("{id: r, deny: true, set: {amount: 5}}", "exactly one of"),
        ("{id: r, set: {amount: 5}, clamp: {amount: {maximum: 4}}}", "leave one of the two out"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(rule, message):
    assert message in error(text(ARGS, rules=f"- {rule}"))


def test_an_explanation_shows_what_each_change_saw():
    made = policy(ARGS, rules="- {id: cap, when: args.amount > 50, set: {amount: 50}}")
    call = Call(tool="refund", args={"amount": 80})
    [_, cap] = explain(made, call).rules
    assert [(each.value, each.holds) for each in cap.clauses] == [(80, True)]
    assert [each.applies for each in heard(made, call)] == [True]
