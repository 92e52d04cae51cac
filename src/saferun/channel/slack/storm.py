"""What is done when many ask at once: one message that says how many, and where they are.

Slack takes a message a second. A thousand cards would take longer than the questions stand, so
where several wait for their turn already, a further request has no card of its own.
"""

import threading
import time
from collections.abc import Callable, Mapping

from saferun.channel import storm
from saferun.channel.slack.aside import Aside
from saferun.channel.slack.card import Card, digest
from saferun.channel.slack.front import Front
from saferun.channel.slack.line import GONE, Line, SlackError

MANY = 5
"""Cards that wait for their turn; what comes then goes into the digest."""

LISTED = 10
"""Requests that the digest lists; the inbox has them all."""

Where = tuple[str, str]


class Storm:
    """The digest message of one channel. Thread-safe."""

    def __init__(
        self,
        line: Line,
        aside: Aside,
        mentions: Callable[[frozenset[str]], Mapping[str, str]],
        url: str | None,
    ) -> None:
        self._line = line
        self._aside = aside
        self._mentions = mentions
        self._url = url
        self._posting = threading.Lock()
        self._where: Where | None = None
        self._told = storm.Told()
        self._changing = threading.Lock()
        self._due: dict[Where, frozenset[str]] = {}

    def tell(self, names: frozenset[str], desk: Front) -> tuple[Where, frozenset[str]]:
        """Have people know that there is one more; where they are told, and who.

        Raises SlackError where nobody could be, and StoreError.
        """
        with self._posting:
            anew = self._told.anew(names, time.monotonic())
            if self._where is None or anew is not None:
                anew = names if anew is None else anew
                with self._line.turn():
                    self._where = self._line.post(self._message(anew, desk))
                self._told = storm.Told(anew, time.monotonic())
            where, known = self._where, self._told.names
        self.refresh(where, known, desk)
        return where, known

    def refresh(self, where: Where, names: frozenset[str], desk: Front) -> None:
        """Have a message say how many wait now, soon. Several such wishes are one change."""
        with self._changing:
            first = where not in self._due
            self._due[where] = names
        if first:
            self._aside.do(lambda: self._change(where, desk))

    def _change(self, where: Where, desk: Front) -> None:
        # What is told in its turn is how it stands then.
        with self._line.turn_to_change():
            with self._changing:
                names = self._due.pop(where)
            try:
                self._line.change(where, self._message(names, desk))
            except SlackError as problem:
                if problem.code not in GONE:
                    raise

    def _message(self, names: frozenset[str], desk: Front) -> Card:
        waiting = storm.digest(storm.waiting(desk.open(), "slack"), LISTED)
        return digest(waiting, names=names, mentions=self._mentions(names), url=self._url)
