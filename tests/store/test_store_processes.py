"""Several processes on one file: forks, crowds and kills."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from saferun.ledger import read
from saferun.store import Reader, Store
from storing import admit, audit, kinds, settle

# One process of a crowd: threads that admit and settle, each call counted by one limit.
CROWD = """
import sys, threading
from saferun.call import Call, RunRef
from saferun.control import COST, Breaker, Limit
from saferun.store import Fared, Store
sys.path.insert(0, sys.argv[4])
from storing import admit, due, settle

store = Store(f"sqlite:///{sys.argv[1]}", durability=sys.argv[2])
calls, most = int(sys.argv[3]), int(sys.argv[5])
call = Call(tool="refund", args={}, run=RunRef(run_id="r-1", root="r-1"))
# Each call is held for three and costs one: only who gives back exactly comes to the maximum.
limits = (
    Limit(id="cap", max=most, per=("run",)),
    Limit(id="money", max=most + 2 * 128, per=("all",), sum=COST),
)
tool = store.group(b"refund")
passes = due(store, call, *limits, cost=3, breaker=Breaker(), health=tool)
fared = Fared(key=tool, breaker=Breaker(), about=(), failed=False)
allowed = []

def work():
    for _ in range(calls):
        admitted = store.commit(admit(store, due=passes))
        if admitted.starts:
            allowed.append(admitted.seq)
            ends = {"holds": admitted.holds, "at": admitted.at, "cost": 1, "fared": fared}
            store.commit(settle(store, admitted.seq, **ends))

threads = [threading.Thread(target=work) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
store.close()
print(len(allowed))
"""

TESTS = str(Path(__file__).parent.parent)


@pytest.mark.parametrize("durability", ["process", "full"])
def test_eight_processes_of_sixteen_threads_leave_no_gap_and_overspend_nothing(
    file: Path, durability: str
) -> None:
    arguments = [sys.executable, "-c", CROWD, str(file), durability, "8", TESTS, "700"]
    crowd = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    allowed = [int(process.communicate(timeout=120)[0]) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 8
    assert sum(allowed) == 700
    report = audit(file)
    assert report.problem is None
    assert (report.dangling, report.unknown) == (0, 0)
    assert kinds(file).count("decision") == 8 * 16 * 8
    assert kinds(file).count("outcome") == 700


def test_a_new_file_may_be_opened_by_many_processes_at_once(file: Path) -> None:
    script = (
        "import sys; from saferun.store import Store; Store(f'sqlite:///{sys.argv[1]}').close()"
    )
    openers = [
        subprocess.Popen([sys.executable, "-c", script, str(file)], stderr=subprocess.PIPE)
        for _ in range(12)
    ]
    assert [opener.communicate(timeout=60)[1] for opener in openers] == [b""] * 12
    assert kinds(file) == ["ledger"]


def test_a_forked_child_has_a_life_of_its_own(open_store: Callable[..., Store], file: Path) -> None:
    store = open_store()
    mine = store.commit(admit(store))
    before = store.boot
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's own process
        code = 1
        try:
            theirs = store.commit(admit(store))
            store.commit(settle(store, theirs.seq))
            # What the parent admitted is the parent's to settle.
            store.commit(settle(store, mine.seq))
            code = 0 if store.boot != before else 2
        finally:
            os._exit(code)
    store.commit(settle(store, mine.seq))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    report = audit(file)
    assert (report.problem, report.dangling) == (None, 0)
    assert kinds(file).count("outcome") == 2


def test_forking_while_threads_write_loses_nothing(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    over = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not over.is_set():
            seq = store.commit(admit(store)).seq
            store.ride(settle(store, seq))
            written.append(seq)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(10):
        child = os.fork()
        if child == 0:  # pragma: no cover - the child's own process
            code = 1
            try:
                seq = store.commit(admit(store)).seq
                store.commit(settle(store, seq))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    over.set()
    for thread in threads:
        thread.join()
    store.close()
    assert codes == [0] * 10
    report = audit(file)
    assert (report.problem, report.dangling) == (None, 0)
    assert kinds(file).count("decision") == len(written) + 10


def test_a_child_that_is_forked_while_threads_read_is_not_stuck(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    store.commit(admit(store))
    over = threading.Event()

    def read_on() -> None:
        while not over.is_set():
            with Reader(file) as reader:
                assert reader.head().size

    threads = [threading.Thread(target=read_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(30):
        child = os.fork()
        if child == 0:  # pragma: no cover - the child's own process
            # One that waits for a lock which a thread of the parent's held waits for good.
            signal.alarm(30)
            code = 1
            try:
                seq = store.commit(admit(store)).seq
                store.commit(settle(store, seq))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    over.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 30


def test_a_spawned_worker_of_multiprocessing_shares_the_store(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    store.commit(admit(store))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_admit_in_worker, [str(file)] * 6) == [True] * 6
    assert audit(file).problem is None


def _admit_in_worker(file: str) -> bool:
    store = Store(f"sqlite:///{file}", durability="process")
    seq = store.commit(admit(store)).seq
    store.commit(settle(store, seq))
    store.close()
    return True


def test_a_store_that_nobody_closed_is_closed_at_the_interpreters_end(file: Path) -> None:
    script = f"""
import sys; sys.path.insert(0, {TESTS!r})
from saferun.store import Store
from storing import admit, settle
store = Store("sqlite:///{file}", durability="process")
store.ride(settle(store, store.commit(admit(store)).seq))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert audit(file).dangling == 0
    assert list(file.with_name(file.name + ".boots").iterdir()) == []


# A process that is killed: it says what it has done on a pipe, effect by effect.
VICTIM = """
import json, os, sys, threading
sys.path.insert(0, sys.argv[3])
from saferun.store import Store
from storing import admit, settle

store = Store(f"sqlite:///{sys.argv[1]}", durability=sys.argv[2])
effects = os.open(sys.argv[4], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
started = threading.Event()

def work():
    while True:
        admitted = store.commit(admit(store))
        os.write(effects, f"{admitted.seq}\\n".encode())  # the effect
        started.set()
        outcome = settle(store, admitted.seq)
        store.ride(outcome) if sys.argv[2] == "process" else store.commit(outcome)

[threading.Thread(target=work, daemon=True).start() for _ in range(3)]
started.wait()
print("started", flush=True)
threading.Event().wait()
"""


def kill_at_random(file: Path, effects: Path, durability: str, wait: float) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(file), durability, TESTS, str(effects)],
        stdout=subprocess.PIPE,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"started\n"
    # The random moment is the point of the test; it waits for nothing.
    threading.Event().wait(wait)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()


def nothing_is_lost(file: Path, effects: Path) -> int:
    """Every effect has its intent, every intent its end, and the tree verifies."""
    Store(f"sqlite:///{file}", durability="process").close()
    report = audit(file)
    assert report.problem is None
    assert report.dangling == 0
    with Reader(file) as reader:
        decided = {read(body).seq for _, body, _ in reader.rows() if b'"decision"' in body[:90]}
    happened = {int(line) for line in effects.read_text().split()}
    assert happened <= decided
    return report.unknown


def kills(file: Path, tmp_path: Path, times: int, seed: int) -> int:
    chance = random.Random(seed)
    effects = tmp_path / "effects"
    unknown = 0
    for number in range(times):
        durability = ("process", "full")[number % 2]
        kill_at_random(file, effects, durability, chance.uniform(0, 0.04))
        unknown = nothing_is_lost(file, effects)
    return unknown


def test_a_kill_at_any_moment_loses_nothing(file: Path, tmp_path: Path) -> None:
    assert kills(file, tmp_path, 12, seed=7) > 0


@pytest.mark.soak
def test_hundreds_of_kills_lose_nothing(file: Path, tmp_path: Path) -> None:
    unknown = kills(file, tmp_path, 300, seed=random.randrange(1 << 30))
    print(json.dumps({"kills": 300, "unknown": unknown}))


def test_a_live_process_is_never_taken_for_dead(
    open_store: Callable[..., Store], file: Path
) -> None:
    living = open_store()
    seq = living.commit(admit(living)).seq
    script = "import sys; from saferun.store import Store; print(Store(sys.argv[1]).recovered)"
    other = [sys.executable, "-c", script, f"sqlite:///{file}"]
    assert subprocess.run(other, capture_output=True, check=True, text=True).stdout == "0\n"
    living.commit(settle(living, seq))
    assert (audit(file).unknown, audit(file).dangling) == (0, 0)


def test_dead_boots_leave_no_files_behind(file: Path, open_store: Callable[..., Store]) -> None:
    script = (
        "import os, sys; from saferun.store import Store; "
        "store = Store(sys.argv[1]); store.boot; os.kill(os.getpid(), 9)"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script, f"sqlite:///{file}"], check=False)
    living = open_store()
    assert [each.name for each in file.with_name(file.name + ".boots").iterdir()] == [living.boot]
