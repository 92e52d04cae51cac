"""`saferun ledger verify`: is the history the one that was written, and what vouches for it."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, opened
from saferun.cli.ledger.kept import checkpoint_in, keys_in
from saferun.cli.ledger.note import signer_at_hand
from saferun.cli.ledger.witnessed import QuorumOption, Witnessed, WitnessOption, witnessed
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    facts,
    headline,
    progress,
    put,
    screen,
)
from saferun.errors import StoreError

if TYPE_CHECKING:
    from saferun.ledger import Checkpoint, Kept, Report, Since, Verifier
    from saferun.store import Reader

_LOCAL = 1_000
"""Checkpoints kept with the ledger that it is held against, at most. They prove little."""


def verify(
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept outside."),
    ] = None,
    vkey: Annotated[
        Path | None,
        typer.Option(
            "--vkey",
            metavar="FILE",
            help="The ledger's keys, as they were kept outside, one a line.",
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            "--since",
            metavar="FILE",
            help="A checkpoint up to which it was verified: read what came after.",
        ),
    ] = None,
    archive: ArchiveOption = None,
    witness: WitnessOption = None,
    quorum: QuorumOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify every entry, and all of them against a checkpoint.

    Exits 0 where they are verified up to a checkpoint from outside, 1 where they were
    tampered with, and 2 where they are consistent and nothing from outside vouches for them.
    """
    from saferun.ledger import verify as nothing
    from saferun.store.sqlite import ChangedError

    with opened(store, archive) as reader:
        # A ledger that went on after a loss has another name at its end than at its beginning.
        names = (_first_name(reader), reader.origin)
        trusted = () if vkey is None else keys_in(vkey, names)
        said = witnessed(reader, witness, quorum, checkpoint, trusted)
        try:
            found = _verified(reader, store, names, checkpoint, trusted, since, said)
        except ChangedError as problem:
            found = _doubted(nothing(()), f"The store was changed: {problem.what}.")
        report = _doubted(found, said.doubt or _lacking(reader))
    if as_json:
        document(
            {
                "state": report.state,
                "summary": report.summary,
                "origin": reader.origin,
                "entries": report.entries,
                "anchored": report.anchored,
                "unanchored": report.unanchored,
                "since": report.since,
                "archived": report.archived,
                "lost": report.lost,
                "dangling": report.dangling,
                "unknown": report.unknown,
                "blobs_missing": report.blobs_missing,
                "sealed_missing": report.sealed_missing,
                "root": base64.b64encode(report.root).decode(),
                "problem": msgspec.to_builtins(report.problem),
                "key": "store" if vkey is None else "given",
                **said.document(),
            }
        )
    else:
        _print(report, reader, checkpoint or since, vkey, said)
    return report.exit_code


def _verified(
    reader: "Reader",
    store: str | None,
    names: tuple[str, ...],
    checkpoint: Path | None,
    trusted: "Sequence[Verifier]",
    since: Path | None,
    said: Witnessed,
) -> "Report":
    """What verification finds in the entries, or else in what is kept beside them."""
    from saferun import ledger
    from saferun.store.checkpoints import kept_checkpoints
    from saferun.store.verifying import verify as verify_store

    own = None if trusted else _own(reader, store)
    external: list[Kept] = [*said.agreed]
    if checkpoint is not None:
        if not trusted and own is None:
            raise CannotError(
                "The store's own signing key is missing; name a key with --vkey FILE."
            )
        note, stated = checkpoint_in(checkpoint, names)
        if trusted and (earlier := _earlier(reader, note, stated, trusted)) is not None:
            raise CannotError(_older(checkpoint, earlier))
        external.append(note)
    begun = None if since is None else _since(reader, since, names, trusted, own)
    # Checkpoints before the head: one that is signed meanwhile would seem to be ahead of it.
    mark, behind = _mark(reader)
    local = [*kept_checkpoints(reader, _LOCAL), *mark]
    head = reader.head()
    known = ledger.Known(
        external=tuple(external),
        local=[*local, *said.beyond],
        trusted=trusted,
        beside=own,
    )
    with progress("verifying", head.size) as done:
        report = verify_store(reader, head, known, since=begun, progress=done)
    return _doubted(report, _misnamed(reader, report) or behind)


def _doubted(report: "Report", doubt: str | None) -> "Report":
    """The report with a doubt about something else than the entries, should those be sound."""
    from saferun.ledger import Problem

    if report.problem is not None or doubt is None:
        return report
    return msgspec.structs.replace(report, problem=Problem(None, doubt))


def _lacking(reader: "Reader") -> str | None:
    """What the archive lacks that the ledger says is there, or has and should not."""
    if reader.archive is None:
        return None
    try:
        return reader.archive.lacks(reader.archives())
    except StoreError as problem:
        # An `archive` entry that cannot be read was rewritten: that is an answer, and no trouble.
        return str(problem)


def _mark(reader: "Reader") -> tuple[list[bytes], str | None]:
    """The high-water mark beside the store, or else what is wrong with the store or with it."""
    try:
        reader.hold()
        note = reader.mark()
    except StoreError as problem:
        return [], str(problem)
    return [] if note is None else [note], None


def _misnamed(reader: "Reader", report: "Report") -> str | None:
    if report.origin in (None, reader.origin):
        return None
    return f"The store calls its ledger {reader.origin!r}, and the entries say {report.origin!r}."


def _first_name(reader: "Reader") -> str:
    """The name that the ledger gives itself in entry 0; whether that is in order, `verify` says."""
    from saferun.ledger import EntryError, LedgerEntry, parse

    for _, body, _ in reader.rows(1):
        try:
            first = parse(body).entry
        except (EntryError, TypeError):
            break
        if isinstance(first, LedgerEntry):
            return first.origin
    return reader.origin


def _own(reader: "Reader", store: str | None) -> "Verifier | None":
    """The key that the ledger names as its own, None where there is none that could be one.

    A ledger from before format 4 names none: then it is the one that lies beside the store.
    """
    from saferun.ledger import NoteError, Verifier

    try:
        vkey = reader.named_keys().vkey
        if vkey is None:
            signer = signer_at_hand(reader, store)
            vkey = None if signer is None else signer.vkey()
        return None if vkey is None else Verifier(vkey)
    except (NoteError, StoreError):
        # What the store says of its ledger was changed; `verify` finds it.
        return None


def _since(
    reader: "Reader",
    file: Path,
    names: tuple[str, ...],
    trusted: "Sequence[Verifier]",
    own: "Verifier | None",
) -> "Since":
    """The checkpoint up to which the ledger was read before, and the key that opened it."""
    from saferun.ledger import Since
    from saferun.ledger.succession import followers, named_keys

    note, said = checkpoint_in(file, names)
    changes = _changes(reader, said)
    if trusted:
        keys = [key for each in trusted for key in followers(each, changes)]
    else:
        keys = [*named_keys(changes), *([own] if own is not None else [])]
    key = _opener(note, said, keys)
    if key is not None:
        return Since(said, key)
    earlier = _opener(note, said, named_keys(changes))
    if earlier is not None:
        raise CannotError(_older(file, earlier))
    raise CannotError(
        f"The checkpoint in {file} was signed by no key that is known here, so nothing can be "
        "built on it; name its key with --vkey FILE, or verify without --since."
    )


def _earlier(
    reader: "Reader", note: bytes, said: "Checkpoint", trusted: "Sequence[Verifier]"
) -> "Verifier | None":
    """The key that has signed a checkpoint, where the ledger names it before the trusted ones.

    Those have no word on it, so it speaks neither for the ledger nor against it.
    """
    from saferun.ledger.succession import followers, named_keys

    changes = _changes(reader, said)
    known = [key for each in trusted for key in followers(each, changes)]
    if _opener(note, said, known) is not None:
        return None
    return _opener(note, said, named_keys(changes))


def _changes(reader: "Reader", said: "Checkpoint") -> list[bytes]:
    """The entries that a checkpoint covers by which the ledger has named its keys."""
    return list(reader.bodies([0, *reader.landmarks(said.size)]))


def _opener(note: bytes, said: "Checkpoint", keys: "Iterable[Verifier]") -> "Verifier | None":
    from saferun.ledger import NoteError, open_checkpoint

    for key in keys:
        try:
            open_checkpoint(note, [key], said.origin)
        except NoteError:
            continue
        return key
    return None


def _older(file: Path, key: "Verifier") -> str:
    return (
        f"The checkpoint in {file} was signed by an earlier key of this ledger than those that "
        f"were given: {key.name}+{key.key_id.hex()}. Name that one with --vkey FILE, as it was "
        "kept outside, alone or in a line of its own."
    )


def _print(
    report: "Report",
    reader: "Reader",
    vouching: Path | None,
    vkey: Path | None,
    witnesses: Witnessed,
) -> None:
    from rich.text import Text

    icon, style = {
        "verified": (ALLOWED.icon, ALLOWED.style),
        "tampered": (DENIED.icon, DENIED.style),
        "unanchored": ("!", "yellow"),
    }[report.state]
    console = screen()
    headline(console, icon, style, report.summary)
    facts(console, *_rows(report, reader, vouching, witnesses))
    if report.state == "unanchored":
        console.print()
        facts(
            console,
            ("to anchor", "saferun ledger checkpoint > FILE   and keep FILE out of reach"),
            ("to verify", "saferun ledger verify --checkpoint FILE"),
        )
    elif vouching is not None and vkey is None:
        why = (
            "The key that lies beside the store was used. One that was kept outside proves more: "
            "saferun ledger vkey > KEY, and verify with --vkey KEY."
        )
        console.print()
        put(console, beside(console, Text(), Text(why, "dim")))


def _rows(
    report: "Report", reader: "Reader", vouching: Path | None, witnesses: Witnessed
) -> Iterator[tuple[str, str]]:
    yield "ledger", inert(reader.origin)
    if report.problem is not None:
        seq = report.problem.seq
        sound = report.entries if seq is None else min(seq, report.entries)
        yield "first bad", f"entry {seq:,}" if seq is not None else "no single entry"
        yield "before it", counted(sound, "sound entry", "sound entries")
        yield "anchored", f"{report.anchored:,}"
        return
    yield "entries", f"{report.entries:,}"
    by = "witnesses" if vouching is None else inert(str(vouching))
    yield "anchored", f"{report.anchored:,} by {by}" if report.anchored else "0"
    yield "past it", counted(report.unanchored, "entry", "entries")
    yield from witnesses.rows()
    yield "root", base64.b64encode(report.root).decode()
    if report.since:
        yield "not read", f"the first {report.since:,}, which were read before"
    if report.archived:
        yield "archived", f"{report.archived:,} whose bytes lie elsewhere"
    if report.lost:
        yield "lost", f"{report.lost:,}, as the ledger itself records"
    if report.dangling:
        yield "open", f"{report.dangling:,} without an outcome so far"
    if report.unknown:
        yield "unknown", f"{report.unknown:,} whose outcome nobody knows"
    if report.blobs_missing:
        yield "missing", counted(report.blobs_missing, "large value")
    if report.sealed_missing:
        yield "sealed", f"{counted(report.sealed_missing, 'value')} that nothing here opens"
