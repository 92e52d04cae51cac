"""What a model is given, turn by turn: what is new in it, and which turn had the rest already.

An agent sends its whole conversation with every turn. Were each turn kept whole, a run of ten
thousand turns would be kept five thousand times over. So a turn holds its messages from the first
that an earlier turn of the run did not have, and says which turn that was and how many it shares
with it. A run may hold several conversations at once; each turn goes on from the one that it
shares most with. `replay.conversation` puts them together again.
"""

import copy
import itertools
import os
import secrets
from typing import Any, NamedTuple

MAX_BRANCHES = 8
"""Conversations of one run that may take turns; one that was forgotten is kept whole once more."""


class Given(NamedTuple):
    """What a model is given, as it was at that moment.

    `new` are the messages behind the first `kept` of those that the turn `after` was given;
    without an `after` they are all. `whole` is None for what is no list of messages. `asked` is
    what the model was asked with beside them, None where nobody has said.
    """

    new: Any
    after: str | None = None
    kept: int = 0
    whole: list[Any] | None = None
    asked: dict[str, Any] | None = None


_numbers = itertools.count(1)
_process = secrets.token_hex(4)


def _after_fork_in_child() -> None:
    # A child goes on with its parent's runs, and must not name turns as the parent does.
    global _process  # noqa: PLW0603
    _process = secrets.token_hex(4)


os.register_at_fork(after_in_child=_after_fork_in_child)


def named() -> str:
    """A name for one more turn, which no other turn of its run has, in whichever process."""
    return f"{_process}-{next(_numbers):x}"


class Conversation:
    """What the models of one run were given last.

    `calls` has the tools of the calls that were spoken of, by the ids of the calls. Threads may
    share it. What one of them overwrites is forgotten, and nothing else.
    """

    __slots__ = ("_turns", "calls")

    def __init__(self) -> None:
        self.calls: dict[str, str] = {}
        self._turns: tuple[tuple[str, list[Any]], ...] = ()

    def take(self, messages: Any) -> Given:
        """Take messages down. They may be changed afterwards, and earlier ones may have been.

        Never raises: what cannot be compared or copied is taken as it is, and as new.
        """
        try:
            return self._taken(messages)
        except Exception:  # noqa: BLE001 - foreign messages may raise anything when they are read
            return Given(messages)

    def _taken(self, messages: Any) -> Given:
        if type(messages) not in (list, tuple):
            return Given(_copied(messages))
        told = list(messages)
        after, shared, kept = None, list[Any](), 0
        for turn, held in self._turns:
            common = _common(held, told)
            if common > kept:
                after, shared, kept = turn, held, common
            if kept and kept == len(held):
                break
        new = [_copied(each) for each in told[kept:]]
        # The copies of before, and not what is equal to them now and may be changed.
        return Given(new, after, kept, shared[:kept] + new)

    def remember(self, turn: str, given: Given) -> None:
        """That turn was given this, and it is on its way to the ledger."""
        if given.whole is None:
            return
        others = tuple(
            each for each in self._turns if each[0] != given.after or len(each[1]) > given.kept
        )
        self._turns = ((turn, given.whole), *others)[:MAX_BRANCHES]


def _common(held: list[Any], told: list[Any]) -> int:
    """How many messages two conversations begin with alike."""
    most = min(len(held), len(told))
    if not most or held[0] != told[0]:
        return 0
    # Most often all of what is held was sent again, with some more: then one copy is spared. What
    # is left is one comparison a message, in C, without which a change in place would be missed.
    if (held if len(held) == most else held[:most]) == told[:most]:
        return most
    return next(at for at in range(most) if held[at] != told[at])


_ATOMS = frozenset((str, int, float, bool, bytes, type(None)))


def _copied(value: Any) -> Any:
    """A copy that shares nothing with the value that can be changed."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    if kind is list:
        return [_copied(item) for item in value]
    return copy.deepcopy(value)
