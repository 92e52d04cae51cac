"""What the gate has the store do, each in one transaction.

Everything that can be prepared is prepared before the lock: entries are encoded but for
their number and time, keys are digested. Under the lock stand only the reads that must be
exact and the decision that follows from them, which `saferun.admission` makes.
"""

from saferun.store.work.admit import Admit, Admitted, Recorded, Watched, run_of
from saferun.store.work.append import Append, Blob, Import, Opening, Seal
from saferun.store.work.ask import Answer, Ask, Lapse
from saferun.store.work.find_out import BY_CHECK, Cleared, FindOut, Known
from saferun.store.work.label import Label, NoCallError
from saferun.store.work.look import PastOf
from saferun.store.work.pace import Fit, Wait
from saferun.store.work.recover import Recover
from saferun.store.work.refusal import Note
from saferun.store.work.settle import Fared, Settle
from saferun.store.work.succeed import Restart, Rotate
from saferun.store.work.ticket import Issue, Present, Sent, Ticket
from saferun.store.work.turn import Turn
from saferun.store.work.vote import (
    Cast,
    Claim,
    Delivered,
    Delivery,
    Edit,
    Escalate,
    Once,
    Revoke,
    Revoked,
    Voted,
)

__all__ = [
    "BY_CHECK",
    "Admit",
    "Admitted",
    "Answer",
    "Append",
    "Ask",
    "Blob",
    "Cast",
    "Claim",
    "Cleared",
    "Delivered",
    "Delivery",
    "Edit",
    "Escalate",
    "Fared",
    "FindOut",
    "Fit",
    "Import",
    "Issue",
    "Known",
    "Label",
    "Lapse",
    "NoCallError",
    "Note",
    "Once",
    "Opening",
    "PastOf",
    "Present",
    "Recorded",
    "Recover",
    "Restart",
    "Revoke",
    "Revoked",
    "Rotate",
    "Seal",
    "Sent",
    "Settle",
    "Ticket",
    "Turn",
    "Voted",
    "Wait",
    "Watched",
    "run_of",
]
