"""A policy held against the tools as they are."""

import pytest

from policy.making import text
from saferun.errors import SafeRunError
from saferun.policy import check, loads
from saferun.policy.analysis.signatures import compare, from_module, from_schemas

SCHEMA = {
    "type": "function",
    "function": {
        "name": "refund",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {}, "amount": {}, "currency": {}},
            "required": ["order_id", "amount", "currency"],
        },
    },
}


SMALL = {"name": "refund", "parameters": {"properties": {"order_id": {}, "amount": {}}}}


def notes(document: str, tools):
    said = loads(document).document
    places = [(("tools", tool.name), tool) for tool in said.tools]
    return list(compare(places, said.default, tools))


def told(document: str, tools) -> list[str]:
    return [note.code for note in notes(document, tools)]


def test_a_policy_that_knows_just_the_arguments_of_its_tools_has_no_findings():
    assert told(text(), from_schemas([SCHEMA])) == []


def test_an_argument_that_only_the_policy_knows_is_told_with_what_may_be_meant():
    document = text("effect: read\nargs: {ordr_id: {}, amount: {}, currency: {}}\n")
    found = notes(document, from_schemas([SCHEMA]))
    assert [note.code for note in found] == ["unknown-argument", "unlisted-argument"]
    assert "did you mean `order_id`" in found[0].message
    assert "every call is denied" in found[1].message


def test_an_argument_that_the_tool_cannot_do_without_is_not_optional():
    document = text("effect: read\nargs: {order_id: {optional: true}, amount: {}, currency: {}}\n")
    assert told(document, from_schemas([SCHEMA])) == ["not-optional"]


def test_a_tool_that_only_one_of_the_two_knows_is_told():
    schemas = from_schemas([{"name": "refnd", "parameters": {}}])
    assert told(text(), schemas) == ["unknown-tool", "unlisted-tool"]


def test_a_tool_that_takes_any_arguments_knows_them_all():
    open_tool = {"name": "refund", "input_schema": {"additionalProperties": True}}
    assert told(text(), from_schemas({"tools": [open_tool]})) == []


def test_functions_of_a_module_are_read_as_guard_reads_them(tmp_path, monkeypatch):
    code = "def refund(order_id, amount, currency='USD', idempotency_key=None): ...\n"
    (tmp_path / "their_tools.py").write_text(code + "def _own(): ...\nTOOLS = [refund]\n")
    monkeypatch.syspath_prepend(tmp_path)
    for where in ("their_tools", "their_tools:refund", "their_tools:TOOLS"):
        tools = from_module(where)
        assert tools.keys() == {"refund"}
        assert told(text(), tools) == []


@pytest.mark.parametrize("where", ["there_is_no_such_module", "json:no_such_name", "string:digits"])
def test_a_module_or_a_name_that_is_not_there_is_told_in_one_sentence(where):
    with pytest.raises(SafeRunError, match="cannot be read"):
        from_module(where)


@pytest.mark.parametrize("value", [5, {"tools": 5}, [5], [{"parameters": {}}], [{"name": 5}]])
def test_what_is_no_list_of_tools_is_refused(value):
    with pytest.raises(SafeRunError):
        from_schemas(value)


def test_check_tells_what_policy_and_tools_do_not_agree_on_with_its_line():
    [warned] = check(text("effect: read\nargs: {order_id: {}}\n"), tools=from_schemas([SMALL]))
    assert (warned.code, warned.line) == ("unlisted-argument", 6)
