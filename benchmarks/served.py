"""The console of one store, served by a process of its own, so that what it takes can be told."""

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Self

from saferun import config
from saferun.console import Console, Server, Who
from saferun.store import Enrol, Store

COOKIE = "saferun-{port}"

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Spent(NamedTuple):
    """What a process has taken so far: seconds of a core, and bytes that it holds."""

    cpu: float
    memory: int

    @classmethod
    def of(cls, process: int) -> Self:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        held = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
        return cls((int(stat[11]) + int(stat[12])) / _TICKS, int(held[1]) * _PAGE)


class Served(NamedTuple):
    """Where it is, and the cookies of those who are logged in."""

    url: str
    port: int
    cookies: tuple[str, ...]
    process: int

    def spent(self) -> Spent:
        return Spent.of(self.process)


@contextlib.contextmanager
def served(file: Path, sessions: int = 1) -> Iterator[Served]:
    """The console of a store, opened anew: it knows nothing yet but the search index."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(file, sessions, there), daemon=True)
    process.start()
    # Ours alone now: where it ends before it has said anything, that is heard.
    there.close()
    try:
        port, tokens = here.recv()
        cookies = tuple(f"{COOKIE.format(port=port)}={token}" for token in tokens)
        yield Served(f"http://127.0.0.1:{port}", port, cookies, process.pid or 0)
    finally:
        here.send(None)
        process.join(10)


def _serve(file: Path, sessions: int, here: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # Somebody known, so that whether they still are is asked as it is of people.
        Path("saferun.toml").write_text("[people.dana]\n", encoding="utf-8")
        settings = config.load()
        store = Store(f"sqlite:///{file}", durability="process")
        credential = store.credential("dana", "a benchmark")
        store.commit(Enrol("dana", credential))
        dana = Who("dana", "approver", credential)
        console = Console(store, settings)
        console.history.index()
        server = Server(console.app, "127.0.0.1", 0)
        server.start()
        try:
            here.send((server.port, [console.sessions.begin(dana) for _ in range(sessions)]))
            here.recv()
        finally:
            console.close()
            server.stop()
            store.close()
