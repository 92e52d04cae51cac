"""Rules and limits that would have stopped a call, made from it and from what others were like.

Pure. None of them knows what it would do to the rest of history: that is for whoever tries them.
"""

from saferun.policy.suggest.candidate import KINDS, Answer, Candidate, Kind, Seen
from saferun.policy.suggest.pace import Calls, Pace, paces
from saferun.policy.suggest.propose import propose

__all__ = [
    "KINDS",
    "Answer",
    "Calls",
    "Candidate",
    "Kind",
    "Pace",
    "Seen",
    "paces",
    "propose",
]
