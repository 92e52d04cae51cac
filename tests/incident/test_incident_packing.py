"""What goes into an incident file, and who vouches for it."""

import errno
import os
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from incident.incidents import LARGE, NAME, POLICY, SALT, Hiding, apart, incident, key, packed
from recording import Script, indexed, tamper, write
from saferun.errors import StoreError
from saferun.incident import IncidentError, examine, pack
from saferun.ledger import Entry, UserEntry, Verifier, commit, read, sealed
from saferun.store import Enrol, Reader, Store, checkpoint
from saferun.store.signing import folder_of
from saferun.store.succession import rotate


def entries(file: Path) -> list[Entry]:
    return [read(line) for line in apart(file).parts["entries.jsonl"].splitlines()]


def test_the_run_goes_in_with_its_children_and_nobody_elses(sound: Path) -> None:
    found = entries(sound)
    assert found[0].kind == "ledger"
    assert {each.fields.get("run") for each in found} == {None, "r-1", "r-2"}
    assert b"secret number" not in apart(sound).parts["entries.jsonl"]
    [turn] = [each for each in found if each.kind == "control"]
    assert turn.fields["scope"] == "all"


def test_entries_are_the_bytes_of_the_ledger(world: Store, sound: Path) -> None:
    lines = apart(sound).parts["entries.jsonl"].splitlines()
    with Reader(world.path) as reader:
        assert lines == [reader.body(read(line).seq) for line in lines]


def test_large_values_and_policies_lie_beside_them(sound: Path) -> None:
    parts = apart(sound).parts
    assert parts[f"blobs/{NAME.hex()}"] == SALT + LARGE
    assert parts[f"policies/{POLICY.version}.json"] == POLICY.canonical


def test_any_program_that_unpacks_zips_unpacks_it(sound: Path) -> None:
    with zipfile.ZipFile(sound) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == list(apart(sound).parts)


def test_the_same_run_gives_the_same_bytes(world: Store, sound: Path, tmp_path: Path) -> None:
    packed(world, tmp_path / "again.saferun")
    assert (tmp_path / "again.saferun").read_bytes() == sound.read_bytes()


def test_the_ledgers_key_vouches_for_all_of_it(world: Store, sound: Path) -> None:
    found = examine(sound, [key(world)])
    assert (found.state, found.exit_code, found.by) == ("verified", 0, key(world).vkey)
    assert (found.values, found.policies, found.missing, found.sealed) == (1, 1, 0, 0)


def test_without_a_key_from_outside_it_is_whole_and_no_more(sound: Path) -> None:
    found = examine(sound)
    assert (found.state, found.exit_code, found.by) == ("whole", 2, None)


def test_where_the_key_is_not_here_nobody_has_signed_it(store: Store, tmp_path: Path) -> None:
    incident(store)
    file = tmp_path / "a.saferun"
    told = packed(store, file, signed=False)
    assert (told.signed, told.vouched) == (False, False)
    found = examine(file, [key(store)])
    assert (found.covered, found.signed, found.exit_code) == (False, False, 2)
    assert "nobody has signed" in found.summary


def test_a_checkpoint_alone_proves_entries_and_not_that_none_was_taken_out(
    store: Store, tmp_path: Path
) -> None:
    incident(store)
    store.flush()
    with Reader(store.path) as reader:
        checkpoint(store.path, reader.signer())
    packed(store, tmp_path / "a.saferun", signed=False)
    found = examine(tmp_path / "a.saferun", [key(store)])
    assert (found.covered, found.signed, found.exit_code) == (True, False, 2)
    assert "some may have been taken out" in found.summary


def test_a_key_that_was_rotated_is_followed_from_an_earlier_one(
    store: Store, tmp_path: Path
) -> None:
    store.commit(Enrol("dana", b"dana's"))
    before = key(store)
    run = incident(store)
    rotate(store, "dana", b"dana's", "yearly")
    packed(store, tmp_path / "before.saferun")
    # A run of after the change goes out with the entry by which the key before named the next.
    Script(store, "r-late").call()
    packed(store, tmp_path / "after.saferun", run="r-late")
    assert run
    after = key(store)
    assert after.vkey != before.vkey
    found = examine(tmp_path / "after.saferun", [before])
    assert (found.exit_code, found.by) == (0, after.vkey)
    assert "key" in {each.kind for each in entries(tmp_path / "after.saferun")}


def test_another_ledgers_key_refuses_it(world: Store, sound: Path, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path}/other/saferun.db", durability="process")
    stranger = key(other)
    other.close()
    with pytest.raises(IncidentError, match="not signed by a key that the key that was given"):
        examine(sound, [stranger])
    assert examine(sound, [stranger, key(world)]).by == key(world).vkey


def test_a_changed_entry_is_not_handed_on(store: Store, tmp_path: Path) -> None:
    run = incident(store)
    store.flush()
    tamper(store.path, run.first + 2, b'"amount":0', b'"amount":9')
    with pytest.raises(StoreError, match="no longer what was written"):
        packed(store, tmp_path / "a.saferun", signed=False)
    assert not list(tmp_path.glob("*saferun*.saferun*"))


def test_an_entry_that_was_changed_with_its_leaf_is_not_handed_on(
    store: Store, tmp_path: Path
) -> None:
    run = incident(store)
    store.flush()
    with Reader(store.path) as reader:
        checkpoint(store.path, reader.signer())
    tamper(store.path, run.first + 2, b'"amount":0', b'"amount":9', leaf=True)
    with pytest.raises(StoreError, match="the ledger was changed"):
        packed(store, tmp_path / "a.saferun")


def test_nodes_that_are_wrong_cost_time_and_nothing_else(store: Store, tmp_path: Path) -> None:
    run = incident(store)
    write(store, *(UserEntry(run="r-9", text="more") for _ in range(600)))
    packed(store, tmp_path / "a.saferun")
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE node SET hash = ?", (bytes(32),))
    packed(store, tmp_path / "b.saferun")
    assert run
    assert (tmp_path / "a.saferun").read_bytes() == (tmp_path / "b.saferun").read_bytes()


def test_a_large_value_that_is_gone_is_missing_and_breaks_nothing(
    store: Store, tmp_path: Path
) -> None:
    incident(store)
    store.flush()
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM blob")
    assert packed(store, tmp_path / "a.saferun").missing == 1
    found = examine(tmp_path / "a.saferun", [key(store)])
    assert (found.exit_code, found.missing) == (0, 1)


def test_sealed_values_stay_sealed(store: Store, tmp_path: Path) -> None:
    own = commit(b"0" * 16, "text", b'"maria@example.com"')
    run = Script(store)
    write(store, UserEntry(run="r-1", text=sealed(own), sealed={own.hex(): "text"}))
    run.end()
    assert packed(store, tmp_path / "a.saferun").sealed == 1
    assert examine(tmp_path / "a.saferun").sealed == 1
    assert b"maria@example" not in (tmp_path / "a.saferun").read_bytes()


def test_a_disk_that_is_full_leaves_nothing_half(
    world: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.checkpoint()
    file = tmp_path / "a.saferun"
    file.write_bytes(b"what was there")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        packed(world, file)
    assert file.read_bytes() == b"what was there"
    assert [each.name for each in tmp_path.iterdir() if "saferun" in each.name] == ["a.saferun"]


def test_only_whoever_has_made_it_can_read_it(world: Store, tmp_path: Path) -> None:
    packed(world, tmp_path / "a.saferun")
    assert (tmp_path / "a.saferun").stat().st_mode & 0o777 == 0o600


def test_a_run_that_nobody_knows_is_no_file(world: Store, tmp_path: Path) -> None:
    with pytest.raises(IncidentError, match="no entry of run 'r-none'"):
        packed(world, tmp_path / "a.saferun", run="r-none")


def test_a_child_goes_out_alone(world: Store, tmp_path: Path) -> None:
    packed(world, tmp_path / "a.saferun", run="r-2")
    assert examine(tmp_path / "a.saferun", [key(world)]).manifest.runs == ["r-2"]


def hidden(entry: Entry) -> Entry | None:
    """Hides what was asked for, and leaves model turns out."""
    if entry.kind == "model":
        return None
    if entry.fields.get("tool") != "refund" or "args" not in entry.fields:
        return entry
    fields = {**entry.fields, "args": {"amount": "number-1"}}
    fields.pop("blobs", None)
    return msgspec.structs.replace(entry, fields=fields)


def test_what_is_redacted_is_in_no_byte_and_the_rest_is_still_proven(
    world: Store, tmp_path: Path
) -> None:
    file = tmp_path / "a.saferun"
    told = packed(world, file, redact=Hiding(hidden))
    assert (told.redacted, told.left_out, told.values) == (21, 1, 0)
    parts = apart(file).parts
    assert f"blobs/{NAME.hex()}" not in parts
    assert b'"amount":7' not in parts["entries.jsonl"]
    found = examine(file, [key(world)])
    assert found.exit_code == 0
    assert found.proven == found.manifest.entries - 21
    assert found.manifest.left_out == 1


def test_words_that_were_redacted_are_vouched_for_by_the_signature_alone(
    world: Store, tmp_path: Path
) -> None:
    packed(world, tmp_path / "a.saferun", redact=Hiding(hidden), signed=False)
    found = examine(tmp_path / "a.saferun", [key(world)])
    assert (found.signed, found.exit_code) == (False, 2)


def test_a_redacted_entry_stays_the_entry_that_it_was(world: Store, tmp_path: Path) -> None:
    def wrong(entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, time=entry.time + 1)

    with pytest.raises(ValueError, match="keeps its number, time, kind and run"):
        packed(world, tmp_path / "a.saferun", redact=Hiding(wrong))


def test_a_key_that_an_entry_names_is_never_redacted(world: Store, tmp_path: Path) -> None:
    def nameless(entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, fields={**entry.fields, "host": "hidden"})

    def keyless(entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, fields={**entry.fields, "vkey": None})

    packed(world, tmp_path / "a.saferun", redact=Hiding(nameless))
    found = examine(tmp_path / "a.saferun", [key(world)])
    assert (found.exit_code, found.proven, found.keys[0][1]) == (0, 0, key(world).vkey)
    with pytest.raises(ValueError, match="goes on to name it"):
        packed(world, tmp_path / "a.saferun", redact=Hiding(keyless))


def test_all_entries_are_looked_at_before_the_first_goes_out(world: Store, tmp_path: Path) -> None:
    redact = Hiding(lambda entry: entry)
    many = packed(world, tmp_path / "a.saferun", redact=redact).entries
    assert len(redact.met) == many


def test_what_came_in_a_file_is_handed_on_as_that_file(sound: Path, tmp_path: Path) -> None:
    from saferun.incident import opened

    with (
        opened(sound) as found,
        indexed(found.path) as index,
        pytest.raises(IncidentError, match="hand on that file"),
    ):
        pack(index, "r-1", tmp_path / "a.saferun")


def test_keys_and_marks_of_the_store_are_not_in_it(world: Store, sound: Path) -> None:
    for each in folder_of(world.path).iterdir():
        if each.suffix == ".key":
            assert each.read_bytes().strip() not in sound.read_bytes()
    assert isinstance(key(world), Verifier)
