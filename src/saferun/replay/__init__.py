"""Reads history back: runs as frames, and calls decided once more. Nothing here can act."""

from saferun.replay.backtest import Backtest, Given, Redecided
from saferun.replay.frames import Frame, RunStory, story
from saferun.replay.tally import LabelTally, RuleTally, RunTally, Summary, Tally
from saferun.replay.trace import Said, Step, TracedCall, TracedRun, TraceError, traces

__all__ = [
    "Backtest",
    "Frame",
    "Given",
    "LabelTally",
    "Redecided",
    "RuleTally",
    "RunStory",
    "RunTally",
    "Said",
    "Step",
    "Summary",
    "Tally",
    "TraceError",
    "TracedCall",
    "TracedRun",
    "story",
    "traces",
]
