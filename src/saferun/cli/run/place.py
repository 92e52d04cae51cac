"""A frame as the command line names it: `RUN#FRAME`."""

from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from saferun.cli.options import CannotError
from saferun.cli.run.told import named

if TYPE_CHECKING:
    from saferun.replay import Playback
    from saferun.store.index import Index

FrameArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RUN#FRAME", help="A run's id, or its beginning, and the number of a frame in it."
    ),
]


class Place(NamedTuple):
    """A run with the number of one of its frames."""

    playback: "Playback"
    number: int

    def __str__(self) -> str:
        return f"{self.playback.run_id}#{self.number}"


def place_of(index: "Index", given: str, *, opens: bool = False) -> Place:
    """The frame that is meant, which has to be a call. Raises CannotError."""
    from saferun.replay import Playback

    run, hash_, frame = given.rpartition("#")
    if not (run and hash_ and frame.isascii() and frame.isdecimal() and len(frame) < 10):
        raise CannotError(f"{given!r} is not of the form RUN#FRAME, as in r-17#4.")
    playback, number = Playback(index, named(index, run), opens=opens), int(frame)
    if not 1 <= number <= len(playback.outline):
        many = len(playback.outline)
        raise CannotError(f"There is no frame {number}; run {playback.run_id} has {many:,}.")
    if playback.outline.row(number).kind != "call":
        raise CannotError(f"Frame {number} is no call; `saferun run show` says which are.")
    return Place(playback, number)
