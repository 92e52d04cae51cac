"""Spans: what is told of runs, model turns and calls, and what they hang under."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from guarding import Yes, enforcing, entries, observing
from saferun import Denied, Gate, guard
from saferun import convention as names
from saferun.policy import loads
from telemetry_policies import ASKS, CLOSED
from tracing import telling


def test_a_call_is_a_span_of_both_conventions_and_of_our_own_names() -> None:
    gate = enforcing("version: 1\nname: open\ndefault: allow\n")
    with telling() as told:
        with gate.run(agent="support", tenant="acme", run_id="r-1"):
            guard(lambda order: order, name="refund", gate=gate)("A-17")
        span = told.spans()["execute_tool refund"]
    about = dict(span.attributes)
    assert about[names.LEDGER] == gate.store.origin
    assert {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "refund",
        "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": "r-1",
        "openinference.span.kind": "TOOL",
        "tool.name": "refund",
        "session.id": "r-1",
        "saferun.run.id": "r-1",
        "saferun.tenant": "acme",
        "saferun.verdict": "allow",
        "saferun.mode": "enforce",
        "saferun.status": "ok",
        "saferun.policy.name": "open",
    }.items() <= about.items()
    assert (about[names.OUTCOME], about[names.DECISION]) == (3, 2)
    assert span.status.is_ok
    assert span.kind.name == "INTERNAL"
    assert span.instrumentation_scope.schema_url == names.SCHEMA_URL


def test_a_call_takes_as_long_as_its_tool() -> None:
    gate = observing()
    with telling() as told:
        guard(lambda: threading.Event().wait(0.02), name="slow", gate=gate)()
        span = told.spans()["execute_tool slow"]
    [outcome] = entries(gate, "outcome")
    assert span.end_time - span.start_time == outcome["latency"] * 1000


def test_calls_turns_and_child_runs_hang_under_their_run() -> None:
    gate = observing()
    tool = guard(lambda: 1, name="tool", gate=gate)
    with telling() as told:
        with gate.run(agent="outer") as outer:
            outer.model("Hello.", model="openai/gpt-4o", input_tokens=3, output_tokens=2)
            with gate.run(agent="inner"):
                tool()
        spans = told.spans()
    outer_span, inner = spans["invoke_agent outer"], spans["invoke_agent inner"]
    assert outer_span.parent is None
    assert inner.parent.span_id == outer_span.context.span_id
    assert spans["execute_tool tool"].parent.span_id == inner.context.span_id
    turn = spans["chat openai/gpt-4o"]
    assert turn.parent.span_id == outer_span.context.span_id
    assert turn.attributes["gen_ai.usage.input_tokens"] == 3
    assert turn.attributes["llm.token_count.completion"] == 2
    assert turn.attributes["gen_ai.provider.name"] == "openai"
    assert turn.kind.name == "CLIENT"


def test_a_run_hangs_under_the_span_that_it_was_entered_in() -> None:
    gate = observing()
    tool = guard(lambda: 1, name="tool", gate=gate)
    with telling() as told:
        with told.tracer.start_as_current_span("request") as request, gate.run(agent="a"):
            tool()
        spans = told.spans()
    assert spans["invoke_agent a"].parent.span_id == request.get_span_context().span_id
    assert spans["execute_tool tool"].parent.span_id == spans["invoke_agent a"].context.span_id


def test_a_call_hangs_under_a_span_of_the_caller_s_own_within_the_run() -> None:
    gate = observing()
    tool = guard(lambda: 1, name="tool", gate=gate)
    with telling() as told:
        with gate.run(agent="a"), told.tracer.start_as_current_span("step") as step:
            tool()
        assert told.spans()["execute_tool tool"].parent.span_id == step.get_span_context().span_id


def test_a_call_outside_of_any_run_hangs_under_the_caller_s_span_or_under_nothing() -> None:
    gate = observing()
    with telling() as told:
        guard(lambda: 1, name="alone", gate=gate)()
        with told.tracer.start_as_current_span("request") as request:
            guard(lambda: 1, name="within", gate=gate)()
        spans = told.spans()
    assert spans["execute_tool alone"].parent is None
    assert spans["execute_tool within"].parent.span_id == request.get_span_context().span_id


def test_a_denial_is_an_error_that_names_the_rule_and_no_argument() -> None:
    gate = enforcing(CLOSED)
    with telling() as told:
        with pytest.raises(Denied):
            guard(lambda secret: 1, name="shut", gate=gate)("hunter2")
        span = told.spans()["execute_tool shut"]
    assert not span.status.is_ok
    assert span.attributes["saferun.verdict"] == "deny"
    assert span.attributes["saferun.status"] == "not_run"
    assert span.attributes["error.type"] == "Denied"
    assert len(span.attributes["saferun.rules"]) == 1
    assert "hunter2" not in str(dict(span.attributes))


def test_a_denial_hangs_under_the_caller_s_span_though_the_ledger_has_it_first() -> None:
    gate = enforcing(CLOSED)
    with telling() as told:
        with told.tracer.start_as_current_span("step") as step, pytest.raises(Denied):
            guard(lambda: 1, name="shut", gate=gate)()
        assert told.spans()["execute_tool shut"].parent.span_id == step.get_span_context().span_id


def test_an_exception_is_told_by_its_type_alone() -> None:
    def fails() -> None:
        raise KeyError("card 4111")

    with telling(content=True) as told:
        with pytest.raises(KeyError):
            guard(fails, name="fails", gate=observing())()
        span = told.spans()["execute_tool fails"]
    assert span.attributes["error.type"] == "KeyError"
    assert "4111" not in str(dict(span.attributes))
    assert span.events == ()


def test_an_approval_is_told_with_who_answered_and_how_long_it_took() -> None:
    gate = Gate(policy=loads(ASKS), approvals=Yes())
    with telling() as told:
        guard(lambda: "done", name="refund", gate=gate)()
        span = told.spans()["execute_tool refund"]
    about = span.attributes
    assert about["saferun.approval.state"] == "approved"
    assert about["saferun.approval.by"] == "dana"
    assert about["saferun.approval.waited"] > 0
    assert about["saferun.verdict"] == "allow"
    assert span.end_time - span.start_time >= about["saferun.approval.waited"] * 1e9


def test_content_is_not_told_unless_somebody_has_said_so() -> None:
    gate = observing()
    with telling() as told:
        with gate.run(agent="a", user="maria", prompt="A prompt") as run:
            run.user("Hello?")
            run.model("Hi!", model="m")
            guard(lambda order: f"{order} done", name="tool", gate=gate)("A-17")
        everything = str([dict(span.attributes) for span in told.every()])
    for word in ("A-17", "maria", "A prompt", "Hello?", "Hi!"):
        assert word not in everything


def test_content_is_told_as_the_ledger_has_it() -> None:
    gate = enforcing(
        "version: 1\nname: p\ntools: {pay: {effect: write, args: {card: {type: string}, "
        "note: {type: string}}, redact: [args.card], sensitive: [args.note]}}\n"
    )
    with telling(content=True) as told:
        with gate.run(agent="a", user="maria", prompt="Pay it.") as run:
            run.user("Please.")
            run.model("I will.", model="m")
            tool = guard(lambda card, note: {"ok": True}, name="pay", gate=gate)
            tool(card="4111 1111", note="for mum")
        spans = told.spans()
    call = spans["execute_tool pay"].attributes
    arguments = json.loads(call["gen_ai.tool.call.arguments"])
    assert arguments["card"] == "[redacted: by policy]"
    assert list(arguments["note"]) == ["$sealed"]
    assert json.loads(call["gen_ai.tool.call.result"]) == {"ok": True}
    assert (call["output.value"], call["output.mime_type"]) == ('{"ok":true}', "application/json")
    assert call["user.id"] == "maria"
    assert spans["invoke_agent a"].attributes["input.value"] == "Pay it."
    turn = spans["chat m"].attributes
    assert json.loads(turn["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "I will."}]}
    ]
    assert json.loads(turn["gen_ai.input.messages"])[0]["parts"][0]["content"] == "Please."


def test_the_environment_may_say_that_content_is_told(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "True")
    with telling(content=None) as told:
        guard(lambda order: 1, name="tool", gate=observing())("A-17")
        arguments = told.spans()["execute_tool tool"].attributes["gen_ai.tool.call.arguments"]
    assert "A-17" in arguments


def test_a_run_that_goes_on_elsewhere_is_ended_as_open() -> None:
    gate = observing()
    with telling() as told, gate.run(agent="a"):
        guard(lambda: 1, name="tool", gate=gate)()
        assert "invoke_agent a" not in told.spans()
        told.telemetry.close()
        assert told.spans()["invoke_agent a"].attributes["saferun.run.open"] is True


def test_a_run_that_ends_by_an_error_says_so() -> None:
    gate = observing()
    with telling() as told:
        with contextlib.suppress(LookupError), gate.run(agent="a"):
            guard(lambda: 1, name="tool", gate=gate)()
            raise LookupError
        span = told.spans()["invoke_agent a"]
    assert span.attributes["error.type"] == "LookupError"
    assert not span.status.is_ok


def test_what_happened_before_is_not_told() -> None:
    gate = observing()
    guard(lambda: 1, name="before", gate=gate)()
    gate.store.flush()
    with telling() as told:
        guard(lambda: 1, name="after", gate=gate)()
        assert set(told.spans()) == {"execute_tool after"}


def test_what_another_process_does_is_told_by_that_one() -> None:
    gate = observing()
    with telling() as told:
        child = os.fork()
        if child == 0:
            try:
                guard(lambda: 1, name="theirs", gate=gate)()
                gate.store.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        guard(lambda: 1, name="ours", gate=gate)()
        assert set(told.spans()) == {"execute_tool ours"}


def test_a_forked_child_tells_of_its_own() -> None:
    gate = observing()
    read, write = os.pipe()
    with telling() as told:
        guard(lambda: 1, name="ours", gate=gate)()
        child = os.fork()
        if child == 0:
            try:
                guard(lambda: 1, name="theirs", gate=gate)()
                os.write(write, ",".join(each.name for each in told.every()).encode())
            except BaseException as problem:
                os.write(write, repr(problem).encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        assert os.read(read, 1_000) == b"execute_tool theirs"


def test_a_store_is_followed_by_whatever_path_it_was_opened() -> None:
    gate = Gate(store="sqlite:///elsewhere.db")
    with telling(store=f"sqlite:///{Path.cwd() / 'elsewhere.db'}") as told:
        guard(lambda: 1, name="tool", gate=gate)()
        assert set(told.spans()) == {"execute_tool tool"}
    gate.close()


def test_a_process_that_ends_without_a_word_has_told_all_of_it() -> None:
    script = """
import sys, saferun.telemetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
provider = TracerProvider()
exporter = ConsoleSpanExporter(out=sys.stdout, formatter=lambda span: span.name + "\\n")
provider.add_span_processor(BatchSpanProcessor(exporter))
saferun.telemetry.instrument(tracer_provider=provider)
with saferun.run(agent="a"):
    saferun.guard(lambda: 1, name="tool")()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split("\n") == ["execute_tool tool", "invoke_agent a", ""]


def test_after_the_end_nothing_is_told_and_nothing_listens() -> None:
    gate = observing()
    with telling() as told:
        told.telemetry.close()
        told.telemetry.close()
        with gate.run():
            guard(lambda: 1, name="tool", gate=gate)()
        assert told.every() == []


def test_a_store_that_cannot_be_read_harms_no_call(caplog) -> None:
    with telling(store="sqlite:////proc/none/saferun.db") as told:
        assert guard(lambda: 1, name="tool", gate=observing())() == 1
        assert told.every() == []


def test_a_span_that_cannot_be_made_harms_no_call_and_is_logged_once(caplog, monkeypatch) -> None:
    gate = observing()
    with telling() as told:

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("exporter")

        monkeypatch.setattr(told.telemetry._tracer, "start_span", broken)
        for _ in range(2):
            assert guard(lambda: 1, name="tool", gate=gate)() == 1
            told.telemetry.flush()
    assert caplog.text.count("telemetry cannot follow") == 1


def test_the_thread_tells_by_itself() -> None:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    from saferun.telemetry import instrument

    told = threading.Event()

    class Waiting(SpanProcessor):
        def on_end(self, span) -> None:
            told.set()

    provider = TracerProvider()
    provider.add_span_processor(Waiting())
    telemetry = instrument(tracer_provider=provider, every=0.01)
    try:
        gate = observing()
        guard(lambda: 1, name="tool", gate=gate)()
        gate.store.flush()
        assert told.wait(20)
    finally:
        telemetry.close()
