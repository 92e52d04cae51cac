"""`loops`, `breaker`, `timeout`, `poll`, `cost` and `releasable`: read, merged and refused."""

from typing import Any, get_args

import msgspec
import pytest

from policy.making import call, error, errors, policy, text
from saferun.call import Call
from saferun.control import Breaker, Loops
from saferun.policy import loads
from saferun.policy.document import Cost
from saferun.policy.expression import EvaluationError
from saferun.policy.observe import observed
from saferun.policy.parse import setting
from saferun.policy.tool import ToolPolicy

PAGES = "args: {pages: {type: integer}, rate: {type: number}, name: {type: string}}\n"
SECOND = 1_000_000


def tool(said: str, head: str = "") -> ToolPolicy:
    [only] = policy(f"effect: read\n{PAGES}{said}\n", head=head).tools["refund"]
    return only


def fault(said: str, head: str = "") -> str:
    return error(text(f"effect: read\n{PAGES}{said}\n", head=head))


# Loops and breakers.


def test_both_are_on_without_a_word():
    made = tool("")
    assert (made.loops, made.breaker) == (Loops(), Breaker())
    assert (made.poll, made.timeout, made.cost, made.releasable) == (False, None, None, False)


def test_both_are_on_where_there_is_no_policy_at_all():
    made = observed(call()).tool
    assert (made.loops, made.breaker) == (Loops(), Breaker())


def test_both_can_be_off_for_all_tools_and_on_again_for_one():
    made = loads("""
version: 1
default: allow
loops: off
breaker: off
tools:
  a: {effect: read}
  b: {effect: read, loops: {cycle: 5}, breaker: {}}
""")
    assert (made.tools["a"][0].loops, made.tools["a"][0].breaker) == (None, None)
    assert (made.tools["b"][0].loops, made.tools["b"][0].breaker) == (Loops(cycle=5), Breaker())
    assert (made.stranger.loops, made.stranger.breaker) == (None, None)
    assert (made.document.loops, made.document.breaker) == (None, None)


def test_what_a_tool_says_goes_before_what_all_tools_say_key_by_key():
    head = "loops: {same_result: 4, cycle: 5}\nbreaker: {open_for: 10s, probes: 1}\n"
    made = tool("loops: {cycle: off}\nbreaker: {probes: 3}", head)
    assert made.loops == Loops(same_result=4, cycle=None)
    assert made.breaker == Breaker(open_for=10 * SECOND, probes=3)


def test_entries_of_prefixes_and_scopes_and_tools_that_are_not_listed_have_them_too():
    made = loads("""
version: 1
default: allow
loops: {cycle: 4}
tools:
  mcp.*: {effect: read, poll: true}
scopes:
  - for: {agent: ops}
    tools: {mcp.*: {effect: read, loops: {cycle: 6}}}
""")
    scoped, everyone = made.prefixes["mcp."]
    assert (scoped.loops, everyone.loops) == (Loops(cycle=6), Loops(cycle=4))
    assert made.decide(Call(tool="mcp.a", args={})).tool.poll
    assert made.decide(Call(tool="other", args={})).tool.loops == Loops(cycle=4)


def test_every_word_is_read_as_the_record_has_it():
    made = tool(
        "loops: {same_result: 2, poll_for: 10min, retries: 0, denials: 1}\n"
        "breaker: {failure_rate: 1, slow_rate: 0.5, slow_after: 2s, open_max: 1h, jitter: 0,"
        " lease: 90s, spike: 3, spike_floor: 0.25, retry_share: 0, retry_min: 0}"
    )
    assert made.loops == Loops(same_result=2, poll_for=600 * SECOND, retries=0, denials=1)
    assert made.breaker == Breaker(
        failure_rate=1.0,
        slow_rate=0.5,
        slow_after=2 * SECOND,
        open_max=3600 * SECOND,
        jitter=0.0,
        lease=90 * SECOND,
        spike=3.0,
        spike_floor=250_000,
        retry_share=0.0,
        retry_min=0,
    )


@pytest.mark.parametrize(
    ("key", "words", "record"),
    [("loops", setting.LOOPS, Loops), ("breaker", setting.BREAKER, Breaker)],
)
def test_the_file_has_a_word_for_every_field_and_off_for_those_that_may_be(key, words, record):
    fields = {field.name: field.type for field in msgspec.structs.fields(record)}
    assert set(words) == set(fields)
    refused = {name for name in words if errors(text(f"{PAGES}{key}: {{{name}: off}}\n"))}
    assert refused == {name for name, kind in fields.items() if type(None) not in get_args(kind)}


@pytest.mark.parametrize("key", ["loops", "breaker"])
@pytest.mark.parametrize("value", ["on", "false", "", "5", "[off]", "'Off'"])
def test_a_control_is_off_or_a_mapping(key, value):
    assert "expected `off` or a mapping with some of" in fault(f"{key}: {value}")
    assert "expected `off` or a mapping" in error(f"version: 1\n{key}: {value}\n")


def test_a_misspelt_setting_says_what_was_meant():
    assert "did you mean `same_result`?" in fault("loops: {same_results: 5}")
    assert "did you mean `failure_rate`?" in fault("breaker: {failure_rat: 0.5}")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("loops: {same_result: 0}", "a whole number, 1 to"),
        ("loops: {cycle: 1}", "a whole number, 2 to"),
        ("loops: {same_result: 2.5}", "or `off`; found the number 2.5"),
        ("loops: {same_result: true}", "a whole number"),
        ("loops: {same_result: 1000001}", "1 to 1,000,000"),
        ("loops: {same_result: }", "found nothing"),
        ("loops: {retries: -1}", "a whole number, 0 to"),
        ("loops: {denials: -1}", "a whole number, 0 to"),
        ("loops: {poll_for: 60}", "a duration with its unit"),
        ("breaker: {failure_rate: 50}", "above 0, and 1 at most"),
        ("breaker: {failure_rate: 0}", "above 0, and 1 at most"),
        ("breaker: {failure_rate: 50%}", "above 0, and 1 at most"),
        ("breaker: {retry_share: 1.5}", "from 0 to 1"),
        ("breaker: {jitter: 1}", "below 1"),
        ("breaker: {jitter: true}", "from 0 to 1"),
        ("breaker: {spike: 1}", "above 1, or `off`"),
        ("breaker: {spike_floor: -1}", "US dollars as a number"),
        ("breaker: {spike_floor: 1 USD}", "US dollars as a number"),
        ("breaker: {open_for: 30}", "a duration with its unit"),
        ("breaker: {min_calls: 0}", "a whole number, 1 to"),
        ("breaker: {probes: 33}", "a whole number, 1 to 32"),
    ],
)
def test_a_setting_that_is_none_is_refused_and_says_what_to_write(said, message):
    assert message in fault(said)


@pytest.mark.parametrize("said", ["open_for: 20min", "open_max: 10s"])
def test_a_breaker_is_not_open_longer_than_its_longest(said):
    assert "shorter than `open_for`" in fault(f"breaker: {{{said}}}")
    assert "shorter than `open_for`" in error(f"version: 1\nbreaker: {{{said}}}\n")


# Timeouts.


def test_a_timeout_is_a_duration():
    assert tool("timeout: 30s").timeout == 30 * SECOND


@pytest.mark.parametrize("value", ["30", "off", "", "0s", "-1s", "20y", "4000d"])
def test_a_timeout_that_is_no_duration_is_refused(value):
    assert fault(f"timeout: {value}")


@pytest.mark.parametrize(
    ("said", "head", "slow_after"),
    [
        ("timeout: 30s", "", 15),
        ("timeout: 30s\nbreaker: {slow_after: 5s}", "", 5),
        ("timeout: 30s", "breaker: {slow_after: 7s}", 7),
        ("timeout: 30s\nbreaker: {slow_after: off}", "", None),
        ("timeout: 30s", "breaker: {slow_after: off}", None),
        ("timeout: 30s\nbreaker: {min_calls: 5}", "breaker: {probes: 1}", 15),
        ("", "", None),
    ],
)
def test_half_of_the_timeout_is_slow_unless_the_policy_says_what_is(said, head, slow_after):
    breaker = tool(said, head).breaker
    assert breaker is not None
    assert breaker.slow_after == (None if slow_after is None else slow_after * SECOND)


@pytest.mark.parametrize("key", ["poll", "releasable"])
def test_a_flag_is_true_or_false(key):
    assert getattr(tool(f"{key}: true"), key)
    assert "expected `true` or `false`" in fault(f"{key}: on")


# Costs.


def cost(said: str) -> Cost:
    made = tool(f"cost: {said}").cost
    assert made is not None
    return made


@pytest.mark.parametrize(("said", "micro"), [("0.02", 20_000), ("3", 3_000_000), ("0", 0)])
def test_a_cost_is_kept_in_micro_dollars(said, micro):
    assert cost(said) == Cost(most=micro)
    assert cost(said).of({}) == micro


def test_a_cost_finer_than_a_micro_dollar_is_rounded_up():
    assert cost("0.0000001").of({}) == 1


@pytest.mark.parametrize(
    ("said", "args", "micro"),
    [
        ("args.pages * 2", {"pages": 3}, 6_000_000),
        ("double(args.pages) * 0.01", {"pages": 7}, 70_000),
        ("args.rate * 0.1", {"rate": 3}, 300_000),
        ("args.rate * 0.1", {"rate": 3.0000001}, 300_001),
        ("'args.name == \"big\" ? 1.5 : 0.5'", {"name": "big"}, 1_500_000),
        ("double(size(args.name)) / 1000.0", {"name": "abc"}, 3_000),
    ],
)
def test_a_cost_is_worked_out_from_the_arguments_exactly(said, args, micro):
    assert cost(said).of({"args": args}) == micro


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ("args.pages * 2", {"args": {}}),
        ("args.pages * 2", {"args": {"pages": "3"}}),
        ("args.pages * 2", {}),
        ("args.rate / 0.0", {"args": {"rate": 1.0}}),
        ("run.cost_usd", {"args": {}}),
    ],
)
def test_a_cost_that_cannot_be_told_raises(said, values):
    with pytest.raises(EvaluationError):
        cost(said).of(values)


@pytest.mark.parametrize("rate", [-1.0, 1e30])
def test_a_cost_that_is_no_amount_raises(rate):
    with pytest.raises(ValueError, match="added up"):
        cost("args.rate").of({"args": {"rate": rate}})


def test_a_cost_of_a_type_that_is_not_known_must_be_a_number_when_it_is_there():
    [made] = policy("effect: read\nargs: any\ncost: args.price\n").tools["refund"]
    assert made.cost is not None
    assert made.cost.of({"args": {"price": 2}}) == 2_000_000
    for other in ("2", True, None, [2]):
        with pytest.raises(EvaluationError):
            made.cost.of({"args": {"price": other}})


def test_a_cost_may_be_held_at_its_most_and_read_from_the_result():
    made = cost("{most: double(args.pages) * 0.01, from: result.usage.cost_usd}")
    assert made.source == ("usage", "cost_usd")
    assert made.of({"args": {"pages": 2}}) == 20_000


def test_a_cost_that_reads_what_the_run_has_done_has_it_looked_up():
    assert policy(f"effect: read\n{PAGES}cost: run.cost_usd\n").asks_past
    assert not policy(f"effect: read\n{PAGES}cost: 1\n").asks_past


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("", "expected US dollars as a number, or as an expression"),
        ("true", "expected US dollars"),
        ("[1]", "expected US dollars"),
        ("-0.5", "nothing or more"),
        ("1e30", "nothing or more"),
        ("args.page * 2", "did you mean `pages`?"),
        ("args.pages * 0.01", "double("),
        ("args.pages > 2", "a number is wanted here, and this is true or false"),
        ("args.name", "a number is wanted here, and this is a string"),
        ("2 USD", "expected"),
        ("{from: result.cost}", "`cost` says `most`"),
        ("{most: 1, from: cost}", "expected `result.`"),
        ("{most: 1, from: result}", "expected `result.`"),
        ("{most: 1, from: result.*.cost}", "expected `result.`"),
        ("{most: 1, from: args.cost}", "expected `result.`"),
        ("{most: -1}", "nothing or more"),
        ("{moost: 1, most: 1}", "did you mean `most`?"),
        ("{most: {most: 1}}", "expected US dollars"),
    ],
)
def test_a_cost_that_is_none_is_refused_and_says_what_to_write(said, message):
    assert message in fault(f"cost: {said}")


def test_a_mistake_in_a_cost_is_told_at_its_place():
    from saferun.policy import check

    [found] = check("version: 1\ntools:\n  t:\n    effect: read\n    cost: 1 + args.a\n")
    assert (found.code, found.line, found.column) == ("condition", 5, 20)


def test_all_of_it_is_restored_from_the_canonical_form():
    from saferun.policy import restore

    made = policy(
        f"effect: read\n{PAGES}cost: args.pages * 2\ntimeout: 5s\nloops: {{cycle: off}}\n"
    )
    again: Any = restore(made.document.value)
    [one], [other] = made.tools["refund"], again.tools["refund"]
    assert (one.timeout, one.loops, one.breaker) == (other.timeout, other.loops, other.breaker)
    assert one.cost is not None
    assert other.cost is not None
    assert other.cost.of({"args": {"pages": 2}}) == one.cost.of({"args": {"pages": 2}})
