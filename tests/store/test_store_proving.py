"""Proofs from a store, the inner nodes that they are made from, and what becomes of wrong ones."""

import multiprocessing
import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from saferun.errors import StoreError
from saferun.ledger import (
    Frontier,
    KeyEntry,
    Signer,
    UserEntry,
    Verifier,
    encode,
    leaf_hash,
    seal,
    sign,
)
from saferun.ledger.proof import proves_consistency
from saferun.ledger.receipt import open_receipt
from saferun.ledger.rotation import rotation_text
from saferun.ledger.succession import stated
from saferun.store import Reader, Store, checkpoint
from saferun.store.nodes import index_tree
from saferun.store.proving import grown, receipt
from storing import as_of

SIZE = 20 * 256 + 40
"""Entries of a short ledger: twenty nodes of level 8, and some leaves beside them."""

LONG = (1 << 16) + 3 * 256 + 40
"""Of a long one: one node of level 16, and three of level 8 and some leaves beside it."""


@pytest.fixture
def path(tmp_path) -> Path:
    return founded(tmp_path / "saferun.db", SIZE)


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """A ledger for tests that change nothing but its nodes."""
    return founded(tmp_path_factory.mktemp("long") / "saferun.db", LONG)


def founded(path: Path, size: int) -> Path:
    Store(f"sqlite:///{path}").close()
    grow(path, size)
    return path


def grow(path: Path, size: int, *entries) -> None:
    """Append entries to a store without one, until there are so many."""
    with closing(sqlite3.connect(path)) as connection:
        ((encoded, began),) = connection.execute("SELECT frontier, time FROM head WHERE seq = -1")
        tree = Frontier.decode(encoded)
        rows = []
        idle = UserEntry(text="Please.")
        rest = [*map(encode, entries), encode(idle)]
        while tree.size < size:
            body = seal(tree.size, began + tree.size, rest.pop(0) if len(rest) > 1 else rest[0])
            rows.append((tree.size, body, leaf_hash(body)))
            tree.append(rows[-1][2])
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
        connection.execute(
            "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
            (tree.size, began + tree.size, tree.encode()),
        )
        connection.commit()


def run(path: Path, statement: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(statement).fetchall()
        connection.commit()
        return found


def signer(path: Path) -> Signer:
    with Reader(path) as reader:
        found = reader.signer()
    assert found is not None
    return found


def proven(path: Path, seq: int):
    own = signer(path)
    note = checkpoint(path, own)
    made = receipt(path, seq, note, stated(note))
    return open_receipt(made.encode(), Verifier(own.vkey())).entry


@pytest.mark.parametrize("seq", [0, 1, 255, 256, 40_000, (1 << 16) - 1, 1 << 16, LONG - 1])
def test_every_entry_has_a_receipt(long, seq) -> None:
    assert proven(long, seq).seq == seq


def test_the_nodes_are_those_of_the_tree(long) -> None:
    index_tree(long)
    levels = "SELECT level, count(*), max(place) FROM node GROUP BY level ORDER BY level"
    assert run(long, levels) == [(8, 259, 258), (16, 1, 0)]
    with Reader(long) as reader:
        kept, leaves = reader.tree(), reader.tree(kept=False)
        for level, place in ((16, 0), (8, 258), (11, 7), (3, 5), (0, 9)):
            assert kept(level, place) == leaves(level, place)
        whole = Frontier.decode(reader.head().frontier)
        assert Frontier.at(LONG, kept).encode() == whole.encode()


def test_nodes_are_added_as_the_ledger_grows(path) -> None:
    index_tree(path)
    before = run(path, "SELECT * FROM node")
    grow(path, SIZE + 300)
    index_tree(path)
    after = run(path, "SELECT * FROM node")
    assert set(before) < set(after)
    assert len(after) == len(before) + 1
    assert proven(path, SIZE + 299).seq == SIZE + 299


def test_nodes_beyond_the_ledger_are_thrown_away_with_the_others(long) -> None:
    index_tree(long)
    before = run(long, "SELECT * FROM node ORDER BY level, place")
    run(long, "INSERT INTO node VALUES (8, 100000, zeroblob(32))")
    index_tree(long)
    assert run(long, "SELECT * FROM node ORDER BY level, place") == before


def test_progress_is_told_until_the_end(path) -> None:
    told = []
    index_tree(path, progress=lambda done, size: told.append((done, size)))
    assert told == sorted(told)
    assert told[-1] == (SIZE // 256 * 256, SIZE)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE node SET hash = zeroblob(32)",
        "UPDATE node SET hash = zeroblob(32) WHERE level = 16",
        "UPDATE node SET hash = 'text'",
        "UPDATE node SET hash = x'00'",
        "DELETE FROM node WHERE level = 8 AND place % 2",
        "DELETE FROM node WHERE level = 16",
        "INSERT INTO node VALUES (8, 100000, zeroblob(32))",
    ],
)
def test_nodes_that_are_wrong_or_gone_are_made_anew(long, statement) -> None:
    index_tree(long)
    run(long, statement)
    assert proven(long, 300).seq == 300
    assert grown(long, 1000, LONG)


def test_wrong_nodes_are_replaced_by_right_ones(long) -> None:
    index_tree(long)
    before = run(long, "SELECT * FROM node ORDER BY level, place")
    run(long, "UPDATE node SET hash = zeroblob(32)")
    proven(long, 300)
    assert run(long, "SELECT * FROM node ORDER BY level, place") == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 301",
        "UPDATE entry SET body = CAST(body || x'20' AS BLOB) WHERE seq = 300",
    ],
)
def test_nothing_is_given_out_by_a_ledger_that_was_changed(path, statement) -> None:
    own = signer(path)
    note = checkpoint(path, own)
    run(path, statement)
    with pytest.raises(StoreError, match="the ledger was changed; run saferun ledger verify"):
        receipt(path, 300, note, stated(note))


def test_an_entry_that_is_missing_has_no_receipt(path) -> None:
    note = checkpoint(path, signer(path))
    run(path, "DELETE FROM entry WHERE seq = 301")
    with pytest.raises(StoreError, match="run saferun ledger verify"):
        receipt(path, 300, note, stated(note))
    with pytest.raises(StoreError, match="There is no entry 301"):
        receipt(path, 301, note, stated(note))


def test_an_entry_that_the_checkpoint_does_not_cover_has_no_receipt(path) -> None:
    note = checkpoint(path, signer(path))
    with pytest.raises(StoreError, match="There is no entry"):
        receipt(path, SIZE, note, stated(note))


def test_an_archived_entry_has_no_receipt_without_its_archive(path) -> None:
    note = checkpoint(path, signer(path))
    run(path, "UPDATE entry SET body = x'' WHERE seq = 300")
    with pytest.raises(StoreError, match="Entry 300 lies in an archive"):
        receipt(path, 300, note, stated(note))


def test_a_consistency_proof_is_that_of_the_two_trees(path) -> None:
    hashes = grown(path, 1000, 4_000)
    with Reader(path) as reader:
        old, new = (Frontier.at(size, reader.tree(kept=False)).root() for size in (1000, 4_000))
    assert proves_consistency(hashes, 1000, 4_000, old, new)
    assert grown(path, 1000, 4_000, roots=(old, new)) == hashes
    with pytest.raises(StoreError, match="the ledger was changed"):
        grown(path, 1000, 4_000, roots=(new, None))


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 5), (5, SIZE + 1)])
def test_sizes_that_cannot_be_have_no_proof(path, old, new) -> None:
    with pytest.raises(StoreError, match="a proof goes from a size to one that is no smaller"):
        grown(path, old, new)


def test_a_store_of_before_there_were_nodes_is_proven_from_its_leaves(path) -> None:
    own = signer(path)
    note = checkpoint(path, own)
    as_of(path, 3)
    made = receipt(path, 300, note, stated(note))
    assert open_receipt(made.encode(), Verifier(own.vkey())).entry.seq == 300


def killed_at_its_first_page(path: Path) -> None:
    index_tree(path, progress=lambda done, size: os.kill(os.getpid(), signal.SIGKILL))


def test_nodes_that_were_being_made_when_the_process_was_killed_are_gone_on_with(path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=killed_at_its_first_page, args=(path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert run(path, "SELECT count(*) FROM node") == [(16,)]
    assert proven(path, 300).seq == 300
    assert run(path, "SELECT count(*) FROM node") == [(20,)]


def test_two_that_make_nodes_at_once_make_the_same(path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for made in [pool.submit(index_tree, path) for _ in range(2)]:
            made.result()
    assert run(path, "SELECT count(*) FROM node") == [(20,)]
    assert proven(path, 300).seq == 300


# Landmarks.


def change_of_key(path: Path, following: Signer, by: Signer) -> KeyEntry:
    note = sign(rotation_text(by.name, following.vkey()), by).decode()
    return KeyEntry(vkey=following.vkey(), note=note, by="dana")


@pytest.mark.parametrize("more", [5, 900])
def test_entries_that_change_the_key_are_found_and_go_with_a_receipt(path, more) -> None:
    own = signer(path)
    following = Signer(own.name, b"2" * 32)
    grow(path, SIZE + more, change_of_key(path, following, own))
    note = checkpoint(path, own)
    made = receipt(path, 300, note, stated(note))
    assert len(made.keys) == 1
    with Reader(path) as reader:
        assert reader.landmarks(SIZE + more) == [SIZE]
        assert reader.landmarks(SIZE) == []


def test_landmarks_are_the_same_before_and_after_they_were_noted(path) -> None:
    own = signer(path)
    grow(path, SIZE + 900, change_of_key(path, Signer(own.name, b"2" * 32), own))
    with Reader(path) as reader:
        before = reader.landmarks(SIZE + 900)
        index_tree(path)
        assert reader.landmarks(SIZE + 900) == before == [SIZE]
    assert run(path, "SELECT seq FROM landmark") == [(SIZE,)]


def test_what_a_user_says_is_no_landmark(path) -> None:
    grow(path, SIZE + 2, UserEntry(text='","kind":"key"'))
    with Reader(path) as reader:
        assert reader.landmarks(SIZE + 2) == []
