"""Who says yes: the question, and the channels that bring it to people.

The states of a request, and what makes it stale, are `saferun.admission`'s; the store moves
it from one to the next in the transaction that admits the call.
"""

from saferun.approval.inert import inert
from saferun.approval.question import Channel, Question, Vote

__all__ = ["Channel", "Question", "Vote", "channel", "inert"]


def channel(name: str) -> Channel:
    """The channel of that name. Raises ConfigError for a name that is none."""
    if name == "terminal":
        from saferun.approval.terminal import Terminal

        return Terminal()
    from saferun.errors import ConfigError

    raise ConfigError(f"There is no approval channel {name!r}; this version has: terminal.")
