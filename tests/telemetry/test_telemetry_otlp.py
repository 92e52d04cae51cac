"""What is told by OTLP over HTTP, to a receiver on loopback, can be brought in again."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from guarding import enforcing, entries, observing
from saferun import Denied, guard
from saferun.replay import Said, TracedCall, traces
from saferun.telemetry import instrument
from telemetry_policies import CLOSED


class Receiver(ThreadingHTTPServer):
    """Takes what exporters send, and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def file(self, path: Path) -> Path:
        """All of it as files have it: a document on each line, ids in hex."""
        lines = [json.dumps(_hexed(MessageToDict(each))) for each in self.taken]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def _hexed(value: Any) -> Any:
    """OTLP's JSON has ids in hex, where that of protocol buffers has base64."""
    import base64

    if isinstance(value, list):
        return [_hexed(each) for each in value]
    if isinstance(value, dict):
        return {
            key: base64.b64decode(each).hex()
            if key in ("traceId", "spanId", "parentSpanId")
            else _hexed(each)
            for key, each in value.items()
        }
    return value


@contextmanager
def receiving() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A file of what two nested runs have told a receiver."""
    with receiving() as server:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=server.url)))
        telemetry = instrument(tracer_provider=provider, content=True, every=3_600)
        gate, shut = observing(), enforcing(CLOSED)
        refund = guard(lambda order, amount: {"done": order}, name="refund", gate=gate)
        with gate.run(
            agent="support", user="maria", tenant="acme", prompt="Refund me.", run_id="outer"
        ) as run:
            run.user("Hello.")
            run.model("I will.", model="m", input_tokens=7, output_tokens=2, cost_usd=0.5)
            refund("A-17", amount=40)
            run.user("And the other?")
            run.model({"plan": ["look", "pay"]}, model="m")
            with pytest.raises(Denied):
                guard(lambda order: 1, name="pay", gate=shut)("A-18")
            with gate.run(agent="clerk", run_id="inner"):
                refund("A-19", amount=1)
        telemetry.close()
        provider.shutdown()
        return server.file(tmp_path / "told.json")


def test_what_was_told_can_be_read_again_and_tells_the_same_story(told: Path) -> None:
    outer, inner = traces(told)
    assert (outer.run_id, outer.agent, outer.user, outer.tenant, outer.prompt) == (
        *("outer", "support", {"id": "maria"}, "acme"),
        "Refund me.",
    )
    call = {"order": "A-17", "amount": 40}
    assert outer.steps == (
        Said(by="user", content="Hello."),
        Said(
            by="model", content="I will.", model="m", cost_usd=0.5, input_tokens=7, output_tokens=2
        ),
        TracedCall(index=0, call_id=None, tool="refund", args=call, result={"done": "A-17"}),
        Said(by="user", content="And the other?"),
        Said(by="model", content={"plan": ["look", "pay"]}, model="m"),
        TracedCall(index=1, call_id=None, tool="pay", args={"order": "A-18"}),
    )
    assert (inner.run_id, inner.parent, inner.agent) == ("inner", "outer", "clerk")
    assert [step.result for step in inner.calls] == [{"done": "A-19"}]


def test_what_was_told_can_be_brought_in_with_its_child_runs(told: Path) -> None:
    command = [sys.executable, "-m", "saferun", "run", "import", str(told), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["runs"] == 2
    gate = observing()
    began = [entry for entry in entries(gate, "run") if entry.get("imported")]
    outer, inner = (entry["run"] for entry in began)
    assert outer.startswith("import/")
    assert (began[1]["parent"], began[1]["root"]) == (outer, outer)
    assert [entry["tool"] for entry in entries(gate, "call")] == ["refund", "pay", "refund"]
    turns = [entry for entry in entries(gate, "model") if entry["run"] == outer]
    assert (turns[0]["input_tokens"], turns[0]["output_tokens"]) == (7, 2)
    assert inner.endswith("/inner")
