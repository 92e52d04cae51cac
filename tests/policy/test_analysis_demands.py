"""What `check` and `diff` say of the demands that rules make of people."""

import pytest

from policy.making import REFUND, policy, text
from saferun.call import Demand
from saferun.policy import Finding, check
from saferun.policy.analysis import Change, diff
from saferun.policy.analysis.demand import essential

LAX = "ask: [finance, ops], expires: 1h, edits: [amount, currency], own: true"
STRICT = "ask: [finance], approvals: 2, expires: 30m, edits: [amount]"
PEOPLE = {"alice": {"alice"}, "bob": {"bob"}, "finance": {"alice", "bob"}, "empty": set[str]()}


def findings(first: str, second: str) -> list[Finding]:
    return check(text(rules=f"- {{id: a, {first}}}\n- {{id: b, {second}}}\n"))


def shadowed(first: str, second: str) -> list[str]:
    """The rules of two about the same calls that decide nothing, by their lines."""
    lines = {12: "a", 13: "b"}
    found = findings(first, second)
    return [lines[each.line or 0] for each in found if each.code == "shadowed-rule"]


# Of two rules about the same calls.


def test_a_rule_that_demands_strictly_less_decides_nothing():
    assert shadowed(LAX, STRICT) == ["a"]
    assert shadowed(STRICT, LAX) == ["b"]


def test_it_is_told_that_the_other_rule_demands_more():
    [found] = findings(LAX, STRICT)
    assert "and demands more; it decides nothing" in found.message


def test_of_two_that_demand_the_same_the_later_one_decides_nothing():
    [found] = findings("ask: [a, b]", "ask: [b, a]")
    assert (found.code, found.line) == ("shadowed-rule", 13)
    assert "also" in found.message


def test_an_ask_of_anyone_decides_nothing_beside_one_of_somebody():
    assert shadowed("ask: true", "ask: [finance]") == ["a"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ask: [finance]", "ask: [ops]"),
        ("ask: [finance]", "ask: true, approvals: 2"),
        ("ask: [finance], expires: 30m", "ask: [finance], approvals: 2, expires: 1h"),
        ("ask: [finance], expires: 30m", "ask: [finance], approvals: 2"),
        ("ask: [finance], edits: [amount]", "ask: [finance], approvals: 2, edits: [currency]"),
        ("ask: [finance], edits: [amount]", "ask: true"),
        ("ask: true", "ask: [finance], own: true"),
        (
            "ask: [finance], escalate: [{after: 5m, to: [managers]}]",
            "ask: [finance], approvals: 2",
        ),
        (
            "ask: [finance], escalate: [{after: 5m, to: [managers]}]",
            "ask: [finance, managers], approvals: 2, escalate: [{after: 1m, to: [ops]}]",
        ),
    ],
)
def test_two_rules_of_which_neither_has_the_other_in_it_both_count(one, other):
    assert shadowed(one, other) == []


def test_people_are_asked_by_both_rules_where_they_are_about_different_calls():
    small = "ask: [finance], args: {amount: {minimum: 100}}"
    assert shadowed(small, "ask: [finance], approvals: 2, args: {amount: {minimum: 900}}") == []


def test_demands_come_to_those_that_no_other_has_in_it():
    some = (
        Demand(rule="a"),
        Demand(rule="b", of=("x",), approvals=2),
        Demand(rule="c", of=("x", "y")),
        Demand(rule="d", of=("z",)),
    )
    assert {each.of for each in essential(some)} == {("x",), ("z",)}


def test_of_demands_that_have_each_other_in_them_one_stays():
    # Whom it goes to later is in `of` already, so the step says nothing.
    some = policy(rules="- {id: r, ask: [x], escalate: [{after: 5m, to: [x]}]}")
    [rule] = some.document.tools[0].rules
    assert rule.demand is not None
    assert len(essential((rule.demand, Demand(rule="s", of=("x",))))) == 1


# What is rarely or never meant.


@pytest.mark.parametrize("effect", ["effect: destructive", "message: No effect is the worst."])
def test_arguments_of_a_destructive_tool_that_may_be_changed_are_told(effect):
    tool = f"{effect}\nargs: {{path: {{type: string}}}}\n"
    found = check(text(tool, rules="- {id: r, ask: true, edits: [path]}"))
    assert [each.severity for each in found if each.code == "edits-destructive"] == ["warning"]


def test_arguments_of_another_tool_may_be_changed_without_a_word():
    assert check(text(rules="- {id: r, ask: true, edits: [amount]}")) == []


def few(rule: str, people: dict[str, set[str]] | None = None) -> list[Finding]:
    return check(text(rules=f"- {{id: r, {rule}}}"), people=PEOPLE if people is None else people)


@pytest.mark.parametrize(
    "rule",
    [
        "ask: [alice], approvals: 2",
        "ask: [alice, bob], approvals: 3",
        "ask: [alice, finance], approvals: 3",
        "ask: [empty]",
        "ask: [alice], approvals: 3, escalate: [{after: 5m, to: [bob]}]",
    ],
)
def test_more_approvals_than_there_are_people_is_an_error(rule):
    assert [(each.code, each.severity, each.line) for each in few(rule)] == [
        ("too-few-people", "error", 12)
    ]


def test_it_is_told_who_could_approve():
    [found] = few("ask: [finance], approvals: 3")
    assert "3 people must approve, and by the configuration only 2 can: alice, bob" in found.message


@pytest.mark.parametrize(
    "rule",
    [
        "ask: [alice, bob], approvals: 2",
        "ask: [finance], approvals: 2",
        "ask: [alice], approvals: 2, escalate: [{after: 5m, to: [bob]}]",
        "ask: true, approvals: 20",
        "ask: [alice, strangers], approvals: 3",
    ],
)
def test_nothing_is_said_where_there_may_be_enough_people(rule):
    assert few(rule) == []


def test_nothing_is_said_of_people_where_none_are_known():
    assert few("ask: [alice], approvals: 2", {}) == []
    assert check(text(rules="- {id: r, ask: [alice], approvals: 2}")) == []


# What a new version demands otherwise.


def changes(old: str, new: str) -> list[Change]:
    was, now = (policy(rules=f"- {{id: r, {rule}}}") for rule in (old, new))
    return [each for each in diff(was, now).changes if each.code == "demand"]


@pytest.mark.parametrize(
    ("strict", "lax", "told"),
    [
        ("ask: [a]", "ask: [a, b]", "`ask` of the rule `r`: a before, a, b now"),
        ("ask: [a]", "ask: true", "`ask` of the rule `r`: a before, anyone now"),
        (
            "ask: [a], approvals: 2",
            "ask: [a]",
            "`approvals` of the rule `r`: 2 before, 1 now",
        ),
        (
            "ask: [a], expires: 5m",
            "ask: [a], expires: 1h",
            "`expires` of the rule `r`: 5 minutes before, 1 hour now",
        ),
        (
            "ask: [a]",
            "ask: [a], escalate: [{after: 5m, to: [b]}]",
            "`escalate` of the rule `r`: none before, b too after 5 minutes now",
        ),
        (
            "ask: [a], escalate: [{after: 9m, to: [b]}]",
            "ask: [a], escalate: [{after: 5m, to: [b]}]",
            "`escalate` of the rule `r`: b too after 9 minutes before, b too after 5 minutes now",
        ),
        (
            "ask: [a]",
            "ask: [a], edits: [amount]",
            "`edits` of the rule `r`: none before, amount now",
        ),
        (
            "ask: [a]",
            "ask: [a], own: true",
            "`own` of the rule `r`: false before, true now",
        ),
    ],
)
def test_a_demand_that_is_laxer_now_is_told_and_so_is_the_way_back(strict, lax, told):
    [there] = changes(strict, lax)
    [back] = changes(lax, strict)
    assert (there.laxer, there.message) == (True, f"{told}, which is laxer")
    assert back.laxer is False
    assert back.message.endswith("which is stricter")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ask: [a]", "ask: [b]"),
        ("ask: [a], expires: 5m", "ask: [a]"),
        ("ask: [a], edits: [amount]", "ask: [a], edits: [currency]"),
        (
            "ask: [a], escalate: [{after: 5m, to: [b]}]",
            "ask: [a], escalate: [{after: 5m, to: [c]}]",
        ),
    ],
)
def test_a_demand_of_which_nobody_can_tell_whether_it_is_laxer_is_told_as_another(old, new):
    [change] = changes(old, new)
    assert change.laxer is None
    assert change.message.endswith(" now")


def test_each_word_that_says_something_else_is_told():
    told = changes("ask: [a]", "ask: [b], approvals: 2, own: true")
    assert [each.message.split(" ")[0] for each in told] == ["`ask`", "`approvals`", "`own`"]


def test_the_order_of_names_is_no_difference():
    old, new = (
        policy(rules=f"- {{id: r, ask: [{of}], edits: [{edits}]}}")
        for of, edits in (("a, b", "amount, currency"), ("b, a", "currency, amount"))
    )
    assert not diff(old, new)


def test_another_name_for_a_rule_that_demands_the_same_is_no_difference():
    old, new = (policy(rules=f"- {{id: {own}, ask: [a], approvals: 2}}") for own in ("r", "s"))
    assert not diff(old, new)


def test_a_rule_in_shadow_demands_nothing_that_could_change():
    old, new = (
        policy(rules=f"- {{id: r, ask: [a], approvals: {count}, mode: shadow}}") for count in (1, 2)
    )
    assert not diff(old, new)


def test_calls_of_which_more_is_demanded_are_shown_with_both_demands():
    old, new = (policy(rules=f"- {{id: r, ask: [a], approvals: {count}}}") for count in (2, 1))
    difference = diff(old, new).of("refund")
    assert difference is not None
    [shown] = difference.examples
    assert [each.approvals for each in (*shown.old_demands, *shown.new_demands)] == [2, 1]


def test_a_rule_that_is_new_and_demands_less_than_another_is_no_difference_in_what_is_asked():
    old = policy(rules="- {id: a, ask: [finance], approvals: 2}")
    new = policy(rules="- {id: a, ask: [finance], approvals: 2}\n- {id: b, ask: true}")
    difference = diff(old, new).of("refund")
    assert difference is None or difference.examples == ()


def test_a_default_that_asks_and_a_rule_that_asks_anyone_demand_the_same():
    old = policy(REFUND + "default: ask\n")
    new = policy(rules="- {id: r, ask: true}")
    difference = diff(old, new).of("refund")
    assert difference is None or difference.examples == ()
