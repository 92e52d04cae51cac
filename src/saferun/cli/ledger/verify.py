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
from saferun.cli.ledger.witnessed import QuorumOption, Witnessed, WitnessOption, witnessed
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
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

if TYPE_CHECKING:
    from saferun.ledger import Checkpoint, Kept, Report, Since, Verifier
    from saferun.store import Reader


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
    from saferun.store.examining import changed, doubted, first_name
    from saferun.store.sqlite import ChangedError

    with opened(store, archive) as reader:
        # A ledger that went on after a loss has another name at its end than at its beginning.
        names = (first_name(reader), reader.origin)
        trusted = () if vkey is None else keys_in(vkey, names)
        said = witnessed(reader, witness, quorum, checkpoint, trusted)
        try:
            found = _verified(reader, store, names, checkpoint, trusted, since, said)
        except ChangedError as problem:
            found = changed(problem)
        report = doubted(found, said.doubt)
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
    """What verification finds, against what was kept outside."""
    from saferun.store.examining import examine, own_verifier

    own = None if trusted else own_verifier(reader, settings(store).signing)
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
    with progress("verifying", reader.head().size) as done:
        return examine(
            reader,
            external=external,
            beyond=said.beyond,
            trusted=trusted,
            own=own,
            since=begun,
            progress=done,
        )


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
