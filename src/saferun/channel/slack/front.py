"""The desk of a store, as Slack needs it: it takes answers, and remembers callbacks."""

from typing import Protocol

from saferun.approval import Desk, People, Request
from saferun.store import Store


class Front(Desk, Protocol):
    """What answers come back to. Each may raise StoreError."""

    store: Store
    people: People

    def open(self) -> list[Request]:
        """Those that people have before them."""
        ...

    def refused(self, channel: str, why: str) -> None:
        """Have the ledger know of something from outside that was no answer at all."""
        ...
