"""The console as a server: many people at once, events, and a process that is killed."""

import http.client
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from typer.testing import CliRunner

from console.asking import WORLD, ask, console, enrolled, stands
from console.serving import Visitor, serving
from guarding import entries
from saferun import Gate
from saferun.cli import app
from saferun.config import Person
from saferun.console import NOBODY
from saferun.console.live import Streams
from saferun.console.session import Session


def test_of_fifty_people_at_once_one_answer_counts(gate: Gate) -> None:
    names = [f"p{number}" for number in range(50)]
    gate.config = msgspec.structs.replace(
        gate.config,
        people={**gate.config.people, **{name: Person() for name in names}},
        groups={**gate.config.groups, "finance": names},
    )
    request = ask(gate)
    made = console(gate)
    path = f"/requests/{request.id}"
    with serving(made) as server:
        people = [Visitor(server.url) for _ in names]
        forms = []
        for visitor, name in zip(people, names, strict=True):
            visitor.enter(made.sessions.link(enrolled(gate, name)))
            forms.append(visitor.form(path))
        together = threading.Barrier(len(people), timeout=60)
        got: list[tuple[int, str]] = []

        def answer(number: int) -> None:
            act = "approve" if number % 2 else "reject"
            together.wait()
            said = {**forms[number], "act": act, "reason": "because"}
            got.append(people[number].request("POST", path, said))

        threads = [threading.Thread(target=answer, args=(each,)) for each in range(len(people))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    statuses = [status for status, _ in got]
    assert statuses.count(303) == 1
    assert statuses.count(409) == 49
    settled = [
        entry for entry in entries(gate, "approval") if entry["event"] in ("approved", "rejected")
    ]
    assert len(settled) == 1
    now = stands(gate, request)
    assert (now.state, now.by) == (settled[0]["event"], settled[0]["by"])


@contextmanager
def events(server: str, cookie: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=60)
    connection.request("GET", "/live", headers={"cookie": cookie})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def heard(stream: http.client.HTTPResponse, wanted: str) -> None:
    """Read until a line that says so."""
    while True:
        line = stream.readline().decode()
        assert line, "the stream has ended"
        if line.strip() == wanted:
            return


def test_whoever_looks_is_told_of_what_moves_without_what_it_is(gate: Gate) -> None:
    made = console(gate)
    with serving(made) as server:
        visitor = Visitor(server.url)
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        with events(server.url, visitor.cookie) as stream:
            assert stream.getheader("content-type").startswith("text/event-stream")
            heard(stream, "event: live")
            request = ask(gate)
            heard(stream, "event: moved")
            heard(stream, f"data: {request.id}")


def test_events_end_with_the_session_and_with_the_server(gate: Gate) -> None:
    made = console(gate)
    with serving(made) as server:
        visitor = Visitor(server.url)
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        with events(server.url, visitor.cookie) as stream:
            heard(stream, "event: live")
            visitor.request("POST", "/logout", visitor.form("/"))
            assert b"moved" not in stream.read()
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        with events(server.url, visitor.cookie) as stream:
            heard(stream, "event: live")
            made.close()
            stream.read()


def test_more_live_pages_than_fit_are_told_so(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saferun.console.live.STREAMS", 1)
    made = console(gate)
    with serving(made) as server:
        visitor = Visitor(server.url)
        visitor.enter(made.sessions.link(enrolled(gate, "dana")))
        with events(server.url, visitor.cookie) as stream:
            heard(stream, "event: live")
            with events(server.url, visitor.cookie) as another:
                assert another.status == 503


def test_of_many_pages_that_open_at_once_no_more_are_live_than_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("saferun.console.live.STREAMS", 3)

    async def nothing() -> AsyncIterator[dict[str, str]]:
        return
        yield {}

    # None of them has begun to tell anything yet.
    streams = Streams()
    answers = [streams.answer(Session(NOBODY, 0.0), nothing).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 503, 503]


@contextmanager
def served(*options: str, **about: Any) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`saferun serve` as a process of its own: it, its address, and the code of its link."""
    command = [sys.executable, "-m", "saferun", "serve", "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **about) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            address, _, code = url.partition("/enter#")
            yield process, address, code
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def said(*options: str, **about: Any) -> str:
    """What `saferun serve` says for people before it has answered anybody, and is told to end."""
    command = [sys.executable, "-m", "saferun", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **about) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        return first + process.stdout.read()


def test_a_link_that_logs_in_goes_into_no_log_unless_it_is_asked_for(gate: Gate) -> None:
    gate.store.flush()
    assert "/enter" not in said()
    assert "--print-link" in " ".join(said().split())
    assert "/enter#" in said("--print-link")


def test_in_a_terminal_the_link_is_printed_and_leads_where_people_reach_it(gate: Gate) -> None:
    gate.store.flush()
    outside = WORLD.replace("[approval]", '[approval]\nurl = "https://Console.Test:443"')
    Path("saferun.toml").write_text(outside, encoding="utf-8")
    above, below = pty.openpty()
    command = [sys.executable, "-m", "saferun", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=below) as process:
        os.close(below)
        shown = b""
        while b"/enter#" not in shown:
            shown += os.read(above, 4_096)
        process.send_signal(signal.SIGTERM)
    os.close(above)
    assert b"https://console.test/enter#" in shown


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gate: Gate) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "secrets"))
    assert CliRunner().invoke(app, ["login", "dana", "--new"]).exit_code == 0


def test_the_first_line_is_a_link_that_logs_in_who_has_started_it(
    gate: Gate, logged_in: None
) -> None:
    request = ask(gate)
    with served() as (process, address, code):
        assert address.startswith("http://127.0.0.1:")
        visitor = Visitor(address)
        visitor.enter(code)
        path = f"/requests/{request.id}"
        said = {**visitor.form(path), "act": "approve"}
        assert visitor.request("POST", path, said)[0] == 303
        assert Visitor(address).request("POST", "/enter", {"code": code})[0] == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    now = stands(gate, request)
    assert (now.state, now.by) == ("approved", "dana")


def test_with_nobody_logged_in_the_link_only_lets_one_look(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "nobody"))
    request = ask(gate)
    with served() as (_, address, code):
        visitor = Visitor(address)
        visitor.enter(code)
        status, page = visitor.request("GET", f"/requests/{request.id}")
        assert status == 200
        assert "To answer, log in" in page
        said = {**visitor.form("/"), "act": "approve", "revision": "0", "whole": "yes"}
        assert visitor.request("POST", f"/requests/{request.id}", said)[0] == 403


def test_a_request_outlives_a_server_that_is_killed(gate: Gate, logged_in: None) -> None:
    request = ask(gate)
    path = f"/requests/{request.id}"
    with served() as (process, address, code):
        visitor = Visitor(address)
        visitor.enter(code)
        old = visitor.form(path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    assert stands(gate, request).state == "pending"
    with served() as (_, address, code):
        again = Visitor(address)
        again.cookie = visitor.cookie
        assert again.request("POST", path, {**old, "act": "approve"})[0] == 303
        assert stands(gate, request).state == "pending"
        again.enter(code)
        assert again.request("POST", path, {**again.form(path), "act": "approve"})[0] == 303
    assert stands(gate, request).state == "approved"
    call = gate.taken_up(request.id)
    assert [gate.check(call, resumes=request.id).starts for _ in range(2)] == [True, False]


def test_the_link_stands_in_no_ledger_and_no_log(gate: Gate, logged_in: None) -> None:
    with served(stderr=subprocess.PIPE) as (process, address, code):
        Visitor(address).enter(code)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert code not in errors
    gate.store.flush()
    for file in gate.store.path.parent.rglob("*"):
        if file.is_file():
            assert code.encode() not in file.read_bytes()


def test_a_port_that_is_taken_is_told_in_a_sentence(gate: Gate) -> None:
    ask(gate)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--port", str(port)])
    assert result.exit_code == 64
    assert "name another port with --port" in result.stderr


@pytest.mark.parametrize("url", ["", 'url = "http://127.0.0.1:9"\n'])
def test_off_this_machine_it_takes_an_address_with_tls(gate: Gate, url: str) -> None:
    ask(gate)
    Path("saferun.toml").write_text(WORLD + url, encoding="utf-8")
    result = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 64
    assert "TLS" in result.stderr


def test_somebody_who_is_not_logged_in_cannot_be_the_one_of_the_link(gate: Gate) -> None:
    ask(gate)
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--as", "erik"])
    assert result.exit_code == 64
    assert "erik is not logged in here" in result.stderr


def test_without_its_extra_it_says_what_to_install(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(gate)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["serve", "--port", "0"])
    assert result.exit_code == 64
    assert "pip install 'saferun-sdk[console]'" in result.stderr


def test_a_slow_sender_does_not_keep_others_waiting(gate: Gate) -> None:
    made = console(gate)
    with serving(made) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as slow:
            slow.sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx")
            assert Visitor(server.url).request("GET", "/login")[0] == 200
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n")
            assert b" 400 " in rude.recv(4096).split(b"\r\n")[0]
