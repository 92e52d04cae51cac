"""What goes out with a message so that one person can answer by it, and what comes back.

The token is 256 random bits and stands in the store as its hash. The code is short enough to be
typed, and stands there as a digest under the store's own key, since it could be guessed.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from saferun import approval
from saferun.approval import People, Request
from saferun.call import canonical
from saferun.store import Requests, Store, Ticket

CODE = 8
"""Characters of a code: five guesses are right once in 220 billion times."""

_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without those that look like others. 32 of them, so each is five bits."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@runtime_checkable
class Desk(approval.Desk, Protocol):
    """A desk that stands on a store, and knows who its people are: what tickets need."""

    @property
    def store(self) -> Store: ...
    @property
    def people(self) -> People: ...

    def open(self) -> list[Request]:
        """Those that people have before them."""
        ...

    def refused(self, channel: str, why: str) -> None:
        """Have the ledger know of something from outside that was no answer at all."""
        ...


class Printed(NamedTuple):
    """A ticket as it goes out, once: nothing here can tell its token again."""

    ticket: Ticket
    token: str
    code: str


def fresh() -> str:
    """A new code."""
    return "".join(secrets.choice(_LETTERS) for _ in range(CODE))


def printed(desk: Desk, request: Request, by: str, channel: str, code: str = "") -> Printed:
    """A new ticket for somebody to answer a request as it is now, with a code or without."""
    token = secrets.token_urlsafe(32)
    return Printed(
        Ticket(
            token=hashed(token),
            request=request.id,
            revision=request.revision,
            by=by,
            channel=channel,
            until=request.deadline,
            code=code_digest(desk.store, hashed(token), code) if code else None,
        ),
        token,
        code,
    )


def hashed(token: str) -> bytes:
    """A token as the store has it."""
    return hashlib.sha256(token.encode()).digest()


def code_digest(store: Store, token: bytes, code: str) -> bytes:
    """A code as the store has it, for the ticket of that (hashed) token alone."""
    return store.keys.digest(canonical.encode(("code", token.hex(), code)))


def typed(text: str) -> str:
    """A code as somebody types it, without what they may leave out or add."""
    return re.sub(r"[\s-]", "", text[:40]).upper()


def found(desk: Desk, token: str, channel: str) -> Ticket | None:
    """The ticket of a token that came in by a channel, None where there is none of that person.

    Raises StoreError where the store cannot be read.
    """
    if _TOKEN.fullmatch(token) is None:
        return None
    with Requests(desk.store.path) as requests:
        ticket = requests.ticket(hashed(token))
    if ticket is None or ticket.channel != channel or ticket.by not in desk.people:
        return None
    return ticket


def answering(desk: Desk, request: Request, known: Iterable[str]) -> frozenset[str]:
    """Who is to have a ticket by now: those who are asked, or of the `known` all who may."""
    asked = desk.asked(request)
    if asked is not None:
        return asked
    now = desk.store.now()
    return frozenset(
        name for name in known if desk.people.objection(name, request.question, now) is None
    )
