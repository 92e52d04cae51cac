"""What a button or a form carries: which request it is about, as it was seen. Pure."""

import re
from typing import NamedTuple

from saferun.approval import Request

DIGEST = 16
"""Characters of a digest that a button carries, and a card shows."""


class Mark(NamedTuple):
    """What a button or a form is about: a request as it was seen."""

    request: str
    revision: int
    digest: str

    def __str__(self) -> str:
        return f"{self.request}.{self.revision}.{self.digest}"


def marked(request: Request) -> Mark:
    return Mark(request.id, request.revision, request.question.digest[:DIGEST])


def mark(text: str | None) -> Mark | None:
    """Read a mark back, None where it is none."""
    found = _MARKED.fullmatch(text or "")
    return None if found is None else Mark(found[1], int(found[2]), found[3])


_MARKED = re.compile(rf"([a-z0-9-]{{1,64}})\.([0-9]{{1,9}})\.([0-9a-f]{{0,{DIGEST}}})", re.ASCII)
