"""What analysis has to say about one place of a policy."""

from typing import NamedTuple

from saferun.policy.source import Path


class Note(NamedTuple):
    """A code that stays as it is, a sentence for people, and the place that it is about.

    It is an `error` where the policy cannot do what it says.
    """

    code: str
    message: str
    path: Path
    error: bool = False
