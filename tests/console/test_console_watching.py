"""Runs that go on, and the many who watch them."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from console.asking import console, enrolled
from console.serving import Visitor, serving
from recording import Script
from saferun import Gate
from saferun.console import NOBODY, Server, watching
from saferun.console.before import History
from saferun.console.playbacks import Playbacks
from saferun.console.session import Session
from saferun.errors import StoreError

ASKED = Request({"type": "http", "headers": [], "path": "/run/live", "query_string": b""})


class Door:
    """A console that lets everybody in, until it does not."""

    def __init__(self) -> None:
        self.closed = False
        self.open = True
        self.asked = 0

    def session(self, asked: Request) -> Session | None:
        self.asked += 1
        return NOBODY_IN if self.open else None


NOBODY_IN = Session(NOBODY, 1e12)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("watching.EVERY", "playbacks.EVERY"):
        monkeypatch.setattr(f"saferun.console.{name}", 0.01)


@pytest.fixture
def run(gate: Gate) -> Script:
    script = Script(gate.store)
    script.model("One.")
    return script


@contextmanager
def watched(gate: Gate, door: Door) -> Iterator[watching.Watching]:
    playbacks = Playbacks(History(gate.store.path))
    try:
        yield watching.Watching(playbacks, door)
    finally:
        playbacks.close()


def part(event: bytes) -> dict[str, Any]:
    lines = dict(line.split(": ", 1) for line in event.decode().splitlines() if line)
    found: dict[str, Any] = json.loads(lines["data"])
    assert lines["event"] == "grown"
    assert int(lines["id"]) == found["size"]
    return found


async def next_of(viewer: AsyncIterator[bytes]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        return part(await anext(viewer))


def test_what_is_new_is_made_once_for_all_who_watch(
    gate: Gate, run: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    since = watching.since

    def counted(play: Any, place: watching.Place) -> Any:
        made.append(place.size)
        return since(play, place)

    monkeypatch.setattr(watching, "since", counted)

    async def watch(here: watching.Watching) -> None:
        viewers = [here.told(ASKED, Session(NOBODY, 1e12), "r-1", 0) for _ in range(40)]
        firsts = await asyncio.gather(*map(next_of, viewers))
        assert {each["frames"] for each in firsts} == {1}
        waiting = [asyncio.create_task(next_of(each)) for each in viewers]
        # All of them wait before anything comes.
        await asyncio.sleep(0.05)
        await asyncio.to_thread(run.model, "Two.")
        assert {each["frames"] for each in await asyncio.gather(*waiting)} == {2}
        for each in viewers:
            await each.aclose()

    with watched(gate, Door()) as here:
        asyncio.run(watch(here))
    assert len(made) == len(set(made)) == 2


def test_whoever_is_slow_has_all_that_came_meanwhile_in_one_event(gate: Gate, run: Script) -> None:
    async def watch(here: watching.Watching) -> None:
        slow, quick = (here.told(ASKED, NOBODY_IN, "r-1", 0) for _ in range(2))
        await next_of(slow)
        await next_of(quick)
        for words in ("Two.", "Three.", "Four."):
            await asyncio.to_thread(run.model, words)
            await next_of(quick)
        late = await next_of(slow)
        assert (late["first"], late["frames"]) == (2, 4)
        assert late["kind"] == "mmm"
        await slow.aclose()
        await quick.aclose()

    with watched(gate, Door()) as here:
        asyncio.run(watch(here))


def test_what_becomes_of_the_runs_within_a_run_is_told_as_it_changes(
    gate: Gate, run: Script
) -> None:
    async def watch(here: watching.Watching) -> None:
        viewer = here.told(ASKED, NOBODY_IN, "r-1", 0)
        assert (await next_of(viewer))["forks"] == []
        child = await asyncio.to_thread(Script, gate.store, "r-2", parent="r-1")
        begun = await next_of(viewer)
        assert (begun["first"], begun["kind"], begun["forks"]) == (2, "", [[1, 1, 0, 0, 0]])
        await asyncio.to_thread(child.denied, "refund")
        while not (stopped := await next_of(viewer))["forks"][0][2]:
            pass
        assert stopped["forks"] == [[1, 1, 1, 0, 0]]
        # What is known of them is not told again with what comes of the run itself.
        await asyncio.to_thread(run.model, "Two.")
        grown = await next_of(viewer)
        assert (grown["kind"], grown["forks"]) == ("m", [])
        await viewer.aclose()

    with watched(gate, Door()) as here:
        asyncio.run(watch(here))


def test_whoever_may_look_no_more_hears_no_more(
    gate: Gate, run: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KNOWN", 0.0)
    door = Door()

    async def watch(here: watching.Watching) -> None:
        viewer = here.told(ASKED, NOBODY_IN, "r-1", 0)
        await next_of(viewer)
        door.open = False
        await asyncio.to_thread(run.model, "Two.")
        with pytest.raises(StopAsyncIteration):
            await next_of(viewer)

    with watched(gate, door) as here:
        asyncio.run(watch(here))


def test_one_session_is_asked_for_once_however_many_of_its_pages_are_live(
    gate: Gate, run: Script
) -> None:
    door = Door()

    async def watch(here: watching.Watching) -> None:
        viewers = [here.told(ASKED, NOBODY_IN, "r-1", 0) for _ in range(8)]
        await asyncio.gather(*map(next_of, viewers))
        for each in viewers:
            await each.aclose()

    with watched(gate, door) as here:
        asyncio.run(watch(here))
    assert door.asked == 1


def test_a_run_that_cannot_be_read_for_a_moment_is_told_of_afterwards(
    gate: Gate, run: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    since, failed = watching.since, []

    def fails_once(play: Any, place: watching.Place) -> Any:
        if not failed:
            failed.append(place.size)
            raise StoreError("It is busy.")
        return since(play, place)

    monkeypatch.setattr(watching, "since", fails_once)

    async def watch(here: watching.Watching) -> None:
        viewer = here.told(ASKED, NOBODY_IN, "r-1", 0)
        assert (await next_of(viewer))["frames"] == 1
        await viewer.aclose()

    with watched(gate, Door()) as here:
        asyncio.run(watch(here))
    assert failed == [0]


@contextmanager
def events(server: Server, cookie: str, **more: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("GET", "/run/live?id=r-1", headers={"cookie": cookie, **more})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def told(stream: http.client.HTTPResponse) -> dict[str, Any]:
    """The next event, without the pings between."""
    lines = []
    while line := stream.readline():
        if line.strip():
            lines.append(line)
        elif any(each.startswith(b"data:") for each in lines):
            return part(b"".join(lines))
    raise AssertionError("the stream has ended")


def test_whoever_comes_back_is_told_from_where_they_had_got_to(gate: Gate, run: Script) -> None:
    made = console(gate)
    with serving(made) as server:
        visitor = Visitor(server.url)
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        with events(server, visitor.cookie) as stream:
            known = told(stream)
            assert known["frames"] == 1
        run.model("Two.")
        with events(server, visitor.cookie, **{"last-event-id": str(known["size"])}) as stream:
            since = told(stream)
            assert (since["first"], since["kind"]) == (2, "m")


@pytest.mark.parametrize("cap", ["live.STREAMS_EACH", "watching.VIEWERS"])
def test_a_page_too_many_is_told_so_and_one_that_leaves_makes_room(
    gate: Gate, run: Script, monkeypatch: pytest.MonkeyPatch, cap: str
) -> None:
    monkeypatch.setattr(f"saferun.console.{cap}", 1)
    made = console(gate)
    with serving(made) as server:
        visitor = Visitor(server.url)
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        with events(server, visitor.cookie) as stream:
            told(stream)
            status, text = visitor.request("GET", "/run/live?id=r-1")
            assert status == 503
            assert text == "Too many pages are live; this one works without."
            run.end()
            assert told(stream)["over"]
            # It is over for everybody, and with it what was counted.
            assert stream.read() == b""
        with events(server, visitor.cookie) as stream:
            assert stream.status == 200


def test_whoever_takes_nothing_of_what_they_asked_for_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("saferun.console.server.STALLED", 0.1)
    over = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1_000_000
                await asyncio.sleep(0)
        finally:
            over.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(endless())(scope, receive, send)

    server = Server(app, "127.0.0.1", 0)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert over.wait(30)
    finally:
        server.stop()
