"""One POST to somebody who is not trusted: bounded in time and size, and never led elsewhere."""

import contextlib
import re
import socket
import ssl
import threading
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from saferun.anchor.place import AnchorError
from saferun.errors import ConfigError

MAX_BODY = 1 << 16
"""Bytes of an answer, the most that are read."""


class Target(NamedTuple):
    """Where to post to. `path` ends without a slash."""

    host: str
    port: int
    path: str
    encrypted: bool


class Answer(NamedTuple):
    """What came back: the status, the media type without parameters, and the body."""

    status: int
    kind: str
    body: bytes


def target(url: str) -> Target:
    """Where a URL leads. Plain HTTP goes to this machine alone.

    Raises ConfigError where it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    plain = re.fullmatch(r"[!-~]+", url) is not None
    if not plain or not host or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"url is {url[:200]!r}; write https://HOST or https://HOST/PATH, without user, query "
            "or fragment"
        )
    if parts.scheme == "http" and not _loopback(host):
        raise ConfigError(
            f"url is {url[:200]!r}; use https, since plain http is for this machine alone"
        )
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"url is {url[:200]!r}; it begins with https://")
    encrypted = parts.scheme == "https"
    return Target(host, port or (443 if encrypted else 80), parts.path.rstrip("/"), encrypted)


def post(to: Target, path: str, body: bytes, seconds: float) -> Answer:
    """Post `body` and return what came back, redirects included, within that time in all.

    Raises AnchorError where nothing, or too much, came back.
    """
    if seconds <= 0:
        raise AnchorError("There was no time left to ask it.")
    opened: list[socket.socket] = []
    late = threading.Event()

    def give_up() -> None:
        late.set()
        for each in opened:
            # Whoever waits for the socket is woken by this. A peer that sends a byte now and
            # then would otherwise keep each single wait short and the whole one endless.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        answer = _posted(to, path, body, seconds, opened)
    except (OSError, HTTPException, ValueError) as problem:
        if late.is_set() or isinstance(problem, TimeoutError):
            raise AnchorError(f"It has not answered within {seconds:.0f} s.") from None
        raise AnchorError(f"It could not be reached: {_said(problem)}.") from None
    finally:
        timer.cancel()
        for each in opened:
            each.close()
    if late.is_set():
        # A socket that was shut down looks like an answer that is over.
        raise AnchorError(f"It has not answered within {seconds:.0f} s.")
    if len(answer.body) > MAX_BODY:
        raise AnchorError(f"It has answered with more than {MAX_BODY:,} bytes.")
    return answer


def _posted(
    to: Target, path: str, body: bytes, seconds: float, opened: list[socket.socket]
) -> Answer:
    sock = socket.create_connection((to.host, to.port), timeout=seconds)
    opened.append(sock)
    if to.encrypted:
        wrapped = ssl.create_default_context().wrap_socket(
            sock, server_hostname=to.host, do_handshake_on_connect=False
        )
        opened[:] = [wrapped]
        wrapped.do_handshake()
        sock = wrapped
    connection = HTTPConnection(to.host, to.port)
    connection.sock = sock
    headers = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
    connection.request("POST", to.path + path, body, headers)
    response = connection.getresponse()
    kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    return Answer(response.status, kind, response.read(MAX_BODY + 1))


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _said(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    if isinstance(problem, HTTPException):
        return f"its answer is no HTTP ({type(problem).__name__})"
    return str(problem)[:200] or type(problem).__name__
