"""Reads history back: runs as frames, and calls decided once more. Nothing here can act."""

from saferun.replay.backtest import Backtest, Given, Redecided
from saferun.replay.branches import Branches, Child, has
from saferun.replay.conversation import Told, told
from saferun.replay.difference import Difference, Pair, difference
from saferun.replay.frames import Frame, RunStory, mark, story
from saferun.replay.nearly import Nearly, NearRun, near_calls, near_runs
from saferun.replay.outline import Outline, Row
from saferun.replay.playback import Closeup, Playback, Slice, Value
from saferun.replay.tally import LabelTally, RuleTally, RunTally, Summary, Tally
from saferun.replay.trace import Said, Step, TracedCall, TracedRun, TraceError, traces

__all__ = [
    "Backtest",
    "Branches",
    "Child",
    "Closeup",
    "Difference",
    "Frame",
    "Given",
    "LabelTally",
    "NearRun",
    "Nearly",
    "Outline",
    "Pair",
    "Playback",
    "Redecided",
    "Row",
    "RuleTally",
    "RunStory",
    "RunTally",
    "Said",
    "Slice",
    "Step",
    "Summary",
    "Tally",
    "Told",
    "TraceError",
    "TracedCall",
    "TracedRun",
    "Value",
    "difference",
    "has",
    "mark",
    "near_calls",
    "near_runs",
    "story",
    "told",
    "traces",
]
