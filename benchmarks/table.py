"""What was measured, as a table for people, as Markdown for the docs, and as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure
from benchmarks.targets import Target

_WIDTH = 132
"""Characters that the table needs where no terminal says how many there are."""


class Line(NamedTuple):
    """One case: what it came to, and what it was meant to come to."""

    name: str
    figure: Figure
    targets: tuple[Target, ...]


class Fact(NamedTuple):
    """One figure that is no call: its unit is part of `said`, `met` is None without a target."""

    name: str
    value: float
    said: str
    target: str
    met: bool | None


class Results(NamedTuple):
    """A whole run. `bare` and `synced` are the p50 of the bare call and of F."""

    machine: dict[str, str]
    how: str
    lines: Sequence[Line]
    facts: Sequence[Fact]
    checks: Sequence[tuple[str, bool]]
    missing: Sequence[str]
    bare: float
    synced: float


_HEADINGS = ("", "p50 µs", "p99 µs", "calls/s", "x bare", "x F", "target")


def printed(results: Results) -> None:
    console = _console()
    table = Table(box=box.SIMPLE_HEAD, title=_title(results), title_justify="left", pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(
            heading, justify="left" if heading in ("", "target") else "right", no_wrap=heading == ""
        )
    for line in results.lines:
        table.add_row(line.name, *_figures(line, results), _judged(line, results))
    console.print(table)
    told(results.facts)
    for sentence, holds in results.checks:
        console.print(f"{_mark(holds)} {sentence}", highlight=False)
    for sentence in results.missing:
        console.print(f"Not measured: {sentence}", style="yellow", markup=False, highlight=False)


def told(facts: Iterable[Fact]) -> None:
    """Figures that are no calls, a line each."""
    console = _console()
    for fact in facts:
        console.print(f"{fact.name}: [bold]{fact.said}[/] {_met(fact)}", highlight=False)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def markdown(results: Results) -> Iterator[str]:
    yield f"Measured on {_title(results)}."
    yield ""
    yield "| " + " | ".join(_HEADINGS) + " |"
    yield "|---|--:|--:|--:|--:|--:|---|"
    for line in results.lines:
        cells = (line.name, *_figures(line, results), _judged(line, results))
        yield "| " + " | ".join(cells) + " |"
    yield ""
    for fact in results.facts:
        yield f"- {fact.name}: {fact.said} {_met(fact)}".rstrip()
    yield from (f"- {_mark(holds)} {sentence}" for sentence, holds in results.checks)
    yield from (f"- Not measured: {sentence}" for sentence in results.missing)


def document(results: Results) -> dict[str, Any]:
    return {
        "machine": results.machine,
        "how": results.how,
        "cases": [
            {
                "name": line.name,
                "p50_us": round(line.figure.p50, 3),
                "p99_us": round(line.figure.p99, 3),
                "calls_per_second": round(line.figure.rate),
                "times_bare": round(line.figure.p50 / results.bare, 1),
                "times_f": round(line.figure.p50 / results.synced, 2),
                "targets": [
                    {
                        "target": target.said(results.synced),
                        "met": target.met(line.figure, results.synced),
                    }
                    for target in line.targets
                ],
            }
            for line in results.lines
        ],
        "others": [fact._asdict() for fact in results.facts],
        "checks": [{"sentence": sentence, "holds": holds} for sentence, holds in results.checks],
        "not_measured": list(results.missing),
    }


def _figures(line: Line, results: Results) -> tuple[str, ...]:
    p50, p99, rate = line.figure
    return (
        _short(p50),
        _short(p99),
        f"{rate:,.0f}",
        f"{p50 / results.bare:,.0f}",
        f"{p50 / results.synced:.1f}" if p50 > results.synced / 20 else "",
    )


def _judged(line: Line, results: Results) -> str:
    return ", ".join(
        f"{target.said(results.synced)} {_mark(target.met(line.figure, results.synced))}"
        for target in line.targets
    )


def _met(fact: Fact) -> str:
    return "" if fact.met is None else f"({fact.target} {_mark(fact.met)})"


def _mark(good: bool) -> str:
    return "✓" if good else "✕"


def _short(microseconds: float) -> str:
    return f"{microseconds:,.2f}" if microseconds < 10 else f"{microseconds:,.0f}"


def _title(results: Results) -> str:
    return ", ".join((*results.machine.values(), results.how))
