"""Views of runs that people have named: kept beside the store, bounded, and never trusted."""

import json
import multiprocessing
from pathlib import Path

import pytest

from saferun.store.views import MAX_NAME, MAX_VALUE, MOST, View, ViewError, Views


@pytest.fixture
def views(tmp_path: Path) -> Views:
    return Views(tmp_path / "saferun.db")


def test_a_view_is_there_for_its_owner_after_a_restart(views: Views, tmp_path: Path) -> None:
    views.keep("dana", View(name="Refunds", trait="denied", tool="refund"))
    again = Views(tmp_path / "saferun.db")
    assert again.of("dana") == [View(name="Refunds", trait="denied", tool="refund")]
    assert again.of("erik") == []


def test_a_view_of_the_same_name_is_put_in_its_place(views: Views) -> None:
    views.keep("dana", View(name="a"))
    views.keep("dana", View(name="b"))
    views.keep("dana", View(name="a", agent="x"))
    assert views.of("dana") == [View(name="a", agent="x"), View(name="b")]


def test_a_view_is_renamed_and_deleted(views: Views) -> None:
    views.keep("dana", View(name="a"))
    views.keep("dana", View(name="b"))
    views.rename("dana", "a", "c")
    assert [each.name for each in views.of("dana")] == ["c", "b"]
    with pytest.raises(ViewError, match="already"):
        views.rename("dana", "c", "b")
    views.drop("dana", "c")
    views.drop("dana", "b")
    assert views.of("dana") == []
    with pytest.raises(ViewError, match="no such view"):
        views.drop("dana", "b")
    assert "dana" not in json.loads(views.path.read_bytes())


@pytest.mark.parametrize(
    "view",
    [
        View(name=""),
        View(name="  "),
        View(name="n" * (MAX_NAME + 1)),
        View(name="n", text="t" * (MAX_VALUE + 1)),
    ],
)
def test_what_is_too_long_or_has_no_name_is_not_kept(views: Views, view: View) -> None:
    with pytest.raises(ViewError):
        views.keep("dana", view)
    assert views.of("dana") == []


def test_a_person_has_so_many_views(views: Views) -> None:
    for number in range(MOST):
        views.keep("dana", View(name=str(number)))
    with pytest.raises(ViewError, match="the most"):
        views.keep("dana", View(name="one more"))
    views.keep("erik", View(name="one more"))


def test_a_file_that_was_made_into_something_else_has_no_views(views: Views) -> None:
    for data in (b"", b"[]", b"\xff", b'{"dana": [{"name": 5}]}', b"[" * 100_000):
        views.path.write_bytes(data)
        assert views.of("dana") == []
    views.path.write_text(json.dumps({"dana": [{"name": "n" * 1_000}, {"name": "fine"}]}))
    assert views.of("dana") == [View(name="fine")]


def test_views_are_found_by_name_and_by_whose_they_are(views: Views) -> None:
    views.keep("dana", View(name="mine"))
    views.keep("erik", View(name="mine"))
    assert [whose for whose, _ in views.named("mine")] == ["dana", "erik"]
    assert [whose for whose, _ in views.named("erik/mine")] == ["erik"]
    assert views.named("nothing") == []


def test_the_file_is_for_its_owner_alone(views: Views) -> None:
    views.keep("dana", View(name="mine"))
    assert views.path.stat().st_mode & 0o077 == 0


def _keep(path: Path, person: str) -> None:
    for number in range(10):
        Views(path).keep(person, View(name=str(number)))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "saferun.db"
    spawned = multiprocessing.get_context("fork")
    some = [spawned.Process(target=_keep, args=(path, name)) for name in ("dana", "erik")]
    for each in some:
        each.start()
    for each in some:
        each.join()
    assert [len(Views(path).of(name)) for name in ("dana", "erik")] == [10, 10]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="cannot be written"):
        Views(tmp_path / "no folder" / "saferun.db").keep("dana", View(name="a"))
