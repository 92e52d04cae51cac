"""The channel: brings requests as letters, and takes what comes back from their pages."""

import hmac
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import parse_qsl, urlsplit

import msgspec

from saferun import approval
from saferun.approval import Request, UnfinishedError, Vote
from saferun.approval.grant import narrowing, permit
from saferun.call import canonical
from saferun.channel import storm
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
from saferun.store import Fit, Issue, Present, Requests, Sent, Ticket, Wait
from saferun.store.work.ticket import MAX_TRIES
from saferun.unseen import alike

MAX_BODY = 1 << 20
"""Bytes of a form, the most that are looked at."""

MAX_FIELDS = 250

LETTERS, WINDOW = 10, 600_000_000
"""Questions that one person is written to about by a letter each, within so many microseconds; as
many further letters may say how one has ended. More than that, nobody reads one by one."""

GATHER = 5_000_000
"""Microseconds that a request waits for others before they are told of together."""

DIGESTS, LEASE = 120_000_000, 60_000_000
"""Microseconds between two digests to one person, and those that sending one may take."""

LISTED = 25
"""Requests that a digest has links for; the inbox has them all."""

_HTML = "text/html; charset=utf-8"

_ADDRESS = re.compile(r'"?([ -~]*?)"? *<([!-;=?-~]+)>|([!-;=?-~]+)')
"""`NAME <ADDRESS>` or `ADDRESS`, on one line and in ASCII."""


class _Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who has been told how a request ended, and who that somebody has broken the glass.

    `story` is what they were told, in one word.
    """

    story: str = ""
    ended: tuple[str, ...] = ()
    alarmed: tuple[str, ...] = ()


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
        _told_apart(self._addresses, where)
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

    def bring(self, request: Request, desk: approval.Desk, receipt: str | None) -> str | None:
        """Write to those who have not been written to about the request as it stands now.

        Whom it was asked of is in the store; the receipt is who has been told how it ended.
        """
        assert isinstance(desk, Desk)
        told = _Receipt() if receipt is None else msgspec.json.decode(receipt, type=_Receipt)
        story = approval.story(request)
        if told.story != story:
            # What was told was something else: a yes that has come to nothing, say.
            told = msgspec.structs.replace(told, ended=(), story=story)
        with Requests(desk.store.path) as requests:
            known = requests.tickets(request.id, self.name)
        # The first letter to each person, which the later ones belong to.
        threads = {each.by: each.message for each in reversed(known) if each.message is not None}
        if request.open:
            self._ask(request, desk, known, threads)
        elif request.glass is not None:
            told = self._alarm(request, request.glass, desk, told)
        else:
            told = self._tell(request, desk, threads, told)
        return msgspec.json.encode(told).decode()

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
        names = [name for name in reached if name not in have]
        if not names:
            return
        fit = self._fit(desk, "letters", names, f"{request.id}.{request.revision}")
        new = [
            tickets.printed(desk, request, name, self.name, tickets.fresh())
            for name in names
            if name in fit
        ]
        self._write(request, desk, new, threads)
        rest = [name for name in names if name not in fit]
        if rest:
            self._gather(request, desk, rest)

    def _fit(self, desk: Desk, what: str, names: Iterable[str], which: str) -> frozenset[str]:
        """Those of some people who may be sent one more letter of a kind."""
        kinds = {f"email {what} {name}": name for name in names}
        wanted = tuple((kind, which) for kind in kinds)
        fit = desk.store.commit(Fit(wanted=wanted, most=LETTERS, within=WINDOW))
        return frozenset(kinds[kind] for kind, _ in fit)

    def _write(
        self, request: Request, desk: Desk, new: list[Printed], threads: Mapping[str, str]
    ) -> None:
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

    def _gather(self, request: Request, desk: Desk, names: list[str]) -> None:
        """Have people who have had many letters be told of all that waits by one.

        Raises UnfinishedError where it is not time for that.
        """
        later = GATHER - (desk.store.now() - request.question.asked)
        if later <= 0:
            waits = [self._digested(desk, name) for name in names]
            later = min((each for each in waits if each > 0), default=0)
        if later > 0:
            why = f"{', '.join(names)} had many letters, so it goes into the next digest"
            raise UnfinishedError(why, None, later / 1e6)

    def _digested(self, desk: Desk, name: str) -> int:
        """Write to somebody of all that waits for them; microseconds until that may be, or 0."""
        wait = Wait(kind="email digest", id=name, within=LEASE)
        left = desk.store.commit(wait)
        if left > 0:
            return left
        with Requests(desk.store.path) as requests:
            written = requests.written(name, self.name)
        waiting = [
            each
            for each in storm.waiting(desk.open(), self.name)
            if (each.id, each.revision) not in written
            and name in tickets.answering(desk, each, self._addresses)
        ]
        if waiting:
            code = tickets.fresh()
            # What is only counted has a ticket too, whose token nobody is told.
            new = [tickets.printed(desk, each, name, self.name, code) for each in waiting]
            desk.store.commit(Issue(tuple(each.ticket for each in new)))
            links = [f"{self._url}/channels/{self.name}/{each.token}" for each in new[:LISTED]]
            told = storm.digest(waiting, LISTED)
            draft = letter.digest(told, self._envelope(name, {}), links, code, f"{self._url}/")

            def done(draft: EmailMessage) -> None:
                tokens = tuple(each.ticket.token for each in new)
                desk.store.commit(Sent(tokens, str(draft["Message-ID"])))

            smtp.hand_over(self._server, [draft], done)
        desk.store.commit(msgspec.structs.replace(wait, within=DIGESTS, anew=True))
        return 0

    def _tell(
        self, request: Request, desk: Desk, threads: Mapping[str, str], told: "_Receipt"
    ) -> "_Receipt":
        """Have those who were asked know how it ended, but for the one who has ended it.

        Nobody has anything to do then, so who has had many such letters gets no more.
        """
        names = (threads.keys() & self._addresses.keys()) - {request.by, *told.ended}
        fit = self._fit(desk, "ends", sorted(names), request.id)
        drafts = {name: letter.end(request, self._envelope(name, threads)) for name in sorted(fit)}
        return self._told(drafts, told, "ended")

    def _alarm(self, request: Request, glass: Vote, desk: Desk, told: "_Receipt") -> "_Receipt":
        """Have everybody else know that somebody has broken the glass, by a letter of its own."""
        names = (desk.alarmed(request) & self._addresses.keys()) - set(told.alarmed)
        link = f"{self._url}/requests/{request.id}"
        drafts = {
            name: letter.alarm(request, glass, self._envelope(name, {}), link)
            for name in sorted(names)
        }
        return self._told(drafts, told, "alarmed")

    def _told(self, drafts: Mapping[str, EmailMessage], told: "_Receipt", what: str) -> "_Receipt":
        """Hand letters over; who has had theirs, also where some could not be."""
        if not drafts:
            return told
        sent = {str(draft["Message-ID"]): name for name, draft in drafts.items()}
        had = list(getattr(told, what))
        try:
            smtp.hand_over(
                self._server,
                list(drafts.values()),
                lambda draft: had.append(sent[str(draft["Message-ID"])]),
            )
        except EmailError as problem:
            far = msgspec.structs.replace(told, **{what: tuple(had)})
            raise UnfinishedError(str(problem), msgspec.json.encode(far).decode()) from None
        return msgspec.structs.replace(told, **{what: tuple(had)})

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
        presented = desk.store.commit(Present(ticket.token, digest, entry))
        if not presented.right:
            tries = "1 more try" if presented.left == 1 else f"{presented.left} more tries"
            said = f"That is not the code from the message. {tries}."
            return self._again(403, said, ticket, request, desk)
        return self._answered(fields, ticket, request, desk)

    def _answered(
        self, fields: Mapping[str, str], ticket: Ticket, request: Request, desk: Desk
    ) -> Reply:
        """Have the desk take an answer from somebody who has link and code."""
        answer = fields.get("answer")
        if answer == "edit":
            return self._edited(fields, ticket, request, desk)
        if answer not in ("approve", "reject", "glass"):
            return self._again(400, "Choose what is to happen.", ticket, request, desk)
        try:
            further = _permit(request, fields) if answer == "approve" else None
        except ValueError:
            return self._again(400, "Choose for which calls it is.", ticket, request, desk)
        if answer != "reject" and not card(request, PAGE).whole:
            said = "Not every argument can be shown whole here, so it cannot be approved here."
            return self._again(409, said, ticket, request, desk)
        told = desk.vote(
            request.id,
            by=ticket.by,
            approved=answer != "reject",
            channel=self.name,
            revision=ticket.revision,
            reason=fields.get("reason"),
            glass=answer == "glass",
            permit=further,
        )
        if not told.counted:
            said = f"Your answer does not count: {approval.inert(told.why or '', 400)}."
            if told.request.open and told.request.revision == ticket.revision:
                return self._again(409, said, ticket, request, desk)
            return Reply(409, page.answered(told.request, said), _HTML)
        said = "Your answer counts."
        if answer == "glass":
            said = "You have answered for everybody else, and they are told so now."
        elif further is not None:
            said = "Your answer counts, and calls like it run without a question for that time."
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
        glass = desk.people.glass_objection(ticket.by, request.question) is None
        return page.asking(
            request, ticket.by, _form(ticket, desk), elsewhere, glass=glass, said=said
        )

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


def _permit(request: Request, fields: Mapping[str, str]) -> approval.Permit | None:
    """How far a form says that a yes goes. Raises ValueError where it says none of what it can."""
    names = enumerate(narrowing(request.question))
    by = tuple(name for at, name in names if f"same.{at}" in fields)
    return permit(fields.get("for", "once"), by)


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


def _told_apart(addresses: Mapping[str, Address], where: str) -> None:
    """Have no two people read the same letters: each would have the codes of both."""
    known: dict[str, str] = {}
    for name, address in addresses.items():
        other = known.setdefault(alike(address.addr_spec), name)
        if other != name:
            raise ConfigError(
                f"{where}[people.{name}] and [people.{other}] have the same email; "
                "give each person their own."
            )


def _said(status: int, title: str, *sentences: str) -> Reply:
    return Reply(status, page.saying(title, *sentences), _HTML)


_NOTHING = _said(404, "There is no such request", "This link has ended, or never was one.")
