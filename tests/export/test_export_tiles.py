"""A ledger as the files of a C2SP tiled log, held against an independent reader."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.tiles import tile_path as their_path

from export.shelf import Shelf, tree
from export.test_export_lines import killed
from saferun.export import ExportError, tiles
from saferun.ledger import Verifier, leaf_hash, open_checkpoint


def theirs(folder: Path) -> TilesReader:
    reader = TilesReader(LocalBackend(folder))
    reader.get_checkpoint()
    return reader


def verified(shelf: Shelf, folder: Path) -> None:
    """What somebody makes of a folder who has nothing else but the ledger's key."""
    stated = open_checkpoint((folder / "checkpoint").read_bytes(), [Verifier(shelf.vkey)])
    reader = theirs(folder)
    assert reader.size == stated.size
    assert reader.calculate_root_hash() == stated.root
    bodies = shelf.bodies()
    for seq in range(0, stated.size, 7):
        assert reader.get_entry(seq) == bodies[seq]
        leaf = leaf_hash(bodies[seq])
        reader.get_inclusion_proof(seq, stated.size).check(leaf, stated.root)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 512, 700])
def test_an_independent_reader_verifies_it(shelf: Shelf, tmp_path: Path, size: int) -> None:
    shelf.fill(size)
    assert tiles.export(tmp_path / "log", shelf.note(), shelf.given) == size
    verified(shelf, tmp_path / "log")


def test_three_levels_are_verified_too(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the real width, a third level needs 65,536 entries; these are all there is to them.
    bodies = [b"entry %d" % seq for seq in range(65_536 + 300)]
    from saferun.ledger import Checkpoint, Frontier

    frontier = Frontier()
    for body in bodies:
        frontier.append(leaf_hash(body))
    note = (
        Checkpoint("a.test/log", len(bodies), frontier.root()).text().encode() + b"\n\xe2\x80\x94"
    )
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(
        tiles, "stated", lambda _: Checkpoint("a.test/log", len(bodies), frontier.root())
    )
    folder = tmp_path / "log"
    tiles.export(folder, note, lambda first, size: list(enumerate(bodies))[first:size])
    names = {name.split("/")[1] for name in tree(folder) if name.startswith("tile/")}
    assert names == {"0", "1", "2", "entries"}
    reader = TilesReader(LocalBackend(folder))
    reader.set_size(len(bodies))
    assert reader.calculate_root_hash() == frontier.root()
    # And one that goes on behind it finds the hashes that it needs in the tiles.
    (folder / "checkpoint").unlink()
    (folder / tiles.tile_path(1, 0)).unlink()
    tiles.export(folder, note, lambda first, size: list(enumerate(bodies))[first:size])
    assert reader.calculate_root_hash() == frontier.root()


def test_growing_in_place_makes_what_one_export_makes(shelf: Shelf, tmp_path: Path) -> None:
    folder, note = tmp_path / "log", b""
    asked: list[int] = []

    def given(first: int, size: int):
        asked.append(first)
        return shelf.given(first, size)

    for size in (3, 200, 256, 256, 300, 520, 800):
        shelf.fill(size)
        note = shelf.note()
        tiles.export(folder, note, given)
        verified(shelf, folder)
    # What the folder has is not asked for again, and what is behind full tiles is written anew.
    assert asked == [0, 3, 200, 256, 256, 300, 520]
    tiles.export(tmp_path / "once", note, shelf.given)
    once, grown = tree(tmp_path / "once"), tree(folder)
    assert once.items() <= grown.items()
    # Widths of before that are still the last of their level may be asked for by older readers.
    assert all(".p/" in name for name in grown.keys() - once.keys())
    assert "tile/0/000.p/3" not in grown


def test_old_and_new_checkpoints_are_consistent(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shelf.fill(300)
    tiles.export(folder, shelf.note(), shelf.given)
    old = theirs(folder).get_checkpoint()
    shelf.fill(777)
    tiles.export(folder, shelf.note(), shelf.given)
    reader = theirs(folder)
    new = reader.get_checkpoint()
    reader.get_consistency_proof(old.size, new.size).check(old.root_hash, new.root_hash)


@given(st.integers(0, 2) | st.just(-1), st.integers(0, 10**10), st.integers(0, 255))
def test_tiles_lie_where_others_look_for_them(level: int, number: int, width: int) -> None:
    own = tiles.tile_path("entries" if level < 0 else level, number, width or tiles.WIDTH)
    assert own == "/".join(their_path(level, number, width))


def test_the_example_of_the_specification() -> None:
    assert tiles.tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert list(tiles.widths(70_000)) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(tiles.widths(256)) == [(1, 0, 1)]


def test_what_does_not_come_to_the_root_is_not_published(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shelf.fill(300)
    tiles.export(folder, shelf.note(), shelf.given)
    before = (folder / "checkpoint").read_bytes()
    path = folder / "tile/0/000"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    shelf.fill(400)
    with pytest.raises(ExportError, match="root"):
        tiles.export(folder, shelf.note(), shelf.given)
    assert (folder / "checkpoint").read_bytes() == before


@pytest.mark.parametrize("tear", [1, 500, None])
def test_entries_behind_the_full_tiles_are_asked_for_where_they_are_not_what_was_published(
    shelf: Shelf, tmp_path: Path, tear: int | None
) -> None:
    folder = tmp_path / "log"
    shelf.fill(300)
    tiles.export(folder, shelf.note(), shelf.given)
    path = folder / "tile/entries/001.p/44"
    data = path.read_bytes()
    path.write_bytes(data[:-tear] if tear else data.replace(b"word 280", b"word 281"))
    shelf.fill(400)
    tiles.export(folder, shelf.note(), shelf.given)
    verified(shelf, folder)


def test_a_torn_tile_is_named(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shelf.fill(300)
    tiles.export(folder, shelf.note(), shelf.given)
    path = folder / "tile/0/000"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExportError, match="tile/0/000"):
        tiles.export(folder, shelf.note(), shelf.given)


def test_a_folder_that_is_ahead_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shelf.fill(5)
    old = shelf.note()
    shelf.fill(9)
    tiles.export(folder, shelf.note(), shelf.given)
    with pytest.raises(ExportError, match="9 entries"):
        tiles.export(folder, old, shelf.given)


def test_a_folder_with_another_checkpoint_in_it_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "checkpoint").write_bytes(b"\xff\n\nmine")
    with pytest.raises(ExportError, match="none of ours"):
        tiles.export(folder, shelf.note(), shelf.given)


@pytest.mark.parametrize("after", [0, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21])
def test_one_that_was_killed_goes_on_and_publishes_nothing_before(
    shelf: Shelf, tmp_path: Path, after: int
) -> None:
    folder = tmp_path / "log"
    shelf.fill(600)
    killed(shelf, folder, "tiles", after)
    assert not (folder / "checkpoint").exists()
    for name, data in tree(folder).items():
        assert "entries" in name or len(data) % 32 == 0
    tiles.export(folder, shelf.note(), shelf.given)
    tiles.export(tmp_path / "once", shelf.note(), shelf.given)
    assert tree(folder) == tree(tmp_path / "once")
