"""A loop for one message, in a thread of the courier's: names are looked up right there.

asyncio has a pool of threads look names up, and Python has shut every pool down by the time that
a process which ends brings its last messages. Whoever waits there waits for nothing else.
"""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Loop(asyncio.SelectorEventLoop):
    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the names are asyncio's
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        return socket.getaddrinfo(host, port, family, type, proto, flags)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What comes of `work`, in a loop of its own."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
