"""The inbox: what agents ask of people, each request on its own page, and what is granted.

Every form goes to the desk, whose answer is shown as it is: nothing here decides whether
somebody may answer, or whether an answer still counts. A page reads; only a POST acts.
"""

import asyncio
import functools
import re
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun.approval import Permit, Request
from saferun.approval.grant import narrowing, permit
from saferun.approval.inert import inert
from saferun.console import form, view
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.live import Streams
from saferun.console.sent import Fields, number, one
from saferun.console.session import Session, Who
from saferun.desk import Answered, Desk
from saferun.store import Moved, Requests, Store

NAME = "console"
"""The channel that stands in the ledger beside an answer that was given here."""

ALARMED = 86_400_000_000
"""Microseconds that the inbox goes on telling that somebody has broken the glass: a day."""

LISTED = 200
"""Requests on one page, open or settled."""

LARGE = 2
"""Pages and texts with everything in them that are made at the same time."""

SLICE = 1_000_000
"""Characters of a text that are sent at a time."""

LOOK = 2.0
"""Seconds between two looks whether those whose pages are live are still who they were."""

_ID = re.compile(r"a-[0-9a-f]{20}")


class Inbox:
    """The pages of the requests of one store, and of its grants."""

    def __init__(self, store: Store, desk: Desk, history: History, face: Face) -> None:
        self._store = store
        self._desk = desk
        self._history = history
        self._face = face
        self._streams = Streams()
        self._large = threading.BoundedSemaphore(LARGE)

    def routes(self) -> list[Route]:
        page, act = self._face.page, self._face.act
        return [
            Route("/", page(self._inbox)),
            Route("/inbox", page(self._list)),
            Route("/requests", page(self._settled)),
            Route("/requests/{id}", page(self._request)),
            Route("/requests/{id}", act(self._answer), methods=["POST"]),
            Route("/requests/{id}/{part}.txt", page(self._text)),
            Route("/grants", page(self._grants)),
            Route("/grants", act(self._revoke), methods=["POST"]),
            Route("/live", self._live),
        ]

    # Pages.

    def _open(self, who: Who) -> dict[str, Any]:
        """The rows of the inbox, how many more there are, and the alarms above them."""
        now, people = self._store.now(), self._desk.people
        # What is over by now is ended by that, and stands in nobody's way.
        found = self._desk.open()
        with Requests(self._store.path) as requests:
            waiting = requests.waiting(now)
        rows = [view.row(each, people, who, now) for each in found]
        # What waits for the reader stands first; else what ends first does.
        rows.sort(key=lambda each: not each.mine)
        more = max(waiting - LISTED, 0)
        return {"rows": rows[:LISTED], "more": more, "alarms": self._alarms()}

    def _alarms(self) -> list[view.Alarm]:
        """Where somebody has broken the glass lately, for everybody to see."""
        now = self._store.now()
        with Requests(self._store.path) as requests:
            found = requests.glass(now - ALARMED, view.MANY)
        return [view.alarm(each, each.glass, now) for each in found if each.glass is not None]

    def _inbox(self, _: Asked, session: Session) -> Response:
        return self._face.shown("inbox.html", session, **self._open(session.who))

    def _list(self, asked: Asked, session: Session) -> Response:
        current = asked.query_params.get("current", "")[:40]
        about = self._open(session.who)
        return self._face.part("list.html", **about, current=current)

    def _settled(self, _: Asked, session: Session) -> Response:
        now = self._store.now()
        with Requests(self._store.path) as requests:
            found = requests.newest(LISTED)
        rows = [view.row(each, self._desk.people, session.who, now) for each in found]
        return self._face.shown("settled.html", session, rows=rows)

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
            return self._face.missing(asked)
        who, question = session.who, request.question
        seen = _seen(one(said, "seen")) if said is not None else None
        now, people = self._store.now(), self._desk.people
        looked = view.view(request, people, who, now, whole=whole, seen=seen)
        run = question.run
        glass = (
            request.open
            and who.answers
            and people.glass_objection(f"{who.person}", question) is None
        )
        entered = {key: values[0] for key, values in (said or {}).items() if values}
        return self._face.shown(
            "request.html",
            session,
            status=status,
            it=looked,
            **self._open(who),
            before=None if run is None else self._history.before(run.run_id, request.id),
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
            reason=one(said, "reason")[:2_000] if said is not None else "",
            names=narrowing(question),
        )

    def _text(self, asked: Asked, _: Session) -> Response:
        request = self._named(asked)
        start = max(number(asked.query_params.get("from", "0")), 0)
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
        now = self._store.now()
        with Requests(self._store.path) as requests:
            found = requests.grants(now)
        grants = [view.granted(each, self._desk.people, session.who, now) for each in found]
        # What the reader may take back stands first.
        grants.sort(key=lambda each: not each.mine)
        left = len(grants[LISTED:])
        return self._face.shown("grants.html", session, grants=grants[:LISTED], left=left)

    def _named(self, asked: Asked) -> Request | None:
        named = asked.path_params["id"]
        return self._desk.stands(named) if _ID.fullmatch(named) else None

    # What forms do.

    def _answer(self, asked: Asked, session: Session, said: Fields) -> Response:
        request = self._named(asked)
        if request is None:
            return self._face.missing(asked)
        who = session.who
        if who.person is None or not who.answers:
            why = "You may look and not answer."
            return self._one_request(asked, session, status=403, refused=why)
        act = one(said, "act")
        if act == "edit":
            return self._edited(asked, session, request, said)
        if act not in ("approve", "reject", "glass"):
            return PlainTextResponse("There is no such answer.", 400)
        whole = one(said, "whole") == "yes"
        refused = functools.partial(self._one_request, asked, session, said=said, whole=whole)
        looked = view.view(request, self._desk.people, who, self._store.now(), whole=whole)
        if act != "reject" and request.open and not (looked.whole and looked.shown):
            why = "Not every argument is shown whole, and nobody approves what they cannot see."
            return refused(status=409, refused=why)
        if act != "approve" and not one(said, "reason").strip():
            return refused(status=422, refused="Say why, in a few words.")
        try:
            permit = _permit(said) if act == "approve" else None
        except ValueError:
            return PlainTextResponse("There is no such grant.", 400)
        answered = self._desk.vote(
            request.id,
            by=who.person,
            approved=act != "reject",
            channel=NAME,
            revision=number(one(said, "revision")),
            reason=one(said, "reason"),
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
        answered = self._desk.edit(
            request.id,
            by=session.who.person,
            args=changed,
            channel=NAME,
            revision=number(one(said, "revision")),
            credential=session.who.credential,
        )
        if not answered.counted:
            why = _sentence(answered.why)
            stale = answered.request.revision != number(one(said, "revision"))
            errors = {} if stale or not answered.request.open else {"": why}
            errors |= form.beside(request.question, why) if errors else {}
            return refused(status=409, refused=why, errors=errors)
        session.said = ("good", "Changed. Earlier votes are void: look at it as it is now.")
        return RedirectResponse(f"/requests/{request.id}", 303)

    def _revoke(self, _: Asked, session: Session, said: Fields) -> Response:
        who, named = session.who, one(said, "grant")[:100]
        if who.person is None or not who.answers:
            session.said = ("bad", "You may look and not answer.")
            return RedirectResponse("/grants", 303)
        revoked = self._desk.revoke(named, by=who.person, credential=who.credential)
        if revoked.grant is None:
            session.said = ("bad", _sentence(revoked.why))
        else:
            session.said = ("good", "Taken back: the next such call is asked about again.")
        return RedirectResponse("/grants", 303)

    # What is live.

    async def _live(self, asked: Asked) -> Response:
        session = await run_in_threadpool(self._face.session, asked)
        if session is None:
            return self._face.outside(asked)
        return self._streams.answer(session, functools.partial(self._moves, asked, session))

    async def _moves(self, asked: Asked, session: Session) -> AsyncIterator[dict[str, str]]:
        """Tell of each request that moves, as long as the session holds."""
        loop, moved, woken = asyncio.get_running_loop(), set[str](), asyncio.Event()
        lock = threading.Lock()

        def told(moves: list[Moved]) -> None:
            with lock:
                moved.update(each.id for each in moves[:LISTED])
            loop.call_soon_threadsafe(woken.set)

        leave = self._store.feed.follow(told)
        try:
            begun, looked = False, 0.0
            while not self._face.closed and not session.over:
                if loop.time() - looked > LOOK:
                    looked = loop.time()
                    if await run_in_threadpool(self._face.session, asked) is None:
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
                if await run_in_threadpool(self._face.session, asked) is None:
                    return
                with lock:
                    names, moved = sorted(moved), set()
                for name in names[:LISTED]:
                    yield {"event": "moved", "data": name}
        finally:
            leave()


def _permit(said: Fields) -> Permit | None:
    """How far a yes goes. Raises ValueError where it goes nowhere that is known."""
    return permit(one(said, "for") or "once", tuple((said.get("by") or ())[: view.MANY]))


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
