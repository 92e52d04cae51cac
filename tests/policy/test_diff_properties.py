"""What always holds between two policies and their difference."""

import json
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from saferun.call import Call, Facts, Past, RunRef, canonical
from saferun.errors import PolicyError
from saferun.policy import Policy, Ruling, loads, restore
from saferun.policy.analysis import Example, diff, kind_of
from saferun.policy.analysis.condition import condition_notes
from saferun.policy.analysis.rule import rule_notes
from saferun.policy.analysis.situation import Situation

NUMBERS = st.integers(-1, 4)
WORDS = st.sampled_from(["a", "b", "c"])
WHO = st.sampled_from(["acme", "beta"])

ARGUMENTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("integer")}, optional={"minimum": NUMBERS}),
    st.fixed_dictionaries({"type": st.just("number")}, optional={"maximum": NUMBERS}),
    st.fixed_dictionaries({"enum": st.lists(WORDS, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"type": st.just("string")}, optional={"maxLength": st.integers(0, 2)}),
)
FRAGMENTS = st.one_of(
    st.fixed_dictionaries({"const": st.one_of(NUMBERS, WORDS)}),
    st.fixed_dictionaries({"enum": st.lists(st.one_of(NUMBERS, WORDS), min_size=1, unique=True)}),
    st.fixed_dictionaries({"type": st.just("integer"), "maximum": NUMBERS}),
)
CONDITIONS = st.builds(
    lambda relation, bound, tier: f'run.calls {relation} {bound} && user.tier == "{tier}"',
    st.sampled_from([">", "<=", "=="]),
    NUMBERS,
    WORDS,
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    ids = iter(range(1_000))

    def tool() -> dict[str, Any]:
        args: dict[str, Any] = {}
        for name in draw(st.lists(st.sampled_from("xy"), unique=True)):
            args[name] = {**draw(ARGUMENTS), **draw(st.sampled_from([{}, {"optional": True}]))}
        rules = []
        for _ in range(draw(st.integers(0, 3))):
            answer = draw(st.sampled_from(["allow", "ask", "deny"]))
            rule: dict[str, Any] = {"id": f"r{next(ids)}", answer: True}
            if args and draw(st.booleans()):
                rule["args"] = {draw(st.sampled_from(sorted(args))): draw(FRAGMENTS)}
            if draw(st.integers(0, 3)) == 0:
                rule["when"] = draw(CONDITIONS)
            if draw(st.integers(0, 3)) == 0:
                rule["for"] = {"tenant": draw(WHO)}
            rules.append(rule)
        default = draw(st.sampled_from(["allow", "ask", "deny"]))
        return {"effect": "write", "args": args, "default": default, "rules": rules}

    names = draw(st.lists(st.sampled_from(["t", "mcp.*", "mcp.a"]), unique=True))
    value = {
        "version": 1,
        "default": draw(st.sampled_from(["allow", "deny"])),
        "inputs": {"user.tier": "string"},
        "tools": {name: tool() for name in names},
    }
    if draw(st.booleans()):
        value["scopes"] = [{"for": {"tenant": draw(WHO)}, "tools": {"t": tool()}}]
    try:
        return loads(json.dumps(value), "generated.yaml")
    except PolicyError:
        # A condition on an argument of another type is refused; such a policy is none.
        reject()


VALUES = st.one_of(NUMBERS, WORDS, st.floats(-1, 4, width=16), st.sampled_from(["aa", "aaa", None]))


@st.composite
def calls(draw: st.DrawFn) -> tuple[Call, Facts]:
    run = RunRef(
        run_id="r",
        root="r",
        tenant=draw(st.one_of(st.none(), WHO, WORDS)),
        user={"id": "u", "tier": draw(WORDS)},
    )
    call = Call(
        tool=draw(st.sampled_from(["t", "mcp.a", "mcp.b", "other"])),
        args=draw(st.dictionaries(st.sampled_from("xy"), VALUES)),
        run=run,
    )
    return call, Facts(past=Past(began=0, calls=draw(st.integers(0, 5))))


def differ(was: Ruling, now: Ruling) -> bool:
    if was.verdict != now.verdict:
        return True
    return was.verdict != "deny" and canonical.encode(was.args) != canonical.encode(now.args)


def again(example: Example, policy: Policy) -> Ruling:
    """An example, decided by a policy as anybody would who reads it."""
    known = {tuple(name.split(".")): value for name, value in example.known.items()}
    situation = Situation(tool=example.tool, args=example.args, known=known)
    return policy.decide(situation.call(), situation.facts())


def holds_of(old: Policy, new: Policy, made: list[tuple[Call, Facts]]) -> None:
    difference = diff(old, new)
    for call, facts in made:
        if differ(old.decide(call, facts), new.decide(call, facts)):
            assert difference.of(kind_of(call.tool, old, new)) is not None
    for tool in difference.tools:
        for example in tool.examples:
            assert again(example, old).verdict == example.old
            assert again(example, new).verdict == example.new


@settings(max_examples=25, deadline=None)
@given(policies(), policies(), st.lists(calls(), min_size=8, max_size=16))
def test_a_call_that_is_decided_otherwise_is_of_a_tool_that_the_difference_names(old, new, made):
    holds_of(old, new, made)


@pytest.mark.soak
@settings(max_examples=3_000, deadline=None)
@given(policies(), policies(), st.lists(calls(), min_size=8, max_size=16))
def test_the_same_of_many_more_policies(old, new, made):
    holds_of(old, new, made)


@settings(max_examples=25, deadline=None)
@given(policies())
def test_a_policy_does_not_differ_from_itself(one):
    assert not diff(one, one)


@settings(max_examples=15, deadline=None)
@given(policies(), policies())
def test_one_of_two_directions_differs_where_the_other_does(one, other):
    there, back = diff(one, other), diff(other, one)
    assert {tool.tool for tool in there.tools} == {tool.tool for tool in back.tools}


@settings(max_examples=60, deadline=None)
@given(policies(), st.lists(calls(), min_size=8, max_size=16))
def test_a_rule_that_is_said_to_decide_nothing_can_be_left_out(one, made):
    vain = ("never-matches", "shadowed-rule", "idle-rule", "never-holds")
    for entry in one.document.tools:
        notes = [*rule_notes(entry, ()), *condition_notes(entry, (), one.document.inputs)]
        for note in notes:
            if note.code in vain:
                without = restore(left_out(one, entry.rules[int(note.path[1])].id))
                for call, facts in made:
                    assert one.decide(call, facts).verdict == without.decide(call, facts).verdict


def left_out(policy: Policy, rule: str) -> dict[str, Any]:
    """The policy's value without one rule."""
    value = json.loads(policy.canonical)
    held = [value.get("tools", {}), *(scope["tools"] for scope in value.get("scopes", []))]
    for tool in (tool for tools in held for tool in tools.values()):
        tool["rules"] = [each for each in tool["rules"] if each["id"] != rule]
    return value
