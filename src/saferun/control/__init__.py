"""Has too much happened? Pure: (state, call, now) → (verdict, new state)."""

from saferun.control.breaker import Breaker, Health
from saferun.control.limit import COST, Charge, Groups, Limit, Over, charges
from saferun.control.loop import Echo, Finding, Loops, Sign, Trail, echo, sign
from saferun.control.stop import MAX_NAME, MAX_REASON, STOPPABLE, Stoppable, Switch

__all__ = [
    "COST",
    "MAX_NAME",
    "MAX_REASON",
    "STOPPABLE",
    "Breaker",
    "Charge",
    "Echo",
    "Finding",
    "Groups",
    "Health",
    "Limit",
    "Loops",
    "Over",
    "Sign",
    "Stoppable",
    "Switch",
    "Trail",
    "charges",
    "echo",
    "sign",
]
