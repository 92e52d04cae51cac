"""What one process may rely on: numbers without a gap, answers after the commit, one end each."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from saferun.admission import Due
from saferun.call import Call, RunRef
from saferun.control import Limit
from saferun.errors import StoreError
from saferun.ledger import RunEntry, encode, read
from saferun.store import Append, Once, Opening, Reader, Recorded, Store
from storing import admit, audit, due, kinds, settle


def mails(maximum: int) -> Limit:
    return Limit(id="mails", max=maximum, per=("run", "args.to"), tool="send_email")


def mail(to: str, run: str = "r-1") -> Call:
    return Call(tool="send_email", args={"to": to}, run=RunRef(run_id=run, root=run))


def opening(run: str = "r-1", identity: bytes = b"maria") -> Opening:
    return Opening(run, run, identity, encode(RunEntry(event="start", run=run)))


def test_a_new_store_begins_with_the_entry_that_names_its_ledger(store: Store, file: Path) -> None:
    with Reader(file) as reader:
        first = read(next(iter(reader.rows()))[1])
    assert (first.seq, first.kind) == (0, "ledger")
    assert first.fields["origin"] == store.origin


def test_every_admission_and_outcome_gets_the_next_number(store: Store, file: Path) -> None:
    admitted = [store.commit(admit(store)) for _ in range(3)]
    for each in admitted:
        store.commit(settle(store, each.seq))
    assert [each.seq for each in admitted] == [1, 2, 3]
    report = audit(file)
    assert (report.entries, report.dangling, report.problem) == (7, 0, None)


def test_an_outcome_is_written_once_however_often_it_is_told(store: Store, file: Path) -> None:
    seq = store.commit(admit(store)).seq
    for _ in range(3):
        store.commit(settle(store, seq))
    assert kinds(file).count("outcome") == 1
    assert audit(file).problem is None


def test_an_outcome_of_a_call_that_was_never_admitted_is_not_written(
    store: Store, file: Path
) -> None:
    store.commit(settle(store, 41))
    assert kinds(file) == ["ledger"]


def test_a_limit_lets_exactly_its_maximum_through_and_a_denial_moves_nothing(
    store: Store,
) -> None:
    call = mail("lead@acme.test")
    verdicts = [
        store.commit(admit(store, opening=opening(), due=due(store, call, mails(2)))).verdict
        for _ in range(5)
    ]
    assert verdicts == ["allow", "allow", "deny", "deny", "deny"]
    wider = store.commit(admit(store, opening=opening(), due=due(store, call, mails(3))))
    assert wider.verdict == "allow"


def test_limits_are_all_checked_before_any_is_moved(store: Store) -> None:
    narrow = due(store, mail("a@x.test"), mails(1))
    wide = due(store, mail("b@x.test"), mails(2))
    both = Due(charges=[*wide.charges, *narrow.charges])
    assert store.commit(admit(store, due=narrow)).verdict == "allow"
    assert store.commit(admit(store, due=both)).verdict == "deny"
    assert [store.commit(admit(store, due=wide)).verdict for _ in range(3)] == [
        "allow",
        "allow",
        "deny",
    ]


def test_the_same_call_is_decided_once_and_gets_its_recorded_outcome(
    store: Store, file: Path
) -> None:
    first = store.commit(admit(store, key=b"k"))
    again = store.commit(admit(store, key=b"k"))
    store.commit(settle(store, first.seq, key=b"k"))
    settled = store.commit(admit(store, key=b"k"))
    assert (first.starts, again.starts, settled.starts) == (True, False, False)
    assert (again.seq, again.outcome) == (first.seq, None)
    assert settled.outcome is not None
    assert settled.outcome.status == "ok"
    assert kinds(file).count("decision") == 1


def test_a_call_that_never_started_may_be_decided_again(store: Store) -> None:
    first = store.commit(admit(store, key=b"k"))
    store.commit(settle(store, first.seq, "not_started", key=b"k"))
    assert store.commit(admit(store, key=b"k")).starts


def test_a_hundred_threads_with_one_call_start_it_once(store: Store) -> None:
    answers = []
    barrier = threading.Barrier(100)

    def check() -> None:
        barrier.wait()
        answers.append(store.commit(admit(store, key=b"k")))

    threads = [threading.Thread(target=check) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer.starts for answer in answers) == 1
    assert len({answer.seq for answer in answers}) == 1


async def test_a_hundred_tasks_with_one_call_start_it_once(store: Store) -> None:
    answers = await asyncio.gather(*(store.acommit(admit(store, key=b"k")) for _ in range(100)))
    assert sum(answer.starts for answer in answers) == 1


def test_a_run_belongs_to_whom_it_was_first_used_by(store: Store) -> None:
    assert store.commit(admit(store, opening=opening(identity=b"maria"))).verdict == "allow"
    stolen = store.commit(admit(store, opening=opening(identity=b"mallory")))
    assert (stolen.verdict, stolen.reasons[0].id) == ("deny", "run")


def test_a_run_begins_once_in_the_ledger(store: Store, file: Path) -> None:
    for _ in range(3):
        store.commit(admit(store, opening=opening()))
    assert kinds(file).count("run") == 1


def test_what_rides_is_written_with_the_next_commit(open_store: Callable[..., Store], file: Path):
    store = open_store()
    seq = store.commit(admit(store)).seq
    store.ride(settle(store, seq))
    store.commit(admit(store))
    assert kinds(file)[:4] == ["ledger", "decision", "outcome", "decision"]


def test_what_rides_is_written_soon_when_nothing_else_comes(store: Store, file: Path) -> None:
    written = threading.Event()

    class Told(Append):
        def apply(self, tx) -> None:
            super().apply(tx)
            written.set()

    store.ride(Told([encode(RunEntry(event="end", run="r-1"))], store.boot))
    assert written.wait(10)


def test_closing_writes_what_rides(open_store: Callable[..., Store], file: Path) -> None:
    store = open_store()
    seq = store.commit(admit(store)).seq
    store.ride(settle(store, seq))
    store.close()
    assert audit(file).dangling == 0


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.commit(admit(store))


def test_one_bad_item_never_fails_its_batch(store: Store, file: Path) -> None:
    class Bad:
        def apply(self, tx) -> None:
            tx.append(b'{"kind":"user"}')
            raise RuntimeError("half done")

    good = admit(store)
    barrier = threading.Barrier(20)
    outcomes: list[object] = []

    def do(work) -> None:
        barrier.wait()
        try:
            outcomes.append(store.commit(work))
        except RuntimeError as problem:
            outcomes.append(problem)

    threads = [threading.Thread(target=do, args=(Bad() if n % 2 else good,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, RuntimeError) for outcome in outcomes) == 10
    assert kinds(file) == ["ledger"] + ["decision"] * 10
    assert audit(file).problem is None


def test_time_never_goes_back_whatever_the_clock_does(open_store, file: Path) -> None:
    ticks = iter([3_000, 5_000_000_000_000_000, 1_000, 2_000])
    store = open_store(clock=lambda: next(ticks))
    for _ in range(3):
        store.commit(admit(store))
    with Reader(file) as reader:
        times = [read(body).time for _, body, _ in reader.rows()]
    assert times == sorted(times)
    assert times[-1] == 5_000_000_000_000_000


async def test_a_cancelled_task_hands_its_admission_back(store: Store) -> None:
    handed: asyncio.Future = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(store.acommit(admit(store), handed.set_result))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await handed).starts


async def test_tasks_of_a_full_store_are_answered_off_the_loop(open_store, file: Path) -> None:
    store = open_store(durability="full")
    admitted = await asyncio.gather(*(store.acommit(admit(store)) for _ in range(50)))
    await asyncio.gather(*(store.acommit(settle(store, each.seq)) for each in admitted))
    assert sorted(each.seq for each in admitted) == list(range(1, 51))
    assert audit(file).dangling == 0


def test_what_was_written_without_an_entry_is_kept_though_the_last_of_a_batch_only_reads(
    store: Store, file: Path
) -> None:
    # Both go in one commit: what rides waits for the next call's.
    once = Once(channel="slack", id="e-1", within=60_000_000)
    store.ride(once)
    store.commit(Recorded(b"nobody"))
    store.flush()
    with contextlib.closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT id FROM callback").fetchall() == [("e-1",)]
    assert store.commit(once) is False
