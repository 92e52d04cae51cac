"""SafeRun: the checkpoint between AI agents and their tools.

    from saferun import guard

    safe_refund = guard(refund, policy="production", approval="terminal")

One wrap, and every call is decided before it happens, asked about when it should be,
recorded so that it can be looked at frame by frame, and kept in a log that nobody can
quietly edit.
"""

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
    GateUnavailable,
    LimitExceeded,
    LoopDetected,
    PolicyError,
    Rejected,
    SafeRunError,
    Stopped,
    StoreError,
)
from saferun.gate import Gate
from saferun.guard import arecover, aresume, guard, recover, resume
from saferun.inquiry import Recovered
from saferun.listening import on_decision
from saferun.policy import Policy
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
    "SafeRunError",
    "Stopped",
    "StoreError",
    "arecover",
    "aresume",
    "guard",
    "on_decision",
    "recover",
    "resume",
    "run",
    "watch",
]
