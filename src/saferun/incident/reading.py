"""An incident file read from its first byte to its last, believing nothing before it is proven.

1. The zip is in its one form, and unpacks to no more than such a file has: see `container`.
2. The manifest fits its note, and each part the manifest, packed and unpacked.
3. Each entry is one, in ascending order, of the runs that are named. From their leaves and the
   roots between them, the tree is grown, and ends at the root that the manifest states, and the
   checkpoint, if there is one.
4. Each large value fits the hash that an entry names it by, and each version of a policy its own.
5. Checkpoint and manifest are signed, by a key that follows from one that was given.

What comes out of the first four is that the file is whole. Only the fifth says whose it is; a key
that stands in the file itself says nothing, for whoever made the file has put it there.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from saferun import files
from saferun.incident import manifest
from saferun.incident.container import IncidentError, Part, Unpack
from saferun.incident.manifest import Manifest
from saferun.incident.packing import MAX_ENTRIES, MAX_PROOF, MAX_RUNS, NAMING
from saferun.ledger import (
    AnyEntry,
    ControlEntry,
    EntryError,
    LedgerEntry,
    NoteError,
    Parsed,
    Verifier,
    leaf_hash,
    open_checkpoint,
    parse,
    read,
)
from saferun.ledger.blob import SALT_BYTES
from saferun.ledger.entry import MAX_BODY
from saferun.ledger.excerpt import Regrown
from saferun.ledger.note import MAX_NOTE, signatures
from saferun.ledger.proof import ProofError
from saferun.ledger.succession import followers, named_keys, stated
from saferun.ledger.tree import HASH_BYTES
from saferun.store.sqlite import MAX_CELL

_PAGE = 4 << 20
"""Bytes of entries that are handed on at a time."""

State: TypeAlias = Literal["verified", "whole"]
"""`verified`: a key from outside vouches for all of it. `whole`: it fits together, and no more."""


class Line(NamedTuple):
    """An entry of a file: as it was read, its bytes, and the leaf that the ledger has of it."""

    parsed: Parsed
    body: bytes
    leaf: bytes
    redacted: bool


class Sink(Protocol):
    """Takes what a file has, as it is read. It is good only once all of it has come."""

    def take(self, lines: Sequence[Line]) -> None: ...

    def blob(self, name: bytes, salt: bytes, data: bytes) -> None: ...

    def version(self, version: str, data: bytes) -> None: ...


class _Nobody:
    def take(self, lines: Sequence[Line]) -> None:
        pass

    def blob(self, name: bytes, salt: bytes, data: bytes) -> None:
        pass

    def version(self, version: str, data: bytes) -> None:
        pass


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a file. `sha256` is that of its manifest, in hex.

    `keys` are those that the file itself names, each with its entry. `covered` says that a
    signed checkpoint states the root, and `signed` that somebody has signed the manifest. `by` is
    the key from outside that vouches for them, where one was given and does. `missing` are large
    values that an entry names and the file has not, and `sealed` those that nothing in it opens.
    `reruns` says that nothing of its runs was redacted or left out.
    """

    manifest: Manifest
    sha256: str
    keys: tuple[tuple[int, str], ...]
    covered: bool
    signed: bool
    by: str | None
    began: int
    ended: int
    values: int
    missing: int
    sealed: int
    policies: int
    reruns: bool

    @property
    def proven(self) -> int:
        """Entries that are those of the ledger, to the byte."""
        return self.manifest.entries - len(self.manifest.redacted)

    @property
    def state(self) -> State:
        return "verified" if self.by is not None else "whole"

    @property
    def exit_code(self) -> int:
        """0 where it is verified, 2 where nothing from outside vouches for it as a whole."""
        return 0 if self.by is not None else 2

    @property
    def summary(self) -> str:
        """The state in one sentence."""
        many = f"{self.manifest.entries:,} entries of {self.manifest.origin}"
        if self.by is not None:
            redacted = len(self.manifest.redacted)
            but = (
                f" {redacted:,} of them are redacted: that they are there is proven, and for what "
                "they say the signature of the file vouches."
            )
            said = f"Verified: {many}, which the key that was given vouches for."
            return said + but * bool(redacted)
        if not self.covered and not self.signed:
            return f"Whole: {many}, and nobody has signed them."
        if not self.covered:
            return f"Whole: {many}; the file is signed, and no checkpoint covers them."
        if not self.signed and self.manifest.redacted:
            return f"Whole: {many}; nobody has signed what was redacted in them."
        if not self.signed:
            return f"Whole: {many}; nobody has signed the file, and some may have been taken out."
        return f"Whole: {many}, signed by a key that nobody outside of the file vouches for."


class Grown(NamedTuple):
    """The tree of a file, as `store.excerpt` keeps it."""

    nodes: list[tuple[int, int, bytes]]
    frontier: bytes


def examine(path: Path, trusted: Sequence[Verifier] = ()) -> Incident:
    """What is in a file, all of which was looked at. `trusted` are keys from outside.

    Raises IncidentError where it is no incident file, was changed, or is not vouched for by the
    keys that were given though somebody has signed it; and OSError.
    """
    found, _ = gone_through(path, trusted, _Nobody())
    return found


def gone_through(path: Path, trusted: Sequence[Verifier], sink: Sink) -> tuple[Incident, Grown]:
    """As `examine`, with all that is in the file given to a `sink`, and its tree."""
    with files.ordinary(path) as file:
        return _Reading(Unpack(file.fileno()), sink).all(trusted)


class _Reading:
    def __init__(self, unpack: Unpack, sink: Sink) -> None:
        self._unpack = unpack
        self._sink = sink
        self._named: dict[str, int] = {}
        self._versions: set[str] = set()
        self._naming: list[bytes] = []
        self._keys: list[tuple[int, str]] = []
        self._sealed = self._redacted = 0
        self._reruns = True
        self._times: list[int] = []

    def all(self, trusted: Sequence[Verifier]) -> tuple[Incident, Grown]:
        data = self._unpack.whole(manifest.MANIFEST, manifest.MAX_MANIFEST)
        note = self._unpack.whole(manifest.NOTE, MAX_NOTE)
        origin = _origin(note)
        signed = manifest.hold(note, origin, data)
        said = manifest.parse(data)
        _check(said, origin)
        if [*(each.name for each in said.parts), manifest.MANIFEST, manifest.NOTE] != (
            self._unpack.names
        ):
            raise IncidentError("What lies in the file is not what its manifest says.")
        grown = self._entries(said)
        values, policies = self._beside(said.parts[2:])
        found = Incident(
            manifest=said,
            sha256=sha256(data).hexdigest(),
            keys=tuple(self._keys),
            covered=said.checkpoint is not None,
            signed=signed,
            by=self._vouched(said, note if signed else None, trusted),
            began=self._times[0],
            ended=self._times[-1],
            values=values,
            missing=len(self._named) - values,
            sealed=self._sealed,
            policies=policies,
            reruns=self._reruns and not said.left_out,
        )
        return found, Grown(grown.nodes, grown.frontier())

    # Entries.

    def _entries(self, said: Manifest) -> Regrown:
        lines, proof = said.parts[:2]
        if proof.bytes > MAX_PROOF:
            raise IncidentError(f"{manifest.PROOF} has more than {MAX_PROOF:,} bytes.")
        hashes = _hashes(self._unpack.read(proof))
        redacted = frozenset(said.redacted)
        runs, grown, page, many, held = frozenset(said.runs), Regrown(), list[Line](), 0, 0
        try:
            for body in _lines(self._unpack.read(lines)):
                line = self._line(body, many, runs, redacted, grown, hashes, said.size)
                many += 1
                page.append(line)
                held += len(body)
                if many > said.entries:
                    break
                if held > _PAGE:
                    self._sink.take(page)
                    page, held = [], 0
            grown.skip(said.size, hashes)
        except ProofError as problem:
            raise IncidentError(f"The entries do not lead to their root. {problem}") from None
        self._sink.take(page)
        over = next(hashes, None) is not None
        if many != said.entries or over or self._redacted != len(said.redacted):
            raise IncidentError("The file has more or fewer entries than its manifest says.")
        if b64encode(grown.root()).decode() != said.root:
            raise IncidentError(
                "The entries do not lead to the root that the manifest states: one was changed."
            )
        return grown

    def _line(
        self,
        body: bytes,
        many: int,
        runs: frozenset[str],
        redacted: frozenset[int],
        grown: Regrown,
        hashes: Iterator[bytes],
        size: int,
    ) -> Line:
        try:
            parsed = parse(body)
        except EntryError as problem:
            raise IncidentError(f"Line {many + 1} of {manifest.ENTRIES} {problem.what}.") from None
        seq, entry = parsed.seq, parsed.entry
        if (
            seq >= size
            or (many == 0) != isinstance(entry, LedgerEntry)
            or (many == 0) != (seq == 0)
        ):
            raise IncidentError(f"Entry {seq} is none that can stand where it does.")
        if not (isinstance(entry, NAMING) or _belongs(entry, runs)):
            raise IncidentError(f"Entry {seq} is of none of the runs that the file is of.")
        grown.skip(seq, hashes)
        other = seq in redacted
        leaf = next(hashes, b"") if other else leaf_hash(body)
        if len(leaf) != HASH_BYTES:
            raise IncidentError(f"The leaf of entry {seq}, which was redacted, is not there.")
        if other:
            self._redacted += 1
            self._reruns = self._reruns and getattr(entry, "run", None) is None
            try:
                read(body)
            except EntryError as problem:
                raise IncidentError(f"Entry {seq} {problem.what}.") from None
        grown.append(leaf)
        self._note(parsed, body)
        return Line(parsed, body, leaf, other)

    def _note(self, parsed: Parsed, body: bytes) -> None:
        entry = parsed.entry
        self._times[1:] = [parsed.time]
        if isinstance(entry, NAMING):
            self._naming.append(body)
            if entry.vkey is not None:
                self._keys.append((parsed.seq, entry.vkey))
        for name, size in entry.blobs.items():
            if self._named.setdefault(name, size) != size:
                raise IncidentError(f"Entry {parsed.seq} names a large value by another size.")
        self._sealed += len(entry.sealed)
        policy, other = getattr(entry, "policy", None), getattr(entry, "other", None)
        if policy is not None:
            self._versions.add(policy.version)
        if other is not None:
            self._versions.add(other.policy.version)

    # What lies beside them.

    def _beside(self, parts: Sequence[Part]) -> tuple[int, int]:
        """Large values and versions, how many of each. They come in the order of their names."""
        if [each.name for each in parts] != sorted(each.name for each in parts):
            raise IncidentError("What lies in the file does not lie in its order.")
        values = policies = 0
        for part in parts:
            if part.bytes > MAX_CELL:
                raise IncidentError(f"{part.name} is larger than any value that a store keeps.")
            data = b"".join(self._unpack.read(part))
            own = sha256(data).hexdigest()
            if part.name == f"{manifest.BLOBS}{own}":
                if self._named.get(own) != len(data) - SALT_BYTES:
                    raise IncidentError(f"{part.name} is no large value that an entry names.")
                self._sink.blob(bytes.fromhex(own), data[:SALT_BYTES], data[SALT_BYTES:])
                values += 1
            elif part.name == f"{manifest.POLICIES}{own}{manifest.POLICY_END}":
                if own not in self._versions:
                    raise IncidentError(f"{part.name} is no policy that an entry names.")
                self._sink.version(own, data)
                policies += 1
            else:
                raise IncidentError(f"{part.name} does not have the hash that it is named by.")
        return values, policies

    # Who vouches for it.

    def _vouched(
        self, said: Manifest, note: bytes | None, trusted: Sequence[Verifier]
    ) -> str | None:
        """The key from outside that vouches for checkpoint and manifest, None where none does.

        A checkpoint alone is not enough: it proves each entry, but whoever passed the file on may
        have taken some out, and the signature with them.

        Raises IncidentError where what is signed was signed by other keys than it says.
        """
        _states(said)
        own = named_keys(self._naming)
        known = [key for each in trusted for key in followers(each, self._naming)]
        for keys, outside in ((own, False), (known, True)):
            if not keys:
                continue
            if said.checkpoint is not None:
                _opens(said.checkpoint.encode(), said.origin, keys, outside=outside)
            if note is not None and not manifest.signed_by(note, keys):
                raise IncidentError(_strange("file", outside=outside))
        if not known or said.checkpoint is None or note is None:
            return None
        return next(key.vkey for key in known if signatures(said.checkpoint.encode(), [key])[1])


def _states(said: Manifest) -> None:
    """Whether the checkpoint, if there is one, is of the root that the manifest states."""
    if said.checkpoint is None:
        return
    try:
        at = stated(said.checkpoint.encode())
    except (NoteError, UnicodeEncodeError):
        raise IncidentError("The checkpoint in the file is none.") from None
    if (at.origin, at.size, b64encode(at.root).decode()) != (said.origin, said.size, said.root):
        raise IncidentError("The checkpoint in the file states another root than the manifest.")


def _opens(note: bytes, origin: str, keys: Sequence[Verifier], *, outside: bool) -> None:
    try:
        open_checkpoint(note, keys, origin)
    except NoteError as problem:
        raise IncidentError(f"{_strange('checkpoint', outside=outside)} {problem}") from None


def _strange(what: str, *, outside: bool) -> str:
    whose = "the key that was given vouches for" if outside else "its ledger has named"
    return f"The {what} was not signed by a key that {whose}."


def _origin(note: bytes) -> str:
    lines = note.split(b"\n", 2)
    if len(lines) != 3 or lines[0] != manifest.TITLE.encode():
        raise IncidentError(f"{manifest.NOTE} in the file is none: it was changed.")
    try:
        return lines[1].decode()
    except UnicodeDecodeError:
        raise IncidentError(f"{manifest.NOTE} in the file is none: it was changed.") from None


def _check(said: Manifest, origin: str) -> None:
    """Whether a manifest says what one can say. Raises IncidentError."""
    beginning = [each.name for each in said.parts[:2]]
    sound = (
        said.origin == origin
        and beginning == [manifest.ENTRIES, manifest.PROOF]
        and 0 < said.size <= manifest.MAX_SIZE
        and 0 < said.entries <= MAX_ENTRIES
        and 0 < len(said.runs) <= MAX_RUNS
        and said.run == said.runs[0]
        and len(set(said.runs)) == len(said.runs)
        and all(said.runs)
        and said.left_out >= 0
        and said.redacted == sorted(said.redacted)
    )
    if not sound:
        raise IncidentError("The manifest in the file contradicts itself.")


def _belongs(entry: AnyEntry, runs: frozenset[str]) -> bool:
    run = getattr(entry, "run", None)
    if run is None and isinstance(entry, ControlEntry):
        return True
    return run in runs


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a text, each of which ends in a newline and is no longer than an entry."""
    left = b""
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        yield from whole
        if len(left) > MAX_BODY:
            raise IncidentError(f"A line of {manifest.ENTRIES} is longer than an entry can be.")
    if left:
        raise IncidentError(f"{manifest.ENTRIES} does not end where a line does.")


def _hashes(pieces: Iterator[bytes]) -> Iterator[bytes]:
    left = b""
    for piece in pieces:
        data = left + piece
        end = len(data) // HASH_BYTES * HASH_BYTES
        for at in range(0, end, HASH_BYTES):
            yield data[at : at + HASH_BYTES]
        left = data[end:]
    if left:
        raise IncidentError(f"{manifest.PROOF} does not end where a hash does.")
