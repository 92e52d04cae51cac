"""What people are told when many ask at once: one message that says how many, and which. Pure.

Each request by itself would come too late, or be one too many to be read. What a channel holds
to be too many is its own.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from saferun.approval import Request, inert

FRESH = 600.0
"""Seconds after which people are told of a storm anew, by another message."""

LOOK = 1_000
"""Requests that one look into the store gives at most."""

_NAME, _ARGUMENT, _LINE = 80, 60, 160


class Line(NamedTuple):
    """One request among many: its tool, its arguments in short, and who wants it for whom."""

    request: Request
    tool: str
    about: str
    who: str


class Digest(NamedTuple):
    """How many requests wait, as a sentence, the first of them, and how many are `left`."""

    many: int
    said: str
    lines: tuple[Line, ...]
    left: int


class Told(NamedTuple):
    """Who has been told of a storm, and since when, in seconds of any one clock."""

    names: frozenset[str] = frozenset()
    since: float | None = None

    def anew(self, names: frozenset[str], now: float) -> frozenset[str] | None:
        """Whom another message is to be for, None where all know: a changed one notifies nobody."""
        if self.since is None or now - self.since > FRESH:
            return names
        return None if names <= self.names else names | self.names


def waiting(requests: Iterable[Request], channel: str) -> list[Request]:
    """Those that are asked by a channel."""
    return [each for each in requests if channel in each.question.channels]


def digest(requests: Sequence[Request], most: int) -> Digest:
    """What is told of requests that wait, of which `most` are listed."""
    many = len(requests)
    if many == 0:
        said = "The requests that came all at once have been answered, or have ended."
    elif many == 1:
        said = "1 request waits for an answer."
    else:
        said = f"{many:,} requests{' or more' if many >= LOOK else ''} wait for an answer."
    return Digest(many, said, tuple(map(_line, requests[:most])), max(0, many - most))


def _line(request: Request) -> Line:
    question, run = request.question, request.question.run
    parts = []
    for name, value in list(question.args.items())[:4]:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        parts.append(f"{name[:_NAME]} {text[:_ARGUMENT]}{'…' if len(text) > _ARGUMENT else ''}")
    if len(question.args) > len(parts):
        parts.append("…")
    named = (run.agent, run.user_id) if run is not None else ()
    return Line(
        request,
        inert(question.tool, _NAME),
        inert(", ".join(parts), _LINE),
        " for ".join(inert(each, _NAME) for each in named if each),
    )
