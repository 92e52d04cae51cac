"""The tamper-evident action log: entries as bytes, their tree, checkpoints, verification.

Pure: keys, time and bytes come in as arguments, and nothing here reads a clock or a disk.
The order of work, which the store keeps:

1. `encode` what happened, where there is time; `seal` it with its number under the lock;
2. append its `leaf_hash` to the `Frontier`, and commit entry and frontier together;
3. once they are on disk, and only then, `sign_checkpoint` the frontier's root;
4. `verify` it all, against a checkpoint that was kept elsewhere; or prove one entry of it, or
   that it has only grown, to somebody who has only such a checkpoint (`receipt`, `proof`).

`docs/ledger-format.md` has the format for whoever wants to verify without this code.
"""

from saferun.ledger.archival import Archival, open_archival, sign_archival, stated_archival
from saferun.ledger.blob import MAX_INLINE, blob_hash, placeholder
from saferun.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from saferun.ledger.commitment import (
    ERASED,
    LOST,
    Opening,
    Openings,
    commit,
    filled,
    opened,
    opens,
    sealed,
)
from saferun.ledger.cosignature import (
    Cosignature,
    Quorum,
    Witness,
    cosignatures,
    cosigned,
    quorum,
)
from saferun.ledger.entry import (
    MAX_REST,
    Entry,
    EntryError,
    Parsed,
    encode,
    parse,
    read,
    seal,
    stamp,
)
from saferun.ledger.examination import Head, Known, Since
from saferun.ledger.kind import (
    FORMAT,
    AnyEntry,
    ApprovalEntry,
    ArchiveEntry,
    CallEntry,
    ControlEntry,
    ControlEvent,
    DecisionEntry,
    ErasureEntry,
    KeyEntry,
    Kind,
    LabelEntry,
    LedgerEntry,
    Mark,
    ModelEntry,
    Other,
    OutcomeEntry,
    PolicyAct,
    PolicyEntry,
    RecoveryEntry,
    RestartEntry,
    RunEntry,
    Unkept,
    UserEntry,
)
from saferun.ledger.note import NoteError, Signer, Signs, Verifier, open_note, sign, vkey_of
from saferun.ledger.part import Part, examine_part
from saferun.ledger.report import Problem, Report
from saferun.ledger.rotation import open_rotation, rotation_text, sign_rotation
from saferun.ledger.row import Row
from saferun.ledger.succession import Kept, archived_by
from saferun.ledger.tree import Frontier, Nodes, TreeError, leaf_hash
from saferun.ledger.values import Blobs
from saferun.ledger.verify import verify, verify_parts

__all__ = [
    "ERASED",
    "FORMAT",
    "LOST",
    "MAX_INLINE",
    "MAX_REST",
    "AnyEntry",
    "ApprovalEntry",
    "Archival",
    "ArchiveEntry",
    "Blobs",
    "CallEntry",
    "Checkpoint",
    "ControlEntry",
    "ControlEvent",
    "Cosignature",
    "DecisionEntry",
    "Entry",
    "EntryError",
    "ErasureEntry",
    "Frontier",
    "Head",
    "Kept",
    "KeyEntry",
    "Kind",
    "Known",
    "LabelEntry",
    "LedgerEntry",
    "Mark",
    "ModelEntry",
    "Nodes",
    "NoteError",
    "Opening",
    "Openings",
    "Other",
    "OutcomeEntry",
    "Parsed",
    "Part",
    "PolicyAct",
    "PolicyEntry",
    "Problem",
    "Quorum",
    "RecoveryEntry",
    "Report",
    "RestartEntry",
    "Row",
    "RunEntry",
    "Signer",
    "Signs",
    "Since",
    "TreeError",
    "Unkept",
    "UserEntry",
    "Verifier",
    "Witness",
    "archived_by",
    "blob_hash",
    "commit",
    "cosignatures",
    "cosigned",
    "encode",
    "examine_part",
    "filled",
    "leaf_hash",
    "open_archival",
    "open_checkpoint",
    "open_note",
    "open_rotation",
    "opened",
    "opens",
    "parse",
    "placeholder",
    "quorum",
    "read",
    "rotation_text",
    "seal",
    "sealed",
    "sign",
    "sign_archival",
    "sign_checkpoint",
    "sign_rotation",
    "stamp",
    "stated_archival",
    "verify",
    "verify_parts",
    "vkey_of",
]
