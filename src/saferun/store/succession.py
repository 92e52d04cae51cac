"""One key of the ledger after another: how it is rotated, and how it goes on after a loss.

A rotation, each step of which may be the last before a kill:

1. a checkpoint by the old key, over all there is;
2. the new key, complete and on disk, beside the old one;
3. the `key` entry, with the note in which the old key names the new one: synced, and from
   here on it is the new key that signs;
4. the new key in the place of the old one, and a checkpoint by it.

A restart is the same with another name: what was signed as the old ledger and is lost can
never be contradicted, because nothing is ever signed under that name again.

1. a copy of the old key under the old name, and the new key beside it;
2. the `restart` entry, in one transaction with the end of all that was open;
3. the new key in the place of the old one;
4. a checkpoint by the new key, which replaces the high-water mark.

Whoever opens the store next finishes what a kill has left (`Custody.take_over`).
"""

from typing import NamedTuple

from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.ledger import KeyEntry, RestartEntry, Signs, rotation_text, sign_rotation
from saferun.store.custody import Custody
from saferun.store.locks import boots
from saferun.store.signing import (
    Ledger,
    Mark,
    alone,
    checkpoint,
    folder_of,
    mark_file,
    marked,
    new_origin,
    sync_log,
)
from saferun.store.store import Store
from saferun.store.versions import Vouch
from saferun.store.work import Restart, Rotate


class Rotated(NamedTuple):
    """The entry that names the new key, and the verifier keys of both."""

    seq: int
    before: str
    vkey: str


class Restarted(NamedTuple):
    """What the ledger was and is, from which entry on, and how many entries are lost."""

    seq: int
    was: str
    origin: str
    vkey: str
    lost: int


def rotate(
    store: Store,
    by: str,
    credential: bytes,
    reason: str | None = None,
    to: SigningTable | None = None,
) -> Rotated:
    """Have another key sign the checkpoints from now on.

    A new key is made where ours lies beside the store. One that is given from elsewhere cannot be
    put there by us, so `to` says where the next one is; it signs once, to show that it can, and
    whoever runs this makes `to` the configuration afterwards.

    Raises StoreError where the old key is not in reach or the new one cannot sign, and
    WrongSecretError where the secret is not the person's.
    """
    with alone(store.path, "rotation"):
        store.commit(Vouch(by, credential))
        ledger, old = store.ledger(), store.signer()
        elsewhere = store.custody.elsewhere
        if to is None and elsewhere is not None:
            raise StoreError(
                f"The signing key is held by {elsewhere}, so no other can be made in its place; "
                "say with --to FILE where the next one is."
            )
        checkpoint(store.path, old)
        new = store.custody.prepare(ledger.origin) if to is None else _given(store, to)
        new.signature(rotation_text(ledger.origin, new.vkey()).encode())
        entry = KeyEntry(
            vkey=new.vkey(), note=sign_rotation(old, new.vkey()).decode(), by=by, reason=reason
        )
        seq = store.commit(
            Rotate(entry=entry, credential=credential, before=_with_first(ledger, old))
        )
        _settle(store)
        # So that the mark knows of the new key: a copy from before it is one that is behind.
        checkpoint(store.path, new)
        return Rotated(seq, old.vkey(), new.vkey())


def loss(store: Store) -> Mark:
    """The high-water mark that a store is behind. Raises StoreError where it is not."""
    ledger = store.ledger()
    mark = marked(store.path, ledger.name)
    if mark is None or mark.checkpoint.origin in ledger.former or not store.is_behind():
        raise StoreError(
            f"{store.path} has lost nothing that its last checkpoint vouches for; "
            "there is nothing to restart."
        )
    if mark.checkpoint.origin != ledger.origin:
        raise StoreError(
            f"{mark_file(store.path, ledger.name)} is of another ledger than {store.path}: that of "
            f"{mark.checkpoint.origin}. Put a newer backup back, or name another file for `store`."
        )
    return mark


def restart(store: Store, by: str, credential: bytes, reason: str) -> Restarted:
    """Go on with a store that has lost its end, under another name, with the loss recorded.

    `store` was opened `behind`, and is to be closed and opened again afterwards.

    Raises StoreError where nothing is lost, and WrongSecretError where the secret is not the
    person's.
    """
    with alone(store.path, "rotation"):
        store.commit(Vouch(by, credential))
        mark, ledger, size = loss(store), store.ledger(), store.size()
        origin = new_origin(ledger.name)
        if store.custody.elsewhere is None:
            store.custody.keep(ledger.origin)
            new: Signs = store.custody.prepare(origin)
        else:
            given = store.custody.signer(origin, None)
            if given is None:
                raise store.custody.missing()
            new = given
        entry = RestartEntry(
            origin=origin,
            vkey=new.vkey(),
            was=ledger.origin,
            lost=max(0, mark.checkpoint.size - size),
            note=mark.note.decode(),
            by=by,
            reason=reason,
        )
        seq = store.commit(
            Restart(
                entry=entry,
                credential=credential,
                before=ledger,
                size=size,
                boot=store.boot,
                boots=boots(store.path),
            )
        )
        _settle(store)
        checkpoint(store.path, new)
        return Restarted(seq, ledger.origin, origin, new.vkey(), entry.lost)


def _with_first(ledger: Ledger, old: Signs) -> Ledger:
    """The ledger with the key that it began with, which one from before format 4 does not say."""
    return ledger if ledger.vkeys else ledger._replace(vkeys=((0, old.vkey()),))


def _given(store: Store, to: SigningTable) -> Signs:
    nowhere = folder_of(store.path) / "nowhere"
    found = Custody(nowhere, store.ledger().name, to, {}).signer(store.ledger().origin, None)
    if found is None:
        raise StoreError("The next key is given nowhere: name a file or a command under [signing].")
    return found


def _settle(store: Store) -> None:
    """The newest entry on disk, whatever the store's durability; then its key in place."""
    sync_log(store.path)
    with alone(store.path, "lock"):
        ledger = store.ledger()
        store.custody.take_over(ledger.origin, ledger.vkey)
