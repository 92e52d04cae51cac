"""A real mail server on loopback, what it took, and the people who read it."""

import asyncio
import email
import queue
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

PATIENCE = 30


class Letter(NamedTuple):
    """A letter as it arrived: its envelope's recipient, and the message."""

    to: str
    message: EmailMessage

    @property
    def plain(self) -> str:
        return self.message.get_body(("plain",)).get_content().replace("\r\n", "\n")

    @property
    def html(self) -> str:
        return self.message.get_body(("html",)).get_content()

    @property
    def token(self) -> str:
        return re.search(r"/channels/email/([\w-]{43})", self.plain)[1]

    @property
    def code(self) -> str:
        return re.search(r"^  ([0-9A-Z]{4}-[0-9A-Z]{4})$", self.plain, re.MULTILINE)[1]


class MailRoom:
    """Takes letters; `refuses` are recipients that it does not, for as many times as it says.

    One that is `mute` never says that a password is wrong.
    """

    def __init__(self) -> None:
        self.letters: queue.Queue[Letter] = queue.Queue()
        self.refuses: dict[str, int] = {}
        self.refused = threading.Event()
        self.port = 0
        self.mute = False
        self.logins: list[tuple[str, str]] = []

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if self.refuses.get(address, 0) > 0:
            self.refuses[address] -= 1
            self.refused.set()
            return "450 4.2.0 mailbox is busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        message = email.message_from_bytes(envelope.content, policy=default)
        (to,) = envelope.rcpt_tos
        self.letters.put(Letter(to, message))
        return "250 taken"

    def authenticate(self, server, session, envelope, mechanism, data) -> AuthResult:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"hush", handled=self.mute)

    def next(self) -> Letter:
        return self.letters.get(timeout=PATIENCE)

    def by_person(self, many: int) -> dict[str, Letter]:
        return {each.to: each for each in (self.next() for _ in range(many))}


@contextmanager
def mail_room(tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[MailRoom]:
    """A server for as long as the block lasts, on a port that nobody else can have."""
    room = MailRoom()
    served: list[SMTP] = []

    class OnSocket(Controller):
        def _create_server(self) -> Any:
            return self.loop.create_server(
                self._factory_invoker, sock=listening, ssl=self.ssl_context
            )

        def factory(self) -> SMTP:
            served.append(
                SMTP(room, hostname="mail.test", authenticator=room.authenticate, **options)
            )
            return served[-1]

    async def hang_up() -> None:
        # The server leaves open what a client has not closed yet.
        for each in served:
            if each.transport is not None:
                each.transport.abort()
        await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        room.port = listening.getsockname()[1]
        server = OnSocket(room, hostname="127.0.0.1", port=room.port, ssl_context=tls)
        server.start()
        try:
            yield room
        finally:
            asyncio.run_coroutine_threadsafe(hang_up(), server.loop).result(PATIENCE)
            server.stop()
