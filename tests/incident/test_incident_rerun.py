"""An incident file in a rerun: what it lacks is said before anything is made again."""

from pathlib import Path

import pytest

from incident.incidents import Hiding, packed
from incident.test_incident_opened import hidden
from saferun import rerun
from saferun.errors import StoreError
from saferun.store import Store


def test_what_was_redacted_for_somebody_is_not_made_again(world: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.saferun"
    packed(world, file, redact=Hiding(hidden))
    with (
        pytest.raises(StoreError, match=r"'r-1' cannot be made again: entry \d+ was redacted"),
        rerun(file),
    ):
        raise AssertionError("nothing begins")


def test_a_child_whose_root_is_not_in_the_file_is_not_made_again(
    world: Store, tmp_path: Path
) -> None:
    file = tmp_path / "child.saferun"
    packed(world, file, run="r-2")
    with (
        pytest.raises(StoreError, match="'r-2' cannot be made again: it began in run 'r-1', which"),
        rerun(file),
    ):
        raise AssertionError("nothing begins")
