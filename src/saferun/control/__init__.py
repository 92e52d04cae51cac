"""Has too much happened? Pure: (state, call, now) → (verdict, new state)."""

from saferun.control.limit import Charge, Limit, charges, exceeded

__all__ = ["Charge", "Limit", "charges", "exceeded"]
