"""What a rerun holds back from the world, in all its threads, and also once it is over."""

import asyncio
import multiprocessing
import os
import platform
import queue
import shutil
import signal
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guarding import observing
from saferun import Diverged, Gate, RerunStopped, guard, rerun
from saferun.barrier import ShutError, shut


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "scratch"
    folder.mkdir()
    with shut(folder):
        yield folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_text("as it was", encoding="utf-8")
    return folder


def by_folder(folder: Path, act: Callable[[int], Any]) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        act(descriptor)
    finally:
        os.close(descriptor)


CHANGES: list[Callable[[Path], Any]] = [
    lambda out: by_folder(out, lambda fd: os.unlink("kept", dir_fd=fd)),
    lambda out: by_folder(out, lambda fd: os.mkdir("new", dir_fd=fd)),
    lambda out: by_folder(out, lambda fd: os.rename("kept", "new", src_dir_fd=fd, dst_dir_fd=fd)),
    lambda out: by_folder(out, lambda fd: os.symlink("kept", "new", dir_fd=fd)),
    lambda out: by_folder(out, lambda fd: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)),
    lambda out: by_folder(out, lambda fd: os.mkfifo("new", dir_fd=fd)),
    lambda out: os.mknod(out / "new"),
    lambda out: os.utime(out / "kept"),
    lambda out: sqlite3.connect(f"file:{out}/new?mode=rwc", uri=True),
]


@pytest.mark.parametrize("act", CHANGES)
def test_nothing_outside_is_changed_by_whatever_way_it_is_named(outside, scratch, monkeypatch, act):
    monkeypatch.chdir(scratch)
    with pytest.raises(ShutError):
        act(outside)
    assert [each.name for each in outside.iterdir()] == ["kept"]


def test_a_link_that_leads_into_the_scratch_folder_is_outside_itself(tmp_path, outside):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "file").touch()
    (outside / "link").symlink_to(scratch / "file")
    with shut(scratch), pytest.raises(ShutError):
        (outside / "link").unlink()
    assert (outside / "link").is_symlink()


def test_a_link_in_the_scratch_folder_may_go_and_what_it_leads_to_stays(outside, scratch):
    (scratch / "link").symlink_to(outside / "kept")
    with pytest.raises(ShutError):
        (scratch / "link").write_text("changed", encoding="utf-8")
    (scratch / "link").unlink()
    assert (outside / "kept").read_text(encoding="utf-8") == "as it was"


def test_a_folder_in_the_scratch_folder_is_removed_with_all_that_is_in_it(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with shut(scratch) as refused:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            inner = Path(folder) / "a" / "b"
            inner.mkdir(parents=True)
            (inner / "c").touch()
        shutil.rmtree(scratch)
    assert refused == []
    assert not scratch.exists()


def test_memory_that_is_shared_by_name_is_no_place_to_write_and_null_is(scratch):
    with pytest.raises(ShutError):
        Path("/dev/shm/saferun-test").write_text("", encoding="utf-8")
    Path(os.devnull).write_text("", encoding="utf-8")


def test_a_database_that_is_only_read_may_be_opened(outside, scratch):
    sqlite3.connect(f"file:{outside}/kept?mode=ro", uri=True).close()
    sqlite3.connect("file:own?mode=memory", uri=True).close()


@pytest.mark.parametrize(
    "statement",
    [
        "attach 'NEW' as a; create table a.t(x)",
        "attach 'file:NEW?mode=rwc' as a; create table a.t(x)",
        "attach '' || 'NEW' as a; create table a.t(x)",
        "vacuum into 'NEW'",
    ],
)
def test_no_statement_opens_a_further_database(outside, scratch, statement):
    with sqlite3.connect("file:own?mode=memory", uri=True) as own:
        with pytest.raises(sqlite3.DatabaseError):
            own.executescript(statement.replace("NEW", f"{outside}/new"))
        own.executescript(f"attach '{scratch}/new' as a; create table a.t(x); vacuum")
        own.execute("attach ':memory:' as b")
    own.close()
    assert [each.name for each in outside.iterdir()] == ["kept"]


def test_a_database_is_itself_again_afterwards(outside, tmp_path):
    with shut(tmp_path / "scratch") as refused:
        own = sqlite3.connect(":memory:")
        with pytest.raises(sqlite3.DatabaseError):
            own.execute(f"attach '{outside}/new' as a")
    assert [each.event for each in refused] == ["sqlite3.connect"]
    own.execute(f"attach '{outside}/new' as a")
    own.close()


def test_nobody_is_asked_for_the_name_of_an_address(scratch):
    with pytest.raises(ShutError):
        socket.getnameinfo(("192.0.2.1", 53), 0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no such thing")
def test_a_process_gets_no_signal_by_its_descriptor(scratch):
    descriptor = os.pidfd_open(os.getpid())
    try:
        with pytest.raises(ShutError):
            signal.pidfd_send_signal(descriptor, 0)
    finally:
        os.close(descriptor)


def test_files_are_opened_by_their_folder_where_may_be_written(outside, scratch):
    by_folder(scratch, lambda fd: os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)))
    by_folder(outside, lambda fd: os.close(os.open("kept", os.O_RDONLY, dir_fd=fd)))
    assert (scratch / "new").exists()


def nothing() -> None:
    """What a process of its own would do."""


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_processes_of_multiprocessing_are_not_started(scratch, how):
    process = multiprocessing.get_context(how).Process(target=nothing)
    with pytest.raises(ShutError):
        process.start()


@pytest.mark.parametrize("how", ["send", "sendall"])
def test_nothing_is_sent_over_a_connection_that_was_there_before(tmp_path, how):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
        server.accept()[0] as far,
    ):
        with shut(tmp_path) as refused, pytest.raises(ShutError):
            getattr(near, how)(b"pay")
        near.sendall(b"later")
        assert far.recv(100) == b"later"
    assert [each.event for each in refused] == ["socket.send"]


def test_a_debugger_that_was_there_before_goes_on_with_its_connection(tmp_path):
    said = queue.SimpleQueue[bytes]()

    def writes(sock: socket.socket) -> None:
        while word := said.get():
            sock.sendall(word)

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
        server.accept()[0] as far,
    ):
        writer = threading.Thread(target=writes, args=(near,))
        writer.start()
        with shut(tmp_path) as refused:
            said.put(b"stopped at a breakpoint")
            assert far.recv(100) == b"stopped at a breakpoint"
            said.put(b"")
            writer.join()
    assert refused == []


# What a rerun leaves behind.


@pytest.fixture
def gate() -> Gate:
    return observing()


@pytest.fixture
def paying(gate: Gate) -> tuple[Callable[[int], None], list[int]]:
    """A tool that was called once, in the run `r-1`, and what it has paid since."""
    paid: list[int] = []

    @guard(gate=gate)
    def pay(amount: int) -> None:
        paid.append(amount)

    with gate.run(run_id="r-1"):
        pay(1)
    gate.store.flush()
    paid.clear()
    return pay, paid


@pytest.fixture
def left(
    gate: Gate, tmp_path: Path, paying: tuple[Callable[[int], None], list[int]]
) -> dict[str, Any]:
    """What came of a thread that goes on after its rerun, by what it tried."""
    pay, paid = paying
    over, found = threading.Event(), dict[str, Any]()

    def tries(name: str, act: Callable[[], Any]) -> None:
        try:
            found[name] = act()
        except (RerunStopped, ShutError) as stopped:
            found[name] = type(stopped)

    def goes_on(run: Any) -> None:
        def within() -> None:
            with gate.run(agent="other", parent=run):
                pay(2)

        over.wait(10)
        tries("call", lambda: pay(3))
        tries("run", within)
        tries("write", lambda: (tmp_path / "written").touch())

    def main() -> None:
        with gate.run(run_id="r-1") as run:
            threads.append(threading.Thread(target=goes_on, args=(run,)))
            threads[0].start()
            pay(4)

    threads: list[threading.Thread] = []
    with pytest.raises(Diverged), rerun("r-1"):
        main()
    over.set()
    threads[0].join()
    with gate.run(run_id="r-2"):
        pay(5)
    return {**found, "paid": paid, "files": [each.name for each in tmp_path.glob("written")]}


def test_a_thread_that_goes_on_after_a_rerun_calls_no_tool_and_writes_nothing(left):
    assert left == {"call": Diverged, "run": Diverged, "write": ShutError, "paid": [5], "files": []}


async def test_a_task_that_goes_on_after_a_rerun_calls_no_tool_and_writes_nothing(gate, tmp_path):
    paid: list[int] = []

    @guard(gate=gate)
    async def pay(amount: int) -> None:
        paid.append(amount)

    with gate.run(run_id="r-1"):
        await pay(1)
    gate.store.flush()
    paid.clear()
    over = asyncio.Event()

    async def goes_on() -> None:
        await over.wait()
        with pytest.raises(RerunStopped, match="began in a rerun, which is over"), gate.run():
            await pay(2)
        with pytest.raises(ShutError):
            (tmp_path / "written").touch()

    async with rerun("r-1"):
        task = asyncio.create_task(goes_on())
        with gate.run(run_id="r-1"):
            await pay(1)
    over.set()
    await task
    with gate.run():
        await pay(3)
    assert paid == [3]


def test_a_run_within_one_that_was_made_again_is_not_let_through_afterwards(gate, paying):
    pay, paid = paying
    with rerun("r-1"), gate.run(run_id="r-1") as run:
        pay(1)
    with pytest.raises(RerunStopped), gate.run(parent=run):
        pay(2)
    assert paid == []


def test_on_what_it_runs_is_known_before_and_no_program_is_asked(gate, monkeypatch):
    monkeypatch.setattr(platform, "_uname_cache", None)
    with gate.run(run_id="r-1") as run:
        run.model("hello")
    gate.store.flush()
    with rerun("r-1") as again, gate.run(run_id="r-1") as run:
        run.model("hello")
        platform.processor()
    assert again.refused == []
