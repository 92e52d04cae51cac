"""Channels that answer at once, in place of people."""

from saferun.approval import Channel, Question, Vote


class Answering:
    """A channel where somebody always gives the same answer. It keeps nothing."""

    def __init__(self, name: str, *, approved: bool) -> None:
        self.name = name
        self._vote = Vote(approved=approved, by="test")

    def unreachable(self) -> str | None:
        return None

    def ask(self, question: Question) -> Vote | None:  # noqa: ARG002 - a channel's face
        return self._vote


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

    def ask(self, question: Question) -> Vote | None:
        self.questions.append(question)
        return self._channel.ask(question)
