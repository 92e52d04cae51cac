"""A store whose file is torn: what can be read of it is saved, and nothing else is taken for it."""

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dying import paying, payment
from guarding import Yes
from publishing import Published
from saferun import Gate, Outcome, StoreError, config
from saferun.call import Call, RunRef
from saferun.config import SigningTable
from saferun.control import Switch
from saferun.ledger import Checkpoint, leaf_hash, sign_checkpoint
from saferun.policy import loads
from saferun.store import FindOut, Reader, Store, Turn, checkpoint
from saferun.store.salvage import Salvaged, salvage
from saferun.store.unsettled import unknown_calls
from storing import as_of, audit

POLICY = """
version: 1
name: shop
default: allow
limits:
  - {id: calls, max: 100000, per: user}
  - {id: hourly, max: 100000, per: tool, window: 1h}
tools:
  pay:
    effect: write
    args: {x: {type: integer}, note: {type: string, optional: true}}
    rules:
      - {id: never, deny: true, when: args.x < 0}
      - {id: big, ask: [desk], when: args.x > 1000}
"""


def lived(file: Path, runs: int = 4, calls: int = 30) -> None:
    """A store with something of everything in it, of which a process has died."""
    file.parent.mkdir(parents=True, exist_ok=True)
    store = Store(f"sqlite:///{file}", durability="process")
    people = msgspec.structs.replace(config.load(), groups={"desk": ["dana"]})
    gate = Gate(policy=loads(POLICY), store=store, approvals=Yes(reason=None), settings=people)
    for run in range(runs):
        with gate.run(run_id=f"run-{run}", agent="support", user=f"user-{run}") as run_:
            run_.model("I will pay.", model="small", cost_usd=0.01)
            for number in range(calls):
                x = (-1, 2_000, number)[number % 3]
                note = "long " * (20_000 if number % 10 == 5 else number * 20)
                call = payment({"x": x, "note": note}, f"c-{run}-{number}")
                decision = gate.check(within(call, run_.ref))
                if decision.starts:
                    gate.settle(decision, Outcome(status="ok", result={"paid": x}))
    published = Published(store)
    published.publish(POLICY)
    switch = Switch(scope="agent", value="rogue", by="alice", reason="it lies")
    store.commit(Turn(switch=switch, on=True, credential=published.credential))
    store.flush()
    checkpoint(file, store.signer())
    gate.close()
    paying(file, ({"x": 4}, "c-1"), ({"x": 5}, "c-2"), policy=POLICY)
    store = Store(f"sqlite:///{file}", durability="process")
    with Reader(file) as reader:
        first = next(unknown_calls(reader))
    store.commit(FindOut(of=first.seq, status="not_started"))
    store.close()
    # One more, whose end nobody has recorded yet, and which still lies in the log.
    paying(file, ({"x": 6}, "c-3"), policy=POLICY)


def within(call: Call, about: RunRef) -> Call:
    return msgspec.structs.replace(call, run=about)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("original") / "saferun.db"
    lived(file)
    return file


@pytest.fixture(scope="module")
def was(original: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """All that it held. Whoever reads a store last takes its log along, so a copy is read."""
    return bodies(copied(original, tmp_path_factory.mktemp("was") / "store"))


@pytest.fixture
def torn(original: Path, tmp_path: Path) -> Path:
    return copied(original, tmp_path / "torn")


def copied(original: Path, folder: Path) -> Path:
    shutil.copytree(original.parent, folder)
    return folder / original.name


def bodies(file: Path) -> list[bytes]:
    with Reader(file) as reader:
        return [body for _, body, _ in reader.rows()]


def dump(file: Path) -> dict[str, list[tuple]]:
    kept = {}
    with contextlib.closing(sqlite3.connect(file)) as store:
        tables = store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table not in ("node", "landmark", "trail"):
                kept[table] = sorted(store.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
    # How often a switch was turned is counted for whoever remembers, and nobody does any more.
    kept["head"] = [row for row in kept["head"] if row[0] != -1]
    kept["meta"] = [row for row in kept["meta"] if row[0] != "indexed"]
    return kept


def opens(new: Path, original: list[bytes], told: Salvaged) -> None:
    """Whether it opens, verifies as far as it goes, and holds a prefix of what was there."""
    saved = bodies(new)
    assert saved == original[: told.entries]
    if told.behind:
        with pytest.raises(StoreError, match="has lost its end"):
            Store(f"sqlite:///{new}", durability="process")
        assert audit(new).problem is None
        return
    store = Store(f"sqlite:///{new}", durability="process")
    assert store.recovered == told.open_calls
    store.close()
    report = audit(new)
    assert (report.problem, report.dangling) == (None, 0)
    assert bodies(new)[: told.entries] == saved


def test_a_healthy_store_loses_nothing(torn: Path, was) -> None:
    new = torn.with_name("new.db")
    told = salvage(torn, new)
    assert told.whole, told
    assert (told.problem, told.lost_entries, told.behind, told.voided) == (None, 0, False, 0)
    assert dump(new) == dump(torn)
    opens(new, was, told)


def test_the_torn_file_is_never_written_to(torn: Path) -> None:
    log = torn.with_name(torn.name + "-wal")
    before = (torn.read_bytes(), log.read_bytes())
    salvage(torn, torn.with_name("new.db"))
    assert (torn.read_bytes(), log.read_bytes()) == before
    assert not list(torn.parent.glob(".new*"))


def test_what_the_log_holds_is_saved_too(torn: Path) -> None:
    assert torn.with_name(torn.name + "-wal").stat().st_size > 0
    told = salvage(torn, torn.with_name("new.db"))
    assert told.open_calls == 1


def test_an_agent_goes_on_where_it_was(torn: Path, was) -> None:
    new = torn.with_name("new.db")
    salvage(torn, new)
    gate = Gate(policy=loads(POLICY), store=Store(f"sqlite:///{new}", durability="process"))
    assert gate.check(payment({"x": 6}, "c-3")).outcome == Outcome(status="unknown")
    # The first of the others was found not to have happened.
    assert gate.check(payment({"x": 4}, "c-1")).starts
    assert gate.check(payment({"x": 5}, "c-2")).outcome == Outcome(status="unknown")
    rogue = within(payment({"x": 1}, None), gate.run(agent="rogue").ref)
    assert gate.check(rogue).reasons[0].source == "stop"
    gate.close()


SIZE = 4096


def tear(file: Path, how: str, at: int, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    if not data:
        return
    page = at % -(-len(data) // SIZE) * SIZE
    if how == "cut":
        del data[at % len(data) :]
    elif how == "zero":
        data[page : page + SIZE] = bytes(SIZE)
    elif how == "garbage":
        data[page : page + SIZE] = chance.randbytes(SIZE)
    elif how == "flip":
        data[at % len(data)] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


HOW = st.sampled_from(["cut", "zero", "garbage", "flip"])


@given(
    tears=st.lists(st.tuples(HOW, st.integers(0, 1 << 40)), min_size=1, max_size=6),
    seed=st.integers(),
)
def test_however_it_is_torn_what_is_saved_is_what_was_there(
    original: Path, was, tmp_path_factory, tears, seed
) -> None:
    file = copied(original, tmp_path_factory.mktemp("torn") / "store")
    with contextlib.closing(sqlite3.connect(file)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    held = dump(file)
    chance = random.Random(seed)
    for how, at in tears:
        tear(file, how, at, chance)
    new = file.with_name("new.db")
    try:
        told = salvage(file, new)
    except StoreError as problem:
        assert "Not even entry 0" in str(problem)  # noqa: PT017 - either is an honest end
        assert not new.exists()
    else:
        if told.whole and all(how != "flip" for how, _ in tears):
            # A bit of a value that nothing vouches for may be another one, and nobody can tell.
            assert dump(new) == held
        opens(new, was, told)


@pytest.mark.parametrize("page", range(1, 40, 3))
def test_a_page_that_is_lost_costs_what_it_held_and_is_told(torn: Path, page: int, was) -> None:
    with contextlib.closing(sqlite3.connect(torn)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tear(torn, "zero", page, random.Random(0))
    new = torn.with_name("new.db")
    told = salvage(torn, new)
    opens(new, was, told)
    if told.entries < len(was):
        assert not told.whole


def test_without_its_first_page_all_entries_are_saved(torn: Path, was) -> None:
    with contextlib.closing(sqlite3.connect(torn)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tear(torn, "zero", 0, random.Random(0))
    new = torn.with_name("new.db")
    told = salvage(torn, new)
    assert told.entries == len(was)
    assert not told.whole
    # Calls and runs follow from the entries, and so does what is stopped and what decides.
    tables = {table.name: table for table in told.tables}
    assert tables["switch"].saved == 1
    assert tables["assignment"].saved == 1
    assert tables["person"].saved == 0
    assert not tables["counters"].whole
    opens(new, was, told)


def test_what_a_checkpoint_vouches_for_and_is_lost_is_told_and_never_signed_over(
    torn: Path, was
) -> None:
    log = torn.with_name(torn.name + "-wal")
    log.unlink()
    size = torn.stat().st_size
    new = torn.with_name("new.db")
    with torn.open("r+b") as file:
        # Its end holds what came last.
        file.truncate(size // 2)
    told = salvage(torn, new)
    opens(new, was, told)
    assert told.entries < told.counted or not told.whole


def test_a_checkpoint_ahead_of_what_is_saved_keeps_anything_from_being_signed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "store" / "saferun.db"
    lived(file, runs=1, calls=6)
    was = bodies(file)
    store = Store(f"sqlite:///{file}", durability="process")
    signer = store.signer()
    checkpoint(file, signer)
    store.close()
    with contextlib.closing(sqlite3.connect(file)) as lost, lost:
        lost.execute("DELETE FROM entry WHERE seq > 9")
    with contextlib.closing(sqlite3.connect(file)) as lost:
        lost.execute("VACUUM")
    new = file.with_name("new.db")
    told = salvage(file, new)
    assert (told.entries, told.behind) == (10, True)
    assert bodies(new) == was[:10]
    with pytest.raises(StoreError, match="has lost its end"):
        checkpoint(new, signer)


def test_an_old_ledgers_key_is_looked_for_where_the_configuration_says(tmp_path: Path) -> None:
    file = tmp_path / "store" / "saferun.db"
    store = Store(f"sqlite:///{file}", durability="process")
    signer = store.signer()
    store.close()
    with Reader(file) as reader:
        begun = msgspec.json.decode(reader.body(0))
    # Before format 4 it did not say its key.
    del begun["vkey"]
    body = msgspec.json.encode(begun | {"format": 1})
    note = sign_checkpoint(Checkpoint(signer.name, 5, bytes(32)), signer)
    with contextlib.closing(sqlite3.connect(file)) as old, old:
        old.execute("UPDATE entry SET body = ?, leaf = ?", (body, leaf_hash(body)))
        old.execute("INSERT INTO checkpoint (size, note) VALUES (5, ?)", (note,))
    elsewhere = (tmp_path / "elsewhere.key").absolute()
    shutil.move(file.parent / "keys" / "default.signing.key", elsewhere)
    assert salvage(file, file.with_name("without.db")).vouched == 0
    given = SigningTable(file=str(elsewhere))
    assert salvage(file, file.with_name("new.db"), signing=given).vouched == 5


def test_requests_that_were_open_count_no_more_where_anything_is_lost(torn: Path) -> None:
    with contextlib.closing(sqlite3.connect(torn)) as other, other:
        other.execute(
            "INSERT INTO approval (id, state, binding, deadline, request)"
            " SELECT 'a-open', 'approved', binding, deadline, request FROM approval LIMIT 1"
        )
        other.execute("DELETE FROM entry WHERE seq > 20")
    with contextlib.closing(sqlite3.connect(torn)) as other:
        other.execute("VACUUM")
    told = salvage(torn, torn.with_name("new.db"))
    assert (told.entries, told.voided) == (21, 1)


@pytest.mark.parametrize(
    "garbage", [b"", b"x" * 10, random.Random(5).randbytes(100_000), bytes(1 << 20)]
)
def test_a_log_that_is_garbage_is_left_out(torn: Path, garbage: bytes, was) -> None:
    log = torn.with_name(torn.name + "-wal")
    with contextlib.closing(sqlite3.connect(torn)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log.write_bytes(garbage)
    new = torn.with_name("new.db")
    told = salvage(torn, new)
    assert told.entries == len(was)
    opens(new, was, told)


@pytest.mark.parametrize("at", [0, 8, 24, 32, 40, 5_000, 20_000, 60_000, -1, -5_000])
def test_a_log_counts_up_to_where_it_is_torn(torn: Path, at: int, was) -> None:
    log = torn.with_name(torn.name + "-wal")
    data = bytearray(log.read_bytes())
    data[at % len(data)] ^= 0xFF
    log.write_bytes(data)
    new = torn.with_name("new.db")
    told = salvage(torn, new)
    opens(new, was, told)


def test_it_takes_the_log_as_sqlite_does(torn: Path, was) -> None:
    log = torn.with_name(torn.name + "-wal")
    whole = log.read_bytes()
    frames = [32 + each * (SIZE + 24) for each in range(len(whole) // (SIZE + 24) + 1)]
    for cut in frames[:: max(1, len(frames) // 12)]:
        folder = torn.parent.with_name(f"cut-{cut}")
        file = copied(torn, folder)
        file.with_name(log.name).write_bytes(whole[:cut])
        new = file.with_name("new.db")
        try:
            told = salvage(file, new)
        except StoreError as problem:
            assert "Not even entry 0" in str(problem)  # noqa: PT017 - all of it lay in the log
            with contextlib.closing(sqlite3.connect(file)) as other:
                assert other.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        else:
            assert bodies(new) == bodies(file) == was[: told.entries]


def test_nothing_is_ever_written_over(torn: Path) -> None:
    new = torn.with_name("new.db")
    new.write_bytes(b"mine")
    with pytest.raises(StoreError, match="is there already"):
        salvage(torn, new)
    assert new.read_bytes() == b"mine"
    with pytest.raises(StoreError, match="is there already"):
        salvage(torn, torn)


def test_a_store_that_a_process_has_open_is_left_alone(torn: Path) -> None:
    agent = paying(torn, ({"x": 7}, "c-7"), dies=False)
    with pytest.raises(StoreError, match="still has"):
        salvage(torn, torn.with_name("new.db"))
    agent.communicate()


@pytest.mark.parametrize(
    "content", [b"", b"hello", random.Random(6).randbytes(50_000), b"SQLite format 3\0" * 500]
)
def test_a_file_that_is_no_store_is_not_made_one(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.db"
    file.write_bytes(content)
    with pytest.raises(StoreError, match="Not even entry 0"):
        salvage(file, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from saferun.store import salvage
setattr(salvage._Saving, sys.argv[3], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
salvage.salvage(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("point", ["_find", "_follow", "_others"])
def test_one_that_is_killed_leaves_no_half_of_a_store(torn: Path, point: str) -> None:
    new = torn.with_name("new.db")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(torn), str(new), point], check=False)
    assert killed.returncode == -9
    assert not new.exists()
    assert salvage(torn, new).whole


def test_an_older_store_is_saved_in_the_schema_of_today(torn: Path, was) -> None:
    as_of(torn, 3)
    new = torn.with_name("new.db")
    told = salvage(torn, new)
    assert told.whole, told
    opens(new, was, told)
