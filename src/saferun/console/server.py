"""The server of the console: its socket, and the thread that answers on it."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from saferun.errors import SafeRunError

MOST = 256
"""Connections at the same time; more are told to come again."""


PATIENCE = 15.0
"""Seconds in which the head of a request has to be here whole."""

STALLED = 30.0
"""Seconds in which whoever is answered has to take something of it; then they are cut off."""

EACH = 64
"""Connections of one address. Those of this machine are not counted: a proxy has everybody's."""


class PortError(SafeRunError):
    """The address cannot be listened at: it is taken, or not this machine's."""


class _Patient(H11Protocol):
    """HTTP with whoever says what they want soon, and does not take all connections for it."""

    _by: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._from = self.client[0] if self.client is not None else ""
        self._by[self._from] += 1
        self._waits: asyncio.TimerHandle | None = None
        self._stalls: asyncio.TimerHandle | None = None
        if self._by[self._from] > EACH and not is_loopback_address(self._from):
            transport.close()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._by[self._from] -= 1
        if self._by[self._from] <= 0:
            del self._by[self._from]
        for timer in (self._waits, self._stalls):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._arm()

    def pause_writing(self) -> None:
        super().pause_writing()
        # What is on its way to somebody who takes nothing would be held for as long as they like.
        self._stalls = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalls is not None:
            self._stalls.cancel()

    def _arm(self) -> None:
        if self._waits is not None and not self._idle():
            self._waits.cancel()
            self._waits = None
        elif self._waits is None and self._idle():
            self._waits = self.loop.call_later(PATIENCE, self._late)

    def _idle(self) -> bool:
        # There is none before the first request.
        return bool(getattr(self.cycle, "response_complete", True))

    def _late(self) -> None:
        self._waits = None
        if self._idle():
            self.transport.close()


def is_loopback_address(address: str) -> bool:
    """Whether a peer is on this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class Server:
    """Serves one application over HTTP, from a thread of its own.

    It listens from the beginning, so that its port is known. Raises PortError.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(128)
        except (OSError, OverflowError) as problem:
            self._socket.close()
            why = getattr(problem, "strerror", None) or str(problem)
            raise PortError(
                f"{host}:{port} cannot be listened at: {why}; name another port with --port."
            ) from None
        self.port: int = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Patient,
                ws="none",
                lifespan="off",
                interface="asgi3",
                # Addresses of pages name requests, and a log is read by others than their readers.
                access_log=False,
                log_config=None,
                server_header=False,
                # Whoever is not in front of us could say any address.
                proxy_headers=False,
                limit_concurrency=MOST,
                h11_max_incomplete_event_size=32_768,
                timeout_keep_alive=10,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="saferun-console", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer what is under way, for two seconds at most, and nothing more."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            self._server.run(sockets=[self._socket])
