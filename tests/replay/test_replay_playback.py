"""Playback: a frame is loaded by itself, with what it takes to judge it."""

import contextlib
import sqlite3

import msgspec
import pytest

from guarding import Yes
from recording import Script, played, tamper, write
from saferun import Denied, Gate, guard
from saferun.errors import StoreError
from saferun.ledger import RunEntry
from saferun.policy import loads
from saferun.replay.playback import PAGE, SLICE

POLICY = """
version: 1
name: money
inputs: {user.tier: string, environment.name: string}
tools:
  refund:
    effect: write
    args: {amount: {type: integer, maximum: 1000}, note: {type: string, optional: true}}
    rules:
      - {id: big, ask: [finance], when: 'args.amount > 100 && user.tier != "gold"'}
      - {id: often, ask: [finance], when: 'args.amount > 500 && run.calls >= 0'}
"""


@pytest.fixture
def gate():
    gate = Gate(
        policy=loads(POLICY.replace(", environment.name: string", "")), approvals=Yes("desk")
    )
    yield gate
    gate.close()


def lived(gate: Gate, result: object = "done") -> None:
    @guard(gate=gate)
    def refund(amount: int, note: str = "") -> object:
        return result

    with gate.run(run_id="r-1", agent="support", user={"id": "maria", "tier": "basic"}):
        refund(4)
        with pytest.raises(Denied):
            refund(5_000)
        refund(250, note="again")
    # The last outcome may still ride.
    gate.store.flush()


def test_a_frame_has_its_decision_its_answer_and_its_outcome(gate) -> None:
    lived(gate)
    with played(gate.store.path) as playback:
        asked = playback.frame(3)
    assert asked.frame.decision["verdict"] == "allow"
    assert [step["event"] for step in asked.frame.approvals][-1] == "approved"
    assert asked.frame.approvals[-1]["by"] == "dana"
    assert asked.frame.outcome["result"] == "done"
    assert asked.near == ("approved", "retried")
    assert asked.latency == asked.frame.outcome["latency"]


def test_reasons_come_with_the_values_that_their_conditions_saw(gate) -> None:
    lived(gate)
    with played(gate.store.path) as playback:
        denied, asked = playback.frame(2), playback.frame(3)
    [most] = [each for each in denied.grounds["refund.args"] if not each.holds]
    assert (most.text, most.value) == ("args.amount <= 1000", 5_000)
    assert {each.text: each.value for each in asked.grounds["big"]} == {
        "args.amount > 100": 250,
        'user.tier != "gold"': "basic",
    }


def test_conditions_on_what_has_moved_on_since_are_not_guessed(gate) -> None:
    @guard(gate=gate)
    def refund(amount: int, note: str = "") -> str:
        return "done"

    with gate.run(run_id="r-1", user={"id": "maria", "tier": "gold"}):
        refund(600)
    with played(gate.store.path) as playback:
        texts = [each.text for each in playback.frame(1).grounds.get("often", ())]
    assert not any("run" in text for text in texts)


def test_arguments_are_told_as_they_differ_from_the_last_call_of_the_tool(gate) -> None:
    lived(gate)
    with played(gate.store.path) as playback:
        assert playback.frame(1).since is None
        since = playback.frame(3).since
    assert since is not None
    assert since.number == 2
    assert [(each.path, each.after) for each in since.changes.changes] == [
        (("amount",), 250),
        (("note",), "again"),
    ]


def test_frames_come_by_the_page(file, run) -> None:
    for _ in range(PAGE + 5):
        run.model()
    with played(file) as playback:
        assert [each.frame.number for each in playback.frames(3, 2)] == [3, 4]
        assert len(playback.frames(1, 10_000)) == PAGE
        assert [each.frame.number for each in playback.frames(PAGE + 5)] == [PAGE + 5]
        assert playback.frames(PAGE + 6) == []


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_frame_that_there_is_not_is_an_error(file, run, number) -> None:
    run.model()
    with played(file) as playback, pytest.raises(IndexError, match="the run has 1"):
        playback.frame(number)


def test_child_runs_are_told_at_the_frame_that_they_began_in(file, store, run) -> None:
    run.model()
    run.call()
    Script(store, "child", parent="r-1", root="r-1").call()
    Script(store, "grandchild", parent="child", root="r-1").call()
    run.model()
    with played(file) as playback:
        assert [[child.run.run for child in each.children] for each in playback.frames(1)] == [
            [],
            ["child"],
            [],
        ]


def test_large_values_are_named_by_their_hash_and_read_in_slices(gate) -> None:
    text = "ä" * 100_000
    lived(gate, text)
    with played(gate.store.path) as playback:
        first = playback.frame(1)
        [value] = first.values
        assert (value.field, value.held) == ("result", True)
        assert text not in repr(msgspec.to_builtins(first))
        read, offset = "", 0
        while offset is not None:
            part = playback.slice(1, "result", offset)
            assert part is not None
            assert len(part.text.encode()) <= SLICE
            assert part.fits
            read, offset = read + part.text, part.next
    assert msgspec.json.decode(read) == text


def test_a_slice_begins_and_ends_between_characters(gate) -> None:
    lived(gate, "ä" * 100_000)
    with played(gate.store.path) as playback:
        for offset in (2, 3, SLICE + 1):
            part = playback.slice(1, "result", offset)
            assert part is not None
            assert "\ufffd" not in part.text


def test_a_large_value_that_was_changed_shows_nothing(gate) -> None:
    lived(gate, "x" * 100_000)
    with contextlib.closing(sqlite3.connect(gate.store.path)) as connection, connection:
        connection.execute("UPDATE blob SET data = CAST('\"forged\"' AS BLOB)")
    with played(gate.store.path) as playback:
        part = playback.slice(1, "result")
    assert part is not None
    assert (part.text, part.fits) == ("", False)


def test_a_value_in_the_entry_itself_is_sliced_too(file, run) -> None:
    run.model("hello")
    with played(file) as playback:
        part = playback.slice(1, "output", 1)
        assert part is not None
        assert (part.text, part.next) == ('hello"', None)
        assert playback.slice(1, "result") is None


def test_words_are_found_in_both_directions(file, run) -> None:
    run.model("the parcel is late")
    run.call(args={"note": "parcel"})
    run.model("sorry")
    run.call(result="Parcel found")
    with played(file) as playback:
        assert [playback.find("parcel", at) for at in (0, 1, 2, 4)] == [1, 2, 4, None]
        assert playback.find("parcel", 4, forward=False) == 2
        with pytest.raises(StoreError):
            playback.find("...", 0)


def test_words_of_other_runs_are_not_found(file, store, run) -> None:
    run.model("nothing")
    Script(store, "r-2").model("parcel")
    with played(file) as playback:
        assert playback.find("parcel", 0) is None


def test_what_a_run_said_of_itself_is_at_hand(file, store) -> None:
    write(store, RunEntry(event="start", run="r-1", prompt="Refund it.", plan=["look", "pay"]))
    with played(file) as playback:
        assert playback.about["prompt"] == "Refund it."
        assert playback.about["plan"] == ["look", "pay"]


SEALED = """
version: 1
name: mailing
tools:
  mail:
    effect: write
    args: {to: {type: string}}
    sensitive: [args.to]
    rules: [{id: look, ask: [finance], args: {to: {pattern: "@"}}}]
"""


def test_what_is_sealed_is_opened_only_for_who_may_see_it() -> None:
    gate = Gate(policy=loads(SEALED), approvals=Yes("desk"))

    @guard(gate=gate)
    def mail(to: str) -> str:
        return "sent"

    with gate.run(run_id="r-1", user="maria"):
        mail("ann@example.com")
    with played(gate.store.path) as playback:
        hidden = playback.frame(1)
    with played(gate.store.path, opens=True) as playback:
        seen = playback.frame(1)
    gate.close()
    assert hidden.frame.decision["args"] == {"to": "[sealed]"}
    assert "ann@" not in repr(msgspec.to_builtins(hidden))
    assert seen.frame.decision["args"] == {"to": "ann@example.com"}


# Whether the ledger vouches for a frame.


def standings(file) -> list[str]:
    with played(file) as playback:
        return [playback.frame(number).standing for number in range(1, len(playback.outline) + 1)]


def test_a_frame_under_the_newest_checkpoint_is_vouched_for(file, store, run) -> None:
    run.call()
    run.approved("mail")
    store.checkpoint()
    run.model()
    assert standings(file) == ["signed", "signed", "unsigned"]


def test_a_tampered_entry_is_shown_at_its_frame_exactly(file, store, run) -> None:
    run.call()
    seq = run.call("mail")
    run.model()
    store.checkpoint()
    with played(file):
        tamper(file, seq + 1, b'"done"', b'"gone"')
    assert standings(file) == ["signed", "changed", "signed"]
    with played(file) as playback:
        closeup = playback.frame(2)
        bad = [each for each in closeup.vouched if each.standing == "changed"]
    assert [each.seq for each in bad] == [seq + 1]
    assert closeup.changed == (seq + 1,)
    # Nothing of what it says now is shown.
    assert closeup.frame.outcome is None


def test_a_rewritten_entry_with_a_leaf_to_fit_is_still_told(file, store, run) -> None:
    seq = run.call()
    run.model()
    store.checkpoint()
    with played(file):
        tamper(file, seq, b'"amount":4', b'"amount":5', leaf=True)
    assert standings(file)[0] == "changed"


def test_a_rewritten_entry_leaves_doubt_where_no_index_knows_it(file, store, run) -> None:
    seq = run.call()
    store.checkpoint()
    tamper(file, seq, b'"amount":4', b'"amount":5', leaf=True)
    assert standings(file) == ["doubtful"]


def test_a_checkpoint_of_another_key_vouches_for_nothing(file, store, run) -> None:
    run.call()
    store.checkpoint()
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE checkpoint SET note = replace(note, x'0a', x'0a0a')")
    assert standings(file) == ["unsigned"]


def test_a_run_that_nobody_knows_is_empty(file, store) -> None:
    with played(file, "nobody") as playback:
        assert (len(playback.outline), playback.synopsis, playback.branches.at) == (0, None, {})


NAMED = """
version: 1
name: named
tools:
  pay:
    effect: write
    args: any
    rules:
      - {id: named, deny: true, when: '!run.said.contains(args.to)'}
      - {id: late, deny: true, when: 'run.calls > 0 && run.said.contains("x")'}
"""


def _tried(gate: Gate, to: str) -> None:
    with contextlib.suppress(Denied):
        guard(lambda to: to, gate=gate, name="pay")(to)


def _seen(gate: Gate, number: int, run: str = "r-1") -> list[object]:
    gate.store.flush()
    with played(gate.store.path, run, opens=True) as playback:
        grounds = playback.frame(number).grounds
    assert "late" not in grounds
    return [each.value for each in grounds.get("named", ())]


def test_what_people_had_said_by_then_is_told_with_a_decision() -> None:
    gate = Gate(policy=loads(NAMED))
    with gate.run(run_id="r-1", prompt="Pay x.") as run:
        _tried(gate, "aaaa")
        run.user("And to bbbb.")
        _tried(gate, "bbbb")
        _tried(gate, "cccc")
        run.user("Or to cccc.")
    assert _seen(gate, 1) == [["Pay x.", "aaaa"]]
    assert _seen(gate, 4) == [["Pay x.\nAnd to bbbb.", "cccc"]]


def test_what_people_may_have_said_elsewhere_is_not_guessed() -> None:
    gate = Gate(policy=loads(NAMED))
    with gate.run(run_id="r-1", prompt="Pay x.") as run:
        run.model("I hand over.")
        with gate.run(run_id="within") as within:
            within.user("To aaaa.")
            _tried(gate, "bbbb")
        _tried(gate, "cccc")
    assert _seen(gate, 2) == []
    assert _seen(gate, 2, "within") == []
