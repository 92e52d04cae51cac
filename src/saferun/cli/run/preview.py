"""What goes out in a file for an audience: chosen, shown before it is written, and agreed to."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from saferun.approval.inert import inert
from saferun.cli.screen import beside, put, screen, shown

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.audience import Audience, Showing

SAMPLE = 24
"""Characters of a sample in the preview."""

_COUNTED = ("field", "part", "values", "kept", "altered", "replaced", "hidden", "sample")


def wanted(
    name: str,
    *,
    show: list[str] | None = None,
    replace: list[str] | None = None,
    hide: list[str] | None = None,
) -> "Audience":
    """An audience, but for some parts and paths. Raises AudienceError."""
    from saferun.audience import AUDIENCES, Audience

    chosen = Audience(name=name, parts=AUDIENCES[name])
    # What is to be hidden is hidden, whatever else is said of it.
    return chosen.but("keep", show or ()).but("replace", replace or ()).but("hide", hide or ())


def preview(showing: "Showing", of: str, notes: Iterable[tuple[str, str]] = ()) -> None:
    """Print field by field what goes out. `notes` are sentences below, each with its mark."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = screen()
    put(console, [Text(f"For {showing.audience.name}: {of}", "bold")])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("field", no_wrap=True, max_width=28)
    figures = ("kept", "altered", "replaced", "hidden")
    for heading in figures:
        table.add_column(heading, justify="right", min_width=len(heading))
    table.add_column("such as", no_wrap=True)
    for each in showing.counts:
        many = (getattr(each, name) for name in figures)
        table.add_row(
            Text(inert(each.field, 60)),
            *(Text(f"{count:,}" if count else "·") for count in many),
            Text(sample(each.sample)),
        )
    console.print(table)
    for mark, said in notes:
        _note(console, mark, said, "yellow")
    said = (
        "Tools, rules, verdicts, times and costs always go out. Words that are kept may name "
        "people in other ways than the run does: read them."
    )
    _note(console, " ", said, "dim")


def _note(console: "Console", mark: str, said: str, style: str) -> None:
    from rich.text import Text

    put(console, beside(console, Text(f"{mark} ", style), Text(said, style)))


def sample(value: object) -> str:
    """A value as a line that fits into the table."""
    text = value if isinstance(value, str) else shown(value, None)
    text = inert(text)
    return text if len(text) <= SAMPLE else f"{text[: SAMPLE - 1]}…"


def counted_fields(showing: "Showing") -> list[dict[str, Any]]:
    """The same for programs."""
    return [{name: getattr(each, name) for name in _COUNTED} for each in showing.counts]


def asks(*, yes: bool, as_json: bool) -> bool:
    """Whether there is somebody at a terminal who is to be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not (yes or as_json)


def agreed(question: str) -> bool:
    """Whether they say yes."""
    return typer.confirm(question, err=True)
