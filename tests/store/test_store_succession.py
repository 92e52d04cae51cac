"""One key after another: rotations, restarts after a loss, and kills in the middle of either."""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.ledger import KeyEntry, RestartEntry, Signer, Verifier, open_checkpoint, parse
from saferun.ledger.rotation import open_rotation
from saferun.store import Append, Enrol, Reader, Store, WrongSecretError, checkpoint, signing
from saferun.store.checkpoints import kept_checkpoints
from saferun.store.sizes import health_of
from saferun.store.succession import Restarted, restart, rotate
from store.dying import dies_at
from storing import admit, audit, kinds, settle

OpenStore = Callable[..., Store]
SECRET = b"dana's"


@pytest.fixture
def begun(open_store: OpenStore) -> Store:
    """A store that dana is known in, with an entry more than its first."""
    store = open_store()
    store.commit(Enrol("dana", SECRET))
    grow(store)
    return store


def grow(store: Store, entries: int = 1) -> None:
    body = b'{"kind":"user","text":"hello"}'
    store.commit(Append(entries=[body] * entries, boot=store.boot))


def entry(file: Path, kind: type[Any]) -> Any:
    with Reader(file) as reader:
        every = [parse(body).entry for _, body, _ in reader.rows()]
    return [each for each in every if isinstance(each, kind)][-1]


def keys(file: Path) -> set[str]:
    return {each.name for each in (file.parent / "keys").iterdir()}


def signs(file: Path) -> bool:
    """Whether whoever signs now is the one that the ledger has named last."""
    with Reader(file) as reader:
        signer, named = reader.signer(), reader.named_keys()
    assert signer is not None
    note = checkpoint(file, signer)
    return open_checkpoint(note, [Verifier(str(named.vkey))]).origin == named.origin


# Rotation.


def test_the_new_key_signs_from_the_entry_on_in_which_the_old_one_names_it(
    begun: Store, file: Path
) -> None:
    before = begun.signer().vkey()
    done = rotate(begun, "dana", SECRET, "yearly")
    said = entry(file, KeyEntry)
    assert (said.vkey, said.by, said.reason) == (done.vkey, "dana", "yearly")
    assert open_rotation(said.note.encode(), Verifier(before)).key_id == begun.signer().key_id
    assert begun.ledger().vkeys == ((0, before), (done.seq, done.vkey))
    with Reader(file) as reader:
        # The old key's last word is over all that came before, the new one's first over that.
        *_, last, first = kept_checkpoints(reader)
    assert open_checkpoint(last, [Verifier(before)]).size == done.seq
    assert open_checkpoint(first, [Verifier(done.vkey)]).size == done.seq + 1
    assert signs(file)
    assert keys(file) == {"default.checkpoint", "default.signing.key", "digest.key"}


def test_a_process_that_goes_on_signs_with_the_new_key_too(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    other = open_store(durability="full")
    done = rotate(other, "dana", SECRET)
    grow(begun)
    begun.close()
    with Reader(file) as reader:
        assert open_checkpoint(kept_checkpoints(reader)[-1], [Verifier(done.vkey)]).size == 4


def test_nobody_rotates_without_a_secret_of_their_own(begun: Store, file: Path) -> None:
    with pytest.raises(WrongSecretError):
        rotate(begun, "dana", b"mallory's")
    assert "key" not in kinds(file)
    assert "default.signing.key.next" not in keys(file)


def test_two_rotations_at_once_both_hold_one_after_the_other(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    stores = [begun, open_store()]
    both = threading.Barrier(2)

    def run(store: Store) -> None:
        both.wait()
        rotate(store, "dana", SECRET)

    threads = [threading.Thread(target=run, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(file).count("key") == 2
    assert len(begun.ledger().vkeys) == 3
    assert signs(file)


def test_a_kill_at_any_step_of_a_rotation_is_finished_by_whoever_comes_next(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    begun.close()

    def opened() -> Store:
        return Store(f"sqlite:///{file}", checkpoints=False)

    def turn(store: Store) -> None:
        rotate(store, "dana", SECRET)

    step = 0
    while dies_at(step, turn, opened):
        # A reader finds the right key in whatever state it is, and so does who opens the store.
        assert signs(file)
        store = open_store(checkpoints=False)
        assert store.signer().vkey() == store.ledger().vkey
        grow(store)
        store.close()
        assert signs(file)
        step += 1
    assert step > 20
    assert audit(file).problem is None
    assert signs(file)


def test_a_key_that_is_given_is_replaced_by_one_that_is_given(
    begun: Store, open_store: OpenStore, file: Path, tmp_path: Path
) -> None:
    import base64

    for name, seed in (("one", bytes(32)), ("two", bytes(31) + b"\1")):
        (tmp_path / name).write_bytes(base64.b64encode(seed))
    one, two = (SigningTable(file=str(tmp_path / name)) for name in ("one", "two"))
    done = rotate(begun, "dana", SECRET, to=one)
    assert done.vkey == Signer(begun.origin, bytes(32)).vkey()
    begun.close()
    held = open_store(signing=one)
    with pytest.raises(StoreError, match=r"say with --to FILE where the next one is"):
        rotate(held, "dana", SECRET)
    rotate(held, "dana", SECRET, to=two)
    with pytest.raises(StoreError, match="is not that of the ledger"):
        held.signer()
    after = open_store(signing=two)
    grow(after)
    after.close()
    with Reader(file) as reader:
        assert reader.signer(given=two) is not None
        assert len(reader.named_keys().vkeys) == 3


def test_a_next_key_that_cannot_sign_is_not_taken(begun: Store, file: Path) -> None:
    public = "A" * 43 + "="
    with pytest.raises(StoreError):
        rotate(begun, "dana", SECRET, to=SigningTable(command=("false",), public_key=public))
    assert "key" not in kinds(file)
    assert signs(file)


# Restart.


def lose(open_store: OpenStore, file: Path, entries: int = 3) -> Path:
    """Have a store lose its end: the copy that was put back, kept for another time."""
    old = file.parent.parent / "old.db"
    shutil.copy(file, old)
    store = open_store()
    grow(store, entries)
    store.close()
    shutil.copy(old, file)
    return old


def restarted(open_store: OpenStore) -> Restarted:
    store = open_store(behind=True)
    done = restart(store, "dana", SECRET, "the disk")
    store.close()
    return done


def test_a_store_that_has_lost_its_end_goes_on_under_another_name(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    was = begun.origin
    begun.close()
    before = keys(file) - {"default.checkpoint"}
    lose(open_store, file)
    lost = signing.mark_file(file, "default").read_bytes()
    done = restarted(open_store)
    said = entry(file, RestartEntry)
    assert (said.was, said.origin, said.vkey) == (was, done.origin, done.vkey)
    assert (said.lost, said.note.encode(), said.by) == (3, lost, "dana")
    assert done.seq == 2
    store = open_store()
    assert store.origin == done.origin != was
    grow(store)
    store.close()
    assert audit(file).problem is None
    assert signs(file)
    kept = f"default.{was[-16:]}.signing.key"
    assert keys(file) == before | {"default.checkpoint", kept}
    assert signing.marked(file, "default").checkpoint.origin == done.origin  # type: ignore[union-attr]


def test_what_was_open_is_void_after_a_restart(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    from multiprocessing import get_context

    # A process that died in the middle of a call, before the backup.
    worker = get_context("fork").Process(target=_leave_open, args=(str(file),))
    begun.close()
    worker.start()
    worker.join()
    with closing(sqlite3.connect(file)) as asked, asked:
        for id_, state in (("a-1", "pending"), ("a-2", "approved"), ("a-3", "rejected")):
            asked.execute(
                "INSERT INTO approval (id, state, binding, deadline, request)"
                " VALUES (?, ?, x'', 1 << 60, x'')",
                (id_, state),
            )
    store = open_store(behind=True)
    store.close()
    old = file.parent.parent / "old.db"
    shutil.copy(file, old)
    forward = open_store()
    grow(forward, 2)
    forward.close()
    shutil.copy(old, file)
    restarted(open_store)
    assert kinds(file)[-4:] == ["restart", "approval", "approval", "recovery"]
    with Reader(file) as reader:
        rows = reader.every("SELECT state FROM approval ORDER BY id")
        assert [state for (state,) in rows] == ["cancelled", "stale", "rejected"]
        assert health_of(reader).open_calls == 0


def _leave_open(file: str) -> None:  # pragma: no cover - in the child
    import os

    store = Store(f"sqlite:///{file}")
    store.commit(admit(store))
    os._exit(0)


def test_a_store_that_has_lost_nothing_is_not_restarted(begun: Store, file: Path) -> None:
    with pytest.raises(StoreError, match="nothing to restart"):
        restart(begun, "dana", SECRET, "no reason")
    assert "restart" not in kinds(file)


def test_nobody_restarts_without_a_secret_of_their_own(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    begun.close()
    lose(open_store, file)
    with pytest.raises(WrongSecretError):
        restart(open_store(behind=True), "dana", b"mallory's", "")
    assert "restart" not in kinds(file)


def test_the_same_old_copy_may_come_back_after_a_restart_and_is_found_again(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    begun.close()
    old = lose(open_store, file)
    restarted(open_store)
    shutil.copy(old, file)
    with pytest.raises(StoreError, match="keep each store in a folder of its own"):
        open_store()
    with pytest.raises(StoreError, match="Put a newer backup back"):
        restarted(open_store)


def test_a_kill_at_any_step_of_a_restart_leaves_a_store_that_waits_or_one_that_goes_on(
    begun: Store, open_store: OpenStore, file: Path
) -> None:
    begun.close()
    lose(open_store, file)
    safe = file.parent.parent / "safe"
    shutil.copytree(file.parent, safe)

    def opened() -> Store:
        return Store(f"sqlite:///{file}", behind=True)

    def turn(store: Store) -> None:
        restart(store, "dana", SECRET, "the disk")

    step = 0
    while dies_at(step, turn, opened):
        if "restart" in kinds(file):
            store = open_store(checkpoints=False)
        else:
            with pytest.raises(StoreError, match="has lost its end"):
                open_store()
            restarted(open_store)
            store = open_store(checkpoints=False)
        assert kinds(file).count("restart") == 1
        grow(store)
        store.close()
        assert signs(file)
        assert audit(file).problem is None
        shutil.rmtree(file.parent)
        shutil.copytree(safe, file.parent)
        step += 1
    assert step > 20
    open_store().close()


def test_calls_go_on_after_a_restart(begun: Store, open_store: OpenStore, file: Path) -> None:
    begun.close()
    lose(open_store, file)
    restarted(open_store)
    store = open_store()
    store.commit(settle(store, store.commit(admit(store)).seq))
    store.close()
    assert kinds(file)[-2:] == ["decision", "outcome"]
