"""SafeRun: the checkpoint between AI agents and their tools.

    from saferun import guard

    safe_refund = guard(refund, policy="production", approval="terminal")

One wrap, and every call is decided before it happens, asked about when it should be,
recorded so that it can be looked at frame by frame, and kept in a log that nobody can
quietly edit.
"""

import os as _os

from saferun.adapters import watch
from saferun.call import Call, Decision, Outcome, Reason
from saferun.errors import (
    ApprovalExpired,
    ApprovalPending,
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    Deferred,
    Denied,
    Diverged,
    GateUnavailable,
    LimitExceeded,
    LoopDetected,
    PolicyError,
    Rejected,
    RerunStopped,
    SafeRunError,
    Stopped,
    StoreError,
    Unanswered,
)
from saferun.gate import Gate
from saferun.guard import arecover, aresume, guard, recover, resume
from saferun.inquiry import Recovered
from saferun.listening import on_decision
from saferun.policy import Policy
from saferun.rerun import VARIABLE as _VARIABLE
from saferun.rerun import Rerun as rerun  # noqa: N813 - as `run`
from saferun.rerun import enlist as _enlist
from saferun.run import Run as run  # noqa: N813 - `with saferun.run(...)` reads as what it does

__all__ = [
    "ApprovalExpired",
    "ApprovalPending",
    "BudgetExceeded",
    "Call",
    "CircuitOpen",
    "ConfigError",
    "Decision",
    "Deferred",
    "Denied",
    "Diverged",
    "Gate",
    "GateUnavailable",
    "LimitExceeded",
    "LoopDetected",
    "Outcome",
    "Policy",
    "PolicyError",
    "Reason",
    "Recovered",
    "Rejected",
    "RerunStopped",
    "SafeRunError",
    "Stopped",
    "StoreError",
    "Unanswered",
    "arecover",
    "aresume",
    "guard",
    "on_decision",
    "recover",
    "rerun",
    "resume",
    "run",
    "watch",
]

if _VARIABLE in _os.environ:
    # Before anything that it could be imported for.
    _enlist()
