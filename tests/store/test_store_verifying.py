"""Verifying a store: what grows meanwhile, and several processes that find what one finds."""

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from saferun.ledger import (
    Frontier,
    Head,
    Known,
    UserEntry,
    Verifier,
    encode,
    leaf_hash,
    seal,
)
from saferun.store import Reader, Store, checkpoint, verifying
from saferun.store.checkpoints import kept_checkpoints
from saferun.store.verifying import verify

ENTRIES = 3 * verifying.PART + 100


class Growing:
    """A ledger that has grown since its head was read, or has a row that no head counts."""

    def __init__(self, rows: int, size: int) -> None:
        self._rows = rows
        self._size = size

    def rows(self, stop=None, *, after=0):
        return ((seq, b"", b"") for seq in range(self._rows))

    def head(self):

        return Head(self._size, b"")


def test_entries_that_come_while_the_ledger_is_read_are_left_for_the_next_time() -> None:
    taken = [seq for seq, _, _ in verifying._counted_by(Growing(rows=8, size=8), 5)]
    assert taken == [0, 1, 2, 3, 4]


def test_entries_that_no_head_counts_are_handed_to_verification() -> None:
    taken = [seq for seq, _, _ in verifying._counted_by(Growing(rows=8, size=5), 5)]
    assert taken == list(range(8))


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """A store of several parts, with a checkpoint inside one of them and one at the end."""
    path = tmp_path_factory.mktemp("long") / "saferun.db"
    Store(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        ((encoded, began),) = connection.execute("SELECT frontier, time FROM head WHERE seq = -1")
        tree = Frontier.decode(encoded)
        grow(connection, tree, began, verifying.PART + 77)
        checkpointed(path)
        grow(connection, tree, began, ENTRIES)
        checkpointed(path)
    return path


IDLE = UserEntry(run="run-1", text="Please refund my order.")


def grow(
    connection: sqlite3.Connection, tree: Frontier, began: int, size: int, entry: UserEntry = IDLE
) -> None:
    rest = encode(entry)
    rows = []
    while tree.size < size:
        body = seal(tree.size, began + tree.size, rest)
        rows.append((tree.size, body, leaf_hash(body)))
        tree.append(rows[-1][2])
    connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
    connection.execute(
        "UPDATE head SET size = ?, time = ?, frontier = ? WHERE seq = -1",
        (tree.size, began + tree.size, tree.encode()),
    )
    connection.commit()


def checkpointed(path: Path) -> None:
    with Reader(path) as reader:
        signer = reader.signer()
    assert signer is not None
    checkpoint(path, signer)


def found(path: Path, processes: int):
    with Reader(path) as reader:
        signer = reader.signer()
        assert signer is not None
        known = Known(
            external=tuple(kept_checkpoints(reader)[:1]),
            local=kept_checkpoints(reader),
            trusted=(Verifier(signer.vkey()),),
        )
        return verify(reader, reader.head(), known, processes=processes)


def test_two_processes_find_what_one_finds_in_a_sound_ledger(long) -> None:
    alone = found(long, 1)
    assert (alone.state, alone.entries) == ("verified", ENTRIES)
    assert found(long, 2) == alone


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 20000",
        "UPDATE entry SET body = 'text' WHERE seq = 40000",
        "UPDATE entry SET body = x'' WHERE seq = 20000",
        "DELETE FROM entry WHERE seq BETWEEN 16000 AND 33000",
        "DELETE FROM entry WHERE seq >= 30000",
        "UPDATE checkpoint SET note = CAST(replace(CAST(note AS TEXT), '16461', '16462') AS BLOB)",
        "UPDATE head SET size = 20000 WHERE seq = -1",
        "INSERT INTO entry SELECT -3, body, leaf FROM entry WHERE seq = 9",
        "INSERT INTO entry SELECT 99999, body, leaf FROM entry WHERE seq = 9",
    ],
)
def test_two_processes_find_what_one_finds_in_a_ledger_that_was_changed(
    long, tmp_path, statement
) -> None:
    copy = tmp_path / "saferun.db"
    with closing(sqlite3.connect(long)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute(statement)
        target.commit()
    (tmp_path / "keys").symlink_to(long.parent / "keys")
    alone = found(copy, 1)
    assert alone.problem is not None
    assert found(copy, 2) == alone


def test_a_process_that_is_killed_changes_nothing(long, caplog) -> None:
    caplog.set_level("DEBUG", "saferun")
    killed = []

    def kill_one(_: int) -> None:
        for child in [] if killed else multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child)

    with Reader(long) as reader:
        report = verify(reader, reader.head(), Known(), processes=2, progress=kill_one)
    assert killed
    assert (report.problem, report.entries) == (None, ENTRIES)
    assert "is read again" in caplog.text


def test_sealed_values_are_looked_for_by_every_process(tmp_path, caplog) -> None:
    caplog.set_level("DEBUG", "saferun")
    path = tmp_path / "saferun.db"
    Store(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        ((encoded, began),) = connection.execute("SELECT frontier, time FROM head WHERE seq = -1")
        sealed = UserEntry(text="x", sealed={"00" * 32: "text"})
        grow(connection, Frontier.decode(encoded), began, 2 * verifying.PART, sealed)
    for processes in (1, 2):
        with Reader(path) as reader:
            report = verify(reader, reader.head(), Known(), processes=processes)
        assert (report.problem, report.sealed_missing) == (None, 2 * verifying.PART - 1)
    assert "is read again" not in caplog.text
