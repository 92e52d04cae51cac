"""Tickets: what lets one person answer one request from outside, as they were shown it.

A token goes out with a message and is kept as its hash alone. It is bound to request, revision,
person and channel, and ends with the time that there was to answer. A ticket with a code takes
no answer without it, so that whoever only follows links can do nothing.
"""

import hmac
from typing import NamedTuple

import msgspec

from saferun.ledger import ApprovalEntry, encode
from saferun.store.transaction import Transaction

MAX_TRIES = 5
"""Wrong codes after which a ticket takes no answer any more."""

LEFT = 86_400_000_000
"""Microseconds that a ticket is kept after its end, for its page to say how that was: a day."""

UNSENT = 3
"""Tickets of one person for one revision that are kept though nobody knows whether they were sent.

A message whose delivery seemed to fail may have arrived.
"""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a token lets answer, and what about.

    `token` is its SHA-256, and `code` the store's own digest of the code that goes with it, None
    where none does. `until` is in microseconds since 1970, UTC. `message` is the id of the
    message that it went out with, None until that is known to be sent.
    """

    token: bytes
    request: str
    revision: int
    by: str
    channel: str
    until: int
    code: bytes | None = None
    message: str | None = None
    tries: int = 0


COLUMNS = "token, approval, revision, by, channel, until, code, message, tries"


def ticket_of(row: tuple[object, ...]) -> Ticket:
    """A ticket as `COLUMNS` of its row have it."""
    token, request, revision, by, channel, until, code, message, tries = msgspec.convert(
        row, tuple[bytes, str, int, str, str, int, bytes | None, str | None, int]
    )
    return Ticket(
        token=token,
        request=request,
        revision=revision,
        by=by,
        channel=channel,
        until=until,
        code=code,
        message=message,
        tries=tries,
    )


class Issue(msgspec.Struct, frozen=True):
    """Keep tickets, before they go out: whoever has one at hand can use it at once."""

    tickets: tuple[Ticket, ...]

    def apply(self, tx: Transaction) -> None:
        tx.write("DELETE FROM ticket WHERE until <= ?", tx.now - LEFT)
        for each in self.tickets:
            whose = (each.request, each.channel, each.revision, each.by)
            tx.write(
                f"INSERT INTO ticket ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                *(each.token, each.request, each.revision, each.by, each.channel, each.until),
                *(each.code, each.message, each.tries),
            )
            mine = "approval = ? AND channel = ? AND revision = ? AND by = ? AND message IS NULL"
            tx.write(
                f"DELETE FROM ticket WHERE {mine} AND id NOT IN"  # noqa: S608
                f" (SELECT id FROM ticket WHERE {mine} ORDER BY id DESC LIMIT ?)",
                *(*whose, *whose, UNSENT),
            )


class Sent(msgspec.Struct, frozen=True):
    """Note that a message has gone out, with these tickets in it."""

    tokens: tuple[bytes, ...]
    message: str

    def apply(self, tx: Transaction) -> None:
        for token in self.tokens:
            tx.write("UPDATE ticket SET message = ? WHERE token = ?", self.message, token)


class Presented(NamedTuple):
    """Whether a code was the right one, for a ticket that is still good, and the tries left."""

    right: bool
    left: int = 0

    def __bool__(self) -> bool:
        return self.right


class Present(msgspec.Struct, frozen=True):
    """Show a ticket with a code. Whether it is the right one, for a ticket that is still good.

    Wrong ones are counted and noted in the same transaction, so that no number of them at once
    is more; `entry` is what the ledger has of each.
    """

    token: bytes
    code: bytes
    entry: ApprovalEntry

    def apply(self, tx: Transaction) -> Presented:
        row = tx.read("SELECT code, tries, until FROM ticket WHERE token = ?", self.token)
        if row is None:
            return Presented(right=False)
        code, tries, until = msgspec.convert(row, tuple[bytes | None, int, int])
        if code is None or tries >= MAX_TRIES or tx.now > until:
            return Presented(right=False)
        if hmac.compare_digest(code, self.code):
            return Presented(right=True, left=MAX_TRIES - tries)
        tx.append(encode(msgspec.structs.replace(self.entry, event="refused")))
        tx.write("UPDATE ticket SET tries = tries + 1 WHERE token = ?", self.token)
        return Presented(right=False, left=MAX_TRIES - tries - 1)
