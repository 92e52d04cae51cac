"""A run as one page, with a preview of what goes out in it: `saferun run export --html`."""

import secrets
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING

from saferun import files
from saferun.approval.inert import inert
from saferun.call import size
from saferun.cli.options import CannotError, near
from saferun.cli.run import preview
from saferun.cli.run.told import history_of, named, vouching
from saferun.cli.screen import ALLOWED, counted, document, facts, progress, put, screen

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.audience import Audience, Showing
    from saferun.replay import Playback


def export(
    run: str,
    file: Path | None,
    audience: "Audience",
    *,
    opens: bool,
    yes: bool,
    archive: Path | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Write a run to a page, or only say what would go out where there is no `file`."""
    from saferun.audience import Showing
    from saferun.replay import Playback
    from saferun.store.own import spare

    with history_of(store, archive) as (reader, index):
        vouching(reader)
        if file is not None:
            spare(reader.path, file)
        play = Playback(index, named(index, run), opens=opens)
        if not len(play.outline):
            raise CannotError(f"Run {inert(play.run_id, 80)} has no frames so far.")
        showing = Showing(audience, secrets.token_bytes(32))
        made = None if file is None else _made(play, showing)
        if made is None:
            _looked_through(play, showing)
    if not as_json:
        frames = counted(len(play.outline), "frame")
        opened = [("!", "Sensitive values are opened, as far as their keys are here.")]
        of = f"run {inert(play.run_id, 60)}, {frames}"
        preview.preview(showing, of, opened if opens else ())
    if file is not None and made is not None:
        over = f", in place of what is in {inert(near(file))}" if file.exists() else ""
        asks = preview.asks(yes=yes, as_json=as_json)
        if asks and not preview.agreed(f"Write {size(len(made))}{over}?"):
            return 1
        try:
            files.put(file, made)
        except OSError as problem:
            raise CannotError(f"{file} cannot be written: {problem.strerror}.") from None
    if as_json:
        document(_told(play, showing, file, made, opens=opens))
    elif file is not None and made is not None:
        _written(screen(), file, made)
    return 0


def _made(play: "Playback", showing: "Showing") -> bytes:
    try:
        from saferun.console import carried
    except ModuleNotFoundError as problem:
        raise CannotError(
            f"A page is made by the console, and {problem.name} is not installed: "
            "pip install 'saferun-sdk[console]'."
        ) from None
    with progress("making the page", len(play.outline)) as done:
        return carried.page(play, showing, time_ns() // 1000, done)


def _looked_through(play: "Playback", showing: "Showing") -> None:
    """Have everything counted that would go out."""
    from saferun.replay import shown

    shown.met(showing, play)
    shown.about(showing, play)
    with progress("looking through", len(play.outline)) as done:
        for number, _ in enumerate(shown.frames(showing, play), 1):
            done(number)


def _written(console: "Console", file: Path, made: bytes) -> None:
    from rich.text import Text

    said = f"{size(len(made))} in {inert(near(file))}"
    put(console, [Text(), Text.assemble((f"{ALLOWED.icon} ", ALLOWED.style), said)])
    facts(
        console,
        ("it proves", "nothing: whoever has it can change it"),
        ("to check", "saferun ledger prove NUMBER, for the entry of a frame"),
    )


def _told(
    play: "Playback", showing: "Showing", file: Path | None, made: bytes | None, *, opens: bool
) -> dict[str, object]:
    return {
        "run": play.run_id,
        "for": showing.audience.name,
        "frames": len(play.outline),
        "sealed": opens,
        "file": None if file is None else str(file),
        "bytes": None if made is None else len(made),
        "fields": preview.counted_fields(showing),
    }
