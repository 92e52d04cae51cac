"""Whatever a test file holds, it is tests or it is told what is wrong with it."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from saferun.policy import loads as policy_of
from saferun.policy.source import Fault
from saferun.suites.case import Suite
from saferun.suites.fault import SuiteError
from saferun.suites.file import loads
from saferun.suites.report import sentence
from saferun.suites.trial import attempt

POLICY = policy_of("""\
version: 1
name: a
inputs: {user.tier: string}
tools:
  t:
    effect: read
    args: {a: {type: integer}}
    rules: [{id: r, ask: true, when: args.a > 5 && user.tier == "gold"}]
""")

WORDS = st.sampled_from(
    (
        *("policy", "given", "cases", "name", "call", "calls", "set", "without", "expect", "table"),
        *("tool", "args", "times", "after", "approve", "cost_usd", "verdict", "rules", "groups"),
        *("control", "message", "missing", "user", "agent", "context", "now", "past", "tools"),
        *("t", "a", "args.a", "user.tier", "user.tier.x", "past.calls", ".", "allow", "1h", ""),
    )
)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), st.floats(-2, 2), WORDS)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
CALL = st.fixed_dictionaries({}, optional={"tool": st.just("t") | ANY, "args": ANY})
STEP = st.fixed_dictionaries(
    {"tool": st.just("t")},
    optional=dict.fromkeys(("args", "times", "after", "approve", "cost_usd", "expect"), ANY),
)
CASE = st.fixed_dictionaries(
    {"name": WORDS},
    optional={
        "call": CALL,
        "calls": st.lists(STEP, max_size=3),
        "table": st.lists(st.dictionaries(WORDS, ANY, max_size=2), max_size=2) | ANY,
        "expect": st.sampled_from(("allow", "deny")) | ANY,
        **dict.fromkeys(("set", "without"), ANY),
    },
)
SUITE = st.fixed_dictionaries(
    {"cases": st.lists(CASE, min_size=1, max_size=3)}, optional={"given": ANY, "policy": ANY}
)


def _read(text: str | bytes) -> Suite | tuple[Fault, ...]:
    try:
        return loads(text, Path("a.test.yaml"))
    except SuiteError as problem:
        return problem.faults


@given(SUITE | ANY)
def test_every_file_is_tests_that_can_be_tried_or_has_faults(value) -> None:
    read = _read(msgspec.json.encode(value))
    if not isinstance(read, Suite):
        assert read
        assert all(fault.message for fault in read)
        return
    for case in read.cases:
        failure = attempt(POLICY, case)
        assert failure is None or sentence(failure)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_every_text_is_tests_or_has_faults(text) -> None:
    read = _read(text)
    assert read.cases if isinstance(read, Suite) else read
