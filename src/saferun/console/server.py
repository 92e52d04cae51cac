"""The server of the console: its socket, and the thread that answers on it."""

import contextlib
import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from saferun.errors import SafeRunError

MOST = 256
"""Connections at the same time; more are told to come again."""


class PortError(SafeRunError):
    """The address cannot be listened at: it is taken, or not this machine's."""


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
                http="h11",
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
