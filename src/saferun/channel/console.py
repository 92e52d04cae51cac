"""The console channel: a question that waits in the inbox of `saferun serve`.

Nothing is sent to anybody. The console looks at all open requests itself, whatever channels they
name; this one is for those who ask by no other.
"""

from saferun.approval.channel import Desk
from saferun.approval.question import Request


class Inbox:
    """Leaves requests where the console finds them."""

    name = "console"

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:  # noqa: ARG002 - as every channel has them
        return receipt or "there"
