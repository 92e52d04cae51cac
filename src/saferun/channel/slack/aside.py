"""What is done beside: Slack's own calls, which nobody who has clicked is made to wait for."""

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("saferun")

HANDS = 2
MOST = 200
"""Things to be done beside that wait at most. Further ones are left out, which is logged."""


class Aside:
    """Does things on threads of its own, which are daemons."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST)
        self._lock = threading.Lock()
        self._hands = 0

    def do(self, what: Callable[[], None]) -> None:
        """Do this, soon. What it raises is logged."""
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            log.warning("saferun is too busy to tell Slack something")
            return
        with self._lock:
            if self._hands < HANDS:
                self._hands += 1
                threading.Thread(target=self._work, name="saferun-slack", daemon=True).start()

    def close(self) -> None:
        """Take up nothing more."""
        with self._lock:
            for _ in range(self._hands):
                try:
                    self._waiting.put_nowait(None)
                except queue.Full:
                    return

    def _work(self) -> None:
        while (what := self._waiting.get()) is not None:
            try:
                what()
            except Exception as problem:  # noqa: BLE001 - nobody waits for it who could be told
                log.warning("saferun could not tell Slack something: %s", problem)
        with self._lock:
            self._hands -= 1
