"""What many requests, many connections and much text may take."""

import socket

import pytest

from console.asking import Browser, ask, console, enrolled, stands
from console.serving import Visitor, serving
from saferun import Gate
from saferun.console import Console


@pytest.fixture
def dana(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "dana"))


def test_what_waits_for_the_reader_is_listed_though_it_ends_last(
    gate: Gate, dana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saferun.console.inbox.LISTED", 2)
    for number in range(3):
        ask(gate, run=f"r-{number}", order_id=f"B-{number}")
    erik = Browser(dana.console, enrolled(gate, "vera"))
    assert "1 more wait" in erik.get("/").text
    assert "3 waiting" in erik.get("/").text
    assert "1 more wait" in dana.get("/inbox").text


def test_mine_stands_before_the_list_is_cut(
    gate: Gate, dana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saferun.console.inbox.LISTED", 1)
    ask(gate, run="r-1", order_id="B-1")
    mine = ask(gate, run="r-2", order_id="B-2")
    people = dana.console.desk.people
    monkeypatch.setattr(
        type(people),
        "objection",
        lambda self, by, question, now, demands=None: None if question.id == mine.id else "no",
    )
    assert "B-2" in dana.get("/").text


def test_a_page_of_many_lines_or_escapes_is_not_made_whole(gate: Gate, dana: Browser) -> None:
    for note in ("\n" * 20_000, "\U000e0100" * 60_000):
        path = f"/requests/{ask(gate, note=note).id}"
        page = dana.get(f"{path}?whole=yes")
        assert len(page.content) < 300_000
        assert 'value="approve"' not in page.text
        assert "--whole" in page.text


def test_what_hides_something_is_said_not_to_be_mended_by_other_arguments(
    gate: Gate, dana: Browser
) -> None:
    request = ask(gate, note="AKIAIOSFODNN7EXAMPLE and sk-live-4eC39HqLyjWDarjtT1zdp7dc")
    assert request.question.hidden
    page = dana.get(f"/requests/{request.id}").text
    assert "You may reject it." in page
    assert "or change it" not in page


@pytest.mark.parametrize("span", ["１０", "010", " 10", "11", "²"])
def test_a_grant_is_for_a_time_that_the_page_offers(gate: Gate, dana: Browser, span: str) -> None:
    request = ask(gate)
    assert dana.answer(request, "approve", **{"for": span}).status_code == 400
    assert stands(gate, request).state == "pending"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:7391@evil.test",
        "evil@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1:",
        "127.0.0.1:x",
        "[::1",
    ],
)
def test_a_host_is_a_name_and_a_port_alone(dana: Browser, host: str) -> None:
    assert dana.get("/", host=host).status_code == 403


@pytest.mark.parametrize("live", ["/live", "/run/live?id=r-1"])
def test_one_session_has_its_share_of_what_is_live(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, live: str
) -> None:
    with gate.run(run_id="r-1", agent="support") as run:
        run.user("Hello")
    monkeypatch.setattr("saferun.console.live.STREAMS_EACH", 0)
    made = console(gate)
    with serving(made) as server:
        visitor = Visitor(server.url)
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        assert visitor.request("GET", live)[0] == 503


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127.0"])
def test_who_does_not_say_what_they_want_is_hung_up_on(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr("saferun.console.server.PATIENCE", 0.2)
    with (
        serving(console(gate)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as slow,
    ):
        slow.sendall(begun)
        assert slow.recv(1) == b""


def test_one_address_has_its_share_of_connections(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saferun.console.server.EACH", 1)
    monkeypatch.setattr("saferun.console.server.is_loopback_address", lambda _: False)
    with (
        serving(console(gate)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as first,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as second,
    ):
        assert second.recv(1) == b""
        first.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert first.recv(8) == b"HTTP/1.1"
