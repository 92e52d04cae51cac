"""What telemetry costs a guarded call, in all and on its path, and what a scrape takes.

`python -m benchmarks.telemetry`: the same call with and without, in turns, on a store of each
one's own; spans go to a provider whose exporter keeps none, so that nobody's network is measured.
"""

import contextlib
import tempfile
import time
import timeit
from collections.abc import Iterator, Sequence
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks import work
from benchmarks.guarded import Guarded, opened
from benchmarks.measure import Round, figure
from saferun import Decision, listening
from saferun.store import Store
from saferun.telemetry import exposition, instrument, metrics

ROUNDS, CALLS = 9, 2_000

ENTRIES = 100_000


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS


class _Told(Guarded):
    """The call with telemetry on; what is left to tell is told before the next round."""

    def __init__(self, name: str, store: Store, text: str) -> None:
        super().__init__(name, store, text)
        self.lag = 0.0

    def run(self, calls: int) -> Round:
        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
        telemetry = instrument(
            store=self._store, tracer_provider=tracers, meter_provider=MeterProvider(), every=0.1
        )
        try:
            done = super().run(calls)
            began = time.perf_counter()
            telemetry.flush()
            self.lag = time.perf_counter() - began
            return done
        finally:
            telemetry.close()
            tracers.shutdown()


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        with _cases(Path(folder)) as cases:
            rounds: dict[str, list[Round]] = {case.name: [] for case in cases}
            for number in range(ROUNDS + 1):
                for case in cases:
                    done = case.run(CALLS)
                    if number:
                        rounds[case.name].append(done)
        for name, made in rounds.items():
            found = figure(made)
            print(f"{name}: p50 {found.p50:.1f} µs, p99 {found.p99:.0f} µs, {found.rate:,.0f}/s")
        _noted(Path(folder))
        _scraped(Path(folder))


def _noted(folder: Path) -> None:
    """What telling a decision takes, with nobody listening and with telemetry, in a span."""
    decisions = [
        Decision(verdict="allow", tool="refund", args={}, seq=seq, digest="d")
        for seq in range(1_000)
    ]

    def tell() -> None:
        for decision in decisions:
            listening.tell(decision, 50_000)

    alone = min(timeit.repeat(tell, number=20, repeat=ROUNDS)) / 20_000
    tracers = TracerProvider()
    telemetry = instrument(
        store=f"sqlite:///{folder}/none.db",
        tracer_provider=tracers,
        meter_provider=MeterProvider(),
        every=3_600,
    )
    with tracers.get_tracer("benchmark").start_as_current_span("caller"):
        noted = min(timeit.repeat(tell, number=20, repeat=ROUNDS)) / 20_000
    telemetry.close()
    tracers.shutdown()
    print(f"on the path of a call: {(noted - alone) * 1e6:.1f} µs for a note")


@contextlib.contextmanager
def _cases(folder: Path) -> Iterator[list[Guarded]]:
    with contextlib.ExitStack() as stores:
        usual = work.policy()
        without = stores.enter_context(opened(folder / "without", "process"))
        told = stores.enter_context(opened(folder / "told", "process"))
        yield [
            Guarded("without telemetry", without, usual),
            _Told("with telemetry", told, usual),
        ]


def _scraped(folder: Path) -> None:
    with opened(folder / "scraped", "process", ride=True) as store:
        case = Guarded("", store, work.policy())
        while store.size() < ENTRIES:
            case.run(10_000)
        path, now = store.path, store.now()
        spent = []
        for _ in range(-(-store.size() // exposition.AT_ONCE) + 5):
            began = time.perf_counter()
            metrics(path, now)
            spent.append(time.perf_counter() - began)
        print(
            f"a scrape: {max(spent) * 1e3:.0f} ms while it reads {exposition.AT_ONCE:,} entries, "
            f"{min(spent) * 1e3:.1f} ms after {store.size():,}"
        )


if __name__ == "__main__":
    main()
