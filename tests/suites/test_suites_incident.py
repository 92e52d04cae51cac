"""Test cases made from recorded calls, and what becomes of them once their rule is enforced."""

from pathlib import Path

import pytest

from saferun import policy
from saferun.call import Call, Facts, Past, RunRef
from saferun.policy.amend import AmendError
from saferun.suites import incident
from saferun.suites.file import loads
from saferun.suites.trial import attempt

POLICY = """
version: 1
name: shop
inputs: {user.tier: string, region: string}
tools:
  refund:
    effect: write
    args: {amount: {type: integer}}
    rules:
      - {id: big, deny: true, when: args.amount > 100, mode: shadow}
      - {id: late, deny: true, when: 'run.calls > 2 && user.tier == "basic"', mode: shadow}
      - {id: abroad, ask: true, when: region != "eu"}
"""
ENFORCED = POLICY.replace("args.amount > 100, mode: shadow", "args.amount > 100")
PATH = Path("shop.test.yaml")
RUN = RunRef(
    run_id="r",
    root="r",
    agent="support",
    user={"id": "maria", "tier": "basic", "phone": "1234"},
    context={"region": "eu", "secret": "x"},
)
CALL = Call(tool="refund", args={"amount": 500}, run=RUN)
FACTS = Facts(now=9, past=Past(began=0, calls=3, tools=("read",)))


def case(rule: str = "big", name: str = "one") -> dict:
    return incident.written(policy.loads(POLICY), CALL, FACTS, rule, name)


def test_a_case_has_what_the_policy_may_ask_and_nothing_else() -> None:
    assert case()["set"] == {
        "user": {"id": "maria", "tier": "basic"},
        "agent": "support",
        "context.region": "eu",
        "past": {"calls": 3, "tools": ["read"]},
    }


def test_a_case_has_what_people_had_said_where_the_policy_asks_for_it() -> None:
    assert "past.said" not in case()["set"]
    named = '{id: named, deny: true, when: "!run.said.contains(args.to)", mode: shadow}'
    text = POLICY.replace("amount: {type: integer}", "to: {type: string}")
    asking = policy.loads(text[: text.index("      - {id: big")] + f"      - {named}\n")
    facts = Facts(now=9, past=Past(began=0, said=("Pay my bills.", "And " + "x" * 3_000)))
    call = Call(tool="refund", args={"to": "GB29"}, run=RUN)
    made = incident.written(asking, call, facts, "named", "one")
    said = made["set"]["past.said"]
    assert said.startswith("Pay my bills.\nAnd x")
    assert len(said) == incident.MAX_SAID
    assert incident.failing(incident.with_case(None, made), PATH, asking, "one") is None


@pytest.mark.parametrize(("rule", "left"), [("big", "late, other"), ("late", "big, other")])
def test_the_case_passes_with_its_rule_and_fails_without(rule, left) -> None:
    text = incident.with_case(None, case(rule))
    assert incident.failing(text, PATH, policy.loads(POLICY), "one") is None
    without = policy.loads(POLICY.replace(f"id: {rule}", "id: other"))
    why = incident.failing(text, PATH, without, "one")
    assert why == f"shadow: expected {rule}, found {left}"
    assert incident.failing(text, PATH, without, "two") == "there is no such case"


def test_rules_in_shadow_may_be_more_than_the_case_expects() -> None:
    text = incident.with_case(None, case())
    [made] = loads(text, PATH).cases
    assert made.steps[0].expect.shadow == ("big",)
    assert attempt(policy.loads(POLICY), made) is None


def test_names_of_cases_are_told_apart() -> None:
    text = incident.with_case(None, case())
    assert incident.free_name(None, "one") == "one"
    assert incident.free_name(text, "one") == "one (2)"
    text = incident.with_case(text, case(name="one (2)"))
    assert incident.free_name(text, "one") == "one (3)"


def test_an_enforced_rule_is_expected_to_deny() -> None:
    text = incident.with_case(b"# mine\n" + incident.with_case(None, case()), case("late", "two"))
    after = incident.enforced(text, PATH, policy.loads(ENFORCED), "big")
    assert after.startswith(b"# mine\n")
    one, two = loads(after, PATH).cases
    assert (one.steps[0].expect.verdict, one.steps[0].expect.rules) == ("deny", ("big",))
    assert two.steps[0].expect.shadow == ("late",)
    assert attempt(policy.loads(ENFORCED), one) is attempt(policy.loads(ENFORCED), two) is None


def test_what_expects_more_is_left_to_people() -> None:
    text = b"cases: [{name: a, call: {tool: refund, args: {amount: 500}}, "
    text += b"expect: {verdict: allow, shadow: [big]}}]"
    with pytest.raises(AmendError, match="edit it by hand"):
        incident.enforced(text, PATH, policy.loads(ENFORCED), "big")
    with pytest.raises(AmendError):
        incident.with_case(b"cases: 3", case())


LIMITED = (
    POLICY.rstrip("\n")
    + """
    limits: [{id: two, max: 2, per: user, window: 1h, mode: shadow}]
"""
)
AS_USUAL = Call(tool="refund", args={"amount": 5}, run=RUN)


def test_a_case_for_a_limit_makes_the_calls_before_it_and_then_expects_it() -> None:
    tried = policy.loads(LIMITED)
    made = incident.written(tried, AS_USUAL, FACTS, "two", "one", before=2)
    text = incident.with_case(None, made)
    assert incident.failing(text, PATH, tried, "one") is None
    fewer = incident.with_case(None, {**made, "calls": made["calls"][1:]})
    assert incident.failing(fewer, PATH, tried, "one") == "shadow: expected two, found late"


def test_an_enforced_limit_is_expected_to_deny_the_last_call() -> None:
    made = incident.written(policy.loads(LIMITED), AS_USUAL, FACTS, "two", "one", before=2)
    enforced = policy.loads(LIMITED.replace("window: 1h, mode: shadow", "window: 1h"))
    text = incident.enforced(incident.with_case(None, made), PATH, enforced, "two")
    [case_] = loads(text, PATH).cases
    assert [step.times for step in case_.steps] == [2, 1]
    assert (case_.steps[1].expect.verdict, case_.steps[1].expect.rules) == ("deny", ("two",))
    assert attempt(enforced, case_) is None


def test_calls_that_people_are_asked_about_are_approved_before_the_limit() -> None:
    asking = policy.loads(LIMITED.replace('region != "eu"', 'region == "eu"'))
    made = incident.written(asking, AS_USUAL, FACTS, "two", "one", before=2)
    assert made["calls"][0]["approve"] is True
    assert incident.failing(incident.with_case(None, made), PATH, asking, "one") is None
