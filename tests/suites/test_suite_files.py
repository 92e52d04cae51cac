"""What a test file may say, and how it is told where it is wrong."""

from pathlib import Path

import pytest

from saferun.suites.case import Case, Suite
from saferun.suites.fault import SuiteError
from saferun.suites.file import MAX_CALLS, loads
from saferun.suites.given import NOON

CALL = "call: {tool: refund, args: {amount: 5, to: {city: Bonn, zip: '1'}}}"
HOUR = 3_600_000_000


def _suite(text: str) -> Suite:
    return loads(text, Path("policies/shop.test.yaml"))


def _case(body: str, given: str = "") -> Case:
    [case] = _suite(f"{given}cases:\n  - {{name: one, expect: allow, {CALL}, {body}}}\n").cases
    return case


def _faults(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(SuiteError) as caught:
        _suite(text)
    assert caught.value.path == "policies/shop.test.yaml"
    return [(fault.line, fault.message) for fault in caught.value.faults]


def _fault(body: str) -> str:
    [(_, message)] = _faults(f"cases:\n  - {{name: one, {body}}}\n")
    return message


def test_a_file_is_about_the_policy_that_is_called_like_it() -> None:
    assert _suite(f"cases: [{{name: a, {CALL}, expect: deny}}]").policy == Path(
        "policies/shop.yaml"
    )


@pytest.mark.parametrize("named", ["other", "other.yaml", "'other'"])
def test_a_file_may_name_another_policy(named) -> None:
    suite = _suite(f"policy: {named}\ncases: [{{name: a, {CALL}, expect: deny}}]")
    assert suite.policy == Path("policies/other.yaml")


def test_a_case_sets_values_on_top_of_what_is_given() -> None:
    given = "given: {user: {id: maria, tier: basic}, agent: support, context: {region: eu}}\n"
    case = _case("set: {user.tier: gold, tenant: acme, context.region: us}", given)
    situation = case.situation
    assert situation.user == {"id": "maria", "tier": "gold"}
    assert (situation.agent, situation.tenant) == ("support", "acme")
    assert situation.context == {"region": "us"}


def test_a_path_may_lead_into_an_argument_and_leaves_the_rest_of_it() -> None:
    assert _case("set: {args.to.city: Paris}").steps[0].args == {
        "amount": 5,
        "to": {"city": "Paris", "zip": "1"},
    }


def test_a_path_may_lead_to_an_item_of_a_list() -> None:
    text = (
        "cases: [{name: a, call: {tool: t, args: {to: [a, b]}}, set: {args.to.1: c}, expect: deny}]"
    )
    assert _suite(text).cases[0].steps[0].args == {"to": ["a", "c"]}


def test_what_is_given_may_be_left_out() -> None:
    case = _case("without: [user.tier, args.amount]", "given: {user: {id: m, tier: basic}}\n")
    assert case.situation.user == {"id": "m"}
    assert case.steps[0].args == {"to": {"city": "Bonn", "zip": "1"}}


def test_a_user_may_be_given_by_id_alone() -> None:
    assert _case("", "given: {user: maria}\n").situation.user == {"id": "maria"}


def test_a_case_without_a_time_happens_at_one_that_never_changes() -> None:
    assert _case("").situation.now == NOON


@pytest.mark.parametrize(
    ("now", "moment"),
    [
        ("1970-01-01T01:00:00Z", HOUR),
        ("1970-01-01T01:00:00", HOUR),
        ("1970-01-01T03:00:00+02:00", HOUR),
    ],
)
def test_a_time_without_a_zone_is_utc(now, moment) -> None:
    assert _case("", f"given: {{now: '{now}'}}\n").situation.now == moment


def test_the_past_lies_before_the_first_call() -> None:
    case = _case("", "given: {past: {calls: 3, cost_usd: 1.5, seconds: 60, tools: [b, a]}}\n")
    past = case.situation.past
    assert (past.calls, past.cost_usd, past.tools) == (3, 1.5, ("a", "b"))
    assert past.began == NOON - 60_000_000


def test_what_people_have_said_may_be_given_and_by_a_path_too() -> None:
    given = "given: {past: {said: Pay DE89-1.}}\n"
    assert _case("", given).situation.past.said == ("Pay DE89-1.",)
    assert _case("set: {past.said: Pay.}", given).situation.past.said == ("Pay.",)
    assert _case("without: [past.said]", given).situation.past.said == ()


def test_every_row_of_a_table_is_a_case_of_its_own() -> None:
    text = f"""\
cases:
  - name: refunds
    {CALL}
    set: {{user.tier: gold}}
    table:
      - {{expect: allow}}
      - {{name: large, set: {{args.amount: 9, user.tier: basic}}, expect: {{rules: [r]}}}}
"""
    first, second = _suite(text).cases
    assert [first.name, second.name] == ["refunds [row 1]", "refunds [large]"]
    assert [first.line, second.line] == [6, 7]
    assert first.situation.user == {"tier": "gold"}
    assert second.situation.user == {"tier": "basic"}
    assert second.steps[0].args["amount"] == 9
    assert second.steps[0].expect.rules == ("r",)


def test_a_sequence_says_what_each_call_expects() -> None:
    text = """\
cases:
  - name: twice
    calls:
      - {tool: a, times: 2, after: 1h}
      - {tool: b, approve: true}
      - {tool: c, cost_usd: 0.5, expect: deny}
"""
    one, two, three = _suite(text).cases[0].steps
    assert (one.times, one.after, one.expect.verdict) == (2, HOUR, "allow")
    assert (two.approve, two.expect.verdict) == (True, "ask")
    assert (three.cost_usd, three.expect.verdict) == (0.5, "deny")


def test_a_fault_comes_with_its_line_and_with_what_may_be_meant() -> None:
    text = f"cases:\n  - name: one\n    {CALL}\n    expct: allow\n    expect: alow\n"
    faults = _faults(text)
    assert [line for line, _ in faults] == [4, 5]
    assert "did you mean `expect`?" in faults[0][1]
    assert "did you mean `allow`?" in faults[1][1]


def test_two_cases_of_one_name_are_a_fault() -> None:
    case = f"  - {{name: one, {CALL}, expect: allow}}\n"
    [(line, message)] = _faults(f"cases:\n{case}{case}")
    assert line == 3
    assert message == "a case is called like this in line 2; give it another name"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"{CALL}", "a case says what to `expect`: one of allow, ask, deny, defer"),
        (f"{CALL}, expect: {{}}", "an expectation says at least a `verdict`"),
        (f"{CALL}, expect: {{rule: [a]}}", "did you mean `rules`?"),
        (f"{CALL}, expect: {{rules: a}}", "expected a list"),
        ("expect: allow, call: {args: {}}", "expected the name of a tool"),
        (f"{CALL}, expect: allow, set: {{usr.tier: 1}}", "did you mean `user`?"),
        (f"{CALL}, expect: allow, set: {{agent: 5}}", "expected a name"),
        (f"{CALL}, expect: allow, set: {{past.calls: -1}}", "expected a mapping with some of"),
        (f"{CALL}, expect: allow, set: {{past.cals: 1}}", "did you mean `calls`?"),
        (f"{CALL}, expect: allow, set: {{now: soon}}", "expected a time in quotes"),
        (f"{CALL}, expect: allow, set: {{args: 5}}", "name one of the args"),
        (f"{CALL}, expect: allow, set: {{args.amount.x: 5}}", "what holds `x` is no mapping"),
        (f"{CALL}, expect: allow, without: [args.no]", "is not given, so it cannot be left out"),
        (f"{CALL}, expect: allow, table: [{{expect: deny}}]", "each row of a `table`"),
        (f"{CALL}, calls: [{{tool: a}}]", "`call` does not go with `calls`"),
        ("expect: allow", "a case makes a `call`, or several `calls`"),
        ("calls: []", "expected a list of calls"),
        ("calls: [{tool: a, times: 0}]", "expected a whole number from 1"),
        ("calls: [{tool: a, times: true}]", "expected a whole number from 1"),
        ("calls: [{tool: a, after: soon}]", "soon"),
        ("calls: [{tool: a, cost_usd: -1}]", "expected dollars"),
        ("set: {args.a: 1}, calls: [{tool: a}]", "each of the `calls` has arguments of its own"),
    ],
)
def test_what_makes_no_sense_is_a_fault_with_a_sentence(body, said) -> None:
    assert said in _fault(body)


@pytest.mark.parametrize("text", ["", "cases: []", "cases: 5", "- a", "cases: &a [*a]", "a: b: c"])
def test_a_file_without_cases_is_a_fault(text) -> None:
    assert _faults(text)


def test_a_file_asks_for_no_more_calls_than_are_made_in_seconds() -> None:
    half = MAX_CALLS // 2 + 1
    text = f"cases: [{{name: a, calls: [{{tool: t, times: {half}}}, {{tool: t, times: {half}}}]}}]"
    [(_, message)] = _faults(text)
    assert f"at most {MAX_CALLS:,} calls" in message


def test_a_file_that_is_not_there_is_told_as_such(tmp_path) -> None:
    from saferun.suites.file import load

    with pytest.raises(SuiteError, match="cannot be read: No such file"):
        load(tmp_path / "no.test.yaml")
