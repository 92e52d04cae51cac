"""Reads the ledger back: runs as frames. Nothing here can act."""

from saferun.replay.frames import Frame, RunStory, story

__all__ = ["Frame", "RunStory", "story"]
