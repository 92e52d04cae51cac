"""Calls of which nobody knows how they ended, and whoever finds out."""

import contextlib
import multiprocessing
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dying import paying, payment
from saferun import Gate, Outcome, StoreError
from saferun.call import Call, RunRef
from saferun.control import Limit
from saferun.control import limit as limits
from saferun.ledger import OutcomeEntry, RecoveryEntry, parse
from saferun.policy import loads
from saferun.store import Enrol, FindOut, Reader, Store, WrongSecretError
from saferun.store.controls import groups
from saferun.store.unsettled import calls_under_way, unknown_calls
from storing import Clock, admit, as_of, audit, due, settle

LIMITED = """
version: 1
name: limited
tools:
  pay:
    effect: write
    args: {x: {type: integer}}
    limits:
      - {id: times, max: 2, per: user}
      - {id: hourly, max: 2, per: user, window: 1h}
      - {id: summed, sum: args.x, max: 10, per: user, window: 1d}
      - {id: pace, rate: 10/min, burst: 5, per: user}
"""


def unknown(file: Path) -> list[int]:
    with Reader(file) as reader:
        return [call.seq for call in unknown_calls(reader)]


def used(file: Path) -> dict[str, object]:
    with Reader(file) as reader:
        return {name: state for group in groups(reader) for name, state in group.states.items()}


@pytest.fixture
def lost(store: Store) -> int:
    """A call that is recorded as unknown."""
    of = store.commit(admit(store, key=b"k" * 16)).seq
    store.commit(settle(store, of, "unknown", key=b"k" * 16, tool="refund"))
    return of


def test_a_call_whose_process_died_is_listed_with_what_is_known_of_it(
    file: Path, open_store: Callable[..., Store]
) -> None:
    paying(file, ({"x": 4}, "c-1"))
    assert open_store().recovered == 1
    with Reader(file) as reader:
        [call] = unknown_calls(reader)
    assert call.decision is not None
    assert call.said is not None
    assert (call.tool, call.alive) == ("pay", False)
    assert (call.decision.args, call.decision.agent, call.decision.tenant) == (
        *({"x": 4}, "support", "acme"),
    )
    assert isinstance(parse(call.said).entry, RecoveryEntry)


@pytest.mark.parametrize("status", ["ok", "not_started", "error"])
def test_a_call_is_settled_once_and_the_ledger_verifies(store: Store, file, lost, status) -> None:
    assert unknown(file) == [lost]
    cleared = store.commit(FindOut(of=lost, status=status, reason="I looked"))
    assert cleared is not None
    assert store.commit(FindOut(of=lost, status="ok")) is None
    assert unknown(file) == []
    with Reader(file) as reader:
        entry = parse(next(reader.bodies([cleared.seq]))).entry
    assert isinstance(entry, OutcomeEntry)
    assert (entry.of, entry.status, entry.by, entry.reason) == (lost, status, "verify", "I looked")
    report = audit(file)
    assert (report.problem, report.unknown, report.dangling) == (None, 0, 0)


def test_what_is_open_or_ended_or_no_call_is_not_settled(store: Store, file: Path) -> None:
    under_way = store.commit(admit(store)).seq
    ended = store.commit(admit(store)).seq
    store.commit(settle(store, ended))
    before = audit(file).entries
    for of in (0, under_way, ended, 99, -1):
        assert store.commit(FindOut(of=of, status="ok")) is None
    assert audit(file).entries == before


def test_a_person_settles_with_their_own_secret_alone(store: Store, file: Path, lost: int) -> None:
    store.commit(Enrol("dana", store.keys.digest(b"secret")))
    wrong = FindOut(of=lost, status="ok", by="dana", credential=store.keys.digest(b"guess"))
    with pytest.raises(WrongSecretError, match="not dana's"):
        store.commit(wrong)
    assert unknown(file) == [lost]
    right = FindOut(of=lost, status="ok", by="dana", credential=store.keys.digest(b"secret"))
    assert store.commit(right) is not None


def test_nobody_is_called_what_checks_settle_by(store: Store, lost: int) -> None:
    store.commit(Enrol("verify", store.keys.digest(b"secret")))
    with pytest.raises(StoreError, match="no person"):
        store.commit(
            FindOut(of=lost, status="ok", by="verify", credential=store.keys.digest(b"secret"))
        )


def test_what_happened_is_what_the_same_call_is_told_from_then_on(file: Path) -> None:
    paying(file, ({"x": 4}, "c-1"))
    gate = Gate(store=Store(f"sqlite:///{file}", durability="process"))
    first = gate.check(payment({"x": 4}, "c-1"))
    assert (first.starts, first.outcome) == (False, Outcome(status="unknown"))
    assert first.seq is not None
    gate.store.commit(FindOut(of=first.seq, status="ok", result=b'{"paid":4}'))
    again = gate.check(payment({"x": 4}, "c-1"))
    assert (again.starts, again.outcome) == (False, Outcome(status="ok", result={"paid": 4}))
    gate.close()


def test_what_did_not_happen_may_start_once_and_is_given_back(file: Path) -> None:
    paying(file, ({"x": 4}, "c-1"), policy=LIMITED)
    gate = Gate(policy=loads(LIMITED), store=Store(f"sqlite:///{file}", durability="process"))
    before = used(file)
    [of] = unknown(file)
    cleared = gate.store.commit(FindOut(of=of, status="not_started"))
    assert cleared is not None
    assert cleared.given_back == 3
    after = used(file)
    assert after["times calls"] == 0
    hourly = Limit(id="hourly", max=2, per=("user",), window=3_600_000_000)
    summed = Limit(id="summed", max=10, per=("user",), sum="args.x", window=86_400_000_000)
    for limit in (hourly, summed):
        assert limits.used(limit, before[limit.name], gate.store.now()) > 0
        assert limits.used(limit, after[limit.name], gate.store.now()) == 0
    # What came after it was paced by it.
    pace = next(name for name in before if name.startswith("pace"))
    assert after[pace] == before[pace]
    assert gate.check(payment({"x": 4}, "c-1")).starts
    assert not gate.check(payment({"x": 4}, "c-1")).starts
    gate.close()


@pytest.mark.parametrize("status", ["ok", "error"])
def test_all_else_keeps_its_charge(file: Path, open_store, status) -> None:
    paying(file, ({"x": 4}, "c-1"), policy=LIMITED)
    store = open_store()
    before = used(file)
    [of] = unknown(file)
    cleared = store.commit(FindOut(of=of, status=status))
    assert cleared is not None
    assert cleared.given_back == 0
    assert used(file) == before


def test_a_window_that_is_over_has_nothing_to_give_back(
    open_store: Callable[..., Store], file: Path, clock: Clock
) -> None:
    store = open_store(clock=clock)
    call = Call(tool="refund", args={}, run=RunRef(run_id="r", root="r", user={"id": "maria"}))
    hourly = Limit(id="hourly", max=5, per=("user",), window=3_600_000_000)
    admitted = store.commit(admit(store, due=due(store, call, hourly)))
    ended = settle(store, admitted.seq, "unknown", holds=admitted.holds, at=admitted.at)
    store.commit(ended)
    clock.now += 7_200_000_000
    again = store.commit(admit(store, due=due(store, call, hourly)))
    store.commit(FindOut(of=admitted.seq, status="not_started"))
    with Reader(file) as reader:
        [state] = [group.states[hourly.name] for group in groups(reader)]
    assert limits.used(hourly, state, clock.now) == 1
    assert again.seq > admitted.seq


def test_the_approval_that_it_used_up_is_told_too(store: Store, file: Path, lost: int) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute(
            "INSERT INTO approval (id, state, binding, deadline, request)"
            " VALUES ('a-1', 'unknown', '', 0, '')"
        )
        other.execute("UPDATE unknown SET approval = 'a-1' WHERE seq = ?", (lost,))
    store.commit(FindOut(of=lost, status="ok"))
    with contextlib.closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT state FROM approval").fetchall() == [("succeeded",)]


def test_unknown_calls_of_an_older_store_are_found_when_it_is_brought_up_to_date(
    file: Path, open_store: Callable[..., Store]
) -> None:
    paying(file, ({"x": 4}, "c-1"), ({"x": 5}, "c-2"))
    open_store().close()
    found = unknown(file)
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("INSERT INTO entry VALUES (1000, x'7b', x'00')")
        other.execute("""INSERT INTO entry VALUES (1001, '{"status":"unknown"', x'00')""")
        before = other.execute("SELECT seq, said, at, tool, call, approval FROM unknown").fetchall()
    as_of(file, 3)
    open_store().close()
    assert unknown(file) == found
    with contextlib.closing(sqlite3.connect(file)) as other:
        after = other.execute("SELECT seq, said, at, tool, call, approval FROM unknown").fetchall()
    assert after == before


def test_a_store_put_back_without_its_lock_files_is_recovered_when_it_is_opened(
    file: Path, open_store: Callable[..., Store]
) -> None:
    paying(file, ({"x": 4}, "c-1"))
    shutil.rmtree(file.with_name(file.name + ".boots"))
    assert open_store().recovered == 1


# Whose process is still there.

OTHER = "import sys; from saferun.store import Store; print(Store(sys.argv[1]).recovered)"


def recovered_by_another(file: Path) -> str:
    other = [sys.executable, "-c", OTHER, f"sqlite:///{file}"]
    return subprocess.run(other, capture_output=True, check=True, text=True).stdout.strip()


def test_a_process_that_is_only_paused_is_not_taken_for_dead(file: Path) -> None:
    agent = paying(file, ({"x": 4}, "c-1"), dies=False)
    agent.send_signal(signal.SIGSTOP)
    try:
        assert recovered_by_another(file) == "0"
        assert unknown(file) == []
        with Reader(file) as reader:
            assert [(call.tool, call.alive) for call in calls_under_way(reader)] == [("pay", True)]
    finally:
        agent.send_signal(signal.SIGCONT)
        agent.kill()
        agent.communicate()
    assert recovered_by_another(file) == "1"
    assert len(unknown(file)) == 1


def _recover(file: str) -> int:
    store = Store(f"sqlite:///{file}", durability="process")
    found = store.recovered
    store.close()
    return found


def test_of_two_recoveries_at_once_each_call_is_recorded_by_one(file: Path) -> None:
    paying(file, *(({"x": each}, f"c-{each}") for each in range(20)))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_recover, [str(file)] * 4)
    assert sum(found) == 20
    assert (audit(file).problem, audit(file).unknown) == (None, 20)


KILLED = """
import os, signal, sys
from saferun.store import Store, sqlite, writer
from saferun.store.transaction import Transaction

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "before the commit":
    Transaction.flush = die
elif sys.argv[2] == "after the commit":
    Transaction.committed = die
else:
    kept = Transaction.settled
    left = [2]
    def settled(self, of):
        left[0] -= 1
        if not left[0]:
            die()
        kept(self, of)
    Transaction.settled = settled
Store(f"sqlite:///{sys.argv[1]}", durability="process")
"""


@pytest.mark.parametrize("point", ["before the commit", "after the commit", "amid the calls"])
def test_a_recovery_that_is_killed_is_done_by_the_next(file: Path, open_store, point) -> None:
    paying(file, *(({"x": each}, f"c-{each}") for each in range(3)))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(file), point], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert open_store().recovered == (0 if point == "after the commit" else 3)
    assert len(unknown(file)) == 3
    assert (audit(file).problem, audit(file).unknown, audit(file).dangling) == (None, 3, 0)


SETTLER = """
import os, signal, sys
from saferun.store import FindOut, Store
from saferun.store.transaction import Transaction
store = Store(f"sqlite:///{sys.argv[1]}", durability="process")
setattr(Transaction, sys.argv[3], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
store.commit(FindOut(of=int(sys.argv[2]), status="not_started"))
"""


@pytest.mark.parametrize(("point", "left"), [("flush", 1), ("committed", 0)])
def test_whoever_is_killed_while_settling_has_settled_or_not(file, open_store, point, left) -> None:
    paying(file, ({"x": 4}, "c-1"), policy=LIMITED)
    open_store().close()
    [of] = unknown(file)
    killed = [sys.executable, "-c", SETTLER, str(file), str(of), point]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    assert len(unknown(file)) == left
    assert used(file)["times calls"] == left
    again = open_store().commit(FindOut(of=of, status="not_started"))
    assert (again is None) is (left == 0)
    assert used(file)["times calls"] == 0
    assert audit(file).problem is None
