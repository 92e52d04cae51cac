"""The words of `limits`: what is counted, for whom, for how long, and what then."""

import pytest

from policy.making import REFUND, call, error, errors, policy, text
from saferun.control import Limit
from saferun.policy import loads

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def limit(said: str, tool: str = REFUND) -> Limit:
    """The one limit of a tool."""
    [only] = policy(f"{tool}limits: [{{id: l, {said}}}]\n").tools["refund"][0].limits
    return only


def wide(said: str) -> Limit:
    """The one limit over all tools."""
    [only] = loads(f"version: 1\nlimits: [{{id: l, {said}}}]\n").document.limits
    return only


def fault(said: str, tool: str = REFUND) -> str:
    return error(text(f"{tool}limits: [{{id: l, {said}}}]\n"))


def wide_fault(said: str) -> str:
    return error(f"version: 1\nlimits: [{{id: l, {said}}}]\n")


# Counting calls.


@pytest.mark.parametrize("most", ["0", "-1", "1.0", "'5'", "true", "", "1e3", str(2**63)])
def test_a_limit_is_a_whole_number_of_calls(most):
    assert "expected a whole number of calls" in wide_fault(f"max: {most}, per: run")


def test_a_limit_says_how_many_or_how_fast():
    assert "or `rate` in its place" in wide_fault("per: run")
    assert "a limit says `max` or `rate`" in wide_fault("max: 5, rate: 5/s, per: run")


@pytest.mark.parametrize("per", ["", "5", "[]", "order_id", "[[run]]", "{}", "args"])
def test_a_limit_counts_by_something(per):
    assert "expected run, agent, user, tenant, tool, all, args.NAME" in fault(f"max: 1, per: {per}")


@pytest.mark.parametrize("per", ["run", "agent", "user", "tenant", "tool", "all"])
def test_a_limit_counts_by_every_scope_for_one_tool_and_over_all(per):
    assert limit(f"max: 1, per: {per}").per == (per,)
    assert wide(f"max: 1, per: {per}").per == (per,)


def test_a_list_of_scopes_is_kept_in_its_order():
    assert limit("max: 1, per: [run, tool, args.order_id]").per == ("run", "tool", "args.order_id")


def test_a_misspelt_scope_says_what_was_meant():
    assert "did you mean `tenant`?" in fault("max: 1, per: tennant")


def test_all_is_everything_and_stands_alone():
    assert "it stands alone" in fault("max: 1, per: [all, run]")


def test_a_limit_names_a_scope_once():
    assert "stands here twice" in fault("max: 1, per: [run, run]")


def test_a_limit_counts_by_arguments_that_the_tool_has():
    assert "did you mean `order_id`?" in fault("max: 1, per: args.order")


def test_a_limit_counts_by_any_argument_where_arguments_are_not_checked():
    assert limit("max: 1, per: args.order", "args: any\n").per == ("args.order",)


@pytest.mark.parametrize("said", ["max: 1, per: args.db", "max: 1, sum: args.db, per: run"])
def test_what_is_opaque_is_not_counted_by(said):
    assert "`db` is opaque" in fault(said, "args: any\nopaque: [db]\n")


def test_a_limit_over_all_tools_counts_by_no_argument():
    assert "belongs to a tool's own limits" in wide_fault("max: 1, per: args.a")


def test_limits_over_all_tools_hold_for_tools_that_are_not_listed():
    made = loads("version: 1\ndefault: allow\nlimits: [{id: l, max: 1, per: run}]\n")
    assert [each.id for each in made.decide(call()).tool.limits] == ["l"]


def test_a_tool_that_hides_its_constants_hides_those_of_its_limits():
    limits = "limits: [{id: l, max: 1, per: run}, {id: m, max: 1, per: run, disclose: true}]\n"
    made = policy(REFUND + "disclose: false\n" + limits)
    assert [each.disclose for each in made.tools["refund"][0].limits] == [False, True]


# Windows.


@pytest.mark.parametrize(
    ("said", "window"),
    [("1h", HOUR), ("1h30m", 90 * MINUTE), ("500 ms", 500_000), ("1d", 24 * HOUR)],
)
def test_a_window_is_a_duration(said, window):
    assert limit(f"max: 1, per: user, window: {said}").window == window


def test_without_a_window_a_limit_counts_for_good():
    assert limit("max: 1, per: user").window is None
    assert limit("max: 1, per: user, window: forever").window is None


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("60", "expected a duration with its unit"),
        ("", "expected a duration with its unit"),
        ("-1h", "not less than nothing"),
        ("0s", "longer than nothing"),
        ("5 MB", "`5 MB` is a size, and what is counted here is s"),
        ("1 hours", None),
        ("1 our", "did you mean `hour`?"),
        ("4000d", "ten years at most"),
    ],
)
def test_a_window_that_is_no_duration_is_refused_and_says_what_to_write(window, message):
    if message is None:
        assert limit(f"max: 1, per: user, window: {window}").window == HOUR
    else:
        assert message in fault(f"max: 1, per: user, window: {window}")


# Sums.


@pytest.mark.parametrize(
    ("most", "micro"),
    [("2.00", 2_000_000), ("0.05", 50_000), ("25", 25_000_000), ("$2", 2_000_000)],
)
def test_a_sum_of_costs_is_kept_in_micro_dollars(most, micro):
    made = wide(f"sum: cost_usd, max: {most}, per: run")
    assert (made.sum, made.max) == ("cost_usd", micro)


@pytest.mark.parametrize("unit", ["", ", unit: cents"])
def test_an_argument_is_added_up_in_millionths(unit):
    tool = f"args: {{amount: {{type: integer{unit}}}}}\n"
    assert limit("sum: args.amount, max: 200000, per: user", tool).max == 200_000_000_000


def test_the_most_of_a_sum_may_be_written_in_the_unit_of_its_argument():
    tool = "args: {amount: {type: integer, unit: cents}}\n"
    assert limit("sum: args.amount, max: 2000 USD, per: user", tool).max == 200_000_000_000


@pytest.mark.parametrize(
    ("most", "message"),
    [
        ("0", "expected a number above 0"),
        ("-5", "expected a number above 0"),
        ("true", "expected a number above 0"),
        ("", "expected a number above 0"),
        ("[5]", "expected a number above 0"),
        ("0.0000001", "kept in millionths"),
        ("1e30", "no sum is counted so far"),
        ("2 EUR", "`2 EUR` is another currency"),
        ("two", "expected a quantity"),
    ],
)
def test_a_most_that_a_sum_cannot_be_held_against_is_refused(most, message):
    assert message in wide_fault(f"sum: cost_usd, max: {most}, per: run")


def test_a_most_with_a_unit_needs_an_argument_that_has_one():
    assert "say beside it what the argument counts" in fault(
        "sum: args.amount, max: 2000 USD, per: user"
    )


@pytest.mark.parametrize(
    ("addend", "message"),
    [
        ("cost", "did you mean `cost_usd`?"),
        ("amount", "expected `cost_usd`, or `args.NAME`"),
        ("args.", "and the name of an argument"),
        ("5", "expected `cost_usd`, or `args.NAME`"),
        ("", "expected `cost_usd`, or `args.NAME`"),
        ("args.amuont", "did you mean `amount`?"),
        ("args.currency", "only numbers can be added up"),
    ],
)
def test_what_cannot_be_added_up_is_refused(addend, message):
    assert message in fault(f"sum: {addend}, max: 5, per: run")


@pytest.mark.parametrize(
    "schema", ["{}", "{type: [integer, 'null']}", "{enum: [1, two]}", "{type: boolean}"]
)
def test_an_argument_that_may_be_no_number_is_not_added_up(schema):
    tool = f"args: {{a: {schema}}}\n"
    assert "only numbers can be added up" in fault("sum: args.a, max: 5, per: run", tool)


def test_an_argument_at_fault_is_told_once():
    tool = "args: {a: {type: numbr}}\nlimits: [{id: l, sum: args.a, max: 5, per: run}]\n"
    assert len(errors(text(tool))) == 1


def test_a_limit_over_all_tools_adds_up_costs_alone():
    assert "adds up `cost_usd`" in wide_fault("sum: args.amount, max: 5, per: run")


# Rates.


@pytest.mark.parametrize(
    ("rate", "most", "window"),
    [
        ("10/s", 10, MINUTE // 60),
        ("10/min", 10, MINUTE),
        ("600/h", 600, HOUR),
        ("10/5min", 10, 5 * MINUTE),
        ("1 / 0.5 s", 1, 500_000),
    ],
)
def test_a_rate_is_so_many_calls_in_a_time(rate, most, window):
    made = limit(f"rate: {rate}, per: tenant")
    assert (made.max, made.window, made.burst) == (most, window, most)


def test_a_burst_says_how_many_come_at_once():
    assert limit("rate: 10/min, burst: 3, per: tenant").burst == 3


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("10", "such as `10/s`"),
        ("ten/min", "such as `10/s`"),
        ("1.5/s", "such as `10/s`"),
        ("-1/s", "such as `10/s`"),
        ("10/", "such as `10/s`"),
        ("10/1h30m", "such as `10/s`"),
        ("10/mins", "did you mean `min`?"),
        ("10/MB", "such as `10/s`"),
        ("10/0s", "such as `10/s`"),
        ("0/s", "1 to 1,000,000"),
        ("1000001/s", "1 to 1,000,000"),
        ("10/4000d", "ten years"),
        ("", "such as `10/s`"),
    ],
)
def test_a_rate_that_is_none_is_refused_and_says_what_to_write(rate, message):
    assert message in fault(f"rate: {rate}, per: run")


@pytest.mark.parametrize("burst", ["0", "-1", "1.5", "true", "", "1000001"])
def test_a_burst_is_a_whole_number_of_calls(burst):
    assert "expected a whole number of calls" in fault(f"rate: 5/s, burst: {burst}, per: run")


def test_a_burst_is_no_more_than_comes_in_ten_years():
    assert "more than ten years" in fault("rate: 1/365d, burst: 11, per: run")
    assert limit("rate: 1/365d, burst: 10, per: run").burst == 10


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("rate: 5/s, window: 1h, per: run", "says itself in what time"),
        ("rate: 5/s, sum: cost_usd, per: run", "adds nothing up"),
        ("max: 5, burst: 3, per: run", "of a `rate`"),
    ],
)
def test_what_does_not_go_together_is_refused(said, message):
    assert message in fault(said)


# What then.


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ("max: 5, per: run", "deny"),
        ("max: 5, per: run, on_limit: ask", "ask"),
        ("max: 5, per: run, window: 1h, on_limit: defer", "defer"),
        ("rate: 5/s, per: run, on_limit: defer", "defer"),
    ],
)
def test_a_limit_that_is_reached_denies_defers_or_asks(said, then):
    assert limit(said).on_limit == then


def test_what_is_never_free_again_cannot_be_deferred_to():
    for said in ("max: 5, per: run", "max: 5, per: user, window: forever"):
        assert "with a `window` or a `rate` alone" in fault(f"{said}, on_limit: defer")


def test_a_misspelt_answer_says_what_was_meant():
    assert "did you mean `defer`?" in fault("rate: 5/s, per: run, on_limit: deffer")


# Where they hold.


def test_entries_of_a_prefix_and_of_a_scope_have_limits_like_any_other():
    made = loads("""
version: 1
tools:
  mcp.*: {effect: read, limits: [{id: each, rate: 5/s, per: tool}]}
scopes:
  - for: {agent: ops}
    tools:
      refund: {effect: write, limits: [{id: ops, sum: cost_usd, max: 1, per: user, window: 1d}]}
""")
    assert [each.id for each in made.decide(call({}, tool="mcp.a")).tool.limits] == ["each"]
    [scoped] = made.tools["refund"]
    assert [each.sum for each in scoped.limits] == ["cost_usd"]


# Trying a limit out.


def test_a_limit_may_be_in_shadow_and_counts_under_the_same_name():
    tried, enforced = limit("max: 1, per: run, mode: shadow"), limit("max: 1, per: run")
    assert (tried.shadow, enforced.shadow) == (True, False)
    assert tried.name == enforced.name
    assert wide("rate: 5/min, per: run, mode: shadow").shadow
    assert not wide("sum: cost_usd, max: 5, per: run, mode: enforce").shadow


def test_a_mode_that_is_misspelt_says_what_was_meant():
    assert "did you mean `shadow`?" in fault("max: 1, per: run, mode: shadwo")


def test_nothing_in_a_policy_in_shadow_says_enforce():
    assert "nothing in it can enforce" in error(
        "version: 1\nmode: shadow\nlimits: [{id: l, max: 5, per: run, mode: enforce}]\n"
    )
