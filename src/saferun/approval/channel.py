"""What a channel is, and what it may do.

A channel brings questions to people and answers back. It decides nothing: whether an answer
still counts, and whether its author may give one, is settled in the store.
"""

from typing import Protocol

from saferun.approval.question import Edited, Request


class Answered(Protocol):
    """What became of an answer: whether it counted, and if not, why, as a sentence."""

    @property
    def counted(self) -> bool: ...
    @property
    def why(self) -> str | None: ...
    @property
    def request(self) -> Request: ...


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
    ) -> Answered:
        """Have somebody answer, whom the channel has identified.

        `revision` is the one that they have seen: about any other, an answer does not count.
        """
        ...

    def edit(self, request: str, *, by: str, args: Edited, channel: str, revision: int) -> Answered:
        """Have somebody change arguments. Policy is asked again, and earlier votes are void."""
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
        until the deadline.
        """
        ...
