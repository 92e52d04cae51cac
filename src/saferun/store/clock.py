"""The time of a store: the host's, never before that of the newest entry, and never standing still.

Entries do not go back in time, whatever the host's clock does. Where that once was ahead and is
right again, the ledger's time would stand still until it has caught up: for a year, say, no
window would pass, no breaker would close and no question would expire. So while the host is
behind, time goes on from where the ledger is, at the pace of a clock that nobody sets.
"""

import logging
import time
from collections.abc import Callable

AHEAD = 60_000_000
"""Microseconds by which the ledger has to be ahead of the host before that is said aloud."""

log = logging.getLogger("saferun")


class Clock:
    """Microseconds since 1970, UTC. Thread-safe: what is remembered is replaced whole.

    Args:
        host: the host's clock, which may be set; the system's by default.
        steady: nanoseconds by a clock that only runs on. None, with a `host` of one's own, has
            time stand still while that is behind.

    """

    def __init__(
        self, host: Callable[[], int] | None = None, steady: Callable[[], int] | None = None
    ) -> None:
        self._host = host or _system
        self._steady = time.monotonic_ns if host is None else steady
        self._anchor: tuple[int, int] | None = None

    def now(self, newest: int) -> int:
        """The time by a ledger whose newest entry is of time `newest`."""
        host = self._host()
        if host >= newest:
            self._anchor = None
            return host
        if self._steady is None:
            return newest
        runs = self._steady() // 1000
        anchor = self._anchor
        if anchor is None or anchor[0] + runs - anchor[1] < newest:
            # Somebody else is further on, or this is where the host fell behind.
            if anchor is None and newest - host > AHEAD:
                log.warning(
                    "saferun: the newest entry is %d s ahead of this machine's clock; "
                    "time goes on from there",
                    (newest - host) // 1_000_000,
                )
            anchor = self._anchor = (newest, runs)
        return anchor[0] + runs - anchor[1]


def _system() -> int:
    return time.time_ns() // 1000
