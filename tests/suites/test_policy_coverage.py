"""What tests have tried of a policy, and what not."""

from pathlib import Path

from saferun.policy import loads as policy_of
from saferun.suites.coverage import Coverage
from saferun.suites.file import loads
from saferun.suites.run import results

POLICY = policy_of("""\
version: 1
name: shop
inputs: {user.tier: string}
limits: [{id: calls, max: 2, per: run}]
tools:
  refund:
    effect: write
    args: {amount: {type: integer}}
    rules:
      - {id: big, ask: true, when: 'args.amount > 100 && user.tier != "gold"'}
      - {id: none, deny: true, args: {amount: {const: 0}}}
  look: {effect: read, args: {}}
""")
SMALL = "{tool: refund, args: {amount: 5}}"
LARGE = "{tool: refund, args: {amount: 500}}"


def _covered(*calls: str) -> Coverage:
    listed = "".join(f"      - {call}\n" for call in calls)
    given = "given: {user: {id: m, tier: basic}}\n"
    text = f"{given}cases:\n  - name: one\n    calls:\n{listed}"
    coverage = Coverage(POLICY)
    for result in results(loads(text, Path("shop.test.yaml")), POLICY, coverage):
        assert result.failure is None
    return coverage


def _gaps(coverage: Coverage) -> list[tuple[str, str, int | None]]:
    return [(gap.id, gap.message, gap.line) for gap in coverage.gaps]


def test_what_no_test_tries_is_told_in_the_order_of_the_policy() -> None:
    assert _gaps(_covered(SMALL)) == [
        ("calls", "no test reaches it", 4),
        ("big", "no test has a call that it applies to", 10),
        ("big", "no test makes `args.amount > 100` true", 10),
        ("big", 'no test makes `user.tier != "gold"` false', 10),
        ("none", "no test has a call that it applies to", 11),
        ("look", "no test calls it", 12),
    ]


def test_a_tool_that_no_test_calls_has_rules_that_none_tries() -> None:
    told = _gaps(_covered("{tool: look}"))
    assert ("refund", "no test calls it", 6) in told
    assert ("big", "no test has a call that it leaves alone", 10) in told


def test_each_side_of_a_rule_is_tried_by_a_call_of_its_own() -> None:
    told = _gaps(_covered(SMALL, f"{LARGE[:-1]}, expect: ask}}"))
    assert [each for each in told if each[0] == "big"] == [
        ("big", 'no test makes `user.tier != "gold"` false', 10)
    ]


def test_a_limit_is_tried_where_it_stops_a_call() -> None:
    calls = ["{tool: look, times: 2}", "{tool: look, expect: {control: calls}}"]
    assert "calls" not in [gap.id for gap in _covered(*calls).gaps]


def test_a_call_whose_arguments_do_not_fit_tries_no_rule() -> None:
    coverage = _covered("{tool: refund, args: {amount: no}, expect: deny}")
    assert ("big", "no test has a call that it leaves alone", 10) in _gaps(coverage)


def test_what_is_tried_and_what_is_not_make_up_the_whole() -> None:
    coverage = _covered(SMALL)
    assert coverage.tried + len(coverage.gaps) == coverage.of
    assert coverage.tried > 0
