"""`saferun run show`: one run frame by frame, or one frame of it with all that there is to say."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from saferun.cli.history import ArchiveOption
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.run import closeup
from saferun.cli.run.page import Page
from saferun.cli.run.short import in_full
from saferun.cli.run.told import elsewhere, history_of, named, read_back, say_where, turns, vouching
from saferun.cli.screen import document, put, screen

if TYPE_CHECKING:
    from saferun.replay import Closeup
    from saferun.store.index import Index


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    frame: Annotated[
        int | None,
        typer.Option("--frame", metavar="N", min=1, help="This frame alone, looked at closely."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Cut nothing.")] = False,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show one run frame by frame: what was said, decided and done."""
    with history_of(store, archive) as (_, index):
        run_id = named(index, run)
        if frame is not None:
            return _one(index, run_id, frame, full=full, as_json=as_json)
        told = read_back(index, run_id, whole=full, opened=True)
        if told.lacking is not None and not told.story.frames:
            raise CannotError(f"Run {run_id!r} lies in an archive{elsewhere(index)}.")
        if as_json:
            document(in_full(told))
        else:
            told.turns = turns(index, told.story)
            Page(screen(), told, full=full).print()
        lacking = told.lacking is not None and not told.archived
        say_where(screen(stderr=as_json), index, told.archived, lacking)
    return 0


def _one(index: "Index", run_id: str, number: int, *, full: bool, as_json: bool) -> int:
    """One frame, which is all that is read of the run."""
    from saferun.replay import Playback

    vouching(index.reader)
    playback = Playback(index, run_id, opens=True)
    try:
        seen = playback.frame(number)
    except IndexError as problem:
        raise CannotError(str(problem)) from None
    if as_json:
        document({**plain(seen), "given": msgspec.to_builtins(playback.given(seen.frame))})
    else:
        put(console := screen(), closeup.lines(console, playback, seen, full=full))
    return 0


def plain(seen: "Closeup") -> dict[str, Any]:
    """A frame for programs."""
    return {
        **msgspec.to_builtins(seen.frame),
        **{
            key: msgspec.to_builtins(getattr(seen, key))
            for key in seen.__struct_fields__
            if key != "frame"
        },
        "standing": seen.standing,
    }
