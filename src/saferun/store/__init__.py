"""Where decisions become durable: the only place with SQL."""

from saferun.store.reading import Health, Reader, checkpoint, index
from saferun.store.store import Store
from saferun.store.work import (
    Admit,
    Admitted,
    Answer,
    Append,
    Blob,
    Look,
    Opening,
    Request,
    Settle,
)

__all__ = [
    "Admit",
    "Admitted",
    "Answer",
    "Append",
    "Blob",
    "Health",
    "Look",
    "Opening",
    "Reader",
    "Request",
    "Settle",
    "Store",
    "checkpoint",
    "index",
]
