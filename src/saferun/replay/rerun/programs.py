"""Which programs have made a record, where a call was left in one and resumed in another. Pure.

A call that waits for people can be left, and resumed by another process. What both did stands in
one run, and each entry says which life of a process (`boot`) has written it. So another program
begins with the request that it has resumed, and does all that its process wrote; everything else
is by the first. One that was resumed and told no has written nothing of that: it is the next
process that goes on with the run, after the first has ended it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from saferun.approval.state import refusal
from saferun.call import Reason
from saferun.replay.frames import Frame, RunStory

FIRST = ""
"""The program that has begun the run."""

_NO = ("rejected", "expired", "cancelled", "stale")


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Which program goes on from which request: by the `boot` of its process."""

    resumes: Mapping[str, str] = {}

    def of(self, boot: str | None) -> str:
        """The program of a process."""
        return boot if boot is not None and boot in self.resumes.values() else FIRST


def programs(stories: Iterable[RunStory]) -> Programs:
    """The programs that have made a run and its children."""
    told = list(stories)
    frames = sorted((each for one in told for each in one.frames), key=lambda each: each.seq)
    if not frames:
        return Programs()
    first = frames[0].boot
    asked = {_request(frame): frame for frame in frames if _request(frame) is not None}
    resumes: dict[str, str] = {}
    for request, frame in asked.items():
        boot = (frame.decision or {}).get("boot")
        if request is not None and boot is not None and boot not in (frame.boot, first):
            resumes[request] = boot
    for request, frame in asked.items():
        boot = _after_a_no(frame, frames, told, {first, *resumes.values()})
        if request is not None and boot is not None:
            resumes[request] = boot
    return Programs(resumes=resumes)


def no_to(approvals: Iterable[Mapping[str, Any]]) -> Reason | None:
    """Why a call that people were asked about does not run; None where they said no such thing."""
    ends = [each for each in approvals if each.get("event") in _NO]
    return refusal(ends[-1]["event"], ends[-1].get("reason")) if ends else None


def _request(frame: Frame) -> str | None:
    return (frame.decision or {}).get("approval") if frame.kind == "call" else None


def _after_a_no(
    frame: Frame, frames: list[Frame], told: list[RunStory], known: set[str | None]
) -> str | None:
    no = next((each["at"] for each in frame.approvals if each.get("event") in _NO), None)
    if no is None or (frame.decision or {}).get("verdict") != "ask":
        return None
    left = (end for one in told for end in one.ends if end.boot == frame.boot)
    over = next((end.seq for end in left if end.seq > frame.seq), None)
    if over is None:
        return None
    after = (each.boot for each in frames if each.seq > over and each.at >= no)
    return next((boot for boot in after if boot not in known), None)
