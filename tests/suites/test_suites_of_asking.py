"""Test files that say who is asked, how many, for how long, and what they may change."""

from pathlib import Path

import pytest

from saferun.policy import loads as policy_of
from saferun.suites.fault import SuiteError
from saferun.suites.file import loads
from saferun.suites.trial import Failure, attempt

POLICY = policy_of("""\
version: 1
name: shop
tools:
  refund:
    effect: write
    args: {amount: {type: integer}, note: {type: string}}
    rules:
      - {id: big, ask: [finance], expires: 1h, edits: [amount, note], when: args.amount > 100}
      - id: huge
        ask: [lead, dana]
        approvals: 2
        expires: 15m
        edits: [amount]
        when: args.amount > 1000
      - {id: odd, ask: true, when: args.amount == 13}
""")


def tried(amount: int, expect: str) -> Failure | None:
    call = f"{{tool: refund, args: {{amount: {amount}, note: ''}}}}"
    text = f"cases: [{{name: one, call: {call}, expect: {expect}}}]"
    [case] = loads(text, Path("shop.test.yaml")).cases
    return attempt(POLICY, case)


@pytest.mark.parametrize(
    ("amount", "expect"),
    [
        (200, "{ask: [finance], approvals: 1, expires: 1h, edits: [note, amount]}"),
        (2_000, "{verdict: ask, ask: [dana, finance, lead], approvals: 2}"),
        (2_000, "{expires: 15m, edits: [amount]}"),
        (13, "{ask: true, approvals: 1, edits: []}"),
    ],
)
def test_what_is_demanded_of_people_is_expected(amount: int, expect: str) -> None:
    assert tried(amount, expect) is None


@pytest.mark.parametrize(
    ("amount", "expect", "told"),
    [
        (200, "{ask: [lead]}", ("ask", "lead", "finance")),
        (200, "{ask: true}", ("ask", "anybody", "finance")),
        (13, "{ask: [finance]}", ("ask", "finance", "anybody")),
        (200, "{approvals: 2}", ("approvals", "2", "1")),
        (200, "{expires: 15m}", ("expires", "15 minutes", "1 hour")),
        (13, "{expires: 15m}", ("expires", "15 minutes", "as configured")),
        (2_000, "{edits: [amount, note]}", ("edits", "amount, note", "amount")),
        (5, "{ask: [finance]}", ("ask", "a question to people", "nobody is asked")),
        (5, "{approvals: 1}", ("approvals", "a question to people", "nobody is asked")),
    ],
)
def test_what_is_not_demanded_is_told(amount: int, expect: str, told: tuple[str, ...]) -> None:
    failure = tried(amount, expect)
    assert failure is not None
    [difference] = failure.differences
    assert (difference.about, difference.expected, difference.found) == told


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("ask: finance", "expected a list of groups or people"),
        ("ask: []", "expected a list of groups or people"),
        ("approvals: 0", "expected how many different people"),
        ("approvals: 2.0", "expected how many different people"),
        ("expires: soon", "soon"),
        ("edits: [1]", "expected a name"),
        ("aks: [finance]", "did you mean `ask`?"),
    ],
)
def test_what_is_wrong_comes_with_its_line(said: str, why: str) -> None:
    text = (
        "cases:\n  - name: one\n    call: {tool: refund, args: {}}\n    expect:\n"
        f"      verdict: ask\n      {said}\n"
    )
    with pytest.raises(SuiteError) as caught:
        loads(text, Path("shop.test.yaml"))
    [fault] = caught.value.faults
    assert fault.line == 6
    assert why in fault.message


def test_a_denial_asks_nobody() -> None:
    text = "cases: [{name: one, call: {tool: refund}, expect: {verdict: deny, approvals: 2}}]"
    with pytest.raises(SuiteError) as caught:
        loads(text, Path("shop.test.yaml"))
    [fault] = caught.value.faults
    assert "nobody is asked where the verdict is 'deny'" in fault.message
