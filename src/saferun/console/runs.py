"""The pages of runs: which there are, and one of them frame by frame.

A page is whole without JavaScript. With it, the replay takes what stands here in pieces: the
outline of the run, lines of its list, one frame, a slice of a value. Nothing here can act.
"""

import asyncio
import contextlib
import gzip
import re
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from saferun.approval import inert
from saferun.call import at
from saferun.console import closeup
from saferun.console.session import Session
from saferun.control.amount import dollars
from saferun.replay import Frame, Playback, difference
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.synopsis import Choice, Synopsis, Trait

LISTED = 50
"""Runs on one page."""

LINES = 100
"""Lines of frames on one page, and at once."""

KEPT = 8
"""Runs that stay open for whoever steps through them."""

EVERY = 0.4
"""Seconds between two looks at a run that goes on, however many watch it."""

DIFFERING = 400
"""Pairs of frames on a page of two runs."""

SAVED: tuple[tuple[str, str, tuple[Trait, ...]], ...] = (
    ("all", "All", ()),
    ("denied", "Denied", ("denied",)),
    ("asked", "Asked", ("asked",)),
    ("near", "Near misses", ("near",)),
    ("failed", "Failed", ("failed",)),
    ("stopped", "Stopped", ("stopped",)),
)
"""The views that are always there: a name, what it is called, and what its runs have."""

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class _GoneError(Exception):
    """Whoever looks on is logged in no more."""


class Face(Protocol):
    """What the console gives its pages: who asks, and how they are answered."""

    def page(self, show: Callable[[Asked, Session], Response]) -> Any: ...

    def session(self, asked: Asked) -> Session | None: ...

    def shown(self, template: str, session: Session | None, **about: Any) -> Response: ...

    def part(self, template: str, **about: Any) -> Response: ...

    closed: bool


class _Open:
    """One run that somebody looks at: its playback, for one thread at a time."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.lock = threading.Lock()
        self._reader = Reader(path)
        self._index = Index(self._reader)
        self._index.__enter__()
        self._index.build()
        self.play = Playback(self._index, run_id)
        self._looked = time.monotonic()

    def refresh(self) -> None:
        """Take up what has come since, no more often than `EVERY`. Under the lock."""
        if time.monotonic() - self._looked < EVERY:
            return
        if self._reader.head().size != self._index.size:
            self._index.build()
            self.play.refresh()
        self._looked = time.monotonic()

    def close(self) -> None:
        self._index.__exit__(None, None, None)
        self._reader.close()


class Playbacks:
    """The runs that are being looked at, the ones of late kept open. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def of(self, run_id: str) -> _Open | None:
        """A run, None where there is none of that id. Raises StoreError."""
        with self._lock:
            found = self._open.get(run_id)
            if found is None:
                found = _Open(self._path, run_id)
                if not len(found.play.outline):
                    found.close()
                    return None
                self._open[run_id] = found
                while len(self._open) > KEPT:
                    _, old = self._open.popitem(last=False)
                    with old.lock:
                        old.close()
            self._open.move_to_end(run_id)
        return found

    def close(self) -> None:
        with self._lock:
            while self._open:
                _, old = self._open.popitem()
                with old.lock:
                    old.close()


class Listed(NamedTuple):
    """A run in a list."""

    id: str
    link: str
    who: str
    began: str
    took: str
    frames: int
    cost: str
    denied: int
    asked: int
    near: int
    failed: int
    state: tuple[str, str, str]


class Runs:
    """The pages of runs of one store."""

    def __init__(self, path: Path, face: Face) -> None:
        self._path = path
        self._face = face
        self._open = Playbacks(path)

    def routes(self) -> list[Route]:
        page = self._face.page
        return [
            Route("/runs", page(self._list)),
            Route("/run", page(self._run)),
            Route("/run/index", page(self._outline)),
            Route("/run/rows", page(self._rows)),
            Route("/run/frame", page(self._frame)),
            Route("/run/find", page(self._find)),
            Route("/run/value", page(self._value)),
            Route("/run/live", self._live),
            Route("/runs/diff", page(self._diff)),
        ]

    def close(self) -> None:
        self._open.close()

    # Lists.

    def _list(self, asked: Asked, session: Session) -> Response:
        said = asked.query_params
        chosen = next((each for each in SAVED if each[0] == said.get("view")), SAVED[0])
        words = {
            name: said.get(name, "").strip()[:200] for name in ("agent", "user", "tool", "text")
        }
        choice = Choice(
            traits=chosen[2],
            agent=words["agent"] or None,
            user=words["user"] or None,
            tool=words["tool"] or None,
            text=words["text"],
        )
        before = said.get("before", "")
        with Reader(self._path) as reader, Index(reader) as index:
            index.build()
            found = index.runs(
                choice,
                before=int(before) if _NUMBER.fullmatch(before) else 1 << 62,
                limit=LISTED + 1,
            )
        given = {name: value for name, value in words.items() if value}
        further = None
        if len(found) > LISTED:
            about = {**given, "view": chosen[0], "before": found[LISTED - 1].first}
            further = f"/runs?{urlencode(about)}"
        views = [
            (label, f"/runs?{urlencode({**given, 'view': name})}", name == chosen[0])
            for name, label, _ in SAVED
        ]
        return self._face.shown(
            "runs.html",
            session,
            runs=[_listed(each) for each in found[:LISTED]],
            views=views,
            view=chosen[0],
            words=words,
            narrowed=bool(given),
            further=further,
        )

    # One run.

    def _run(self, asked: Asked, session: Session) -> Response:
        found = self._named(asked)
        if found is None:
            return self._face.shown("missing.html", session, status=404)
        with found.lock:
            found.refresh()
            play, total = found.play, len(found.play.outline)
            number = min(max(_number(asked, "frame", 1), 1), total)
            first = (number - 1) // LINES * LINES + 1
            synopsis = play.synopsis
            return self._face.shown(
                "run.html",
                session,
                run=play.run_id,
                link=f"/run?{urlencode({'id': play.run_id})}",
                title=_title(play),
                head=None if synopsis is None else _listed(synopsis),
                parent=None if synopsis is None else synopsis.parent,
                lines=_lines(play.told(first, LINES)),
                first=first,
                total=total,
                it=_view(play, number),
            )

    def _outline(self, asked: Asked, _: Session) -> Response:
        found = self._named(asked)
        if found is None:
            return _nothing()
        with found.lock:
            found.refresh()
            data = msgspec.json.encode(_part(found.play, 1))
        if "gzip" not in asked.headers.get("accept-encoding", ""):
            return Response(data, media_type="application/json")
        # Once, and by itself: no secret stands beside what a stranger could have put in.
        packed = gzip.compress(data, 5)
        return Response(packed, media_type="application/json", headers={"content-encoding": "gzip"})

    def _rows(self, asked: Asked, _: Session) -> Response:
        found = self._named(asked)
        if found is None:
            return _nothing()
        with found.lock:
            frames = found.play.told(_number(asked, "from", 1), LINES)
            return _json([closeup.line(each) for each in frames])

    def _frame(self, asked: Asked, _: Session) -> Response:
        found = self._named(asked)
        if found is None:
            return _nothing()
        with found.lock:
            number = _number(asked, "number", 0)
            if not 1 <= number <= len(found.play.outline):
                return _nothing()
            it = _view(found.play, number)
        link = f"/run?{urlencode({'id': found.play.run_id})}"
        return self._face.part("frame.html", it=it, link=link, run=found.play.run_id)

    def _find(self, asked: Asked, _: Session) -> Response:
        found = self._named(asked)
        if found is None:
            return _nothing()
        with found.lock:
            text, after = asked.query_params.get("text", "")[:200], _number(asked, "after", 0)
            return _json({"frame": found.play.find(text, after)})

    def _value(self, asked: Asked, session: Session) -> Response:
        found = self._named(asked)
        if found is None:
            return _nothing()
        with found.lock:
            number = _number(asked, "number", 0)
            if not 1 <= number <= len(found.play.outline):
                return _nothing()
            field = asked.query_params.get("field", "")[:20]
            part = found.play.slice(number, field, _number(asked, "offset", 0))
        if part is None:
            return _nothing()
        following = None
        if part.next is not None:
            about = {"id": found.play.run_id, "number": number, "field": field}
            following = f"/run/value?{urlencode({**about, 'offset': part.next})}"
        return self._face.shown(
            "value.html",
            session,
            run=found.play.run_id,
            link=f"/run?{urlencode({'id': found.play.run_id, 'frame': number})}",
            number=number,
            field=field,
            part=part,
            lines=[inert(each) for each in part.text.split("\n")],
            following=following,
        )

    async def _live(self, asked: Asked) -> Response:
        session = await run_in_threadpool(self._face.session, asked)
        if session is None:
            return PlainTextResponse("Log in first.", 401)
        found = await run_in_threadpool(self._named, asked)
        if found is None:
            return _nothing()
        # A browser that comes back says itself how far it has got.
        known = asked.headers.get("last-event-id", "") or asked.query_params.get("size", "")
        size = int(known) if _NUMBER.fullmatch(known) else 0
        return EventSourceResponse(self._grown(asked, found, size), ping=15)

    async def _grown(self, asked: Asked, found: _Open, size: int) -> AsyncIterator[dict[str, str]]:
        """Tell what has come of a run, from where somebody has got to, as long as they may see."""

        def look(size: int) -> dict[str, Any] | None:
            if self._face.session(asked) is None:
                raise _GoneError
            with found.lock:
                found.refresh()
                outline = found.play.outline
                if outline.size <= size:
                    return None
                # What was there already and has gone on since is told again.
                since = found.play.index.frames(found.play.run_id, size)
                numbers = [each for each in map(outline.number, since) if each is not None]
                return _part(found.play, min(numbers, default=len(outline) + 1))

        while not self._face.closed:
            try:
                part = await run_in_threadpool(look, size)
            except _GoneError:
                return
            if part is not None:
                size = part["size"]
                yield {
                    "event": "grown",
                    "id": str(size),
                    "data": msgspec.json.encode(part).decode(),
                }
                if part["over"]:
                    return
            await asyncio.sleep(EVERY)

    def _diff(self, asked: Asked, session: Session) -> Response:
        one, other = (asked.query_params.get(name, "").strip()[:250] for name in ("a", "b"))
        about: dict[str, Any] = {"a": one, "b": other, "pairs": None, "refused": None}
        if not (one and other):
            return self._face.shown("diff.html", session, **about)
        sides = [self._open.of(one), self._open.of(other)]
        for name, side in zip((one, other), sides, strict=True):
            if side is None:
                about["refused"] = f"There is no run {inert(name, 80)}."
                return self._face.shown("diff.html", session, status=404, **about)
        left, right = sides
        assert left is not None
        assert right is not None
        with contextlib.ExitStack() as stack:
            # In one order, whoever compares what with what.
            for lock in sorted({left.lock, right.lock}, key=id):
                stack.enter_context(lock)
            about |= _differing(left.play, right.play)
        return self._face.shown("diff.html", session, **about)

    def _named(self, asked: Asked) -> _Open | None:
        run_id = asked.query_params.get("id", "")
        return self._open.of(run_id) if 0 < len(run_id) <= 250 else None


def _differing(one: Playback, other: Playback) -> dict[str, Any]:
    found = difference(one.outline, other.outline)
    begin = max((found.first or 0) - 20, 0)
    shown = found.pairs[begin : begin + DIFFERING]
    lines = []
    for place, pair in enumerate(shown, begin):
        texts = [
            None if number is None else (number, *_one_line(play, number))
            for play, number in ((one, pair.one), (other, pair.other))
        ]
        lines.append((place == found.first, texts[0], texts[1], pair.differs, pair.same))
    return {
        "pairs": lines,
        "counts": found.counts,
        "same": found.first is None,
        "before": begin,
        "after": len(found.pairs) - begin - len(shown),
        "links": [f"/run?{urlencode({'id': each.run_id})}" for each in (one, other)],
    }


def _one_line(play: Playback, number: int) -> tuple[closeup.Mark, str, str]:
    [frame] = play.told(number, 1)
    what, said, _ = closeup.line(frame)
    return closeup.mark(frame), what, said


def _lines(frames: list[Frame]) -> list[tuple[int, closeup.Mark, str, str]]:
    return [(each.number, closeup.mark(each), *closeup.line(each)[:2]) for each in frames]


def _view(play: Playback, number: int) -> closeup.View:
    close = play.frame(number)
    before = None
    if close.frame.kind == "call":
        # The turn that led to a call: several may have been asked for in one.
        row = next(
            (
                each
                for each in reversed(play.outline.rows[max(number - 11, 0) : number - 1])
                if each.kind != "call"
            ),
            None,
        )
        if row is not None and row.kind == "model":
            [before] = play.told(row.number, 1)
    return closeup.view(close, len(play.outline), before)


def _part(play: Playback, first: int) -> dict[str, Any]:
    synopsis = play.synopsis
    over = synopsis is not None and (synopsis.ended is not None or synopsis.imported is not None)
    return {**play.outline.document(first), "over": over}


def _title(play: Playback) -> str:
    prompt = play.about.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return inert(prompt.strip(), 300)
    return f"Run {inert(play.run_id, 80)}"


def _listed(found: Synopsis) -> Listed:
    who = " for ".join(inert(name, 60) for name in (found.agent, found.user) if name)
    took = ""
    if found.began is not None and found.ended is not None:
        took = _took((found.ended - found.began) / 1e6)
    return Listed(
        id=inert(found.run, 80),
        link=f"/run?{urlencode({'id': found.run})}",
        who=who or "nobody named",
        began="" if found.began is None else at(found.began),
        took=took,
        frames=found.frames,
        cost=dollars(found.cost) if found.cost else "",
        denied=found.denied,
        asked=found.asked,
        near=found.near,
        failed=found.failed,
        state=_state(found),
    )


def _state(found: Synopsis) -> tuple[str, str, str]:
    if found.stopped:
        return "deny", "■", "stopped"
    if found.imported is not None:
        return "model", "↓", "imported"
    if found.ended is None:
        return "ask", "…", "open"
    if found.error is not None:
        return "deny", "✕", f"ended by {inert(found.error, 40)}"
    return "allow", "✓", "ended"


def _took(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"


def _number(asked: Asked, name: str, default: int) -> int:
    said = asked.query_params.get(name, "")
    return int(said) if _NUMBER.fullmatch(said) else default


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _nothing() -> Response:
    return PlainTextResponse("There is nothing of that name.", 404)
