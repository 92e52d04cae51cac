"""Tells OpenTelemetry and Prometheus what has happened; decides nothing, and slows nothing down.

    import saferun.telemetry

    saferun.telemetry.instrument()

Spans and figures are readings of the ledger: see `follow`. `metrics` gives those of a whole store
as text, and needs nothing that is not installed with SafeRun; `instrument` needs the extra `otel`.
"""

from saferun.telemetry.exposition import CONTENT_TYPE, metrics
from saferun.telemetry.instrument import Telemetry, instrument

__all__ = ["CONTENT_TYPE", "Telemetry", "instrument", "metrics"]
