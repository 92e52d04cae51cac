"""What comes in from outside and is no answer: noted in the ledger, and not without end."""

import threading
import time
from collections import deque

from saferun.channel.ticket import Desk

MOST = 20
"""Entries a minute, for each channel of a process. Anybody can send anything, as often as they
like, and the ledger is kept for good."""

_MINUTE = 60.0


class Refusals:
    """Those of one channel."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._last: deque[float] = deque(maxlen=MOST)

    def note(self, desk: Desk, why: str) -> None:
        """Have the ledger know of one. Raises StoreError where it cannot."""
        now = time.monotonic()
        with self._lock:
            if len(self._last) == MOST and now - self._last[0] < _MINUTE:
                return
            self._last.append(now)
        desk.refused(self._channel, why)
