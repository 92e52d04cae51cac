"""What the controls keep and nobody needs any more is taken away, and nothing else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from saferun.admission import Due
from saferun.control import Charge, Health, Limit
from saferun.store import Reader, Store
from saferun.store.controls import groups
from saferun.store.pruning import READ, TAKEN, Pruning
from storing import Clock, admit, kinds, settle

SECOND = 1_000_000
TESTS = str(Path(__file__).parent.parent)
HOURLY = Limit(id="hourly", max=2, per=("user",), window=3_600 * SECOND)
BUDGET = Limit(id="spent", max=10 * SECOND, per=("user",), sum="cost_usd", window=3_600 * SECOND)
FOREVER = Limit(id="once", max=1, per=("args.order",))


@pytest.fixture
def store(open_store: Callable[..., Store], clock: Clock) -> Store:
    return open_store(clock=clock)


def count(store: Store, limit: Limit, user: int, amount: int = 1):
    about = (("policy", "shop/enforce"), ("user", f"u{user}"))
    charge = Charge(limit, -2 - user, amount, about=about)
    return store.commit(admit(store, due=Due(charges=[charge])))


def keys(store: Store) -> set[int]:
    with Reader(store.path) as reader:
        return {-2 - group.key for group in groups(reader)}


def prune(store: Store) -> int:
    writer = store._writer
    return Pruning(store.path).go_on(writer.alone)


def test_what_is_over_goes_and_what_counts_stays(store: Store, clock: Clock) -> None:
    count(store, HOURLY, 1)
    count(store, FOREVER, 2)
    clock.now += 2 * 3_600 * SECOND
    count(store, HOURLY, 3)
    assert prune(store) == 1
    assert keys(store) == {2, 3}


def test_a_row_goes_only_once_the_ledger_is_past_its_windows(store: Store, clock: Clock) -> None:
    count(store, HOURLY, 1)
    # The host's clock alone proves nothing: it may have jumped, and be set back.
    clock.now += 2 * 3_600 * SECOND
    assert prune(store) == 0
    assert keys(store) == {1}


def test_the_health_of_a_tool_goes_once_nothing_of_it_counts(store: Store, clock: Clock) -> None:
    with store._writer.alone() as connection:
        for key, health in enumerate((Health(), Health(opened=1, since=1, until=2))):
            data = msgspec.msgpack.encode({"breaker": health})
            connection.execute(
                "INSERT INTO head (seq, time, about, data) VALUES (?, 0, ?, ?)",
                (-2 - key, msgspec.msgpack.encode([]), data),
            )
    store.commit(admit(store))
    assert prune(store) == 1
    assert keys(store) == {1}


def test_a_process_that_still_remembers_a_row_counts_on_as_if_it_had_been_empty(
    store: Store, clock: Clock
) -> None:
    assert count(store, HOURLY, 1).starts
    assert count(store, HOURLY, 1).starts
    assert not count(store, HOURLY, 1).starts
    clock.now += 2 * 3_600 * SECOND
    store.commit(admit(store))
    assert prune(store) == 1
    assert -3 in store._writer._memory.groups
    assert count(store, HOURLY, 1).starts
    assert count(store, HOURLY, 1).starts
    assert not count(store, HOURLY, 1).starts
    with Reader(store.path) as reader:
        [group] = groups(reader)
    assert group.about == [("policy", "shop/enforce"), ("user", "u1")]


def test_a_call_that_ends_after_its_row_has_gone_owes_nothing(store: Store, clock: Clock) -> None:
    admitted = count(store, BUDGET, 1, 5 * SECOND)
    clock.now += 2 * 3_600 * SECOND
    store.commit(admit(store))
    assert prune(store) == 1
    late = settle(store, admitted.seq, holds=admitted.holds, at=admitted.at, cost=9 * SECOND)
    store.commit(late)
    assert count(store, BUDGET, 1, 10 * SECOND).starts
    with Reader(store.path) as reader:
        [group] = groups(reader)
    assert group.about == [("policy", "shop/enforce"), ("user", "u1")]


def test_a_row_that_moves_while_it_is_looked_at_stays(store: Store, clock: Clock) -> None:
    count(store, HOURLY, 1)
    clock.now += 2 * 3_600 * SECOND
    store.commit(admit(store))
    pruning = Pruning(store.path)
    [found] = pruning._pages()
    assert [key for key, _ in found] == [-3]
    count(store, HOURLY, 1)
    pruning._pages = lambda: iter([found])  # type: ignore[method-assign]
    pruning.go_on(store._writer.alone)
    assert keys(store) == {1}


def test_many_rows_go_a_few_at_a_time_and_the_way_begins_again(store: Store, clock: Clock) -> None:
    data = msgspec.msgpack.encode({HOURLY.name: [(0, 1)]})
    with store._writer.alone() as connection:
        connection.executemany(
            "INSERT INTO head (seq, time, about, data) VALUES (?, 0, ?, ?)",
            [(-2 - key, msgspec.msgpack.encode([]), data) for key in range(READ + TAKEN + 1)],
        )
    store.commit(admit(store))
    pruning = Pruning(store.path)
    assert pruning.go_on(store._writer.alone) == READ
    assert pruning.go_on(store._writer.alone) == TAKEN + 1
    assert pruning.go_on(store._writer.alone) == 0
    assert keys(store) == set()


def test_the_keeper_prunes_while_calls_go_on(store: Store, clock: Clock) -> None:
    for user in range(50):
        count(store, HOURLY, user)
    clock.now += 2 * 3_600 * SECOND
    for _ in range(40):
        store.commit(admit(store))
    # What the keeper is told is done in order, so this waits for what it was told before.
    import threading

    done = threading.Event()
    store._writer._call_keeper(store._writer.tend)
    store._writer._call_keeper(done.set)
    assert done.wait(30)
    assert keys(store) == set()


CROWD = """
import sys, threading
sys.path.insert(0, sys.argv[2])
from saferun.admission import Due
from saferun.control import Charge, Limit
from saferun.store import Store
from saferun.store.pruning import Pruning
from storing import admit

store = Store(f"sqlite:///{sys.argv[1]}", durability="process")
limit = Limit(id="cap", max=50, per=("user",), window=10**15)
short = Limit(id="short", max=10**6, per=("user",), window=1)
starts = []
def work():
    for number in range(60):
        user = number % 4
        due = Due(charges=[Charge(limit, -2 - user), Charge(short, -102 - user)])
        if store.commit(admit(store, due=due)).starts:
            starts.append(user)
        Pruning(store.path).go_on(store._writer.alone)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
store.close()
print(len(starts))
"""


def test_processes_that_count_and_prune_at_once_count_exactly(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import saferun.store.pruning as p; p.LEAST = 0\n" + CROWD
    command = [sys.executable, "-c", script, str(file), TESTS]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    starts = [int(process.communicate(timeout=120)[0]) for process in crowd]
    assert sum(starts) == 4 * 50
    assert kinds(file).count("decision") == 3 * 4 * 60
