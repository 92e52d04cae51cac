"""Cases tried on a policy: what passes, and what a failure says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from saferun.call import Past
from saferun.policy import loads as policy_of
from saferun.suites.case import Case, Expectation, Situation, Step
from saferun.suites.file import loads
from saferun.suites.given import NOON
from saferun.suites.report import sentence
from saferun.suites.trial import Failure, attempt

POLICY = policy_of("""\
version: 1
name: shop
inputs: {user.tier: string}
limits: [{id: calls, max: 4, per: run}]
tools:
  refund:
    effect: write
    args:
      amount: {type: integer, minimum: 1, maximum: 100000}
      order: {type: string, default: A-1}
    rules:
      - id: big
        ask: [finance]
        when: args.amount > 20000 && user.tier != "gold"
        message: Finance decides on large refunds.
      - {id: early, deny: true, when: now < timestamp("2026-01-01T00:00:00Z")}
      - {id: costly, deny: true, when: run.cost_usd > 1.0}
      - {id: cap, clamp: {amount: {maximum: 50000}}}
    limits: [{id: once, max: 2, per: args.order}]
  look: {effect: read, rules: [{id: after, deny: true, when: '"refund" in run.tools'}], args: {}}
""")


def _cases(text: str, given: str = "{user: {id: m, tier: basic}}") -> tuple[Case, ...]:
    return loads(f"given: {given}\ncases:\n{text}", Path("shop.test.yaml")).cases


def _one(call: str, expect: str, more: str = "") -> Failure | None:
    [case] = _cases(f"  - {{name: one, call: {call}, expect: {expect}{more}}}\n")
    return attempt(POLICY, case)


def _sequence(*calls: str, given: str = "{user: {id: m, tier: basic}}") -> Failure | None:
    listed = "".join(f"      - {call}\n" for call in calls)
    [case] = _cases(f"  - name: one\n    calls:\n{listed}", given)
    return attempt(POLICY, case)


def _about(failure: Failure | None) -> list[str]:
    assert failure is not None
    return [difference.about for difference in failure.differences]


SMALL = "{tool: refund, args: {amount: 5}}"
LARGE = "{tool: refund, args: {amount: 30000}}"
HUGE = "{tool: refund, args: {amount: 60000}}"


@pytest.mark.parametrize(
    ("call", "expect"),
    [
        (SMALL, "allow"),
        (LARGE, "ask"),
        ("{tool: unknown}", "deny"),
        (LARGE, "{verdict: ask, rules: [big], groups: [finance], message: Finance decides}"),
        (HUGE, "{rules: [cap, big], args: {amount: 50000, order: A-1}}"),
        ("{tool: refund, args: {amount: 0}}", "{verdict: deny, rules: [refund.args]}"),
        (SMALL, "{verdict: allow, rules: []}"),
    ],
)
def test_a_case_passes_where_all_that_it_says_is_found(call, expect) -> None:
    assert _one(call, expect) is None


@pytest.mark.parametrize(
    ("call", "expect", "about"),
    [
        (SMALL, "deny", ["verdict"]),
        (LARGE, "{verdict: ask, rules: [big, early]}", ["rules"]),
        (LARGE, "{verdict: ask, rules: []}", ["rules"]),
        (LARGE, "{groups: [legal]}", ["groups"]),
        (LARGE, "{message: Legal decides}", ["message"]),
        (LARGE, "{control: calls}", ["control"]),
        (LARGE, "{missing: [user.tier]}", ["missing"]),
        (HUGE, "{args: {amount: 60000}}", ["args.amount"]),
        (HUGE, "{args: {amount: 50000.0}}", ["args.amount"]),
        (HUGE, "{args: {note: x}}", ["args.note"]),
        (SMALL, "{verdict: ask, rules: [big], groups: [finance]}", ["verdict", "rules", "groups"]),
    ],
)
def test_a_failure_names_everything_that_differs(call, expect, about) -> None:
    assert _about(_one(call, expect)) == about


@given(amount=st.integers(1, 100_000), tier=st.sampled_from(["gold", "basic"]))
def test_for_every_call_one_verdict_passes_and_the_others_fail(amount, tier) -> None:
    call = Step(tool="refund", args={"amount": amount}, expect=Expectation())
    situation = Situation(now=NOON, past=Past(began=NOON), user={"id": "m", "tier": tier})
    passing = []
    for verdict in ("allow", "ask", "deny", "defer"):
        step = replace(call, expect=Expectation(verdict=verdict))
        if attempt(POLICY, Case(name="one", situation=situation, steps=(step,))) is None:
            passing.append(verdict)
    assert passing == ["ask" if amount > 20_000 and tier != "gold" else "allow"]


def test_a_denial_for_want_of_an_input_passes_only_where_it_is_expected() -> None:
    without = ", without: [user.tier]"
    assert _one(LARGE, "{verdict: deny, missing: [user.tier]}", without) is None
    failure = _one(LARGE, "deny", without)
    assert _about(failure) == ["verdict"]
    assert failure is not None
    assert failure.differences[0].found == (
        "deny, since user.tier is not given; expect it as `missing` if that is meant"
    )


def test_calls_of_a_sequence_count_towards_limits() -> None:
    assert (
        _sequence(
            "{tool: refund, args: {amount: 5}, times: 2}",
            "{tool: refund, args: {amount: 5}, expect: {control: once, rules: [once]}}",
            "{tool: refund, args: {amount: 5, order: A-2}, times: 2}",
            "{tool: refund, args: {amount: 5, order: A-3}, expect: {control: calls}}",
        )
        is None
    )


def test_a_question_counts_towards_limits_once_it_is_approved() -> None:
    asks = "{tool: refund, args: {amount: 30000}"
    assert _sequence(f"{asks}, times: 3, expect: ask}}", f"{asks}, expect: ask}}") is None
    assert _sequence(f"{asks}, times: 2, approve: true}}", f"{asks}, expect: deny}}") is None


def test_time_goes_on_between_calls() -> None:
    early = "{user: {id: m, tier: basic}, now: '2025-12-31T23:00:00Z'}"
    assert (
        _sequence(
            "{tool: refund, args: {amount: 5}, expect: {verdict: deny, rules: [early]}}",
            "{tool: refund, args: {amount: 5}, after: 1h}",
            given=early,
        )
        is None
    )


def test_conditions_see_what_the_run_has_done_and_spent() -> None:
    assert (
        _sequence(
            "{tool: look}",
            "{tool: refund, args: {amount: 5}}",
            "{tool: look, expect: {verdict: deny, rules: [after]}}",
            "{tool: refund, args: {amount: 5}, cost_usd: 1.5, expect: {rules: [costly]}}",
        )
        is None
    )


def test_the_given_past_comes_before_all_that_the_calls_do() -> None:
    past = "{user: {id: m, tier: basic}, past: {cost_usd: 0.6, tools: [other]}}"
    assert (
        _sequence(
            "{tool: look}",
            "{tool: refund, args: {amount: 5}}",
            "{tool: refund, args: {amount: 5}, cost_usd: 0.5, expect: {rules: [costly]}}",
            given=past,
        )
        is None
    )
    done = "{past: {tools: [refund]}}"
    assert _sequence("{tool: look, expect: {rules: [after]}}", given=done) is None


def test_a_sequence_ends_at_its_first_failure() -> None:
    failure = _sequence("{tool: look}", "{tool: refund, args: {amount: 5}, times: 3}", "{tool: no}")
    assert failure is not None
    assert (failure.number, failure.of, failure.line) == (4, 5, 6)


def test_a_failure_reads_as_expected_found_and_why() -> None:
    failure = _one(LARGE, "{verdict: allow, rules: []}")
    assert failure is not None
    assert sentence(failure) == [
        "refund(amount=30000)",
        "  verdict  expected allow, found ask",
        "  rules    expected none, found big",
        "  big (line 12) says ask: Finance decides on large refunds.",
        "    ✓ args.amount > 20000  30000",
        '    ✓ user.tier != "gold"  "basic"',
    ]


def test_a_failure_late_in_a_sequence_says_which_call_it_is() -> None:
    failure = _sequence("{tool: look, times: 5}")
    assert failure is not None
    assert sentence(failure)[:3] == [
        "call 5 of 5: look()",
        "  verdict  expected allow, found deny",
        "  calls (line 4) says deny: at most 4 calls in one run",
    ]
