"""Anchoring: what takes checkpoints of the ledger outside, where its owner cannot rewrite them.

A checkpoint that lies beside the ledger proves nothing against whoever owns both. One round of
anchoring goes so:

1. the store signs a checkpoint over what is on disk, unless the ledger contradicts its last;
2. every place is offered it, all at the same time: a witness, which cosigns it after a proof
   that the ledger has only grown; a folder, which keeps a file for each; a command;
3. what each has answered is verified, and only then remembered in the store.

A place fails alone, and none of this is ever waited for by a call. A place that was not reached
is told apart from one that has seen something else than this ledger: the one is an outage, the
other is evidence.
"""

from saferun.anchor.evidence import Evidence, evidence
from saferun.anchor.place import AnchorError, Offered, Patience, Place, RefusedError
from saferun.anchor.places import places
from saferun.anchor.rounds import BusyError, Round, go_round
from saferun.anchor.schedule import Schedule, follow

__all__ = [
    "AnchorError",
    "BusyError",
    "Evidence",
    "Offered",
    "Patience",
    "Place",
    "RefusedError",
    "Round",
    "Schedule",
    "evidence",
    "follow",
    "go_round",
    "places",
]
