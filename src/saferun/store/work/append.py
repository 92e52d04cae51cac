"""Entries that decide nothing, and what goes with entries of any kind."""

from collections.abc import Sequence

import msgspec

from saferun import admission
from saferun.admission import NOTHING, Due
from saferun.said import Texts
from saferun.sealing import Sealed
from saferun.store.transaction import NOBODY, Transaction


class Blob(msgspec.Struct, frozen=True):
    """A value too large for an entry, under the hash of salt and data that the entry names."""

    hash: bytes
    salt: bytes
    data: bytes

    def write(self, tx: Transaction) -> None:
        tx.write("INSERT OR IGNORE INTO blob VALUES (?, ?, ?)", self.hash, self.salt, self.data)


class Seal(msgspec.Struct, frozen=True):
    """Values that an entry holds as commitments, and whose they are."""

    subject: bytes
    values: Sequence[Sealed] = ()

    def write(self, tx: Transaction) -> None:
        if self.values:
            tx.vault.keep(tx, self.subject, self.values)


class Opening(msgspec.Struct, frozen=True):
    """The run of a call: whom it is bound to, and its first entry should it be new.

    `said` is what that entry says of what people have asked for.
    """

    run_id: str
    root: str
    identity: bytes
    entry: bytes
    seal: Seal | None = None
    said: Texts = ()

    def admits(self, tx: Transaction) -> bool:
        """Bind the run at its first use; whether it is still the same one's afterwards."""
        bound = tx.identity(self.run_id)
        if bound is None:
            seq = tx.append(self.entry)
            tx.bind(self.run_id, seq, self.identity)
            if self.seal is not None:
                self.seal.write(tx)
            if self.root != self.run_id:
                tx.write("INSERT OR IGNORE INTO family VALUES (?, ?)", self.root, seq)
                tx.write("INSERT OR IGNORE INTO child VALUES (?, ?)", self.root, self.run_id)
            return True
        return bound == self.identity


class Append(msgspec.Struct, frozen=True):
    """Append entries that decide nothing: what models and users said, how runs ended.

    `due` is what they have cost, which is counted whether it fits or not: it is spent.
    """

    entries: Sequence[bytes]
    boot: str
    opening: Opening | None = None
    blobs: Sequence[Blob] = ()
    due: Due = NOTHING
    seal: Seal | None = None

    def apply(self, tx: Transaction) -> None:
        if self.opening is not None and not self.opening.admits(tx):
            return
        for entry in self.entries:
            tx.append(entry)
        for blob in self.blobs:
            blob.write(tx)
        if self.seal is not None:
            self.seal.write(tx)
        for move in admission.counted(self.due.charges, tx.group, tx.now):
            tx.put(*move)
        if self.opening is not None:
            seen_by_one(tx, self.opening.root, self.boot)


class Import(msgspec.Struct, frozen=True):
    """Bring in runs from elsewhere, whole or not at all. Returns the ids of those that are new.

    `entries` are those of all of them, each with the id of its run, in the order in which they
    came about. An id is bound to the file that it came from, so no live run can go on with it,
    and the same file brings it in once. It opens no call, and moves no counter.
    """

    identity: bytes
    entries: Sequence[tuple[str, bytes]]
    blobs: Sequence[Blob] = ()
    seals: Sequence[Seal] = ()

    def apply(self, tx: Transaction) -> frozenset[str]:
        runs = dict.fromkeys(run for run, _ in self.entries)
        new = frozenset(run for run in runs if tx.identity(run) is None)
        if not new:
            return new
        begun = set[str]()
        for run, entry in self.entries:
            if run in new:
                seq = tx.append(entry)
                if run not in begun:
                    begun.add(run)
                    tx.bind(run, seq, self.identity)
        for blob in self.blobs:
            blob.write(tx)
        for seal in self.seals:
            seal.write(tx)
        return new


def seen_by_one(tx: Transaction, root: str, boot: str) -> None:
    """An entry of a run that another process follows: from here on, nobody has seen all of it."""
    if tx.follower(root) not in (None, boot, NOBODY):
        tx.follow(root, NOBODY)
