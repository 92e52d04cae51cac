"""Files of others are read only if they are files."""

import os
from pathlib import Path

import pytest

from saferun.errors import PolicyError
from saferun.files import beginning
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
