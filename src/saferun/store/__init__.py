"""Where decisions become durable: the only place with SQL."""

from saferun.store.anchors import Anchored, keep_anchored
from saferun.store.controls import Group
from saferun.store.reading import Reader
from saferun.store.signing import Ledger, checkpoint
from saferun.store.sizes import Extent, Health
from saferun.store.store import Store
from saferun.store.trails import Followed, Trails, write_echo, write_sign
from saferun.store.unsettled import Loose
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
    BY_CHECK,
    Admit,
    Admitted,
    Answer,
    Append,
    Blob,
    Cleared,
    Fared,
    FindOut,
    Import,
    Known,
    Look,
    Opening,
    PastOf,
    Request,
    Seal,
    Settle,
    Turn,
    Watched,
)

__all__ = [
    "BY_CHECK",
    "Admit",
    "Admitted",
    "Anchored",
    "Answer",
    "Append",
    "Assign",
    "Blob",
    "Cleared",
    "Enrol",
    "Extent",
    "Fared",
    "FindOut",
    "Followed",
    "Group",
    "Health",
    "Import",
    "Known",
    "Ledger",
    "Look",
    "Loose",
    "Opening",
    "PastOf",
    "Pin",
    "Pinned",
    "Reader",
    "Request",
    "Seal",
    "Settle",
    "Store",
    "Trails",
    "Turn",
    "Version",
    "Vouch",
    "Watched",
    "WrongSecretError",
    "checkpoint",
    "keep_anchored",
    "write_echo",
    "write_sign",
]
