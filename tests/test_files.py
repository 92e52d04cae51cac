"""Files of others are read only if they are files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from saferun.errors import PolicyError
from saferun.files import arrived, beginning, inside
from saferun.policy import load


def test_the_beginning_of_a_file_is_read_up_to_a_bound(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abcdef")
    assert beginning(file, 4) == b"abcd"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(tmp_path: Path, make):
    make(tmp_path / "p.yaml")
    with pytest.raises(OSError, match=r"ordinary file|directory"):
        beginning(tmp_path / "p.yaml", 4)
    with pytest.raises(PolicyError, match="cannot be read"):
        load(tmp_path / "p.yaml")


@pytest.mark.parametrize("link", ["b", "b/c"])
def test_no_link_is_followed_inside_a_folder(tmp_path: Path, link: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"abc")
    (tmp_path / "named").symlink_to(tmp_path / "a")
    with inside(tmp_path / "named", "b", "c") as file:
        assert file.read() == b"abc"
    (tmp_path / "a" / link).rename(tmp_path / "elsewhere")
    (tmp_path / "a" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        inside(tmp_path / "a", "b", "c")


@pytest.mark.parametrize("many", [0, 3, 200_000])
def test_what_comes_through_a_pipe_is_read_to_its_end(tmp_path: Path, many: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen([sys.executable, "-c", _WRITES, tmp_path / "pipe", str(many)]) as writer:
        assert arrived(tmp_path / "pipe", 200_000, 60) == b"x" * many
    assert writer.returncode == 0


def test_no_more_comes_through_a_pipe_than_it_may(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        subprocess.Popen([sys.executable, "-c", _WRITES, tmp_path / "pipe", "300000"]) as writer,
        pytest.raises(OSError, match="more than 200,000 bytes"),
    ):
        arrived(tmp_path / "pipe", 200_000, 60)
    assert writer.returncode == 0


_WRITES = """
import contextlib, sys
with contextlib.suppress(BrokenPipeError), open(sys.argv[1], "wb", 0) as pipe:
    pipe.write(b"x" * int(sys.argv[2]))
"""


def test_a_pipe_that_nobody_writes_to_is_not_waited_for_without_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TimeoutError):
        arrived(tmp_path / "pipe", 4, 0.01)


def test_a_pipe_that_is_never_closed_is_not_waited_for_without_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(held, b"abc")
    try:
        with pytest.raises(TimeoutError):
            arrived(tmp_path / "pipe", 4, 0.01)
        os.write(held, b"defgh")
        with pytest.raises(OSError, match="more than 4 bytes"):
            arrived(tmp_path / "pipe", 4, 60)
    finally:
        os.close(held)


@pytest.mark.parametrize("limit", [6, 10])
def test_a_file_arrives_as_it_is(tmp_path: Path, limit: int) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    assert arrived(tmp_path / "a", limit, 0) == b"abcdef"


@pytest.mark.parametrize("limit", [0, 5])
def test_a_file_that_has_more_than_it_may_does_not_arrive(tmp_path: Path, limit: int) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    with pytest.raises(OSError, match=f"it has more than {limit} bytes"):
        arrived(tmp_path / "a", limit, 0)


def test_a_folder_does_not_arrive(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        arrived(tmp_path, 4, 60)
