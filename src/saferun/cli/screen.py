"""What the commands print with: quiet, at most 100 columns, and 80 in a pipe.

Whatever a model, a tool, a user or a file said goes through `inert` into a `Text`. It is
never interpreted as markup, and can neither move the cursor nor turn the direction of what
stands beside it. JSON goes out in ASCII alone, for the same reason.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import typer

from saferun import marks, unseen
from saferun.approval.inert import inert

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPE = 80
WIDEST = 100
"""Columns. On a wider screen the eye would lose the line between its left and right ends."""

PATIENCE = 1.0
"""Seconds that somebody waits before wondering whether anything happens at all."""


class Mark(NamedTuple):
    """A mark of `saferun.marks` as a terminal has it."""

    icon: str
    word: str
    style: str


_STYLES: Mapping[marks.Tone, str] = {
    "allow": "green",
    "ask": "yellow",
    "deny": "red",
    "mod": "magenta",
    "model": "dim",
}


def styled(mark: marks.Mark) -> Mark:
    return Mark(mark.icon, mark.word, _STYLES[mark.tone])


ALLOWED = styled(marks.ALLOWED)
ASKED = styled(marks.ASKED)
DENIED = styled(marks.DENIED)
DEFERRED = styled(marks.DEFERRED)
MODIFIED = styled(marks.MODIFIED)
MODEL = styled(marks.MODEL)
USER = styled(marks.USER)
IMPORTED = styled(marks.IMPORTED)
CHANGED = styled(marks.CHANGED)
WITHIN = styled(marks.WITHIN)

VERDICTS = {verdict: styled(mark) for verdict, mark in marks.VERDICTS.items()}


def screen(*, stderr: bool = False) -> "Console":
    """A console for one command's output, on the stream as it is now."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> NoReturn:
            hang_up()

    console = Screen(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)
    console.width = min(console.width, WIDEST if console.is_terminal else PIPE)
    return console


def hang_up() -> NoReturn:
    """End quietly, because the output goes nowhere any more."""
    # Python flushes once more on its way out, and that must find somewhere to go.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(os.EX_IOERR)


def told(sentence: str) -> None:
    """One sentence on stderr; on a terminal, broken where that ends."""
    if not sys.stderr.isatty():
        typer.echo(f"saferun: {inert(sentence)}", err=True)
        return
    from rich.text import Text

    console = screen(stderr=True)
    put(console, beside(console, Text("saferun: "), inert(sentence)))


def document(value: Any) -> None:
    """A value as JSON on one line of stdout."""
    raw(unseen.document(value))


def raw(data: bytes) -> None:
    """These very bytes on stdout, with nothing added and nothing translated."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        hang_up()


def shown(value: Any, limit: int | None) -> str:
    """A JSON value as one inert line, cut after `limit` characters, which says by how much."""
    return inert(json.dumps(value, ensure_ascii=False), limit)


def beside(console: "Console", lead: "Text", said: "Text | str") -> "Iterator[Text]":
    """Lines with `said` beside `lead`, broken where the screen ends and keeping their left edge."""
    from rich.text import Text

    if isinstance(said, str):
        said = Text(said)
    edge = lead.cell_len
    room = max(console.width - edge, 20)
    fits = said.cell_len <= room and "\n" not in said.plain
    for line in (said,) if fits else said.wrap(console, room):
        whole = Text.assemble(lead, line)
        whole.rstrip()
        yield whole
        lead = Text(" " * edge)


def headline(console: "Console", icon: str, style: str, sentence: str) -> None:
    """The answer of a command in one sentence, its first word told from afar."""
    from rich.text import Text

    word, colon, rest = inert(sentence).partition(":")
    said = Text.assemble((f"{word}{colon}", f"bold {style}"), rest)
    put(console, beside(console, Text(f"{icon} ", style), said))
    console.print()


def facts(console: "Console", *rows: "tuple[str, str | Text]") -> None:
    """Labels in one column, so that the eye runs down one edge, and what they say beside it."""
    from rich.text import Text

    column = max((len(label) for label, _ in rows), default=0)
    for label, said in rows:
        lead = Text(f"  {label:{column}}  ", "dim")
        put(console, beside(console, lead, said))


def put(console: "Console", lines: "Iterable[Text]") -> None:
    """Print lines that have their length already, all at once: a console is slow to start."""
    from rich.text import Text

    console.print(Text("\n").join(lines), no_wrap=True, overflow="ignore", crop=False)


def counted(many: int, one: str, more: str | None = None) -> str:
    """`1 entry`, `2,000 entries`."""
    return f"1 {one}" if many == 1 else f"{many:,} {more or one + 's'}"


def moment(at: int | None) -> str:
    """A time in microseconds since 1970 as local date and minute; nothing where it is unknown."""
    if at is None:
        return ""
    try:
        return datetime.fromtimestamp(at / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "beyond 9999"


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """To be told how much of `total` is done; a bar on stderr once it takes long.

    Only a person at a terminal sees one.
    """
    console = screen(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", style="dim"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what, total=total)
    began = monotonic()

    def tell(done: int) -> None:
        if not bar.live.is_started and monotonic() - began > PATIENCE:
            bar.start()
        bar.update(task, completed=done)

    try:
        yield tell
    finally:
        bar.stop()
