"""What happened when, counted from the index, and the runs behind every figure."""

import contextlib
import sqlite3

import pytest

from recording import OF, Script, indexed, write
from saferun.call import Reason
from saferun.ledger import ControlEntry, OutcomeEntry, RecoveryEntry
from saferun.store import Reader, activity
from saferun.store.activity import Stretch, latest, opened
from saferun.store.index import MINUTE, Index
from saferun.store.postings import CHUNK
from saferun.store.synopsis import Choice

HOUR = 60 * MINUTE


@pytest.fixture
def timed(open_store, clock):
    """A store whose clock stands where an hour begins."""
    clock.now = clock.now // HOUR * HOUR + HOUR
    return open_store(clock=clock)


def counted(file, stretch: Stretch, most: int = 5) -> activity.Activity:
    with indexed(file) as index:
        return activity.activity(index, stretch, most)


def named(file, **choice) -> list[str]:
    with indexed(file) as index:
        return [each.run for each in index.runs(Choice(**choice))]


def denies(script: Script, rule: str, tool: str = "refund", effect: str = "deny") -> int:
    reason = Reason(source="rule", id=rule, effect=effect, message="No.")
    return script.decided(tool, {"by": rule}, verdict="deny", reasons=(reason,))


def lived(timed, clock) -> int:
    """Two runs in two minutes, and one in the third. The time at which the first began."""
    began = clock.now
    one = Script(timed, "one")
    one.model("x", cost_usd=0.25)
    one.call(cost=500_000)
    denies(one, "big")
    clock.now += MINUTE
    two = Script(timed, "two")
    denies(two, "big", "wipe")
    denies(two, "small", "wipe")
    two.ended(two.decided("mail"), "error", tool="mail")
    one.approved("mail")
    clock.now += MINUTE
    Script(timed, "three").model("y", cost_usd=1)
    return began


def test_what_happened_is_counted_bar_by_bar(file, timed, clock) -> None:
    began = lived(timed, clock)
    found = counted(file, Stretch(began // MINUTE, 1, 4))
    assert found.counts == {
        "began": [1, 1, 1, 0],
        "called": [2, 4, 0, 0],
        "denied": [1, 2, 0, 0],
        "asked": [0, 1, 0, 0],
        "near": [0, 2, 0, 0],
        "failed": [0, 1, 0, 0],
    }
    assert found.cost == [750_000, 0, 1_000_000, 0]


def test_what_happened_before_and_after_is_not_counted(file, timed, clock) -> None:
    began = lived(timed, clock)
    found = counted(file, Stretch(began // MINUTE + 1, 1, 1))
    assert found.counts["called"] == [4]
    assert found.counts["began"] == [1]
    assert found.cost == [0]
    before = counted(file, Stretch(began // MINUTE - 10, 5, 2))
    assert {sum(each) for each in before.counts.values()} == {0}


def test_a_wider_bar_has_what_its_minutes_have(file, timed, clock) -> None:
    began = lived(timed, clock)
    found = counted(file, latest(began + 2 * MINUTE, 30, 2))
    assert found.counts["called"] == [0, 6]
    assert found.cost == [0, 1_750_000]


def test_a_stretch_ends_with_the_bar_of_now_whenever_one_looks() -> None:
    one, two = latest(7 * HOUR, 30, 48), latest(7 * HOUR + 29 * MINUTE, 30, 48)
    assert one == two
    begin, end = one.bar(47)
    assert begin <= 7 * HOUR < end
    assert latest(7 * HOUR + 30 * MINUTE, 30, 48).since == one.since + 30


def test_what_denies_and_fails_most_comes_first(file, timed, clock) -> None:
    began = lived(timed, clock)
    found = counted(file, Stretch(began // MINUTE, 1, 4))
    assert found.rules == [("big", 2), ("small", 1)]
    assert found.denied == [("wipe", 2), ("refund", 1)]
    assert found.failing == [("mail", 1)]
    assert counted(file, Stretch(began // MINUTE, 1, 1)).rules == [("big", 1)]
    assert counted(file, Stretch(began // MINUTE, 1, 4), most=1).rules == [("big", 2)]


def test_a_rule_that_only_asked_has_denied_nothing(file, timed, clock) -> None:
    script = Script(timed)
    reasons = tuple(
        Reason(source="rule", id=name, effect=effect, message="No.")
        for name, effect in (("asks", "ask"), ("denies", "deny"))
    )
    script.decided(verdict="deny", reasons=reasons, shadow=reasons[:1])
    script.decided("mail", verdict="ask", reasons=reasons[:1], approval="a-1")
    assert counted(file, Stretch(clock.now // MINUTE, 1, 1)).rules == [("denies", 1)]


def test_more_names_than_are_looked_at_are_said_to_be_missing(
    file, timed, clock, monkeypatch
) -> None:
    monkeypatch.setattr(activity, "VALUES", 3)
    script = Script(timed)
    for number in range(2):
        denies(script, "big", f"t-{number}")
    stretch = Stretch(clock.now // MINUTE, 1, 1)
    assert not counted(file, stretch).cut
    denies(script, "big", "t-2")
    assert counted(file, stretch).cut


def test_a_figure_counts_what_was_known_then(file, timed, clock) -> None:
    began = clock.now
    script = Script(timed)
    seq = script.decided()
    write(timed, RecoveryEntry(run="r-1", of=seq, status="unknown"))
    clock.now += MINUTE
    write(timed, OutcomeEntry(run="r-1", of=seq, status="ok", by="dana"))
    assert counted(file, Stretch(began // MINUTE, 1, 2)).counts["failed"] == [1, 0]


def test_the_runs_behind_a_figure_are_those_in_which_it_happened_then(file, timed, clock) -> None:
    began = lived(timed, clock)
    first, second = (began, began + MINUTE), (began + MINUTE, began + 2 * MINUTE)
    assert named(file, traits=("denied",), during=first) == ["one"]
    assert named(file, traits=("denied",), during=second) == ["two"]
    assert named(file, traits=("called",), during=second) == ["two", "one"]
    assert named(file, traits=("near",), during=second) == ["two", "one"]
    assert named(file, traits=("paid",), during=(began, began + HOUR)) == ["three", "one"]
    assert named(file, traits=("began",), during=second) == ["two"]
    assert named(file, during=second) == ["two", "one"]
    assert named(file, during=(began + HOUR, began + 2 * HOUR)) == []


def test_runs_are_chosen_by_the_rule_that_has_denied_them_something(file, timed, clock) -> None:
    began = lived(timed, clock)
    assert named(file, rule="big") == ["two", "one"]
    assert named(file, rule="small", traits=("denied",)) == ["two"]
    assert named(file, rule="big", during=(began, began + MINUTE)) == ["one"]
    assert named(file, rule="nothing") == []


def test_a_tool_is_the_one_of_the_call_that_was_meant(file, timed, clock) -> None:
    began = lived(timed, clock)
    second = (began + MINUTE, began + 2 * MINUTE)
    assert named(file, traits=("denied",), tool="wipe", during=second) == ["two"]
    assert named(file, traits=("failed",), tool="mail", during=second) == ["two"]
    assert named(file, traits=("denied",), tool="mail", during=second) == []


def test_runs_of_a_time_are_chosen_by_the_rest_too(file, timed, clock) -> None:
    began = lived(timed, clock)
    about = {"during": (began, began + HOUR)}
    assert named(file, **about, agent="nobody") == []
    assert named(file, **about, user=OF["user"]) == ["three", "two", "one"]
    assert named(file, **about, text="y") == ["three"]
    with indexed(file) as index:
        [last] = index.runs(Choice(**about), before=index.runs(Choice(**about))[1].first)
    assert last.run == "one"


def test_all_traits_of_a_choice_have_to_have_happened_in_a_run(file, timed, clock) -> None:
    began = lived(timed, clock)
    found = named(file, traits=("denied", "asked"), during=(began, began + HOUR))
    assert found == ["one"]


def test_entries_are_found_by_their_time_across_spans(file, timed, clock) -> None:
    times = []
    for _ in range(5):
        Script(timed, f"r-{len(times)}").model("x")
        times.append(clock.now)
        with indexed(file):
            pass
        clock.now += MINUTE
    with indexed(file) as index:
        for number, time in enumerate(times):
            # The ledger's own entry, and two of each run.
            assert index.first_since(time) == (1 + 2 * number if number else index.first_since(0))
            assert index.first_since(time + 1) == 1 + 2 * (number + 1)
        assert index.first_since(clock.now) == index.size


def test_a_bar_has_what_lies_in_several_chunks() -> None:
    sets = {0: 0b1011 << (CHUNK - 4), CHUNK: 0b11}
    assert activity._counted(sets, [0, CHUNK - 3, CHUNK + 1, 2 * CHUNK]) == [1, 3, 1]


def test_a_breaker_is_open_until_the_ledger_says_that_it_closed(file, timed, clock) -> None:
    def turned(event: str, tool: str, tenant: str | None = None, until: int | None = None) -> None:
        about = {"scope": "tool", "value": tool, "tenant": tenant, "by": "saferun"}
        write(timed, ControlEntry(event=event, until=until, **about))

    turned("opened", "mail", until=5)
    turned("opened", "mail", tenant="acme", until=6)
    turned("opened", "refund")
    turned("closed", "refund")
    turned("closed", "mail")
    write(timed, ControlEntry(event="stopped", scope="tool", value="wipe", by="dana"))
    with indexed(file) as index:
        assert opened(index) == [("mail", "acme", clock.now, 6)]


# An index that is looked at as it is.


def test_a_look_takes_up_nothing(file, store) -> None:
    with Reader(file) as reader, Index(reader) as index:
        index.peek()
        assert index.size == 0
        assert index.runs() == []
    assert not file.with_name("saferun.db.index").exists()
    Script(store, "one")
    with indexed(file) as index:
        size = index.size
    Script(store, "two")
    with Reader(file) as reader, Index(reader) as index:
        index.peek()
        assert index.size == size
        assert [each.run for each in index.runs()] == ["one"]


def test_a_look_stays_the_same_while_somebody_builds_on(file, store) -> None:
    Script(store, "one")
    with indexed(file):
        pass
    with Reader(file) as reader, Index(reader) as index:
        index.peek()
        Script(store, "two")
        with indexed(file) as other:
            assert len(other.runs()) == 2
        assert [each.run for each in index.runs()] == ["one"]
        index.build()
        assert len(index.runs()) == 2


@pytest.mark.parametrize("harm", ["another version", "no database", "another schema"])
def test_an_index_that_is_none_of_ours_knows_nothing(file, store, harm: str) -> None:
    Script(store, "one")
    with indexed(file) as index:
        path = index.path
    if harm == "no database":
        path.write_bytes(b"not a database at all" * 500)
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            changed = "PRAGMA user_version = 3" if "version" in harm else "DROP TABLE spent"
            connection.execute(changed)
    with Reader(file) as reader, Index(reader) as index:
        index.peek()
        assert (index.size, index.runs()) == (0, [])
        index.build()
        assert [each.run for each in index.runs()] == ["one"]


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE span SET whose = 'text', times = 'text'",
        "UPDATE span SET whose = x'0102', times = x'01'",
        "UPDATE span SET latest = 'late'",
        "UPDATE posting SET held = 'text'",
        "UPDATE spent SET cost = 'much'",
        "UPDATE term SET value = CAST(id AS BLOB)",
        "DELETE FROM span",
    ],
)
def test_an_index_that_was_changed_counts_wrongly_and_never_fails(
    file, timed, clock, harm: str
) -> None:
    began = lived(timed, clock)
    with indexed(file) as index:
        path = index.path
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(harm)
    with Reader(file) as reader, Index(reader) as index:
        index.peek()
        activity.activity(index, Stretch(began // MINUTE, 1, 3), 5)
        index.runs(Choice(traits=("denied",), during=(began, began + HOUR), rule="big"))
        opened(index)
