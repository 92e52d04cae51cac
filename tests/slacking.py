"""A Slack on loopback: its Web API with its limits, the people in it, and Socket Mode.

It refuses what Slack refuses (docs.slack.dev): messages and forms that are too long, more than a
message a second in a channel, triggers that are used twice. People see messages as Slack draws
them, and click on what is there; their clicks go out signed, over HTTP or a websocket.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlencode

TOKEN, APP_TOKEN, SECRET = "xoxb-test-token", "xapp-test-token", "signing-secret-of-the-test"
TEAM, CHANNEL = "T0TEAM", "C0CHANNEL"
PATIENCE = 30

_TEXTS = {"section": 3_000, "header": 150}


class Limit(Exception):
    """What Slack says no to."""


class FakeSlack:
    """Use as a context manager. `callback` is where clicks go, None where they go by websocket."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.messages: dict[str, dict[str, Any]] = {}
        self.whispers: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self.calls: list[tuple[str, float]] = []
        self.refused: list[tuple[str, str]] = []
        self.down = False
        self.missed = 0
        self.callback: tuple[str, int, str] | None = None
        self.connected: list[Socket] = []
        self._triggers: dict[str, float] = {}
        self.hurried = False
        """The next message is too fast for it."""
        self._last_post = 0.0
        self._acks: dict[str, dict[str, Any]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, said, headers = outer._answer(
                    self.path, self.headers.get("Authorization", ""), body
                )
                raw = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self) -> None:
                Socket(self, outer).serve()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 100

        self._server = Server(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in list(self.connected):
            each.close()
        self._server.shutdown()
        self._server.server_close()

    # What a person sees, and waits for.

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait until something is so; what it is."""
        with self.changed:
            end = time.monotonic() + PATIENCE
            # The store is looked at too, which tells nobody when it changes.
            while not (found := what()) and time.monotonic() < end:
                self.changed.wait(0.05)
        assert found, (
            f"it never came to that; Slack has {self.told()} and said no to {self.refused}"
        )
        return found

    def card(self, holding: str = "") -> dict[str, Any]:
        """The first message with that text, once it is there."""
        return self.until(
            lambda: next(
                (
                    each
                    for each in list(self.messages.values())
                    if holding in text_of(each) and "thread_ts" not in each
                ),
                None,
            )
        )

    def told(self) -> list[str]:
        return [text_of(each) for each in self.messages.values()]

    # What a person does.

    def click(self, card: dict[str, Any], action: str, user: str, **other: Any) -> Any:
        """Click on a button of a card, which has to be there."""
        value = next(
            each["value"]
            for block in card["blocks"]
            if block["type"] == "actions"
            for each in block["elements"]
            if each["action_id"] == action
        )
        return self.send(self.clicked(action, value, user, **other))

    def clicked(self, action: str, value: str, user: str, team: str = TEAM) -> dict[str, Any]:
        trigger = secrets.token_hex(8)
        self._triggers[trigger] = time.monotonic()
        return {
            "type": "block_actions",
            "team": {"id": team, "domain": "test"},
            "user": {"id": user, "username": "somebody", "team_id": team},
            "api_app_id": "A0APP",
            "trigger_id": trigger,
            "channel": {"id": CHANNEL, "name": "approvals"},
            "actions": [
                {"type": "button", "action_id": action, "block_id": "answer", "value": value}
            ],
        }

    def view(self, number: int = 0) -> dict[str, Any]:
        """The form that was opened, once it is there."""
        return self.until(lambda: self.views[number] if len(self.views) > number else None)

    def submit(
        self,
        view: dict[str, Any],
        user: str,
        typed: dict[str, str] | None = None,
        team: str = TEAM,
    ) -> Any:
        """Send a form, with other text in the fields of those labels; what Slack is answered."""
        return self.send(
            {
                "type": "view_submission",
                "team": {"id": team},
                "user": {"id": user, "team_id": team},
                "view": {
                    "callback_id": view["callback_id"],
                    "private_metadata": view["private_metadata"],
                    "state": {"values": filled(view, typed or {})},
                },
            }
        )

    def send(self, payload: dict[str, Any]) -> Any:
        if self.callback is None:
            return self._by_socket(payload)
        status, said = self.post(urlencode({"payload": json.dumps(payload)}).encode())
        assert status == 200, (status, said)
        return json.loads(said) if said else None

    def post(
        self,
        body: bytes,
        *,
        secret: str = SECRET,
        at: float | None = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Send signed bytes to the callback, as Slack would, if more patient than its 3 s."""
        stamp = str(int(time.time() if at is None else at))
        mac = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
        known = (
            {
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Slack-Request-Timestamp": stamp,
                "X-Slack-Signature": f"v0={mac.hexdigest()}",
            }
            if headers is None
            else headers
        )
        host, port, path = self.callback
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, known)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _by_socket(self, payload: dict[str, Any]) -> Any:
        envelope = secrets.token_hex(8)
        socket = self.socket()
        self.deliver(socket, envelope, payload)
        return self.acknowledged(envelope)

    def socket(self) -> "Socket":
        """The connection that was opened last, once there is one."""
        return self.until(lambda: self.connected[-1] if self.connected else None)

    def deliver(self, socket: "Socket", envelope: str, payload: Any) -> None:
        socket.send(
            {
                "type": "interactive",
                "envelope_id": envelope,
                "payload": payload,
                "accepts_response_payload": True,
            }
        )

    def acknowledged(self, envelope: str) -> Any:
        return self.until(lambda: self._acks.get(envelope)).get("payload")

    # The API.

    def _answer(self, path: str, bearer: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        method = path.removeprefix("/api/")
        if self.down:
            with self.changed:
                self.missed += 1
                self.changed.notify_all()
            return 503, {"ok": False, "error": "service_unavailable"}, {}
        about = json.loads(body) if body.startswith(b"{") else {}
        token = APP_TOKEN if method == "apps.connections.open" else TOKEN
        if bearer != f"Bearer {token}":
            return 200, {"ok": False, "error": "invalid_auth"}, {}
        with self.changed:
            self.calls.append((method, time.monotonic()))
            try:
                said = self._do(method, about)
            except Limit as no:
                self.refused.append((method, str(no)))
                late = {"Retry-After": "1"} if str(no) == "ratelimited" else {}
                return 429 if late else 200, {"ok": False, "error": str(no)}, late
            finally:
                self.changed.notify_all()
        return 200, {"ok": True, **said}, {}

    def _do(self, method: str, about: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "apps.connections.open":
                return {
                    "url": self.url.replace("http", "ws") + f"link?ticket={secrets.token_hex(4)}"
                }
            case "chat.postMessage":
                now = time.monotonic()
                if self.hurried or now - self._last_post < 0.9:
                    self.hurried = False
                    raise Limit("ratelimited")
                check_message(about)
                self._last_post = now
                if about["channel"] != CHANNEL:
                    raise Limit("channel_not_found")
                ts = f"{1_700_000_000 + len(self.messages)}.000100"
                self.messages[ts] = {**about, "ts": ts, "versions": 1}
                return {"channel": CHANNEL, "ts": ts}
            case "chat.update":
                if about["ts"] not in self.messages:
                    raise Limit("message_not_found")
                check_message(about)
                old = self.messages[about["ts"]]
                self.messages[about["ts"]] = {**old, **about, "versions": old["versions"] + 1}
                return {"channel": CHANNEL, "ts": about["ts"]}
            case "chat.postEphemeral":
                check_message(about)
                self.whispers.append(about)
                return {"message_ts": "1.1"}
            case "views.open":
                since = self._triggers.pop(about["trigger_id"], None)
                if since is None or time.monotonic() - since > PATIENCE:
                    raise Limit("expired_trigger_id")
                check_view(about["view"])
                self.views.append(about["view"])
                return {"view": {"id": "V1"}}
        raise Limit("unknown_method")


# What Slack takes.


def check_message(about: dict[str, Any]) -> None:
    blocks = about.get("blocks", [])
    if len(blocks) > 50:
        raise Limit("invalid_blocks")
    for block in blocks:
        _check_block(block)
    if len(json.dumps([text_of_block(each) for each in blocks], ensure_ascii=False)) > 13_200:
        raise Limit("msg_blocks_too_long")
    if not about.get("text"):
        raise Limit("no_text")


def check_view(view: dict[str, Any]) -> None:
    if len(view["blocks"]) > 100 or len(view.get("private_metadata", "")) > 3_000:
        raise Limit("invalid_arguments")
    if len({each.get("block_id", number) for number, each in enumerate(view["blocks"])}) != len(
        view["blocks"]
    ):
        raise Limit("duplicate_block_id")
    for part in ("title", "submit", "close"):
        _check_text(view[part], 24, "plain_text")
    for block in view["blocks"]:
        _check_block(block)


def _check_block(block: dict[str, Any]) -> None:
    match block["type"]:
        case "section":
            _check_text(block["text"], 3_000)
        case "header":
            _check_text(block["text"], 150, "plain_text")
        case "actions":
            if not 0 < len(block["elements"]) <= 25:
                raise Limit("invalid_blocks")
            for each in block["elements"]:
                _check_button(each)
        case "rich_text":
            if not block["elements"]:
                raise Limit("invalid_blocks")
            for part in block["elements"]:
                if part["type"] not in (
                    "rich_text_section",
                    "rich_text_preformatted",
                    "rich_text_quote",
                ):
                    raise Limit("invalid_blocks")
                for each in part["elements"]:
                    if each["type"] == "text" and not each["text"]:
                        raise Limit("invalid_blocks")
        case "input":
            _check_text(block["label"], 2_000, "plain_text")
            _check_input(block["element"])
        case other:
            raise Limit(f"unknown_block_{other}")


def _check_text(text: dict[str, Any], most: int, kind: str | None = None) -> None:
    if not 0 < len(text["text"]) <= most or (kind is not None and text["type"] != kind):
        raise Limit("invalid_blocks")


def _check_button(button: dict[str, Any]) -> None:
    _check_text(button["text"], 75, "plain_text")
    if len(button.get("value", "")) > 2_000 or len(button.get("url", "")) > 3_000:
        raise Limit("invalid_blocks")
    if "confirm" in button:
        for part, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            _check_text(button["confirm"][part], most)


def _check_input(element: dict[str, Any]) -> None:
    match element["type"]:
        case "plain_text_input":
            if (
                not len(element.get("initial_value", ""))
                <= element.get("max_length", 3_000)
                <= 3_000
            ):
                raise Limit("invalid_arguments")
        case "number_input":
            if "is_decimal_allowed" not in element:
                raise Limit("invalid_arguments")
        case "static_select" | "multi_static_select":
            if not 0 < len(element["options"]) <= 100:
                raise Limit("invalid_arguments")
            for each in element["options"]:
                _check_text(each["text"], 75, "plain_text")
                if len(each["value"]) > 150:
                    raise Limit("invalid_arguments")
            if element.get("initial_option", element["options"][0]) not in element["options"]:
                raise Limit("invalid_arguments")
        case _:
            raise Limit("invalid_arguments")


# What people read, and type.


def text_of(message: dict[str, Any]) -> str:
    return "\n".join(text_of_block(each) for each in message["blocks"])


def text_of_block(block: dict[str, Any]) -> str:
    if "text" in block:
        return str(block["text"]["text"])
    parts = []
    for part in block.get("elements", ()):
        if "elements" in part:
            parts.append(
                "".join(each.get("text") or each.get("fallback", "") for each in part["elements"])
            )
        elif isinstance(part.get("text"), dict):
            parts.append(f"[{part['text']['text']}]")
    return "\n".join(parts)


def buttons(card: dict[str, Any]) -> list[str]:
    return [each["action_id"] for each in pressed(card)]


def pressed(card: dict[str, Any]) -> list[dict[str, Any]]:
    """The buttons of a card, as they come."""
    return [
        each for block in card["blocks"] if block["type"] == "actions" for each in block["elements"]
    ]


def filled(view: dict[str, Any], typed: dict[str, str]) -> dict[str, Any]:
    """The fields as they are, but for what somebody has typed or chosen, by label."""
    found: dict[str, Any] = {}
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element, label = block["element"], block["label"]["text"]
        if element["type"] == "static_select":
            chosen = element.get("initial_option")
            if label in typed:
                chosen = next(
                    each for each in element["options"] if each["text"]["text"] == typed[label]
                )
            value: dict[str, Any] = {"type": "static_select", "selected_option": chosen}
        elif element["type"] == "multi_static_select":
            names = typed.get(label, "").split()
            several = [each for each in element["options"] if each["text"]["text"] in names]
            value = {"type": "multi_static_select", "selected_options": several}
        else:
            text = typed.get(label, element.get("initial_value")) or None
            assert text is not None or block.get("optional"), f"{label} has to be filled in"
            value = {"type": element["type"], "value": text}
        found[block["block_id"]] = {element["action_id"]: value}
    return found


class Socket:
    """One websocket of Socket Mode, as a server (RFC 6455): text, ping and close, unfragmented."""

    def __init__(self, request: BaseHTTPRequestHandler, slack: FakeSlack) -> None:
        self._request = request
        self._slack = slack
        self._sending = threading.Lock()

    def serve(self) -> None:
        key = self._request.headers["Sec-WebSocket-Key"]
        accept = base64.b64encode(
            hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        ).decode()
        self._request.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self.send({"type": "hello", "num_connections": 1})
        with self._slack.changed:
            self._slack.connected.append(self)
            self._slack.changed.notify_all()
        with contextlib.suppress(OSError, ValueError, struct.error):
            for said in self._frames():
                with self._slack.changed:
                    self._slack._acks[said["envelope_id"]] = said
                    self._slack.changed.notify_all()
        with self._slack.changed:
            self._slack.connected.remove(self)
            self._slack.changed.notify_all()
        self._request.close_connection = True

    def send(self, message: Any) -> None:
        self._frame(1, json.dumps(message).encode())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._frame(8, struct.pack(">H", 1000))
            self._request.connection.shutdown(2)

    def _frame(self, code: int, data: bytes) -> None:
        size = len(data)
        length = (
            bytes([size])
            if size < 126
            else (
                b"\x7e" + struct.pack(">H", size)
                if size < 65_536
                else b"\x7f" + struct.pack(">Q", size)
            )
        )
        with self._sending:
            self._request.wfile.write(bytes([0x80 | code]) + length + data)

    def _frames(self) -> Iterator[Any]:
        read = self._request.rfile.read
        while head := read(2):
            code, size = head[0] & 15, head[1] & 127
            if size == 126:
                (size,) = struct.unpack(">H", read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", read(8))
            mask = read(4)
            data = bytes(each ^ mask[at % 4] for at, each in enumerate(read(size)))
            if code == 8:
                return
            if code == 9:
                self._frame(10, data)
            elif code == 1:
                yield json.loads(data)


class Mounted:
    """A server that does with callbacks what `saferun serve` does: it hands them on."""

    def __init__(self, receive: Callable[..., Any]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                reply = receive(self.path, dict(self.headers.items()), body)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.kind)
                self.end_headers()
                self.wfile.write(reply.body)

            do_POST = do_GET = do_HEAD = _take

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> tuple[str, int, str]:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        host, port = self._server.server_address[:2]
        return str(host), int(port), "/channels/slack/actions"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
