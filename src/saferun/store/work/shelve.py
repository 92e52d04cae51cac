"""Entries that go to an archive: first it is said in the ledger, then their bodies go."""

from collections.abc import Sequence

import msgspec

from saferun.errors import StoreError
from saferun.ledger import ArchiveEntry, encode
from saferun.store.transaction import Transaction
from saferun.store.versions import vouch


class Shelve(msgspec.Struct, frozen=True):
    """Say that a stretch of entries lies in an archive from now on. Returns the entry that does.

    `credential` is the keyed digest of the secret of the person by whom it is. Raises
    WrongSecretError where it is not theirs, and StoreError where `vkey`, which has signed the
    entry's note, is the ledger's key no more, where the stretch does not follow the
    one before it, or somebody still waits for the end of a call in it.
    """

    entry: ArchiveEntry
    credential: bytes
    vkey: str

    def apply(self, tx: Transaction) -> int:
        said = self.entry
        vouch(tx, said.by, self.credential)
        if (shelved := _shelved(tx)) != said.first:
            raise StoreError(
                f"The entries before {shelved} are archived, and these begin with {said.first}; "
                "somebody else has archived meanwhile. Do it again."
            )
        named = tx.read("SELECT value FROM meta WHERE name = 'vkey'")
        if named is not None and named[0] != self.vkey:
            raise StoreError("The ledger's key was rotated just now; archive again.")
        waiting = "SELECT 1 FROM head WHERE seq >= 0 AND seq < ? LIMIT 1"
        if said.size > tx.size or tx.read(waiting, said.size) is not None:
            raise StoreError("A call in what was to be archived has no outcome yet.")
        seq = tx.append(encode(said))
        tx.write("INSERT INTO archive VALUES (?, ?, ?)", said.first, said.size, seq)
        return seq


class Clear(msgspec.Struct, frozen=True):
    """Empty the bodies of entries that lie in an archive, and let their large values go.

    `leaves` are pairs of an entry's number, ascending, and its leaf, which stays.
    """

    leaves: Sequence[tuple[int, bytes]]
    blobs: Sequence[bytes] = ()

    def apply(self, tx: Transaction) -> None:
        if self.leaves[-1][0] >= _shelved(tx):
            raise StoreError("What is not archived is not taken away.")
        # Taken out and put back: a row that only gets shorter leaves its page half empty for
        # good, where one that is deleted has SQLite join the page with the next and free one.
        marks = ", ".join("?" * len(self.leaves))
        seqs = (seq for seq, _ in self.leaves)
        tx.write(f"DELETE FROM entry WHERE seq IN ({marks})", *seqs)  # noqa: S608 - marks alone
        rows = ", ".join(["(?, x'', ?)"] * len(self.leaves))
        columns = (each for row in self.leaves for each in row)
        tx.write(f"INSERT INTO entry VALUES {rows}", *columns)  # noqa: S608 - marks alone
        for blob in self.blobs:
            tx.write("DELETE FROM blob WHERE hash = ?", blob)


def _shelved(tx: Transaction) -> int:
    row = tx.read("SELECT coalesce(max(size), 0) FROM archive")
    assert row is not None
    return msgspec.convert(row[0], int)
