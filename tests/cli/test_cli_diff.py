"""`saferun policy diff`."""

import json
import sys
from pathlib import Path

from cli.project import POLICY, lines


def changed(*replacing: tuple[str, str]) -> None:
    text = POLICY
    for old, new in replacing:
        assert old in text
        text = text.replace(old, new)
    Path("next.yaml").write_text(text, encoding="utf-8")


def test_nothing_that_differs_exits_0(saferun, policy) -> None:
    changed(("Refunds above $200", "All refunds above $200"))
    result = saferun("policy", "diff", "production", "next.yaml")
    assert result.exit_code == 0
    assert "nothing differs in effect" in result.stdout


def test_a_difference_exits_1_with_the_calls_that_show_it(saferun, policy) -> None:
    changed(("minimum: 20001", "minimum: 50001"))
    result = saferun("policy", "diff", "production", "next.yaml")
    assert result.exit_code == 1
    assert "amount 20001 to 50000" in result.stdout
    assert "? asked → ✓ allowed  refund(amount=20001" in result.stdout
    assert "1 tool decided otherwise" in result.stdout


def test_a_laxer_demand_exits_1_and_is_told_with_both(saferun, policy) -> None:
    wanted = "ask: [finance]\n        approvals: 2"
    policy.write_text(POLICY.replace("ask: [finance]", wanted), encoding="utf-8")
    changed(("ask: [finance]", "ask: [finance, ops]"))
    result = saferun("policy", "diff", "production", "next.yaml")
    assert result.exit_code == 1
    assert "needs 2 of finance → finance or ops" in result.stdout
    assert "`approvals` of the rule `big-refund`: 2 before, 1 now, which is laxer" in result.stdout
    assert "`ask` of the rule `big-refund`: finance before, finance, ops now" in result.stdout


def test_as_json_the_difference_is_one_document(saferun, policy) -> None:
    changed(("default: deny", "default: ask"))
    result = saferun("policy", "diff", "production", "next.yaml", "--json")
    [difference] = lines(result)
    assert [tool["tool"] for tool in difference["tools"]] == ["*"]
    assert difference["changes"][0]["code"] == "default"


def test_two_files_that_give_themselves_no_name_are_versions_of_one_policy(saferun) -> None:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("version: 1\n", encoding="utf-8")
    assert saferun("policy", "diff", "a.yaml", "b.yaml").exit_code == 0


def test_an_argument_cannot_act_on_the_screen(saferun) -> None:
    for name, word in (("a.yaml", "x"), ("b.yaml", '"\\u202e"')):
        tool = f"tools: {{t: {{effect: read, args: {{a: {{enum: [{word}]}}}}}}}}\n"
        Path(name).write_text(f"version: 1\n{tool}", encoding="utf-8")
    result = saferun("policy", "diff", "a.yaml", "b.yaml")
    assert result.exit_code == 1
    assert "\u202e" not in result.stdout


def test_a_policy_that_does_not_load_is_told_and_nothing_is_compared(saferun, policy) -> None:
    Path("wrong.yaml").write_text("version: 2\n", encoding="utf-8")
    result = saferun("policy", "diff", "production", "wrong.yaml")
    assert result.exit_code >= 64
    assert "wrong.yaml" in result.output


def test_check_holds_a_policy_against_the_schemas_of_its_tools(saferun, policy) -> None:
    refund = {"name": "refund", "parameters": {"properties": {"order_id": {}, "amount": {}}}}
    Path("tools.json").write_text(json.dumps([refund]), encoding="utf-8")
    result = saferun("policy", "check", "production", "--tools", "tools.json", "--json")
    assert result.exit_code == 0
    [found] = lines(result)
    assert [each["code"] for each in found["findings"]] == ["unknown-argument"]


def test_check_holds_a_policy_against_the_functions_of_a_module(
    saferun, policy, monkeypatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = "def refund(order_id, amount, currency, why): ...\n"
    Path("shop_tools_for_check.py").write_text(code, encoding="utf-8")
    result = saferun("policy", "check", "production", "--tools", "shop_tools_for_check", "--json")
    [found] = lines(result)
    assert [each["code"] for each in found["findings"]] == ["unlisted-argument"]


def test_a_file_of_tools_that_holds_none_is_refused_in_a_sentence(saferun, policy) -> None:
    Path("tools.json").write_text("{", encoding="utf-8")
    result = saferun("policy", "check", "production", "--tools", "tools.json")
    assert result.exit_code >= 64
    assert "tools.json holds no JSON" in result.output


def test_a_finding_in_an_included_file_is_shown_with_the_line_of_that_file(saferun) -> None:
    Path("common.yaml").write_text("# shared\ntools:\n  t: {}\n", encoding="utf-8")
    Path("p.yaml").write_text("version: 1\ninclude: [common.yaml]\n", encoding="utf-8")
    result = saferun("policy", "check", "p.yaml")
    assert "common.yaml:3: warning" in result.stdout
    assert "3 │   t: {}" in result.stdout
