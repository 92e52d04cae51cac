"""A folder keeps a file for each checkpoint, replaces none, and is held against the ledger."""

import errno
import os
from pathlib import Path

import pytest

from anchor.offering import SIGNER, bodies, offered, take
from saferun.anchor import AnchorError, Offered, RefusedError
from saferun.anchor.folder import FolderPlace
from saferun.anchor.place import Former
from saferun.ledger import Signer, Verifier, open_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    return path


@pytest.fixture
def place(folder: Path) -> FolderPlace:
    return FolderPlace("share", folder)


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_checkpoint_has_a_file_of_its_own(place, folder) -> None:
    for calls in (1, 3):
        take(place, offered(bodies(calls)))
    assert held(folder) == [
        "saferun-local-default.000000000000000004.checkpoint",
        "saferun-local-default.000000000000000008.checkpoint",
    ]
    newest = (folder / held(folder)[-1]).read_bytes()
    assert open_checkpoint(newest, [Verifier(SIGNER.vkey())]).size == 8


def test_an_unchanged_ledger_writes_nothing(place, folder) -> None:
    take(place, offered(bodies(1)))
    before = (folder / held(folder)[0]).stat()
    take(place, offered(bodies(1)))
    assert (folder / held(folder)[0]).stat() == before


def test_a_cut_ledger_is_refused_and_nothing_is_written(place, folder) -> None:
    take(place, offered(bodies(3)))
    with pytest.raises(RefusedError, match="checkpoint over 8 entries, and this ledger has 4"):
        take(place, offered(bodies(1)))
    assert len(held(folder)) == 1


@pytest.mark.parametrize("calls", [3, 5])
def test_a_rewritten_ledger_is_refused_whether_or_not_it_has_grown(place, folder, calls) -> None:
    take(place, offered(bodies(3)))
    forged = [body.replace(b"support", b"finance") for body in bodies(calls)]
    with pytest.raises(RefusedError, match=r"8 entries that are not the first 8 .* rewritten"):
        take(place, offered(forged))
    assert len(held(folder)) == 1


ANEW = Signer("saferun.local/anew", b"n" * 32)


def restarted(of: list[bytes], size: int) -> Offered:
    """What is offered of a ledger that was called otherwise when it had `size` entries."""
    verifiers = [Verifier(signer.vkey()) for signer in (SIGNER, ANEW)]
    former = [Former(SIGNER.name, size)]
    return offered(of, ANEW)._replace(verifiers=verifiers, former=former)


def test_after_a_restart_files_of_the_former_name_are_held_against_the_ledger(place, folder):
    take(place, offered(bodies(1)))
    take(place, restarted(bodies(3), 6))
    assert len(held(folder)) == 2
    forged = [body.replace(b"support", b"finance") for body in bodies(5)]
    with pytest.raises(RefusedError, match=r"4 entries that are not the first 4 .* rewritten"):
        take(place, restarted(forged, 6))
    assert len(held(folder)) == 2


def test_after_a_restart_what_was_lost_is_not_held_against_the_ledger(place, folder):
    for calls in (1, 4):
        take(place, offered(bodies(calls)))
    # From entry 6 on it goes on otherwise than before.
    others = [body.replace(b"A-2", b"A-7") for body in bodies(5)]
    take(place, restarted(others, 6))
    assert len(held(folder)) == 3


@pytest.mark.parametrize("note", [b"", b"hello\n", b"\xff" * 100])
def test_what_others_have_put_there_counts_for_nothing(place, folder, note) -> None:
    (folder / f"saferun-local-default.{'9' * 18}.checkpoint").write_bytes(note)
    (folder / "readme.txt").write_bytes(note)
    os.mkfifo(folder / f"saferun-local-default.{'8' * 18}.checkpoint")
    take(place, offered(bodies(1)))
    assert "saferun-local-default.000000000000000004.checkpoint" in held(folder)


def test_a_longer_checkpoint_by_another_key_counts_for_nothing(place, folder) -> None:
    take(FolderPlace("share", folder), offered(bodies(9), Signer(SIGNER.name, b"x" * 32)))
    take(place, offered(bodies(1)))
    assert len(held(folder)) == 2


def test_a_file_in_the_way_is_never_replaced(place, folder) -> None:
    path = folder / "saferun-local-default.000000000000000004.checkpoint"
    path.write_bytes(b"something else")
    with pytest.raises(AnchorError, match="is there already"):
        take(place, offered(bodies(1)))
    assert path.read_bytes() == b"something else"
    assert held(folder) == [path.name]


def test_a_share_without_links_gets_whole_files_too(place, folder, monkeypatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    take(place, offered(bodies(1)))
    take(place, offered(bodies(3)))
    assert len(held(folder)) == 2


def test_a_full_disk_leaves_nothing_half_written(place, folder, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AnchorError, match="cannot be written: No space left"):
        take(place, offered(bodies(1)))
    assert held(folder) == []


def test_a_folder_that_is_not_mounted_is_told_and_not_made(tmp_path) -> None:
    with pytest.raises(AnchorError, match="There is no folder"):
        take(FolderPlace("share", tmp_path / "gone"), offered(bodies(1)))
    assert not (tmp_path / "gone").exists()


def test_a_ledgers_name_never_leads_out_of_the_folder(folder) -> None:
    signer = Signer("../../etc/x", b"s" * 32)
    take(FolderPlace("share", folder), offered(bodies(1), signer))
    assert held(folder) == ["etc-x.000000000000000004.checkpoint"]
