"""The pages of the console, and what is done by their forms.

Every form goes to the desk, whose answer is shown as it is: nothing here decides whether
somebody may answer, or whether an answer still counts. A page reads; only a POST acts.
"""

import asyncio
import functools
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import parse_qsl

import jinja2
import msgspec
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from saferun.approval import MAX_GRANT, Channel, Request
from saferun.approval.inert import inert
from saferun.config import Config
from saferun.console import form, view
from saferun.console.before import History
from saferun.console.login import Login, LoginError, Secret
from saferun.console.session import LASTS, NOBODY, Session, Sessions, Who
from saferun.console.shield import Shield, is_loopback
from saferun.desk import Answered, Desk, Permit
from saferun.errors import SafeRunError
from saferun.store import Moved, Reader, Requests, Store
from saferun.store.anchors import anchored

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from saferun.channel.reply import Called

Fields: TypeAlias = Mapping[str, Sequence[str]]

NAME = "console"
"""The channel that stands in the ledger beside an answer that was given here."""

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

_ID = re.compile(r"a-[0-9a-f]{20}")
_INSIDE = re.compile(r"/(requests(/a-[0-9a-f]{20})?|grants)?")

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
        self.desk = Desk(store, settings)
        self.sessions = sessions or Sessions()
        self.history = History(store.path)
        self._login = login or Secret(store, settings)
        self._breakers = self.desk.people.meant(settings.approval.break_glass)
        self._called_back: dict[str, Called] = {
            each.name: cast("Called", each) for each in channels if hasattr(each, "receive")
        }
        self._streams: set[asyncio.Event] = set()
        self._closed = False
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
        self._closed = True

    def _routed(self) -> Starlette:
        page, act = self._page, self._act
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
                Route("/live", self._live),
                Route("/logout", act(self._logout), methods=["POST"]),
                Route("/login", self._login_page, methods=["GET", "POST"]),
                Route("/enter", self._enter, methods=["GET", "POST"]),
                Route("/channels/{name}/{path:path}", self._called, methods=["GET", "POST"]),
                Mount("/static", StaticFiles(directory=_HERE / "static")),
            ],
            exception_handlers={SafeRunError: self._failed, 404: self._missing, 500: _broken},
        )

    # Who asks, and how they are answered.

    def _page(
        self, show: Callable[[Asked, Session], Response]
    ) -> Callable[[Asked], Awaitable[Response]]:
        """A page for whoever is logged in."""

        async def shown(asked: Asked) -> Response:
            session = self._session(asked)
            if session is None:
                return self._outside(asked)
            return await run_in_threadpool(show, asked, session)

        return shown

    def _act(
        self, do: Callable[[Asked, Session, Fields], Response]
    ) -> Callable[[Asked], Awaitable[Response]]:
        """What a form of one of our pages does, for whoever has been shown that page."""

        async def done(asked: Asked) -> Response:
            session = self._session(asked)
            if session is None:
                return RedirectResponse("/login", 303)
            fields = await _form(asked)
            if not session.sent(_one(fields, "csrf")):
                return PlainTextResponse("That form is not of this session; open it again.", 403)
            return await run_in_threadpool(do, asked, session, fields)

        return done

    def _session(self, asked: Asked) -> Session | None:
        return self.sessions.of(asked.cookies.get(_cookie(asked)))

    def _outside(self, asked: Asked) -> Response:
        path = asked.url.path
        if asked.headers.get("sec-fetch-site") == "cross-site" and _cookie(asked):
            # From a link in a chat or a mail, a browser leaves the strict cookie out. A page of
            # our own that opens the same once more has it sent.
            return self._shown("again.html", None, path=path if _INSIDE.fullmatch(path) else "/")
        if path in ("/inbox", "/live"):
            return PlainTextResponse("Log in first.", 401)
        inside = path if _INSIDE.fullmatch(path) and path != "/" else None
        return RedirectResponse(f"/login?next={inside}" if inside else "/login", 303)

    def _shown(
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

    def _failed(self, _: Asked, problem: Exception) -> Response:
        status = 503
        if isinstance(problem, (TooLargeError, UnreadableError)):
            status = 413 if isinstance(problem, TooLargeError) else 400
        return PlainTextResponse(inert(str(problem), 600), status)

    def _missing(self, asked: Asked, _: Exception) -> Response:
        return self._shown("missing.html", self._session(asked), status=404)

    def _vouched(self) -> str:
        """How far the ledger is held outside, for the head of every page."""
        with Reader(self.store.path) as reader:
            size, anchors = reader.head().size, anchored(reader)
        outside = max((each.size for each in anchors), default=0)
        held = f"{outside:,} held outside" if outside else "none held outside"
        return f"{size:,} entries, {held}"

    # Pages.

    def _open(self, who: Who) -> list[view.Row]:
        now = self.store.now()
        rows = [view.row(each, self.desk.people, who, now) for each in self.desk.open()[:LISTED]]
        # What waits for the reader stands first; else what ends first does.
        return sorted(rows, key=lambda each: not each.mine)

    def _inbox(self, _: Asked, session: Session) -> Response:
        return self._shown("inbox.html", session, rows=self._open(session.who))

    def _list(self, asked: Asked, session: Session) -> Response:
        current = asked.query_params.get("current", "")[:40]
        rows = self._open(session.who)
        page = self._pages.get_template("list.html").render(rows=rows, current=current)
        return HTMLResponse(page)

    def _settled(self, _: Asked, session: Session) -> Response:
        now = self.store.now()
        with Requests(self.store.path) as requests:
            found = requests.newest(LISTED)
        rows = [view.row(each, self.desk.people, session.who, now) for each in found]
        return self._shown("settled.html", session, rows=rows)

    def _request(self, asked: Asked, session: Session) -> Response:
        return self._one_request(asked, session, whole="whole" in asked.query_params)

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
        glass = who.answers and who.person in self._breakers and request.open
        entered = {key: values[0] for key, values in (said or {}).items() if values}
        return self._shown(
            "request.html",
            session,
            status=status,
            it=looked,
            rows=self._open(who),
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
            names=[name for name in question.args if name not in question.hidden][: view.MANY],
        )

    def _text(self, asked: Asked, _: Session) -> Response:
        request = self._named(asked)
        text = None if request is None else view.whole_text(request, asked.path_params["part"])
        if text is None:
            return PlainTextResponse("There is nothing of that name.", 404)
        return PlainTextResponse(text)

    def _grants(self, _: Asked, session: Session) -> Response:
        now = self.store.now()
        with Requests(self.store.path) as requests:
            found = requests.grants(now)[:LISTED]
        grants = [view.granted(each, session.who, now) for each in found]
        return self._shown("grants.html", session, grants=grants)

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
        who, named = session.who, _one(said, "grant")
        with Requests(self.store.path) as requests:
            found = next(
                (each for each in requests.grants(self.store.now()) if each.id == named), None
            )
        if found is not None and not view.may_revoke(found, who):
            session.said = ("bad", "Only who has given a grant, or an admin, takes it back.")
        elif (
            found is None
            or self.desk.revoke(named, by=str(who.person), credential=who.credential) is None
        ):
            session.said = ("bad", "That grant does not hold any more.")
        else:
            session.said = ("good", "Taken back: the next such call is asked about again.")
        return RedirectResponse("/grants", 303)

    # Coming and going.

    async def _login_page(self, asked: Asked) -> Response:
        if asked.method != "POST":
            inside = asked.query_params.get("next", "")
            return self._shown("login.html", None, next=inside, person="", refused=None)
        said = await _form(asked)
        entered = {key: values[0] for key, values in said.items() if values}
        address = asked.client.host if asked.client is not None else ""
        try:
            who = await run_in_threadpool(self._login.identify, entered, address)
        except LoginError as problem:
            return self._shown(
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
            return self._shown("enter.html", None, refused=None)
        who = self.sessions.enter(_one(await _form(asked), "code").strip().rpartition("#")[2])
        if who is None:
            why = "That link has been used, or is too old; start saferun serve again for another."
            return self._shown("enter.html", None, status=401, refused=why)
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
        session = self._session(asked)
        if session is None:
            return self._outside(asked)
        if len(self._streams) >= STREAMS:
            return PlainTextResponse("Too many pages are live; this one works without.", 503)
        return EventSourceResponse(self._moves(asked.cookies[_cookie(asked)]), ping=15)

    async def _moves(self, token: str) -> AsyncIterator[dict[str, str]]:
        """Tell of each request that moves, as long as the session holds."""
        loop, woken, moved = asyncio.get_running_loop(), asyncio.Event(), set[str]()
        lock = threading.Lock()

        def told(moves: list[Moved]) -> None:
            with lock:
                moved.update(each.id for each in moves[:LISTED])
            loop.call_soon_threadsafe(woken.set)

        self._streams.add(woken)
        leave = self.store.feed.follow(told)
        try:
            begun = False
            while not self._closed and self.sessions.of(token) is not None:
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
                with lock:
                    names, moved = sorted(moved), set()
                for name in names[:LISTED]:
                    yield {"event": "moved", "data": name}
        finally:
            leave()
            self._streams.discard(woken)

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
    chosen = _one(said, "for") or "once"
    if chosen == "once":
        return None
    by = tuple((said.get("by") or ())[: view.MANY])
    if chosen == "run":
        return Permit(MAX_GRANT, run=True, by=by)
    minutes = int(chosen)
    if minutes not in (10, 30, 60):
        raise ValueError(chosen)
    return Permit(minutes * 60_000_000, run=False, by=by)


def _seen(text: str) -> dict[str, str] | None:
    """What a page says that it has shown; None where it says nothing that makes sense."""
    try:
        return msgspec.json.decode(text[:100_000].encode(errors="replace"), type=dict[str, str])
    except msgspec.MsgspecError:
        return None


def _sentence(why: str | None) -> str:
    text = why or "It did not count."
    if text.startswith(("it ", "there ", "what ", "whoever ", "policy ", "nothing ")):
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
