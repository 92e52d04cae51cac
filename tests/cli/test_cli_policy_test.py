"""`saferun policy test`."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import Result

from cli.project import lines
from saferun.cli.policy import testing

SMALL = "call: {tool: refund, args: {order_id: A-17, amount: 4000}}"
PASSING = f"""\
cases:
  - name: Small refunds are made.
    {SMALL}
    expect: allow
  - name: Finance is asked about large ones.
    {SMALL}
    table:
      - {{set: {{args.amount: 20000}}, expect: allow}}
      - {{set: {{args.amount: 20001}}, expect: {{verdict: ask, rules: [big-refund]}}}}
"""
FAILING = f"""\
cases:
  - name: Refunds are never made.
    {SMALL}
    expect: deny
"""


@pytest.fixture
def tests(policy) -> Callable[[str], Path]:
    """Writes the test file of the policy."""

    def write(text: str, name: str = "production.test.yaml") -> Path:
        path = policy.with_name(name)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(saferun) -> Callable[..., Result]:
    return lambda *options: saferun("policy", "test", *options)


def test_tests_that_pass_exit_0_and_say_how_many(run, tests) -> None:
    tests(PASSING)
    result = run()
    assert (result.exit_code, result.stdout) == (0, "✓ 3 cases passed\n")


def test_a_failed_case_exits_1_with_its_place_and_its_reasons(run, tests) -> None:
    tests(FAILING)
    result = run("production")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "✕ Refunds are never made.",
        "  policies/production.test.yaml:2",
        '  refund(order_id="A-17", amount=4000)',
        "    verdict  expected deny, found allow",
        "    no rule and no limit speaks about it",
        "",
        "✕ 1 case failed, 0 passed",
    ]


def test_the_files_of_all_policies_are_run(run, tests) -> None:
    tests(PASSING)
    tests("policy: production\n" + FAILING, "more.test.yaml")
    result = run()
    assert result.exit_code == 1
    assert result.stdout.endswith("✕ 1 case failed, 3 passed\n")


def test_the_files_that_name_a_policy_are_its_own(run, tests, policy) -> None:
    tests(PASSING)
    policy.with_name("other.yaml").write_text("version: 1\n", encoding="utf-8")
    tests("policy: other\n" + FAILING, "apart.test.yaml")
    assert run("production").stdout == "✓ 3 cases passed\n"
    assert run("other").stdout == "✓ 1 case passed\n"


def test_cases_are_chosen_by_a_part_of_their_name(run, tests) -> None:
    tests(PASSING)
    assert run("-k", "finance").stdout == "✓ 2 cases passed\n"
    result = run("-k", "nothing")
    assert result.exit_code == 64
    assert "No case has 'nothing' in its name." in result.stderr


def test_a_fault_in_a_test_file_is_told_with_its_line(run, tests) -> None:
    tests(f"cases:\n  - name: one\n    {SMALL}\n    expct: allow\n")
    result = run()
    assert result.exit_code == 1
    assert "policies/production.test.yaml:4:5: error: `expct` is not a key" in result.stdout
    assert "did you mean `expect`?" in result.stdout
    assert result.stdout.endswith("✕ 2 errors\n")


def test_a_policy_that_cannot_be_used_is_told_with_its_line(run, tests, policy) -> None:
    tests(PASSING)
    policy.write_text("version: 1\ntols: {}\n", encoding="utf-8")
    result = run()
    assert result.exit_code == 1
    assert "policies/production.yaml:2:1: error: `tols` is not a key" in result.stdout


def test_no_tests_at_all_says_where_the_first_belongs(run, policy) -> None:
    result = run("production")
    assert result.exit_code == 64
    assert "write the first into policies/production.test.yaml" in result.stderr


def test_programs_get_one_document(run, tests) -> None:
    tests(FAILING)
    [told] = lines(run("--json"))
    assert (told["passed"], told["failed"], told["faults"]) == (0, 1, [])
    [case] = told["cases"]
    assert (case["path"], case["line"], case["passed"]) == (
        "policies/production.test.yaml",
        2,
        False,
    )
    assert case["differences"] == [{"about": "verdict", "expected": "deny", "found": "allow"}]


def test_build_servers_get_junit(run, tests) -> None:
    tests(FAILING)
    assert run("--junit", "report.xml").exit_code == 1
    assert ET.parse("report.xml").getroot()[0].get("failures") == "1"


def test_build_servers_are_told_of_files_that_cannot_be_used(run, tests) -> None:
    tests(f"cases: [{{name: one, {SMALL}}}]\n")
    assert run("--junit", "report.xml").exit_code == 1
    [suite] = ET.parse("report.xml").getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    [[error]] = suite
    assert "a case says what to `expect`" in error.get("message", "")


def test_coverage_names_what_no_test_has_tried(run, tests) -> None:
    tests(f"cases:\n  - {{name: one, {SMALL}, expect: allow}}\n")
    result = run("--coverage")
    assert result.exit_code == 0
    gap = "policies/production.yaml:12: rule big-refund: no test has a call that it applies to"
    assert result.stdout.splitlines() == [
        gap,
        "66 % of policies/production.yaml tried (2 of 3)",
        "✓ 1 case passed",
    ]
    [told] = lines(run("--coverage", "--json"))
    assert told["coverage"][0]["gaps"][0]["id"] == "big-refund"


def test_a_change_that_no_test_notices_exits_1_with_its_line(run, tests) -> None:
    tests(PASSING)
    result = run("--mutate")
    assert result.exit_code == 1
    assert (
        "policies/production.yaml:3: no test fails if `default` is allow instead of deny"
    ) in result.stdout
    assert "is gone" not in result.stdout
    assert "noticed by no test\n" in result.stdout
    [told] = lines(run("--mutate", "--json"))
    assert told["survivors"][0].keys() == {"path", "line", "what"}


def test_tests_that_notice_every_change_exit_0(run, policy, tests) -> None:
    policy.write_text(
        "version: 1\ntools:\n  refund: {effect: read, args: {amount: {type: integer}}}\n",
        encoding="utf-8",
    )
    tests(
        "cases:\n  - {name: one, call: {tool: refund, args: {amount: 5}}, expect: allow}\n"
        "  - {name: two, call: {tool: other}, expect: deny}\n"
    )
    result = run("--mutate")
    assert result.exit_code == 0
    assert "✓ every change of the policy is noticed" in result.stdout


def test_nothing_is_changed_while_a_case_fails(run, tests) -> None:
    tests(FAILING)
    result = run("--mutate")
    assert result.exit_code == 1
    assert "first make every case pass" in result.stdout


def test_a_change_of_a_file_runs_the_tests_again(run, tests, monkeypatch) -> None:
    path = tests(FAILING)

    def save(_: float) -> None:
        if path.read_text() == PASSING:
            raise KeyboardInterrupt
        path.write_text(PASSING, encoding="utf-8")

    monkeypatch.setattr(testing.time, "sleep", save)
    result = run("--watch")
    assert result.exit_code == 0
    assert "✕ 1 case failed" in result.stdout
    assert result.stdout.index("✓ 3 cases passed") > result.stdout.index("✕ 1 case failed")


def test_watching_is_for_people(run, tests) -> None:
    tests(PASSING)
    assert run("--watch", "--json").exit_code == 64


def test_what_a_test_file_says_cannot_act_on_the_terminal(run, tests) -> None:
    call = r'{tool: refund, args: {order_id: "[red]\u202e", amount: 5}}'
    tests(rf'cases: [{{name: "[b]a\u202eb", call: {call}, expect: deny}}]')
    said = run().stdout
    assert "\u202e" not in said
    assert "[b]a\\u202eb" in said
    assert "[red]" in said
