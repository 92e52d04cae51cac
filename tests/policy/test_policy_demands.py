"""What a rule that asks may demand of people, and what a ruling says of it."""

import pytest

from policy.making import REFUND, call, decide, error, errors, policy, said, text
from saferun.call import Demand, Escalation
from saferun.policy import loads, restore

MINUTE = 60 * 10**6

WHOLE = """
- id: big
  ask: [finance, alice]
  approvals: 2
  expires: 15m
  escalate:
    - {after: 5m, to: [managers]}
    - {after: 10m, to: [directors, bob]}
  edits: [amount]
  own: true
"""


def demanded(rule: str) -> Demand:
    [only] = decide(f"- {{id: r, {rule}}}").demands
    return only


def refused(rule: str, tool: str = REFUND) -> str:
    return error(text(tool, rules=f"- {{id: r, {rule}}}"))


def test_a_ruling_says_all_that_the_rule_demands():
    assert decide(WHOLE).demands == (
        Demand(
            rule="big",
            of=("finance", "alice"),
            approvals=2,
            within=15 * MINUTE,
            escalate=(
                Escalation(after=5 * MINUTE, to=("managers",)),
                Escalation(after=10 * MINUTE, to=("directors", "bob")),
            ),
            edits=("amount",),
            own=True,
        ),
    )


def test_without_more_one_yes_is_demanded_and_nothing_may_be_changed():
    assert demanded("ask: [finance]") == Demand(rule="r", of=("finance",))


def test_an_ask_of_anyone_names_nobody():
    assert demanded("ask: true, approvals: 2") == Demand(rule="r", approvals=2)


def test_each_rule_that_asks_makes_its_own_demand_in_the_order_of_their_ids():
    rules = "- {id: b, ask: [ops]}\n- {id: a, ask: [finance], approvals: 2}\n- {id: c, allow: true}"
    assert [each.rule for each in decide(rules).demands] == ["a", "b"]


def test_a_rule_in_shadow_demands_nothing():
    rules = "- {id: a, ask: [finance], mode: shadow}\n- {id: b, ask: [ops]}"
    assert [each.rule for each in decide(rules).demands] == ["b"]


def test_a_rule_that_does_not_apply_demands_nothing():
    rules = "- {id: a, ask: [finance], when: args.amount > 99999}\n- {id: b, ask: [ops]}"
    assert [each.rule for each in decide(rules).demands] == ["b"]


def test_nothing_is_demanded_where_the_call_is_denied():
    assert decide("- {id: a, ask: [ops]}\n- {id: b, deny: true}").demands == ()


def test_the_default_of_a_tool_demands_the_yes_of_anyone():
    assert policy(REFUND + "default: ask\n").decide(call()).demands == (
        Demand(rule="refund.default"),
    )


def test_the_default_of_a_tool_demands_nothing_where_a_rule_asks():
    made = policy(REFUND + "default: ask\n", rules="- {id: r, ask: [ops]}")
    assert [each.rule for each in made.decide(call()).demands] == ["r"]


def test_the_default_for_tools_that_are_not_listed_demands_the_yes_of_anyone():
    made = loads("version: 1\ndefault: ask\n")
    assert made.decide(call()).demands == (Demand(rule="default"),)


def test_a_policy_in_shadow_says_what_it_would_have_demanded():
    ruling = decide("- {id: r, ask: [ops]}", head="mode: shadow")
    assert [each.of for each in ruling.demands] == [("ops",)]


def test_edits_of_all_arguments_are_told_by_name():
    assert demanded("ask: true, edits: true").edits == ("order_id", "amount", "currency")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("ask: [finance]", "finance must approve refund"),
        ("ask: true", "a person must approve refund"),
        ("ask: true, approvals: 3", "3 people must approve refund"),
        ("ask: [finance, ops], approvals: 2", "2 of finance or ops must approve refund"),
    ],
)
def test_a_rule_without_a_message_says_how_many_must_approve(rule, says):
    assert said(decide(f"- {{id: r, {rule}}}")) == says


@pytest.mark.parametrize(
    "change",
    [
        ("approvals: 2", "approvals: 3"),
        ("expires: 15m", "expires: 20m"),
        ("after: 5m", "after: 6m"),
        ("[managers]", "[leads]"),
        ("edits: [amount]", "edits: [currency]"),
        ("own: true", "own: false"),
    ],
    ids=lambda change: change[1],
)
def test_another_demand_is_another_version(change):
    assert policy(rules=WHOLE).version != policy(rules=WHOLE.replace(*change)).version


def test_a_policy_that_is_restored_demands_the_same():
    made = policy(rules=WHOLE)
    assert restore(made.document.value).decide(call()).demands == made.decide(call()).demands


# What is refused.


@pytest.mark.parametrize(
    "word",
    [
        "approvals: 2",
        "expires: 15m",
        "escalate: [{after: 5m, to: [a]}]",
        "edits: [amount]",
        "own: true",
    ],
)
@pytest.mark.parametrize("answer", ["deny: true", "allow: true", "set: {currency: USD}"])
def test_nothing_is_demanded_of_people_whom_no_rule_asks(word, answer):
    assert "there is no `ask`" in refused(f"{answer}, {word}")


@pytest.mark.parametrize("value", ["0", "21", "-1", "1.0", "true", "two", "[2]", ""])
def test_approvals_are_a_whole_number_of_people(value):
    assert "how many different people have to approve, 1 to 20" in refused(
        f"ask: true, approvals: {value}"
    )


@pytest.mark.parametrize("value", ["15", "0s", "-5m", "soon", "[5m]", ""])
def test_a_question_expires_after_a_duration(value):
    assert error(text(rules=f"- {{id: r, ask: true, expires: {value}}}")).startswith("12: ")


def test_a_question_stands_for_thirty_days_and_not_a_second_longer():
    assert demanded("ask: true, expires: 30d").within == 30 * 24 * 60 * MINUTE
    assert "30 days at most" in refused("ask: true, expires: 30d1s")


@pytest.mark.parametrize("own", ["yes", "1", "[a]", ""])
def test_own_is_true_or_false(own):
    assert "expected `true` or `false`" in refused(f"ask: true, own: {own}")


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("[]", "say when it goes to whom"),
        ("5m", "expected a list"),
        ("{after: 5m, to: [a]}", "expected a list"),
        ("[5m]", "expected a mapping with some of after, to"),
        ("[{to: [a]}]", "say how long it has waited"),
        ("[{after: 5m}]", "expected a list of groups or people"),
        ("[{after: 5m, to: []}]", "expected a list of groups or people"),
        ("[{after: 5m, to: a}]", "expected a list"),
        ("[{after: 5m, to: [a, a]}]", "`a` stands here twice"),
        ("[{after: 5m, to: [a b]}]", "the name of a group or a person"),
        ("[{after: 5, to: [a]}]", "expected a duration"),
        ("[{after: 31d, to: [a]}]", "30 days at most"),
        ("[{after: 5m, to: [a], by: mail}]", "`by` is not a key here"),
        ("[{after: 5m, to: [a]}, {after: 5m, to: [b]}]", "later than the one before"),
        ("[{after: 5m, to: [a]}, {after: 4m, to: [b]}]", "later than the one before"),
    ],
)
def test_each_step_of_an_escalation_says_when_and_to_whom(steps, why):
    assert why in refused(f"ask: true, escalate: {steps}")


def test_an_escalation_has_five_steps_at_most():
    steps = [f"{{after: {at}m, to: [a{at}]}}" for at in range(1, 7)]
    assert len(demanded(f"ask: true, escalate: [{', '.join(steps[:5])}]").escalate) == 5
    assert "5 times at most" in refused(f"ask: true, escalate: [{', '.join(steps)}]")


@pytest.mark.parametrize("after", ["15m", "16m"])
def test_a_question_goes_to_nobody_once_it_has_expired(after):
    assert "by then the question has expired, after 15 minutes" in refused(
        f"ask: true, expires: 15m, escalate: [{{after: {after}, to: [a]}}]"
    )


@pytest.mark.parametrize("value", ["false", "[]", "amount", "{amount: true}", ""])
def test_edits_are_arguments_or_true(value):
    assert "expected a list of arguments, or `true`" in refused(f"ask: true, edits: {value}")


def test_only_arguments_that_are_described_may_be_changed():
    assert "did you mean `amount`" in refused("ask: true, edits: [amout]")


def test_an_argument_may_be_changed_once():
    assert "`amount` stands here twice" in refused("ask: true, edits: [amount, amount]")


@pytest.mark.parametrize("tool", ["effect: read\nargs: any\n", "effect: read\nargs: {}\n"])
@pytest.mark.parametrize("edits", ["true", "[amount]"])
def test_nothing_may_be_changed_where_no_argument_is_described(tool, edits):
    assert errors(text(tool, rules=f"- {{id: r, ask: true, edits: {edits}}}"))


def test_what_is_opaque_may_not_be_changed():
    assert "is not an argument" in refused(
        "ask: true, edits: [session]", REFUND + "opaque: [session]\n"
    )


def test_an_empty_list_of_people_is_called_that() -> None:
    assert "found an empty list" in refused("ask: []")
