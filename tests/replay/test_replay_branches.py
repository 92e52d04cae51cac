"""Runs within runs: where they began, what they come to, and that no tree is too large or odd."""

import pytest

from recording import Script, indexed, played
from saferun.ledger import DecisionEntry, RunEntry, encode
from saferun.replay.branches import placed
from saferun.store import Append
from saferun.store.synopsis import Choice


def child(store, name: str, parent: str = "r-1", **about) -> Script:
    return Script(store, name, parent=parent, root="r-1", **about)


def test_a_child_stands_at_the_frame_that_was_the_newest_when_it_began(file, store, run) -> None:
    child(store, "early").call()
    run.model()
    run.call()
    child(store, "late").denied()
    run.model()
    with played(file) as playback:
        at = playback.branches.at
        assert list(at) == [1, 2]
        assert (at[1].denied, at[2].denied) == (0, 1)
        assert playback.branches.inward(2) == "late"
        assert playback.branches.inward(3) is None


def test_what_is_within_is_counted_however_deep(file, store, run) -> None:
    run.model(cost_usd=1.0)
    above = "r-1"
    for depth in range(100):
        child(store, f"c-{depth}", above).model(cost_usd=0.5)
        above = f"c-{depth}"
    Script(store, "last", parent=above, root="r-1").denied()
    with played(file) as playback:
        below = playback.branches.below
        assert (below.runs, below.denied, below.cost) == (101, 1, 50_000_000)
        assert next(playback.branches.begun(1)).run.run == "c-0"
        assert playback.synopsis is not None
        assert playback.synopsis.cost == 1_000_000
    with indexed(file) as index:
        assert [each.run for each in index.above("last")][-1] == "r-1"
        assert len(index.above("last")) == 101


def test_ten_thousand_children_are_counted_and_some_of_them_told(file, store, run) -> None:
    run.model()
    for begin in range(0, 10_000, 500):
        entries = []
        for number in range(begin, begin + 500):
            name = f"c-{number:05}"
            entries.append(RunEntry(event="start", run=name, parent="r-1", root="r-1", user={}))
            verdict = "deny" if number == 7_777 else "allow"
            entries.append(DecisionEntry(run=name, tool="t", args={}, verdict=verdict))
        store.commit(Append(entries=[encode(each) for each in entries], boot=store.boot))
    with played(file) as playback:
        seen = playback.frame(1)
        assert (seen.begun, len(seen.children)) == (10_000, 50)
        assert "c-07777" in [each.run.run for each in seen.children]
        assert playback.branches.inward(1) == "c-07777"
        assert playback.branches.below.runs == 10_000
        assert [each.run for each in playback.index.runs(Choice(tops=True))] == ["r-1"]
        page = playback.index.runs(Choice(parent="r-1"), limit=50)
        assert [page[0].run, page[-1].run] == ["c-09999", "c-09950"]


def test_runs_that_say_that_they_are_within_each_other_come_to_an_end(file, store) -> None:
    Script(store, "a", parent="b", root="b").denied()
    Script(store, "b", parent="a", root="a").denied()
    Script(store, "c", parent="c", root="c").denied()
    with indexed(file) as index:
        assert [each.runs for each in index.within("a").values()] == [1]
        assert index.within("c") == {}
        assert [each.run for each in index.above("a")] == ["b"]
        listed = {each.run for each in index.runs(Choice(tops=True))}
    assert listed == {"a", "b", "c"}


def test_costs_that_are_made_up_to_overflow_are_bounded(file, store, run) -> None:
    run.model()
    for name in ("x", "y", "z"):
        child(store, name).model(cost_usd=4e12)
    with played(file) as playback:
        assert playback.branches.below.cost == (1 << 62)


def test_the_next_that_was_denied_may_be_within_a_child(file, store, run) -> None:
    run.model()
    child(store, "one").denied()
    run.model()
    run.denied()
    with played(file) as playback:
        assert playback.outline.next(0, "denied") == 3
        assert playback.next(0, "denied") == 1
        assert playback.next(1, "halted") == 3
        assert playback.next(3, "halted", forward=False) == 1
        assert playback.next(0, "error") is None


def test_a_child_that_begins_and_goes_on_is_taken_up(file, store, run) -> None:
    run.model()
    with played(file) as playback:
        assert playback.branches.at == {}
        began = child(store, "one")
        playback.index.build()
        playback.refresh()
        assert playback.branches.at[1].runs == 1
        began.denied()
        playback.index.build()
        playback.refresh()
        assert playback.branches.at[1].denied == 1


@pytest.mark.parametrize(
    ("firsts", "seq", "number"),
    [([], 4, 0), ([5], 4, 1), ([5], 6, 1), ([5, 9], 9, 1), ([5, 9], 10, 2)],
)
def test_an_entry_has_a_place_among_frames(firsts, seq, number) -> None:
    assert placed(firsts, seq) == number


def test_a_choice_holds_for_a_run_or_for_one_within_it(file, store, run) -> None:
    run.model()
    child(store, "helper", agent="helper").denied("wipe")
    Script(store, "other", agent="other").call()
    with indexed(file) as index:

        def found(**about) -> list[str]:
            return [each.run for each in index.runs(Choice(**about))]

        assert found(tops=True) == ["other", "r-1"]
        assert found() == ["other", "helper", "r-1"]
        assert found(tops=True, traits=("denied",)) == ["r-1"]
        assert found(tops=True, agent="helper") == ["r-1"]
        assert found(tops=True, tool="wipe", traits=("denied",)) == ["r-1"]
        # One run has all of it: nobody called `support` was denied anything.
        assert found(tops=True, agent="support", traits=("denied",)) == []
        assert found(tops=True, text="wipe") == ["r-1"]
        assert found(parent="r-1") == ["helper"]


def test_a_child_whose_top_is_not_at_hand_is_listed(file, store) -> None:
    Script(store, "orphan", parent="gone", root="gone").call()
    with indexed(file) as index:
        assert [each.run for each in index.runs(Choice(tops=True))] == ["orphan"]
