"""The channel: brings requests as letters, and takes what comes back from their pages."""

import hmac
import importlib.util
import os
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import parse_qsl, urlsplit

from saferun import approval
from saferun.approval import Request
from saferun.call import canonical
from saferun.channel import ticket as tickets
from saferun.channel.email import letter, page, smtp
from saferun.channel.email.card import PAGE, card, ended
from saferun.channel.email.smtp import EmailError
from saferun.channel.refusals import Refusals
from saferun.channel.reply import Reply
from saferun.channel.ticket import Desk, Printed
from saferun.config import Config
from saferun.errors import ConfigError, SafeRunError, StoreError
from saferun.ledger import ApprovalEntry
from saferun.store import Issue, Present, Requests, Sent, Ticket
from saferun.store.work.ticket import MAX_TRIES

MAX_BODY = 1 << 20
"""Bytes of a form, the most that are looked at."""

MAX_FIELDS = 250

_HTML = "text/html; charset=utf-8"

_ADDRESS = re.compile(r'"?([ -~]*?)"? *<([!-;=?-~]+)>|([!-;=?-~]+)')
"""`NAME <ADDRESS>` or `ADDRESS`, on one line and in ASCII."""


class Email:
    """Asks by e-mail. Raises ConfigError where it is not configured, or an address is none."""

    name = "email"

    def __init__(self, settings: Config) -> None:
        where = f"{settings.file}: " if settings.file is not None else ""
        table = settings.approval.email
        if table is None:
            raise ConfigError(f"{where}the channel email needs a table [approval.email].")
        self._server = smtp.server(table, where)
        self._sender = _address(table.sender, f"{where}[approval.email] from")
        self._addresses = {
            name: _address(person.email, f"{where}[people.{name}] email")
            for name, person in settings.people.items()
            if person.email is not None
        }
        self._url = (settings.approval.url or "").rstrip("/")
        self._refusals = Refusals(self.name)

    def unreachable(self) -> str | None:
        if importlib.util.find_spec("aiosmtplib") is None:
            return "e-mail takes the extra: pip install 'saferun-sdk[email]'"
        if not self._url:
            return "[approval] url does not say where its links would lead"
        if not self._addresses:
            return "nobody under [people] has an e-mail address"
        password = self._server.password_env
        if password is not None and not os.environ.get(password):
            return f"{password}, which [approval.email] password_env names, is not set"
        return None

    def bring(  # the store knows who has been written to, so no receipt is looked at
        self,
        request: Request,
        desk: approval.Desk,
        receipt: str | None,  # noqa: ARG002
    ) -> str | None:
        """Write to those who have not been written to about the request as it stands now."""
        assert isinstance(desk, Desk)
        with Requests(desk.store.path) as requests:
            known = requests.tickets(request.id, self.name)
        # The first letter to each person, which the later ones belong to.
        threads = {each.by: each.message for each in reversed(known) if each.message is not None}
        if request.open:
            self._ask(request, desk, known, threads)
        else:
            self._tell(request, threads)
        return "sent"

    def _ask(
        self, request: Request, desk: Desk, known: list[Ticket], threads: Mapping[str, str]
    ) -> None:
        have = {
            each.by
            for each in known
            if each.revision == request.revision and each.message is not None
        }
        asked = tickets.answering(desk, request, self._addresses)
        reached = sorted(asked & self._addresses.keys())
        if not reached:
            raise EmailError("nobody who is asked has an e-mail address under [people]")
        new = [
            tickets.printed(desk, request, name, self.name, coded=True)
            for name in reached
            if name not in have
        ]
        if not new:
            return
        desk.store.commit(Issue(tuple(each.ticket for each in new)))
        letters: dict[str, Printed] = {}
        drafts = []
        for each in new:
            envelope = self._envelope(each.ticket.by, threads)
            link = f"{self._url}/channels/{self.name}/{each.token}"
            draft = letter.question(request, envelope, link, each.code)
            letters[draft["Message-ID"]] = each
            drafts.append(draft)

        def done(draft: EmailMessage) -> None:
            message = str(draft["Message-ID"])
            desk.store.commit(Sent((letters[message].ticket.token,), message))

        smtp.hand_over(self._server, drafts, done)

    def _tell(self, request: Request, threads: Mapping[str, str]) -> None:
        """Have those who were asked know how it ended, but for the one who has ended it."""
        drafts = [
            letter.end(request, self._envelope(name, threads))
            for name in sorted(threads.keys() & self._addresses.keys())
            if name != request.by
        ]
        if drafts:
            smtp.hand_over(self._server, drafts, lambda _: None)

    def _envelope(self, name: str, threads: Mapping[str, str]) -> letter.Envelope:
        return letter.Envelope(self._sender, self._addresses[name], threads.get(name))

    # What comes in.

    def receive(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        desk: Desk,
        method: str = "GET",
    ) -> Reply:
        """Answer a browser, or whatever follows links; `path` is what stands after the channel's.

        Only a POST of the form, with the code from the letter, does anything.
        """
        where = path.strip("/")
        if method not in ("GET", "HEAD", "POST"):
            return _said(405, "That cannot be done here", "Open the link from the message.")
        if where == "style.css":
            return Reply(200, page.STYLE, "text/css; charset=utf-8")
        try:
            if method == "POST":
                reply = self._posted(where, headers, body, desk)
            else:
                reply = self._look(where, desk)
        except StoreError:
            return _said(503, "Not now", "The store cannot be used; try again in a moment.")
        return reply if method != "HEAD" else reply._replace(body=b"")

    def _look(self, token: str, desk: Desk) -> Reply:
        ticket, request = _found(token, desk)
        if ticket is None or request is None:
            return _NOTHING
        why = _closed(ticket, request, desk)
        if why is not None:
            return Reply(410, page.closed(request, why), _HTML)
        return Reply(200, self._form(ticket, request, desk), _HTML)

    def _posted(self, token: str, headers: Mapping[str, str], body: bytes, desk: Desk) -> Reply:
        ticket, request = _found(token, desk)
        if ticket is None or request is None:
            self._refusals.note(desk, "an answer without a ticket")
            return _NOTHING
        try:
            fields = _fields(headers, body)
        except ValueError as problem:
            self._refusals.note(desk, f"about {request.id}: {problem}")
            return _said(400, "That is no answer", "Open the link from the message again.")
        why = _closed(ticket, request, desk)
        if why is not None:
            return Reply(410, page.closed(request, why), _HTML)
        if not self._is_ours(headers) or not hmac.compare_digest(
            fields.get("form", "").encode(), _form(ticket, desk).encode()
        ):
            self._refusals.note(desk, f"about {request.id}: an answer that is not from its page")
            return self._again(403, "Look at it again, and answer here.", ticket, request, desk)
        code = tickets.typed(fields.get("code", ""))
        if not code:
            # No guess either: whatever fills in forms should not use up the tries of a person.
            return self._again(400, "Type the code from the message.", ticket, request, desk)
        digest = tickets.code_digest(desk.store, ticket.token, code)
        entry = ApprovalEntry(
            id=request.id,
            event="refused",
            tool=request.question.tool,
            by=ticket.by,
            channel=self.name,
            revision=ticket.revision,
            why="a wrong code",
        )
        if not desk.store.commit(Present(ticket.token, digest, entry)):
            left = max(0, MAX_TRIES - ticket.tries - 1)
            said = f"That is not the code from the message. {left} more tries."
            return self._again(403, said, ticket, request, desk)
        return self._answered(fields, ticket, request, desk)

    def _answered(
        self, fields: Mapping[str, str], ticket: Ticket, request: Request, desk: Desk
    ) -> Reply:
        """Have the desk take an answer from somebody who has link and code."""
        answer = fields.get("answer")
        if answer == "edit":
            return self._edited(fields, ticket, request, desk)
        if answer not in ("approve", "reject"):
            return self._again(400, "Choose what is to happen.", ticket, request, desk)
        if answer == "approve" and not card(request, PAGE).whole:
            said = "Not every argument can be shown whole here, so it cannot be approved here."
            return self._again(409, said, ticket, request, desk)
        told = desk.vote(
            request.id,
            by=ticket.by,
            approved=answer == "approve",
            channel=self.name,
            revision=ticket.revision,
            reason=fields.get("reason"),
        )
        if not told.counted:
            said = f"Your answer does not count: {approval.inert(told.why or '', 400)}."
            return Reply(409, page.answered(told.request, said), _HTML)
        said = "Your answer counts."
        if told.request.open:
            said = "Your answer counts, and it takes more people than you."
        return Reply(200, page.answered(told.request, said), _HTML)

    def _edited(
        self, fields: Mapping[str, str], ticket: Ticket, request: Request, desk: Desk
    ) -> Reply:
        try:
            changes = {
                name: page.edited(request, name, text)
                for name, before in page.editable(request).items()
                if (text := fields.get(f"arg.{name}", before).replace("\r\n", "\n")) != before
            }
            told = desk.edit(
                request.id,
                by=ticket.by,
                args=changes,
                channel=self.name,
                revision=ticket.revision,
            )
        except StoreError:
            raise
        except (ValueError, RecursionError, SafeRunError) as problem:
            said = f"It was not changed: {approval.inert(str(problem), 400)}."
            return self._again(409, said, ticket, request, desk)
        if not told.counted:
            said = f"It was not changed: {approval.inert(told.why or '', 400)}."
            return self._again(409, said, ticket, request, desk)
        said = "It was changed. Everybody who is asked gets a new message, and so do you."
        return Reply(200, page.closed(told.request, said), _HTML)

    def _again(self, status: int, said: str, ticket: Ticket, request: Request, desk: Desk) -> Reply:
        return Reply(status, self._form(ticket, request, desk, said), _HTML)

    def _form(self, ticket: Ticket, request: Request, desk: Desk, said: str | None = None) -> bytes:
        elsewhere = f"{self._url}/requests/{request.id}"
        return page.asking(request, ticket.by, _form(ticket, desk), elsewhere, said)

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        """Whether a form comes from our own page, as far as the browser says where from."""
        told = {name.lower(): given for name, given in headers.items()}
        if told.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        ours = urlsplit(self._url)
        return told.get("origin", "null") in ("null", f"{ours.scheme}://{ours.netloc}")


def _found(token: str, desk: Desk) -> tuple[Ticket | None, Request | None]:
    ticket = tickets.found(desk, token, Email.name)
    request = desk.stands(ticket.request) if ticket is not None else None
    if ticket is not None and request is not None and request.id != ticket.request:
        # It has joined another request that asks the same, and is answered with that.
        return None, None
    return ticket, request


def _closed(ticket: Ticket, request: Request, desk: Desk) -> str | None:
    """Why a link takes no answer any more, None where it does."""
    if not request.open:
        return ended(request)
    if request.revision != ticket.revision:
        return "It was changed since this message was written. A newer message has it."
    if desk.store.now() > ticket.until:
        return "The time to answer is over."
    if ticket.tries >= MAX_TRIES:
        return "Too many wrong codes were typed. This link takes no answer any more."
    return None


def _form(ticket: Ticket, desk: Desk) -> str:
    """What shows that an answer comes from the page of this ticket, and nothing else could have."""
    bound = ("form", ticket.token.hex(), ticket.request, ticket.revision, ticket.by)
    return desk.store.keys.digest(canonical.encode(bound)).hex()


def _fields(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """A form's fields. Raises ValueError for anything that no form of ours sends."""
    told = {name.lower(): given for name, given in headers.items()}
    kind = told.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" or not body:
        raise ValueError("it is no form")
    if len(body) > MAX_BODY:
        raise ValueError(f"it has more than {MAX_BODY:,} bytes")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise ValueError("it is no form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("it says something twice")
    return fields


def _address(text: str, where: str) -> Address:
    """An address from the configuration, alone or after a name."""
    told = _ADDRESS.fullmatch(text)
    try:
        found = None if told is None else Address(told[1] or "", addr_spec=told[2] or told[3])
    except (ValueError, IndexError, HeaderParseError):
        found = None
    if found is None or not found.username or not found.domain:
        raise ConfigError(f"{where} is {text[:80]!r}, which is no e-mail address.")
    return found


def _said(status: int, title: str, *sentences: str) -> Reply:
    return Reply(status, page.saying(title, *sentences), _HTML)


_NOTHING = _said(404, "There is no such request", "This link has ended, or never was one.")
