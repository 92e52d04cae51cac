"""Which entry of a policy a call falls under, and whom a rule concerns."""

from textwrap import dedent

import pytest

from policy.making import error, errors, ids
from saferun.call import Call, Facts, RunRef
from saferun.policy import Policy, explain, loads

TOOLS = """
version: 1
tools:
  "mcp.*": {effect: read, args: any, rules: [{id: all-mcp, ask: true}]}
  "mcp.git.*": {effect: read, args: any, rules: [{id: git, deny: true}]}
  mcp.git.log: {effect: read, args: any}
"""

SOME = """
version: 1
tools:
  refund: {effect: write, args: any, rules: [{id: everyone, deny: true}]}
scopes:
  - for: {agent: support}
    tools:
      refund: {effect: write, args: any, rules: [{id: by-agent, deny: true}]}
  - for: {tenant: acme}
    tools:
      refund: {effect: write, args: any, rules: [{id: by-tenant, deny: true}]}
  - for: {agent: support, environment: staging}
    tools:
      refund: {effect: write, args: any, rules: [{id: in-staging, deny: true}]}
"""


def _made(text: str) -> Policy:
    return loads(dedent(text))


def _run(**about: str) -> RunRef:
    user = {"id": about.pop("user")} if "user" in about else {}
    return RunRef(run_id="r", root="r", user=user, **about)


def _spoke(text: str, tool: str, environment: str | None = None, **about: str) -> list[str]:
    call = Call(tool=tool, args={}, run=_run(**about) if about else None)
    return ids(_made(text).decide(call, Facts(environment=environment)))


@pytest.mark.parametrize(
    ("tool", "spoke"),
    [
        ("mcp.slack.post", ["all-mcp"]),
        ("mcp.git.push", ["git"]),
        ("mcp.git.log", []),
        ("mcp.", ["all-mcp"]),
        ("mcp", ["default"]),
        ("MCP.git.log", ["default"]),
    ],
)
def test_the_longest_name_that_fits_decides(tool, spoke):
    assert _spoke(TOOLS, tool) == spoke


def test_a_star_alone_is_every_tool_that_nothing_else_names():
    text = TOOLS + '  "*": {effect: write, args: any, rules: [{id: rest, ask: true}]}\n'
    assert _spoke(text, "anything") == ["rest"]
    assert _spoke(text, "mcp.git.log") == []


def test_the_decision_speaks_of_the_tool_and_not_of_the_entry():
    ruling = _made(TOOLS).decide(Call(tool="mcp.slack.post", args={}))
    assert ruling.tool.name == "mcp.slack.post"


@pytest.mark.parametrize(
    ("about", "environment", "spoke"),
    [
        ({}, None, "everyone"),
        ({"agent": "sales"}, None, "everyone"),
        ({"agent": "support"}, None, "by-agent"),
        ({"agent": "support"}, "production", "by-agent"),
        ({"agent": "support"}, "staging", "in-staging"),
        ({"tenant": "acme"}, "staging", "by-tenant"),
        # Both name one thing; a tenant is closer to a customer than an agent is.
        ({"agent": "support", "tenant": "acme"}, None, "by-tenant"),
        ({"agent": "support", "tenant": "acme"}, "staging", "in-staging"),
    ],
)
def test_the_entry_that_names_most_about_the_caller_decides(about, environment, spoke):
    assert _spoke(SOME, "refund", environment, **about) == [spoke]


def test_a_name_written_out_goes_before_one_for_many_whoever_it_is_for():
    text = """
    version: 1
    tools:
      mcp.log: {effect: read, args: any}
    scopes:
      - for: {agent: support}
        tools: {"mcp.*": {effect: read, args: any, rules: [{id: some, deny: true}]}}
    """
    assert _spoke(text, "mcp.log", agent="support") == []
    assert _spoke(text, "mcp.post", agent="support") == ["some"]
    assert _spoke(text, "mcp.post", agent="sales") == ["default"]


def test_two_entries_of_which_neither_is_more_specific_are_refused():
    text = """
    version: 1
    scopes:
      - for: {agent: [support, sales]}
        tools: {refund: {effect: write, args: any}}
      - for: {agent: sales}
        tools: {refund: {effect: write, args: any}}
    """
    assert error(dedent(text)).startswith("7: `refund` has an entry for agent support or sales")


def test_entries_that_no_call_is_in_both_of_stand_side_by_side():
    text = """
    version: 1
    scopes:
      - for: {agent: support}
        tools: {refund: {effect: write, args: any}}
      - for: {agent: sales}
        tools: {refund: {effect: write, args: any, rules: [{id: r, deny: true}]}}
    """
    assert _spoke(text, "refund", agent="support") == []
    assert _spoke(text, "refund", agent="sales") == ["r"]


RULES = """
version: 1
tools:
  refund:
    effect: write
    args: any
    rules:
      - {id: acme, deny: true, for: {tenant: [acme, globex], user: maria}}
"""


@pytest.mark.parametrize(
    ("about", "spoke"),
    [
        ({"tenant": "acme", "user": "maria"}, ["acme"]),
        ({"tenant": "globex", "user": "maria"}, ["acme"]),
        ({"tenant": "acme", "user": "jo"}, []),
        ({"tenant": "other", "user": "maria"}, []),
        ({"tenant": "other"}, []),
    ],
)
def test_a_rule_may_concern_some_only(about, spoke):
    assert _spoke(RULES, "refund", **about) == spoke


@pytest.mark.parametrize("about", [{}, {"tenant": "acme"}, {"user": "maria"}])
def test_a_rule_that_stops_denies_where_it_is_not_known_whom_it_concerns(about):
    call = Call(tool="refund", args={}, run=_run(**about) if about else None)
    ruling = _made(RULES).decide(call)
    assert ruling.verdict == "deny"
    assert "cannot be evaluated, since" in ruling.reasons[0].message
    assert set(ruling.missing) == {"user", "tenant"} - set(about)


def test_a_rule_that_allows_needs_to_know_whom():
    text = """
    version: 1
    tools:
      refund:
        effect: write
        default: deny
        args: any
        rules: [{id: acme, allow: true, for: {tenant: acme}}]
    """
    assert _spoke(text, "refund", tenant="acme") == ["acme"]
    assert _spoke(text, "refund") == ["refund.default"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("for: {}", "`for` says at least one of user, tenant, agent, environment"),
        ("for: {agent: []}", "expected a name, or a list of names"),
        ("for: {agnet: a}", "did you mean `agent`?"),
        ("for: {agent: [a, a]}", "stands here twice"),
        ("for: support", "expected a mapping"),
    ],
)
def test_whom_a_rule_concerns_is_named(said, message):
    head = "version: 1\ntools:\n  t:\n    args: any\n    rules:\n"
    text = f"{head}      - {{id: r, deny: true, {said}}}\n"
    assert message in errors(text)[0]


def test_an_explanation_names_the_entry_that_decided():
    call = Call(tool="refund", args={}, run=_run(agent="support"))
    entry = explain(_made(SOME), call).entry
    assert (entry.name, entry.scope, entry.line) == ("refund", "agent support", 8)
    entry = explain(_made(TOOLS), Call(tool="mcp.slack.post", args={})).entry
    assert (entry.name, entry.scope, entry.line) == ("mcp.*", None, 4)


def test_a_rule_that_is_not_about_the_call_does_not_ask_whom_it_concerns():
    text = """
    version: 1
    tools:
      refund:
        effect: write
        args: {amount: {type: integer}}
        rules: [{id: r, deny: true, args: {amount: {minimum: 100}}, for: {user: u1}}%s]
    """
    other = ", {id: other, allow: true, when: args.amount == 5, mode: shadow}"
    for rules in ("", other):
        ruling = _made(text % rules).decide(Call(tool="refund", args={"amount": 5}))
        assert ruling.verdict == "allow"
