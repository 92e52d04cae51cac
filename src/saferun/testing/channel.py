"""Channels that answer at once, in place of people."""

from collections.abc import Iterator, Mapping, Sequence

from saferun.approval import Channel, Desk, Question, Request

TESTERS = tuple(f"test-{number}" for number in range(1, 21))
"""Who answers: as many as a rule can demand."""


class Everybody(Mapping[str, Sequence[str]]):
    """Groups of any name, and all of the testers in each."""

    def __getitem__(self, name: str) -> Sequence[str]:
        return TESTERS

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Answering:
    """A channel where somebody always gives the same answer. It keeps nothing."""

    def __init__(self, name: str, *, approved: bool) -> None:
        self.name = name
        self._approved = approved

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        for by in TESTERS:
            if not request.open:
                break
            request = desk.vote(
                request.id,
                by=by,
                approved=self._approved,
                channel=self.name,
                revision=request.revision,
            ).request
        return receipt


approve_all = Answering("approve_all", approved=True)
"""Somebody says yes to everything."""

reject_all = Answering("reject_all", approved=False)
"""Somebody says no to everything."""


class Remembering:
    """Another channel, and all the questions that went to it, in order."""

    def __init__(self, channel: Channel) -> None:
        self.name = channel.name
        self.questions: list[Question] = []
        self._channel = channel

    def unreachable(self) -> str | None:
        return self._channel.unreachable()

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        if request.open:
            self.questions.append(request.question)
        return self._channel.bring(request, desk, receipt)
