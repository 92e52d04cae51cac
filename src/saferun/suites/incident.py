"""A test case made from a recorded call, put into the test file of its policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saferun.call import Call, Facts
from saferun.policy import Policy
from saferun.policy.amend import AmendError, appended, begun, replaced
from saferun.policy.source import Path as Steps
from saferun.policy.source import read
from saferun.rehearsal import Rehearsed
from saferun.suites.case import Case
from saferun.suites.file import loads
from saferun.suites.trial import attempt

MAX_SAID = 2_000
"""Characters of what people have said that stand in a case."""


def written(
    policy: Policy, call: Call, facts: Facts, rule: str, name: str, before: int = 0
) -> dict[str, Any]:
    """A case that makes the call again, and expects a rule or limit in shadow to speak of it.

    It has what the policy may ask of the run, and nothing else that the run has said. For a limit,
    the call is made so often `before`, and let through.
    """
    given: dict[str, Any] = {}
    run = call.run
    if run is not None:
        inputs = [each.split(".") for each in policy.document.inputs]
        user = {steps[1] for steps in inputs if steps[0] == "user" and len(steps) > 1} | {"id"}
        about = {key: value for key, value in run.user.items() if key in user}
        if about:
            given["user"] = about
        given |= {
            name: value
            for name, value in (("agent", run.agent), ("tenant", run.tenant))
            if value is not None
        }
        context = {steps[0] for steps in inputs if steps[0] != "user"}
        for key in sorted(context & run.context.keys()):
            given[f"context.{key}"] = run.context[key]
    if facts.environment is not None:
        given["environment"] = facts.environment
    past = facts.past
    if past is not None and past.calls and policy.asks_past:
        given["past"] = {"calls": past.calls, "tools": [*past.tools]}
    if past is not None and past.said and policy.asks_said:
        given["past.said"] = "\n".join(past.said)[:MAX_SAID]
    made = {"tool": call.tool, "args": call.args}
    about = {"name": name, **({"set": given} if given else {})}
    expect = {"expect": {"shadow": [rule]}}
    if not before:
        return {**about, "call": made, **expect}
    asked = policy.decide(call, facts).verdict == "ask"
    led = {**made, "times": before, **({"approve": True} if asked else {})}
    return {**about, "calls": [led, {**made, **expect}]}


def with_case(text: bytes | None, case: Mapping[str, Any]) -> bytes:
    """The test file with one more case; a new one where there is none. Raises AmendError."""
    return begun("cases", case) if text is None else appended(text, ("cases",), case)


def free_name(text: bytes | None, name: str) -> str:
    """The name, or one made from it that no case of the file has."""
    cases = (read(text).value or {}).get("cases", ()) if text is not None else ()
    taken = {each.get("name") for each in cases if isinstance(each, dict)}
    found, number = name, 2
    while found in taken:
        found, number = f"{name} ({number})", number + 1
    return found


def failing(text: bytes, path: Path, policy: Policy, name: str) -> str | None:
    """Why a case of a test file fails, None where it passes. Raises SuiteError."""
    for case in loads(text, path).cases:
        if case.name == name:
            failure = attempt(policy, case)
            if failure is None:
                return None
            each = failure.differences[0]
            return f"{each.about}: expected {each.expected}, found {each.found}"
    return "there is no such case"


def enforced(text: bytes, path: Path, policy: Policy, rule: str) -> bytes:
    """The test file once a rule is enforced: cases that saw it in shadow expect what it says.

    `policy` is the one with the rule enforced. Raises AmendError, and SuiteError.
    """
    cases = (read(text).value or {}).get("cases") or ()
    said = {each.name: each for each in loads(text, path).cases}
    for at, body in enumerate(cases):
        case = said.get(str(body.get("name"))) if isinstance(body, dict) else None
        if case is None:
            continue
        for step, (steps, expected) in enumerate(_expected(body)):
            shadow = expected.get("shadow") or []
            if rule not in shadow:
                continue
            told = _decided(policy, case, step)
            if expected.keys() != {"shadow"} or told is None:
                raise AmendError(
                    f"The case {case.name!r} expects more than this in shadow; edit it by hand."
                )
            left = [each for each in shadow if each != rule]
            expect: dict[str, Any] = {"verdict": told.verdict, "rules": list(told.rules)}
            if told.verdict == "unknown":
                expect = {"verdict": told.ruling.verdict, "missing": list(told.missing)}
            whole = {**expect, **({"shadow": left} if left else {})}
            text = replaced(text, ("cases", at, *steps), whole)
    return text


def _expected(body: Mapping[str, Any]) -> list[tuple[Steps, Mapping[str, Any]]]:
    """What a case expects of each of its calls, and where that stands."""
    calls = body.get("calls") or [body]
    held = (each.get("expect") for each in calls)
    found = (each if isinstance(each, dict) else {} for each in held)
    if "calls" not in body:
        return [(("expect",), each) for each in found]
    return [(("calls", at, "expect"), each) for at, each in enumerate(found)]


def _decided(policy: Policy, case: Case, step: int) -> Rehearsed | None:
    """What is decided on the first call of a step; None where the case fails before it."""
    if len(case.steps) <= step:
        return None
    found: list[Rehearsed] = []
    attempt(policy, case, lambda _call, _facts, told: found.append(told))
    number = sum(each.times for each in case.steps[:step])
    return found[number] if number < len(found) else None
