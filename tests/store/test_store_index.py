"""The search index: derived, disposable, and never believed against the ledger."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.errors import StoreError
from saferun.ledger import (
    AnyEntry,
    DecisionEntry,
    Frontier,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    UserEntry,
    encode,
    leaf_hash,
    read,
    seal,
)
from saferun.store import Append, Reader, Store
from saferun.store.index import Index, Query, building, index, query, terms
from storing import Clock, admit, audit, settle, shelve

OF = {"agent": "support", "user": "maria"}


@pytest.fixture
def store(file: Path, clock: Clock) -> Iterator[Store]:
    with contextlib.closing(Store(f"sqlite:///{file}", durability="process", clock=clock)) as store:
        yield store


def write(store: Store, *entries: AnyEntry) -> None:
    store.commit(Append(entries=[encode(entry) for entry in entries], boot=store.boot))


@contextlib.contextmanager
def built(file: Path) -> Iterator[Index]:
    with Reader(file) as reader, Index(reader) as found:
        found.build()
        yield found


def found(file: Path, text: str = "", *, newest: bool = True, **about: Any) -> list[int]:
    times = {key: about.pop(key) for key in ("since", "until") if key in about}
    facets = {name: (value,) if isinstance(value, str) else value for name, value in about.items()}
    with built(file) as index:
        query = Query(text=text, facets=facets, **times)
        return [hit.seq for hit in index.find(query, newest=newest)]


def sql(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def own(file: Path) -> Path:
    return file.with_name(file.name + ".index")


def calls(store: Store) -> None:
    """Entries 1 to 6: two calls of two agents, one of them denied, and what a model said."""
    first = store.commit(admit(store, entry={"run": "r-1", "args": {"order": "A-17"}, **OF}))
    store.commit(settle(store, first.seq))
    denied = {"verdict": "deny", "tool": "pay", "run": "r-2", "agent": "sales", "user": "jo"}
    store.commit(admit(store, entry=denied))
    write(
        store,
        ModelEntry(run="r-1", output="I found the duplicate charge.", **OF),
        UserEntry(run="r-1", text="Thanks, Zoë!", **OF),
        RunEntry(event="end", run="r-1"),
    )


def test_entries_are_found_by_all_that_is_asked_for(store: Store, file: Path) -> None:
    calls(store)
    assert found(file) == [6, 5, 4, 3, 2, 1, 0]
    assert found(file, agent="support") == [5, 4, 1]
    assert found(file, agent="support", kind="decision") == [1]
    assert found(file, agent="support", verdict="deny") == []
    assert found(file, run="r-1", newest=False) == [1, 4, 5, 6]
    assert found(file, tool=("refund", "pay")) == [3, 1]
    assert found(file, agent="nobody") == []


def test_an_outcome_is_found_by_the_verdict_of_its_decision(store: Store, file: Path) -> None:
    calls(store)
    assert found(file, verdict="allow") == [2, 1]
    assert found(file, verdict="allow", kind="outcome") == [2]


def test_an_outcome_finds_its_decision_in_an_index_that_knew_it_already(
    store: Store, file: Path
) -> None:
    first = store.commit(admit(store, entry=OF))
    assert found(file, verdict="allow") == [1]
    store.commit(settle(store, first.seq))
    assert found(file, verdict="allow") == [2, 1]


def test_words_are_found_whatever_their_case_and_accents(store: Store, file: Path) -> None:
    calls(store)
    assert found(file, "DUPLICATE found") == [4]
    assert found(file, "zoe") == [5]
    assert found(file, "A-17") == [1]
    assert found(file, "duplicate", agent="sales") == []


def test_words_in_quotes_stand_one_after_the_other(store: Store, file: Path) -> None:
    calls(store)
    assert found(file, '"duplicate charge"') == [4]
    assert found(file, '"charge duplicate"') == []
    assert found(file, 'duplicate "found the"') == [4]


HOSTILE = [
    *("a OR b", "NEAR(a b, 1)", "text:a", "-a", "a*", "^a", '"a', 'a"b"c', "a AND NOT b"),
    *(
        "{a b} : c",
        "'; DROP TABLE said; --",
        "a\0b",
        "\udcff a",
        "(((((a",
        "a" * 900,
        "𞤀 a",
        "a + b",
    ),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_query_is_taken_for_the_syntax_of_another(store: Store, file: Path, text: str) -> None:
    write(store, UserEntry(text="nothing of the kind"))
    assert found(file, text) == []


@given(st.text(max_size=60))
def test_every_text_is_a_query_or_is_refused_with_a_sentence(text: str) -> None:
    with contextlib.suppress(StoreError):
        phrases = query.expression(text)
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript("CREATE VIRTUAL TABLE said USING fts5(text, content='')")
            where = "SELECT rowid FROM said WHERE said MATCH ?"
            assert not text.strip() or connection.execute(where, (phrases,)).fetchall() == []


@pytest.mark.parametrize("text", ["?!", "word " * 40, "x" * 1_001])
def test_a_query_that_nothing_could_be_found_by_is_refused(
    store: Store, file: Path, text: str
) -> None:
    with built(file) as index, pytest.raises(StoreError):
        index.find(Query(text=text))


def test_entries_are_found_by_their_time_to_the_microsecond(
    store: Store, file: Path, clock: Clock
) -> None:
    noon = clock.now
    for _ in range(3):
        clock.now += 10
        write(store, UserEntry(text="hello"))
    assert found(file, kind="user", since=noon + 20) == [3, 2]
    assert found(file, kind="user", until=noon + 20) == [1]
    assert found(file, kind="user", since=noon + 20, until=noon + 21) == [2]
    assert found(file, since=noon + 31) == []
    assert found(file, kind="user", since=-(1 << 80), until=1 << 80) == [3, 2, 1]


def test_the_index_goes_on_where_it_was(store: Store, file: Path) -> None:
    told: list[int] = []
    write(store, UserEntry(text="one"))
    with Reader(file) as reader, Index(reader) as index:
        index.build(told.append)
        index.build(told.append)
        write(store, UserEntry(text="two"))
        index.build(told.append)
        assert told == [2, 3]
        assert index.size == 3
        assert [hit.seq for hit in index.find(Query(text="two"))] == [2]


def test_runs_have_their_entries_however_many_pages_and_chunks_there_are(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (building, index, terms):
        monkeypatch.setattr(module, "CHUNK", 64)
    monkeypatch.setattr(index, "PAGE", 10)
    write(store, *(UserEntry(run=f"r-{at % 3}", text=f"word{at}") for at in range(1, 400)))
    with built(file) as made:
        assert made.frames("r-1") == list(range(1, 400, 3))
        query = Query(facets={"run": ("r-1",)})
        assert [hit.seq for hit in made.find(query)] == list(range(397, 0, -3))
        assert next(hit.seq for hit in made.find(query, newest=False, first=300)) == 301
        assert [hit.seq for hit in made.find(Query(text="word200"))] == [200]


def test_its_file_is_for_its_owner_alone(store: Store, file: Path) -> None:
    found(file)
    assert stat.S_IMODE(own(file).stat().st_mode) == 0o600


def test_no_decision_needs_it_and_deleting_it_loses_nothing(store: Store, file: Path) -> None:
    calls(store)
    before = found(file, agent="support")
    own(file).unlink()
    store.commit(admit(store, entry={"agent": "sales"}))
    assert found(file, agent="support") == before
    assert audit(file).problem is None


def test_one_that_is_damaged_is_made_anew(store: Store, file: Path) -> None:
    calls(store)
    before = found(file, agent="support")
    own(file).write_bytes(b"no database " * 1_000)
    assert found(file, agent="support") == before
    sql(own(file), "DROP TABLE state")
    assert found(file, agent="support") == before
    sql(own(file), "UPDATE state SET frontier = x'00'")
    assert found(file, agent="support") == before


def test_one_of_another_version_is_made_anew(store: Store, file: Path) -> None:
    calls(store)
    found(file)
    sql(own(file), "PRAGMA user_version = 99", "DELETE FROM posting")
    assert found(file, agent="sales") == [3]


def test_a_database_of_another_program_is_left_alone(store: Store, file: Path) -> None:
    sql(own(file), "CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="another program"):
        found(file)
    sql(own(file), "INSERT INTO theirs VALUES (1)")


def test_the_log_of_a_file_that_is_gone_is_not_put_into_the_new_one(
    store: Store, file: Path
) -> None:
    calls(store)
    with built(file):
        kept = own(file).with_name(own(file).name + "-wal").read_bytes()
    own(file).unlink()
    own(file).with_name(own(file).name + "-wal").write_bytes(kept)
    assert found(file, agent="sales") == [3]


def test_it_notices_that_it_is_of_another_ledger(store: Store, file: Path, tmp_path: Path) -> None:
    calls(store)
    found(file)
    other = tmp_path / "other" / "saferun.db"
    with contextlib.closing(Store(f"sqlite:///{other}", durability="process")) as another:
        write(another, *(UserEntry(text="other") for _ in range(20)))
        os.replace(own(file), own(other))
        assert found(other, agent="support") == []
        assert found(other, "other") == list(range(20, 0, -1))


def test_it_notices_that_entries_were_lost(store: Store, file: Path) -> None:
    calls(store)
    found(file)
    forged(file, [body for _, body, _ in rows(file)][:3])
    assert found(file) == [2, 1, 0]
    write(store, UserEntry(text="later"))


def rows(file: Path) -> list[tuple[int, Any, Any]]:
    with Reader(file) as reader:
        return list(reader.rows())


def forged(file: Path, bodies: list[bytes]) -> None:
    """The store holds these entries, and a head that fits them."""
    frontier = Frontier()
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM entry")
        for seq, body in enumerate(bodies):
            frontier.append(leaf_hash(body))
            connection.execute("INSERT INTO entry VALUES (?, ?, ?)", (seq, body, leaf_hash(body)))
        connection.execute(
            "UPDATE head SET size = ?, frontier = ? WHERE seq = -1",
            (len(bodies), frontier.encode()),
        )


@pytest.mark.parametrize("grown", [False, True])
def test_it_notices_that_entries_in_the_middle_were_written_anew(
    store: Store, file: Path, grown: bool
) -> None:
    calls(store)
    found(file)
    bodies = [body.replace(b'"sales"', b'"audit"') for _, body, _ in rows(file)]
    forged(file, [*bodies, seal(7, 1 << 50, encode(UserEntry(text="new")))] if grown else bodies)
    assert found(file, agent="audit") == [3]
    assert found(file, agent="sales") == []


def test_a_ledger_that_does_not_fit_its_head_is_searched_and_not_indexed_each_time(
    store: Store, file: Path
) -> None:
    calls(store)
    store.close()
    sql(file, "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 2")
    assert found(file, agent="support") == [5, 4, 1]
    told: list[int] = []
    with Reader(file) as reader, Index(reader) as index:
        index.build(told.append)
        assert index.missing == 1
    assert told == []


def test_an_entry_that_was_changed_since_is_no_hit(store: Store, file: Path) -> None:
    calls(store)
    found(file)
    sql(file, "UPDATE entry SET body = replace(CAST(body AS TEXT), 'sales', 'fails') WHERE seq = 3")
    assert found(file, verdict="deny") == []


def test_an_index_cannot_make_an_entry_up(store: Store, file: Path) -> None:
    calls(store)
    found(file)
    # Every term is on every entry, and on some that there are not.
    everything = "UPDATE posting SET held = CAST(x'0000010002000300040005000600ff00' AS BLOB)"
    sql(own(file), everything)
    assert found(file, agent="support") == [5, 4, 1]
    assert found(file, agent="sales", verdict="deny") == [3]


@pytest.mark.parametrize("kind", ["'text'", "1.5", "7", "zeroblob(100000)"])
def test_rows_of_any_type_are_passed_over(store: Store, file: Path, kind: str) -> None:
    calls(store)
    store.close()
    sql(
        file,
        "UPDATE entry SET leaf = 'no leaf' WHERE seq = 4",
        f"UPDATE entry SET body = {kind} WHERE seq = 3",
    )
    assert found(file, agent="support") == [5, 1]


def test_entries_that_went_into_an_archive_are_still_found(store: Store, file: Path) -> None:
    calls(store)
    with built(file) as made:
        times = [made.reader.time(seq) for seq in range(made.size)]
        time = times[3]
    shelve(store, 4)
    with built(file) as made:
        [hit] = made.find(Query(facets={"agent": ("sales",)}))
        assert (hit.seq, hit.body, hit.entry) == (3, b"", None)
        assert (hit.time, hit.known["kind"], hit.known["agent"]) == (time, "decision", "sales")
        assert list(made.find(Query(facets={"agent": ("sales",)}, until=time))) == []
        within = [hit.seq for hit in made.find(Query(since=time, until=time + 1), newest=False)]
        # The last is the entry that says what was archived.
        assert within[: len(times)] == [seq for seq, each in enumerate(times) if each == time]
        assert made.missing == 0
    assert found(file, agent="support") == [5, 4, 1]


def test_what_was_archived_before_it_was_indexed_is_counted(store: Store, file: Path) -> None:
    calls(store)
    shelve(store, 4)
    assert found(file, agent="support") == [5, 4]
    with built(file) as made:
        assert made.missing == 3


class Shelf:
    """Some of the entries that went into an archive, as a reader is given them."""

    trouble = None

    def __init__(self, bodies: dict[int, bytes]) -> None:
        self._bodies = bodies

    def overlaps(self, first: int, size: int) -> bool:
        return any(first <= seq < size for seq in self._bodies)

    def body(self, seq: int, leaf: object) -> bytes:
        body = self._bodies.get(seq, b"")
        return body if leaf_hash(body) == leaf else b""


def stored(file: Path) -> dict[int, bytes]:
    with Reader(file) as reader:
        return {seq: body for seq, body, _ in reader.rows()}


@contextlib.contextmanager
def with_shelf(file: Path, bodies: dict[int, bytes]) -> Iterator[Index]:
    shelf: Any = Shelf(bodies)
    with Reader(file, shelf) as reader, Index(reader) as made:
        made.build()
        yield made


def test_each_part_of_an_archive_that_is_at_hand_once_is_known_from_then_on(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls(store)
    whole, every = stored(file), found(file, kind=("decision", "model"))
    own(file).unlink()
    shelve(store, 4)
    monkeypatch.setattr(index, "PAGE", 2)
    with built(file) as made:
        assert (made.lacking(0), made.lacking(3), made.lacking(4)) == (1, 3, None)
    for part, lacking in (((3,), 1), ((1,), 2), ((2,), None)):
        with with_shelf(file, {seq: whole[seq] for seq in part}) as made:
            assert made.lacking(0) == lacking
    with built(file) as made:
        assert (made.missing, made.lacking(0)) == (0, None)
        assert [
            hit.seq for hit in made.find(Query(facets={"kind": ("decision", "model")}))
        ] == every
        times = [hit.time for hit in made.find(Query(), newest=False) if hit.entry is None]
        assert times == [read(whole[seq]).time for seq in range(1, 4)]


def test_what_is_at_hand_and_was_changed_is_not_taken_up(store: Store, file: Path) -> None:
    calls(store)
    whole = stored(file)
    shelve(store, 4)
    with with_shelf(file, {3: whole[3].replace(b"sales", b"sails")}) as made:
        assert (made.lacking(3), made.missing) == (3, 3)


def test_an_outcome_is_found_by_a_decision_that_came_back_after_it(
    store: Store, file: Path
) -> None:
    calls(store)
    whole = stored(file)
    by_verdict = found(file, kind="outcome", verdict="allow")
    assert by_verdict
    own(file).unlink()
    [first, *_] = sorted(by_verdict)
    shelve(store, first)
    assert first not in found(file, kind="outcome", verdict="allow")
    with with_shelf(file, whole) as made:
        query = Query(facets={"kind": ("outcome",), "verdict": ("allow",)})
        assert [hit.seq for hit in made.find(query)] == by_verdict


def test_of_two_that_build_at_once_one_waits(store: Store, file: Path) -> None:
    write(store, *(UserEntry(text="hello") for _ in range(3_000)))
    sizes: list[int] = []

    def build() -> None:
        with built(file) as made:
            sizes.append(len(list(made.find(Query(text="hello")))))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [3_000] * 4
    with contextlib.closing(sqlite3.connect(own(file))) as connection:
        assert connection.execute("SELECT size, fits FROM state").fetchall() == [(3_001, 1)]


def test_calls_go_on_while_the_index_is_built(store: Store, file: Path) -> None:
    write(store, *(UserEntry(text="hello") for _ in range(2_500)))
    with Reader(file) as reader, Index(reader) as made:
        # In the middle of a build, at the end of each page.
        made.build(lambda _: store.commit(admit(store)) and None)
        made.build()
        assert made.size == 1 + 2_500 + 3


KILLED = """
import os, signal, sys
from pathlib import Path
from saferun.store import Reader
from saferun.store.index import Index, building, index
left = int(sys.argv[2])
index.PAGE = 50
where = sys.argv[3]

def die(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

if where == "in a page":
    write = building.Builder._write
    building.Builder._write = lambda self, state: (die(), write(self, state))
with Reader(Path(sys.argv[1])) as reader, Index(reader) as made:
    made.build(die if where == "after a page" else lambda _: None)
"""


@pytest.mark.parametrize("where", ["in a page", "after a page"])
@pytest.mark.parametrize("pages", [0, 1, 5])
def test_a_process_that_is_killed_leaves_an_index_that_goes_on(
    store: Store, file: Path, where: str, pages: int
) -> None:
    for at in range(200):
        seq = store.commit(
            admit(store, entry={"agent": f"a-{at % 7}", "args": {"n": f"w{at}"}})
        ).seq
        store.commit(settle(store, seq))
    command = [sys.executable, "-c", KILLED, str(file), str(pages), where]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    told: list[int] = []
    with Reader(file) as reader, Index(reader) as made:
        made.build(told.append)
        assert told[0] > 50 * pages
        assert len(list(made.find(Query(facets={"agent": ("a-3",)})))) == 29
        assert len(list(made.find(Query(facets={"verdict": ("allow",)})))) == 400
        assert [hit.seq for hit in made.find(Query(text="w150"))] == [301]


def test_what_entries_say_goes_in_and_nothing_of_it_is_syntax(store: Store, file: Path) -> None:
    for said in ("a\0b hidden", "\x1b[m red", "\u202eltr", '" OR "', "x" * 30_000, "=1+1"):
        write(store, UserEntry(text=said), DecisionEntry(tool=said[:50], verdict="deny"))
    assert found(file, "hidden", kind="user") == [1]
    assert found(file, "red", kind="user") == [3]
    assert found(file, tool='" OR "') == [8]
    assert audit(file).problem is None


def test_an_outcome_of_nothing_sensible_has_no_verdict(store: Store, file: Path) -> None:
    write(
        store,
        OutcomeEntry(of=99, status="ok"),
        OutcomeEntry(of=2, status="ok"),
        OutcomeEntry(of=0, status="ok"),
    )
    assert found(file, kind="outcome") == [3, 2, 1]
    assert found(file, verdict=("allow", "deny")) == []
