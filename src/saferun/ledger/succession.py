"""Under which names and keys a ledger has gone, and which of them may vouch for what.

Entry 0 names the ledger and its first key. A `key` entry changes the key, by a note that the
key before has signed; a `restart` entry changes name and key after a loss. So all keys follow
from the entries, and which of them one *trusts* follows from what is known from elsewhere:

- of keys that were kept outside, those that they or their followers have vouched for. A restart
  is signed by nobody, so trust does not reach across it: take the new key from a person.
- of the key that lies beside the ledger, all that the ledger states. That is no more than its
  own word, as everything is that lies in one place.

A key vouches for checkpoints of sizes above the number of the entry that brought it: a later
key has no word on what was signed before it was there. An earlier one keeps its word, because
a process that has not heard of the change may still be signing.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from saferun.ledger.archival import Archival, open_archival, stated_archival
from saferun.ledger.checkpoint import Checkpoint, open_checkpoint
from saferun.ledger.entry import EntryError, parse
from saferun.ledger.kind import ArchiveEntry, KeyEntry, LedgerEntry, RestartEntry
from saferun.ledger.note import NoteError, Verifier, exact_base64, open_note
from saferun.ledger.report import Wrong, counted
from saferun.ledger.rotation import rotation_text

Kept: TypeAlias = Checkpoint | bytes
"""A checkpoint that was opened already, or the signed note, to be opened by the right key."""


class Tenure(NamedTuple):
    """From entry `since` on, this key signs under its name."""

    since: int
    verifier: Verifier


class Succession:
    """What the entries so far say of names and keys. Moves forward only.

    `trusted` are keys that were kept outside, the oldest first; `beside` is the one that lies with
    the ledger.
    """

    def __init__(self, trusted: Sequence[Verifier], beside: Verifier | None) -> None:
        self.trusted = trusted
        self.lost = 0
        self._beside = beside
        self._names: list[tuple[int, str]] = []
        self._stated: list[Tenure] = []
        self._followed: list[Tenure] = []
        self._following = False
        self._first_is_known = False

    @property
    def origin(self) -> str | None:
        """The name that the ledger goes under now."""
        return self._names[-1][1] if self._names else None

    def origin_at(self, size: int) -> str | None:
        """The name on checkpoints of that size; None where the beginning was not read."""
        for since, name in reversed(self._names):
            if size > since:
                return name
        return None

    def resume(self, checkpoint: Checkpoint, key: Verifier) -> None:
        """Begin after the entries of a trusted checkpoint, with the key that opened it."""
        self._names.append((-1, checkpoint.origin))
        self._following = bool(self.trusted)
        self._first_is_known = True
        self._hold(-1, key)

    def begin(self, entry: LedgerEntry) -> None:
        """Entry 0.

        Of an early ledger that does not say its first key, the key that is known is taken to be
        that one; and since it may be a later one, what does not follow from it is passed over and
        not held against the ledger.
        """
        self._names.append((-1, entry.origin))
        if entry.vkey is not None:
            self._first_is_known = True
            self._hold(-1, _verifier(0, entry.vkey, entry.origin))
        elif self.trusted:
            self._hold(-1, self.trusted[0])
        elif self._beside is not None:
            self._hold(-1, self._beside)

    def rotate(self, seq: int, entry: KeyEntry) -> None:
        """A `key` entry. Raises Wrong where the key before has not signed it."""
        origin = self.origin
        following = _verifier(seq, entry.vkey, origin)
        if self._stated and origin is not None:
            try:
                said = open_note(entry.note.encode(), [self._stated[-1].verifier])
            except (NoteError, UnicodeEncodeError):
                said = None
            if said != rotation_text(origin, entry.vkey):
                if self._first_is_known:
                    raise Wrong(
                        seq,
                        f"Entry {seq} changes the ledger's key, and the key before it has not "
                        "signed that.",
                    )
                self._following = False
        self._hold(seq, following)

    def restart(self, seq: int, entry: RestartEntry) -> None:
        """A `restart` entry. Raises Wrong where it contradicts itself or the name before.

        Its note speaks against the ledger that holds it, so nobody gains by a false one, and
        it may be signed by a key whose own entry is among those that are lost.
        """
        note = entry.note.encode(errors="replace")
        try:
            seen = stated(note)
        except NoteError:
            seen = None
        if (
            (self.origin is not None and entry.was != self.origin)
            or entry.origin == entry.was
            or seen is None
            or seen.origin != entry.was
            or entry.lost < 0
            # A fork loses none in number: it had as many entries or more, and others.
            or (seen.size != seq + entry.lost if entry.lost else seen.size > seq)
        ):
            raise Wrong(
                seq,
                f"Entry {seq} says that the ledger goes on after a loss, and its checkpoint or "
                "its names do not agree with that.",
            )
        self.lost += entry.lost
        self._names.append((seq, entry.origin))
        self._following = False
        self._hold(seq, _verifier(seq, entry.vkey, entry.origin))

    def archived(self, seq: int, entry: ArchiveEntry) -> bytes:
        """The root that an `archive` entry states.

        Raises Wrong where its note says otherwise, or is not signed by the key of that time: an
        earlier one, which somebody may have got hold of since, lets no body go any more.
        """
        said = archived_by(entry, [self._stated[-1].verifier] if self._first_is_known else None)
        if said is None or said.size > seq or self.origin not in (None, said.origin):
            raise Wrong(
                seq,
                f"Entry {seq} says what was archived, and its note says otherwise or is not "
                "signed by the ledger's key.",
            )
        return said.root

    def open(self, kept: Kept, *, external: bool) -> Checkpoint | None:
        """A checkpoint, once the entries of its size were read. None where no key is known.

        Raises Wrong where it is another ledger's, or signed by no key that may vouch for it.
        """
        what = "external" if external else "local"
        checkpoint = kept if isinstance(kept, Checkpoint) else stated(kept)
        self._agree(checkpoint, what)
        if isinstance(kept, Checkpoint):
            return kept
        tenures = self._followed if external and self.trusted else self._stated
        known = [
            each.verifier
            for each in tenures
            if each.since < checkpoint.size or each.since < 0
            if each.verifier.name == checkpoint.origin
        ]
        try:
            return open_checkpoint(kept, known, checkpoint.origin)
        except NoteError as problem:
            if not external and not self._first_is_known:
                return None
            raise Wrong(
                None,
                f"The {what} checkpoint of {counted(checkpoint.size)} names this ledger and does "
                f"not open. {problem}",
            ) from None

    def _agree(self, checkpoint: Checkpoint, what: str) -> None:
        """Whether a checkpoint names the ledger as it was called at that size."""
        due = self.origin_at(checkpoint.size)
        if due is None or due == checkpoint.origin:
            return
        for at, (_, name) in enumerate(self._names[:-1]):
            since = self._names[at + 1][0]
            if name == checkpoint.origin and checkpoint.size > since:
                raise Wrong(
                    None,
                    f"The {what} checkpoint vouches for {counted(checkpoint.size)}, and only the "
                    f"first {since:,} of them are there: the tail was cut off, and the ledger "
                    f"itself records the loss at entry {since}.",
                )
        raise Wrong(
            None,
            f"The {what} checkpoint is of the ledger {checkpoint.origin!r}, "
            f"and this one calls itself {due!r}.",
        )

    def finish(self) -> None:
        """Raises Wrong where the key that is known is none of those that the ledger states."""
        if not self._first_is_known:
            return
        if self.trusted and not self._followed:
            raise Wrong(
                None,
                "The key that was given is none of those that the ledger states as its own: "
                "the ledger was replaced, or the key is another's.",
            )
        beside = None if self.trusted else self._beside
        if beside and all(each.verifier.vkey != beside.vkey for each in self._stated):
            raise Wrong(
                None,
                "The signing key beside the ledger is none of those that the ledger states as its "
                "own: one of them was replaced.",
            )

    def _hold(self, since: int, verifier: Verifier) -> None:
        tenure = Tenure(since, verifier)
        self._stated.append(tenure)
        if not self._following:
            self._following = any(known.vkey == verifier.vkey for known in self.trusted)
        if self._following:
            self._followed.append(tenure)


def archived_by(entry: ArchiveEntry, keys: Iterable[Verifier] | None) -> Archival | None:
    """What an `archive` entry says, None where its note is not one of these keys' and the same.

    None for `keys` leaves the signature, where nobody knows which key the ledger had.
    """
    try:
        note = entry.note.encode()
        said = stated_archival(note) if keys is None else open_archival(note, keys)
    except (NoteError, UnicodeEncodeError):
        return None
    root = exact_base64(entry.root)
    return said if (said.first, said.size, said.root) == (entry.first, entry.size, root) else None


def followers(trusted: Verifier, keys: Iterable[bytes]) -> list[Verifier]:
    """The trusted key, and each of the same name that the one before it has vouched for.

    `keys` are the bodies of `key` entries, the oldest first. Those that prove nothing to whoever
    has this key are passed over.
    """
    known = [trusted]
    for body in keys:
        try:
            entry = parse(body).entry
            if isinstance(entry, KeyEntry):
                said = open_note(entry.note.encode(), known[-1:])
                if said == rotation_text(trusted.name, entry.vkey):
                    known.append(Verifier(entry.vkey))
        except (EntryError, NoteError, UnicodeEncodeError):
            continue
    return known


def named_keys(bodies: Iterable[bytes]) -> list[Verifier]:
    """The keys that entries name, whoever vouches for them: a ledger's own word on itself."""
    known: list[Verifier] = []
    for body in bodies:
        try:
            entry = parse(body).entry
            if isinstance(entry, LedgerEntry | KeyEntry | RestartEntry) and entry.vkey is not None:
                known.append(Verifier(entry.vkey))
        except (EntryError, NoteError, UnicodeEncodeError):
            continue
    return known


def stated(note: bytes) -> Checkpoint:
    """What a signed note says that it is, before anybody has looked at its signatures.

    Raises:
        NoteError: it states no checkpoint.

    """
    if type(note) is not bytes:
        raise NoteError("It is none.")
    try:
        return Checkpoint.parse(note[: note.rfind(b"\n\n") + 1].decode())
    except UnicodeDecodeError:
        raise NoteError("It is not UTF-8.") from None


def _verifier(seq: int, vkey: str, origin: str | None) -> Verifier:
    try:
        verifier = Verifier(vkey)
    except (NoteError, UnicodeEncodeError):
        raise Wrong(seq, f"Entry {seq} names a verifier key that is none.") from None
    if origin is not None and verifier.name != origin:
        raise Wrong(
            seq,
            f"Entry {seq} names the key of {verifier.name!r} for the ledger {origin!r}: "
            "a ledger's key bears its origin as its name.",
        )
    return verifier
