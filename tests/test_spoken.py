"""What policy keeps out of the ledger of a call, models do not bring into it by speaking of it."""

import json

import pytest

from guarding import entries
from saferun import Gate, guard
from saferun.policy import loads

POLICY = """
version: 1
name: shop
tools:
  refund:
    effect: write
    args: {order: {type: string}, ssn: {type: string}, email: {type: string}}
    redact: [args.ssn, result.bank.iban]
    sensitive: [args.email]
  mcp.*: {effect: read, args: any, redact: [result.note]}
  plain: {effect: read, args: any}
"""
ARGS = {"order": "A-17", "ssn": "078-05-1120", "email": "maria@example.com"}
RESULT = {"ok": True, "bank": {"iban": "DE02120300000000202051", "name": "DKB"}}
GONE = "[redacted: by policy]"
SHOWN = {"order": "A-17", "ssn": GONE, "email": GONE}
LEFT = {"ok": True, "bank": {"iban": GONE, "name": "DKB"}}
HIDDEN = ("078-05-1120", "maria@", "DE0212")


def recorded(*turns):
    gate = Gate(policy=loads(POLICY))
    with gate.run() as run:
        for output, messages in turns:
            run.model(output, messages=messages)
    found = entries(gate, "model")
    assert not any(word in str(found) for word in HIDDEN)
    return found


def test_arguments_in_an_answer():
    asked = {"content": None, "tool_calls": [{"id": "c", "name": "refund", "arguments": ARGS}]}
    (turn,) = recorded((asked, None))
    assert turn["output"]["tool_calls"][0]["arguments"] == SHOWN


@pytest.mark.parametrize(
    ("call", "result", "shown", "left"),
    [
        (
            {
                "id": "c",
                "type": "function",
                "function": {"name": "refund", "arguments": json.dumps(ARGS)},
            },
            {"role": "tool", "tool_call_id": "c", "content": json.dumps(RESULT)},
            lambda call: json.loads(call["function"]["arguments"]),
            lambda result: json.loads(result["content"]),
        ),
        (
            {
                "type": "function_call",
                "call_id": "c",
                "name": "refund",
                "arguments": json.dumps(ARGS),
            },
            {"type": "function_call_output", "call_id": "c", "output": json.dumps(RESULT)},
            lambda call: json.loads(call["arguments"]),
            lambda result: json.loads(result["output"]),
        ),
        (
            {"type": "tool_use", "id": "c", "name": "refund", "input": ARGS},
            {
                "type": "tool_result",
                "tool_use_id": "c",
                "content": [{"type": "text", "text": json.dumps(RESULT)}],
            },
            lambda call: call["input"],
            lambda result: json.loads(result["content"][0]["text"]),
        ),
    ],
    ids=["chat", "responses", "messages"],
)
def test_calls_and_results_in_messages_of_every_provider(call, result, shown, left):
    (turn,) = recorded(("ok", [{"role": "assistant", "calls": [call]}, {"parts": [result]}]))
    assert shown(turn["messages"][0]["calls"][0]) == SHOWN
    assert left(turn["messages"][1]["parts"][0]) == LEFT


def test_a_result_whose_call_was_spoken_of_in_an_earlier_turn():
    asked = {"tool_calls": [{"id": "c", "name": "refund", "arguments": ARGS}]}
    told = {"type": "function_call_output", "call_id": "c", "output": json.dumps(RESULT)}
    turns = recorded((asked, [{"role": "user", "content": "go"}]), ("done", [told]))
    assert json.loads(turns[1]["messages"][0]["output"]) == LEFT


def test_a_result_of_nobody_knows_which_call_is_blanked_whole():
    (turn,) = recorded(("ok", [{"role": "tool", "tool_call_id": "?", "content": "DE0212"}]))
    assert turn["messages"][0]["content"] == GONE


def test_a_result_that_is_no_json_is_blanked_whole():
    call = {"id": "c", "name": "refund", "arguments": {}}
    told = {"role": "tool", "tool_call_id": "c", "content": "paid to DE0212"}
    (turn,) = recorded(("ok", [{"tool_calls": [call]}, told]))
    assert turn["messages"][1]["content"] == GONE


def test_entries_for_names_that_begin_alike_hold_too():
    call = {"id": "c", "name": "mcp.docs", "arguments": {"q": 1}}
    told = {"role": "tool", "tool_call_id": "c", "content": '{"note":"DE0212","page":1}'}
    (turn,) = recorded(("ok", [{"tool_calls": [call]}, told]))
    assert turn["messages"][0]["tool_calls"][0]["arguments"] == {"q": 1}
    assert json.loads(turn["messages"][1]["content"]) == {"note": GONE, "page": 1}


def test_what_belongs_to_tools_that_hide_nothing_stays():
    call = {"id": "c", "name": "plain", "arguments": {"ssn": 1}}
    told = {"role": "tool", "tool_call_id": "c", "content": "as it is"}
    (turn,) = recorded(("ok", [{"tool_calls": [call]}, told]))
    assert turn["messages"] == [{"tool_calls": [call]}, told]


def test_a_message_nested_beyond_reach_is_left_out():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    gate = Gate(policy=loads(POLICY))
    with gate.run() as run:
        run.model("ok", messages=[deep])
        guard(lambda: None, name="plain", gate=gate)()
    assert len(entries(gate, "decision")) == 1
