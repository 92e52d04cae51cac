"""Sequences in a test file may say what comes of each call, which loops and breakers look at."""

from pathlib import Path

from saferun.policy import loads
from saferun.suites.file import loads as suite
from saferun.suites.trial import attempt

POLICY = "version: 1\nname: a\ntools: {t: {effect: read, args: {a: {type: integer}}}}\n"


def _tried(calls: str):
    text = f"cases:\n  - name: one\n    calls:\n{calls}"
    [case] = suite(text, Path("a.test.yaml")).cases
    return attempt(loads(POLICY), case)


def test_what_the_model_is_told_beside_a_result_can_be_expected() -> None:
    assert (
        _tried("""
      - {tool: t, args: {a: 1}, times: 3, result: none yet}
      - {tool: t, args: {a: 1}, expect: {verdict: allow, message: has been called 3 times}}
""")
        is None
    )


def test_a_loop_of_a_case_is_denied_where_it_is_at_its_threshold() -> None:
    assert (
        _tried("""
      - {tool: t, args: {a: 1}, times: 6, result: none yet}
      - {tool: t, args: {a: 1}, expect: {verdict: deny, control: loops, rules: [loops]}}
""")
        is None
    )


def test_calls_that_are_still_under_way_are_no_loop() -> None:
    assert _tried("      - {tool: t, args: {a: 1}, times: 40}\n") is None


def test_a_tool_that_fails_opens_its_breaker() -> None:
    steps = "".join(
        f"      - {{tool: t, args: {{a: {at}}}, error: 'ConnectionError: no route'}}\n"
        for at in range(20)
    )
    last = "      - {tool: t, args: {a: 99}, expect: {verdict: deny, control: breaker}}\n"
    assert _tried(steps + last) is None
