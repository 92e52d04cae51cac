"""Who says yes: what people are asked, who may answer, and what an answer is worth.

Pure: the store moves requests from one state to the next, and channels bring them to people.
"""

from saferun.approval.channel import Answered, Channel, Desk, UnfinishedError
from saferun.approval.grant import MAX_GRANT, Grant, Permit
from saferun.approval.inert import inert
from saferun.approval.known import Known
from saferun.approval.people import People, Tally, tally
from saferun.approval.question import ANYBODY, Because, Edited, Question, Request, State, Vote
from saferun.approval.shown import kind, others, spelled, story
from saferun.approval.state import (
    ANSWERED_BY_OTHERS,
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
    "ANSWERED_BY_OTHERS",
    "ANYBODY",
    "GLASS_BY",
    "MAX_GRANT",
    "NOES",
    "REFUSED_BEFORE",
    "RESUME_BY",
    "START_BY",
    "Answered",
    "Because",
    "Channel",
    "Desk",
    "Edited",
    "Grant",
    "Known",
    "People",
    "Permit",
    "Question",
    "Request",
    "State",
    "Tally",
    "UnfinishedError",
    "Vote",
    "answered",
    "inert",
    "kind",
    "others",
    "refusal",
    "spelled",
    "standing",
    "story",
    "tally",
]
