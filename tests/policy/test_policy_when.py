"""Conditions of rules: what they see, and what becomes of a call where they cannot see it."""

import pytest
from msgspec.structs import replace

from policy.making import error, ids
from saferun.call import Call, Facts, Past, RunRef
from saferun.policy import explain, heard, loads

POLICY = """
version: 1
inputs: {user.tier: string, region: string, limits.refund: integer}
tools:
  refund:
    effect: write
    args:
      amount: {type: integer, minimum: 1}
      note: {type: string, optional: true}
    rules:
      - id: big
        ask: [finance]
        when: args.amount > 20000 && user.tier != "gold"
"""

RUN = RunRef(run_id="r", root="r", user={"id": "maria", "tier": "silver"}, context={"region": "eu"})


def _with(rule: str) -> str:
    return POLICY + f"      - {rule}\n"


def _ruled(text: str, amount: int = 30_000, run: RunRef | None = RUN, **facts: object):
    call = Call(tool="refund", args={"amount": amount}, run=run)
    return loads(text).decide(call, Facts(now=1_700_000_000_000_000, **facts))


def test_a_rule_applies_where_its_condition_holds():
    assert ids(_ruled(POLICY)) == ["big"]
    assert ids(_ruled(POLICY, 20_000)) == []
    gold = replace(RUN, user={"id": "maria", "tier": "gold"})
    assert ids(_ruled(POLICY, run=gold)) == []


def test_a_rule_with_arguments_and_a_condition_needs_both():
    text = _with('{id: both, deny: true, args: {amount: {minimum: 100}}, when: region == "eu"}')
    assert ids(_ruled(text, 100)) == ["both"]
    assert ids(_ruled(text, 99)) == []
    assert ids(_ruled(text, 100, replace(RUN, context={"region": "us"}))) == []


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('user.id == "maria"', True),
        ('agent == "support"', True),
        ('tenant == "acme"', True),
        ('environment == "production"', True),
        ("run.calls >= 3", True),
        ("run.cost_usd > 1.5", True),
        ("run.seconds >= 10.0", True),
        ('"search" in run.tools', True),
        ('"send_email" in run.tools', False),
        ('run.said.contains("order A-1")', True),
        ('run.said == "Refund order A-1.\\nAll of it."', True),
        ("now.getFullYear() == 2023", True),
        ("limits.refund == 500", True),
        ("has(args.note)", False),
    ],
)
def test_a_condition_may_speak_of_all_that_is_known(condition, holds):
    run = replace(RUN, agent="support", tenant="acme", context={"limits": {"refund": 500}})
    said = ("Refund order A-1.", "All of it.")
    past = Past(began=1_699_999_990_000_000, calls=3, cost_usd=1.75, tools=("search",), said=said)
    ruling = _ruled(
        _with(f"{{id: r, deny: true, when: '{condition}'}}"),
        1,
        run,
        environment="production",
        past=past,
    )
    assert ids(ruling) == (["r"] if holds else [])


def test_an_input_that_the_run_does_not_give_denies_and_is_named():
    ruling = _ruled(POLICY, run=replace(RUN, user={"id": "maria"}))
    assert ruling.verdict == "deny"
    assert ruling.missing == ("user.tier",)
    [reason] = ruling.reasons
    assert reason.failed
    assert "user.tier is not known" in reason.message


def test_an_input_of_another_type_denies():
    ruling = _ruled(POLICY, run=replace(RUN, user={"id": "maria", "tier": 5}))
    assert ruling.verdict == "deny"
    assert ruling.missing == ()


def test_what_is_not_needed_may_be_missing():
    assert _ruled(POLICY, 5, replace(RUN, user={"id": "maria"})).verdict == "allow"


def test_a_call_without_a_run_has_no_past_and_is_denied_where_one_is_asked_for():
    ruling = _ruled(_with("{id: r, deny: true, when: run.calls > 5}"), 1, None)
    assert ruling.missing == ("run.calls",)


def test_the_run_cannot_speak_for_what_saferun_knows():
    text = _with('{id: r, deny: true, when: environment != "staging"}')
    claims = replace(RUN, context={"environment": "staging", "now": 0, "args": {}, "run": {}})
    assert _ruled(text, 1, claims).missing == ("environment",)
    assert _ruled(text, 1, claims, environment="production").verdict == "deny"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("args.amuont > 5", "did you mean `amount`"),
        ("args.amount > true", "true or false"),
        ('user.teir == "gold"', "did you mean `tier`"),
        ("args.amount >", "end"),
        ("args.amount + 1", "true or false"),
        ("runs.calls > 1", "did you mean `run`"),
    ],
)
def test_what_a_condition_gets_wrong_is_told_at_load(condition, message):
    found = error(_with(f"{{id: r, deny: true, when: '{condition}'}}"))
    assert found.startswith("14:")
    assert message in found


def test_a_fault_in_a_condition_has_the_column_of_the_very_word():
    from saferun.policy import check

    text = _with("{id: r, deny: true, when: args.amount > 5 && args.amuont < 9}")
    [finding] = check(text)
    line = text.splitlines()[finding.line - 1]
    assert line[finding.column - 1 :].startswith("amuont")


def test_a_fault_in_a_condition_over_many_lines_has_its_line():
    from saferun.policy import check

    text = POLICY + (
        "      - id: r\n        deny: true\n        when: |\n"
        "          args.amount > 5\n          && args.amuont < 9\n"
    )
    [finding] = check(text)
    assert text.splitlines()[finding.line - 1][finding.column - 1 :].startswith("amuont")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("{tier: strnig}", "did you mean `string`"),
        ("{args.x: string}", "SafeRun knows it"),
        ("{run.calls: integer}", "`run` has calls, cost_usd, said, seconds, tools"),
        ("{user: string}", "SafeRun knows it"),
        ("{'a b': string}", "a name such as `region`"),
        ("{a: string, a.b: string}", "a value in one input and holds values in another"),
        ("{a: {type: string}}", "expected string, integer, number, boolean"),
    ],
)
def test_inputs_are_names_with_a_type(inputs, message):
    assert message in error(f"version: 1\ninputs: {inputs}\n")


def test_an_explanation_has_every_clause_with_what_it_saw():
    call = Call(tool="refund", args={"amount": 30_000}, run=RUN)
    explained = explain(loads(POLICY), call)
    [_, big] = explained.rules
    assert [(each.text, each.value, each.holds) for each in big.clauses] == [
        ("args.amount > 20000", 30_000, True),
        ('user.tier != "gold"', "silver", True),
    ]


def test_rules_that_do_not_apply_can_be_heard_too():
    call = Call(tool="refund", args={"amount": 5}, run=RUN)
    [big] = heard(loads(POLICY), call)
    assert not big.applies
    assert [each.holds for each in big.clauses] == [False, True]
