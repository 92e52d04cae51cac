"""Has what this process does told to OpenTelemetry, until it is told to stop."""

import atexit
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saferun import config, listening
from saferun import convention as names
from saferun.config import sqlite_path
from saferun.errors import ConfigError
from saferun.run import on_run, stop_on_run
from saferun.store import Store

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from saferun.telemetry.account import Event
    from saferun.telemetry.follow import Place, Tell
    from saferun.telemetry.spans import Spans

EVERY = 1.0
"""Seconds between two looks at the ledger."""


class Telemetry:
    """What is told, from `instrument` until `close`."""

    def __init__(
        self,
        path: Path,
        *,
        tracer_provider: "TracerProvider | None",
        meter_provider: "MeterProvider | None",
        content: bool,
        every: float,
    ) -> None:
        from opentelemetry import metrics, trace

        from saferun.telemetry.follow import Follower
        from saferun.telemetry.meters import Meters

        self._spans: Spans | None = None
        self._content = content
        self._tracer = trace.get_tracer(
            "saferun", tracer_provider=tracer_provider, schema_url=names.SCHEMA_URL
        )
        meters = (meter_provider or metrics.get_meter_provider()).get_meter(
            "saferun", schema_url=names.SCHEMA_URL
        )
        self._meters = Meters(meters)
        self._follower = Follower(path, self._telling, self._meters.catch_up, every)
        self._closed = False
        listening.on_decision(self._follower.decided)
        listening.time_decisions(self._meters.decided)
        on_run(self._follower.entered)
        # Before the providers' own, which were registered earlier: they export what comes now.
        atexit.register(self.close)

    def _telling(self, origin: str) -> "Tell":
        from saferun.telemetry.spans import Spans

        spans = self._spans = Spans(self._tracer, origin, content=self._content)

        def tell(event: "Event", place: "Place", within: "Place") -> None:
            self._meters.tell(event)
            spans.tell(event, place, within)

        return tell

    def flush(self) -> None:
        """Hand on all that has happened by now. What exports it may still hold it back."""
        if not self._closed:
            self._follower.look(last=True)

    def close(self) -> None:
        """Hand on all that has happened, end the spans of runs that go on, and stop. Idempotent."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        stop_on_run(self._follower.entered)
        listening.stop_timing(self._meters.decided)
        listening.stop_listening(self._follower.decided)
        self._follower.close()
        if self._spans is not None:
            self._spans.close()


def instrument(
    *,
    store: str | Store | None = None,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
    content: bool | None = None,
    every: float = EVERY,
) -> Telemetry:
    """Tell OpenTelemetry of all that this process does from now on.

    Args:
        store: the store that is followed, or its URL; that of the configuration by default.
        tracer_provider: where spans go; OpenTelemetry's global provider by default.
        meter_provider: where figures go; likewise.
        content: whether arguments, results, messages and who the user is go along, as they
            stand in the ledger. By default only where the environment variable
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is `true`.
        every: seconds between two looks at the ledger.

    Raises:
        ConfigError: OpenTelemetry is not installed, or the store's URL is none.

    """
    try:
        import opentelemetry.metrics
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        raise ConfigError("Telemetry needs its extra: pip install 'saferun-sdk[otel]'") from None
    kept = store.path if isinstance(store, Store) else None
    path = kept or sqlite_path(str(store or config.load().store))
    if content is None:
        content = os.environ.get(names.CONTENT_VARIABLE, "").strip().lower() == "true"
    given: dict[str, Any] = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    return Telemetry(path, **given, content=content, every=every)
