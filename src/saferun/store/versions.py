"""Versions of policies: those that ever decided, which decide now, and what runs began with.

A version is kept whole, in the transaction of the first decision by it, so there is never a
decision that cannot be made again. An assignment, its version and its entry in the ledger are
one transaction as well, and follow the one before by number: of two people who publish at
once, the second is told.
"""

import hmac
from hashlib import sha256

import msgspec

from saferun.errors import StoreError
from saferun.ledger import PolicyEntry, encode
from saferun.policy.assignment import Assignment
from saferun.store.reading import Reader
from saferun.store.transaction import Transaction

PIN = 86_400_000_000
"""Microseconds that a run keeps the version that it began with."""


class WrongSecretError(StoreError):
    """A secret that is not the person's, in one sentence."""


class Version(msgspec.Struct, frozen=True):
    """One version of a policy, as `Policy.canonical` has it."""

    name: str
    version: str
    data: bytes

    def write(self, tx: Transaction) -> None:
        """Keep it, unless it is kept already."""
        tx.write(
            "INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?)",
            *(self.version, self.name, tx.now, self.data),
        )


class Pinned(msgspec.Struct, frozen=True):
    """The version that a run keeps, since which serial, and until when."""

    version: str
    serial: int
    until: int


class Pin(msgspec.Struct, frozen=True):
    """That a run, with its children, keeps a version of a policy.

    `serial` is that of the assignment under which it does, and `floor` the one before which
    no pin counts any more; see `Assignment`.
    """

    root: str
    name: str
    version: str
    serial: int
    floor: int

    def settled(self, tx: Transaction) -> Pinned:
        """What the run keeps: what it has kept before, or else this from now on."""
        row = tx.read(
            "SELECT version, serial, until FROM pin WHERE root = ? AND name = ?",
            *(self.root, self.name),
        )
        if row is not None:
            held = msgspec.convert(row, tuple[str, int, int])
            if held[2] > tx.now and held[1] >= self.floor:
                return Pinned(*held)
        # None that is over is looked for again; here they cost nothing but what they took.
        tx.write("DELETE FROM pin WHERE until <= ?", tx.now)
        until = tx.now + PIN
        tx.write(
            "INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?)",
            *(self.root, self.name, self.version, self.serial, until),
        )
        return Pinned(self.version, self.serial, until)


class Assign(msgspec.Struct, frozen=True, kw_only=True):
    """Have an assignment hold from now on. `note` is what its author has written.

    `credential` is the keyed digest of their secret. Raises StoreError where it is not theirs,
    where somebody else was first, or where the store has not kept what is to decide.
    """

    assignment: Assignment
    note: bytes
    credential: bytes
    version: Version | None = None

    def apply(self, tx: Transaction) -> int:
        said = self.assignment
        vouch(tx, said.by, self.credential)
        row = tx.read("SELECT max(serial) FROM assignment WHERE name = ?", said.name)
        newest = 0 if row is None or row[0] is None else msgspec.convert(row[0], int)
        if said.serial != newest + 1:
            raise StoreError(
                f"Somebody else has changed what decides for {said.name!r} meanwhile (it is at "
                f"{newest} now); look at saferun policy versions {said.name}, and do it again."
            )
        if self.version is not None:
            self.version.write(tx)
        for version in {said.live, said.candidate} - {None}:
            if self.version is not None and self.version.version == version:
                continue
            if tx.read("SELECT 1 FROM version WHERE version = ?", version) is None:
                raise StoreError(f"The store has no version {str(version)[:12]}; publish it first.")
        tx.write("INSERT INTO assignment VALUES (?, ?, ?)", said.name, said.serial, self.note)
        return tx.append(
            encode(
                PolicyEntry(
                    name=said.name,
                    serial=said.serial,
                    act=said.act,
                    live=said.live,
                    candidate=said.candidate,
                    by=said.by,
                    note=self.note.decode(),
                )
            )
        )


class Enrol(msgspec.Struct, frozen=True):
    """Have a person be known by a secret, of which only a keyed digest is kept.

    Raises StoreError where the person is known by another one already.
    """

    person: str
    credential: bytes

    def apply(self, tx: Transaction) -> None:
        if tx.read("SELECT 1 FROM person WHERE name = ?", self.person) is not None:
            vouch(tx, self.person, self.credential)
            return
        tx.write("INSERT INTO person VALUES (?, ?)", self.person, self.credential)


class Vouch(msgspec.Struct, frozen=True):
    """Whether a person is known by that secret; raises StoreError where it is not so."""

    person: str
    credential: bytes

    def apply(self, tx: Transaction) -> None:
        vouch(tx, self.person, self.credential)


def vouch(tx: Transaction, person: str, credential: bytes) -> None:
    """Hold a person's secret against what is kept of it, in constant time.

    Raises WrongSecretError where it is another.
    """
    row = tx.read("SELECT credential FROM person WHERE name = ?", person)
    kept = b"" if row is None else msgspec.convert(row[0], bytes)
    # Compared in either case: how long it takes does not tell who is known here.
    if not hmac.compare_digest(kept, credential) or row is None:
        raise WrongSecretError(
            f"That secret is not {person}'s in this store; run saferun login {person}."
        )


def intact(version: str, data: object) -> bytes:
    """The canonical form of a version, as it was kept. Raises StoreError where it was changed."""
    if not isinstance(data, bytes) or sha256(data).hexdigest() != version:
        raise StoreError(f"What the store has kept of version {version[:12]} is damaged.")
    return data


def kept_version(reader: Reader, version: str) -> bytes:
    """A version of a policy, as `policy.restore` takes it.

    Raises StoreError where it is not kept, or is not what was kept.
    """
    row = reader.one("SELECT data FROM version WHERE version = ?", version)
    if row is None:
        raise StoreError(f"The store has no version {version[:12]} of a policy.")
    return intact(version, row[0])


def versions_of(reader: Reader, name: str) -> list[tuple[str, int]]:
    """The versions kept of a policy, each with the time since which it is, oldest first."""
    found = "SELECT version, since FROM version WHERE name = ? ORDER BY since, version"
    return [(row[0], row[1]) for row in reader.every(found, name)]


def kept_policies(reader: Reader) -> list[str]:
    """The names of all policies of which a version is kept."""
    return [row[0] for row in reader.every("SELECT DISTINCT name FROM version ORDER BY name")]


def assignments_of(reader: Reader, name: str) -> list[bytes]:
    """All that ever decided which versions hold for a policy, the oldest first."""
    found = "SELECT note FROM assignment WHERE name = ? ORDER BY serial"
    return [_note(reader, name, row[0]) for row in reader.every(found, name)]


def assignment_of(reader: Reader, name: str) -> bytes | None:
    """What decides which versions of a policy hold now."""
    row = reader.one(
        "SELECT note FROM assignment WHERE name = ? ORDER BY serial DESC LIMIT 1", name
    )
    return None if row is None else _note(reader, name, row[0])


def _note(reader: Reader, name: str, note: object) -> bytes:
    # A rewritten row may hold any type that SQLite has.
    if not isinstance(note, bytes):
        raise StoreError(f"what was published under {name!r} in {reader.path} was changed")
    return note


def pinned_runs(reader: Reader, now: int) -> list[str]:
    """The runs, each with its children, that keep a version of a policy at that time."""
    return [row[0] for row in reader.every("SELECT root FROM pin WHERE until > ?", now)]


def is_enrolled(reader: Reader, person: str) -> bool:
    """Whether a person is known by a secret."""
    return reader.one("SELECT 1 FROM person WHERE name = ?", person) is not None
