"""A process that is killed at each of its steps, one after the other."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from saferun.store import sqlite

WRITES = os.O_WRONLY | os.O_RDWR
STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "subprocess.Popen")


T = TypeVar("T")


def dies_at(step: int, act: Callable[[T], object], ready: Callable[[], T]) -> bool:
    """Do something in a forked child that is killed before its step of that number.

    `ready` gives what `act` takes, in the child as well, and its steps do not count.

    A step is a file opened to be written, renamed or removed, or a statement of SQL. Whether the
    child was killed; if not, it had fewer steps, and has done all of it.
    """
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's own process
        code = 1
        try:
            count = _counting(step)
            given = ready()
            count()
            act(given)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), "the child failed instead of being killed"
    return status != 0


def _counting(step: int) -> Callable[[], None]:  # pragma: no cover - in the child
    """Watch every step from now on; the call of what it returns is where the count begins."""
    left: int | None = None

    def passed() -> None:
        nonlocal left
        if left is None:
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def heard(event: str, about: tuple[Any, ...]) -> None:
        if event in STEPS and (event != "open" or (about[2] or 0) & WRITES):
            passed()

    connect = sqlite.connect

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_trace_callback(lambda _: passed())
        return connection

    def begin() -> None:
        nonlocal left
        left = step

    sqlite.connect = watched
    sys.addaudithook(heard)
    return begin
