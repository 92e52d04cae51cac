"""What `explain` says about a ruling."""

import msgspec
import pytest

from policy.making import FITS, REFUND, call, of, policy
from saferun.policy import explain, loads

BIG = "- {id: big, ask: [finance], message: Ask finance., args: {amount: {minimum: 20001}}}\n"


def told(made, given):
    return msgspec.to_builtins(explain(made, given))


def spoken(made, given):
    return {
        each["id"]: [
            (clause["text"], clause["value"], clause["holds"]) for clause in each["clauses"]
        ]
        for each in told(made, given)["rules"]
    }


def test_an_explanation_has_the_face_that_programs_rely_on():
    made = policy(rules=BIG)
    args = {**FITS, "amount": 30_000}
    assert told(made, call(args)) == {
        "verdict": "ask",
        "modified": False,
        "args": args,
        "rules": (
            {
                "id": "refund.args",
                "effect": "allow",
                "message": "the arguments fit",
                "clauses": (
                    {"text": "args.order_id is a string", "value": "A-17", "holds": True},
                    {"text": "size(args.order_id) <= 40", "value": "A-17", "holds": True},
                    {"text": "args.amount is a whole number", "value": 30_000, "holds": True},
                    {"text": "args.amount >= 1", "value": 30_000, "holds": True},
                    {"text": "args.amount <= 100000", "value": 30_000, "holds": True},
                    {"text": "args.currency in [USD, EUR, GBP]", "value": "USD", "holds": True},
                ),
            },
            {
                "id": "big",
                "effect": "ask",
                "message": "Ask finance.",
                "clauses": ({"text": "args.amount >= 20001", "value": 30_000, "holds": True},),
                "demand": {"rule": "big", "of": ("finance",)},
            },
        ),
        "policy": {"name": "policy", "version": made.version},
        "entry": {"name": "refund", "scope": None, "line": 4},
    }


def test_the_clause_that_does_not_hold_is_told_apart():
    clauses = spoken(policy(), call({**FITS, "amount": 200_000}))["refund.args"]
    assert [text for text, _, holds in clauses if not holds] == ["args.amount <= 100000"]


def test_a_decimal_point_is_told_apart_from_the_size_of_a_number():
    clauses = spoken(policy(), call({**FITS, "amount": 5.0}))["refund.args"]
    assert [text for text, _, holds in clauses if not holds] == ["args.amount is a whole number"]


def test_text_is_not_below_any_number():
    clauses = spoken(of("a: {type: integer, maximum: 5}"), call({"a": "x"}))["refund.args"]
    assert [holds for _, _, holds in clauses] == [False, False]


def test_a_missing_argument_is_a_clause():
    clauses = spoken(of("a: {type: string}"), call({}))
    assert clauses == {"refund.args": [("args.a is given", None, False)]}


def test_an_optional_argument_that_is_missing_is_none():
    assert spoken(of("a: {type: string, optional: true}"), call({})) == {"refund.args": []}


def test_an_argument_that_the_policy_does_not_name_is_a_clause():
    clauses = spoken(policy("effect: read\n"), call({"note": "x"}))
    assert clauses == {"refund.args": [("`note` is an argument", "x", False)]}


def test_a_schema_that_is_no_list_of_constants_is_one_clause():
    made = of("a: {type: object, additionalProperties: {type: string}}")
    assert spoken(made, call({"a": {"b": 1}}))["refund.args"] == [
        ("args.a is an object", {"b": 1}, True),
        ("args.a fits its schema", {"b": 1}, False),
    ]


def test_rules_that_do_not_apply_are_left_out():
    rules = BIG + "- {id: never, deny: true, args: {currency: {const: EUR}}}\n"
    assert list(spoken(policy(rules=rules), call({**FITS, "amount": 30_000}))) == [
        "refund.args",
        "big",
    ]


def test_rules_in_shadow_are_left_out():
    assert list(spoken(policy(rules="- {id: s, deny: true, mode: shadow}"), call())) == [
        "refund.args"
    ]


def test_what_decided_stands_before_what_else_spoke():
    rules = "- {id: a, allow: true}\n- {id: b, deny: true}"
    assert list(spoken(policy(rules=rules), call())) == ["refund.args", "b", "a"]


def test_a_tool_that_is_not_listed_is_explained_by_the_default():
    told_ = told(loads("version: 1\n"), call({"a": 1}, tool="wire"))
    assert told_["rules"] == (
        {
            "id": "default",
            "effect": "deny",
            "message": "`wire` is not a tool of this policy",
            "clauses": (),
        },
    )


def test_a_tools_default_is_explained():
    assert list(spoken(policy(REFUND + "default: ask\n"), call())) == [
        "refund.args",
        "refund.default",
    ]


def test_nothing_is_said_of_arguments_that_are_not_checked():
    assert spoken(policy("args: any\n"), call({"a": 1})) == {}


def test_what_could_not_be_taken_down_is_explained():
    found = told(policy("args: any\n"), call({}, problems=("a is nested too deep",)))
    assert [(each["id"], each["message"]) for each in found["rules"]] == [
        ("refund.args", "a is nested too deep")
    ]


def test_defaults_that_were_filled_in_are_told():
    found = told(of("a: {type: integer, default: 5}"), call({}))
    assert (found["modified"], found["args"]) == (True, {"a": 5})


@pytest.mark.parametrize(("answer", "holds"), [("allow", False), ("ask", True), ("deny", True)])
def test_a_clause_is_read_as_its_rule_is_read(answer, holds):
    rule = f"- {{id: r, {answer}: true, args: {{a: {{const: 5}}}}}}"
    assert ("r" in spoken(of("a: {type: number}", rules=rule), call({"a": 5.0}))) is holds
