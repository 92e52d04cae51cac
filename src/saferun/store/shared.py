"""The stores of this process: one of each URL, whoever asks for it."""

import os
import threading

from saferun.config import Config
from saferun.store.store import Store

_stores: dict[str, Store] = {}
_sharing = threading.Lock()


def _after_fork_in_child() -> None:
    # The thread that may have held it is the parent's.
    global _sharing  # noqa: PLW0603
    _sharing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def shared_store(url: str, settings: Config) -> Store:
    """The process's one store of that URL, opened at its first use."""
    with _sharing:
        store = _stores.get(url)
        if store is None or store.closed:
            store = Store(
                url,
                ledger=settings.ledger,
                durability=settings.durability,
                signing=settings.signing,
            )
            _stores[url] = store
        return store
