"""What the difference of two policies says."""

import pytest

from policy.making import REFUND, of, policy, text
from saferun.policy import loads
from saferun.policy.analysis import Change, Difference, Example, diff
from saferun.policy.document import Answer

ASK = "- {id: big, ask: [finance], args: {amount: {minimum: %d}}}"


def turns(difference: Difference, tool: str = "refund") -> set[tuple[str, str]]:
    found = difference.of(tool)
    return {(each.old, each.new) for each in found.examples} if found else set()


def example(difference: Difference, tool: str = "refund") -> Example:
    """The one example of what differs about a tool."""
    found = difference.of(tool)
    assert found is not None
    [only] = found.examples
    return only


def change(difference: Difference) -> Change:
    """The one setting that changed."""
    assert not difference.tools
    [only] = difference.changes
    return only


def test_words_ids_and_places_are_no_difference():
    old = policy(rules="- {id: a, deny: true, args: {amount: {const: 5}}}")
    new = policy(
        rules="- id: b\n  deny: true\n  message: Not five.\n  args: {amount: {const: 5}}\n"
    )
    assert old.version != new.version
    assert not diff(old, new)


def test_a_threshold_that_moved_is_told_as_a_schema_and_by_the_call_at_its_border():
    difference = diff(policy(rules=ASK % 20001), policy(rules=ASK % 50000))
    found = difference.of("refund")
    assert found is not None
    assert found.told
    [moved] = found.moved
    assert (moved.old, moved.new) == ("ask", "allow")
    amount = moved.schema["properties"]["amount"]
    assert (amount["minimum"], amount["maximum"]) == (20001, 49999)
    shown = example(difference)
    assert shown.args["amount"] == 20001
    assert (shown.old_rules, shown.new_rules) == (("big",), ())


def test_rules_that_say_the_same_in_other_words_are_proved_to():
    one = policy(rules="- {id: r, deny: true, args: {amount: {minimum: 500}}}")
    other = policy(
        rules="- {id: a, deny: true, args: {amount: {minimum: 500, maximum: 600}}}\n"
        "- {id: b, deny: true, args: {amount: {exclusiveMinimum: 600}}}\n"
    )
    assert not diff(one, other)


@pytest.mark.parametrize(
    ("old", "new"), [("allow", "ask"), ("ask", "deny"), ("deny", "allow"), ("allow", "deny")]
)
def test_another_default_of_a_tool_turns_every_call_that_fits(old: Answer, new: Answer):
    was, now = (policy(f"{REFUND}default: {answer}\n") for answer in (old, new))
    assert turns(diff(was, now)) == {(old, new)}


def test_a_value_that_is_newly_listed_is_an_example():
    difference = diff(of("c: {enum: [a, b]}"), of("c: {enum: [a, b, z]}"))
    shown = example(difference)
    assert (shown.args, shown.old, shown.new) == ({"c": "z"}, "deny", "allow")


def test_a_condition_is_tried_at_its_constants():
    head = "inputs: {user.tier: string}\n"
    old, new = (
        policy(
            rules=f"- id: r\n  deny: true\n  when: args.amount > {most} && user.tier != 'gold'\n",
            head=head,
        )
        for most in (100, 200)
    )
    difference = diff(old, new)
    shown = example(difference)
    assert (shown.old, shown.new) == ("deny", "allow")
    assert 100 < shown.args["amount"] <= 200
    assert shown.known.keys() == {"user.tier"}
    found = difference.of("refund")
    assert found is not None
    assert not found.told


def test_what_a_run_has_done_before_is_tried_too():
    old, new = (
        policy(rules=f"- {{id: r, deny: true, when: run.calls >= {most}}}") for most in (5, 9)
    )
    shown = example(diff(old, new))
    assert 5 <= shown.known["run.calls"] < 9


def test_what_people_have_said_is_tried_too():
    old, new = (
        policy(rules=f"- {{id: r, deny: true, when: 'run.said == \"{word}\"'}}")
        for word in ("no", "yes")
    )
    found = diff(old, new).of("refund")
    assert found is not None
    turned = {each.known["run.said"]: (each.old, each.new) for each in found.examples}
    assert turned == {"no": ("deny", "allow"), "yes": ("allow", "deny")}


def test_a_condition_that_no_tried_call_tells_apart_still_counts_as_a_difference():
    old, new = (
        of(
            "a: {type: string}",
            rules=f"- id: r\n  deny: true\n  when: args.a.matches('^[0-9]{{{size}}}[a-f]{{7}}$')\n",
        )
        for size in (11, 12)
    )
    found = diff(old, new).of("refund")
    assert found is not None
    assert (found.moved, found.examples, found.told) == ((), (), False)


def test_a_rule_for_some_is_a_difference_for_these_alone():
    some = "- {id: r, deny: true, for: {tenant: acme}}"
    found = diff(policy(), policy(rules=some)).of("refund")
    assert found is not None
    assert {each.who.get("tenant") for each in found.moved} == {"acme"}
    assert found.told
    assert found.examples[0].known == {"tenant": "acme"}


def test_an_entry_for_some_is_a_difference_for_these_alone():
    base = text()
    scoped = "scopes:\n  - for: {tenant: acme}\n    tools: {refund: {effect: read, args: any}}\n"
    difference = diff(loads(base), loads(base + scoped))
    assert turns(difference) == {("deny", "allow")}
    assert all(each.known == {"tenant": "acme"} for each in difference.tools[0].examples)


def test_a_wildcard_is_compared_for_the_tools_that_it_is_about():
    old = loads("version: 1\ntools: {mcp.*: {effect: read}, mcp.a: {effect: read}}\n")
    new = loads("version: 1\ntools: {mcp.*: {effect: read, default: deny}, mcp.a: {effect: read}}")
    difference = diff(old, new)
    assert [tool.tool for tool in difference.tools] == ["mcp.*"]
    assert example(difference, "mcp.*").tool.startswith("mcp.")


def test_tools_that_are_not_listed_are_compared_by_the_default():
    difference = diff(loads("version: 1\n"), loads("version: 1\ndefault: ask\n"))
    assert turns(difference, "*") == {("deny", "ask")}
    assert [each.code for each in difference.changes] == ["default"]


def test_another_default_of_an_argument_is_told_with_what_the_tool_is_given():
    old, new = (of(f"c: {{enum: [a, b], default: {word}}}") for word in ("a", "b"))
    shown = example(diff(old, new))
    assert (shown.args, shown.old_args, shown.new_args) == ({}, {"c": "a"}, {"c": "b"})


def test_a_clamp_is_told_with_what_the_tool_is_given():
    shown = example(diff(policy(), policy(rules="- {id: r, clamp: {amount: {maximum: 500}}}")))
    assert shown.new_args is not None
    assert shown.new_args["amount"] == 500


def test_other_people_who_may_answer_are_a_difference():
    old, new = (policy(rules=f"- {{id: r, ask: [{who}]}}") for who in ("finance", "ops"))
    shown = example(diff(old, new))
    assert [each.of for each in (*shown.old_demands, *shown.new_demands)] == [
        ("finance",),
        ("ops",),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max: 5, per: run", "max: 9, per: run"),
        ("max: 5, per: run", "max: 5, per: run, on_limit: ask"),
        ("max: 5, per: run, mode: shadow", "max: 5, per: run"),
        ("max: 5, per: user, window: 1h", "max: 9, per: user, window: 60min"),
        ("sum: cost_usd, max: 5, per: run", "sum: cost_usd, max: 0.5, per: run"),
    ],
)
def test_a_limit_counts_on_where_only_its_bound_or_its_answer_is_another(old, new):
    was, now = (policy(f"{REFUND}limits: [{{id: l, {said}}}]\n") for said in (old, new))
    assert change(diff(was, now)).resets is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max: 5, per: run", "max: 5, per: [run, args.currency]"),
        ("max: 5, per: [user, run]", "max: 5, per: [run, user]"),
        ("max: 5, per: user", "max: 5, per: user, window: 1h"),
        ("max: 5, per: user, window: 1h", "max: 5, per: user, window: 2h"),
        ("max: 5, per: run", "sum: args.amount, max: 5, per: run"),
        ("sum: cost_usd, max: 5, per: run", "sum: args.amount, max: 5, per: run"),
        ("max: 5, per: user, window: 1s", "rate: 5/s, per: user"),
        ("rate: 5/s, per: user", "rate: 6/s, per: user"),
        ("rate: 5/s, per: user", "rate: 5/s, burst: 2, per: user"),
    ],
)
def test_a_limit_whose_count_is_another_begins_again_and_is_named(old, new):
    was, now = (policy(f"{REFUND}limits: [{{id: l, {said}}}]\n") for said in (old, new))
    told = change(diff(was, now))
    assert told.resets == "l"
    assert told.message.endswith("its counters begin again")


def test_a_limit_that_is_enforced_after_it_was_tried_is_told():
    was, now = (
        policy(f"{REFUND}limits: [{{id: l, max: 5, per: run{mode}}}]\n")
        for mode in (", mode: shadow", "")
    )
    assert change(diff(was, now)).message == (
        "the limit `l`: at most 5 per run, in shadow before, at most 5 per run now"
    )


def test_a_limit_in_other_words_is_no_difference():
    was = policy(f"{REFUND}limits: [{{id: l, max: 5, per: run}}]\n")
    now = policy(f"{REFUND}limits: [{{id: l, max: 5, per: run, message: Enough.}}]\n")
    assert not diff(was, now)


def test_a_limit_that_moves_to_another_tool_counts_on():
    each = "version: 1\nname: p\ntools:\n  a: {effect: read%s}\n  b: {effect: read%s}\n"
    said = ", limits: [{id: l, max: 5, per: run}]"
    told = change(diff(loads(each % (said, "")), loads(each % ("", said))))
    assert (told.tool, told.resets) == ("b", None)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("max: 5, per: [run, user]", "at most 5 per run and user"),
        (
            "sum: cost_usd, max: 2.5, per: user, window: 1d",
            "at most 2.5 US dollars per user in 1 day",
        ),
        ("sum: args.amount, max: 2000, per: all", "at most 2,000 of args.amount per all"),
        ("rate: 10/5min, burst: 3, per: tool", "10 in 5 minutes and 3 at once per tool"),
        ("max: 5, per: run, on_limit: ask", "at most 5 per run (on_limit ask)"),
    ],
)
def test_every_kind_of_limit_is_put_into_words(said, told):
    message = change(diff(policy(), policy(f"{REFUND}limits: [{{id: l, {said}}}]\n"))).message
    assert message.endswith(f": {told}")


def test_a_limit_under_another_id_is_a_new_one_that_counts_from_nothing():
    was, now = (policy(f"{REFUND}limits: [{{id: {i}, max: 5, per: run}}]\n") for i in "ab")
    told = {each.code: each.resets for each in diff(was, now).changes}
    assert told == {"limit-removed": None, "limit-added": "b"}


def test_another_mode_has_counters_of_its_own():
    tool = f"{REFUND}limits: [{{id: l, max: 5, per: run}}]\n"
    told = {
        each.code: each.resets
        for each in diff(policy(tool), policy(tool, head="mode: shadow")).changes
    }
    assert told == {"mode": None, "limit": "l"}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("redact: [args.order_id]\n", "redact"),
        ("sensitive: [args.order_id, result.*]\n", "sensitive"),
        ("subject: args.order_id\n", "subject"),
        ("idempotent: true\n", "idempotent"),
        ("poll: true\n", "poll"),
        ("releasable: true\n", "releasable"),
        ("cost: 2\n", "cost"),
        ("loops: off\n", "loops"),
        ("breaker: {min_calls: 5}\n", "breaker"),
    ],
)
def test_a_setting_that_decides_no_call_is_told(more, code):
    assert change(diff(policy(), policy(REFUND + more))).code == code


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "loops: off\n", "the loops of all tools: on before, off now"),
        ("loops: {cycle: 4}\n", "", "the loops of all tools: cycle 4 before, 3 now"),
        (
            "",
            "loops: {poll_for: 10min}\n",
            "the loops of all tools: poll_for 1 hour before, 10 minutes now",
        ),
        (
            "",
            "breaker: {spike_floor: 2.5}\n",
            "the breaker of all tools: spike_floor $1 before, $2.5 now",
        ),
        ("", "breaker: {spike: off}\n", "the breaker of all tools: spike 5 before, off now"),
    ],
)
def test_a_control_of_all_tools_is_told_once_and_not_for_each(old, new, message):
    assert change(diff(policy(head=old), policy(head=new))).message == message


def test_a_control_of_one_tool_is_told_where_it_goes_another_way():
    was, now = (policy(f"{REFUND}loops: {{cycle: {cycle}}}\n") for cycle in (4, 5))
    assert change(diff(was, now)).message == "the loops of `refund`: cycle 4 before, 5 now"


def test_a_timeout_is_told_with_what_is_slow_from_now_on():
    told = [each.message for each in diff(policy(), policy(f"{REFUND}timeout: 30s\n")).changes]
    assert told == [
        "the timeout of `refund`: none before, 30 seconds now",
        "the breaker of `refund`: slow_after off before, 15 seconds now",
    ]


def test_a_cost_is_told_as_it_stands():
    was, now = (
        policy(f"{REFUND}cost: {said}\n")
        for said in ("0.02", "{most: args.amount, from: result.cost}")
    )
    told = change(diff(was, now)).message
    assert told == "the cost of `refund`: $0.02 before, at most args.amount, from result.cost now"


def test_a_tool_that_comes_or_goes_is_told():
    bare = loads("version: 1\nname: policy\n")
    one = loads(text(head="name: policy"))
    assert [each.code for each in diff(bare, one).changes] == ["tool-added"]
    assert [each.code for each in diff(one, bare).changes] == ["tool-removed"]


def test_the_same_two_policies_have_the_same_difference():
    old, new = policy(rules=ASK % 100), policy(rules=ASK % 200)
    assert diff(old, new) == diff(old, new)


def test_one_changed_rule_among_hundreds_has_an_example():
    each = "- {{id: r{0}, deny: true, args: {{amount: {{minimum: {1}, maximum: {2}}}}}}}\n"
    old = "".join(each.format(at, 100 * at, 100 * at + 50) for at in range(300))
    new = old.replace("minimum: 20000,", "minimum: 20001,")
    shown = example(diff(policy(rules=old), policy(rules=new)))
    assert (shown.args["amount"], shown.old, shown.new) == (20000, "deny", "allow")
