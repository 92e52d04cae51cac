"""Recorded calls as people name them: by the frame of their run that they are."""

from saferun.replay.playback import Playback
from saferun.replay.suggest.effect import Example
from saferun.store.index import Index


class Frames:
    """The frames of one history, each looked up once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._numbers: dict[Example, int | None] = {}

    def number(self, example: Example) -> int | None:
        """Which frame of its run a call is; None where it has no run, or none that is kept."""
        if example.run_id is None:
            return None
        if example not in self._numbers:
            outline = Playback(self._index, example.run_id).outline
            self._numbers[example] = outline.number(example.seq)
        return self._numbers[example]

    def named(self, example: Example) -> str:
        """It as one types it, `RUN#FRAME`, or by its entry."""
        number = self.number(example)
        return f"entry {example.seq}" if number is None else f"{example.run_id}#{number}"
