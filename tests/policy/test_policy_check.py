"""What `check` says about a policy file."""

import pytest

from policy.making import FITS, REFUND, call, of, policy, text, warnings
from saferun.policy import Finding, check


def test_a_policy_without_fault_has_no_findings():
    assert check(text()) == []


def test_all_errors_are_told_at_once_in_the_order_of_the_file():
    document = """\
version: 1
mode: shaddow
limits:
  - {id: l, max: 0, per: run, windwo: 1h}
tools:
  refund:
    effect: wirte
    args:
      amount: {type: integer, maxmum: 5}
      note: {maxLength: 5}
    rules:
      - {deny: true}
      - {id: l, ask: []}
"""
    found = check(document, "policies/p.yaml")
    assert [(each.line, each.code) for each in found] == [
        (2, "value"),
        (4, "value"),
        (4, "unknown-key"),
        (7, "value"),
        (9, "unknown-key"),
        (10, "schema"),
        (12, "value"),
        (13, "duplicate"),
        (13, "type"),
    ]
    assert {each.severity for each in found} == {"error"}
    assert {each.path for each in found} == {"policies/p.yaml"}


def test_a_finding_is_what_it_says():
    assert check("version: 1\ntool: {}\n", "p.yaml") == [
        Finding(
            severity="error",
            code="unknown-key",
            message=(
                "`tool` is not a key here, but one of version, name, default, mode, urgent, "
                "include, inputs, definitions, limits, loops, breaker, record, tools, scopes "
                "is; did you mean `tools`?"
            ),
            path="p.yaml",
            line=2,
            column=1,
        )
    ]


def test_there_are_no_warnings_about_a_file_with_errors():
    assert [each.severity for each in check("version: 1\ndefault: allow\nmood: x\n")] == ["error"]


def test_a_default_of_allow_is_worth_a_warning():
    assert warnings("version: 1\ndefault: allow\n") == ["2: default-allow"]


def test_a_tool_without_an_effect_is_worth_a_warning():
    assert warnings("version: 1\ntools:\n  t: {}\n") == ["3: no-effect"]


@pytest.mark.parametrize(("effect", "found"), [("read", []), ("write", [2]), ("destructive", [2])])
def test_arguments_that_nobody_checks_are_worth_a_warning_unless_the_tool_only_reads(effect, found):
    document = f"version: 1\ntools: {{t: {{effect: {effect}, args: any}}}}\n"
    assert warnings(document) == [f"{line}: unchecked-args" for line in found]


def test_an_object_that_lets_other_properties_through_is_worth_a_warning():
    document = text(
        "effect: read\nargs:\n  a: {type: array, items: {type: object, properties: {}}}\n"
    )
    assert warnings(document) == ["7: open-object"]


@pytest.mark.parametrize("closed", ["additionalProperties: false", "unevaluatedProperties: false"])
def test_an_object_that_is_closed_is_not(closed):
    schema = f"{{type: object, properties: {{}}, {closed}}}"
    assert warnings(text(f"effect: read\nargs: {{a: {schema}}}\n")) == []


@pytest.mark.parametrize(
    ("pattern", "found"), [("^a$", 0), ("^a", 1), ("a$", 1), ("@acme.test", 1)]
)
def test_a_pattern_that_matches_anywhere_is_worth_a_warning(pattern, found):
    document = text(f"effect: read\nargs:\n  a: {{type: string, pattern: '{pattern}'}}\n")
    assert warnings(document) == ["7: unanchored-pattern"] * found


@pytest.mark.parametrize(("more", "found"), [("", 0), (", optional: true", 1), (", default: x", 0)])
def test_a_limit_by_an_argument_that_may_be_missing_is_worth_a_warning(more, found):
    tool = f"effect: read\nargs: {{a: {{type: string{more}}}}}\n"
    limits = "limits: [{id: l, max: 1, per: [run, args.a]}]\n"
    assert [line.split(": ")[1] for line in warnings(text(tool + limits))] == (
        ["optional-scope"] * found
    )


def test_a_policy_with_warnings_loads():
    assert of("a: {type: string, pattern: a}").decide(call({"a": "ba"})).verdict == "allow"
    assert policy(REFUND).decide(call(FITS)).verdict == "allow"
