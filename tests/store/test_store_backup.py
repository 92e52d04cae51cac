"""Backups while others write: whole or not there, and never on top of the store."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from saferun.errors import StoreError
from saferun.ledger import Verifier, open_checkpoint
from saferun.store import Append, Reader, Store
from saferun.store.backup import backup
from saferun.store.checkpoints import kept_checkpoints
from store.dying import dies_at
from storing import audit

OpenStore = Callable[..., Store]


def grow(store: Store, entries: int = 1) -> None:
    body = b'{"kind":"user","text":"hello"}'
    store.commit(Append(entries=[body] * entries, boot=store.boot))


@pytest.fixture
def to(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere" / "backup.db"


def test_a_backup_holds_all_that_was_there_under_a_checkpoint_of_that_moment(
    store: Store, file: Path, to: Path
) -> None:
    grow(store, 20)
    done = backup(file, to, store.signer())
    assert (done.entries, done.checkpoint.size) == (21, 21)
    assert open_checkpoint(done.note, [Verifier(store.signer().vkey())]) == done.checkpoint
    assert audit(to).entries == 21
    with Reader(to) as reader:
        assert kept_checkpoints(reader)[-1] == done.note
    assert to.stat().st_mode & 0o777 == 0o600
    assert os.listdir(to.parent) == [to.name]


def test_a_backup_is_of_one_moment_while_others_write(store: Store, file: Path, to: Path) -> None:
    over, signer = threading.Event(), store.signer()

    def write() -> None:
        while not over.is_set():
            grow(store, 7)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for number in range(5):
            done = backup(file, to.with_name(f"{number}.db"), signer)
            assert done.entries >= done.checkpoint.size
            report = audit(to.with_name(f"{number}.db"))
            assert (report.problem, report.entries) == (None, done.entries)
    finally:
        over.set()
        for writer in writers:
            writer.join()


def test_a_backup_is_a_store_that_opens_in_the_place_of_another(
    open_store: OpenStore, file: Path, to: Path
) -> None:
    store = open_store()
    grow(store, 3)
    backup(file, to, store.signer())
    store.close()
    shutil.copy(to, file)
    again = open_store()
    grow(again)
    again.close()
    assert audit(file).entries == 5


def test_no_key_is_in_a_backup(store: Store, file: Path, to: Path) -> None:
    grow(store)
    backup(file, to, store.signer())
    held = to.read_bytes()
    for key in (file.parent / "keys").glob("*.key"):
        assert key.read_bytes().strip() not in held


def test_a_file_that_is_there_is_kept_unless_it_is_said(store: Store, file: Path, to: Path) -> None:
    to.write_text("a diary", "utf-8")
    with pytest.raises(StoreError, match="is there already"):
        backup(file, to, store.signer())
    assert to.read_text("utf-8") == "a diary"
    backup(file, to, store.signer(), force=True)
    assert audit(to).entries == 1


@pytest.mark.parametrize("name", ["saferun.db", "saferun.db-wal", "saferun.db.lock", "keys/b.db"])
def test_nothing_of_the_store_is_ever_overwritten(store: Store, file: Path, name: str) -> None:
    with pytest.raises(StoreError, match="is the store's own"):
        backup(file, file.parent / name, store.signer(), force=True)


def test_a_link_to_the_store_is_the_store(store: Store, file: Path, to: Path) -> None:
    to.symlink_to(file)
    with pytest.raises(StoreError, match="is the store's own"):
        backup(file, to, store.signer(), force=True)
    to.unlink()
    os.link(file, to)
    with pytest.raises(StoreError, match="is the store's own"):
        backup(file, to, store.signer(), force=True)


def test_a_backup_goes_into_a_folder_that_is_there(store: Store, file: Path, to: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        backup(file, to.parent / "missing" / "b.db", store.signer())
    with pytest.raises(StoreError, match="is a folder"):
        backup(file, to.parent, store.signer())


def test_a_store_that_was_rewritten_is_not_backed_up_as_if_it_were_sound(
    store: Store, file: Path, to: Path
) -> None:
    grow(store, 5)
    with closing(sqlite3.connect(file)) as forger, forger:
        forger.execute("UPDATE entry SET body = CAST(replace(body, 'hello', 'bye') AS BLOB)")
    with pytest.raises(StoreError):
        backup(file, to, store.signer())
    assert os.listdir(to.parent) == []


def test_what_an_old_checkpoint_covers_is_read_again_too(
    store: Store, file: Path, to: Path
) -> None:
    grow(store, 5)
    store.checkpoint()
    with closing(sqlite3.connect(file)) as forger, forger:
        forger.execute("UPDATE entry SET body = CAST(replace(body, 'hello', 'bye') AS BLOB)")
    with pytest.raises(StoreError, match="does not hold the entries"):
        backup(file, to, store.signer())
    assert os.listdir(to.parent) == []


def test_a_kill_at_any_step_of_a_backup_leaves_the_old_one_or_the_new_one(
    open_store: OpenStore, file: Path, to: Path
) -> None:
    store = open_store(checkpoints=False)
    grow(store, 3)
    backup(file, to, store.signer())
    grow(store, 1)
    signer = store.signer()
    store.close()
    step = 0
    while dies_at(
        step, lambda signer: backup(file, to, signer, force=True), lambda signer=signer: signer
    ):
        report = audit(to)
        assert report.problem is None
        assert report.entries in (4, 5)
        step += 1
    assert step > 10
    assert audit(to).entries == 5
