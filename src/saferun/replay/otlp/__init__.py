"""Traces of OpenTelemetry in its JSON form, read as runs. Nothing in them is trusted."""

from saferun.replay.otlp.document import MAX_SPANS, OtlpError, Span, looks_like_spans, spans_of
from saferun.replay.otlp.runs import Made, SpannedRun, Turn, runs

__all__ = [
    "MAX_SPANS",
    "Made",
    "OtlpError",
    "Span",
    "SpannedRun",
    "Turn",
    "looks_like_spans",
    "runs",
    "spans_of",
]
