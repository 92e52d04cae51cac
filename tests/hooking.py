"""A real program on loopback that takes webhooks, and signs what it sends back."""

import datetime as dt
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from svix.webhooks import Webhook as Verifier

from vouching import serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATIENCE = 30


class Message(NamedTuple):
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        return json.loads(self.body)["type"]

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.body)["data"]

    def verify(self, secret: str = SECRET) -> None:
        Verifier(secret).verify(self.body, self.headers)


class Program(ThreadingHTTPServer):
    """Answers with the statuses in `answers`, one after the other, and then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: queue.Queue[Message] = queue.Queue()
        self.answers: list[int] = []
        self.silent = threading.Event()
        self.where: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks?key=hush"

    def next(self) -> Message:
        return self.messages.get(timeout=PATIENCE)

    def handle_error(self, request, client_address) -> None:
        """A client that does not trust us goes away, and that is its right."""


class _Handler(BaseHTTPRequestHandler):
    server: Program

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.server.messages.put(Message(self.command, self.path, headers, body))
        if status == 0:
            self.server.silent.wait(PATIENCE)
            return
        self.send_response(status)
        if self.server.where is not None:
            self.send_header("Location", self.server.where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.messages.put(Message("GET", self.path, {}, b""))
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def program(certificate: Path | None = None) -> Iterator[Program]:
    with Program() as server:
        if certificate is not None:
            server.socket = serving(certificate).wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.silent.set()
            server.shutdown()
            thread.join()


def signed(body: bytes, id_: str = "cb_1", secret: str = SECRET, ago: int = 0) -> dict[str, str]:
    """The headers of a callback, as somebody with the secret makes them."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)
    return {
        "Webhook-Id": id_,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Verifier(secret).sign(id_, at, body.decode()),
    }
