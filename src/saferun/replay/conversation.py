"""What a model was given, put together from what is new in each turn: see `conversation`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

Turns: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The fields of a run's model turns, by their `turn`."""


class Told(NamedTuple):
    """The messages that a model was given, without the `lost` ones that can be read no more."""

    messages: list[Any]
    lost: int


def told(turn: str, turns: Turns, whole: Callable[[Mapping[str, Any]], Any] | None = None) -> Told:
    """What the model of a turn was given.

    `whole` reads the `messages` of a turn from wherever they are; those in the entry by default.
    It takes as long as the conversation has turns, and entries that refer to each other in a
    circle, which no SafeRun writes, end it.
    """
    read = whole or (lambda fields: fields.get("messages"))
    pieces: list[list[Any]] = []
    seen: set[str] = set()
    lost, at, most = 0, turn, None
    while True:
        fields = turns.get(at)
        if fields is None or at in seen:
            lost += most or 0
            break
        seen.add(at)
        before, after = _count(fields.get("kept")), fields.get("after")
        if most is None or before < most:
            new = read(fields)
            if isinstance(new, list):
                pieces.append(new if most is None else new[: most - before])
                lost += 0 if most is None else max(0, most - before - len(new))
            else:
                lost += 1 if most is None else most - before
            most = before
        if not most or not isinstance(after, str):
            lost += most
            break
        at = after
    return Told([each for piece in reversed(pieces) for each in piece], lost)


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
