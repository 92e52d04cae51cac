"""How fast Slack may be spoken to: by turns, that come one after the other."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

POSTS = 1.0
"""Seconds from one message to the next in a channel: Slack takes one a second."""

CHANGES = 1.25
"""Seconds from one change of a message to the next: Slack takes 50 a minute or more."""


class Pace:
    """Turns, `every` so many seconds, of which `burst` may come at once. Thread-safe.

    A turn lasts as long as what is done in it, and the time to the next one begins at its end:
    so it keeps its distance for Slack too, however long each takes on its way.
    """

    def __init__(self, every: float, burst: int = 1) -> None:
        self._every = every
        self._burst = burst
        self._lock = threading.Lock()
        self._one = threading.Lock()
        self._next = 0.0
        self._waiting = 0

    @contextmanager
    def turn(self, most: int | None = None) -> Iterator[bool]:
        """Wait for a turn and have it; False, at once, where `most` others wait already."""
        with self._lock:
            full = most is not None and self._waiting >= most
            self._waiting += not full
        if full:
            yield False
            return
        try:
            self._one.acquire()
            self._until_next()
        finally:
            with self._lock:
                self._waiting -= 1
        try:
            yield True
        finally:
            with self._lock:
                # Turns that nobody has taken are kept, but never more than a burst of them.
                kept = time.monotonic() - self._every * (self._burst - 1)
                self._next = max(self._next, kept) + self._every
            self._one.release()

    def hold(self, seconds: float) -> None:
        """Give no turn for so long: Slack has said that it is too much."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _until_next(self) -> None:
        while True:
            with self._lock:
                left = self._next - time.monotonic()
            if left <= 0:
                return
            time.sleep(left)
