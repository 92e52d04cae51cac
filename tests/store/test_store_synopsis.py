"""What each run came to, in the index: counted as its story counts, and chosen from quickly."""

import contextlib
import sqlite3

import pytest

from recording import Script, indexed, tamper, write
from saferun.ledger import ControlEntry, OutcomeEntry, RecoveryEntry, read
from saferun.replay import story
from saferun.store.index import HITS
from saferun.store.synopsis import Choice, whole


@pytest.fixture
def run(store):
    return Script(store)


def named(file, **choice) -> list[str]:
    with indexed(file) as index:
        return [each.run for each in index.runs(Choice(**choice))]


def lived(run: Script) -> None:
    run.model(cost_usd=0.002)
    run.call(cost=500)
    run.denied()
    run.approved("mail")
    run.call("drop", status="error")
    run.decided("wait", verdict="defer")
    run.end("ValueError")


def test_a_synopsis_counts_what_the_story_has(file, store, run) -> None:
    lived(run)
    with indexed(file) as index:
        found = index.synopsis("r-1")
        told = story("r-1", [read(body) for body in index.reader.bodies(index.frames("r-1"))])
    assert found is not None
    assert (found.agent, found.user, found.error) == ("support", "maria", "ValueError")
    assert (found.began, found.ended) == (told.began, told.ended)
    assert (found.frames, found.calls) == (len(told.frames), told.calls)
    assert (found.denied, found.asked, found.deferred) == (told.denied, told.asked, told.deferred)
    assert (found.cost, found.failed, found.near) == (told.cost, 1, told.near)


def test_a_run_that_goes_on_is_counted_on(file, store, run) -> None:
    run.denied()
    with indexed(file) as index:
        before = index.synopsis("r-1")
    run.call(args={"amount": 5})
    with indexed(file) as index:
        after = index.synopsis("r-1")
    assert before is not None
    assert after is not None
    assert (before.frames, after.frames, after.denied, after.near) == (1, 2, 1, 1)


def test_a_call_that_somebody_found_out_about_is_no_error_any_more(file, store, run) -> None:
    seq = run.decided()
    write(store, RecoveryEntry(run="r-1", of=seq, status="unknown"))
    assert named(file, traits=("failed",)) == ["r-1"]
    write(store, OutcomeEntry(run="r-1", of=seq, status="ok", by="dana"))
    assert named(file, traits=("failed",)) == []


def test_a_run_that_was_resumed_is_not_stopped(file, store, run) -> None:
    about = {"scope": "run", "value": "r-1", "by": "dana"}
    write(store, ControlEntry(event="stopped", **about))
    assert named(file, traits=("stopped",)) == ["r-1"]
    write(store, ControlEntry(event="resumed", **about))
    assert named(file, traits=("stopped",)) == []


def test_runs_are_chosen_by_what_they_had(file, store) -> None:
    Script(store, "plain").call()
    Script(store, "denied", agent="sales").denied()
    Script(store, "asked", user="jo").approved("mail")
    Script(store, "failed").call(status="timeout")
    Script(store, "broken").end("ValueError")
    Script(store, "deferred").decided(verdict="defer")
    assert named(file, traits=("denied",)) == ["denied"]
    assert named(file, traits=("asked",)) == ["asked"]
    assert named(file, traits=("near",)) == ["failed", "asked"]
    assert named(file, traits=("failed",)) == ["broken", "failed"]
    assert named(file, traits=("deferred",)) == ["deferred"]
    assert named(file, traits=("asked", "denied")) == []
    assert named(file, agent="sales") == ["denied"]
    assert named(file, user="jo") == ["asked"]
    assert named(file, tool="mail") == ["asked"]
    assert named(file, tool="nothing") == []


def test_runs_are_chosen_by_when_they_began(file, open_store, clock) -> None:
    store = open_store(clock=clock)
    Script(store, "early")
    early = clock.now
    clock.now += 1_000_000
    Script(store, "late")
    assert named(file, since=early + 1) == ["late"]
    assert named(file, until=early + 1) == ["early"]
    assert named(file, since=early, until=clock.now + 1) == ["late", "early"]


def test_runs_are_chosen_by_words_and_by_the_rest_at_once(file, store) -> None:
    Script(store, "one").model("the parcel is late")
    two = Script(store, "two")
    two.model("parcel")
    two.denied()
    Script(store, "three").model("nothing")
    assert named(file, text="parcel") == ["two", "one"]
    assert named(file, text="parcel", traits=("denied",)) == ["two"]


def test_words_that_are_everywhere_find_the_newest_runs(file, store, run) -> None:
    for _ in range(HITS // 100):
        run.model("word")
    Script(store, "new").model("word")
    assert named(file, text="word") == ["new", "r-1"]


def test_a_list_goes_on_from_where_a_page_ended(file, store) -> None:
    for number in range(5):
        Script(store, f"r-{number}")
    with indexed(file) as index:
        first = index.runs(limit=2)
        then = index.runs(limit=2, before=first[-1].first)
    assert [each.run for each in (*first, *then)] == ["r-4", "r-3", "r-2", "r-1"]


def test_runs_that_moved_are_told_in_that_order(file, store, run) -> None:
    other = Script(store, "r-2")
    with indexed(file) as index:
        seen = index.size - 1
    other.call()
    run.call()
    with indexed(file) as index:
        assert [each.run for each in index.moved(seen)] == ["r-2", "r-1"]
        assert index.moved(index.size - 1) == []


def test_a_name_with_quotes_and_a_very_long_one_are_only_names(file, store) -> None:
    for name in ("r'; DROP TABLE synopsis; --", "x" * 4_000):
        Script(store, name, agent=name).call("t'")
    assert len(named(file)) == 2
    assert named(file, agent="r'; DROP TABLE synopsis; --") == ["r'; DROP TABLE synopsis; --"]
    assert len(named(file, tool="t'")) == 2


# Held against the ledger.


def integrity(file) -> tuple[str, tuple[int, ...]]:
    with indexed(file) as index:
        found = index.synopsis("r-1")
        assert found is not None
        checked = whole(index.reader, found, index.frames("r-1"))
        return checked.integrity, checked.changed


def test_a_run_is_whole_where_the_ledger_says_what_the_list_says(file, store, run) -> None:
    lived(run)
    assert integrity(file) == ("whole", ())


def test_a_changed_entry_is_named(file, store, run) -> None:
    seq = run.call()
    with indexed(file):
        tamper(file, seq, b'"amount":4', b'"amount":5')
    assert integrity(file) == ("changed", (seq,))


def test_a_list_that_somebody_rewrote_is_not_believed(file, store, run) -> None:
    run.denied()
    with indexed(file) as index:
        path = index.path
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE synopsis SET denied = 0")
    assert integrity(file)[0] == "changed"


def test_a_row_that_is_none_is_left_out(file, store, run) -> None:
    Script(store, "r-2")
    with indexed(file) as index:
        path = index.path
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE synopsis SET denied = x'00' WHERE run = 'r-1'")
    assert named(file) == ["r-2"]


@pytest.mark.parametrize(
    ("ends", "near"),
    [
        (("ok",), 0),
        (("error",), 1),
        (("unknown",), 1),
        (("unknown", "ok"), 0),
        (("unknown", "error"), 1),
    ],
)
def test_a_call_that_went_wrong_counts_once_as_a_near_miss(file, run, ends, near) -> None:
    seq = run.decided()
    for number, status in enumerate(ends):
        run.ended(seq, status, by="dana" if number else None)
        with indexed(file):
            """Taken up entry by entry, as a store that is looked at again and again."""
    with indexed(file) as index:
        found = index.synopsis("r-1")
        told = story("r-1", [read(body) for body in index.reader.bodies(index.frames("r-1"))])
    assert (found.near, told.near) == (near, near)


def test_a_near_miss_that_goes_wrong_as_well_counts_once(file, run) -> None:
    run.denied(args={"amount": 9})
    run.call(status="error")
    with indexed(file) as index:
        assert index.synopsis("r-1").near == 1


def test_a_run_remembers_few_of_its_open_near_misses(file, run) -> None:
    run.denied(args={"amount": 9})
    for number in range(40):
        run.decided(args={"amount": number})
        run.denied(args={"amount": 9})
    with indexed(file) as index:
        found = index.synopsis("r-1")
    assert (found.near, len(found.open.split())) == (39, 32)
