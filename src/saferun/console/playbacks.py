"""The runs that people look at, kept open for whoever steps through them."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from saferun.console.before import History
from saferun.replay import Playback
from saferun.store import Reader
from saferun.store.index import Index

KEPT = 8
"""Runs that stay open though nobody looks at them just now."""

EVERY = 0.4
"""Seconds between two looks at a run that goes on, however many watch it."""


class _Open:
    """One run: its playback, for one thread at a time. `users` is under the lock of all."""

    def __init__(self, history: History, run_id: str) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.play: Playback | None = None
        self._history = history
        self._run_id = run_id
        self._stack = contextlib.ExitStack()
        self._looked = 0.0

    def brought_up(self, *, now: bool) -> Playback:
        """Its playback, with what has come since taken up: `now`, or as often as `EVERY`."""
        if self.play is None:
            reader = self._stack.enter_context(Reader(self._history.path))
            self._history.hold(reader)
            index = self._stack.enter_context(Index(reader))
            index.build()
            self.play = Playback(index, self._run_id)
        elif now or time.monotonic() - self._looked > EVERY:
            index = self.play.index
            if index.reader.head().size != index.size:
                index.build()
                self.play.refresh()
        else:
            return self.play
        self._looked = time.monotonic()
        return self.play

    def close(self) -> None:
        self._stack.close()


class Playbacks:
    """All of them, those of late kept open. Thread-safe."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._closed = False

    @contextlib.contextmanager
    def looking(self, run_id: str, *, now: bool = False) -> Iterator[Playback | None]:
        """A block that has a run to itself; None where there is none of that id.

        With `now` it is as of now, and may otherwise lag behind by `EVERY`.
        Raises StoreError, and IndexingError as long as the history is being indexed.
        """
        with self._lock:
            found = self._open.setdefault(run_id, _Open(self._history, run_id))
            self._open.move_to_end(run_id)
            found.users += 1
        play = None
        try:
            # Under its own lock: one that takes long to open is waited for by its own viewers.
            with found.lock:
                play = found.brought_up(now=now)
                yield play if _is_there(play) else None
        finally:
            for each in self._left(run_id, found, keep=play is not None and _is_there(play)):
                each.close()

    def close(self) -> None:
        """Let go of all that nobody looks at; the others are let go of by those who do."""
        with self._lock:
            self._closed = True
            spare = self._spare(0)
        for each in spare:
            each.close()

    def _left(self, run_id: str, found: _Open, *, keep: bool) -> list[_Open]:
        """Somebody looks at a run no longer. Gives what is to be closed by that."""
        with self._lock:
            found.users -= 1
            if not keep and not found.users:
                # There is none of that id, or it could not be opened.
                del self._open[run_id]
                return [found]
            return self._spare(0 if self._closed else KEPT)

    def _spare(self, most: int) -> list[_Open]:
        unused = [run_id for run_id, each in self._open.items() if not each.users]
        over = max(len(self._open) - most, 0)
        return [self._open.pop(run_id) for run_id in unused[:over]]


def _is_there(play: Playback) -> bool:
    """Whether there is such a run: one may have begun others, and done nothing itself."""
    return len(play.outline) > 0 or bool(play.branches.at)
