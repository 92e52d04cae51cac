"""`saferun policy check` and `explain`."""

import json
import sys
from pathlib import Path

import pytest

from cli.project import lines

WRONG = "version: 1\ntools:\n  refund:\n    effect: write\n    args: {amount: {mininum: 1}}\n"
ODD = "version: 1\nname: odd\ndefault: allow\ntools: {}\n"


def test_a_sound_policy_passes_with_its_name_and_version(saferun, policy) -> None:
    result = saferun("policy", "check", "production")
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ sound  production @ ")


def test_a_path_and_a_name_mean_the_same_file(saferun, policy) -> None:
    by_name = saferun("policy", "check", "production")
    assert saferun("policy", "check", str(policy)).stdout == by_name.stdout


def test_an_error_exits_1_with_its_place_and_its_line(saferun) -> None:
    Path("wrong.yaml").write_text(WRONG, encoding="utf-8")
    result = saferun("policy", "check", "wrong.yaml")
    assert result.exit_code == 1
    assert result.stdout.startswith("wrong.yaml:5")
    assert "error: `mininum`" in result.stdout
    assert "5 │     args: {amount: {mininum: 1}}" in result.stdout
    assert result.stdout.endswith("✕ 1 error\n")


def test_a_warning_is_told_and_passes(saferun) -> None:
    Path("odd.yaml").write_text(ODD, encoding="utf-8")
    result = saferun("policy", "check", "odd.yaml")
    assert result.exit_code == 0
    assert "odd.yaml:3" in result.stdout
    assert "! 1 warning  odd @ " in result.stdout


def test_findings_are_one_document_for_programs(saferun) -> None:
    Path("wrong.yaml").write_text(WRONG, encoding="utf-8")
    result = saferun("policy", "check", "wrong.yaml", "--json")
    [document] = lines(result)
    [finding] = document["findings"]
    assert finding.keys() >= {"severity", "code", "message", "path", "line"}
    assert (finding["severity"], finding["path"], finding["line"]) == ("error", "wrong.yaml", 5)
    assert result.exit_code == 1


def test_a_sound_policy_has_no_findings_in_json(saferun, policy) -> None:
    assert lines(saferun("policy", "check", "production", "--json")) == [{"findings": []}]


def test_what_a_file_says_cannot_act_on_the_terminal(saferun) -> None:
    hostile = "version: 1\nname: a\ntools:\n  '[red]x\u202e':\n    effect: writ\n"
    Path("hostile.yaml").write_text(hostile, encoding="utf-8")
    said = saferun("policy", "check", "hostile.yaml").stdout
    assert "[red]x\\u202e" in said
    assert "\u202e" not in said


def test_a_rule_that_wants_more_people_than_are_configured_exits_1(saferun, policy) -> None:
    Path("saferun.toml").write_text(
        "[people.alice]\n[people.bob]\n[groups]\nfinance = ['alice', 'bob']\n", encoding="utf-8"
    )
    asking = "ask: [finance, alice]\n        approvals: 3"
    policy.write_text(policy.read_text().replace("ask: [finance]", asking), encoding="utf-8")
    result = saferun("policy", "check", "production")
    assert result.exit_code == 1
    assert "only 2 can: alice, bob; so the call never runs [too-few-people]" in result.stdout


def test_a_rule_that_asks_people_who_are_not_configured_passes(saferun, policy) -> None:
    Path("saferun.toml").unlink()
    asking = "ask: [finance]\n        approvals: 3"
    policy.write_text(policy.read_text().replace("ask: [finance]", asking), encoding="utf-8")
    assert saferun("policy", "check", "production").exit_code == 0


def test_an_unknown_name_says_which_is_meant(saferun, policy) -> None:
    result = saferun("policy", "check", "prodution")
    assert result.exit_code == 64
    assert "did you mean 'production'?" in result.stderr


def _asked(saferun, call: object, *options: str):
    Path("call.json").write_text(json.dumps(call), encoding="utf-8")
    return saferun("policy", "explain", "production", "call.json", *options)


def _refund(**args: object) -> dict[str, object]:
    return {"tool": "refund", "args": {"order_id": "A-17", "currency": "USD", **args}}


def test_explain_names_the_verdict_and_every_condition_with_its_value(saferun, policy) -> None:
    result = _asked(saferun, _refund(amount=450_000))
    assert result.exit_code == 0
    assert result.stdout.startswith("✕ refund  denied  by production @ ")
    assert "✕ args.amount <= 100000             450000" in result.stdout
    assert "✓ args.currency in [USD, EUR, GBP]" in result.stdout


def test_explain_shows_the_rule_that_asks(saferun, policy) -> None:
    said = _asked(saferun, _refund(amount=25_000)).stdout
    assert said.startswith("? refund  asked")
    assert "? big-refund  Refunds above $200 need finance." in said
    assert "✓ args.amount >= 20001  25000" in said


def test_explain_shows_what_is_demanded_of_people(saferun, policy) -> None:
    asking = "ask: [finance]\n        approvals: 2\n        expires: 15m\n        own: true"
    policy.write_text(policy.read_text().replace("ask: [finance]", asking), encoding="utf-8")
    said = _asked(saferun, _refund(amount=25_000)).stdout
    assert "needs  2 of finance, within 15 minutes; the user of the run may answer" in said


def test_explain_has_the_demand_of_a_rule_that_asks_in_json(saferun, policy) -> None:
    [told] = lines(_asked(saferun, _refund(amount=25_000), "--json"))
    assert [rule.get("demand") for rule in told["rules"]] == [
        None,
        {"rule": "big-refund", "of": ["finance"]},
    ]


def test_explain_shows_what_the_tool_would_be_given(saferun, policy) -> None:
    call = {"tool": "refund", "args": {"order_id": "A-17", "amount": 5}}
    said = _asked(saferun, call).stdout
    assert "~ modified: the tool would be given" in said
    assert 'currency  "USD"' in said


def test_explain_has_the_stated_form_in_json(saferun, policy) -> None:
    [told] = lines(_asked(saferun, _refund(amount=25_000), "--json"))
    assert told.keys() == {"verdict", "modified", "args", "rules", "policy", "entry"}
    assert told["verdict"] == "ask"
    rule = told["rules"][-1]
    assert rule["id"] == "big-refund"
    assert rule["clauses"] == [{"text": "args.amount >= 20001", "value": 25_000, "holds": True}]


def test_explain_reads_the_call_from_stdin(saferun, policy) -> None:
    call = json.dumps(_refund(amount=5))
    result = saferun("policy", "explain", "production", "-", input=call)
    assert result.stdout.startswith("✓ refund  allowed")


def test_a_call_may_come_with_its_context(saferun, policy) -> None:
    call = {**_refund(amount=5), "context": {"user": {"tier": "gold"}}}
    assert _asked(saferun, call).exit_code == 0


@pytest.mark.parametrize(
    "call",
    [
        "[1, 2]",
        "null",
        "{",
        "",
        '{"args": {}}',
        '{"tool": 5}',
        '{"tool": "refund", "args": []}',
        '{"tool": "refund", "arg": {}}',
        '{"tool": "refund", "args": {"amount": NaN}}',
        '{"tool": "refund", "args": {"amount": ' + "[" * 5_000 + "]" * 5_000 + "}}",
        '{"tool": "\\ud800"}',
    ],
)
def test_what_is_no_call_is_refused_in_one_sentence(saferun, policy, call) -> None:
    Path("call.json").write_text(call, encoding="utf-8")
    result = saferun("policy", "explain", "production", "call.json")
    assert result.exit_code == 64
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("saferun: call.json holds no call")


def test_a_call_is_read_only_up_to_a_bound(saferun, policy, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["saferun.cli.policy.explain"], "MAX_CALL", 100)
    result = _asked(saferun, _refund(amount=5, order_id="A" * 200))
    assert (result.exit_code, result.stdout) == (64, "")
    assert "more than 100 bytes" in result.stderr


def test_a_value_that_the_gate_would_not_take_down_is_denied_as_there(saferun, policy) -> None:
    said = _asked(saferun, _refund(amount=5, order_id="A\0")).stdout
    assert said.startswith("✕ refund  denied")
    assert "holds a NUL character" in said


def test_a_policy_that_does_not_load_cannot_explain(saferun) -> None:
    Path("wrong.yaml").write_text(WRONG, encoding="utf-8")
    Path("call.json").write_text("{}", encoding="utf-8")
    result = saferun("policy", "explain", "wrong.yaml", "call.json")
    assert result.exit_code == 64
    assert "wrong.yaml:5:" in result.stderr
