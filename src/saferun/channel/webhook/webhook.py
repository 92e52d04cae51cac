"""The channel: brings requests to one configured program, and takes its signed answers."""

import importlib.util
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from saferun import approval
from saferun.approval import Answered, Permit, Request, UnfinishedError
from saferun.channel import ticket as tickets
from saferun.channel.refusals import Refusals
from saferun.channel.reply import Reply
from saferun.channel.ticket import Desk
from saferun.channel.webhook import post
from saferun.channel.webhook.payload import Type, payload, whole
from saferun.channel.webhook.post import WebhookError
from saferun.config import Config, WebhookTable
from saferun.errors import ConfigError, SafeRunError, StoreError
from saferun.store import Issue, Once, Requests, Sent, Ticket

if TYPE_CHECKING:
    import standardwebhooks

log = logging.getLogger("saferun")

MAX_BODY = 1 << 18
"""Bytes of a callback, the most that are looked at."""

KEPT = 900_000_000
"""Microseconds that the id of a callback is remembered: its signature is good for five minutes
before and after its time."""

MAX_DEPTH = 100
"""How deep values may be nested: as deep as those that a model sends."""

_GONE = 410
_FEW = msgspec.Meta(max_length=100)
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TIME = re.compile(r"[0-9]{1,12}")


class _Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For which further calls a yes is: those of the same run, or those of so many minutes."""

    run: bool = False
    minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60
    by: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=1_000)], ...], _FEW] = ()


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a callback: one person's answer, by the token that went out for them."""

    request: Annotated[str, msgspec.Meta(max_length=64)]
    revision: Annotated[int, msgspec.Meta(ge=0)]
    token: Annotated[str, msgspec.Meta(max_length=100)]
    answer: Literal["approve", "reject", "edit", "glass"]
    args: dict[str, Any] = {}
    reason: str | None = None
    grant: _Grant | None = None

    @property
    def sane(self) -> bool:
        """Whether it says nothing that its answer has no use for."""
        edits = not self.args or self.answer == "edit"
        return edits and (self.grant is None or self.answer == "approve")

    @property
    def permit(self) -> Permit | None:
        if self.grant is None:
            return None
        return Permit(self.grant.minutes * 60_000_000, run=self.grant.run, by=self.grant.by)


class Webhook:
    """Asks by a webhook: `webhook` is the only one, `webhook.NAME` the one of that name.

    Raises ConfigError where there is no such table, or its URL is none.
    """

    def __init__(self, name: str, settings: Config) -> None:
        where = f"{settings.file}: " if settings.file is not None else ""
        self.name = name
        self._table = _table(name, settings, where)
        said = f"{where}[approval.{name}]"
        private = self._table.allow_private
        self._to = post.checked(self._table.url, said, private=private)
        self._people = tuple(settings.people)
        self._url = (settings.approval.url or "").rstrip("/")
        self._gone = False
        self._refusals = Refusals(name)

    def unreachable(self) -> str | None:
        for module in ("httpx", "standardwebhooks"):
            if importlib.util.find_spec(module) is None:
                return "webhooks take the extra: pip install 'saferun-sdk[webhook]'"
        if self._gone:
            return f"{self.name} has said that it is gone for good (410); restart to try it again"
        try:
            self._signer()
        except WebhookError as problem:
            return str(problem)
        return None

    def bring(  # the store knows which tokens have gone out
        self, request: Request, desk: approval.Desk, receipt: str | None
    ) -> str | None:
        """Send how the request stands, with tokens for those who have none for it as it is."""
        assert isinstance(desk, Desk)
        alarmed = receipt is not None and receipt.startswith(_ALARMED)
        mark = _ALARMED if alarmed else ""
        receipt = (receipt or "").removeprefix(_ALARMED) or None
        told = _event(request, receipt)
        if told is None and (alarmed or request.glass is None):
            return f"{mark}{receipt}"
        why = self.unreachable()
        if why is not None:
            raise WebhookError(why)
        with Requests(desk.store.path) as requests:
            known = requests.tickets(request.id, self.name)
        have = {
            each.by
            for each in known
            if each.revision == request.revision and each.message is not None
        }
        asked = breakers = frozenset[str]()
        if request.open:
            asked = tickets.answering(desk, request, self._people)
            # Nobody is written to here, so there is no harm in a token for those as well.
            breakers = frozenset(
                name
                for name in desk.people.breakers
                if desk.people.glass_objection(name, request.question) is None
            )
        new = [
            tickets.printed(desk, request, name, self.name)
            for name in sorted((asked | breakers) - have)
        ]
        if new:
            desk.store.commit(Issue(tuple(each.ticket for each in new)))
        link = f"{self._url}/requests/{request.id}" if self._url else None
        if request.glass is not None and not alarmed:
            body = payload(
                request,
                "approval.glass_broken",
                desk.store.now(),
                link,
                {},
                alarmed=desk.alarmed(request),
            )
            self._send(f"msg_{request.id}_glass", body)
            mark = _ALARMED
        if told is None:
            return f"{mark}{receipt}"
        event, after = told
        body = payload(
            request,
            event,
            desk.store.now(),
            link,
            {each.ticket.by: each.token for each in new},
            breakers=breakers,
            alarmed=desk.alarmed(request),
        )
        # The same for every try, so that whoever has it already can tell.
        message = f"msg_{request.id}_{request.moved}"
        try:
            self._send(message, body)
        except WebhookError as problem:
            raise UnfinishedError(str(problem), f"{mark}{receipt or ''}" or None) from None
        if new:
            desk.store.commit(Sent(tuple(each.ticket.token for each in new), message))
        return f"{mark}{after}"

    def _send(self, message: str, body: bytes) -> None:
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "SafeRun",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer().sign(message, now, body.decode()),
        }
        status = post.post(self._to, body, headers, private=self._table.allow_private)
        if status == _GONE:
            self._gone = True
            log.warning("saferun: %s has answered 410, and is not asked again", self.name)
            raise WebhookError(f"{self.name} has said that it is gone for good (410)")
        if not 200 <= status < 300:
            raise WebhookError(f"{self.name} has answered {status}")

    def _signer(self) -> "standardwebhooks.Webhook":
        from standardwebhooks import Webhook as Signer

        variable = self._table.secret_env
        secret = os.environ.get(variable, "")
        try:
            made = Signer(secret)
        except Exception:  # noqa: BLE001 - two of its own and binascii's; none may quote the secret
            made = None
        if made is None or len(secret.removeprefix("whsec_")) < _SECRET:
            raise WebhookError(
                f"{variable}, which secret_env of {self.name} names, is no secret of Standard "
                "Webhooks: whsec_ and 24 to 64 random bytes in base64"
            )
        return made

    # What comes in.

    def receive(
        self,
        path: str,  # noqa: ARG002 - there is one place for all of it
        headers: Mapping[str, str],
        body: bytes,
        *,
        desk: Desk,
        method: str = "POST",
    ) -> Reply:
        """Take one signed callback. The answer says whether it counted, and if not, why."""
        if method != "POST":
            return _reply(405, "answers are posted")
        try:
            return self._received(headers, body, desk)
        except StoreError:
            return _reply(503, "the store cannot be used; send it again under another webhook-id")

    def _received(self, headers: Mapping[str, str], body: bytes, desk: Desk) -> Reply:
        if len(body) > MAX_BODY:
            return self._refused(desk, 413, f"it has more than {MAX_BODY:,} bytes")
        told = {name.lower(): given for name, given in headers.items()}
        if not self._is_signed(told, body):
            return self._refused(desk, 401, "its signature is missing, old or wrong")
        first = desk.store.commit(Once(channel=self.name, id=told["webhook-id"], within=KEPT))
        try:
            said = msgspec.json.decode(body, type=_Said)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            said = None
        if not first:
            # Whoever sends it again should not go on doing so, and may not know what the first
            # time has come to: the answer to that was lost, or nobody was left to take it.
            return _reply(200, _ALREADY, None if said is None else self._about(said, desk))
        if said is None:
            return self._refused(desk, 400, "its body is no answer")
        if _depth(said.args) > MAX_DEPTH or not said.sane:
            return self._refused(desk, 400, "its arguments are none for an answer")
        ticket = self._ticket(said, desk)
        if ticket is None:
            return self._refused(desk, 403, "its token is not one for that request")
        return self._answered(said, ticket, desk)

    def _ticket(self, said: _Said, desk: Desk) -> Ticket | None:
        """Whose answer it is, None where the token is none for what it speaks of."""
        ticket = tickets.found(desk, said.token, self.name)
        if ticket is None or (said.request, said.revision) != (ticket.request, ticket.revision):
            return None
        return ticket

    def _about(self, said: _Said, desk: Desk) -> Request | None:
        """The request that an answer is about, for whoever may answer it."""
        return None if self._ticket(said, desk) is None else desk.stands(said.request)

    def _is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        # The id is part of what is signed, with a full stop after it: one with a stop in it could
        # be read in two ways.
        if not _ID.fullmatch(headers.get("webhook-id", "")):
            return False
        if not _TIME.fullmatch(headers.get("webhook-timestamp", "")):
            return False
        from standardwebhooks import WebhookVerificationError

        try:
            self._signer().verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, WebhookError, ValueError):
            return False
        return True

    def _answered(self, said: _Said, ticket: Ticket, desk: Desk) -> Reply:
        stands = desk.stands(ticket.request)
        if stands is None or stands.id != ticket.request:
            return _reply(409, "there is no such request any more")
        try:
            if said.answer == "edit":
                told = desk.edit(
                    ticket.request,
                    by=ticket.by,
                    args=said.args,
                    channel=self.name,
                    revision=ticket.revision,
                )
            elif said.answer != "reject" and stands.open and not whole(stands):
                return _reply(409, "not every argument was sent whole, so open the request", stands)
            else:
                told = desk.vote(
                    ticket.request,
                    by=ticket.by,
                    approved=said.answer != "reject",
                    channel=self.name,
                    revision=ticket.revision,
                    reason=said.reason,
                    glass=said.answer == "glass",
                    permit=said.permit,
                )
        except StoreError:
            raise
        except (SafeRunError, ValueError, RecursionError) as problem:
            return _reply(409, str(problem)[:400], stands)
        return _told(told)

    def _refused(self, desk: Desk, status: int, why: str) -> Reply:
        self._refusals.note(desk, f"a callback: {why}")
        return _reply(status, why)


_ALREADY = "this webhook-id has come already"

_ALARMED = "alarmed "
"""Begins the receipt of a request of which it was told that somebody has broken the glass."""


_SECRET = 32
"""Characters of a secret in base64: of 24 bytes, the least that Standard Webhooks allows."""


def _event(request: Request, receipt: str | None) -> tuple[Type, str] | None:
    """What is sent of a request, and the receipt for it; None where nothing is.

    The receipt says whether it was sent that nobody can answer any more, and with which state.
    """
    if request.open:
        return ("approval.requested" if receipt is None else "approval.changed"), "sent"
    if receipt in (None, "sent"):
        return "approval.ended", f"ended {request.state}"
    if request.state in ("approved", "executing") or receipt == f"ended {request.state}":
        return None
    return "approval.outcome", f"ended {request.state}"


def _table(name: str, settings: Config, where: str) -> WebhookTable:
    known = settings.approval.webhook
    _, _, named = name.partition(".")
    if named in known:
        return known[named]
    if not named and len(known) == 1:
        return next(iter(known.values()))
    if not known:
        raise ConfigError(f"{where}the channel {name} needs a table [approval.webhook.NAME].")
    names = ", ".join(f"webhook.{each}" for each in known)
    raise ConfigError(f"{where}there is no channel {name!r}; there are: {names}.")


def _depth(value: object) -> int:
    """How deep lists and objects lie in one another."""
    deepest, left = 0, [(value, 1)]
    while left:
        each, depth = left.pop()
        deepest = max(deepest, depth)
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        left += [(one, depth + 1) for one in inside]
    return deepest


def _told(answered: Answered) -> Reply:
    status = 200 if answered.counted else 409
    return _reply(
        status, answered.why, answered.request, counted=answered.counted, grant=answered.grant
    )


def _reply(
    status: int,
    why: str | None,
    request: Request | None = None,
    *,
    counted: bool = False,
    grant: str | None = None,
) -> Reply:
    body: dict[str, object] = {"counted": counted, "why": why}
    if grant is not None:
        body["grant"] = grant
    if request is not None:
        body |= {"state": request.state, "revision": request.revision}
    return Reply(status, msgspec.json.encode(body), "application/json")
