"""Noticing that files change."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from saferun.suites.watch import changes


class EndError(Exception):
    pass


def _seen(folder: Path, *happen: Callable[[], object]) -> int:
    """How often a change is seen while these things happen, one between two looks."""
    left = iter(happen)

    def wait() -> None:
        try:
            next(left)()
        except StopIteration:
            raise EndError from None

    seen = 0
    with contextlib.suppress(EndError):
        for _ in changes(folder, wait):
            seen += 1
    return seen


@pytest.fixture
def policies(tmp_path) -> Path:
    folder = tmp_path / "policies"
    (folder / "lists").mkdir(parents=True)
    (folder / "a.yaml").write_text("version: 1\n")
    (folder / "lists" / "leads.txt").write_text("dana\n")
    return folder


def test_the_first_look_counts_and_nothing_more_where_nothing_changes(policies) -> None:
    assert _seen(policies, lambda: None, lambda: None) == 1


def test_a_change_of_any_file_below_is_seen_once(policies) -> None:
    leads = policies / "lists" / "leads.txt"
    assert _seen(policies, lambda: leads.write_text("dana\nalex\n"), lambda: None) == 2


def test_a_file_of_the_same_size_is_another_at_another_time(policies) -> None:
    file = policies / "a.yaml"
    assert _seen(policies, lambda: os.utime(file, ns=(1, 1)), lambda: None) == 2


def test_a_file_that_comes_or_goes_is_a_change(policies) -> None:
    new = policies / "b.test.yaml"
    assert _seen(policies, lambda: new.write_text("cases: []"), new.unlink, lambda: None) == 3


def test_hidden_folders_and_broken_links_are_passed_over(policies) -> None:
    (policies / ".git").mkdir()
    (policies / "gone").symlink_to("nowhere")
    assert _seen(policies, lambda: (policies / ".git" / "index").write_text("x")) == 1
