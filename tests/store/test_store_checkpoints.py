"""Checkpoints: signed over what is on disk, the same until the ledger grows, never backwards."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from saferun.errors import StoreError
from saferun.ledger import Verifier, open_checkpoint, verify
from saferun.store import Reader, Store, checkpoint
from saferun.store.checkpoints import kept_checkpoints
from storing import admit


def test_a_checkpoint_vouches_for_what_is_there_and_not_for_what_comes(
    store: Store, file: Path
) -> None:
    store.commit(admit(store))
    note = checkpoint(file, store.signer())
    kept = open_checkpoint(note, [Verifier(store.signer().vkey())], origin=store.origin)
    store.commit(admit(store))
    with Reader(file) as reader:
        report = verify(reader.rows(), reader.head(), external=kept)
    assert (report.state, report.anchored, report.unanchored) == ("verified", 2, 1)


def test_an_unchanged_ledger_is_not_signed_twice(store: Store, file: Path) -> None:
    store.commit(admit(store))
    assert checkpoint(file, store.signer()) == checkpoint(file, store.signer())
    with Reader(file) as reader:
        assert len(kept_checkpoints(reader)) == 1


def test_a_ledger_behind_its_own_checkpoint_is_not_signed(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    for _ in range(3):
        store.commit(admit(store))
    checkpoint(file, store.signer())
    backup = sqlite3.connect(file)
    backup.execute("DELETE FROM entry WHERE seq > 1")
    from saferun.ledger import Frontier, leaf_hash

    frontier = Frontier()
    for (body,) in backup.execute("SELECT body FROM entry ORDER BY seq").fetchall():
        frontier.append(leaf_hash(body))
    backup.execute("UPDATE head SET size = 2, frontier = ? WHERE seq = -1", (frontier.encode(),))
    backup.commit()
    backup.close()
    with pytest.raises(StoreError, match=r"vouches for 4 entries, and it has 2"):
        checkpoint(file, store.signer())
    (file.parent / "keys" / "default.checkpoint").unlink()
    with pytest.raises(StoreError, match=r"some are missing or were changed\. Nothing was signed"):
        checkpoint(file, store.signer())


def test_a_ledger_that_was_rewritten_and_has_grown_is_not_signed(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    for _ in range(3):
        store.commit(admit(store))
    checkpoint(file, store.signer())
    store.commit(admit(store))
    with sqlite3.connect(file) as forger:
        forger.execute(
            "UPDATE entry SET body = replace(body, '\"refund\"', '\"lookup\"') WHERE seq = 4"
        )
    with pytest.raises(StoreError, match="some are missing or were changed"):
        checkpoint(file, store.signer())
