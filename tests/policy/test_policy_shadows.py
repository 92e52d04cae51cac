"""Rules in shadow, asked of many calls at once: they say what they say when a call is decided."""

from hypothesis import given
from hypothesis import strategies as st

from saferun.call import Call, Facts, Past, RunRef
from saferun.policy import Shadows, loads

POLICY = """\
version: 1
name: many
inputs: {{user.tier: string}}
tools:
  refund:
    effect: write
    args:
      amount: {{type: number}}
      to: {{type: string, default: a@shop}}
      note: {{type: string, optional: true, maxLength: 6}}
      tags: {{type: array, items: {{type: string}}, optional: true}}
    rules:
{rules}
  mail.*:
    effect: write
    args: any
    rules:
      - {{id: wild, deny: true, when: 'has(args.to) && args.to == "b@bank"', mode: shadow}}
"""
RULES = (
    "{id: above, deny: true, when: args.amount > 40, mode: shadow}",
    "{id: exact, deny: true, when: args.amount == 1, mode: shadow}",
    "{id: bank, ask: true, when: 'args.to.endsWith(\"bank\")', mode: shadow}",
    "{id: known, deny: true, when: '!(args.to in [\"a@shop\"])', mode: shadow}",
    "{id: noted, deny: true, when: has(args.note), mode: shadow}",
    "{id: said, deny: true, when: 'args.note.startsWith(\"x\")', mode: shadow}",
    "{id: tagged, deny: true, when: 'args.tags.exists(x, x == \"bad\")', mode: shadow}",
    "{id: both, deny: true, when: 'args.amount > 10 && args.to == \"b@bank\"', mode: shadow}",
    "{id: after, deny: true, when: '\"read\" in run.tools', mode: shadow}",
    "{id: named, deny: true, when: '!run.said.contains(args.to)', mode: shadow}",
    "{id: asked, deny: true, when: 'run.said.startsWith(\"Pay\")', mode: shadow}",
    "{id: nothing, deny: true, when: '!has(run.said) && args.amount > 4', mode: shadow}",
    "{id: tier, deny: true, when: 'user.tier == \"gold\"', mode: shadow}",
    '{id: late, deny: true, when: now > timestamp("1970-01-01T00:00:01Z"), mode: shadow}',
    "{id: small, deny: true, args: {amount: {maximum: 3}}, mode: shadow}",
    "{id: acme, deny: true, for: {tenant: acme}, mode: shadow}",
    "{id: every, deny: true, mode: shadow}",
    "{id: real, deny: true, when: args.amount > 20}",
    "{id: capped, clamp: {amount: {maximum: 30}}}",
    "{id: banked, set: {to: b@bank}}",
)

values = st.one_of(
    st.sampled_from([True, 0, 1, 1.0, 5, 25, 50, None, [], ["bad"], {"a": 1}]),
    st.sampled_from(["a@shop", "b@bank", "x", "too long for it", ""]),
)
arguments = st.fixed_dictionaries(
    {"amount": values},
    optional={"to": values, "note": values, "tags": values, "other": values},
)
runs = st.one_of(
    st.none(),
    st.builds(
        lambda tier, tenant: RunRef(
            run_id="r-1",
            root="r-1",
            user={"id": "u", **({"tier": tier} if tier else {})},
            tenant=tenant,
        ),
        st.sampled_from([None, "gold", "basic"]),
        st.sampled_from([None, "acme", "beta"]),
    ),
)
pasts = st.one_of(
    st.none(),
    st.builds(
        lambda tools, said: Past(began=0, tools=tools, said=said),
        st.sampled_from([(), ("read",)]),
        st.sampled_from([(), None, ("Pay b@bank",), ("Hello.", "Pay x")]),
    ),
)
calls = st.tuples(
    st.builds(
        lambda tool, args, run: Call(tool=tool, args=args, run=run),
        st.sampled_from(["refund", "mail.send", "mail.draft", "nobody"]),
        arguments,
        runs,
    ),
    st.builds(lambda now, past: Facts(now=now, past=past), st.sampled_from([0, 10**7]), pasts),
)


@given(st.lists(st.sampled_from(RULES), unique=True, min_size=1), st.lists(calls, max_size=12))
def test_they_say_of_each_call_what_they_say_when_it_is_decided(rules, asked) -> None:
    policy = loads(POLICY.format(rules="\n".join(f"      - {each}" for each in rules)).encode())
    shadows = Shadows(policy)
    for call, facts in asked:
        assert shadows.of(call, facts) == policy.decide(call, facts).shadow


def test_a_text_that_was_seen_before_is_answered_alike_and_so_is_one_too_many(monkeypatch) -> None:
    monkeypatch.setattr("saferun.policy.shadows.MAX_TEXTS", 1)
    policy = loads(POLICY.format(rules=f"      - {RULES[2]}").encode())
    shadows = Shadows(policy)
    for to in ("a@shop", "b@bank", "a@shop", "b@bank", "c@bank"):
        told = shadows.of(Call(tool="refund", args={"amount": 1, "to": to}), Facts())
        assert [each.id for each in told] == ["bank"] * to.endswith("bank")


def test_they_are_asked_of_what_other_rules_have_made_of_the_call() -> None:
    rules = "\n".join(f"      - {each}" for each in (RULES[2], RULES[-1]))
    shadows = Shadows(loads(POLICY.format(rules=rules).encode()))
    told = shadows.of(Call(tool="refund", args={"amount": 1, "to": "a@shop"}), Facts())
    assert [each.id for each in told] == ["bank"]


def test_rules_that_speak_of_nearly_all_are_asked_with_the_rest_of_the_policy(monkeypatch) -> None:
    monkeypatch.setattr("saferun.policy.shadows.TALKATIVE", 2)
    shadows = Shadows(loads(POLICY.format(rules=f"      - {RULES[2]}").encode()))
    for to in ("b@bank", "c@bank", "b@bank", "a@shop"):
        told = shadows.of(Call(tool="refund", args={"amount": 1, "to": to}), Facts())
        assert [each.id for each in told] == ["bank"] * to.endswith("bank")
