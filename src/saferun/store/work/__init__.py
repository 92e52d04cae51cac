"""What the gate has the store do, each in one transaction.

Everything that can be prepared is prepared before the lock: entries are encoded but for
their number and time, keys are digested. Under the lock stand only the reads that must be
exact and the decision that follows from them, which `saferun.admission` makes.
"""

from saferun.store.work.admit import Admit, Admitted, Watched, run_of
from saferun.store.work.answer import Answer, Request
from saferun.store.work.append import Append, Blob, Import, Opening
from saferun.store.work.look import Look, PastOf
from saferun.store.work.recover import Recover
from saferun.store.work.settle import Fared, Settle
from saferun.store.work.turn import Turn

__all__ = [
    "Admit",
    "Admitted",
    "Answer",
    "Append",
    "Blob",
    "Fared",
    "Import",
    "Look",
    "Opening",
    "PastOf",
    "Recover",
    "Request",
    "Settle",
    "Turn",
    "Watched",
    "run_of",
]
