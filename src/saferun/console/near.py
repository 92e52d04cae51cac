"""The queue of near misses: calls that might well not have run, for people to say what they were.

What `saferun run near` lists, one keystroke or button each. A page is as much as is found in a
second or two: runs of which everything is said already are passed over, the newest runs first.
"""

import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from saferun import marks
from saferun.approval import inert
from saferun.call import at
from saferun.console import closeup
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.labels import NEAR, Marking, marking, may
from saferun.console.listed import run_link
from saferun.console.session import Session, Who
from saferun.ledger import EntryError, read
from saferun.marks import Mark
from saferun.replay import Playback, mark, near_runs
from saferun.store import Reader
from saferun.store.index import Index

MANY = 50
"""Calls on one page."""

LOOKING = 1.5
"""Seconds after which a page is shown with what was found so far."""

_SEQ = re.compile(r"[0-9]{1,18}", re.ASCII)


class Line(NamedTuple):
    """A call that waits; inert."""

    mark: Mark
    tool: str
    said: str
    came: str
    link: str
    rule: str
    frame: str
    when: str
    why: tuple[str, ...]
    marking: Marking


class Near:
    """The page of one store."""

    def __init__(self, history: History, face: Face) -> None:
        self._history = history
        self._face = face

    def routes(self) -> list[Route]:
        return [Route(NEAR, self._face.page(self._near))]

    def _near(self, asked: Asked, session: Session) -> Response:
        query = asked.query_params
        before, said = query.get("before", ""), query.get("said", "")
        with Reader(self._history.path) as reader, Index(reader) as index:
            self._history.hold(reader)
            index.build()
            just = _call(index, int(said), session.who) if _SEQ.fullmatch(said) else None
            start = int(before) if _SEQ.fullmatch(before) else 1 << 62
            lines, further = _waiting(index, start, session.who)
        return self._face.shown(
            "near.html",
            session,
            lines=lines,
            just=just,
            further=None if further is None else f"{NEAR}?{urlencode({'before': further})}",
            earlier=bool(before),
            may=may(session.who),
        )


def _waiting(index: Index, before: int, who: Who) -> tuple[list[Line], int | None]:
    """Calls of runs that began before an entry; and before which one to go on from there."""
    until = time.monotonic() + LOOKING
    lines: list[Line] = []
    for run in near_runs(index, before=before):
        if run.calls:
            room = MANY - len(lines)
            frames = [each.frame for each in run.calls[:room]]
            lines += _lines(index, run.run_id, frames, who)
            if len(run.calls) > room:
                # The rest of this run comes once something is said of what is shown.
                return lines, run.first
        if len(lines) >= MANY or time.monotonic() > until:
            return lines, run.first
    return lines, None


def _lines(index: Index, run_id: str, frames: Sequence[int], who: Who) -> Iterator[Line]:
    play = Playback(index, run_id)
    for number in frames:
        [frame] = play.told(number, 1)
        row = play.outline.row(number)
        label = frame.label or {}
        what, said = closeup.line(frame)
        yield Line(
            mark=mark(frame),
            tool=what,
            said=said,
            came=closeup.came(frame),
            link=run_link(run_id, frame=number),
            rule=f"/rule?{urlencode({'id': run_id, 'frame': number})}",
            frame=inert(f"{run_id} #{number}", 120),
            when=at(frame.at),
            why=tuple(marks.NEAR[each] for each in row.near),
            marking=marking(who, frame.seq, row.label, NEAR, label.get("by"), label.get("reason")),
        )


def _call(index: Index, seq: int, who: Who) -> Line | None:
    """The call that an entry began, where it is one of a run."""
    for body in index.reader.bodies([seq]) if seq < index.size else ():
        try:
            run = read(body).fields.get("run")
        except EntryError:
            return None
        if not isinstance(run, str):
            return None
        number = Playback(index, run).outline.number(seq)
        return None if number is None else next(_lines(index, run, [number], who), None)
    return None
