"""From a call that should have been stopped to rules, and what each would do to all of history."""

from saferun.replay.suggest.effect import Effect, Example
from saferun.replay.suggest.frames import Frames
from saferun.replay.suggest.history import History, Known, history
from saferun.replay.suggest.place import CannotSuggestError, File, Place
from saferun.replay.suggest.review import Review, reviews
from saferun.replay.suggest.suggestion import Drift, Suggested, Suggestions, suggestions
from saferun.replay.suggest.sweep import Spoken, Tried, sweep

__all__ = [
    "CannotSuggestError",
    "Drift",
    "Effect",
    "Example",
    "File",
    "Frames",
    "History",
    "Known",
    "Place",
    "Review",
    "Spoken",
    "Suggested",
    "Suggestions",
    "Tried",
    "history",
    "reviews",
    "suggestions",
    "sweep",
]
