"""What analysis has to say about one place of a policy."""

from typing import NamedTuple

from saferun.policy.source import Path


class Note(NamedTuple):
    """A code that stays as it is, a sentence for people, and the place that it is about."""

    code: str
    message: str
    path: Path
