"""The pages of runs: which there are, and one of them frame by frame.

A page is whole without JavaScript. With it, the replay takes what stands here in pieces: the
outline of the run, lines of its list, one frame, a slice of a value. Nothing here can act.
"""

import contextlib
import gzip
import re
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun.approval import inert
from saferun.console import closeup
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.labels import marking
from saferun.console.listed import listed, run_link
from saferun.console.lists import Lists
from saferun.console.playbacks import Playbacks
from saferun.console.session import Session
from saferun.console.watching import Watching, told
from saferun.control.amount import dollars
from saferun.errors import SearchError
from saferun.marks import Mark
from saferun.replay import Closeup, Playback, difference, mark
from saferun.store.synopsis import Within

LINES = 100
"""Lines of frames on one page, and at once."""

AT_ONCE = 20
"""Frames in one answer: those that the next keys lead to."""

MAX_ID = 250
"""Characters of a run's id that are looked at: one that was imported is longer than others."""

DIFFERING = 400
"""Pairs of frames on a page of two runs."""

CRUMBS = 4
"""Runs above one that are named at its head; the rest are counted."""

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_SEQ = re.compile(r"[0-9]{1,18}", re.ASCII)


class Runs:
    """The pages of runs of one store. With `labels`, people may say something of calls there."""

    def __init__(self, history: History, face: Face, *, labels: bool = False) -> None:
        self._history = history
        self._face = face
        self._labels = labels
        self._playbacks = Playbacks(history)
        self._watching = Watching(self._playbacks, face)
        self._lists = Lists(history, face)

    @property
    def playbacks(self) -> Playbacks:
        """The runs that are kept open, for other pages that lead to a frame."""
        return self._playbacks

    def routes(self) -> list[Route]:
        page = self._face.page
        return [
            *self._lists.routes(),
            Route("/run", page(self._run)),
            Route("/run/into", page(self._into)),
            Route("/run/head", page(self._head)),
            Route("/run/index", page(self._outline)),
            Route("/run/rows", page(self._rows)),
            Route("/run/frame", page(self._frame)),
            Route("/run/frames", page(self._frames)),
            Route("/run/find", page(self._find)),
            Route("/run/value", page(self._value)),
            Route("/run/live", self._live),
            Route("/runs/diff", page(self._diff)),
        ]

    def close(self) -> None:
        self._playbacks.close()

    # One run.

    def _run(self, asked: Asked, session: Session) -> Response:
        # Whoever comes back from having said something of a call sees that.
        with self._looking(asked, now=True) as play:
            if play is None:
                return self._face.shown("missing.html", session, status=404)
            total = len(play.outline)
            number = min(max(self._wanted(asked, play), 1), total)
            first = max(number - 1, 0) // LINES * LINES + 1
            above = play.above
            return self._face.shown(
                "run.html",
                session,
                run=play.run_id,
                link=run_link(play.run_id),
                title=_title(play),
                more_above=max(len(above) - CRUMBS, 0),
                lines=_lines(play, first),
                first=first,
                **_headed(play),
                **(self._looked(play, number, session) if total else {"it": None}),
            )

    def _head(self, asked: Asked, _: Session) -> Response:
        """The figures at the head of a run, for a page that is open while they change."""
        with self._looking(asked) as play:
            if play is None:
                return _nothing()
            about = {"run": play.run_id, **_headed(play)}
        return self._face.part("run_head.html", **about)

    @staticmethod
    def _wanted(asked: Asked, play: Playback) -> int:
        """The frame that is asked for, by its number or as the one at an entry of the ledger."""
        seq = asked.query_params.get("at", "")
        return play.number_at(int(seq)) if _SEQ.fullmatch(seq) else _number(asked, "frame", 1)

    def _into(self, asked: Asked, _: Session) -> Response:
        """From a frame into the run that began there."""
        with self._looking(asked) as play:
            run = None if play is None else play.branches.inward(_number(asked, "number", 0))
        return _nothing() if run is None else RedirectResponse(run_link(run), 303)

    def _outline(self, asked: Asked, _: Session) -> Response:
        with self._looking(asked) as play:
            if play is None:
                return _nothing()
            data = msgspec.json.encode(told(play, 1))
        if "gzip" not in asked.headers.get("accept-encoding", ""):
            return Response(data, media_type="application/json")
        # Once, and by itself: no secret stands beside what a stranger could have put in.
        packed = gzip.compress(data, 5)
        return Response(packed, media_type="application/json", headers={"content-encoding": "gzip"})

    def _rows(self, asked: Asked, _: Session) -> Response:
        with self._looking(asked) as play:
            if play is None:
                return _nothing()
            frames = play.told(_number(asked, "from", 1), LINES)
            return _json([closeup.line(each) for each in frames])

    def _frame(self, asked: Asked, session: Session) -> Response:
        number = _number(asked, "number", 0)
        with self._looking(asked) as play:
            if play is None or not 1 <= number <= len(play.outline):
                return _nothing()
            about, run_id = self._looked(play, number, session), play.run_id
        return self._face.part("frame.html", **about, **_told_to(session, run_id))

    def _frames(self, asked: Asked, session: Session) -> Response:
        """Some frames in one answer, for whoever goes from one to the next."""
        named = asked.query_params.get("numbers", "")
        numbers = [int(each) for each in named.split() if _NUMBER.fullmatch(each)][:AT_ONCE]
        with self._looking(asked) as play:
            if play is None:
                return _nothing()
            total, run_id = len(play.outline), play.run_id
            views = [
                (number, self._looked(play, number, session))
                for number in numbers
                if 1 <= number <= total
            ]
        whole = _told_to(session, run_id)
        return _json(
            [
                (number, bytes(self._face.part("frame.html", **about, **whole).body).decode())
                for number, about in views
            ]
        )

    def _looked(self, play: Playback, number: int, session: Session) -> dict[str, Any]:
        """What `frame.html` shows, and of a call what people say of it, where they may."""
        close, it = _view(play, number)
        about: dict[str, Any] = {"it": it}
        frame = close.frame
        if self._labels and frame.kind == "call":
            said, back = frame.label or {}, run_link(play.run_id, frame=number)
            mark = play.outline.row(number).label
            by, why = said.get("by"), said.get("reason")
            about["marking"] = marking(session.who, frame.seq, mark, back, by, why)
        return about

    def _find(self, asked: Asked, _: Session) -> Response:
        with self._looking(asked) as play:
            if play is None:
                return _nothing()
            text, after = asked.query_params.get("text", "")[:200], _number(asked, "after", 0)
            try:
                return _json({"frame": play.find(text, after)})
            except SearchError as problem:
                return _json({"frame": None, "why": inert(str(problem), 400)})

    def _value(self, asked: Asked, session: Session) -> Response:
        number, field = _number(asked, "number", 0), asked.query_params.get("field", "")[:20]
        with self._looking(asked) as play:
            if play is None or not 1 <= number <= len(play.outline):
                return _nothing()
            part, run_id = play.slice(number, field, _number(asked, "offset", 0)), play.run_id
        if part is None:
            return _nothing()
        following = None
        if part.next is not None:
            about = {"id": run_id, "number": number, "field": field, "offset": part.next}
            following = f"/run/value?{urlencode(about)}"
        return self._face.shown(
            "value.html",
            session,
            run=run_id,
            link=run_link(run_id, frame=number),
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
        if not await run_in_threadpool(self._is_there, asked):
            return _nothing()
        # A browser that comes back says itself how far it has got.
        known = asked.headers.get("last-event-id", "") or asked.query_params.get("size", "")
        size = int(known) if _NUMBER.fullmatch(known) else 0
        return self._watching.answer(asked, session, asked.query_params["id"], size)

    def _is_there(self, asked: Asked) -> bool:
        with self._looking(asked) as play:
            return play is not None

    def _diff(self, asked: Asked, session: Session) -> Response:
        one, other = (asked.query_params.get(name, "").strip()[:MAX_ID] for name in ("a", "b"))
        about: dict[str, Any] = {"a": one, "b": other, "pairs": None, "refused": None}
        if not (one and other):
            return self._face.shown("diff.html", session, **about)
        with contextlib.ExitStack() as stack:
            # In one order, whoever compares what with what.
            plays = {
                run: stack.enter_context(self._playbacks.looking(run))
                for run in sorted({one, other})
            }
            for name in (one, other):
                if plays[name] is None:
                    about["refused"] = f"There is no run {inert(name, 80)}."
                    return self._face.shown("diff.html", session, status=404, **about)
            left, right = plays[one], plays[other]
            assert left is not None
            assert right is not None
            about |= _differing(left, right)
        return self._face.shown("diff.html", session, **about)

    def _looking(
        self, asked: Asked, *, now: bool = False
    ) -> contextlib.AbstractContextManager[Playback | None]:
        """The run that is asked for, for a block."""
        run_id = asked.query_params.get("id", "")
        # By no name at all stand the switches of what is no run.
        if not 0 < len(run_id) <= MAX_ID:
            return contextlib.nullcontext(None)
        return self._playbacks.looking(run_id, now=now)


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
        "same": not found.part,
        "ends": found.ends and [inert(each or "", 60) for each in found.ends],
        "parts": found.first is not None,
        "before": begin,
        "after": len(found.pairs) - begin - len(shown),
        "links": [run_link(each.run_id) for each in (one, other)],
    }


def _one_line(play: Playback, number: int) -> tuple[Mark, str, str]:
    [frame] = play.told(number, 1)
    what, said = closeup.line(frame)
    return mark(frame), what, said


def _lines(play: Playback, first: int) -> list[tuple[int, Mark, str, str, Within | None]]:
    return [
        (each.number, mark(each), *closeup.line(each), play.branches.at.get(each.number))
        for each in play.told(first, LINES)
    ]


def _told_to(session: Session, run_id: str) -> dict[str, Any]:
    """What a frame needs beside itself where it stands alone."""
    return {"csrf": session.csrf, "link": run_link(run_id), "run": run_id}


def _view(play: Playback, number: int) -> tuple[Closeup, closeup.View]:
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
    return close, closeup.view(close, len(play.outline), before, play.given(close.frame))


def _headed(play: Playback) -> dict[str, Any]:
    """What the head of a run says of it, as it is now."""
    synopsis = play.synopsis
    return {
        "head": None if synopsis is None else listed(synopsis, play.branches.below),
        "all_cost": _all_cost(play),
        "up": None if synopsis is None else listed(synopsis).parent,
        "above": [listed(each) for each in play.above[:CRUMBS]],
        "total": len(play.outline),
    }


def _all_cost(play: Playback) -> str:
    """What a run has cost with all that is within it."""
    own = 0 if play.synopsis is None else play.synopsis.cost
    return dollars(own + play.branches.below.cost) if own + play.branches.below.cost else ""


def _title(play: Playback) -> str:
    prompt = play.about.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return inert(prompt.strip(), 300)
    return f"Run {inert(play.run_id, 80)}"


def _number(asked: Asked, name: str, default: int) -> int:
    said = asked.query_params.get(name, "")
    return int(said) if _NUMBER.fullmatch(said) else default


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _nothing() -> Response:
    return PlainTextResponse("There is nothing of that name.", 404)
