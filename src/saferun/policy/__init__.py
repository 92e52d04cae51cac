"""May this call happen? A policy file, compiled to a pure function from call to ruling."""

from saferun.policy.check import Finding, check
from saferun.policy.explain import Explanation, Heard, because, explain, heard
from saferun.policy.load import included, load, loads, restore
from saferun.policy.observe import observed
from saferun.policy.policy import Policy, Ruling
from saferun.policy.shadows import Shadows
from saferun.policy.tool import ToolPolicy

__all__ = [
    "Explanation",
    "Finding",
    "Heard",
    "Policy",
    "Ruling",
    "Shadows",
    "ToolPolicy",
    "because",
    "check",
    "explain",
    "heard",
    "included",
    "load",
    "loads",
    "observed",
    "restore",
]
