"""Where decisions become durable: the only place with SQL."""

from saferun.store.reading import Health, Reader, checkpoint, index
from saferun.store.store import Store
from saferun.store.versions import Assign, Enrol, Pin, Pinned, Version, Vouch
from saferun.store.work import (
    Admit,
    Admitted,
    Answer,
    Append,
    Blob,
    Import,
    Look,
    Opening,
    PastOf,
    Request,
    Settle,
)

__all__ = [
    "Admit",
    "Admitted",
    "Answer",
    "Append",
    "Assign",
    "Blob",
    "Enrol",
    "Health",
    "Import",
    "Look",
    "Opening",
    "PastOf",
    "Pin",
    "Pinned",
    "Reader",
    "Request",
    "Settle",
    "Store",
    "Version",
    "Vouch",
    "checkpoint",
    "index",
]
