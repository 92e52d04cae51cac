"""For tests of your own: a gate that is real, and goes away again.

    from saferun.testing import approve_all, asked, denied, gate

    def test_large_refunds_go_to_finance():
        with gate("production", approvals=approve_all) as checkpoint:
            safe = guard(refund, gate=checkpoint)
            with asked(by="big-refund"):
                safe("A-17", 25_000)

`redecided` says what the policies of now decide on the calls of an incident file.

Tests of a policy alone need no Python: they stand beside it in `NAME.test.yaml`, and
`saferun policy test` or pytest runs them.
"""

from saferun.testing.channel import approve_all, reject_all
from saferun.testing.check import allowed, asked, denied
from saferun.testing.clock import Clock
from saferun.testing.incident import redecided
from saferun.testing.scratch import ScratchGate, gate

__all__ = [
    "Clock",
    "ScratchGate",
    "allowed",
    "approve_all",
    "asked",
    "denied",
    "gate",
    "redecided",
    "reject_all",
]
