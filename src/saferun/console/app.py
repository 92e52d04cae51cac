"""The pages of the console, and what is done by their forms.

Every form goes to the desk, whose answer is shown as it is: nothing here decides whether
somebody may answer, or whether an answer still counts. A page reads; only a POST acts.
"""

import asyncio
import functools
import logging
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import parse_qsl, quote

import jinja2
import msgspec
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from saferun.approval import Channel, Permit, Request
from saferun.approval.grant import narrowing, permit
from saferun.approval.inert import inert
from saferun.config import Config
from saferun.console import form, view
from saferun.console.before import History, IndexingError
from saferun.console.login import Login, LoginError, Secret
from saferun.console.runs import Runs
from saferun.console.session import LASTS, NOBODY, Session, Sessions, Who
from saferun.console.shield import Shield, is_loopback
from saferun.desk import Answered, Desk
from saferun.errors import SafeRunError
from saferun.store import Moved, Reader, Requests, Store
from saferun.store.anchors import anchored
from saferun.store.versions import is_vouched
from saferun.telemetry.route import scraping

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from saferun.channel.reply import Called

log = logging.getLogger("saferun")

Fields: TypeAlias = Mapping[str, Sequence[str]]

NAME = "console"
"""The channel that stands in the ledger beside an answer that was given here."""

ALARMED = 86_400_000_000
"""Microseconds that the inbox goes on telling that somebody has broken the glass: a day."""

LISTED = 200
"""Requests on one page, open or settled."""

MAX_FORM = 2_000_000
"""Bytes of a form: an argument of a million characters, encoded."""

MAX_CALLBACK = 1_000_000
"""Bytes of what a channel is called back with."""

PATIENCE = 15.0
"""Seconds in which a form has to be here whole."""

STREAMS = 64
"""Pages that are live at the same time. More of them work, and are not live."""

STREAMS_EACH = 8
"""Of these, those of one session."""

LARGE = 2
"""Pages and texts with everything in them that are made at the same time."""

SLICE = 1_000_000
"""Characters of a text that are sent at a time."""

LOOK = 2.0
"""Seconds between two looks whether those whose pages are live are still who they were."""

_ID = re.compile(r"a-[0-9a-f]{20}")
_ROLES = ("viewer", "approver", "admin")

_INSIDE = re.compile(
    r"/(requests(/a-[0-9a-f]{20})?|grants|runs|run\?id=[A-Za-z0-9._~%+-]{1,800}(&frame=[0-9]{1,9})?)?"
)
"""Where somebody may be sent after they have logged in: our own pages, and nothing else."""

_HERE = Path(__file__).parent


class TooLargeError(SafeRunError):
    """What was sent is more than anybody enters."""


class UnreadableError(SafeRunError):
    """What was sent is no form."""


class Console:
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
        self.store = store
        self._settings = settings
        self.desk = Desk(store, settings)
        self.sessions = sessions or Sessions()
        self.history = History(store.path)
        self._login = login or Secret(store, self.desk.roster)
        self._called_back: dict[str, Called] = {
            each.name: cast("Called", each) for each in channels if hasattr(each, "receive")
        }
        self._runs = Runs(self.history, self)
        self._streams: dict[asyncio.Event, str] = {}
        self._large = threading.BoundedSemaphore(LARGE)
        self.closed = False
        self._pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.filters["span"] = _span
        self.app: ASGIApp = Shield(self._routed(), settings.approval.url)

    def close(self) -> None:
        """End what is live, so that nobody waits for it."""
        self.closed = True
        self._runs.close()

    def _routed(self) -> Starlette:
        page, act = self.page, self._act
        return Starlette(
            routes=[
                Route("/", page(self._inbox)),
                Route("/inbox", page(self._list)),
                Route("/requests", page(self._settled)),
                Route("/requests/{id}", page(self._request)),
                Route("/requests/{id}", act(self._answer), methods=["POST"]),
                Route("/requests/{id}/{part}.txt", page(self._text)),
                Route("/grants", page(self._grants)),
                Route("/grants", act(self._revoke), methods=["POST"]),
                *self._runs.routes(),
                Route("/live", self._live),
                Route("/metrics", scraping(self.store, self._settings, self.session)),
                Route("/logout", act(self._logout), methods=["POST"]),
                Route("/login", self._login_page, methods=["GET", "POST"]),
                Route("/enter", self._enter, methods=["GET", "POST"]),
                Route("/channels/{name}/{path:path}", self._called, methods=["GET", "POST"]),
                Mount("/static", StaticFiles(directory=_HERE / "static")),
            ],
            exception_handlers={SafeRunError: self._failed, 404: self._missing, 500: _broken},
        )

    # Who asks, and how they are answered.

    def page(
        self, show: Callable[[Asked, Session], Response]
    ) -> Callable[[Asked], Awaitable[Response]]:
        """A page for whoever is logged in."""

        async def shown(asked: Asked) -> Response:
            session = await run_in_threadpool(self.session, asked)
            if session is None:
                return self._outside(asked)
            return await run_in_threadpool(show, asked, session)

        return shown

    def _act(
        self, do: Callable[[Asked, Session, Fields], Response]
    ) -> Callable[[Asked], Awaitable[Response]]:
        """What a form of one of our pages does, for whoever has been shown that page."""

        async def done(asked: Asked) -> Response:
            session = await run_in_threadpool(self.session, asked)
            if session is None:
                return RedirectResponse(f"/login{_next(asked.url.path)}", 303)
            fields = await _form(asked)
            if not session.sent(_one(fields, "csrf")):
                return PlainTextResponse("That form is not of this session; open it again.", 403)
            return await run_in_threadpool(do, asked, session, fields)

        return done

    def session(self, asked: Asked) -> Session | None:
        return self._here(asked.cookies.get(_cookie(asked)))

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

    def _outside(self, asked: Asked) -> Response:
        path = asked.url.path
        whole = f"{path}?{asked.url.query}" if path == "/run" and asked.url.query else path
        inside = whole if _INSIDE.fullmatch(whole) else "/"
        if asked.headers.get("sec-fetch-site") == "cross-site" and _cookie(asked):
            # From a link in a chat or a mail, a browser leaves the strict cookie out. A page of
            # our own that opens the same once more has it sent.
            return self.shown("again.html", None, path=inside)
        if path in ("/inbox", "/live") or path.startswith("/run/"):
            return PlainTextResponse("Log in first.", 401)
        return RedirectResponse(f"/login{_next(whole)}", 303)

    def shown(
        self, template: str, session: Session | None, *, status: int = 200, **about: Any
    ) -> Response:
        told = session.told() if session is not None else None
        page = self._pages.get_template(template).render(
            who=session.who if session is not None else NOBODY,
            here=session is not None,
            csrf=session.csrf if session is not None else "",
            told=about.pop("told", told),
            ledger=self._vouched() if session is not None else "",
            **about,
        )
        return HTMLResponse(page, status)

    def part(self, template: str, **about: Any) -> Response:
        """Part of a page, for one that stands already."""
        return HTMLResponse(self._pages.get_template(template).render(**about))

    def _failed(self, _: Asked, problem: Exception) -> Response:
        if isinstance(problem, (TooLargeError, UnreadableError)):
            status = 413 if isinstance(problem, TooLargeError) else 400
            return PlainTextResponse(inert(str(problem), 600), status)
        if isinstance(problem, IndexingError):
            return PlainTextResponse(str(problem), 503, {"retry-after": "30"})
        # What is wrong with it names paths of this machine, which are not for whoever asks.
        log.error("saferun: the console could not answer: %s", problem)
        why = "The store cannot be used now; the log of saferun serve says why."
        return PlainTextResponse(why, 503)

    def _missing(self, asked: Asked, _: Exception) -> Response:
        try:
            return self.shown("missing.html", self.session(asked), status=404)
        except SafeRunError as problem:
            return self._failed(asked, problem)

    def _vouched(self) -> str:
        """How far the ledger is held outside, for the head of every page."""
        with Reader(self.store.path) as reader:
            size, anchors = reader.head().size, anchored(reader)
        outside = max((each.size for each in anchors), default=0)
        held = f"{outside:,} held outside" if outside else "none held outside"
        return f"{size:,} entries, {held}"

    # Pages.

    def _open(self, who: Who) -> dict[str, Any]:
        """The rows of the inbox, how many more there are, and the alarms above them."""
        now, people = self.store.now(), self.desk.people
        # What is over by now is ended by that, and stands in nobody's way.
        found = self.desk.open()
        with Requests(self.store.path) as requests:
            waiting = requests.waiting(now)
        rows = [view.row(each, people, who, now) for each in found]
        # What waits for the reader stands first; else what ends first does.
        rows.sort(key=lambda each: not each.mine)
        more = max(waiting - LISTED, 0)
        return {"rows": rows[:LISTED], "more": more, "alarms": self._alarms()}

    def _alarms(self) -> list[view.Alarm]:
        """Where somebody has broken the glass lately, for everybody to see."""
        now = self.store.now()
        with Requests(self.store.path) as requests:
            found = requests.glass(now - ALARMED, view.MANY)
        return [view.alarm(each, each.glass, now) for each in found if each.glass is not None]

    def _inbox(self, _: Asked, session: Session) -> Response:
        return self.shown("inbox.html", session, **self._open(session.who))

    def _list(self, asked: Asked, session: Session) -> Response:
        current = asked.query_params.get("current", "")[:40]
        about = self._open(session.who)
        return self.part("list.html", **about, current=current)

    def _settled(self, _: Asked, session: Session) -> Response:
        now = self.store.now()
        with Requests(self.store.path) as requests:
            found = requests.newest(LISTED)
        rows = [view.row(each, self.desk.people, session.who, now) for each in found]
        return self.shown("settled.html", session, rows=rows)

    def _request(self, asked: Asked, session: Session) -> Response:
        if "whole" not in asked.query_params:
            return self._one_request(asked, session)
        with self._large:
            return self._one_request(asked, session, whole=True)

    def _one_request(
        self,
        asked: Asked,
        session: Session,
        *,
        whole: bool = False,
        status: int = 200,
        refused: str | None = None,
        said: Fields | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> Response:
        request = self._named(asked)
        if request is None:
            return self._missing(asked, KeyError())
        who, question = session.who, request.question
        seen = _seen(_one(said, "seen")) if said is not None else None
        looked = view.view(request, self.desk.people, who, self.store.now(), whole=whole, seen=seen)
        run = question.run
        glass = (
            request.open
            and who.answers
            and self.desk.people.glass_objection(f"{who.person}", question) is None
        )
        entered = {key: values[0] for key, values in (said or {}).items() if values}
        return self.shown(
            "request.html",
            session,
            status=status,
            it=looked,
            **self._open(who),
            before=None if run is None else self.history.before(run.run_id, request.id),
            fields=form.fields(
                question,
                entered if errors else None,
                errors,
                most=view.WHOLE if whole else view.CUT,
            ),
            editing=bool(errors),
            refused=inert(refused, 1_000) if refused is not None else None,
            moved=any(each.changed for each in looked.args),
            glass=glass,
            reason=_one(said, "reason")[:2_000] if said is not None else "",
            names=narrowing(question),
        )

    def _text(self, asked: Asked, _: Session) -> Response:
        request = self._named(asked)
        start = max(_number(asked.query_params.get("from", "0")), 0)
        with self._large:
            text = None if request is None else view.whole_text(request, asked.path_params["part"])
        if text is None:
            return PlainTextResponse("There is nothing of that name.", 404)
        end = start + SLICE
        more = (
            f"\n… {len(text) - end:,} characters more at ?from={end}\n" if len(text) > end else ""
        )
        return PlainTextResponse(text[start:end] + more)

    def _grants(self, _: Asked, session: Session) -> Response:
        now = self.store.now()
        with Requests(self.store.path) as requests:
            found = requests.grants(now)
        grants = [view.granted(each, self.desk.people, session.who, now) for each in found]
        # What the reader may take back stands first.
        grants.sort(key=lambda each: not each.mine)
        left = len(grants[LISTED:])
        return self.shown("grants.html", session, grants=grants[:LISTED], left=left)

    def _named(self, asked: Asked) -> Request | None:
        named = asked.path_params["id"]
        return self.desk.stands(named) if _ID.fullmatch(named) else None

    # What forms do.

    def _answer(self, asked: Asked, session: Session, said: Fields) -> Response:
        request = self._named(asked)
        if request is None:
            return self._missing(asked, KeyError())
        who = session.who
        if who.person is None or not who.answers:
            why = "You may look and not answer."
            return self._one_request(asked, session, status=403, refused=why)
        act = _one(said, "act")
        if act == "edit":
            return self._edited(asked, session, request, said)
        if act not in ("approve", "reject", "glass"):
            return PlainTextResponse("There is no such answer.", 400)
        whole = _one(said, "whole") == "yes"
        refused = functools.partial(self._one_request, asked, session, said=said, whole=whole)
        looked = view.view(request, self.desk.people, who, self.store.now(), whole=whole)
        if act != "reject" and request.open and not (looked.whole and looked.shown):
            why = "Not every argument is shown whole, and nobody approves what they cannot see."
            return refused(status=409, refused=why)
        if act != "approve" and not _one(said, "reason").strip():
            return refused(status=422, refused="Say why, in a few words.")
        try:
            permit = _permit(said) if act == "approve" else None
        except ValueError:
            return PlainTextResponse("There is no such grant.", 400)
        answered = self.desk.vote(
            request.id,
            by=who.person,
            approved=act != "reject",
            channel=NAME,
            revision=_number(_one(said, "revision")),
            reason=_one(said, "reason"),
            glass=act == "glass",
            credential=who.credential,
            permit=permit,
        )
        if not answered.counted:
            return refused(status=409, refused=_sentence(answered.why))
        session.said = ("good", _came_of(answered, act))
        return RedirectResponse(f"/requests/{request.id}", 303)

    def _edited(self, asked: Asked, session: Session, request: Request, said: Fields) -> Response:
        assert session.who.person is not None
        entered = {key: values[0] for key, values in said.items() if values}
        changed, errors = form.changes(request.question, entered)
        refused = functools.partial(self._one_request, asked, session, said=said)
        if errors:
            why = "Something that was entered cannot be used."
            return refused(status=422, refused=why, errors=errors)
        answered = self.desk.edit(
            request.id,
            by=session.who.person,
            args=changed,
            channel=NAME,
            revision=_number(_one(said, "revision")),
            credential=session.who.credential,
        )
        if not answered.counted:
            why = _sentence(answered.why)
            stale = answered.request.revision != _number(_one(said, "revision"))
            errors = {} if stale or not answered.request.open else {"": why}
            errors |= form.beside(request.question, why) if errors else {}
            return refused(status=409, refused=why, errors=errors)
        session.said = ("good", "Changed. Earlier votes are void: look at it as it is now.")
        return RedirectResponse(f"/requests/{request.id}", 303)

    def _revoke(self, _: Asked, session: Session, said: Fields) -> Response:
        who, named = session.who, _one(said, "grant")[:100]
        if who.person is None or not who.answers:
            session.said = ("bad", "You may look and not answer.")
            return RedirectResponse("/grants", 303)
        revoked = self.desk.revoke(named, by=who.person, credential=who.credential)
        if revoked.grant is None:
            session.said = ("bad", _sentence(revoked.why))
        else:
            session.said = ("good", "Taken back: the next such call is asked about again.")
        return RedirectResponse("/grants", 303)

    # Coming and going.

    async def _login_page(self, asked: Asked) -> Response:
        if asked.method != "POST":
            inside = asked.query_params.get("next", "")
            return self.shown("login.html", None, next=inside, person="", refused=None)
        said = await _form(asked)
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
        return self._begun(asked, who, inside if _INSIDE.fullmatch(inside) else "/")

    async def _enter(self, asked: Asked) -> Response:
        if asked.method != "POST":
            return self.shown("enter.html", None, refused=None)
        who = self.sessions.enter(_one(await _form(asked), "code").strip().rpartition("#")[2])
        if who is None:
            why = "That link has been used, or is too old; start saferun serve again for another."
            await run_in_threadpool(self.desk.refused, NAME, "a one-time link that is none by now")
            return self.shown("enter.html", None, status=401, refused=why)
        return self._begun(asked, who, "/")

    def _begun(self, asked: Asked, who: Who, path: str) -> Response:
        # Whoever was here before in this browser is not any more.
        self.sessions.end(asked.cookies.get(_cookie(asked)))
        answer = RedirectResponse(path, 303)
        answer.set_cookie(
            _cookie(asked),
            self.sessions.begin(who),
            max_age=int(LASTS),
            httponly=True,
            samesite="strict",
            secure=_secure(asked),
        )
        return answer

    def _logout(self, asked: Asked, _: Session, __: Fields) -> Response:
        self.sessions.end(asked.cookies.get(_cookie(asked)))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(
            _cookie(asked),
            httponly=True,
            samesite="strict",
            secure=_secure(asked),
        )
        return answer

    # What is live.

    async def _live(self, asked: Asked) -> Response:
        session = await run_in_threadpool(self.session, asked)
        if session is None:
            return self._outside(asked)
        token = asked.cookies[_cookie(asked)]
        own = sum(each == token for each in self._streams.values())
        if len(self._streams) >= STREAMS or own >= STREAMS_EACH:
            return PlainTextResponse("Too many pages are live; this one works without.", 503)
        # Counted at once: many may come together, and each of them begins later.
        woken = asyncio.Event()
        self._streams[woken] = token
        return _Live(self._moves(token, woken), functools.partial(self._streams.pop, woken, None))

    async def _moves(self, token: str, woken: asyncio.Event) -> AsyncIterator[dict[str, str]]:
        """Tell of each request that moves, as long as the session holds."""
        loop, moved = asyncio.get_running_loop(), set[str]()
        lock = threading.Lock()

        def told(moves: list[Moved]) -> None:
            with lock:
                moved.update(each.id for each in moves[:LISTED])
            loop.call_soon_threadsafe(woken.set)

        leave = self.store.feed.follow(told)
        try:
            begun, looked = False, 0.0
            while not self.closed and self.sessions.of(token) is not None:
                if loop.time() - looked > LOOK:
                    looked = loop.time()
                    if await run_in_threadpool(self._here, token) is None:
                        return
                try:
                    async with asyncio.timeout(0.5):
                        await woken.wait()
                except TimeoutError:
                    if not begun:
                        # The feed has surely begun to look: what was missed is looked at now.
                        begun = True
                        yield {"event": "live", "data": ""}
                    continue
                woken.clear()
                if await run_in_threadpool(self._here, token) is None:
                    return
                with lock:
                    names, moved = sorted(moved), set()
                for name in names[:LISTED]:
                    yield {"event": "moved", "data": name}
        finally:
            leave()

    # Channels.

    async def _called(self, asked: Asked) -> Response:
        """A channel is called back: with what was sent, as it was sent."""
        channel = self._called_back.get(asked.path_params["name"])
        if channel is None:
            return PlainTextResponse("There is no such channel.", 404)
        body = await _body(asked, MAX_CALLBACK)
        headers = {name.lower(): value for name, value in asked.headers.items()}
        reply = await run_in_threadpool(
            channel.receive,
            asked.path_params["path"],
            headers,
            body,
            desk=self.desk,
            method=asked.method,
        )
        return Response(reply.body, reply.status, media_type=reply.kind)


def _next(path: str) -> str:
    """What leads on from the login to where somebody was."""
    return f"?next={quote(path)}" if _INSIDE.fullmatch(path) and path != "/" else ""


class _Live(EventSourceResponse):
    """What is told as it happens. However it ends, and if it never begins, `over` is called."""

    def __init__(self, moves: AsyncIterator[dict[str, str]], over: Callable[[], object]) -> None:
        super().__init__(moves, ping=15)
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


def _broken(_: Asked, __: Exception) -> Response:
    return PlainTextResponse("Something went wrong here.", 500)


async def _body(asked: Asked, most: int) -> bytes:
    """What was sent, whole. Raises TooLargeError, UnreadableError."""
    found = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in asked.stream():
                found += chunk
                if len(found) > most:
                    raise TooLargeError(f"That is more than {most:,} bytes.")
    except TimeoutError:
        raise UnreadableError("It took too long to be sent.") from None
    return bytes(found)


async def _form(asked: Asked) -> dict[str, list[str]]:
    """The fields of a form. Raises TooLargeError, UnreadableError."""
    kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _body(asked, MAX_FORM)
    if kind != "application/x-www-form-urlencoded":
        raise UnreadableError("That is not a form.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=1_000)
    except ValueError:
        raise UnreadableError("That form cannot be read.") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _one(fields: Fields | None, name: str) -> str:
    found = (fields or {}).get(name)
    return found[0] if found else ""


def _cookie(asked: Asked) -> str:
    """The name of the session's cookie. Cookies are not kept apart by port, so that is in it."""
    host = asked.headers.get("host", "")
    return f"saferun-{asked.url.port or 80}" if is_loopback(host) else "__Host-saferun"


def _secure(asked: Asked) -> bool:
    """Whether a cookie is for TLS alone: wherever it could be read on its way."""
    host, origin = asked.headers.get("host", ""), asked.headers.get("origin", "")
    return not is_loopback(host) or origin.startswith("https://")


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else -1


def _permit(said: Fields) -> Permit | None:
    """How far a yes goes. Raises ValueError where it goes nowhere that is known."""
    return permit(_one(said, "for") or "once", tuple((said.get("by") or ())[: view.MANY]))


def _seen(text: str) -> dict[str, str] | None:
    """What a page says that it has shown; None where it says nothing that makes sense."""
    try:
        return msgspec.json.decode(text[:100_000].encode(errors="replace"), type=dict[str, str])
    except msgspec.MsgspecError:
        return None


_LOWER = ("it ", "there ", "what ", "whoever ", "policy ", "nothing ", "only ", "where ")


def _sentence(why: str | None) -> str:
    text = why or "It did not count."
    if text.startswith(_LOWER):
        # Others begin with a name, which stays as it is written.
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _came_of(answered: Answered, act: str) -> str:
    request = answered.request
    if act == "reject":
        return "Rejected. The call does not run."
    if request.open:
        return "Your yes is noted. It takes more people than you."
    if answered.grant is not None:
        return "Approved, and further calls like it run without a question until the grant ends."
    return "Approved. The call may run once, exactly as it was shown."


def _span(seconds: float) -> str:
    """A length of time, as `12 m 04 s`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes:02} m"
    return f"{minutes} m {rest:02} s" if minutes else f"{rest} s"
