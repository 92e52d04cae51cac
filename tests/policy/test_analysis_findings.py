"""What `check` proves about a policy: rules, conditions and limits that never say anything."""

import pytest

from policy.making import text, warnings
from saferun.policy import check

TOOL = """
effect: write
args:
  amount: {type: integer, minimum: 1, maximum: 1000}
  currency: {enum: [USD, EUR]}
  note: {type: string, optional: true}
"""
DENYING = TOOL + "default: deny\n"


def codes(document: str) -> list[str]:
    return [each.code for each in check(document)]


def rules(some: str, tool: str = TOOL, **more: str) -> list[str]:
    return codes(text(tool, rules=some, **more))


def messages(document: str) -> str:
    return "; ".join(each.message for each in check(document))


@pytest.mark.parametrize(
    "fragment",
    ["amount: {minimum: 1001}", "currency: {const: GBP}", "amount: {maximum: 0}"],
)
def test_a_rule_that_looks_for_what_the_argument_never_is_never_matches(fragment):
    assert rules(f"- {{id: r, deny: true, args: {{{fragment}}}}}") == ["never-matches"]


def test_a_rule_whose_own_bounds_leave_nothing_never_matches():
    some = "- {id: r, deny: true, args: {amount: {exclusiveMinimum: 10, maximum: 5}}}"
    assert rules(some) == ["never-matches"]


@pytest.mark.parametrize(
    "fragment",
    [
        "amount: {minimum: 1000}",
        "currency: {const: EUR}",
        "note: {pattern: '^a$'}",
        "note: {type: string, pattern: '^b$', maxLength: 3}",
    ],
)
def test_a_rule_that_may_match_is_left_alone(fragment):
    assert "never-matches" not in rules(f"- {{id: r, deny: true, args: {{{fragment}}}}}")


def test_a_rule_for_people_that_the_entry_is_not_for_never_matches():
    document = """\
version: 1
scopes:
  - for: {tenant: acme}
    tools:
      t:
        effect: read
        rules: [{id: r, deny: true, for: {tenant: [beta, gamma]}}]
"""
    assert codes(document) == ["never-matches"]
    assert "tenant beta or gamma" in messages(document)


def test_a_rule_that_a_stronger_one_covers_is_shadowed_and_told_by_which():
    some = """
    - {id: narrow, ask: [ops], args: {amount: {minimum: 500}}}
    - {id: wide, deny: true, args: {amount: {minimum: 100}}}
    """
    document = text(TOOL, rules=some)
    assert codes(document) == ["shadowed-rule"]
    assert "`wide` (line 14)" in messages(document)


def test_of_two_rules_that_say_the_same_the_later_one_is_shadowed():
    some = """
    - {id: one, deny: true, args: {amount: {minimum: 500}}}
    - {id: two, deny: true, args: {amount: {minimum: 500}}}
    """
    assert [each.line for each in check(text(TOOL, rules=some))] == [14]


@pytest.mark.parametrize(
    "wide",
    [
        "{id: wide, allow: true}",
        "{id: wide, deny: true, mode: shadow}",
        "{id: wide, deny: true, when: args.amount > 5}",
        "{id: wide, deny: true, for: {tenant: acme}}",
        "{id: wide, deny: true, args: {note: {minLength: 0}}}",
        "{id: wide, ask: [finance]}",
    ],
)
def test_a_rule_that_is_not_wholly_covered_or_not_beaten_is_not_shadowed(wide):
    some = f"- {{id: narrow, ask: [ops], args: {{amount: {{minimum: 500}}}}}}\n- {wide}\n"
    assert "shadowed-rule" not in rules(some, DENYING)


def test_a_rule_with_a_condition_is_not_shadowed_by_an_ask_since_it_may_fail_and_deny():
    some = "- {id: a, ask: true, when: args.amount > 5}\n- {id: b, ask: true}\n"
    assert rules(some) == []


def test_a_rule_with_a_condition_is_shadowed_by_a_denial_of_everything():
    some = "- {id: a, ask: true, when: args.amount > 5}\n- {id: b, deny: true}\n"
    assert rules(some) == ["shadowed-rule"]


def test_an_allow_where_the_default_allows_decides_nothing():
    some = "- {id: r, allow: true, args: {amount: {maximum: 5}}}"
    assert rules(some) == ["idle-rule"]
    assert rules(some, DENYING) == []


@pytest.mark.parametrize(
    ("more", "by"),
    [
        ("", "the argument itself may not be"),
        ("- {id: no, deny: true, args: {currency: {const: EUR}}}", "`no` (line 14) denies"),
    ],
)
def test_an_allow_of_a_value_that_is_forbidden_is_told_with_what_forbids_it(more, by):
    named = "GBP" if not more else "EUR"
    some = f"- {{id: yes, allow: true, args: {{currency: {{enum: [USD, {named}]}}}}}}\n{more}\n"
    document = text(DENYING, rules=some)
    assert codes(document) == ["allows-forbidden"]
    assert by in messages(document)


def test_an_allow_of_a_forbidden_value_is_told():
    tool = "effect: read\ndefault: deny\nargs:\n  to: {type: string, forbid: [Root]}\n"
    some = "- {id: r, allow: true, args: {to: {enum: [root, dana]}}}"
    assert "allows-forbidden" in rules(some, tool)


@pytest.mark.parametrize(
    "when",
    [
        "args.amount > 100 && args.amount < 50",
        "args.amount > 7 && args.amount < 8",
        'args.currency == "USD" && args.currency == "EUR"',
        "run.cost_usd > 2.0 && !(run.cost_usd >= 1.5)",
    ],
)
def test_a_condition_that_contradicts_itself_never_holds(when):
    document = text(TOOL, rules=f"- id: r\n  deny: true\n  when: '{when}'\n")
    assert codes(document) == ["never-holds"]


@pytest.mark.parametrize(
    "when",
    [
        "args.amount > 100 && args.amount < 102",
        "run.cost_usd > 1.0 && run.cost_usd < 1.001",
        'args.currency > "USD" && args.currency < "USE"',
        'args.currency.startsWith("a") && args.currency == "b"',
        "args.amount % 2 == 3",
        "args.amount > 5 || args.amount < 3",
    ],
)
def test_a_condition_that_may_hold_or_cannot_be_judged_is_left_alone(when):
    document = text(TOOL, rules=f"- id: r\n  deny: true\n  when: '{when}'\n")
    assert codes(document) == []


@pytest.mark.parametrize(
    ("when", "found"),
    [
        ('args.note == "a"', ["unguarded-optional"]),
        ('has(args.note) && args.note == "a"', []),
        ("args.amount > 5", []),
    ],
)
def test_an_optional_argument_in_a_condition_is_asked_for_with_has(when, found):
    assert codes(text(TOOL, rules=f"- id: r\n  deny: true\n  when: '{when}'\n")) == found


def test_an_argument_that_the_rule_looks_for_itself_is_there():
    some = "- id: r\n  deny: true\n  args: {note: {minLength: 1}}\n  when: 'args.note != \"a\"'\n"
    assert rules(some) == []


RUN = "{id: a, max: 5, per: run}"


def idle(limits: str, tool: str = TOOL) -> list[str]:
    """What is said of limits that are never reached first."""
    return [
        each.message
        for each in check(text(f"{tool}limits: [{limits}]\n"))
        if each.code == "idle-limit"
    ]


@pytest.mark.parametrize(
    "limits",
    [
        f"{RUN}, {{id: b, max: 5, per: [run, args.currency]}}",
        f"{RUN}, {{id: b, max: 5, per: run}}",
        f"{RUN}, {{id: b, max: 6, per: run}}",
        f"{{id: b, max: 6, per: run}}, {RUN}",
        f"{RUN}, {{id: b, max: 5, per: run, window: 1h}}",
        f"{RUN}, {{id: b, max: 5, per: [run, tool], window: 1h}}",
        f"{RUN}, {{id: b, max: 6, per: run, on_limit: ask}}",
        "{id: a, max: 5, per: all, window: 1d}, {id: b, max: 5, per: args.currency, window: 1h}",
        "{id: a, max: 5, per: user, window: 1h}, {id: b, max: 9, per: user, window: 1h}",
        "{id: a, sum: args.amount, max: 5, per: run}, {id: b, sum: args.amount, max: 9, per: run}",
        "{id: a, rate: 5/s, per: user}, {id: b, rate: 600/min, per: user}",
        "{id: a, rate: 5/s, burst: 2, per: user}, {id: b, rate: 5/s, burst: 3, per: user}",
    ],
)
def test_a_limit_that_another_one_reaches_no_later_is_idle(limits):
    [only] = idle(limits)
    assert "`a`" in only


@pytest.mark.parametrize(
    "limits",
    [
        f"{RUN}, {{id: b, max: 4, per: [run, args.currency]}}",
        f"{RUN}, {{id: b, max: 9, per: [run, user]}}",
        f"{RUN}, {{id: b, max: 9, per: [args.currency], window: 1h}}",
        f"{RUN}, {{id: b, max: 9, per: [run, args.note]}}",
        f"{RUN}, {{id: b, rate: 9/s, per: run}}",
        f"{RUN}, {{id: b, sum: args.amount, max: 9, per: run}}",
        "{id: a, max: 5, per: run, window: 1h}, {id: b, max: 9, per: run}",
        "{id: a, max: 5, per: run, window: 60s}, {id: b, max: 5, per: run, window: 59500ms}",
        "{id: a, max: 5, per: run, on_limit: ask}, {id: b, max: 9, per: run}",
        "{id: a, rate: 10/s, burst: 1, per: user}, {id: b, rate: 5/s, burst: 5, per: user}",
        "{id: a, rate: 4001/h, burst: 1, per: user}, {id: b, rate: 4003/h, burst: 1, per: user}",
    ],
)
def test_a_limit_that_may_be_reached_first_is_not_idle(limits):
    assert idle(limits) == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("max: 5, per: user", ["counts-for-good"]),
        ("max: 5, per: [tenant, tool]", ["counts-for-good"]),
        ("sum: cost_usd, max: 5, per: all", ["counts-for-good"]),
        ("max: 5, per: [run, user]", []),
        ("max: 5, per: user, window: 1d", []),
        ("max: 5, per: user, window: forever", []),
        ("rate: 5/s, per: user", []),
    ],
)
def test_a_limit_that_is_never_free_again_is_told_for_one_tool_and_over_all(said, found):
    assert codes(text(f"{TOOL}limits: [{{id: l, {said}}}]\n")) == found
    assert codes(text(TOOL, head=f"limits: [{{id: l, {said}}}]\n")) == found


@pytest.mark.parametrize(
    ("more", "found"), [("", []), (", optional: true", ["optional-sum"]), (", default: 5", [])]
)
def test_a_sum_over_an_argument_that_may_be_missing_is_told(more, found):
    tool = f"effect: read\nargs: {{a: {{type: integer{more}}}}}\n"
    assert codes(text(f"{tool}limits: [{{id: l, sum: args.a, max: 5, per: run}}]\n")) == found


@pytest.mark.parametrize(
    "said",
    ["timeout: 5s", "cost: 1", "poll: true", "loops: off", "breaker: {}", "releasable: true"],
)
def test_a_setting_of_a_tool_that_is_always_denied_is_idle(said):
    assert codes(text(f"{TOOL}default: deny\n{said}\n")) == ["idle-setting"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("poll: true", []),
        ("poll: true\nloops: off", ["idle-setting"]),
        ("releasable: true", ["idle-setting"]),
        ("releasable: true\nlimits: [{id: l, max: 5, per: run}]", []),
        ("breaker: {slow_rate: 0.5}", ["idle-setting"]),
        ("breaker: {slow_rate: 0.5, slow_after: 5s}", []),
        ("breaker: {slow_rate: 0.5}\ntimeout: 5s", []),
    ],
)
def test_a_setting_that_comes_to_nothing_is_idle(said, found):
    assert codes(text(f"{TOOL}{said}\n")) == found


@pytest.mark.parametrize(
    ("cost", "found"),
    [
        ("args.amount", []),
        ("size(args.note)", ["unguarded-optional"]),
        ("has(args.note) ? size(args.note) : 0", []),
    ],
)
def test_an_optional_argument_in_a_cost_is_asked_for_with_has(cost, found):
    assert codes(text(f"{TOOL}cost: '{cost}'\n")) == found


def test_an_input_that_only_a_cost_reads_is_used():
    assert codes(text(f"{TOOL}cost: price\n", head="inputs: {price: number}\n")) == []


def test_a_limit_over_all_tools_is_wider_than_those_of_each():
    head = "limits: [{id: all, max: 3, per: run}]\n"
    document = text(f"{TOOL}limits: [{{id: own, max: 3, per: run}}]\n", head=head)
    assert codes(document) == ["idle-limit"]
    assert "`all` (line 2)" in messages(document)


@pytest.mark.parametrize("more", ["default: deny\n", "rules: [{id: no, deny: true}]\n"])
def test_a_limit_on_a_tool_that_is_always_denied_is_idle(more):
    assert codes(text(f"{TOOL}{more}limits: [{{id: own, max: 3, per: run}}]\n")) == ["idle-limit"]


def test_inputs_and_definitions_that_nothing_uses_are_told():
    head = """
    inputs: {user.tier: string, region: string}
    definitions: {money: {type: integer}, name: {type: string}}
    """
    tool = "effect: read\nargs: {n: name}\n"
    some = "- {id: r, deny: true, when: region == 'eu'}"
    document = text(tool, rules=some, head=head)
    assert sorted(codes(document)) == ["unused-definition", "unused-input"]
    assert "`user.tier`" in messages(document)
    assert "`money`" in messages(document)


def test_what_an_included_file_defines_for_others_too_is_not_told(tmp_path):
    (tmp_path / "common.yaml").write_text("definitions: {money: {type: integer}}\n")
    document = "version: 1\ninclude: [common.yaml]\n"
    assert check(document, str(tmp_path / "p.yaml")) == []


def test_a_finding_in_an_included_file_has_that_file_and_its_line(tmp_path):
    (tmp_path / "common.yaml").write_text("# shared\ntools:\n  t: {}\n")
    file = str(tmp_path / "p.yaml")
    [warned] = check("version: 1\ninclude: [common.yaml]\n", file)
    assert (warned.path, warned.line) == (str(tmp_path / "common.yaml"), 3)
    (tmp_path / "common.yaml").write_text("tools: {t: {efect: read}}\n")
    [wrong] = check("version: 1\ninclude: [common.yaml]\n", file)
    assert (wrong.severity, wrong.path) == ("error", str(tmp_path / "common.yaml"))


def test_an_entry_that_a_tools_own_goes_before_for_some_too_is_told():
    document = """\
version: 1
tools:
  mcp.read: {effect: read}
scopes:
  - for: {tenant: acme}
    tools:
      mcp.*: {effect: read, default: deny}
"""
    assert warnings(document) == ["7: entry-passed-over"]


def test_a_wildcard_whose_denials_do_not_hold_for_a_tool_of_its_own_entry_is_told():
    document = """\
version: 1
tools:
  mcp.*: {effect: read, rules: [{id: no, deny: true}]}
  mcp.read: {effect: read}
"""
    assert warnings(document) == ["3: entry-passed-over"]


def test_a_wildcard_that_stops_nothing_is_overruled_without_a_word():
    document = "version: 1\ntools: {mcp.*: {effect: read}, mcp.read: {effect: read}}\n"
    assert check(document) == []
