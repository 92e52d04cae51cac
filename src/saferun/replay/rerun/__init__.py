"""Rerun: an agent's own code against the record of what it did. No tool is called.

`record` reads a run and its children back, `steps` lays out what the code has to do again and in
which order, `matching` finds the step that the code is at, and `values` gives what came of it.
`programs` says which steps are by whom, where a call was left and resumed elsewhere. `kept` writes
what the code did as a run.
"""

from saferun.replay.rerun.kept import Made, keep, kept_in, room
from saferun.replay.rerun.likeness import alike, alike_spoken, key, shown
from saferun.replay.rerun.matching import About, Lane, Matching, Now, fits_call
from saferun.replay.rerun.programs import FIRST, no_to
from saferun.replay.rerun.record import Record, recorded
from saferun.replay.rerun.steps import Script, Step, scripts
from saferun.replay.rerun.talk import Talk
from saferun.replay.rerun.values import (
    RecordedError,
    Restore,
    error_of,
    failure,
    items,
    restored,
    streams,
)
from saferun.replay.rerun.words import Left, without_words

__all__ = [
    "FIRST",
    "About",
    "Lane",
    "Left",
    "Made",
    "Matching",
    "Now",
    "Record",
    "RecordedError",
    "Restore",
    "Script",
    "Step",
    "Talk",
    "alike",
    "alike_spoken",
    "error_of",
    "failure",
    "fits_call",
    "items",
    "keep",
    "kept_in",
    "key",
    "no_to",
    "recorded",
    "restored",
    "room",
    "scripts",
    "shown",
    "streams",
    "without_words",
]
