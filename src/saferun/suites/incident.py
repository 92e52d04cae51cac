"""A test case made from a recorded call, put into the test file of its policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saferun.call import Call, Facts
from saferun.policy import Policy
from saferun.policy.amend import AmendError, appended, begun, replaced
from saferun.policy.source import read
from saferun.rehearsal import Rehearsed
from saferun.suites.case import Case
from saferun.suites.file import loads
from saferun.suites.trial import attempt


def written(policy: Policy, call: Call, facts: Facts, rule: str, name: str) -> dict[str, Any]:
    """A case that makes the call again, and expects a rule in shadow to speak of it.

    It has what the policy may ask of the run, and nothing else that the run has said.
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
    return {
        "name": name,
        "call": {"tool": call.tool, "args": call.args},
        **({"set": given} if given else {}),
        "expect": {"shadow": [rule]},
    }


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
        if case is None or not isinstance(body.get("expect"), dict):
            continue
        shadow = body["expect"].get("shadow") or []
        if rule not in shadow:
            continue
        if body["expect"].keys() != {"shadow"} or len(case.steps) != 1:
            raise AmendError(
                f"The case {case.name!r} expects more than this rule in shadow; edit it by hand."
            )
        left = [each for each in shadow if each != rule]
        told = _decided(policy, case)
        expect: dict[str, Any] = {"verdict": told.verdict, "rules": list(told.rules)}
        if told.verdict == "unknown":
            expect = {"verdict": told.ruling.verdict, "missing": list(told.missing)}
        whole = {**expect, **({"shadow": left} if left else {})}
        text = replaced(text, ("cases", at, "expect"), whole)
    return text


def _decided(policy: Policy, case: Case) -> Rehearsed:
    """What is decided on the one call of a case."""
    found: list[Rehearsed] = []
    attempt(policy, case, lambda _call, _facts, told: found.append(told))
    return found[0]
