"""One run, with all that began within it, packed into one file that stands on its own.

1. What goes in is chosen: the run's entries and those of its children, entry 0 and the entries
   that change the ledger's key, and what was switched off for everybody or for whom the run was.
2. One signed checkpoint that covers them is found, or made where the key is here. Without one, it
   is the tree of the ledger's head, which nobody has signed.
3. The entries are written byte for byte, each held against its leaf on the way. Whoever redacts may
   have one go out in other words, or not at all; of the former its true leaf goes with it.
4. The tree that a reader will grow is grown here: it has to end at the root. The roots that stand
   for what is left out are written, then the large values and the policy versions that the
   entries name, the manifest, and its signature.

Sealed values stay sealed: what opens them is never put in. The file stands under its name once all
of it is on disk, and not before.
"""

import os
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import msgspec

from saferun import files
from saferun.errors import StoreError
from saferun.incident import manifest
from saferun.incident.container import CHUNK, IncidentError, Pack, Part
from saferun.incident.environment import environment
from saferun.incident.manifest import Environment, Manifest
from saferun.ledger import (
    AnyEntry,
    Checkpoint,
    ControlEntry,
    DecisionEntry,
    Entry,
    EntryError,
    Frontier,
    KeyEntry,
    LedgerEntry,
    NoteError,
    RestartEntry,
    Signs,
    parse,
    read,
)
from saferun.ledger.excerpt import Regrown, stand_ins
from saferun.ledger.succession import stated
from saferun.ledger.tree import HASH_BYTES, Nodes
from saferun.store import Reader, checkpoint
from saferun.store.checkpoints import newest_checkpoint
from saferun.store.index import Index
from saferun.store.nodes import index_tree
from saferun.store.rows import LEAF
from saferun.store.versions import kept_version


class Redacts(Protocol):
    """What of a run may go out: see `Outgoing`, which does it for an audience."""

    def meet(self, entries: Iterator[Entry]) -> None:
        """Look at all entries, as far as that is wanted, before the first goes out."""

    def run(self, run_id: str) -> str:
        """What a run is called in the file."""

    def entry(self, was: Entry) -> Entry | None:
        """An entry as it may go out: itself, another in its place, or None to leave it out.

        Another one keeps number, time and kind, and its run is called as `run` says. What it names
        of large values goes out, and nothing that it no longer names. Of one that names a key, it
        changes no more than who has written it, where and why.
        """

    def beside(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and JSON of a large value that an entry names as it goes out, if it is held."""

    def version(self, data: bytes) -> bool:
        """Whether a version of a policy goes out."""


MAX_RUNS = 10_000
"""Runs that go in together."""

MAX_ENTRIES = 1_000_000
"""Entries that go in at most."""

MAX_PROOF = 128 << 20
"""Bytes of the roots that stand for what is left out."""

NAMING = (LedgerEntry, KeyEntry, RestartEntry)
"""Kinds by which a reader gets from a key that they trust to the one that has signed."""

SIGNERS = frozenset(("host", "boot", "by", "reason"))
"""What those say of who has written them: all of them that may be redacted."""

_NAMING = ("ledger", "key", "restart")

_BLOCK = 8
"""Levels of a subtree whose leaves are read at once: of its nodes, more than one is wanted."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a file.

    `redacted` entries are there in other words than the ledger has. `values` are large ones, of
    which `missing` are held by the store no more, and `withheld` are not for who gets the file;
    neither are `policies_withheld`. `sealed` values are in it as commitments alone. `reruns` says
    that nothing of a run was redacted, so that its code can be held against it. `guessable` says
    that the process which wrote what was redacted is named: it is the one thing in an entry that
    nobody can guess, so with it a guess of the rest can be held against the entry's leaf.
    """

    runs: int
    entries: int
    redacted: int
    left_out: int
    values: int
    missing: int
    withheld: int
    sealed: int
    policies: int
    policies_withheld: int
    reruns: bool
    guessable: bool = False

    @property
    def costs(self) -> list[str]:
        """What it costs that some of the run does not go out, in sentences; none where all does."""
        found = []
        if self.redacted:
            many = f"{self.redacted:,} {'entry says' if self.redacted == 1 else 'entries say'}"
            found.append(
                f"{many} less than in the ledger, of {self.entries:,}. That they are there stays "
                "proven; of their words, only the file's own signature says that they were so."
            )
        if self.guessable:
            found.append(
                "Whoever guesses the words of an entry that are hidden can find out that they are "
                "right: hide the hosts as well (--hide hosts)."
            )
        if not self.reruns:
            found.append(
                "Its code cannot be run again with this file: run rerun takes a run as it was."
            )
        if self.withheld:
            found.append(f"Large values that stay here, or go out in part: {self.withheld:,}.")
        if self.policies_withheld:
            found.append(f"Versions of policies that stay here: {self.policies_withheld:,}.")
        return found


class Packed(Content, frozen=True, kw_only=True):
    """What was written.

    `vouched` says whether a signed checkpoint covers the entries, and `signed` whether the
    ledger's key has signed the file.
    """

    bytes: int
    vouched: bool
    signed: bool


class _Tree(msgspec.Struct, frozen=True):
    """The tree that entries are held against, and the note on it, if it was signed."""

    size: int
    root: bytes
    note: bytes | None


def pack(
    index: Index,
    run_id: str,
    to: Path,
    *,
    signer: Signs | None = None,
    redact: Redacts | None = None,
    made: Environment | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Packed:
    """Write the file `to`, in place of what is there.

    `signer` holds the ledger's key: it signs the file, and a checkpoint where the newest does not
    cover the run. `redact` says what goes out, by default all of it. `made` says where the file was
    made, by default here.

    Raises IncidentError where it would be more than such a file holds; StoreError where the ledger
    has not what it should, or an entry lies in an archive that is not at hand; and OSError.
    """
    reader, runs, work = index.reader, *_work(index, run_id, redact, progress)
    tree = _covering(reader, work.seqs[-1], signer)
    if tree.size > manifest.MAX_SIZE:
        raise IncidentError(
            f"An incident file is of a ledger of at most {manifest.MAX_SIZE:,} entries."
        )
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            out = Pack(file)
            parts = work.write(out, tree)
            whole = Manifest(
                format=manifest.FORMAT,
                run=work.told[0],
                runs=work.told,
                ledger=reader.ledger,
                origin=reader.origin,
                size=tree.size,
                root=b64encode(tree.root).decode(),
                checkpoint=None if tree.note is None else tree.note.decode(),
                entries=work.entries,
                redacted=sorted(work.redacted),
                left_out=len(work.left_out),
                environment=made or environment(),
                parts=parts,
            ).encode()
            out.add(manifest.MANIFEST, [whole], deflate=False)
            out.add(manifest.NOTE, [manifest.seal(reader.origin, whole, signer)], deflate=False)
            out.end()
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        files.move(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    return Packed(
        **msgspec.structs.asdict(work.content(len(runs))),
        bytes=size,
        vouched=tree.note is not None,
        signed=signer is not None,
    )


def weigh(
    index: Index,
    run_id: str,
    *,
    redact: Redacts | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Content:
    """What `pack` would write, with nothing written and nothing signed. Raises as that does."""
    runs, work = _work(index, run_id, redact, progress)
    work.look()
    return work.content(len(runs))


def family(index: Index, run_id: str) -> list[str]:
    """A run and all that began within it, parents before their children.

    Raises IncidentError where they are too many.
    """
    found, seen = [run_id], {run_id}
    for each in found:
        for child in index.children(each, MAX_RUNS):
            if child.run not in seen:
                seen.add(child.run)
                found.append(child.run)
        if len(found) > MAX_RUNS:
            raise IncidentError(
                f"More than {MAX_RUNS:,} runs began within this one; export one of them."
            )
    return found


def chosen(index: Index, runs: Sequence[str]) -> list[int]:
    """The numbers of the entries that go in. Raises IncidentError, StoreError."""
    seqs = {seq for run in runs for seq in index.frames(run)}
    if not seqs:
        raise IncidentError(f"There is no entry of run {runs[0]!r}.")
    last = max(seqs)
    seqs |= {0, *_turns(index, runs, last)}
    reader = index.reader
    for seq, body in zip(marks := reader.landmarks(last + 1), reader.bodies(marks), strict=True):
        if body and isinstance(parse(body).entry, NAMING):
            seqs.add(seq)
    if len(seqs) > MAX_ENTRIES:
        raise IncidentError(
            f"The run has more than the {MAX_ENTRIES:,} entries that an incident file holds; "
            "export one of the runs within it."
        )
    return sorted(seqs)


def _turns(index: Index, runs: Sequence[str], last: int) -> Iterator[int]:
    """What was stopped or resumed for everybody, or for whom these runs were, before they ended."""
    whose: set[tuple[str, str | None]] = {("all", None)}
    for run in runs:
        told = index.synopsis(run)
        if told is not None:
            whose |= {("agent", told.agent), ("user", told.user), ("tenant", told.tenant)}
    # No run has that name; under it stand the turns of what is no run.
    seqs = [seq for seq in index.frames("") if seq < last]
    for seq, body in zip(seqs, index.reader.bodies(seqs), strict=True):
        entry = parse(body).entry if body else None
        if isinstance(entry, ControlEntry) and (entry.scope, entry.value) in whose:
            yield seq


def _covering(reader: Reader, last: int, signer: Signs | None) -> _Tree:
    """The newest checkpoint that covers entry `last`, or else one that is made, or else the head.

    Raises StoreError.
    """
    try:
        note = newest_checkpoint(reader)
        if signer is not None and (note is None or not _covers(stated(note), reader, last)):
            note = checkpoint(reader.path, signer)
        if note is not None and _covers(at := stated(note), reader, last):
            return _Tree(at.size, at.root, note)
        size, frontier = reader.head()
        return _Tree(size, Frontier.decode(frontier).root(), None)
    except NoteError:
        raise StoreError(
            f"The newest checkpoint of {reader.path} is none; run saferun ledger verify."
        ) from None


def _covers(at: Checkpoint, reader: Reader, last: int) -> bool:
    # One of a former name is of before a loss, and of another tree.
    return at.size > last and at.origin == reader.origin


def _work(
    index: Index, run_id: str, redact: Redacts | None, progress: Callable[[int], None]
) -> tuple[list[str], "_Work"]:
    """The runs that go in, and their entries. Raises IncidentError, StoreError."""
    if index.reader.excerpt:
        raise IncidentError("This run is in an incident file already; hand on that file as it is.")
    runs = family(index, run_id)
    return runs, _Work(index.reader, runs, chosen(index, runs), redact, progress)


class _Work:
    """The entries of one file, and what they turn out to name."""

    def __init__(
        self,
        reader: Reader,
        runs: list[str],
        seqs: list[int],
        redact: Redacts | None,
        progress: Callable[[int], None],
    ) -> None:
        self.seqs = seqs
        self.redacted: set[int] = set()
        self.left_out: set[int] = set()
        self.entries = self.values = self.missing = self.sealed = self.policies = 0
        self._reader = reader
        self._redact = redact
        self._progress = progress
        self._leaves = bytearray()
        self._named: set[str] = set()
        self._withheld: set[str] = set()
        self._versions: set[str] = set()
        self._policies_withheld = 0
        self._reruns = True
        # Processes by their `boot`: those that go out, and those that wrote what was redacted.
        self._processes: set[str] = set()
        self._hiding: set[str] = set()
        if redact is not None:
            redact.meet(self._read(seq, body) for seq, body, _ in reader.several(seqs))
        self.told = runs if redact is None else [redact.run(each) for each in runs]
        self._called = dict(zip(runs, self.told, strict=True))

    def content(self, runs: int) -> Content:
        """What has come of it."""
        return Content(
            runs=runs,
            entries=self.entries,
            redacted=len(self.redacted),
            left_out=len(self.left_out),
            values=self.values,
            missing=self.missing,
            withheld=len(self._withheld - self._named),
            sealed=self.sealed,
            policies=self.policies,
            policies_withheld=self._policies_withheld,
            reruns=self._reruns,
            guessable=not self._hiding.isdisjoint(self._processes),
        )

    def look(self) -> None:
        """Go through all of it, and write nothing. Raises IncidentError, StoreError."""
        for each in (self._lines(), self._values(), self._policies()):
            for _ in each:
                pass

    def write(self, out: Pack, tree: _Tree) -> list[Part]:
        """Write everything but the manifest. Raises IncidentError, StoreError, OSError."""
        parts = [out.add(manifest.ENTRIES, self._lines())]
        parts.append(out.add(manifest.PROOF, [self._proof(tree)], deflate=False))
        parts += [out.add(name, held) for name, held in self._values()]
        parts += [out.add(name, [data]) for name, data in self._policies()]
        return parts

    def _values(self) -> Iterator[tuple[str, tuple[bytes, bytes]]]:
        held = self._reader.blob if self._redact is None else self._redact.beside
        for name in sorted(self._named):
            kept = held(bytes.fromhex(name))
            if kept is None:
                self.missing += 1
                continue
            self.values += 1
            # Salt and value together: the SHA-256 of the part is its own name.
            yield manifest.BLOBS + name, kept

    def _policies(self) -> Iterator[tuple[str, bytes]]:
        for version in sorted(self._versions):
            try:
                data = kept_version(self._reader, version)
            except StoreError:
                # Of some that only compared, nothing was kept.
                continue
            if self._redact is not None and not self._redact.version(data):
                self._policies_withheld += 1
                continue
            self.policies += 1
            yield f"{manifest.POLICIES}{version}{manifest.POLICY_END}", data

    def _lines(self) -> Iterator[bytes]:
        page, held = list[bytes](), 0
        for done, (seq, body, leaf) in enumerate(self._reader.several(self.seqs), 1):
            out = self._outgoing(seq, body)
            self._leaves += leaf
            if out is not None:
                self.entries += 1
                page.append(out)
                held += len(out)
            if held > CHUNK or done == len(self.seqs):
                self._progress(done)
                yield b"".join(b"%b\n" % each for each in page)
                page, held = [], 0

    def _outgoing(self, seq: int, body: bytes) -> bytes | None:
        """An entry as it goes out, with what it names noted; None where it does not."""
        try:
            entry = parse(body).entry
        except EntryError:
            raise self._lacking(seq) from None
        if self._redact is not None:
            was = self._read(seq, body)
            shown = self._redact.entry(was)
            if shown is not was:
                self._reruns = self._reruns and getattr(entry, "run", None) is None
                self._withheld.update(entry.blobs)
            if shown is None:
                self.left_out.add(seq)
                return None
            if shown is not was:
                try:
                    entry = parse(body := self._rewritten(was, shown)).entry
                except EntryError as problem:
                    raise IncidentError(f"What is left of entry {seq} {problem.what}.") from None
                self.redacted.add(seq)
                self._hiding.add(was.fields.get("boot", ""))
            elif self._called.get(run := getattr(entry, "run", None) or "", run) != run:
                raise ValueError("an entry of a run that is called otherwise says so")
        self._note(entry)
        if entry.boot:
            self._processes.add(entry.boot)
        return body

    def _rewritten(self, was: Entry, shown: Entry) -> bytes:
        """The body of a redacted entry. Raises ValueError where it would pass for another one."""
        run = was.fields.get("run")
        same = (was.seq, was.time, was.kind, run and self._called.get(run, run))
        if same != (shown.seq, shown.time, shown.kind, shown.fields.get("run")):
            raise ValueError("a redacted entry keeps its number, time, kind and run")
        if was.kind in _NAMING and _key(was) != _key(shown):
            raise ValueError("an entry that names a key goes on to name it")
        body = msgspec.json.encode(
            {"seq": shown.seq, "time": shown.time, "kind": shown.kind, **shown.fields}
        )
        read(body)
        return body

    def _read(self, seq: int, body: bytes) -> Entry:
        try:
            return read(body)
        except EntryError:
            raise self._lacking(seq) from None

    def _note(self, entry: AnyEntry) -> None:
        self._named.update(entry.blobs)
        self.sealed += len(entry.sealed)
        policy = getattr(entry, "policy", None)
        if policy is not None:
            self._versions.add(policy.version)
        if isinstance(entry, DecisionEntry) and entry.other is not None:
            self._versions.add(entry.other.policy.version)

    def _lacking(self, seq: int) -> StoreError:
        if self._reader.away(seq):
            archive = self._reader.archive
            return StoreError(
                (archive.trouble if archive is not None else None)
                or f"Entry {seq} lies in an archive; name its folder with --archive FOLDER."
            )
        return StoreError(
            f"Entry {seq} of {self._reader.path} is no longer what was written, so nothing would "
            "vouch for it; run saferun ledger verify."
        )

    def _proof(self, tree: _Tree) -> bytes:
        """The roots that stand for what is left out, held against the root of the whole tree."""
        path = self._reader.path
        if os.access(path, os.W_OK):
            index_tree(path)
        for kept in (True, False):
            # Nodes that are kept may be wrong; they are quicker, and no more than that.
            proof = self._grown(tree, _Nodes(self._reader, kept=kept))
            if proof is not None:
                return proof
        raise StoreError(
            f"{path} cannot prove the run's entries: the ledger was changed; run saferun ledger "
            "verify."
        )

    def _grown(self, tree: _Tree, nodes: Nodes) -> bytes | None:
        there = [
            (seq, bytes(self._leaves[at : at + HASH_BYTES]))
            for seq, at in zip(self.seqs, range(0, len(self._leaves), HASH_BYTES), strict=True)
            if seq not in self.left_out
        ]
        grown, proof = Regrown(), bytearray()
        leaves = iter([leaf for _, leaf in there])
        for seq, gap in stand_ins([seq for seq, _ in there], tree.size, nodes):
            grown.skip(seq, iter(gap))
            proof += b"".join(gap)
            if seq < tree.size:
                leaf = next(leaves)
                grown.append(leaf)
                proof += leaf if seq in self.redacted else b""
            if len(proof) > MAX_PROOF:
                raise IncidentError(
                    "The run lies too scattered in a very long ledger to be proven in one file."
                )
        return bytes(proof) if grown.root() == tree.root else None


def _key(entry: Entry) -> dict[str, Any]:
    """What an entry that names a key says of it, and not who has written that."""
    return {name: each for name, each in entry.fields.items() if name not in SIGNERS}


class _Nodes:
    """Roots of subtrees of a store, the narrow ones from leaves that are read at once."""

    def __init__(self, reader: Reader, *, kept: bool) -> None:
        self._reader = reader
        self._wide = lru_cache(10_000)(reader.tree(kept=kept))
        self._leaves = lru_cache(4)(self._block)

    def __call__(self, level: int, place: int) -> bytes:
        if level >= _BLOCK:
            return self._wide(level, place)
        first, width = place << level, 1 << level
        leaves = self._leaves(first >> _BLOCK)
        at = first & ((1 << _BLOCK) - 1)
        tree = Frontier()
        for leaf in leaves[at : at + width]:
            tree.append(leaf)
        if tree.size != width:
            raise StoreError(
                f"Entries from {first} on are missing in {self._reader.path}; run saferun ledger "
                "verify."
            )
        return tree.root()

    def _block(self, place: int) -> list[bytes]:
        first = place << _BLOCK
        found = self._reader.every(
            f"SELECT seq, {LEAF} FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq",  # noqa: S608
            *(first, first + (1 << _BLOCK)),
        )
        return [leaf for due, (seq, leaf) in enumerate(found, first) if seq == due and leaf]
