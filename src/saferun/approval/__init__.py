"""Who says yes: what people are asked, who may answer, and what an answer is worth.

Pure: the store moves requests from one state to the next, and channels bring them to people.
"""

from saferun.approval.channel import Answered, Channel, Desk
from saferun.approval.grant import MAX_GRANT, Grant
from saferun.approval.inert import inert
from saferun.approval.people import People, Tally, tally
from saferun.approval.question import ANYBODY, Edited, Question, Request, State, Vote
from saferun.approval.state import (
    GLASS_BY,
    NOES,
    REFUSED_BEFORE,
    RESUME_BY,
    START_BY,
    answered,
    refusal,
    standing,
)

__all__ = [
    "ANYBODY",
    "GLASS_BY",
    "MAX_GRANT",
    "NOES",
    "REFUSED_BEFORE",
    "RESUME_BY",
    "START_BY",
    "Answered",
    "Channel",
    "Desk",
    "Edited",
    "Grant",
    "People",
    "Question",
    "Request",
    "State",
    "Tally",
    "Vote",
    "answered",
    "inert",
    "refusal",
    "standing",
    "tally",
]
