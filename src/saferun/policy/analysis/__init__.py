"""What can be known about a policy without a call: what it never does, and what a change does."""

from saferun.policy.analysis.cell import ANY, kind_of
from saferun.policy.analysis.diff import diff
from saferun.policy.analysis.difference import Change, Difference, Example, Moved, ToolDifference

__all__ = [
    "ANY",
    "Change",
    "Difference",
    "Example",
    "Moved",
    "ToolDifference",
    "diff",
    "kind_of",
]
