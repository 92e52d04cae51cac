"""What a policy says about a call: verdicts, reasons, defaults, groups and shadow."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from policy.making import FITS, REFUND, call, decide, ids, of, policy, said
from saferun.call import Call
from saferun.policy import loads, observed

BIG = "- {id: big, ask: [finance], args: {amount: {minimum: 20001}}}\n"


def test_a_call_that_fits_and_that_no_rule_is_about_is_allowed_without_a_word():
    given = call()
    ruling = policy(rules=BIG).decide(given)
    assert (ruling.verdict, ruling.reasons, ruling.groups, ruling.shadow) == ("allow", (), (), ())
    assert ruling.args is given.args
    assert not ruling.modified


def test_a_rule_that_applies_decides_and_says_so():
    ruling = decide(BIG, {**FITS, "amount": 20_001})
    assert (ruling.verdict, ids(ruling), ruling.groups) == ("ask", ["big"], ("finance",))


def test_a_rule_without_args_always_applies():
    assert decide("- {id: never, deny: true}").verdict == "deny"


def test_all_the_arguments_that_a_rule_looks_at_must_match():
    rule = "- {id: r, deny: true, args: {amount: {minimum: 5000}, currency: {const: EUR}}}\n"
    assert decide(rule, {**FITS, "amount": 5000}).verdict == "allow"
    assert decide(rule, {**FITS, "currency": "EUR"}).verdict == "allow"
    assert decide(rule, {**FITS, "amount": 5000, "currency": "EUR"}).verdict == "deny"


def test_deny_beats_ask_beats_allow_and_the_strongest_stands_first():
    rules = (
        "- {id: a, allow: true}\n- {id: b, ask: [x]}\n- {id: c, deny: true}\n- {id: d, deny: true}"
    )
    ruling = decide(rules)
    assert ruling.verdict == "deny"
    assert ids(ruling) == ["c", "d", "b", "a"]


def test_ask_beats_allow():
    ruling = decide("- {id: a, allow: true}\n- {id: b, ask: true}")
    assert (ruling.verdict, ids(ruling)) == ("ask", ["b", "a"])


def test_the_groups_of_all_rules_that_ask_are_named_once_in_order():
    rules = "- {id: a, ask: [ops, finance]}\n- {id: b, ask: [legal, finance]}\n- {id: c, ask: true}"
    assert decide(rules).groups == ("finance", "legal", "ops")


def test_an_ask_without_names_is_for_anyone():
    ruling = decide("- {id: a, ask: true}")
    assert (ruling.verdict, ruling.groups) == ("ask", ())


def test_nobody_is_named_where_the_call_is_denied():
    assert decide("- {id: a, ask: [ops]}\n- {id: b, deny: true}").groups == ()


def test_a_rule_speaks_in_its_own_words():
    assert (
        said(decide("- {id: r, deny: true, message: 'Not on\n    Sundays.'}")) == "Not on Sundays."
    )


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("deny: true", "the policy denies refund"),
        ("ask: true", "a person must approve refund"),
        ("ask: [ops, legal]", "ops or legal must approve refund"),
        ("allow: true", "the policy allows refund"),
        (
            "deny: true, args: {amount: {minimum: 500}, currency: {enum: [USD, EUR]}}",
            "the policy denies refund where args.amount >= 500 and args.currency in [USD, EUR]",
        ),
    ],
)
def test_a_rule_without_a_message_says_what_it_rests_on(rule, sentence):
    assert said(decide(f"- {{id: r, {rule}}}")) == sentence


def test_a_tool_that_hides_its_constants_does_not_tell_them_in_a_rule():
    rule = "- {id: r, deny: true, args: {amount: {minimum: 500}}}"
    hidden = policy(REFUND + "disclose: false\n", rules=rule).decide(call())
    assert said(hidden) == "the policy denies refund"


# Tools that are not listed, and calls that no rule decides.


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ("deny", "`wire` is not a tool of this policy"),
        ("ask", "`wire` is not a tool of this policy, so a person must approve it"),
    ],
)
def test_a_tool_that_is_not_listed_gets_the_default(default, message):
    ruling = loads(f"version: 1\ndefault: {default}\n").decide(call(tool="wire"))
    assert (ruling.verdict, ids(ruling), said(ruling)) == (default, ["default"], message)
    assert ruling.reasons[0].source == "default"


def test_a_tool_that_is_not_listed_is_denied_where_nothing_is_said():
    assert policy().decide(call(tool="wire")).verdict == "deny"


def test_a_default_of_allow_allows_without_a_word():
    ruling = loads("version: 1\ndefault: allow\n").decide(call({"a": 1}, tool="wire"))
    assert (ruling.verdict, ruling.reasons, ruling.tool.name) == ("allow", (), "wire")


def test_the_worst_is_assumed_of_a_tool_that_is_not_listed():
    tool = loads("version: 1\ndefault: allow\n").decide(call(tool="wire")).tool
    assert (tool.effect, tool.idempotent, tool.redact) == ("destructive", False, ())


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ("deny", "no rule of the policy allows this call of refund"),
        ("ask", "a person must approve refund"),
    ],
)
def test_a_call_that_no_rule_decides_gets_the_tools_default(default, message):
    ruling = policy(REFUND + f"default: {default}\n").decide(call())
    assert (ruling.verdict, ids(ruling), said(ruling)) == (default, ["refund.default"], message)


def test_a_tools_default_speaks_in_the_tools_words():
    made = policy(REFUND + "default: ask\nmessage: Finance looks at each refund.\n")
    assert said(made.decide(call())) == "Finance looks at each refund."


def test_a_rule_that_allows_goes_before_the_tools_default():
    made = policy(
        REFUND + "default: deny\n", rules="- {id: ok, allow: true, args: {amount: {maximum: 99}}}"
    )
    assert ids(made.decide(call({**FITS, "amount": 99}))) == ["ok"]
    assert made.decide(call({**FITS, "amount": 99})).verdict == "allow"
    assert made.decide(call({**FITS, "amount": 100})).verdict == "deny"


# Arguments.


@pytest.mark.parametrize(
    ("schema", "value", "sentence"),
    [
        ("{type: string}", 5, "a must be a string"),
        ("{type: [string, 'null']}", 5, "a must be a string or null"),
        ("{type: boolean}", 1, "a must be true or false"),
        ("{type: array}", {}, "a must be a list"),
        ("{type: object}", [], "a must be an object"),
        ("{type: number}", "5", "a must be a number"),
        ("{type: integer}", "5", "a must be a whole number, written without a decimal point"),
        ("{type: integer}", 5.0, "a must be a whole number, written without a decimal point"),
        ("{type: integer}", 7.5, "a must be a whole number, written without a decimal point"),
        ("{enum: [USD, EUR, GBP]}", "usd", "a must be one of USD, EUR, GBP"),
        ("{enum: [1, 2]}", 1.0, "a must be one of 1, 2"),
        ("{const: 5}", 5.0, "a must be 5"),
        ("{const: a b}", "x", 'a must be "a b"'),
        ("{type: integer, minimum: 5}", 4, "a must be at least 5"),
        ("{type: integer, maximum: 100000}", 100_001, "a may be at most 100000"),
        ("{type: integer, exclusiveMinimum: 5}", 5, "a must be more than 5"),
        ("{type: integer, exclusiveMaximum: 5}", 5, "a must be less than 5"),
        ("{type: integer, multipleOf: 5}", 6, "a must be a multiple of 5"),
        ("{type: string, minLength: 2}", "x", "a must be at least 2 characters long"),
        ("{type: string, maxLength: 2}", "xxx", "a may be at most 2 characters long"),
        ("{type: string, pattern: '^x$'}", "y", 'a must match the pattern "^x$"'),
        ("{type: string, format: email}", "y", "a must be written as email"),
        ("{type: array, minItems: 1}", [], "a must be at least 1 items long"),
        ("{type: array, maxItems: 1}", [1, 2], "a may be at most 1 items long"),
        ("{type: array, uniqueItems: true}", [1, 1], "a may not hold the same item twice"),
        ("{type: array, items: {type: string}}", ["x", 5], "a[1] must be a string"),
        (
            "{type: array, contains: {const: 1}}",
            [2],
            "a does not hold the items that the policy asks for",
        ),
        ("{type: array, prefixItems: [{}], items: false}", [1, 2], "a[1] is not allowed here"),
        ("{type: array, unevaluatedItems: false}", [1], "a has more items than the policy names"),
        ("{type: object, minProperties: 1}", {}, "a must be at least 1 properties large"),
        ("{type: object, maxProperties: 0}", {"b": 1}, "a may be at most 0 properties large"),
        ("{type: object, required: [b]}", {}, "a.b is missing"),
        ("{type: object, dependentRequired: {b: [c]}}", {"b": 1}, "a.c is missing"),
        (
            "{type: object, additionalProperties: false}",
            {"b": 1},
            "a has a property that the policy does not name",
        ),
        (
            "{type: object, unevaluatedProperties: false}",
            {"b": 1},
            "a has a property that the policy does not name",
        ),
        (
            "{type: object, propertyNames: {type: string, maxLength: 1}}",
            {"bb": 1},
            "a has a property with a name that the policy does not allow",
        ),
        ("{type: object, properties: {b: false}}", {"b": 1}, "a.b is not allowed here"),
        (
            "{type: object, properties: {b: {type: object, properties: {c: {type: string}}}}}",
            {"b": {"c": 1}},
            "a.b.c must be a string",
        ),
        ("{anyOf: [{const: 1}, {const: 2}]}", 3, "a has none of the forms that the policy allows"),
        (
            "{oneOf: [{type: integer}, {const: 2}]}",
            2,
            "a does not have exactly one of the forms that the policy allows",
        ),
        ("{not: {const: 2}}", 2, "a has a form that the policy rules out"),
        ("{type: integer, allOf: [{maximum: 2}]}", 3, "a may be at most 2"),
        ("{type: integer, if: {minimum: 5}, then: {maximum: 6}}", 7, "a may be at most 6"),
    ],
)
def test_what_does_not_fit_is_told_in_the_constants_of_the_policy(schema, value, sentence):
    ruling = of(f"a: {schema}").decide(call({"a": value}))
    assert (ruling.verdict, ids(ruling), said(ruling)) == ("deny", ["refund.args"], sentence)


def test_everything_that_does_not_fit_is_named_at_once():
    ruling = policy().decide(call({"amount": 100_001, "currency": "CHF", "note": "x", "to": "y"}))
    assert said(ruling) == (
        "`note`, `to` are not arguments that the policy allows; "
        "it allows order_id, amount, currency; "
        "order_id is missing; amount may be at most 100000; "
        "currency must be one of USD, EUR, GBP"
    )


def test_no_more_than_five_things_are_named():
    made = of("a: {type: array, items: {type: string}}")
    assert said(made.decide(call({"a": list(range(100))}))).count("must be a string") == 5


def test_an_argument_that_the_policy_does_not_name_is_refused_by_name():
    ruling = policy().decide(call({**FITS, "note": "please"}))
    assert said(ruling) == (
        "`note` is not an argument that the policy allows; it allows order_id, amount, currency"
    )


def test_a_tool_that_takes_nothing_says_so():
    assert said(policy("effect: read\n").decide(call({"a": 1}))).endswith("it allows none")


def test_a_long_enum_is_told_in_part():
    values = ", ".join(f"v{n}" for n in range(25))
    sentence = said(of(f"a: {{enum: [{values}]}}").decide(call({"a": "x"})))
    assert sentence.endswith("v18, v19 and 5 more")


def test_a_tool_that_hides_its_constants_tells_none():
    made = policy(REFUND + "disclose: false\n")
    assert said(made.decide(call({**FITS, "amount": 100_001, "note": "x"}))) == (
        "`note` is not an argument that the policy allows; amount is outside what the policy allows"
    )


def test_a_tool_with_a_message_says_that_instead():
    made = policy(REFUND + "message: Refunds take an order and at most 1000 dollars.\n")
    assert said(made.decide(call({}))) == "Refunds take an order and at most 1000 dollars."


def test_no_value_of_a_call_gets_into_a_message():
    secret = "hunter2-hunter2"
    args = {"order_id": [secret], "amount": {secret: secret}, "currency": secret}
    assert secret not in said(policy().decide(call(args)))


def test_rules_are_not_heard_about_arguments_that_do_not_fit():
    ruling = decide("- {id: r, ask: true}", {**FITS, "amount": -1})
    assert (ruling.verdict, ids(ruling)) == ("deny", ["refund.args"])


def test_an_argument_that_is_optional_may_be_left_out_and_is_checked_where_it_is_given():
    made = of("a: {type: string, optional: true}")
    assert made.decide(call({})).verdict == "allow"
    assert made.decide(call({"a": "x"})).verdict == "allow"
    assert made.decide(call({"a": None})).verdict == "deny"


def test_a_rule_does_not_apply_to_an_optional_argument_that_is_left_out():
    made = of(
        "a: {type: integer, optional: true}",
        rules="- {id: r, deny: true, args: {a: {minimum: 5}}}\n",
    )
    assert made.decide(call({})).verdict == "allow"
    assert made.decide(call({"a": 5})).verdict == "deny"


def test_arguments_are_not_checked_where_the_policy_says_any():
    made = policy("effect: read\nargs: any\n")
    assert made.decide(call({"a": [1, {"b": 2.0}], "c": None})).verdict == "allow"


def test_a_tool_with_any_arguments_can_still_be_asked_about():
    assert decide("- {id: r, ask: true}", {"a": 1}, tool="args: any\n").verdict == "ask"


# Defaults.


def test_a_default_is_filled_in_and_the_call_itself_is_left_alone():
    given = call({"a": 1})
    ruling = of("a: {type: integer}\nb: {type: integer, default: 7}").decide(given)
    assert (ruling.verdict, ruling.args, ruling.modified) == ("allow", {"a": 1, "b": 7}, True)
    assert given.args == {"a": 1}


def test_a_default_is_not_filled_in_where_the_caller_says_something():
    given = call({"b": 8})
    ruling = of("b: {type: integer, default: 7}").decide(given)
    assert ruling.args is given.args
    assert not ruling.modified


def test_a_default_of_the_policy_goes_before_the_tools_own():
    ruling = of("b: {type: integer, maximum: 50, default: 20}").decide(
        call({"b": 1000}, defaulted=frozenset({"b"}))
    )
    assert (ruling.verdict, ruling.args, ruling.modified) == ("allow", {"b": 20}, True)


def test_a_default_that_is_the_tools_own_modifies_nothing():
    ruling = of("b: {type: integer, default: 20}").decide(
        call({"b": 20}, defaulted=frozenset({"b"}))
    )
    assert not ruling.modified


def test_rules_see_the_defaults():
    made = of(
        "b: {type: integer, default: 7}", rules="- {id: r, ask: true, args: {b: {minimum: 7}}}"
    )
    assert made.decide(call({})).verdict == "ask"


def test_a_default_that_a_tool_changes_is_fresh_for_the_next_call():
    made = of("b: {type: array, items: {type: object}, default: [{c: 1}]}")
    first = made.decide(call({})).args
    first["b"][0]["c"] = 2
    first["b"].append(3)
    assert made.decide(call({})).args == {"b": [{"c": 1}]}


def test_what_the_caller_left_to_the_tool_and_the_policy_does_not_name_is_let_be():
    given = {**FITS, "verbose": True}
    assert policy().decide(call(given, defaulted=frozenset({"verbose"}))).verdict == "allow"
    assert policy().decide(call(given)).verdict == "deny"


def test_what_the_caller_left_to_the_tool_and_the_policy_names_is_checked():
    given = call({**FITS, "amount": 100_001}, defaulted=frozenset({"amount"}))
    assert policy().decide(given).verdict == "deny"


# What cannot be taken down.


def test_a_call_with_a_value_that_could_not_be_taken_down_is_denied_with_the_reason():
    problem = "order_id holds text that is not valid Unicode"
    ruling = policy().decide(call({"amount": 1, "currency": "USD"}, problems=(problem,)))
    assert (ruling.verdict, said(ruling)) == ("deny", problem)


@pytest.mark.parametrize("tool", ["args: any\n", REFUND])
def test_a_problem_denies_whatever_the_policy_checks(tool):
    assert policy(tool).decide(call(problems=("a is nested too deep",))).verdict == "deny"


def test_a_problem_denies_a_tool_that_is_not_listed_even_where_the_default_allows():
    made = loads("version: 1\ndefault: allow\n")
    assert made.decide(call(problems=("a is nested too deep",))).verdict == "deny"
    assert made.decide(call(opaque={"db": "sqlite3.Connection"})).verdict == "deny"


def test_an_opaque_argument_that_the_policy_does_not_list_is_denied_with_what_to_do():
    sentence = said(policy().decide(call(opaque={"db": "sqlite3.Connection"})))
    assert sentence == (
        "`db` is a `sqlite3.Connection`, which cannot be checked or recorded; "
        "if the application passes it, list it under `opaque` of the tool"
    )


def test_an_opaque_argument_that_the_policy_lists_is_let_be():
    made = policy(REFUND + "opaque: [db]\n", rules=BIG)
    opaque = {"db": "sqlite3.Connection"}
    assert made.decide(call(opaque=opaque)).verdict == "allow"
    assert made.decide(call({**FITS, "amount": 20_001}, opaque=opaque)).verdict == "ask"
    assert made.decide(call({**FITS, "amount": -1}, opaque=opaque)).verdict == "deny"


@pytest.mark.parametrize("kind", ["builtins.str", "str", "builtins.int", "float", "builtins.bool"])
def test_a_plain_value_in_the_place_of_an_opaque_one_is_denied(kind):
    made = policy(REFUND + "opaque: [db]\n")
    assert "an object of the application" in said(made.decide(call(opaque={"db": kind})))


def test_an_opaque_argument_that_came_as_a_plain_value_is_not_an_argument():
    made = policy(REFUND + "opaque: [db]\n")
    assert made.decide(call({**FITS, "db": "sqlite:///other"})).verdict == "deny"


# Shadow.


def test_a_policy_in_shadow_says_what_it_would_have_said():
    ruling = decide("- {id: r, deny: true}", head="mode: shadow")
    assert (ruling.verdict, ruling.mode, ids(ruling)) == ("deny", "shadow", ["r"])


def test_a_policy_that_enforces_says_so():
    assert decide(BIG).mode == "enforce"


def test_a_rule_in_shadow_counts_for_nothing_and_is_told_apart():
    ruling = decide("- {id: s, deny: true, mode: shadow}\n- {id: a, ask: [ops]}")
    assert (ruling.verdict, ids(ruling)) == ("ask", ["a"])
    assert [(reason.id, reason.effect) for reason in ruling.shadow] == [("s", "deny")]


def test_the_groups_of_a_rule_in_shadow_are_not_asked():
    ruling = decide("- {id: s, ask: [legal], mode: shadow}\n- {id: a, ask: [ops]}")
    assert ruling.groups == ("ops",)


def test_a_rule_in_shadow_does_not_keep_the_tools_default_from_speaking():
    rules = "- {id: s, allow: true, mode: shadow}"
    ruling = policy(REFUND + "default: deny\n", rules=rules).decide(call())
    assert (ruling.verdict, ids(ruling)) == ("deny", ["refund.default"])


# Errors inside, threads, and no policy.


def test_many_threads_decide_by_one_policy_and_agree():
    made = policy(rules=BIG)
    calls = [call({**FITS, "amount": amount}) for amount in (1, 20_001, 100_001)] * 200
    with ThreadPoolExecutor(8) as pool:
        verdicts = [ruling.verdict for ruling in pool.map(made.decide, calls)]
    assert verdicts == ["allow", "ask", "deny"] * 200


class _Broken:
    """A compiled schema that fails on whatever it is asked."""

    def admits(self, value, *, floats):
        raise RuntimeError("boom")

    catches = admits
    is_valid = admits


def test_a_rule_that_cannot_be_evaluated_denies():
    made = policy(
        rules="- {id: r, allow: true, args: {amount: {minimum: 1}}}\n- {id: s, ask: true}"
    )
    made.tools["refund"][0].rules[0].matchers["amount"] = _Broken()
    ruling = made.decide(call())
    assert (ruling.verdict, ids(ruling)) == ("deny", ["r", "s"])
    assert "boom" not in ruling.reasons[0].message


def test_a_rule_in_shadow_that_cannot_be_evaluated_stops_nothing():
    made = policy(rules="- {id: r, ask: true, mode: shadow, args: {amount: {minimum: 1}}}")
    made.tools["refund"][0].rules[0].matchers["amount"] = _Broken()
    ruling = made.decide(call())
    assert (ruling.verdict, [reason.id for reason in ruling.shadow]) == ("allow", ["r"])


@pytest.mark.parametrize("args", [None, [], {1: 2}, {("a",): 1}])
def test_arguments_that_are_none_are_denied_and_nothing_is_raised(args):
    assert policy().decide(Call(tool="refund", args=args)).verdict == "deny"
    assert policy("args: any\n").decide(Call(tool="refund", args=args)).verdict == "deny"


def test_a_tool_name_that_is_none_is_denied_and_nothing_is_raised():
    ruling = policy().decide(call(tool=["refund"]))
    assert (ruling.verdict, ruling.reasons[0].source) == ("deny", "gate")


def test_without_a_policy_every_call_is_allowed_and_only_observed():
    given = call({"a": 1})
    ruling = observed(given)
    assert (ruling.verdict, ruling.mode, ruling.policy) == ("allow", "observe", None)
    assert ruling.args is given.args
    assert ruling.tool.limits == ()
