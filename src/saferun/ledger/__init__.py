"""The tamper-evident action log: entries as bytes, their tree, checkpoints, verification.

Pure: keys, time and bytes come in as arguments, and nothing here reads a clock or a disk.
The order of work, which the store keeps:

1. `encode` what happened, where there is time; `seal` it with its number under the lock;
2. append its `leaf_hash` to the `Frontier`, and commit entry and frontier together;
3. once they are on disk, and only then, `sign_checkpoint` the frontier's root;
4. `verify` it all, against a checkpoint that was kept elsewhere.

`docs/ledger-format.md` has the format for whoever wants to verify without this code.
"""

from saferun.ledger.blob import MAX_INLINE, blob_hash, placeholder
from saferun.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from saferun.ledger.entry import MAX_REST, Entry, EntryError, Parsed, encode, parse, read, seal
from saferun.ledger.kind import (
    FORMAT,
    AnyEntry,
    ApprovalEntry,
    CallEntry,
    ControlEntry,
    ControlEvent,
    DecisionEntry,
    Kind,
    LedgerEntry,
    ModelEntry,
    Other,
    OutcomeEntry,
    PolicyAct,
    PolicyEntry,
    RecoveryEntry,
    RunEntry,
    UserEntry,
)
from saferun.ledger.note import NoteError, Signer, Verifier, open_note, sign
from saferun.ledger.tree import Frontier, TreeError, leaf_hash
from saferun.ledger.verify import Blobs, Head, Problem, Report, Row, verify

__all__ = [
    "FORMAT",
    "MAX_INLINE",
    "MAX_REST",
    "AnyEntry",
    "ApprovalEntry",
    "Blobs",
    "CallEntry",
    "Checkpoint",
    "ControlEntry",
    "ControlEvent",
    "DecisionEntry",
    "Entry",
    "EntryError",
    "Frontier",
    "Head",
    "Kind",
    "LedgerEntry",
    "ModelEntry",
    "NoteError",
    "Other",
    "OutcomeEntry",
    "Parsed",
    "PolicyAct",
    "PolicyEntry",
    "Problem",
    "RecoveryEntry",
    "Report",
    "Row",
    "RunEntry",
    "Signer",
    "TreeError",
    "UserEntry",
    "Verifier",
    "blob_hash",
    "encode",
    "leaf_hash",
    "open_checkpoint",
    "open_note",
    "parse",
    "placeholder",
    "read",
    "seal",
    "sign",
    "sign_checkpoint",
    "verify",
]
