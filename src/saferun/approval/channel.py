"""What a channel is, and what it may do.

A channel brings questions to people and answers back. It decides nothing: whether an answer
still counts, and whether its author may give one, is settled in the store.
"""

from typing import Protocol

from saferun.approval.grant import Permit
from saferun.approval.question import Edited, Request
from saferun.errors import SafeRunError


class UnfinishedError(SafeRunError):
    """Some of what there was to bring has been brought, and some has not.

    `receipt` is what the next call is given, so that nothing is brought twice. `seconds` is when
    to come again where nothing has failed and it is only not yet time; None where something has.
    """

    def __init__(self, why: str, receipt: str | None, seconds: float | None = None) -> None:
        super().__init__(why)
        self.receipt = receipt
        self.seconds = seconds


class Answered(Protocol):
    """What became of an answer: whether it counted, and if not, why, as a sentence.

    `grant` is the id of what further calls run by, where the answer let some.
    """

    @property
    def counted(self) -> bool: ...
    @property
    def why(self) -> str | None: ...
    @property
    def request(self) -> Request: ...
    @property
    def grant(self) -> str | None: ...


class Desk(Protocol):
    """Where answers go, whatever channel they came by. Each may raise StoreError."""

    def stands(self, request: str) -> Request | None:
        """How a request stands now, None where there is none of that id."""
        ...

    def asked(self, request: Request) -> frozenset[str] | None:
        """Who is to be shown a request by now, None where anybody may answer it."""
        ...

    def vote(
        self,
        request: str,
        *,
        by: str,
        approved: bool,
        channel: str,
        revision: int,
        reason: str | None = None,
        glass: bool = False,
        permit: Permit | None = None,
    ) -> Answered:
        """Have somebody answer, whom the channel has identified.

        `revision` is the one that they have seen: about any other, an answer does not count.
        With `glass`, they answer for all others, and with `permit` for further calls as well;
        whether they may is said by the desk.
        """
        ...

    def edit(self, request: str, *, by: str, args: Edited, channel: str, revision: int) -> Answered:
        """Have somebody change arguments. Policy is asked again, and earlier votes are void."""
        ...

    def alarmed(self, request: Request) -> frozenset[str]:
        """Who is to hear that somebody has broken the glass; nobody where nobody has."""
        ...


class Channel(Protocol):
    """A way to ask people. `name` stands in the ledger beside every answer.

    One that waits for the answer in `bring` says so by an attribute `stays = True`.
    """

    name: str

    def unreachable(self) -> str | None:
        """Why nobody can be asked here, as the end of a sentence; None where somebody can."""
        ...

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        """Show people how a request stands; called when it is made, and whenever it has moved.

        `receipt` is what the last call for this request gave back, such as the id of a message
        that is now to be changed, None at first. Runs on a thread of the channel's own, and may
        wait there for an answer as long as the request is open. What it raises is tried again
        until the deadline, with the `receipt` of an UnfinishedError, else with that of before.
        """
        ...
