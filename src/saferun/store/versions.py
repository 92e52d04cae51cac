"""Versions of policies: those that ever decided, which decide now, and what runs began with.

A version is kept whole, in the transaction of the first decision by it, so there is never a
decision that cannot be made again. An assignment, its version and its entry in the ledger are
one transaction as well, and follow the one before by number: of two people who publish at
once, the second is told.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from saferun.errors import StoreError
from saferun.ledger import ApprovalEntry, PolicyEntry, Verifier, encode
from saferun.policy import assignment
from saferun.policy.assignment import Assignment
from saferun.store.reading import Reader
from saferun.store.transaction import Transaction

PIN = 86_400_000_000
"""Microseconds that a run keeps the version that it began with."""


INVITED = 86_400_000_000
"""Microseconds that an invitation is good for."""

_INVITED = "invited "
"""Before a person's name: what the digests of their invitations stand under."""


class NotInvitedError(StoreError):
    """Somebody would enrol, and no admin has let them, in one sentence."""


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

    As soon as one of the `admins` is known by one, it takes an `invitation`, the digest of a code
    for that person, and uses it up. `entry` says in the ledger that somebody has enrolled. Raises
    StoreError where the person is known by another secret already, and NotInvitedError.
    """

    person: str
    credential: bytes
    admins: frozenset[str] = frozenset()
    invitation: bytes | None = None
    entry: ApprovalEntry | None = None

    def apply(self, tx: Transaction) -> None:
        kept = _kept(tx.read(_CREDENTIAL, self.person))
        if kept[:_DIGEST].strip(b"\0"):
            vouch(tx, self.person, self.credential)
            return
        if not self._invited(tx) and _has_admin(tx, self.admins):
            raise NotInvitedError(
                f"{self.person} is not invited: an admin makes a code with saferun login"
                f" {self.person} --invite, and it is good once, for a day."
            )
        if _own(self.credential) in _withdrawn(kept):
            raise StoreError(
                f"That secret of {self.person} was withdrawn; remove the file that it is in, and "
                f"run saferun login {self.person} --new again."
            )
        known = _own(self.credential) + kept[_DIGEST:]
        tx.write("INSERT OR REPLACE INTO person VALUES (?, ?)", self.person, known)
        if self.entry is not None:
            tx.append(encode(self.entry))

    def _invited(self, tx: Transaction) -> bool:
        """Whether the code is one that was made for them; it is used up by that."""
        if self.invitation is None:
            return False
        at = (f"{_INVITED}{self.person}", self.invitation.hex())
        row = tx.read("SELECT until FROM callback WHERE channel = ? AND id = ?", *at)
        tx.write("DELETE FROM callback WHERE channel = ? AND id = ?", *at)
        return row is not None and msgspec.convert(row[0], int) > tx.now


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """Let a person enrol, once, by a code of which only a keyed digest is kept.

    The last one for a person is the only one. Raises StoreError where the secret is not that of
    an admin's, or the person has enrolled already.
    """

    person: str
    invitation: bytes
    by: str
    credential: bytes
    admins: frozenset[str]
    entry: ApprovalEntry

    def apply(self, tx: Transaction) -> None:
        vouch(tx, self.by, self.credential)
        if self.by not in self.admins:
            raise StoreError(
                f"{self.by} is no admin, and an admin invites; [people.{self.by}] says so by"
                ' role = "admin".'
            )
        if _is_known(tx, self.person):
            raise StoreError(f"{self.person} has a secret already, and needs no invitation.")
        channel = f"{_INVITED}{self.person}"
        tx.write("DELETE FROM callback WHERE channel = ?", channel)
        tx.write(
            "INSERT INTO callback VALUES (?, ?, ?)",
            *(channel, self.invitation.hex(), tx.now + INVITED),
        )
        tx.append(encode(self.entry))


def _has_admin(tx: Transaction, admins: frozenset[str]) -> bool:
    return any(_is_known(tx, name) for name in admins)


def _is_known(tx: Transaction, person: str) -> bool:
    """Whether the store knows somebody by a secret that was not withdrawn."""
    return bool(_kept(tx.read(_CREDENTIAL, person))[:_DIGEST].strip(b"\0"))


class Withdraw(msgspec.Struct, frozen=True):
    """Have a person be known by no secret any more, and never again by the one that they had.

    `by` is who does it, by a secret of their own. Returns whether there was one to withdraw.
    Raises WrongSecretError where `credential` is not that of `by`.
    """

    person: str
    by: str
    credential: bytes

    def apply(self, tx: Transaction) -> bool:
        vouch(tx, self.by, self.credential)
        kept = _kept(tx.read(_CREDENTIAL, self.person))
        if not kept[:_DIGEST].strip(b"\0"):
            return False
        gone = bytes(_DIGEST) + kept[: _DIGEST * _WITHDRAWN]
        tx.write("INSERT OR REPLACE INTO person VALUES (?, ?)", self.person, gone)
        entry = ApprovalEntry(
            id="", event="withdrawn", by=self.by, why=f"the secret of {self.person}"
        )
        tx.append(encode(entry))
        return True


_CREDENTIAL = "SELECT credential FROM person WHERE name = ?"

_DIGEST = 16
"""Bytes of the digest that somebody is known by, which is all zeros where they are by none.

It stands first, and behind it those that were withdrawn, the newest first.
"""

_WITHDRAWN = 1_000
"""Secrets of one person that are remembered as withdrawn."""


def _kept(row: tuple[object, ...] | None) -> bytes:
    return b"" if row is None else msgspec.convert(row[0], bytes)


def _withdrawn(kept: bytes) -> list[bytes]:
    return [kept[start : start + _DIGEST] for start in range(_DIGEST, len(kept), _DIGEST)]


def _is_known_by(kept: bytes, credential: bytes) -> bool:
    """Whether it is the secret that somebody is known by, in constant time."""
    own = _own(credential)
    return hmac.compare_digest(kept[:_DIGEST].ljust(_DIGEST, b"\0"), own) and bool(own.strip(b"\0"))


def _own(credential: bytes) -> bytes:
    """A credential in the bytes that it is kept in. A store's own digests are that already."""
    return credential if len(credential) == _DIGEST else sha256(credential).digest()[:_DIGEST]


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
    # Compared in either case: how long it takes does not tell who is known here.
    if not _is_known_by(_kept(tx.read(_CREDENTIAL, person)), credential):
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


class Kept(NamedTuple):
    """A version of a policy that the store keeps.

    `state` is `live`, or how it is tried, `share` of how many percent of the runs, and None where
    it is neither. `since` is when it was first kept, in microseconds since 1970, UTC, and `by` who
    published it first, None where nobody did.
    """

    version: str
    state: Literal["live", "shadow", "canary"] | None
    share: int | None
    since: int
    by: str | None


def history_of(reader: Reader, name: str, verifier: Verifier | None = None) -> list[Assignment]:
    """All that ever decided which versions hold for a policy, the oldest first.

    Raises PolicyError where one is not what was published, or is not signed by `verifier`.
    """
    origin, former = reader.origin, reader.former
    return [
        assignment.read(note, name=name, origin=origin, former=former, verifier=verifier)
        for note in assignments_of(reader, name)
    ]


def standing_of(reader: Reader, name: str, history: Sequence[Assignment]) -> list[Kept]:
    """The versions kept of a policy, oldest first, each with what it does by its history."""
    now = history[-1] if history else None
    found: list[Kept] = []
    for version, since in versions_of(reader, name):
        state: Literal["live", "shadow", "canary"] | None = None
        if now is not None and version == now.live:
            state = "live"
        elif now is not None and version == now.candidate:
            state = now.trial
        by = next((each.by for each in history if version in (each.live, each.candidate)), None)
        share = now.share if now is not None and state == "canary" else None
        found.append(Kept(version, state, share, since, by))
    return found


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
    return bool(_kept(reader.one(_CREDENTIAL, person))[:_DIGEST].strip(b"\0"))


def is_vouched(reader: Reader, person: str, credential: bytes) -> bool:
    """Whether a person is known by that secret still."""
    return _is_known_by(_kept(reader.one(_CREDENTIAL, person)), credential)
