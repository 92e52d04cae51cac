"""`saferun run step`: through a run by keys, at a terminal.

The screen is drawn anew as a whole, as wide and as high as the terminal is at that moment, and is
given back as it was. What keys mean is said in `stepping`; a run that goes on is looked at twice a
second.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.call import span
from saferun.cli.history import ArchiveOption
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.run import closeup
from saferun.cli.run.diff import parted
from saferun.cli.run.show import plain
from saferun.cli.run.stepping import HELP, State, grown, keys, pressed, ticked
from saferun.cli.run.told import history_of, named, vouching
from saferun.cli.screen import DENIED, WIDEST, WITHIN, Mark, counted, document, screen, styled
from saferun.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.replay import Difference, Playback, Row
    from saferun.replay.outline import Wanted
    from saferun.store.index import Index

LOOK = 0.25
"""Seconds between two looks at the size of the terminal, and at a run that is played."""

EVERY = 0.5
"""Seconds between two looks at the ledger."""

LISTED = 5
"""Frames in the list above the one that is looked at."""

_KEYS = "j k step", "n e ] jump", "l h in, out", "/ find", "g go", "f follow", "? help", "q leave"
"""What the last line says of keys; where it is too long, the first two and the last two."""


def step(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    frame: Annotated[
        int, typer.Option("--frame", metavar="N", min=1, help="The frame to begin with.")
    ] = 1,
    follow: Annotated[bool, typer.Option("--follow", help="Follow a run that goes on.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Step through one run by keys, of which ? tells all."""
    from saferun.replay import Playback

    with history_of(store, archive) as (reader, index):
        vouching(reader)
        playback = Playback(index, named(index, run), opens=True)
        if as_json:
            for number in range(frame, len(playback.outline) + 1):
                document(plain(playback.frame(number)))
            return 0
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise CannotError(
                "run step needs a terminal; run show has the same on paper, and --json for "
                "programs."
            )
        at = min(frame, max(len(playback.outline), 1))
        state = State(at=at, known=len(playback.outline))
        if follow:
            state = pressed(state, "f", _Frames(playback))
        _Shell(index, playback, state).loop()
    return 0


class _Frames:
    """The run as the keys see it."""

    def __init__(self, playback: "Playback") -> None:
        self._playback = playback

    def __len__(self) -> int:
        return len(self._playback.outline)

    def next(self, number: int, wanted: "Wanted", *, forward: bool = True) -> int | None:
        return self._playback.next(number, wanted, forward=forward)

    def within(self, number: int, wanted: "Wanted") -> str:
        from saferun.replay import has

        some = self._playback.branches.at.get(number)
        if some is None or self._playback.outline.row(number).has(wanted) or not has(some, wanted):
            return ""
        return f"in {counted(some.runs, 'run')} that began here; l goes in"

    def find(self, text: str, number: int) -> int | None:
        try:
            return self._playback.find(text, number)
        except StoreError as problem:
            raise ValueError(str(problem)) from None


class _Shell:
    """Between the keys of a terminal and its screen."""

    def __init__(self, index: "Index", playback: "Playback", state: State) -> None:
        self._index, self._playback, self._state = index, playback, state
        self._frames = _Frames(playback)
        self._size = (0, 0)
        self._looked = time.monotonic()
        self._head = index.reader.head().size
        self._beside: tuple[str, Playback, Difference] | None = None
        self._came_from: list[tuple[str, int]] = []

    def loop(self) -> None:
        with _raw(self._blank), contextlib.suppress(KeyboardInterrupt):
            while not self._state.leaves:
                self._draw()
                self._wait()

    def _blank(self) -> None:
        """Nothing is on the screen any more: as with another size, it is drawn anew."""
        # No terminal has that, and one that does not know its size has (0, 0).
        self._size = (-1, -1)

    def _wait(self) -> None:
        """Until there is something else to show."""
        before = self._state
        while self._state is before and os.get_terminal_size() == self._size:
            ready, _, _ = select.select([sys.stdin.fileno()], [], [], LOOK)
            if ready:
                data = os.read(sys.stdin.fileno(), 4096)
                if not data:
                    raise KeyboardInterrupt
                for key in keys(data.decode("utf-8", "ignore")):
                    self._state = pressed(self._state, key, self._frames)
                    if self._state.turn:
                        self._state = self._turned(self._state)
                return
            self._state = ticked(self._state, self._frames)
            if self._came():
                self._state = grown(self._state, self._frames)
                return

    def _turned(self, state: State) -> State:
        """Into the run that began at this frame, or out to the one that this one is within."""
        inward, state = state.turn == "in", msgspec.structs.replace(state, turn="")
        if inward:
            # What a run without frames has begun stands at none.
            at = state.at if len(self._playback.outline) else 0
            run = self._playback.branches.inward(at)
            if run is None:
                return msgspec.structs.replace(state, says="no run began at this frame")
            self._came_from.append((self._playback.run_id, state.at))
            return self._open(run, 1)
        if self._came_from:
            return self._open(*self._came_from.pop())
        own = self._playback.synopsis
        if own is None or own.parent is None:
            return msgspec.structs.replace(state, says="this run is within no other")
        return self._open(own.parent, own.first, entry=True)

    def _open(self, run_id: str, at: int, *, entry: bool = False) -> State:
        """Step through another run, from a frame on or from the one at an `entry`."""
        from saferun.replay import Playback

        self._playback = Playback(self._index, run_id, opens=True)
        self._frames, self._beside = _Frames(self._playback), None
        at = self._playback.number_at(at) if entry else at
        total = len(self._playback.outline)
        return State(at=min(max(at, 1), max(total, 1)), known=total)

    def _came(self) -> bool:
        """Whether the run has moved since."""
        if time.monotonic() - self._looked < EVERY:
            return False
        self._looked = time.monotonic()
        size = self._index.reader.head().size
        if size == self._head:
            return False
        self._head = size
        self._index.build()
        before = self._playback.outline.size, self._playback.branches.at
        self._playback.refresh()
        return (self._playback.outline.size, self._playback.branches.at) != before

    def _draw(self) -> None:
        self._size = os.get_terminal_size()
        width, height = max(self._size.columns, 20), max(self._size.lines, 6)
        console = screen()
        console.width = min(width, WIDEST)
        shown = self._help() if self._state.helps else self._frame(console, height)
        with console.capture() as captured:
            for line in shown[:height]:
                line.truncate(console.width, overflow="ellipsis")
                console.print(line, no_wrap=True, overflow="ignore", crop=False)
        drawn = captured.get().rstrip("\n").split("\n")
        # Line by line over what stands there, so that nothing flickers.
        sys.stdout.write("\x1b[H" + "\x1b[K\r\n".join(drawn) + "\x1b[K\x1b[J")
        sys.stdout.flush()

    def _help(self) -> "list[Text]":
        from rich.text import Text

        return [
            Text("Keys", "bold"),
            Text(),
            *(Text(f"  {key:10} {what}") for key, what in HELP),
            Text(),
            Text("Any key goes back.", "dim"),
        ]

    def _frame(self, console: "Console", height: int) -> "list[Text]":
        from rich.text import Text

        state, outline = self._state, self._playback.outline
        top = [self._title(console.width), *self._list(console.width)]
        room = max(height - len(top) - 2, 1)
        if not len(outline):
            begun = self._playback.branches.below.runs
            said = f"; l goes into {counted(begun, 'run')} within it" if begun else ""
            body = [Text(f"This run has no frames so far{said}.", "dim")]
        else:
            seen = self._playback.frame(min(state.at, len(outline)))
            body = list(closeup.lines(console, self._playback, seen))
            if state.other:
                body += [Text(), *self._held_beside(state.other)]
        most = max(len(body) - room, 0)
        first = min(state.scroll, most)
        part = body[first : first + room]
        part += [Text()] * (room - len(part))
        more = Text(f"  … {most - first} more lines, J shows them" if most > first else "", "dim")
        return [*top, *part, more, self._foot()]

    def _title(self, width: int) -> "Text":
        from rich.text import Text

        state, total = self._state, len(self._playback.outline)
        above = [inert(each.run, 20) for each in reversed(self._playback.above[:2])]
        left = Text.assemble(
            ("run ", "bold"),
            ("".join(f"{each} / " for each in above), "dim"),
            (inert(self._playback.run_id, 40), "bold"),
        )
        how = "● live" if state.follows else "▶ playing" if state.plays else ""
        new = total - state.known
        if new > 0 and not state.follows:
            how = f"+{new:,} new"
        right = f"{how}  {min(state.at, total):,} / {total:,}".strip()
        left.truncate(max(width - len(right) - 1, 1), overflow="ellipsis", pad=True)
        return left.append(" ").append(right)

    def _list(self, width: int) -> "Iterator[Text]":
        from rich.text import Text

        outline, at = self._playback.outline, self._state.at
        first = min(max(at - LISTED // 2, 1), max(len(outline) - LISTED + 1, 1))
        for number in range(first, first + LISTED):
            if number > len(outline):
                yield Text()
                continue
            row = outline.row(number)
            mark = styled(row.mark)
            what = Text.assemble(
                ("▸" if number == at else " ", "bold"),
                (f"{number:>6,} ", "dim"),
                (f"{mark.icon} ", mark.style),
                (inert(row.tool or row.kind, 40), "bold" if number == at else ""),
                (f"  {_word(row, mark)}", mark.style),
            )
            some = self._playback.branches.at.get(number)
            if some is not None:
                what.append(f"  {WITHIN.icon} {some.runs:,}", WITHIN.style)
                what.append(f" {DENIED.icon} {some.denied:,}" if some.denied else "", DENIED.style)
            took = span(row.latency) if row.latency else ""
            what.truncate(max(width - len(took) - 1, 1), overflow="ellipsis", pad=True)
            yield what.append(" ").append(took, "dim")
        yield Text("─" * width, "dim")

    def _foot(self) -> "Text":
        from rich.text import Text

        state = self._state
        if state.asking:
            what = {"/": "find: ", "g": "go to frame: ", "d": "beside run: "}[state.asking]
            return Text.assemble((what, "bold"), inert(state.line), ("▏", "bold"))
        if state.says:
            return Text(inert(state.says), "yellow")
        keys = " · ".join(_KEYS)
        if len(keys) > min(self._size[0], WIDEST):
            keys = " · ".join((*_KEYS[:2], *_KEYS[-2:]))
        return Text(keys, "dim")

    def _held_beside(self, other: str) -> "Iterator[Text]":
        from rich.text import Text

        from saferun.replay import Playback, difference

        if self._beside is None or self._beside[0] != other:
            try:
                with_it = Playback(self._index, named(self._index, other), opens=True)
            except CannotError as problem:
                yield Text(inert(str(problem)), "yellow")
                return
            found = difference(self._playback.outline, with_it.outline)
            self._beside = (other, with_it, found)
        _, with_it, found = self._beside
        pair = next((each for each in found.pairs if each.one == self._state.at), None)
        if pair is None:
            yield Text("This frame is newer than the comparison.", "dim")
            return
        where = "nothing there" if pair.other is None else f"frame {pair.other}"
        same = ", which is the same" if pair.same else ""
        yield Text(f"beside run {inert(with_it.run_id, 36)}: {where}{same}", "bold")
        if not pair.same:
            yield from parted(pair, self._playback, with_it)


def _word(row: "Row", mark: Mark) -> str:
    words = [mark.word] if row.kind == "call" or row.changed else []
    if row.status not in (None, "ok"):
        words.append(str(row.status))
    if row.near:
        words.append("near miss")
    return ", ".join(words)


@contextlib.contextmanager
def _raw(again: Callable[[], None]) -> Iterator[None]:
    """The terminal key by key and without echo, on a screen of its own; then as it was.

    It is given back as well to whoever ends this by a signal, and for as long as it is stopped
    (Ctrl-Z). `again` is called once it goes on, with nothing on the screen.
    """
    import termios
    import tty

    fd, out = sys.stdin.fileno(), sys.stdout.fileno()
    before = termios.tcgetattr(fd)

    # Past the buffer of stdout: a signal may come while that is being written.
    def taken() -> None:
        tty.setcbreak(fd)
        os.write(out, b"\x1b[?1049h\x1b[?25l\x1b[2J")

    def given_back() -> None:
        try:
            os.write(out, b"\x1b[?25h\x1b[?1049l")
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
        except (OSError, termios.error):
            pass  # The terminal has gone away, and takes its screen along.

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def stop(number: int, _: FrameType | None) -> None:
        given_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, stop)
        taken()
        again()

    heard = {signal.SIGTERM: leave, signal.SIGHUP: leave, signal.SIGTSTP: stop}
    handlers = {each: signal.signal(each, handler) for each, handler in heard.items()}
    try:
        taken()
        yield
    finally:
        given_back()
        for each, handler in handlers.items():
            signal.signal(each, handler)
