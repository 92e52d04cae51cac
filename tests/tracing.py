"""Telemetry of this process, kept in memory, as tests look at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from saferun.telemetry import Telemetry, instrument


class Told:
    """What telemetry has told so far, after having it tell all that there is."""

    def __init__(self, telemetry: Telemetry, tracers: TracerProvider) -> None:
        self.telemetry = telemetry
        self.tracer = tracers.get_tracer("application")
        self._spans = InMemorySpanExporter()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.figures: InMemoryMetricReader

    def spans(self) -> dict[str, ReadableSpan]:
        """Those that have ended, by name; of several of one name the last."""
        self.telemetry.flush()
        return {span.name: span for span in self._spans.get_finished_spans()}

    def every(self) -> list[ReadableSpan]:
        self.telemetry.flush()
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes of each point of a figure, with the point."""
        self.telemetry.flush()
        data = self.figures.get_metrics_data()
        if data is None:
            return []
        return [
            (dict(point.attributes or {}), point)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@contextmanager
def telling(*, content: bool = False, **more: Any) -> Iterator[Told]:
    """Nothing is told by itself: only when somebody asks what was."""
    figures = InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[figures])
    telemetry = instrument(
        tracer_provider=tracers, meter_provider=meters, content=content, every=3_600, **more
    )
    told = Told(telemetry, tracers)
    told.figures = figures
    try:
        yield told
    finally:
        telemetry.close()
        tracers.shutdown()
        meters.shutdown()
