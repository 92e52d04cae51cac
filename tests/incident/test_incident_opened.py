"""An incident file as a store: everything that reads one reads it, and nothing writes to it."""

from pathlib import Path

import msgspec
import pytest

from incident.incidents import LARGE, NAME, POLICY, Hiding, apart, incident, key, packed, together
from recording import Script, indexed, played, tamper, write
from saferun.errors import StoreError
from saferun.incident import IncidentError, opened, traced
from saferun.ledger import Entry, UserEntry, commit, sealed
from saferun.replay import Playback, Said, TracedCall
from saferun.store import Reader, Store
from saferun.store.index import Index, Query
from saferun.store.nodes import index_tree
from saferun.store.runs import children_of, is_run
from saferun.store.synopsis import Choice
from saferun.store.versions import kept_version


def test_its_runs_read_as_they_do_in_the_store(world: Store, sound: Path) -> None:
    world.flush()
    with opened(sound) as found, indexed(found.path) as index, indexed(world.path) as whole:
        assert [each.run for each in index.runs()] == ["r-2", "r-1"]
        assert index.synopsis("r-1") == whole.synopsis("r-1")
        here, there = Playback(index, "r-1"), Playback(whole, "r-1")
        for number in range(1, len(there.outline) + 1):
            assert msgspec.to_builtins(here.frame(number).frame) == msgspec.to_builtins(
                there.frame(number).frame
            )
        assert [each.run for each in index.runs(Choice(parent="r-1"))] == ["r-2"]


def test_each_entry_is_held_against_the_checkpoint_that_was_signed(sound: Path) -> None:
    with opened(sound) as found, played(found.path) as play:
        frames = [play.frame(number) for number in range(1, len(play.outline) + 1)]
        assert {each.standing for each in frames} == {"signed"}
        assert all(vouched.leaf for each in frames for vouched in each.vouched)


def test_an_entry_that_is_changed_after_it_was_unpacked_is_told(sound: Path) -> None:
    with opened(sound) as found:
        found.path.chmod(0o600)
        tamper(found.path, 3, b'"amount":0', b'"amount":9')
        with played(found.path) as play:
            assert play.frame(1).standing == "changed"


def test_large_values_and_policies_are_there(sound: Path) -> None:
    with opened(sound) as found, Reader(found.path) as reader:
        assert reader.blob(NAME) == (b"s" * 16, LARGE)
        assert kept_version(reader, POLICY.version) == POLICY.canonical
        assert is_run(reader, "r-2")
        assert children_of(reader, "r-1") == ["r-2"]


def test_its_words_are_found(sound: Path) -> None:
    with opened(sound) as found, indexed(found.path) as index:
        [hit] = index.find(Query(text="duplicate"))
        assert hit.entry is not None
        assert hit.entry.fields["run"] == "r-1"


def test_the_index_is_not_made_anew_each_time(sound: Path) -> None:
    with opened(sound) as found, Reader(found.path) as reader, Index(reader) as index:
        index.build()
        taken = []
        index.build(taken.append)
        assert taken == []


def test_nothing_is_ever_written_to_it(sound: Path) -> None:
    with opened(sound) as found:
        before = found.path.read_bytes()
        with pytest.raises(StoreError, match="nothing is ever written to it"):
            Store(f"sqlite:///{found.path}")
        index_tree(found.path)
        assert found.path.read_bytes() == before
        assert found.path.stat().st_mode & 0o777 == 0o400


def test_it_is_gone_when_nobody_looks_any_more(sound: Path, tmp_path: Path) -> None:
    with opened(sound, within=tmp_path) as found:
        assert found.path.is_relative_to(tmp_path)
        assert found.path.parent.stat().st_mode & 0o077 == 0
        with indexed(found.path):
            pass
    assert not found.path.parent.exists()


def test_a_file_that_was_changed_is_never_shown(sound: Path, tmp_path: Path) -> None:
    given = apart(sound)
    given.parts["proof.bin"] = bytes(32) + given.parts["proof.bin"][32:]
    together(tmp_path / "a.saferun", given)
    room = tmp_path / "room"
    room.mkdir()
    with (
        pytest.raises(IncidentError, match="do not lead"),
        opened(tmp_path / "a.saferun", within=room),
    ):
        pytest.fail("it was shown")
    assert list(room.iterdir()) == []


def test_keys_from_outside_are_asked_for_their_word(world: Store, sound: Path) -> None:
    with opened(sound, [key(world)]) as found:
        assert (found.incident.state, found.file) == ("verified", sound)


def test_what_nobody_has_signed_is_shown_as_that(store: Store, tmp_path: Path) -> None:
    incident(store)
    packed(store, tmp_path / "a.saferun", signed=False)
    with opened(tmp_path / "a.saferun") as found, played(found.path) as play:
        assert play.frame(1).standing == "unsigned"


def hidden(entry: Entry) -> Entry:
    if "args" not in entry.fields:
        return entry
    return msgspec.structs.replace(entry, fields={**entry.fields, "args": {"amount": "number-1"}})


def test_a_redacted_entry_is_shown_and_says_so(world: Store, tmp_path: Path) -> None:
    packed(world, tmp_path / "a.saferun", redact=Hiding(hidden))
    with opened(tmp_path / "a.saferun") as found, played(found.path) as play:
        first = play.frame(1)
        assert first.standing == "redacted"
        assert first.frame.decision is not None
        assert first.frame.decision["args"] == {"amount": "number-1"}
        assert "nothing proves what is left of it" in first.vouched[0].says
        # What was not touched is proven as before: the redacted leaf is in the tree all the same.
        assert first.vouched[1].standing == "signed"


def test_what_was_left_out_breaks_no_proof(world: Store, tmp_path: Path) -> None:
    packed(
        world,
        tmp_path / "a.saferun",
        redact=Hiding(lambda each: None if each.kind == "model" else each),
    )
    with opened(tmp_path / "a.saferun") as found, played(found.path) as play:
        kinds = {play.frame(number).frame.kind for number in range(1, len(play.outline) + 1)}
        assert kinds == {"call"}
        assert play.frame(2).standing == "signed"


def test_what_is_sealed_is_a_word(store: Store, tmp_path: Path) -> None:
    own = commit(b"0" * 16, "text", b'"maria@example.com"')
    Script(store)
    write(store, UserEntry(run="r-1", text=sealed(own), sealed={own.hex(): "text"}))
    packed(store, tmp_path / "a.saferun")
    with opened(tmp_path / "a.saferun") as found, played(found.path, opens=True) as play:
        assert play.frame(1).frame.said["text"] == "[sealed]"


def test_a_ledger_that_is_much_longer_costs_nothing(store: Store, tmp_path: Path) -> None:
    Script(store).call()
    write(store, *(UserEntry(run="r-9", text="more") for _ in range(2_000)))
    last = Script(store, "r-1b")
    last.call()
    packed(store, tmp_path / "a.saferun", run="r-1b")
    with opened(tmp_path / "a.saferun") as found, played(found.path, "r-1b") as play:
        assert found.incident.manifest.entries == 4
        assert play.frame(1).frame.seq == last.first + 1
        assert play.frame(1).standing == "signed"


def test_its_runs_can_be_brought_in_elsewhere(sound: Path) -> None:
    with opened(sound) as found:
        one, child = traced(found.path, found.incident.manifest.runs)
    assert (one.run_id, one.prompt, one.agent) == ("r-1", "Refund the duplicate.", "support")
    assert (child.run_id, child.parent) == ("r-2", "r-1")
    calls = [step for step in one.steps if isinstance(step, TracedCall)]
    assert [each.args["amount"] for each in calls[:3]] == [0, 1, 2]
    assert (calls[0].result, calls[-1].ran) == ("done", False)
    # A large value is brought in whole.
    assert calls[-1].written == msgspec.json.decode(LARGE)
    assert isinstance(one.steps[-1], Said)
