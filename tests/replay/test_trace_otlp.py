"""Files of OTLP in JSON: the runs that are read from them, and what is refused with a sentence."""

import gzip
import json
import lzma
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from saferun.replay import Said, TracedCall, TracedRun, TraceError, otlp, trace, traces

CALL = "llm.output_messages.0.message.tool_calls.0.tool_call"

START = 1_700_000_000_000_000_000


def value(said: Any) -> dict[str, Any]:
    if isinstance(said, bool):
        return {"boolValue": said}
    if isinstance(said, int):
        return {"intValue": str(said)}
    if isinstance(said, float):
        return {"doubleValue": said}
    if isinstance(said, list):
        return {"arrayValue": {"values": [value(each) for each in said]}}
    if isinstance(said, dict):
        pairs = [{"key": key, "value": value(each)} for key, each in said.items()]
        return {"kvlistValue": {"values": pairs}}
    return {"stringValue": said}


_order = count()


def span(name: str, parent: str | None = None, trace: str = "t1", **about: Any) -> dict[str, Any]:
    """A span; `__` in a name stands for a dot, and its id is its name."""
    began = START + next(_order) * 1_000_000
    failed = about.pop("failed", False)
    attributes = {key.replace("__", "."): each for key, each in about.items()}
    return {
        "traceId": trace,
        "spanId": name,
        "parentSpanId": parent or "",
        "name": name,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + 500_000),
        "attributes": [{"key": key, "value": value(each)} for key, each in attributes.items()],
        "status": {"code": 2} if failed else {},
    }


def agent(name: str, parent: str | None = None, **about: Any) -> dict[str, Any]:
    return span(name, parent, gen_ai__operation__name="invoke_agent", **about)


def model(name: str, parent: str | None = None, **about: Any) -> dict[str, Any]:
    return span(name, parent, gen_ai__operation__name="chat", **about)


def tool(name: str, parent: str | None = None, **about: Any) -> dict[str, Any]:
    about.setdefault("gen_ai__tool__name", name)
    return span(name, parent, gen_ai__operation__name="execute_tool", **about)


def document(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def read(file: Path, *spans: dict[str, Any]) -> list[TracedRun]:
    file.write_text(json.dumps(document(*spans)))
    return list(traces(file))


def text(role: str, said: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": said}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spans.json"


def test_a_run_is_a_trace_with_its_turns_and_calls_in_order(file: Path) -> None:
    asked = {"type": "tool_call", "id": "c1", "name": "refund", "arguments": {"amount": 5}}
    [run] = read(
        file,
        agent("root", gen_ai__agent__name="support", user__id="maria", input__value="Refund me."),
        model(
            "turn",
            "root",
            gen_ai__request__model="gpt-4o",
            gen_ai__usage__input_tokens=12,
            gen_ai__usage__output_tokens=3,
            gen_ai__input__messages=json.dumps([text("user", "Refund me.")]),
            gen_ai__output__messages=json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": "I will."}, asked]}]
            ),
        ),
        tool(
            "refund",
            "root",
            gen_ai__tool__call__id="c1",
            gen_ai__tool__call__arguments='{"amount": 5}',
            gen_ai__tool__call__result="done",
        ),
    )
    assert (run.run_id, run.agent, run.user, run.prompt) == (
        *("t1", "support", {"id": "maria"}),
        "Refund me.",
    )
    assert run.steps == (
        Said(by="user", content="Refund me."),
        Said(by="model", content="I will.", model="gpt-4o", input_tokens=12, output_tokens=3),
        TracedCall(index=0, call_id="c1", tool="refund", args={"amount": 5}, result="done"),
    )


def test_openinference_says_the_same_in_its_own_names(file: Path) -> None:
    [run] = read(
        file,
        span("root", openinference__span__kind="AGENT", agent__name="support", session__id="s-1"),
        span(
            "turn",
            "root",
            openinference__span__kind="LLM",
            llm__model_name="gpt-4o",
            llm__token_count__prompt=12,
            llm__token_count__completion=3,
            llm__cost__total=0.25,
            output__value='{"choices": []}',
            output__mime_type="application/json",
            **{
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.contents.0.message_content.text": "Refund me.",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": "I will.",
                f"{CALL}.id": "c1",
                f"{CALL}.function.name": "refund",
                f"{CALL}.function.arguments": '{"a":1}',
            },
        ),
        span(
            "refund",
            "root",
            openinference__span__kind="TOOL",
            tool__name="refund",
            input__value='{"a": 1}',
            output__value='{"ok": true}',
            output__mime_type="application/json",
        ),
    )
    assert (run.run_id, run.agent) == ("s-1", "support")
    assert run.steps == (
        Said(by="user", content="Refund me."),
        Said(
            by="model",
            content="I will.",
            model="gpt-4o",
            cost_usd=0.25,
            input_tokens=12,
            output_tokens=3,
        ),
        TracedCall(index=0, call_id="c1", tool="refund", args={"a": 1}, result={"ok": True}),
    )


def test_traces_of_one_session_are_one_run(file: Path) -> None:
    [run] = read(
        file,
        tool("a", trace="t1", session__id="s"),
        tool("b", trace="t2", gen_ai__conversation__id="s"),
    )
    assert (run.run_id, [call.tool for call in run.calls]) == ("s", ["a", "b"])


def test_traces_of_no_session_are_runs_of_their_own(file: Path) -> None:
    assert [run.run_id for run in read(file, tool("a", trace="T1"), tool("b", trace="t2"))] == [
        "t1",
        "t2",
    ]


def test_an_agent_within_an_agent_is_a_child_run_that_comes_after_its_parent(file: Path) -> None:
    outer, inner = read(
        file,
        agent("root", gen_ai__agent__name="outer"),
        span("step", "root"),
        agent("inner", "step", gen_ai__agent__name="inner"),
        tool("deep", "inner"),
        tool("flat", "root"),
    )
    assert (outer.run_id, outer.parent, outer.agent) == ("t1", None, "outer")
    assert (inner.run_id, inner.parent, inner.agent) == ("t1/inner", "t1", "inner")
    assert [call.tool for call in outer.calls] == ["flat"]
    assert [call.tool for call in inner.calls] == ["deep"]


def test_a_child_stands_at_the_call_whose_span_it_is_within(file: Path) -> None:
    outer, *_ = read(
        file,
        agent("root"),
        model("turn", "root", gen_ai__output__messages=json.dumps([wanting("c-1", "c-2")])),
        tool("ask", "root", gen_ai__tool__call__id="c-1"),
        tool("ask-2", "root", gen_ai__tool__name="ask", gen_ai__tool__call__id="c-2"),
        agent("second", "ask-2"),
        agent("first", "ask"),
        tool("late", "root"),
    )
    assert [call.call_id for call in outer.calls] == ["c-1", "c-2", None]
    assert outer.begun == (("t1/second", 2), ("t1/first", 1))


def wanting(*calls: str) -> dict[str, Any]:
    parts = [{"type": "tool_call", "id": each, "name": "ask", "arguments": {}} for each in calls]
    return {"role": "assistant", "parts": parts}


def test_a_child_of_no_call_stands_where_it_began_by_its_time(file: Path) -> None:
    outer, *_ = read(
        file,
        agent("root"),
        agent("at once", "root"),
        tool("one", "root"),
        agent("between", "root"),
        tool("two", "root"),
        agent("last", "root"),
    )
    assert outer.begun == (("t1/at once", 0), ("t1/between", 1), ("t1/last", 2))


def test_spans_may_stand_in_any_order_and_in_any_document(file: Path) -> None:
    first, second = tool("first", "root"), tool("second", "root")
    root = agent("root", gen_ai__agent__name="a")
    lines = [document(second), document(root), {"scopeSpans": [{"spans": [first]}]}]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    [run] = traces(file)
    assert (run.agent, [call.tool for call in run.calls]) == ("a", ["first", "second"])


def test_a_document_may_be_laid_out_over_many_lines(file: Path) -> None:
    file.write_text(json.dumps(document(tool("a")), indent=2))
    [run] = traces(file)
    assert [call.tool for call in run.calls] == ["a"]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_packed_file_of_spans_is_seen_by_what_is_in_it(file: Path, pack: Any) -> None:
    file.write_bytes(pack(json.dumps(document(tool("a"))).encode()))
    [run] = traces(file)
    assert [call.tool for call in run.calls] == ["a"]


def test_a_line_of_the_other_format_is_read_as_that_whatever_else_is_in_it(file: Path) -> None:
    file.write_text(json.dumps({"resourceSpans": [], "run_id": "r", "messages": []}))
    assert [run.run_id for run in traces(file)] == ["r"]


def test_a_conversation_that_each_turn_repeats_is_heard_once(file: Path) -> None:
    def turn(name: str, *heard: str) -> dict[str, Any]:
        messages = [text("user", each) for each in heard]
        return model(name, gen_ai__input__messages=json.dumps(messages))

    [run] = read(file, turn("1", "a"), turn("2", "a", "b"), turn("3", "b", "c"), turn("4", "c"))
    assert [step.content for step in run.steps if isinstance(step, Said)] == ["a", "b", "c"]


def test_a_call_without_a_span_has_the_result_that_the_next_turn_was_given(file: Path) -> None:
    wants = {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f"}]}
    answer = {"type": "tool_call_response", "id": "c", "response": {"n": 1}}
    [run] = read(
        file,
        model("1", gen_ai__output__messages=json.dumps([wants])),
        model("2", gen_ai__input__messages=json.dumps([{"role": "tool", "parts": [answer]}])),
    )
    [call] = run.calls
    assert (call.tool, call.call_id, call.args, call.result) == ("f", "c", {}, {"n": 1})


def test_a_tool_that_failed_has_no_result(file: Path) -> None:
    [run] = read(
        file,
        tool("a", gen_ai__tool__call__result="half", failed=True),
        tool("b", gen_ai__tool__call__result="half", error__type="OSError"),
    )
    assert [call.ran for call in run.calls] == [False, False]


def test_arguments_may_be_values_of_any_depth(file: Path) -> None:
    [run] = read(file, tool("a", gen_ai__tool__call__arguments={"to": ["x"], "n": 2, "b": True}))
    [call] = run.calls
    assert call.args == {"to": ["x"], "n": 2, "b": True}


def test_arguments_that_are_no_object_are_a_call_with_a_problem(file: Path) -> None:
    [run] = read(file, tool("a", gen_ai__tool__call__arguments="[1]"))
    [call] = run.calls
    assert (call.args, call.written) == ({}, "[1]")


def test_spans_that_are_each_others_parents_are_read_all_the_same(file: Path) -> None:
    [run] = read(file, tool("a", "b"), tool("b", "a"), tool("c", "c"))
    assert {call.tool for call in run.calls} == {"a", "b", "c"}


def test_runs_that_are_each_others_parents_are_read_all_the_same(file: Path) -> None:
    found = read(
        file,
        agent("a", saferun__run__id="x", saferun__run__parent="y"),
        agent("b", saferun__run__id="y", saferun__run__parent="x"),
    )
    assert {run.run_id for run in found} == {"x", "y"}


def test_a_chain_of_many_agents_is_read_in_little_time(file: Path) -> None:
    spans = [agent(str(n), str(n - 1) if n else None) for n in range(5_000)]
    assert len(read(file, *spans)) == 5_000


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"resourceSpans": 7}', "1: this is no OTLP document: Expected"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "a"}]}]}]}', "missing required"),
        (json.dumps(document(span("", trace="t"))), "spanId has no characters"),
        (json.dumps(document(span("a" * 99))), "more than 64"),
        (
            json.dumps(document(span("a"))).replace("17000", "x7000", 1),
            "a number of a span is none",
        ),
        (json.dumps(document(span("a"))) + "\n{}", "2: this is no OTLP document: it has neither"),
        (json.dumps(document(span("a"))) + "\n{", "2: this is no OTLP document: Input data"),
        (
            '{"resourceSpans": ' + "[" * 5_000 + "]" * 5_000 + "}",
            "1: this is no OTLP document",
        ),
        (
            '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"t","spanId":"s","attributes":'
            '[{"key":"input.value","value":'
            + '{"arrayValue":{"values":[' * 3_000
            + "]}}" * 3_000
            + "}]}]}]}]}",
            "nested too deeply",
        ),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(file: Path, said: str, why: str) -> None:
    file.write_text(said)
    with pytest.raises(TraceError, match=why):
        list(traces(file))


def test_more_spans_than_can_be_held_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "MAX_SPANS", 2)
    with pytest.raises(TraceError, match=r"spans.json:1: a file may have 2 spans"):
        read(file, tool("a"), tool("b"), tool("c"))


def test_more_bytes_than_can_be_held_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MAX_SPANNED", 1_000)
    file.write_text("\n".join(json.dumps(document(tool(str(n)))) for n in range(5)))
    with pytest.raises(TraceError, match="spans may have 1,000 bytes"):
        list(traces(file))


def test_a_span_of_more_attributes_than_anybody_writes_is_refused(file: Path) -> None:
    about = {f"llm.x{n}": 1 for n in range(otlp.document.MAX_ATTRIBUTES + 1)}
    with pytest.raises(TraceError, match="a span may have 20,000 attributes"):
        read(file, model("a", **about))


def test_many_calls_that_wait_are_matched_in_little_time(file: Path) -> None:
    parts = [{"type": "tool_call", "id": str(n), "name": "f"} for n in range(5_000)]
    spans = [
        model("m", gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": parts}]))
    ]
    spans += [
        tool(f"s{n}", gen_ai__tool__name="f", gen_ai__tool__call__id=str(n)) for n in range(5_000)
    ]
    [run] = read(file, *reversed(spans))
    assert [call.call_id for call in run.calls] == [str(n) for n in range(5_000)]
