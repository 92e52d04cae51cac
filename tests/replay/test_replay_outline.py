"""The outline of a run: a small row a frame, and what one can jump to."""

import gzip
import json
import random

import pytest

from recording import Script, played, tamper, write
from saferun.call import Measure, Reason
from saferun.ledger import (
    ApprovalEntry,
    ControlEntry,
    LabelEntry,
    ModelEntry,
    RecoveryEntry,
    encode,
    seal,
)
from saferun.replay import Outline
from saferun.store.near import near_misses


def kinds(file) -> list[str]:
    with played(file) as playback:
        return [row.kind for row in playback.outline.rows]


def test_a_row_has_what_came_of_its_call(file, run) -> None:
    run.model(cost_usd=0.004, latency=700)
    run.call(result={"ok": True}, latency=31, cost=12)
    run.denied()
    with played(file) as playback:
        model, call, denied = playback.outline.rows
    assert (model.kind, model.cost, model.latency) == ("model", 4_000, 700)
    assert (call.tool, call.verdict, call.status) == ("refund", "allow", "ok")
    assert (call.latency, call.cost) == (31, 12)
    assert (denied.verdict, denied.status) == ("deny", None)


def test_a_question_and_what_follows_from_it_are_one_row(file, run) -> None:
    run.approved()
    with played(file) as playback:
        [row] = playback.outline.rows
    assert (row.asked, row.verdict, row.status, len(row.seqs)) == (True, "allow", "ok", 5)


def test_the_run_that_is_stopped_is_a_row_of_its_own(file, store, run) -> None:
    write(store, ControlEntry(event="stopped", scope="run", value="r-1", run="r-1", by="dana"))
    run.model()
    assert kinds(file) == ["control", "model"]


def test_a_call_of_which_nobody_knows_is_an_error(file, store, run) -> None:
    seq = run.decided()
    write(store, RecoveryEntry(run="r-1", of=seq, status="unknown"))
    with played(file) as playback:
        assert playback.outline.next(0, "error") == 1


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("denied", [2, 5]), ("asked", [4]), ("halted", [2, 4, 5]), ("error", [3]), ("near", [3, 4])],
)
def test_one_jumps_to_the_next_of_a_kind_and_back(file, run, wanted, numbers) -> None:
    run.call()
    run.denied(args={"amount": 9})
    run.call(status="error")
    run.approved("mail")
    run.denied("drop")
    with played(file) as playback:
        outline = playback.outline
        forward, at = [], 0
        while (at := outline.next(at, wanted)) is not None:
            forward.append(at)
        back, at = [], len(outline) + 1
        while (at := outline.next(at, wanted, forward=False)) is not None:
            back.append(at)
    assert (forward, back) == (numbers, numbers[::-1])


def test_one_jumps_to_the_same_tool(file, run) -> None:
    run.call("a")
    run.call("b")
    run.model()
    run.call("a")
    with played(file) as playback:
        assert playback.outline.next(1, "tool") == 4
        assert playback.outline.next(4, "tool", forward=False) == 1
        assert playback.outline.next(2, "tool") is None
        assert playback.outline.next(3, "tool") is None


SHADOW = Reason(id="s", effect="deny", source="rule", message="no")


def near(measure: Measure) -> tuple[str, ...]:
    reason = {"id": "l", "measure": {"used": measure.used, "max": measure.max}}
    return near_misses({"verdict": "allow", "reasons": (reason,)})


def test_a_call_is_a_near_miss_for_each_of_many_reasons() -> None:
    assert near_misses({"verdict": "allow"}) == ()
    assert near_misses({"verdict": "allow", "approval": "a"}) == ("approved",)
    assert near_misses({"verdict": "allow", "shadow": ({"effect": "deny"},)}) == ("shadow",)
    assert near_misses({"verdict": "allow", "shadow": ({"effect": "defer"},)}) == ("shadow",)
    assert near_misses({"verdict": "deny", "mode": "shadow"}) == ("shadow",)
    assert near_misses({"verdict": "allow", "other": {"verdict": "deny"}}) == ("shadow",)
    assert near(Measure(control="budget", used="1.8", max="2")) == ("limit",)
    assert near(Measure(control="budget", used="1.7", max="2")) == ()
    assert near_misses({"verdict": "allow", "close": {"per-day": {"used": "9"}}}) == ("limit",)
    assert near_misses({"verdict": "allow", "digest": "aa"}, "bb") == ("retried",)
    assert near_misses({"verdict": "allow", "digest": "bb"}, "bb") == ()
    asked = {"verdict": "allow", "approval": "a"}
    assert near_misses(asked, edited=True) == ("approved", "edited")
    assert near_misses({"verdict": "allow"}, edited=True) == ()
    assert near_misses({"verdict": "allow", "nudge": "You have asked before."}) == ("nudged",)
    for status in ("error", "timeout", "unknown"):
        assert near_misses({"verdict": "allow"}, status=status) == ("failed",)
    for status in ("ok", "cancelled", "not_started"):
        assert near_misses({"verdict": "allow"}, status=status) == ()


def test_a_call_that_a_person_has_rejected_is_a_near_miss() -> None:
    said = {"verdict": "deny", "approval": "a", "reasons": ({"id": "big", "error": "Rejected"},)}
    assert near_misses(said) == ("rejected",)
    late = {"verdict": "deny", "approval": "a", "reasons": ({"error": "ApprovalExpired"},)}
    assert near_misses(late) == ()


def test_a_row_says_that_a_person_has_changed_the_call(file, store, run) -> None:
    run.decided(verdict="ask", approval="a-1")
    about = {"run": "r-1", "id": "a-1", "tool": "refund"}
    write(
        store,
        ApprovalEntry(event="requested", **about),
        ApprovalEntry(event="edited", by="dana", revision=1, **about),
        ApprovalEntry(event="approved", by="dana", **about),
    )
    run.ended(run.decided(approval="a-1", args={"amount": 3}))
    with played(file) as playback:
        assert [row.near for row in playback.outline.rows] == [("approved", "edited")]


def test_a_call_that_went_wrong_is_a_near_miss_until_somebody_knows_better(file, run) -> None:
    run.call()
    seq = run.decided()
    run.ended(seq, "unknown")
    with played(file) as playback:
        assert [row.near for row in playback.outline.rows] == [(), ("failed",)]
    run.ended(seq, "ok", by="dana")
    with played(file) as playback:
        assert [row.near for row in playback.outline.rows] == [(), ()]


def test_the_bits_of_near_misses_are_apart_from_all_others(file, run) -> None:
    run.call(status="error")
    with played(file) as playback:
        document = playback.outline.document()
    assert document["legend"]["near"][7] == "failed"
    assert document["marks"] == [1024]


def test_a_row_has_the_last_word_on_its_call(file, store, run) -> None:
    first, other = run.call(), run.call()
    for mark, of in (("right", first), ("false", first), ("right", other), ("none", other)):
        write(store, LabelEntry(run="r-1", of=of, mark=mark, by="dana"))
    with played(file) as playback:
        assert [row.label for row in playback.outline.rows] == ["false", None]
        assert [row.number for row in playback.outline.rows] == [1, 2]
        assert playback.frame(1).frame.label == {"mark": "false", "by": "dana"}


def test_a_call_that_was_denied_is_no_near_miss() -> None:
    assert near_misses({"verdict": "deny", "shadow": ({"effect": "deny"},)}, "bb") == ()


def test_the_same_tool_denied_before_with_other_arguments_is_a_near_miss(file, run) -> None:
    run.denied(args={"amount": 9})
    run.call("mail", {"amount": 4})
    run.call(args={"amount": 4})
    with played(file) as playback:
        assert [row.near for row in playback.outline.rows] == [(), (), ("retried",)]


def test_an_outline_follows_a_run_that_goes_on(file, store, run) -> None:
    run.call()
    with played(file) as playback:
        assert len(playback.outline) == 1
        seq = run.decided("mail")
        playback.index.build()
        assert playback.refresh() == 1
        run.ended(seq)
        playback.index.build()
        assert playback.refresh() == 0
        assert playback.outline.row(2).status == "ok"


def test_a_changed_entry_is_shown_at_its_frame_and_at_no_other(file, store, run) -> None:
    run.call()
    seq = run.call("mail")
    run.model()
    with played(file):
        tamper(file, seq + 1, b'"done"', b'"gone"')
    with played(file) as playback:
        assert [row.changed for row in playback.outline.rows] == [[], [seq + 1], []]
        assert playback.outline.next(0, "changed") == 2


def test_a_changed_entry_is_found_by_an_index_that_is_made_afterwards(file, store, run) -> None:
    seq = run.call("mail")
    tamper(file, seq, b'"amount":4', b'"amount":5')
    with played(file) as playback:
        [row] = playback.outline.rows
    # The outcome belongs to it, and nothing else is believed of it.
    assert (row.kind, row.changed, row.seqs, row.tool) == ("changed", [seq], [seq, seq + 1], None)


def test_an_entry_that_was_changed_with_its_leaf_is_told_by_the_index(file, store, run) -> None:
    run.call()
    seq = run.call("mail")
    run.model()
    with played(file):
        tamper(file, seq, b'"amount":4', b'"amount":5', leaf=True)
    with played(file) as playback:
        assert [row.changed for row in playback.outline.rows] == [[], [seq], []]


def test_an_entry_that_is_gone_leaves_its_frame_behind(file, store, run) -> None:
    import contextlib
    import sqlite3

    seq = run.model()
    run.call()
    with played(file), contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM entry WHERE seq = ?", (seq,))
    with played(file) as playback:
        assert [row.kind for row in playback.outline.rows] == ["changed", "call"]


def test_an_outline_as_json_is_read_back_by_its_legend(file, run) -> None:
    run.model()
    run.approved()
    run.denied("mail")
    with played(file) as playback:
        said = json.loads(json.dumps(playback.outline.document()))
        rows = playback.outline.rows
    assert [said["legend"]["kind"][mark] for mark in said["kind"]] == [row.kind for row in rows]
    assert [said["legend"]["verdict"].get(mark) for mark in said["verdict"]] == [
        None,
        "allow",
        "deny",
    ]
    assert [said["tools"][at] if at >= 0 else None for at in said["tool"]] == [
        None,
        "refund",
        "mail",
    ]
    seqs = [sum(said["seq"][: place + 1]) for place in range(3)]
    assert seqs == [row.seq for row in rows]
    assert said["marks"] == [0, 1 | 32, 0]


def test_ten_thousand_frames_are_two_hundred_kilobytes_once_they_are_packed() -> None:
    draw = random.Random(3)
    outline = Outline("r")
    seq = at = 1_763_942_400_000_000
    seq = 0
    for _ in range(10_000):
        seq += draw.randint(1, 4)
        at += draw.randint(1, 5_000_000)
        entry = ModelEntry(
            output="x", cost_usd=draw.random() / 100, latency=draw.randint(1, 9_999_999)
        )
        outline.take(seq, seal(seq, at, encode(entry)))
    packed = gzip.compress(json.dumps(outline.document(), separators=(",", ":")).encode())
    assert len(packed) <= 20 * 10_000


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="entry 4 is none"):
        Outline("r").take(4, b"{}")


def test_runs_do_not_mix(file, store, run) -> None:
    other = Script(store, "r-2")
    run.call()
    other.call("mail")
    with played(file, "r-2") as playback:
        assert [row.tool for row in playback.outline.rows] == ["mail"]


def test_the_console_is_told_marks_and_never_works_them_out(file, run) -> None:
    run.model()
    run.decided(modified=True)
    run.denied()
    run.approved("mail")
    with played(file) as playback:
        outline = playback.outline
        document = outline.document()
    legend = document["legend"]["mark"]
    words = [legend[letter].word for letter in document["mark"]]
    assert words == ["model", "modified", "denied", "asked"]
    assert words == [row.mark.word for row in outline.rows]
