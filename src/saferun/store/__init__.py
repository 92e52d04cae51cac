"""Where decisions become durable: the only place with SQL."""

from saferun.store.reading import Group, Health, Reader, checkpoint, index
from saferun.store.store import Store
from saferun.store.trails import Followed, Trails, write_echo, write_sign
from saferun.store.versions import (
    Assign,
    Enrol,
    Pin,
    Pinned,
    Version,
    Vouch,
    WrongSecretError,
)
from saferun.store.work import (
    Admit,
    Admitted,
    Answer,
    Append,
    Blob,
    Fared,
    Import,
    Look,
    Opening,
    PastOf,
    Request,
    Settle,
    Turn,
    Watched,
)

__all__ = [
    "Admit",
    "Admitted",
    "Answer",
    "Append",
    "Assign",
    "Blob",
    "Enrol",
    "Fared",
    "Followed",
    "Group",
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
    "Trails",
    "Turn",
    "Version",
    "Vouch",
    "Watched",
    "WrongSecretError",
    "checkpoint",
    "index",
    "write_echo",
    "write_sign",
]
