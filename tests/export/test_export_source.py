"""What is exported: entries in their order, each held against its leaf."""

import pytest

from export.shelf import Shelf
from saferun.export import ExportError, bodies, matching, pieces
from saferun.store import Reader
from saferun.store.index import Index, Query


def test_entries_leave_as_they_are_stored(shelf: Shelf) -> None:
    shelf.fill(9)
    with Reader(shelf.file) as reader:
        assert [body for _, body in bodies(reader, 0, 9)] == shelf.bodies()
        assert [seq for seq, _ in bodies(reader, 3, 6)] == [3, 4, 5]
        assert [each.entry.seq for each in pieces(reader, 3, 6)] == [3, 4, 5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE entry SET body = CAST('{}' AS BLOB) WHERE seq = 4", "Entry 4 was changed"),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 4", "Entry 4 was changed"),
        ("UPDATE entry SET body = 'text' WHERE seq = 4", "Entry 4 was changed"),
        ("UPDATE entry SET body = x'' WHERE seq = 4", "Entry 4 was changed"),
        ("DELETE FROM entry WHERE seq = 4", "Entry 4 is missing"),
        ("DELETE FROM entry WHERE seq > 3", "Entry 4 is missing"),
    ],
)
def test_what_was_changed_does_not_leave(shelf: Shelf, change: str, said: str) -> None:
    shelf.fill(9)
    shelf.sql(change)
    with Reader(shelf.file) as reader, pytest.raises(ExportError, match=said):
        list(bodies(reader, 0, 9))


def test_what_is_archived_is_named(shelf: Shelf) -> None:
    shelf.fill(9)
    shelf.archive(6)
    with Reader(shelf.file) as reader:
        with pytest.raises(ExportError, match="The entries 1 to 5 lie in an archive"):
            list(bodies(reader, 0, 9))
        with pytest.raises(ExportError, match="The entries 2 to 3 lie in an archive"):
            list(bodies(reader, 2, 4))
        with pytest.raises(ExportError, match="The entry 5 lies in an archive"):
            list(bodies(reader, 5, 9))
        assert [seq for seq, _ in bodies(reader, 6, 9)] == [6, 7, 8]


def test_what_is_only_called_archived_was_changed(shelf: Shelf) -> None:
    shelf.fill(9)
    shelf.sql("UPDATE entry SET body = x'' WHERE seq BETWEEN 1 AND 5")
    shelf.sql("INSERT INTO archive VALUES (0, 6, 8)")
    with Reader(shelf.file) as reader, pytest.raises(ExportError, match="Entry 1 was changed"):
        list(bodies(reader, 0, 9))


def test_a_choice_of_entries_is_what_a_search_finds(shelf: Shelf) -> None:
    shelf.fill(40)
    with Reader(shelf.file) as reader, Index(reader) as index:
        index.build()
        query = Query(text="word", facets={"kind": ("user",)})
        assert [each.seq for each in matching(index, query, 10, 14)] == [10, 11, 12, 13]
        shelf.archive(13)
        with pytest.raises(ExportError, match="archive"):
            list(matching(index, query, 10, 14))
        assert [each.seq for each in matching(index, query, 13, 14)] == [13]
