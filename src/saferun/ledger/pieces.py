"""Which entries were archived: their numbers, which lie together but for what was left there."""

from bisect import bisect_right

from saferun.ledger.report import Wrong

MAX_PIECES = 10_000
"""The most pieces that archived entries may lie in. They are one, but for what is left there."""


class Pieces:
    """The numbers of entries that lie together, as pairs of the first and the one after the last.

    They come in ascending order.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []
        self._stop: list[int] = []

    def add(self, seq: int) -> None:
        self.count += 1
        if self._stop and self._stop[-1] == seq:
            self._stop[-1] = seq + 1
            return
        if len(self._first) == MAX_PIECES:
            raise Wrong(seq, f"Entry {seq} is empty, and lies apart from what was archived.")
        self._first.append(seq)
        self._stop.append(seq + 1)

    def covers(self, seq: int) -> bool:
        at = bisect_right(self._first, seq) - 1
        return at >= 0 and seq < self._stop[at]

    def beyond(self, size: int) -> int | None:
        """The first of them that is not below `size`."""
        at = bisect_right(self._stop, size)
        return max(self._first[at], size) if at < len(self._first) else None
