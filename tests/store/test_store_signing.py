"""Checkpoints that are made by themselves, and the mark that a store may not fall behind."""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from saferun.errors import StoreError
from saferun.ledger import Checkpoint, Verifier, open_checkpoint
from saferun.store import Append, Reader, Store, checkpoint, signing
from saferun.store.checkpoints import kept_checkpoints
from store.dying import dies_at
from storing import admit, audit, settle

OpenStore = Callable[..., Store]


def mark(file: Path) -> Checkpoint:
    found = signing.marked(file, "default")
    assert found is not None
    return found.checkpoint


def sizes(file: Path) -> list[int]:
    with Reader(file) as reader:
        keys = [Verifier(vkey) for _, vkey in reader.named_keys().vkeys]
        return [open_checkpoint(note, keys).size for note in kept_checkpoints(reader)]


def grow(store: Store, entries: int) -> None:
    body = b'{"kind":"user","text":"hello"}'
    store.commit(Append(entries=[body] * entries, boot=store.boot))


def copied(file: Path) -> Path:
    """The store as it is now, kept elsewhere. Nobody has it open."""
    to = file.parent.parent / "copy.db"
    shutil.copy(file, to)
    return to


# By themselves.


def test_a_process_that_ends_leaves_a_checkpoint_over_all_that_it_wrote(
    open_store: OpenStore, file: Path
) -> None:
    store = open_store()
    grow(store, 5)
    store.close()
    assert sizes(file) == [6]
    assert mark(file).size == 6


def test_a_store_in_which_nothing_happened_gets_no_checkpoint(
    open_store: OpenStore, file: Path
) -> None:
    open_store().close()
    assert sizes(file) == []
    assert signing.marked(file, "default") is None


def test_a_thousand_entries_make_a_checkpoint_while_the_process_goes_on(
    open_store: OpenStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = threading.Event()
    left = signing._commit

    def told(*args: Any) -> None:
        left(*args)
        made.set()

    monkeypatch.setattr(signing, "_commit", told)
    store = open_store()
    grow(store, 998)
    assert not made.wait(0)
    grow(store, 1)
    assert made.wait(30)
    assert sizes(file) == [1000]


def test_there_is_a_pause_between_two_checkpoints_that_are_made_by_themselves(
    open_store: OpenStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "PAUSE", 3600.0)
    store = open_store()
    grow(store, 1)
    checkpoint(file, store.signer())
    grow(store, 3000)
    # The thread waits for the pause to be over; the end of the process does not.
    store.close()
    assert sizes(file) == [2, 3002]


def test_a_signing_key_that_is_not_here_is_no_trouble_for_who_ends(
    open_store: OpenStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="saferun")
    store = open_store()
    grow(store, 1)
    (file.parent / "keys" / "default.signing.key").unlink()
    store.close()
    assert sizes(file) == []
    assert [each.levelname for each in caplog.records if "no checkpoint" in each.message] == [
        "INFO"
    ]


def test_a_checkpoint_costs_as_much_as_is_new(open_store: OpenStore, file: Path) -> None:
    store = open_store()
    grow(store, 50)
    checkpoint(file, store.signer())
    with closing(sqlite3.connect(file)) as gone, gone:
        # Not even looked at any more: what the frontier stands for is vouched for already.
        gone.execute("DELETE FROM entry WHERE seq BETWEEN 10 AND 20")
    grow(store, 1)
    checkpoint(file, store.signer())
    assert sizes(file) == [51, 52]
    assert audit(file).problem is not None


def test_a_checkpoint_of_before_has_no_frontier_and_all_is_read_once(
    open_store: OpenStore, file: Path
) -> None:
    store = open_store()
    grow(store, 3)
    checkpoint(file, store.signer())
    with closing(sqlite3.connect(file)) as old, old:
        old.execute("UPDATE checkpoint SET frontier = NULL")
    grow(store, 1)
    checkpoint(file, store.signer())
    assert sizes(file) == [4, 5]


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE checkpoint SET frontier = zeroblob(length(frontier))",
        "UPDATE checkpoint SET frontier = 'text'",
        "UPDATE checkpoint SET note = replace(note, x'0a', x'20')",
        "UPDATE entry SET body = 'text' WHERE seq = 5",
        "UPDATE entry SET body = CAST('{}' AS BLOB) WHERE seq = 5",
        "DELETE FROM entry WHERE seq = 5",
        "UPDATE head SET frontier = zeroblob(length(frontier)) WHERE seq = -1",
        "UPDATE head SET frontier = 'text' WHERE seq = -1",
    ],
)
def test_nothing_is_signed_that_does_not_follow_from_the_last_checkpoint(
    open_store: OpenStore, file: Path, forged: str
) -> None:
    store = open_store()
    grow(store, 3)
    checkpoint(file, store.signer())
    grow(store, 3)
    with closing(sqlite3.connect(file)) as forger, forger:
        forger.execute(forged)
    with pytest.raises(StoreError):
        checkpoint(file, store.signer())
    with Reader(file) as reader:
        assert len(kept_checkpoints(reader)) == 1
    assert mark(file).size == 4


def test_another_key_under_the_same_name_signs_nothing(store: Store, file: Path) -> None:
    from saferun.ledger import Signer

    grow(store, 1)
    with pytest.raises(StoreError, match="is not that of the ledger"):
        checkpoint(file, Signer(store.origin, bytes(32)))


def test_a_kill_at_any_step_of_a_checkpoint_leaves_the_one_before_or_the_one_after(
    open_store: OpenStore, file: Path
) -> None:
    store = open_store(checkpoints=False)
    grow(store, 2)
    store.close()
    step = 0
    while True:
        store = open_store(checkpoints=False)
        grow(store, 1)
        size, signer = store.size(), store.signer()
        store.close()
        if not dies_at(step, lambda signer: checkpoint(file, signer), lambda signer=signer: signer):
            break
        # Nobody can have seen a checkpoint that the mark does not vouch for.
        left = signing.marked(file, "default")
        assert (sizes(file) or [0])[-1] <= (0 if left is None else left.checkpoint.size) <= size
        # It opens, and the next one is made on top of what was left.
        open_store(checkpoints=False).close()
        checkpoint(file, signer)
        assert sizes(file)[-1] == mark(file).size == size
        step += 1
    assert step > 5


def test_two_processes_may_sign_at_once(open_store: OpenStore, file: Path) -> None:
    store = open_store(checkpoints=False)
    grow(store, 10)
    signer = store.signer()
    found: list[bytes] = []
    both = threading.Barrier(4)

    def sign() -> None:
        both.wait()
        found.append(checkpoint(file, signer))

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert sizes(file) == [11]


# The high-water mark.


def test_a_backup_that_is_put_back_does_not_open(open_store: OpenStore, file: Path) -> None:
    store = open_store()
    grow(store, 3)
    store.close()
    old = copied(file)
    store = open_store()
    grow(store, 2)
    store.close()
    shutil.copy(old, file)
    with pytest.raises(StoreError, match=r"vouches for 6 entries, and it has 4; .*ledger restart"):
        open_store()


def test_a_copy_that_has_grown_on_its_own_does_not_open(open_store: OpenStore, file: Path) -> None:
    store = open_store()
    grow(store, 3)
    store.close()
    old, left = copied(file), signing.mark_file(file, "default")
    before = left.read_bytes()
    store = open_store()
    grow(store, 2)
    store.close()
    newest = left.read_bytes()
    shutil.copy(old, file)
    left.write_bytes(before)
    store = open_store()
    store.commit(settle(store, store.commit(admit(store)).seq))
    grow(store, 4)
    store.close()
    left.write_bytes(newest)
    with pytest.raises(StoreError, match="has others among its"):
        open_store()


def test_a_store_that_is_gone_is_not_founded_anew_under_its_mark(
    open_store: OpenStore, file: Path
) -> None:
    store = open_store()
    grow(store, 1)
    store.close()
    file.unlink()
    with pytest.raises(StoreError, match=r"vouches for 2 entries of a ledger, and .* is not there"):
        open_store()
    signing.mark_file(file, "default").unlink()
    open_store().close()


def test_a_mark_of_another_ledger_does_not_open(
    open_store: OpenStore, file: Path, tmp_path: Path
) -> None:
    other = Store(f"sqlite:///{tmp_path / 'other' / 'saferun.db'}")
    grow(other, 3)
    other.close()
    open_store().close()
    shutil.copy(tmp_path / "other/keys/default.checkpoint", file.parent / "keys")
    with pytest.raises(StoreError, match="keep each store in a folder of its own"):
        open_store()


@pytest.mark.parametrize("spoiled", [b"", b"\xff\xfe", b"no note", b"a\nb\nc\n\n"])
def test_a_mark_that_is_none_does_not_open(
    open_store: OpenStore, file: Path, spoiled: bytes
) -> None:
    store = open_store()
    grow(store, 1)
    store.close()
    signing.mark_file(file, "default").write_bytes(spoiled)
    with pytest.raises(StoreError, match="holds no checkpoint"):
        open_store()


def test_nothing_is_signed_over_a_store_that_was_put_back_while_it_was_open(
    open_store: OpenStore, file: Path
) -> None:
    store = open_store()
    grow(store, 3)
    store.close()
    old = copied(file)
    store = open_store()
    grow(store, 2)
    signer = store.signer()
    store.close()
    shutil.copy(old, file)
    with pytest.raises(StoreError, match="has lost its end"):
        checkpoint(file, signer)
    assert sizes(file) == [4]


def test_a_mark_that_was_left_and_not_committed_is_no_loss(
    open_store: OpenStore, file: Path
) -> None:
    store = open_store()
    grow(store, 3)
    store.close()
    with closing(sqlite3.connect(file)) as killed, killed:
        killed.execute("DELETE FROM checkpoint")
    store = open_store()
    grow(store, 1)
    store.close()
    assert sizes(file) == [5]
