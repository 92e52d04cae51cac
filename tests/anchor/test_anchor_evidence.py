"""What places outside say of a ledger that is verified: what lies there, and who has signed it."""

from pathlib import Path

import pytest

from anchor.witnessing import listening
from saferun.anchor import evidence, go_round
from saferun.anchor.folder import FolderPlace
from saferun.anchor.witness import WitnessPlace
from saferun.store import Anchored, Reader, Store, keep_anchored
from storing import admit


@pytest.fixture
def store(tmp_path: Path):
    made = Store(f"sqlite:///{tmp_path}/store/saferun.db", durability="process")
    made.commit(admit(made))
    yield made
    made.close()


def said(store: Store, *places):
    with Reader(store.path) as reader:
        return evidence(reader, places)


def test_a_folder_is_read_as_it_is_now_and_not_as_the_store_remembers_it(store, tmp_path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    place = FolderPlace("vault", vault)
    assert said(store, place).checkpoints == ()
    go_round(store.path, [place])
    assert [each.size for each in said(store, place).checkpoints] == [2]
    for file in vault.iterdir():
        file.unlink()
    assert said(store, place).checkpoints == ()


def test_a_folder_that_is_not_there_says_nothing(store, tmp_path) -> None:
    assert said(store, FolderPlace("vault", tmp_path / "none")) == ((), None)


def test_a_witness_counts_by_its_own_line_alone(store) -> None:
    with listening() as server:
        server.logs[store.origin] = store.signer().vkey()
        place = WitnessPlace("w1", server.url, server.vkey)
        go_round(store.path, [place])
        assert [each.size for each in said(store, place).checkpoints] == [2]
    with listening(name="witness.test/w2", seed=b"x" * 32) as other:
        stranger = WitnessPlace("w1", other.url, other.vkey)
        assert said(store, stranger).checkpoints == ()


def test_a_note_that_is_none_is_a_doubt_where_a_witness_is_asked(store) -> None:
    kept = Anchored("w1", 2, 1, b"not a note", 1, None, against=False)
    keep_anchored(store.path, [kept])
    with listening() as server:
        place = WitnessPlace("w1", server.url, server.vkey)
        assert "does not open" in str(said(store, place).doubt)
    assert said(store) == ((), None)
