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
from typing import NamedTuple

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks import work
from benchmarks.guarded import Guarded, opened
from benchmarks.measure import Round, figure
from benchmarks.table import Fact, told
from benchmarks.targets import NOTE_US
from saferun import Decision, listening
from saferun.telemetry import exposition, instrument, metrics


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS


class _Told(Guarded):
    """The call with telemetry on; what is left to tell is told before the next round."""

    def run(self, calls: int) -> Round:
        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
        telemetry = instrument(
            store=self._store, tracer_provider=tracers, meter_provider=MeterProvider(), every=0.1
        )
        try:
            done = super().run(calls)
            telemetry.flush()
            return done
        finally:
            telemetry.close()
            tracers.shutdown()


class Effort(NamedTuple):
    """Rounds, calls of a round, and the entries that a scrape finds."""

    rounds: int
    calls: int
    entries: int


THOROUGH = Effort(9, 2_000, 100_000)
SHORT = Effort(4, 1_000, 20_000)
QUICK = Effort(1, 200, 2_000)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        told(facts(Path(folder), THOROUGH))


def facts(folder: Path, effort: Effort) -> Iterator[Fact]:
    with _cases(folder) as (without, listened):
        rounds: dict[str, list[Round]] = {without.name: [], listened.name: []}
        for number in range(effort.rounds + 1):
            for case in (without, listened):
                done = case.run(effort.calls)
                if number:
                    rounds[case.name].append(done)
    bare, told_of = (figure(made) for made in rounds.values())
    yield Fact(
        "a guarded call with telemetry",
        told_of.p50 / bare.p50,
        f"p50 {told_of.p50:.0f}, p99 {told_of.p99:.0f} µs, {told_of.rate:,.0f}/s; without"
        f" {bare.p50:.0f}, {bare.p99:.0f} and {bare.rate:,.0f}/s:"
        f" x {told_of.rate / bare.rate:.2f} of the throughput",
        "",
        None,
    )
    yield _read_back(folder, effort.calls)
    yield _noted(folder, effort.rounds)
    yield _scraped(folder, effort.entries)


def _read_back(folder: Path, calls: int) -> Fact:
    """What the thread beside the calls takes for each: all of them at once, and nothing else."""
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
    with opened(folder / "read", "process") as store:
        case = Guarded("", store, work.policy())
        telemetry = instrument(
            store=store, tracer_provider=tracers, meter_provider=MeterProvider(), every=3_600
        )
        case.run(calls)
        began = time.thread_time()
        telemetry.flush()
        each = (time.thread_time() - began) / calls * 1e6
        telemetry.close()
    tracers.shutdown()
    return Fact(
        "telemetry, beside the path of a call",
        each,
        f"{each:.0f} µs of another thread, to read the call back and make a span of it",
        "",
        None,
    )


def _noted(folder: Path, rounds: int) -> Fact:
    """What telling a decision takes, with nobody listening and with telemetry, in a span."""
    decisions = [
        Decision(verdict="allow", tool="refund", args={}, seq=seq, digest="d")
        for seq in range(1_000)
    ]

    def tell() -> None:
        for decision in decisions:
            listening.tell(decision, 50_000)

    alone = min(timeit.repeat(tell, number=20, repeat=rounds)) / 20_000
    tracers = TracerProvider()
    telemetry = instrument(
        store=f"sqlite:///{folder}/none.db",
        tracer_provider=tracers,
        meter_provider=MeterProvider(),
        every=3_600,
    )
    with tracers.get_tracer("benchmark").start_as_current_span("caller"):
        noted = min(timeit.repeat(tell, number=20, repeat=rounds)) / 20_000
    telemetry.close()
    tracers.shutdown()
    took = (noted - alone) * 1e6
    return Fact(
        "telemetry, on the path of a call",
        took,
        f"{took:.1f} µs for a note",
        f"≤ {NOTE_US:.0f}",
        took <= NOTE_US,
    )


@contextlib.contextmanager
def _cases(folder: Path) -> Iterator[tuple[Guarded, "_Told"]]:
    with contextlib.ExitStack() as stores:
        usual = work.policy()
        without = stores.enter_context(opened(folder / "without", "process"))
        heard = stores.enter_context(opened(folder / "told", "process"))
        yield (
            Guarded("without telemetry", without, usual),
            _Told("with telemetry", heard, usual),
        )


def _scraped(folder: Path, entries: int) -> Fact:
    with opened(folder / "scraped", "process", ride=True) as store:
        case = Guarded("", store, work.policy())
        while store.size() < entries:
            case.run(min(entries // 10, 10_000))
        path, now = store.path, store.now()
        spent = []
        for _ in range(-(-store.size() // exposition.AT_ONCE) + 5):
            began = time.perf_counter()
            metrics(path, now)
            spent.append(time.perf_counter() - began)
        return Fact(
            "a scrape of the metrics",
            max(spent) * 1e3,
            f"{max(spent) * 1e3:.0f} ms while it reads"
            f" {min(store.size(), exposition.AT_ONCE):,} entries,"
            f" {min(spent) * 1e3:.1f} ms after {store.size():,}",
            "",
            None,
        )


if __name__ == "__main__":
    main()
