"""Excerpts: part of a ledger in a store's form, which is read and never written to."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from saferun.errors import StoreError
from saferun.ledger import LedgerEntry, UserEntry, encode, leaf_hash, seal
from saferun.ledger.excerpt import Regrown
from saferun.store import Reader, Store, excerpt, sqlite
from saferun.store.index import Index
from saferun.store.nodes import index_tree

FOUNDING = encode(LedgerEntry(name="shop", origin="shop", format=4, created_by="a test"))
SIZE = 1 << 20


def body(seq: int) -> bytes:
    return seal(seq, 1_000 + seq, encode(UserEntry(run="r-1", text="hello")) if seq else FOUNDING)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Entries 0, 70,000 and 70,001 of a million."""
    path, grown = tmp_path / "excerpt.db", Regrown()
    out = excerpt.Writing(path)
    gaps = iter(bytes([n]) * 32 for n in range(200))
    for seq in (0, 70_000, 70_001):
        grown.skip(seq, gaps)
        grown.append(leaf_hash(body(seq)))
        out.entries([excerpt.row(seq, body(seq))])
    grown.skip(SIZE, gaps)
    out.nodes(grown.nodes)
    out.finish(
        excerpt.About(
            name="shop",
            origin="shop",
            vkeys=(),
            size=SIZE,
            time=71_001,
            frontier=grown.frontier(),
            note=None,
        )
    )
    return path


def test_entries_are_read_under_their_own_numbers(path: Path) -> None:
    with Reader(path) as reader:
        assert reader.excerpt
        assert [row[0] for row in reader.rows()] == [0, 70_000, 70_001]
        assert (reader.head().size, reader.origin) == (SIZE, "shop")
        assert reader.body(70_001) == body(70_001)


def test_they_are_found_wherever_they_lie(path: Path) -> None:
    with Reader(path) as reader, Index(reader) as index:
        index.build()
        assert index.frames("r-1") == [70_000, 70_001]
        assert index.leaf(70_001) == leaf_hash(body(70_001))[:8]
        assert index.leaf(69_999) is None


def test_roots_of_what_was_left_out_are_there_as_far_as_a_proof_needs_them(path: Path) -> None:
    with Reader(path) as reader:
        nodes = reader.tree()
        assert nodes(0, 70_000) == leaf_hash(body(70_000))
        assert len(nodes(20, 0)) == 32
        with pytest.raises(StoreError, match="was left out"):
            nodes(0, 5)


def test_what_would_write_to_it_is_refused(path: Path) -> None:
    with pytest.raises(sqlite.ExcerptError, match="nothing is ever written to it"):
        sqlite.connect(path, "full")
    before = path.read_bytes()
    index_tree(path, anew=True)
    assert path.read_bytes() == before


def test_one_that_is_not_finished_is_for_nobody(tmp_path: Path) -> None:
    out = excerpt.Writing(tmp_path / "a.db")
    out.entries([excerpt.row(0, FOUNDING)])
    out.close()
    with Reader(tmp_path / "a.db") as reader:
        assert list(reader.rows()) == []


def test_a_store_cannot_pass_a_change_off_as_redacted(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/saferun.db", durability="process")
    store.close()
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("INSERT INTO node VALUES (0, 0, ?)", (bytes(32),))
    with Reader(store.path) as reader:
        assert not reader.excerpt
        assert not reader.redacted(0)
