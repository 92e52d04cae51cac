"""The console as one application: who is here, how they come and go, and how they are answered.

The pages stand in rooms of their own, a group in each. A page reads; only a POST acts.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun.approval import Channel
from saferun.config import Config
from saferun.console import cookie, view
from saferun.console.before import History
from saferun.console.controls import Controls
from saferun.console.exports import Exports
from saferun.console.inbox import NAME, Inbox
from saferun.console.labels import Labels
from saferun.console.ledger import Ledger
from saferun.console.login import Login, LoginError, Secret
from saferun.console.near import Near
from saferun.console.overview import Overview
from saferun.console.policies import Policies
from saferun.console.rule import Rule
from saferun.console.runs import Runs
from saferun.console.sent import Fields, body, form, one
from saferun.console.session import Session, Sessions
from saferun.console.shadow import Shadow
from saferun.console.shield import Shield
from saferun.console.threshold import Threshold
from saferun.console.verification import Verification
from saferun.desk import Desk
from saferun.store import Reader, Store
from saferun.store.versions import is_vouched
from saferun.telemetry.route import scraping

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from saferun.channel.reply import Called

log = logging.getLogger("saferun")

MAX_CALLBACK = 1_000_000
"""Bytes of what a channel is called back with."""

_ROLES = ("viewer", "approver", "admin")

_ASKED = r"\?[A-Za-z0-9._~%+*=&:,@/-]{1,2000}"

_INSIDE = re.compile(
    r"/((requests(/a-[0-9a-f]{20})?|grants|policies|ledger(/entries(/[0-9]{1,18})?)?"
    rf"|runs(/diff)?|overview|controls|near|shadow)({_ASKED})?"
    rf"|(run|export|rule|policy(/text|/diff)?){_ASKED})?"
)
"""Where somebody may be sent after they have logged in: our own pages, and nothing else."""


class Console(Threshold):
    """The console of one store: an ASGI application, and the sessions of who looks at it.

    Args:
        store: where the requests are.
        settings: the configuration, which says who the people are.
        channels: those that are called back from outside, if they can be.
        login: how somebody says who they are; with their own secret by default.
        sessions: who is here.

    """

    def __init__(
        self,
        store: Store,
        settings: Config,
        *,
        channels: Sequence[Channel] = (),
        login: Login | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        super().__init__(
            sessions or Sessions(),
            "saferun serve",
            "The store cannot be used now; the log of saferun serve says why.",
        )
        self.store = store
        self._settings = settings
        self.desk = Desk(store, settings)
        self.history = History(store.path)
        self._login = login or Secret(store, self.desk.roster)
        self._called_back: dict[str, Called] = {
            each.name: cast("Called", each) for each in channels if hasattr(each, "receive")
        }
        self._inbox = Inbox(store, self.desk, self.history, self)
        self._runs = Runs(self.history, self, labels=True)
        self.verification = Verification(store.path, settings)
        self._ledger = Ledger(self.history, settings, self.verification, self._runs.playbacks, self)
        self._policies = Policies(self.history, settings, self)
        catalogue = self._policies.catalogue
        self._rule = Rule(self.history, self.desk, settings, catalogue, self._runs.playbacks, self)
        self._shadow = Shadow(self.history, catalogue, self)
        self._pages.filters["span"] = view.countdown
        self.app: ASGIApp = Shield(self._routed(), settings.approval.url)

    def close(self) -> None:
        """End what is live, so that nobody waits for it."""
        self.closed = True
        self.verification.close()
        self._rule.close()
        self._shadow.close()
        self._runs.close()

    def _routed(self) -> Starlette:
        return Starlette(
            routes=[
                *self._inbox.routes(),
                *self._runs.routes(),
                *Overview(self.store, self.history, self).routes(),
                *Controls(self.store, self._settings, self).routes(),
                *self._ledger.routes(),
                *self._policies.routes(),
                *self._rule.routes(),
                *self._shadow.routes(),
                *Near(self.history, self).routes(),
                *Labels(self.store, self).routes(),
                *Exports(self.history, self._settings.signing, self).routes(),
                Route("/metrics", scraping(self.store, self._settings, self.session)),
                Route("/logout", self.act(self._logout, lost=True), methods=["POST"]),
                Route("/login", self._login_page, methods=["GET", "POST"]),
                Route("/channels/{name}/{path:path}", self._called, methods=["GET", "POST"]),
                *self.way_in(),
            ],
            exception_handlers={**self.answers(), 500: _broken},
        )

    # Who asks, and how they are answered.

    def act(
        self, do: Callable[[Asked, Session, Fields], Response], *, lost: bool = False
    ) -> Callable[[Asked], Awaitable[Response]]:
        """What a form of one of our pages does, for whoever has been shown that page.

        As long as nobody can say who the people are nothing is done, but for what is so `lost`.
        """

        async def done(asked: Asked) -> Response:
            session = await run_in_threadpool(self.session, asked)
            if session is None:
                return RedirectResponse(f"/login{_next(asked.url.path)}", 303)
            fields = await form(asked)
            if not session.sent(one(fields, "csrf")):
                return PlainTextResponse("That form is not of this session; open it again.", 403)
            if not lost and self.desk.roster.now().lost:
                return PlainTextResponse(
                    "The configuration cannot be read, and nobody counts until it is mended.", 409
                )
            return await run_in_threadpool(do, asked, session, fields)

        return done

    def session(self, asked: Asked) -> Session | None:
        return self._here(cookie.token(asked))

    def _here(self, token: str | None) -> Session | None:
        """The session of a token, of somebody who is still who they were. Raises StoreError.

        Whom the configuration knows no more, and whose secret was withdrawn, is here no more. Who
        may do less than before does less at once, and for more they log in again.
        """
        session = self.sessions.of(token)
        if session is None or session.who.person is None:
            return session
        who, known = session.who, self.desk.roster.now()
        gone = who.person in known.gone
        if not gone and who.credential is not None:
            with Reader(self.store.path) as reader:
                gone = not is_vouched(reader, str(who.person), who.credential)
        if gone:
            self.sessions.end(token)
            return None
        person = known.people.person(str(who.person))
        if person is not None and _ROLES.index(person.role) < _ROLES.index(who.role):
            session.who = who._replace(role=person.role)
        return session

    def outside(self, asked: Asked) -> Response:
        path = asked.url.path
        whole = f"{path}?{asked.url.query}" if asked.url.query else path
        inside = whole if _INSIDE.fullmatch(whole) else "/"
        if asked.headers.get("sec-fetch-site") == "cross-site":
            # From a link in a chat or a mail, a browser leaves the strict cookie out. A page of
            # our own that opens the same once more has it sent.
            return self.shown("again.html", None, path=inside)
        if path in ("/inbox", "/live") or path.startswith("/run/"):
            return PlainTextResponse("Log in first.", 401)
        return RedirectResponse(f"/login{_next(whole)}", 303)

    def around(self, session: Session | None) -> dict[str, Any]:
        head = self.verification.head() if session is not None else None
        return {"ledger": head, "login": "/login"}

    def uninvited(self) -> None:
        self.desk.refused(NAME, "a one-time link that is none by now")

    # Coming and going.

    async def _login_page(self, asked: Asked) -> Response:
        if asked.method != "POST":
            inside = asked.query_params.get("next", "")
            here = await run_in_threadpool(self.session, asked)
            if here is not None and here.who.person is not None and _INSIDE.fullmatch(inside):
                # They have logged in in another tab meanwhile.
                return RedirectResponse(inside, 303)
            return self.shown("login.html", None, next=inside, person="", refused=None)
        said = await form(asked)
        entered = {key: values[0] for key, values in said.items() if values}
        address = asked.client.host if asked.client is not None else ""
        try:
            who = await run_in_threadpool(self._login.identify, entered, address)
        except LoginError as problem:
            if problem.tried is not None:
                # Who has tried is worth an entry; what they have tried is nobody's to read.
                await run_in_threadpool(self.desk.refused, NAME, problem.tried)
            return self.shown(
                "login.html",
                None,
                status=problem.status,
                next=entered.get("next", ""),
                person=entered.get("person", "")[:64],
                refused=str(problem),
            )
        inside = entered.get("next", "")
        return self.begun(asked, who, inside if _INSIDE.fullmatch(inside) else "/")

    def _logout(self, asked: Asked, _: Session, __: Fields) -> Response:
        self.sessions.end(cookie.token(asked))
        answer = RedirectResponse("/login", 303)
        cookie.take(answer, asked)
        return answer

    # Channels.

    async def _called(self, asked: Asked) -> Response:
        """A channel is called back: with what was sent, as it was sent."""
        channel = self._called_back.get(asked.path_params["name"])
        if channel is None:
            return PlainTextResponse("There is no such channel.", 404)
        sent = await body(asked, MAX_CALLBACK)
        headers = {name.lower(): value for name, value in asked.headers.items()}
        reply = await run_in_threadpool(
            channel.receive,
            asked.path_params["path"],
            headers,
            sent,
            desk=self.desk,
            method=asked.method,
        )
        return Response(reply.body, reply.status, media_type=reply.kind)


def _next(path: str) -> str:
    """What leads on from the login to where somebody was."""
    return f"?next={quote(path)}" if _INSIDE.fullmatch(path) and path != "/" else ""


def _broken(_: Asked, __: Exception) -> Response:
    return PlainTextResponse("Something went wrong here.", 500)
