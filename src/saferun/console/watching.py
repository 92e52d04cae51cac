"""Runs that go on, told to everybody who watches them: looked at once, however many they are.

Nobody has a queue. A viewer has the place to which they have got, and what has come of the run
since is one answer, which is made once for all who have got as far. Whoever takes long to take it
holds nothing but that place; whoever was cut off says it when they come back.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import Response

from saferun.console.live import Streams
from saferun.console.playbacks import EVERY, Playbacks
from saferun.console.session import Session
from saferun.errors import SafeRunError
from saferun.replay import Playback
from saferun.store.synopsis import Within

VIEWERS = 128
"""Pages of runs that are live at the same time: what is told is made once for all of them."""

KNOWN = 1.0
"""Seconds that somebody who may look counts as somebody who may look."""

_WAKES = 0.5
"""Seconds after which a viewer looks up though nothing was told."""

_PARTS = 8
"""Places for which what has come since is kept at hand."""


class Door(Protocol):
    """Who knows whether somebody is still here, and whether it is closed."""

    closed: bool

    def session(self, asked: Asked) -> Session | None: ...


Forks: TypeAlias = tuple[tuple[int, Within], ...]
"""The frames at which runs began within another, and what those come to."""


class Place(NamedTuple):
    """How far somebody has got in a run: up to which entry, and with which runs within it."""

    size: int
    forks: Forks = ()


class Part(NamedTuple):
    """What has come of a run since some place, up to `place`, ready to be sent."""

    place: Place
    over: bool
    sent: bytes


class _Run:
    """One run that is watched. `reach` and `part` read it, in threads; the rest is the loop's."""

    def __init__(
        self, reach: Callable[[], Place | None], part: Callable[[Place], Part | None]
    ) -> None:
        self.viewers = 0
        self.place = Place(-1)
        self.moved = asyncio.Event()
        self.reader: asyncio.Task[None] | None = None
        self._reach = reach
        self._part = part
        self._parts: dict[Place, asyncio.Future[Part | None]] = {}

    async def read(self, door: Door) -> None:
        """Look whether anything has come, every so often, as long as anybody watches."""
        while self.viewers and not door.closed:
            # One that cannot be read now is looked at again.
            with contextlib.suppress(SafeRunError):
                place = await run_in_threadpool(self._reach)
                if place is not None and place != self.place:
                    self.place = place
                    self._parts.clear()
                    # Whoever waits is woken; whoever comes from now on waits for what is next.
                    moved, self.moved = self.moved, asyncio.Event()
                    moved.set()
            await asyncio.sleep(EVERY)

    def beyond(self, place: Place) -> bool:
        """Whether anything has come since a place."""
        return self.place.size > place.size or self.place.forks != place.forks

    async def since(self, place: Place) -> Part | None:
        """What has come since a place: made once, for all who ask while nothing further comes."""
        found = self._parts.get(place)
        if found is None:
            found = asyncio.ensure_future(run_in_threadpool(self._part, place))
            if len(self._parts) < _PARTS:
                self._parts[place] = found
        try:
            # Whoever leaves takes nothing from the others.
            return await asyncio.shield(found)
        except SafeRunError:
            self._parts.pop(place, None)
            return None


class _Standing:
    """Somebody who watches, in as many pages as they do."""

    def __init__(self) -> None:
        self.pages = 0
        self.looked = 0.0
        self.here: asyncio.Future[bool] | None = None


class Watching:
    """All who watch runs of one store, whichever runs they are."""

    def __init__(self, playbacks: Playbacks, door: Door) -> None:
        self._playbacks = playbacks
        self._door = door
        self._runs: dict[str, _Run] = {}
        self._streams = Streams(VIEWERS)
        self._standing: dict[Session, _Standing] = {}

    def answer(self, asked: Asked, session: Session, run_id: str, size: int) -> Response:
        """What comes of a run from a place on, as it comes; for a page too many, a sentence."""
        tell = functools.partial(self.told, asked, session, run_id, size)
        return self._streams.answer(session, tell)

    async def told(
        self, asked: Asked, session: Session, run_id: str, size: int
    ) -> AsyncIterator[bytes]:
        """Events for somebody who has got to `size`, until the run is over or they are gone."""
        loop, place = asyncio.get_running_loop(), Place(size)
        with self._watched(run_id) as run, self._stands(session) as standing:
            while not self._door.closed:
                moved = run.moved
                if not await self._is_here(asked, standing, loop.time()):
                    return
                part = await run.since(place) if run.beyond(place) else None
                if part is not None:
                    place = part.place
                    yield part.sent
                    if part.over:
                        return
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WAKES):
                        await moved.wait()

    @contextlib.contextmanager
    def _watched(self, run_id: str) -> Iterator[_Run]:
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = _Run(
                functools.partial(self._reach, run_id), functools.partial(self._part, run_id)
            )
        run.viewers += 1
        if run.reader is None:
            run.reader = asyncio.create_task(run.read(self._door))
        try:
            yield run
        finally:
            run.viewers -= 1
            if not run.viewers:
                del self._runs[run_id]

    @contextlib.contextmanager
    def _stands(self, session: Session) -> Iterator[_Standing]:
        standing = self._standing.setdefault(session, _Standing())
        standing.pages += 1
        try:
            yield standing
        finally:
            standing.pages -= 1
            if not standing.pages:
                del self._standing[session]

    def _reach(self, run_id: str) -> Place | None:
        with self._playbacks.looking(run_id) as play:
            return None if play is None else reached(play)

    def _part(self, run_id: str, place: Place) -> Part | None:
        with self._playbacks.looking(run_id) as play:
            return None if play is None else since(play, place)

    def _is_here(self, asked: Asked, standing: _Standing, now: float) -> Awaitable[bool]:
        """Whether somebody may still look, asked once for all of their pages, and not too often."""
        if standing.here is None or now - standing.looked > KNOWN:
            standing.looked = now

            async def looked() -> bool:
                try:
                    return await run_in_threadpool(self._door.session, asked) is not None
                except SafeRunError:
                    # Nobody can tell: they come back by themselves, and are asked who they are.
                    return False

            standing.here = asyncio.ensure_future(looked())
        return asyncio.shield(standing.here)


def reached(play: Playback) -> Place:
    """How far a run has got."""
    return Place(play.outline.size, tuple(play.branches.at.items()))


def since(play: Playback, place: Place) -> Part | None:
    """What has come of a run since a place, None where nothing has."""
    now = reached(play)
    if now.size <= place.size and now.forks == place.forks:
        return None
    # What was there already and has gone on since is told again.
    numbers = map(play.outline.number, play.index.frames(play.run_id, max(place.size, 0)))
    first = min((each for each in numbers if each), default=len(play.outline) + 1)
    found = told(play, first, dict(place.forks))
    data = msgspec.json.encode(found).decode()
    return Part(
        now, found["over"], f"id: {now.size}\r\nevent: grown\r\ndata: {data}\r\n\r\n".encode()
    )


def told(play: Playback, first: int, known: Mapping[int, Within] | None = None) -> dict[str, Any]:
    """The outline of a run from a frame on, and whether the run is over.

    Of the frames at which runs began, those that are not `known` to have come to the same.
    """
    synopsis = play.synopsis
    over = synopsis is not None and (synopsis.ended is not None or synopsis.imported is not None)
    return {**play.outline.document(first), "over": over, "forks": play.branches.marked(known)}
