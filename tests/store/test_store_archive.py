"""Old entries go to an archive: nothing that decides changes, and nothing that was is lost."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saferun import ledger
from saferun.call import Call, RunRef
from saferun.control import Charge, Limit
from saferun.errors import StoreError
from saferun.ledger import (
    KeyEntry,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    Signer,
    Verifier,
    blob_hash,
    encode,
    parse,
    placeholder,
    read,
    sign,
)
from saferun.store import (
    Append,
    Blob,
    Enrol,
    Opening,
    PastOf,
    Reader,
    Store,
    WrongSecretError,
    checkpoint,
    examining,
)
from saferun.store.archive import Archive, check
from saferun.store.archiving import LEAST, Archiving, Done, Plan, plan
from saferun.store.runs import first_entry_of
from saferun.store.sizes import extent_of
from saferun.store.unsettled import open_calls
from storing import FIRST, NOON, Clock, admit, asking, due, settle

DAY = 86_400_000_000
SECRET = b"s" * 16


@pytest.fixture
def store(open_store: Callable[..., Store], clock: Clock) -> Store:
    store = open_store(clock=clock)
    store.commit(Enrol("dana", SECRET))
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def key(name: str) -> bytes:
    return name.encode().ljust(16, b".")


def call(store: Store, name: str, run: str | None = None, result: Any = "done") -> int:
    """One call with an id, from its decision to its outcome; the number of the decision."""
    about: dict[str, Any] = {"key": key(name)}
    if run is not None:
        about["opening"] = opening(run)
    entry = {"run": run, "call": name, "key": key(name).hex(), "args": {"order": name}}
    admitted = store.commit(admit(store, entry=entry, **about))
    rest = encode(OutcomeEntry(of=admitted.seq, run=run, status="ok", result=result))
    store.commit(
        settle_with(store, admitted.seq, rest, key(name)),
    )
    return admitted.seq


def settle_with(store: Store, of: int, rest: bytes, named: bytes, *blobs: Blob) -> Any:
    return msgspec.structs.replace(settle(store, of, key=named), rest=rest, blobs=blobs)


def opening(run: str, root: str | None = None) -> Opening:
    begin = RunEntry(event="start", run=run, root=root or run)
    return Opening(run, root or run, b"somebody", encode(begin))


def large(store: Store, name: str) -> tuple[int, Blob]:
    """A call whose result lies beside the ledger."""
    salt, data = b"0123456789abcdef", json.dumps(name * 10_000).encode()
    blob = Blob(blob_hash(salt, data), salt, data)
    admitted = store.commit(admit(store, key=key(name)))
    outcome = OutcomeEntry(
        of=admitted.seq,
        status="ok",
        result=placeholder(blob.hash, len(data)),
        blobs={blob.hash.hex(): len(data)},
    )
    store.commit(settle_with(store, admitted.seq, encode(outcome), key(name), blob))
    return admitted.seq, blob


def archived(store: Store, folder: Path, before: int, by: str = "all") -> tuple[Plan, Done]:
    return Archiving(store, folder, store.signer(), "dana", SECRET).run(before, by)  # type: ignore[arg-type]


def bodies(store: Store, folder: Path | None = None) -> list[bytes]:
    if folder is None:
        with Reader(store.path) as reader:
            return [body for _, body, _ in reader.rows()]
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        return [body for _, body, _ in reader.rows()]


def first_of(store: Store, run: str) -> int:
    """The number of a run's first entry."""
    with Reader(store.path) as reader:
        return first_entry_of(reader, run)


def names_of(folder: Path) -> list[str]:
    """The segments of an archive, the oldest first."""
    found = [each.name for each in folder.iterdir()]
    return sorted(found, key=lambda name: int(name.partition("-")[0]))


def audited(store: Store, folder: Path) -> ledger.Report:
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        assert archive.trouble is None
        return ledger.verify(reader.rows(), reader.head(), blobs=reader.blob)


def checked(store: Store, folder: Path) -> Any:
    with Archive(folder) as archive:
        return check(archive, [Verifier(store.signer().vkey())])


def test_old_entries_leave_the_store_and_are_all_there_with_the_archive(
    store: Store, folder: Path, clock: Clock
) -> None:
    for number in range(20):
        call(store, f"c{number}")
    clock.now += 30 * DAY
    call(store, "new")
    before = bodies(store)
    _, done = archived(store, folder, clock.now - DAY)
    assert done.made[0].manifest.size == 41
    after = bodies(store)
    # Entry 0 says whose ledger it is, and stays.
    assert after[0] == before[0]
    assert set(after[1:41]) == {b""}
    assert after[41:43] == before[41:]
    assert bodies(store, folder)[:43] == before
    assert audited(store, folder).problem is None


def test_a_segment_verifies_on_its_own(store: Store, folder: Path, clock: Clock) -> None:
    call(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    call(store, "b")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    first, second = (folder / name for name in names_of(folder))
    for segment in (first, second, folder):
        found = checked(store, segment)
        assert (found.state, found.exit_code) == ("verified", 0), found
    assert checked(store, second).first == int(first.name.partition("-")[2])
    with Archive(folder) as archive:
        assert check(archive).exit_code == 2


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_archived_entries_are_found_in_whatever_order_they_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("p")
    clock = Clock()
    store = Store(f"sqlite:///{place / 's' / 'saferun.db'}", durability="process", clock=clock)
    store.commit(Enrol("dana", SECRET))
    said = [encode(ModelEntry(output=f"{number}" * 9)) for number in range(700)]
    store.commit(Append(said, store.boot))
    whole = bodies(store)
    clock.now += 30 * DAY
    archived(store, place / "a", clock.now - DAY)
    store.close()
    asked = data.draw(st.lists(st.integers(0, 700), min_size=1, max_size=40))
    with Archive(place / "a") as archive, Reader(store.path, archive) as reader:
        assert list(reader.bodies(asked)) == [whole[seq] for seq in asked]
        assert archive.trouble is None


def test_each_calendar_month_is_a_segment_and_one_that_is_not_over_stays(
    store: Store, folder: Path, clock: Clock
) -> None:
    # From the 24th of November, ten days at a time: into March.
    for number in range(12):
        call(store, f"c{number}")
        clock.now += 10 * DAY
    _, done = archived(store, folder, clock.now, "month")
    names = [made.manifest.name for made in done.made]
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        months = [
            sorted({_month(reader.time(seq)) for seq in range(*map(int, name.split("-")))})
            for name in names
        ]
    assert months == [["2025-11"], ["2025-12"], ["2026-01"], ["2026-02"]]
    assert checked(store, folder).exit_code == 0


def _month(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m")


def test_a_call_without_an_outcome_holds_back_all_from_it_on(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    open_at = store.commit(admit(store)).seq
    call(store, "b")
    clock.now += 30 * DAY
    planned, done = archived(store, folder, clock.now - DAY)
    assert done.made[0].manifest.size == open_at
    assert planned.held == f"the call of entry {open_at} has no outcome yet"
    store.commit(settle(store, open_at))
    with Reader(store.path) as reader:
        assert plan(reader, clock.now - DAY, "all", clock.now).held is None


def test_a_run_that_goes_on_is_kept_from_its_first_entry_on(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    call(store, "b", run="long")
    began = first_of(store, "long")
    clock.now += 30 * DAY
    call(store, "c", run="long")
    planned, done = archived(store, folder, clock.now - DAY)
    assert done.made[0].manifest.size == began
    assert planned.held == "run long goes on"


def test_a_child_that_goes_on_keeps_the_run_above_it(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    call(store, "b", run="top")
    began = first_of(store, "top")
    clock.now += 30 * DAY
    store.commit(
        Append([encode(ModelEntry(run="child", output="hm"))], store.boot, opening("child", "top"))
    )
    planned, done = archived(store, folder, clock.now - DAY)
    assert done.made[0].manifest.size == began
    assert planned.held == "run child, of the run top, goes on"


def test_a_request_that_waits_for_a_person_is_kept(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    pace = Charge(Limit(id="asks", max=9, per=()), -5, 1, about=())
    asked = asking(store, deadline=90 * DAY, pace=pace)
    found = store.commit(admit(store, entry={"verdict": "ask"}, request=asked))
    assert found.approval_id == FIRST
    clock.now += 30 * DAY
    planned, done = archived(store, folder, clock.now - DAY)
    assert done.made[0].manifest.size == found.seq
    assert planned.held == f"the request of entry {found.seq} waits for a person"


def test_what_was_taken_out_makes_room_for_what_comes(
    store: Store, folder: Path, clock: Clock
) -> None:
    said = [encode(ModelEntry(run="r", output="x" * 700)) for _ in range(500)]
    for _ in range(4):
        store.commit(Append(said, store.boot))
        clock.now += DAY
    with Reader(store.path) as reader:
        before = extent_of(reader)
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    with Reader(store.path) as reader:
        after = extent_of(reader)
    assert before.reusable == 0
    assert after.reusable > 2_000 * 600
    assert after.archived == 2_001


def test_growth_is_told_from_the_last_week(store: Store, clock: Clock) -> None:
    for _ in range(20):
        store.commit(Append([encode(ModelEntry(output="x" * 700))] * 100, store.boot))
        clock.now += DAY
    store.commit(Append([encode(ModelEntry(output="end"))], store.boot))
    with Reader(store.path) as reader:
        found = extent_of(reader)
    assert found.daily == pytest.approx(100, rel=0.05)
    assert found.each is not None
    assert 700 < found.each < 1_500


def test_of_few_entries_no_growth_is_told(store: Store) -> None:
    with Reader(store.path) as reader:
        found = extent_of(reader)
    assert (found.daily, found.each) == (None, None)


def test_what_is_young_stays_whatever_was_asked_for(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    clock.now += LEAST - DAY
    _, done = archived(store, folder, clock.now)
    assert (done.made, done.emptied) == ((), 0)


def test_without_the_persons_own_secret_nothing_is_archived(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    clock.now += 30 * DAY
    with pytest.raises(WrongSecretError):
        Archiving(store, folder, store.signer(), "dana", b"x" * 16).run(clock.now, "all")
    assert not folder.exists()
    assert b"" not in bodies(store)


def test_a_call_of_a_run_that_goes_on_gets_its_recorded_answer_again(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    seq = call(store, "b", run="long", result={"paid": 3})
    clock.now += 30 * DAY
    call(store, "c", run="long")
    archived(store, folder, clock.now - DAY)
    again = store.commit(admit(store, key=key("b")))
    assert (again.seq, again.verdict, again.starts) == (seq, "allow", False)
    assert again.outcome is not None
    assert again.outcome.result == {"paid": 3}


def test_a_call_that_is_archived_is_never_made_again(
    store: Store, folder: Path, clock: Clock
) -> None:
    seq = call(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    again = store.commit(admit(store, key=key("a")))
    assert (again.seq, again.verdict, again.starts) == (seq, "deny", False)
    assert again.reasons[0].id == "archived"


def test_what_an_archived_run_has_done_is_not_taken_for_nothing(
    store: Store, folder: Path, clock: Clock, open_store: Callable[..., Store]
) -> None:
    call(store, "a", run="old")
    assert store.commit(PastOf("old"))[1].calls == 1
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    with pytest.raises(StoreError, match="begin a new run"):
        open_store(clock=clock).commit(PastOf("old"))
    assert store.commit(PastOf("new"))[1].calls == 0


def test_a_process_that_looked_away_meanwhile_reads_no_past_that_is_gone(
    store: Store, folder: Path, clock: Clock, open_store: Callable[..., Store]
) -> None:
    call(store, "a", run="old")
    idle = open_store(clock=clock)
    assert idle.commit(PastOf("old"))[1].calls == 1
    call(store, "b", run="old")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    call(store, "c", run="new")
    assert idle.commit(PastOf("new"))[1].calls == 1
    with pytest.raises(StoreError, match="begin a new run"):
        idle.commit(PastOf("old"))


def test_a_process_that_dies_in_an_archived_run_is_recovered(
    store: Store, folder: Path, clock: Clock, open_store: Callable[..., Store]
) -> None:
    call(store, "a", run="old")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    seq = store.commit(admit(store, entry={"run": "old"}, opening=opening("old"))).seq
    assert store._boot is not None
    store._boot.abandon()
    assert open_store(clock=clock).recovered == 1
    assert parse(bodies(store)[-1]).entry.of == seq  # type: ignore[union-attr]


def test_large_values_go_with_their_entries_and_are_found_in_the_archive(
    store: Store, folder: Path, clock: Clock
) -> None:
    _, blob = large(store, "a")
    clock.now += 30 * DAY
    _, kept = large(store, "b")
    archived(store, folder, clock.now - DAY)
    with Reader(store.path) as reader:
        assert reader.blob(blob.hash) is None
        assert reader.blob(kept.hash) == (kept.salt, kept.data)
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        assert reader.blob(blob.hash) == (blob.salt, blob.data)
    report = audited(store, folder)
    assert (report.problem, report.blobs_missing) == (None, 0)
    assert checked(store, folder).blobs == 1


def test_what_says_who_vouches_for_the_ledger_keeps_its_body(
    store: Store, folder: Path, clock: Clock
) -> None:
    entry = KeyEntry(vkey="k", note="n", by="dana")
    store.commit(Append([encode(entry)], store.boot))
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    left = [read(body).kind for body in bodies(store) if body]
    assert left == ["ledger", "key", "archive", "archive"]


def test_keys_that_follow_one_another_in_an_archive_are_followed(
    store: Store, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = store.signer(), Signer(store.origin, b"n" * 32)
    text = f"saferun key rotation\n{store.origin}\n{new.vkey()}\n"
    entry = KeyEntry(vkey=new.vkey(), note=sign(text, old).decode(), by="dana")
    store.commit(Append([encode(entry)], store.boot))
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    call(store, "a")
    clock.now += 30 * DAY
    # Checkpoints of the whole by the newer key are the affair of those who rotate.
    monkeypatch.setattr("saferun.store.archiving.checkpoint", lambda *_: b"")
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'vkey'", (new.vkey(),))
    Archiving(store, folder, new, "dana", SECRET).run(clock.now - DAY, "all")
    with Archive(folder) as archive:
        assert check(archive, [Verifier(old.vkey())]).exit_code == 0
        forger = Signer(store.origin, b"f" * 32)
        assert check(archive, [Verifier(forger.vkey())]).exit_code == 1
    # A segment without the change has the entries beside it that lead to its key.
    with Archive(folder / names_of(folder)[1]) as archive:
        assert check(archive, [Verifier(old.vkey())]).exit_code == 0
        assert check(archive, [Verifier(new.vkey())]).exit_code == 0
        assert check(archive, [Verifier(forger.vkey())]).exit_code == 1


def test_a_checkpoint_can_be_made_after_it(store: Store, folder: Path, clock: Clock) -> None:
    call(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    note = ledger.open_checkpoint(
        checkpoint(store.path, store.signer()), [Verifier(store.signer().vkey())]
    )
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        assert ledger.verify(reader.rows(), reader.head(), external=note).exit_code == 0


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def _cut_the_tail(segment: Path) -> None:
    entries = segment / "entries.jsonl"
    entries.write_bytes(b"".join(entries.read_bytes().splitlines(keepends=True)[:-1]))


def _hide_more(segment: Path, between: bytes) -> None:
    """Something that was never written, where whoever looks into the file sees it."""
    with (segment / "entries.jsonl").open("ab") as entries:
        entries.write(between + b'{"seq":99,"time":1,"kind":"decision"}\n')


def _swap(segment: Path) -> None:
    entries = segment / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


ATTACKS: dict[str, Callable[[Path], object]] = {
    "a field": lambda segment: rewritten(segment / "entries.jsonl", b'"c1"', b'"c9"'),
    "the tail": _cut_the_tail,
    "the order": _swap,
    "one more": lambda segment: _hide_more(segment, b""),
    "one more behind an empty line": lambda segment: _hide_more(segment, b"\n"),
    "no entries": lambda segment: (segment / "entries.jsonl").unlink(),
    "a line without an end": lambda segment: (segment / "entries.jsonl").write_bytes(b"x" * 99_999),
    "a large value": lambda segment: next((segment / "blobs").iterdir()).write_bytes(b"y" * 99),
    "no large value": lambda segment: next((segment / "blobs").iterdir()).unlink(),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_changed_segment_is_found_with_the_store_and_without(
    store: Store, folder: Path, clock: Clock, attack: str
) -> None:
    call(store, "c1")
    large(store, "c2")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    [segment] = folder.iterdir()
    ATTACKS[attack](segment)
    assert checked(store, folder).exit_code == 1
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        report = ledger.verify(reader.rows(), reader.head(), blobs=reader.blob)
        found = archive.lacks(reader.archives())
    assert found is not None or report.problem is not None or report.blobs_missing == 1


@pytest.mark.parametrize("file", ["manifest.json", "manifest.note", "keys.jsonl"])
def test_a_segment_without_its_papers_is_found(
    store: Store, folder: Path, clock: Clock, file: str
) -> None:
    call(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    [segment] = folder.iterdir()
    (segment / file).write_bytes(b"\x00" * 100_000)
    assert checked(store, folder).exit_code == 1


@pytest.mark.parametrize("named", [False, True])
def test_what_is_archived_while_the_ledger_is_verified_is_no_finding(
    store: Store, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    """The head was read before; what it counts has lost its bodies by the time they are read."""
    times = []
    for name in ("a", "b"):
        call(store, name)
        clock.now += 30 * DAY
        times.append(clock.now - DAY)
    archived(store, folder, times[0])
    looked = examining.verify

    def meanwhile(*args: Any, **options: Any) -> ledger.Report:
        if len(times) > 1:
            archived(store, folder, times.pop())
        return looked(*args, **options)

    monkeypatch.setattr(examining, "verify", meanwhile)
    with Archive(folder) as archive, Reader(store.path, archive if named else None) as reader:
        report = examining.examine(reader, own=Verifier(store.signer().vkey()))
    assert (report.problem, len(times), len(names_of(folder))) == (None, 1, 2)


def test_a_dropped_segment_is_named(store: Store, folder: Path, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        call(store, name)
        clock.now += 30 * DAY
        archived(store, folder, clock.now - DAY)
    names = names_of(folder)
    for name in names:
        shutil.move(folder / name, folder.parent / name)
        with Archive(folder) as archive, Reader(store.path, archive) as reader:
            said = archive.lacks(reader.archives())
            assert said == f"The archive segment {name} is missing from {folder}."
        # Nothing within an archive can know that more was made after its last segment.
        assert checked(store, folder).exit_code == (0 if name == names[-1] else 1)
        shutil.move(folder.parent / name, folder / name)


def test_a_segment_of_another_ledger_does_not_fit(
    store: Store, folder: Path, clock: Clock, tmp_path: Path
) -> None:
    other = Store(f"sqlite:///{tmp_path / 'other' / 'saferun.db'}", clock=clock)
    other.commit(Enrol("dana", SECRET))
    for each, place in ((store, folder), (other, tmp_path / "elsewhere")):
        for name in ("a", "b"):
            call(each, name)
            clock.now += 30 * DAY
            archived(each, place, clock.now - DAY)
    name = names_of(folder)[-1]
    shutil.rmtree(folder / name)
    shutil.copytree(tmp_path / "elsewhere" / name, folder / name)
    assert checked(store, folder).exit_code == 1
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        assert archive.lacks(reader.archives()) is not None
    other.close()


def test_links_out_of_a_segment_that_are_no_files_are_not_read(
    store: Store, folder: Path, clock: Clock
) -> None:
    call(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    [segment] = folder.iterdir()
    for name in ("entries.jsonl", "manifest.json"):
        (segment / name).unlink()
        os.mkfifo(segment / name)
        assert checked(store, folder).exit_code == 1


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the large values that are read through and hashed."""
    found: list[int] = []

    def digest(file: Any, name: Any) -> Any:
        found.append(os.fstat(file.fileno()).st_size)
        return file_digest(file, name)

    monkeypatch.setattr("saferun.store.archive.file_digest", digest)
    return found


def test_a_large_value_that_many_entries_name_is_hashed_once(
    store: Store, folder: Path, clock: Clock, hashed: list[int]
) -> None:
    _, blob = large(store, "a")
    said = placeholder(blob.hash, len(blob.data))
    again = ModelEntry(output=said, blobs={blob.hash.hex(): len(blob.data)})
    store.commit(Append([encode(again)] * 50, store.boot))
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    hashed.clear()
    assert checked(store, folder).blobs == 51
    assert len(hashed) == 1


@pytest.mark.parametrize("changed", [False, True])
def test_verifying_with_an_archive_hashes_a_large_value_once_however_many_name_it(
    store: Store, folder: Path, clock: Clock, hashed: list[int], *, changed: bool
) -> None:
    _, blob = large(store, "a")
    said = placeholder(blob.hash, len(blob.data))
    again = ModelEntry(output=said, blobs={blob.hash.hex(): len(blob.data)})
    store.commit(Append([encode(again)] * 50, store.boot))
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    if changed:
        [file] = folder.glob("*/blobs/*")
        os.truncate(file, 60_000)
    hashed.clear()
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        report = ledger.verify(reader.rows(), reader.head(), blobs=reader.blob)
        assert (archive.trouble is not None) is changed
    assert report.blobs_missing == (51 if changed else 0)
    assert len(hashed) == 1


def test_no_large_value_is_read_before_the_entries_are_vouched_for(
    store: Store, folder: Path, clock: Clock, hashed: list[int]
) -> None:
    large(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    hashed.clear()
    stranger = Verifier(Signer(store.signer().name, bytes(32)).vkey())
    with Archive(folder) as archive:
        assert check(archive, [stranger]).exit_code == 1
    assert hashed == []


def test_a_large_value_of_another_length_is_not_read(
    store: Store, folder: Path, clock: Clock, hashed: list[int]
) -> None:
    large(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    hashed.clear()
    [file] = folder.glob("*/blobs/*")
    os.truncate(file, 900_000_000)
    found = checked(store, folder)
    assert (found.exit_code, hashed) == (1, [])
    assert "does not fit the hash" in found.sentence


@pytest.mark.parametrize("moved", [".", "entries.jsonl", "manifest.json", "blobs", "blobs/*"])
def test_no_link_in_an_archive_is_followed(
    store: Store, folder: Path, clock: Clock, tmp_path: Path, moved: str
) -> None:
    large(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    [segment] = folder.iterdir()
    [file] = segment.glob(moved) if moved != "." else [segment]
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    found = checked(store, folder)
    assert found.exit_code == 1
    assert f"{file.name} is a link" in found.sentence


def test_an_archive_that_is_named_by_a_link_is_read(
    store: Store, folder: Path, clock: Clock, tmp_path: Path
) -> None:
    call(store, "a")
    clock.now += 30 * DAY
    archived(store, folder, clock.now - DAY)
    [segment] = folder.iterdir()
    for to in (folder, segment):
        (tmp_path / "named").symlink_to(to)
        assert checked(store, tmp_path / "named").exit_code == 0
        (tmp_path / "named").unlink()


def test_an_archive_that_was_changed_loses_no_entry_that_the_store_still_has(
    store: Store, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(store, "c1")
    clock.now += 30 * DAY
    # Recorded, and stopped before anything was emptied.
    monkeypatch.setattr(Archiving, "_empty", lambda *_: 0)
    archived(store, folder, clock.now - DAY)
    monkeypatch.undo()
    whole = bodies(store)
    [segment] = folder.iterdir()
    rewritten(segment / "entries.jsonl", b'"c1"', b'"c9"')
    with pytest.raises(StoreError, match="was changed"):
        archived(store, folder, clock.now - DAY)
    assert [body for body in bodies(store) if body == b""] == []
    assert bodies(store)[: len(whole)] == whole


Step = tuple[str, int]


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["call", "run", "limited", "large", "wait"]), st.integers(0, 3)),
        min_size=1,
        max_size=14,
    ),
    cuts=st.lists(st.integers(0, 60), min_size=1, max_size=3),
)
def test_archiving_any_prefix_changes_nothing_that_can_be_asked(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], cuts: list[int]
) -> None:
    place = tmp_path_factory.mktemp("p")
    clock = Clock()
    plain = Store(f"sqlite:///{place / 'one' / 'saferun.db'}", durability="process", clock=clock)
    pruned = Store(f"sqlite:///{place / 'two' / 'saferun.db'}", durability="process", clock=clock)
    limit = Limit(id="few", max=3, per=("user",), window=20 * DAY)
    for store in (plain, pruned):
        store.commit(Enrol("dana", SECRET))

    def act(store: Store, number: int, what: str, value: int) -> object:
        if what == "wait":
            return None
        if what == "large":
            return large(store, f"l{number}")[0]
        if what == "limited":
            about = Call(
                tool="refund", args={}, run=RunRef(run_id="r", root="r", user={"id": f"u{value}"})
            )
            return store.commit(admit(store, due=due(store, about, limit))).verdict
        return call(store, f"n{number}", f"run{value}" if what == "run" else None)

    for number, (what, value) in enumerate(steps):
        seqs = [act(store, number, what, value) for store in (plain, pruned)]
        assert what != "limited" or seqs[0] == seqs[1]
        for store in (plain, pruned):
            with Reader(store.path) as reader:
                opened = open_calls(reader)
            for seq in opened:
                store.commit(settle(store, seq))
        clock.now += DAY * (1 + value)
    history = bodies(pruned)
    folder = place / "archive"
    for cut in sorted(cuts):
        archived(pruned, folder, NOON + cut * DAY)
    if folder.exists():
        assert checked(pruned, folder).exit_code == 0
        assert bodies(pruned, folder)[: len(history)] == history
        assert audited(pruned, folder).problem is None
    for value in range(4):
        about = Call(
            tool="refund", args={}, run=RunRef(run_id="r", root="r", user={"id": f"u{value}"})
        )
        said = [
            store.commit(admit(store, due=due(store, about, limit))).verdict
            for store in (plain, pruned)
        ]
        assert said[0] == said[1]
    for number, (what, _) in enumerate(steps):
        if what in ("call", "run"):
            one = plain.commit(admit(plain, key=key(f"n{number}")))
            other = pruned.commit(admit(pruned, key=key(f"n{number}")))
            assert not one.starts
            assert not other.starts
            if other.reasons == ():
                assert other.outcome == one.outcome
    for store in (plain, pruned):
        store.close()
