"""Test files that cannot be used."""

from collections.abc import Sequence

from saferun.errors import PolicyError
from saferun.policy.source import Fault


class SuiteError(PolicyError):
    """A test file that cannot be used. It tells the first fault; `faults` has all of them."""

    def __init__(self, faults: Sequence[Fault], path: str) -> None:
        first = faults[0]
        super().__init__(first.message, path, first.line, first.column)
        self.faults = tuple(faults)
