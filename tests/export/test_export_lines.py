"""A file of lines that only grows."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from export.shelf import Shelf, about, root
from saferun.export import ExportError, jsonl, lines, pieces
from saferun.ledger import Verifier, open_checkpoint
from saferun.store import Reader


def grow(shelf: Shelf, path: Path, size: int, **more: str) -> int:
    with Reader(shelf.file) as reader:
        return lines.grow(
            path,
            about(**more),
            size,
            lambda first: pieces(reader, first, size),
            lambda piece: piece.body + b"\n",
            b"head\n",
        )


def whole(shelf: Shelf, size: int) -> bytes:
    return b"head\n" + b"".join(body + b"\n" for body in shelf.bodies()[:size])


def test_a_second_export_adds_what_is_new(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "out"
    shelf.fill(5)
    assert grow(shelf, path, 5) == 5
    shelf.fill(9)
    assert grow(shelf, path, 9) == 4
    assert grow(shelf, path, 9) == 0
    assert path.read_bytes() == whole(shelf, 9)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("torn", [b"half a li", b"a whole line\n", b"\0" * 4096])
def test_what_a_crash_left_behind_is_written_anew(
    shelf: Shelf, tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "out"
    shelf.fill(9)
    grow(shelf, path, 5)
    with path.open("ab") as file:
        file.write(torn)
    grow(shelf, path, 9)
    assert path.read_bytes() == whole(shelf, 9)


def test_one_that_stopped_halfway_goes_on(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "SYNCED", 10)
    path = tmp_path / "out"
    shelf.fill(95)
    asked: list[int] = []
    with Reader(shelf.file) as reader:

        def some(first: int):
            asked.append(first)
            for piece in pieces(reader, first, 95):
                if piece.seq == first + 37:
                    raise KeyboardInterrupt
                yield piece

        for _ in range(2):
            with contextlib.suppress(KeyboardInterrupt):
                lines.grow(path, about(), 95, some, lambda piece: piece.body + b"\n", b"head\n")
    assert asked == [0, 30]
    assert grow(shelf, path, 95) == 95 - 60
    assert path.read_bytes() == whole(shelf, 95)


def test_a_file_that_is_something_else_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"mine")
    with pytest.raises(ExportError, match="there already"):
        grow(shelf, path, 1)
    assert path.read_bytes() == b"mine"
    with pytest.raises(ExportError, match="no ordinary file"):
        grow(shelf, tmp_path, 1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ExportError, match="no ordinary file"):
        grow(shelf, pipe, 1)


def test_an_export_of_something_else_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "out"
    shelf.fill(5)
    grow(shelf, path, 5)
    with pytest.raises(ExportError, match="something else"):
        grow(shelf, path, 5, agent="support")


@pytest.mark.parametrize("change", ["line", "cut", "state"])
def test_a_file_that_was_changed_does_not_go_on(shelf: Shelf, tmp_path: Path, change: str) -> None:
    path = tmp_path / "out"
    shelf.fill(9)
    grow(shelf, path, 5)
    kept = path.read_bytes()
    if change == "line":
        path.write_bytes(kept.replace(b"word 3", b"word 4"))
    elif change == "cut":
        path.write_bytes(kept[:-10])
    else:
        path.with_name("out.state").write_bytes(b"{")
    before = path.read_bytes()
    with pytest.raises(ExportError, match="was changed"):
        grow(shelf, path, 9)
    assert path.read_bytes() == before


def test_a_ledger_that_has_lost_entries_is_not_gone_on_with(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "out"
    shelf.fill(9)
    grow(shelf, path, 9)
    with pytest.raises(ExportError, match="lost"):
        grow(shelf, path, 5)


def test_two_never_write_one_file(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "out"
    with lines.GrowingFile(path, about()), pytest.raises(ExportError, match="Another export"):
        grow(shelf, path, 1)
    grow(shelf, path, 1)


def test_an_auditor_verifies_the_lines_by_their_checkpoint(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for size in (1, 2, 7, 300, 300):
        shelf.fill(size)
        jsonl.export(path, shelf.note(), about(), shelf.given)
        note = path.with_name("out.jsonl.checkpoint").read_bytes()
        stated = open_checkpoint(note, [Verifier(shelf.vkey)])
        read = path.read_bytes().split(b"\n")
        assert read.pop() == b""
        assert (len(read), root(read)) == (stated.size, stated.root)
        assert read == shelf.bodies()


def test_nothing_is_vouched_for_that_does_not_come_to_the_root(
    shelf: Shelf, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    shelf.fill(9)
    note = shelf.note()

    def others(first: int, size: int):
        return ((seq, body.replace(b"word", b"work")) for seq, body in shelf.given(first, size))

    with pytest.raises(ExportError, match="root"):
        jsonl.export(path, note, about(), others)
    assert not path.with_name("out.jsonl.checkpoint").exists()
    jsonl.export(path, note, about(), shelf.given)
    assert path.with_name("out.jsonl.checkpoint").exists()


@pytest.mark.parametrize("edge", ["", "AAAA", "!", "AAAAAAAAAAA="])
def test_what_lies_beside_the_lines_is_not_believed(
    shelf: Shelf, tmp_path: Path, edge: str
) -> None:
    path = tmp_path / "out.jsonl"
    shelf.fill(9)
    jsonl.export(path, shelf.note(), about(), shelf.given)
    state = path.with_name("out.jsonl.state")
    kept = json.loads(state.read_bytes())
    state.write_text(json.dumps({**kept, "edge": edge}))
    with pytest.raises(ExportError, match="was changed"):
        jsonl.export(path, shelf.note(), about(), shelf.given)


KILLED = """
import os, signal, sys
from pathlib import Path
from saferun.export import bodies, jsonl, lines, tiles
from saferun.store import Reader
file, out, form, left = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
lines.SYNCED = 20
note = Path(sys.argv[5]).read_bytes()
synced = os.fsync

def fsync(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    synced(descriptor)

os.fsync = fsync
with Reader(file) as reader:
    given = lambda first, size: bodies(reader, first, size)
    if form == "tiles":
        tiles.export(out, note, given)
    else:
        jsonl.export(out, note, {"format": "jsonl", "first": "00"}, given)
"""


def killed(shelf: Shelf, out: Path, form: str, after: int) -> None:
    """An export that is killed at one of its writes to the disk, by their number."""
    note = out.with_name("note")
    note.write_bytes(shelf.note())
    command = [sys.executable, "-c", KILLED, shelf.file, out, form, str(after), note]
    done = subprocess.run([str(each) for each in command], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5, 9, 14])
def test_one_that_was_killed_goes_on_to_the_same_bytes(
    shelf: Shelf, tmp_path: Path, after: int
) -> None:
    path = tmp_path / "out.jsonl"
    shelf.fill(190)
    killed(shelf, path, "jsonl", after)
    assert not path.with_name("out.jsonl.checkpoint").exists()
    jsonl.export(path, shelf.note(), about(), shelf.given)
    assert path.read_bytes() == b"".join(body + b"\n" for body in shelf.bodies())
    assert path.with_name("out.jsonl.checkpoint").read_bytes() == shelf.note()
