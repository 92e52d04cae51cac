"""A console on a real socket of this machine."""

import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from saferun.console import Console, Server


@contextmanager
def serving(console: Console) -> Iterator[Server]:
    server = Server(console.app, "127.0.0.1", 0)
    server.start()
    try:
        yield server
    finally:
        console.close()
        server.stop()


class Visitor:
    """Somebody who speaks HTTP to it, with a connection of their own for each request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookie = ""

    def request(
        self, method: str, path: str, data: dict[str, Any] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        headers = {"cookie": self.cookie, "origin": self.url}
        body = None
        if data is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode(data, doseq=True)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            cookie = answer.getheader("set-cookie")
            if cookie:
                self.cookie = cookie.split(";")[0]
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def enter(self, code: str) -> None:
        status, _ = self.request("POST", "/enter", {"code": code})
        assert status == 303

    def form(self, path: str) -> dict[str, str]:
        _, page = self.request("GET", path)
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
        return {name: value.replace("&#34;", '"') for name, value in found}
