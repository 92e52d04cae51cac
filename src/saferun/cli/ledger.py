"""`saferun ledger`: is the history the one that was written, and how can others tell."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, store_file
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    facts,
    progress,
    put,
    raw,
    screen,
)

if TYPE_CHECKING:
    from saferun.ledger import Checkpoint, Report, Row, Signer, Verifier
    from saferun.store import Reader

app = typer.Typer(
    name="ledger", help="Prove that the history is the one that was written.", no_args_is_help=True
)

_MAX_KEY = 10_000
"""Bytes of a file with a verifier key, which has about 150."""


@app.command()
def verify(
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept outside."),
    ] = None,
    vkey: Annotated[
        Path | None,
        typer.Option("--vkey", metavar="FILE", help="The ledger's key, as it was kept outside."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify every entry, and all of them against a checkpoint.

    Exits 0 where they are verified up to a checkpoint from outside, 1 where they were
    tampered with, and 2 where they are consistent and nothing from outside vouches for them.
    """
    from saferun.store import Reader

    with Reader(store_file(store)) as reader:
        report = _verified(reader, checkpoint, vkey)
    if as_json:
        document(
            {
                "state": report.state,
                "summary": report.summary,
                "origin": reader.origin,
                "entries": report.entries,
                "anchored": report.anchored,
                "unanchored": report.unanchored,
                "dangling": report.dangling,
                "unknown": report.unknown,
                "blobs_missing": report.blobs_missing,
                "root": base64.b64encode(report.root).decode(),
                "problem": msgspec.to_builtins(report.problem),
                "key": "store" if vkey is None else "given",
            }
        )
    else:
        _print(report, reader, checkpoint, vkey)
    return report.exit_code


@app.command("checkpoint")
def sign(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Print the newest signed checkpoint.

    Where entries are newer, one is made. It is a C2SP signed note: keep it where nobody who
    can change the store can reach it.
    """
    from saferun.ledger import Verifier, open_checkpoint
    from saferun.store import Reader
    from saferun.store import checkpoint as newest

    path = store_file(store)
    with Reader(path) as reader:
        signer = _own_key(reader)
    note = newest(path, signer)
    if as_json:
        stated = open_checkpoint(note, [Verifier(signer.vkey())])
        root = base64.b64encode(stated.root).decode()
        document(
            {"origin": stated.origin, "size": stated.size, "root": root, "note": note.decode()}
        )
    else:
        raw(note)
    return 0


@app.command()
def vkey(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Print the key that checkpoints are verified with.

    Keep it outside, and give it to whoever verifies.
    """
    from saferun.store import Reader

    with Reader(store_file(store)) as reader:
        key = _own_key(reader).vkey()
    if as_json:
        document({"vkey": key})
    else:
        raw(f"{key}\n".encode())
    return 0


def _verified(reader: "Reader", checkpoint: Path | None, vkey: Path | None) -> "Report":
    """What verification finds in the entries, or else in what is kept beside them."""
    from saferun import ledger

    origin = _origin(reader)
    verifier = _verifier(reader, vkey, origin)
    external, forged = _external(checkpoint, verifier, origin)
    # Checkpoints before the head: one that is signed meanwhile would seem to be ahead of it.
    local, spoiled = _local(reader, verifier)
    head = reader.head()
    if not (type(head.size) is int and type(head.frontier) is bytes):
        return _doubted(ledger.verify(()), "The head is none that a store writes.")
    with progress("verifying", head.size) as done:
        report = ledger.verify(
            _counted_by(reader, head.size),
            head,
            external=external,
            local=local,
            blobs=reader.blob,
            progress=done,
        )
    return _doubted(report, forged or spoiled or _misnamed(reader, origin))


def _doubted(report: "Report", doubt: str | None) -> "Report":
    """The report with a doubt about something else than the entries, should those be sound."""
    from saferun.ledger import Problem

    if report.problem is not None or doubt is None:
        return report
    return msgspec.structs.replace(report, problem=Problem(None, doubt))


def _misnamed(reader: "Reader", origin: str) -> str | None:
    if reader.origin == origin:
        return None
    return f"The store calls its ledger {reader.origin!r}, and entry 0 calls it {origin!r}."


def _counted_by(reader: "Reader", size: int) -> "Iterator[Row]":
    """The entries that a head of that size counts, and one past it that no head counts.

    The ledger may grow while it is read; an entry that came after the head came with a newer
    head, in one transaction.
    """
    for row in reader.rows():
        if size <= row[0] < reader.head().size:
            return
        yield row


def _origin(reader: "Reader") -> str:
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


def _verifier(reader: "Reader", vkey: Path | None, origin: str) -> "Verifier | None":
    """The key to open checkpoints with: the given one, or else the store's own, if it is there."""
    from saferun.ledger import NoteError, Verifier

    if vkey is None:
        try:
            signer = reader.signer(origin)
            return Verifier(signer.vkey()) if signer is not None else None
        except NoteError:
            # Entry 0 was changed to a name that no key may bear; `verify` finds it.
            return None
    try:
        given = Verifier(contents(vkey, _MAX_KEY).decode().strip())
    except (NoteError, UnicodeDecodeError):
        raise CannotError(
            f"{vkey} holds no verifier key of the form NAME+ID+KEY; `saferun ledger vkey` "
            "prints that of a store."
        ) from None
    if given.name != origin:
        raise CannotError(
            f"The key in {vkey} is of the ledger {given.name!r}, and this store holds {origin!r}."
        )
    return given


def _external(
    file: Path | None, verifier: "Verifier | None", origin: str
) -> "tuple[Checkpoint | None, str | None]":
    """The checkpoint in a file, or what speaks against it.

    One that is none, or another ledger's, is a mistake of whoever called. One that names this
    ledger and was not signed by its key is evidence: it or the key was changed.
    """
    from saferun.ledger import Checkpoint, NoteError, open_checkpoint
    from saferun.ledger.note import MAX_NOTE

    if file is None:
        return None, None
    if verifier is None:
        raise CannotError("The store's own signing key is missing; name a key with --vkey FILE.")
    note = contents(file, MAX_NOTE)
    try:
        stated = Checkpoint.parse(note[: note.rfind(b"\n\n") + 1].decode())
    except (NoteError, UnicodeDecodeError):
        raise CannotError(
            f"{file} holds no signed checkpoint; `saferun ledger checkpoint > FILE` makes one."
        ) from None
    if stated.origin != origin:
        raise CannotError(
            f"The checkpoint in {file} is of the ledger {stated.origin!r}, "
            f"and this store holds {origin!r}."
        )
    try:
        return open_checkpoint(note, [verifier], origin), None
    except NoteError as problem:
        return None, f"The checkpoint in {file} names this ledger and does not open. {problem}"


def _local(reader: "Reader", verifier: "Verifier | None") -> "tuple[list[Checkpoint], str | None]":
    """The checkpoints that were kept with the ledger, or what speaks against one of them."""
    from saferun.ledger import NoteError, open_checkpoint

    found: list[Checkpoint] = []
    if verifier is None:
        return found, None
    for note in reader.checkpoints():
        try:
            found.append(open_checkpoint(note, [verifier]))
        except (NoteError, TypeError, AttributeError) as problem:
            # A database file may have been given columns of any type, and no note at all.
            said = str(problem) if isinstance(problem, NoteError) else "It is none."
            return [], f"A checkpoint that was kept with the ledger does not open. {said}"
    return found, None


def _own_key(reader: "Reader") -> "Signer":
    signer = reader.signer()
    if signer is None:
        raise CannotError(
            f"The signing key of {reader.path} is missing; put {reader.ledger}.signing.key back "
            f"into {reader.path.parent / 'keys'}, or into SAFERUN_SIGNING_KEY."
        )
    return signer


def _print(report: "Report", reader: "Reader", checkpoint: Path | None, vkey: Path | None) -> None:
    from rich.text import Text

    icon, style = {
        "verified": (ALLOWED.icon, ALLOWED.style),
        "tampered": (DENIED.icon, DENIED.style),
        "unanchored": ("!", "yellow"),
    }[report.state]
    console = screen()
    word, colon, rest = report.summary.partition(":")
    said = Text.assemble((f"{inert(word)}{colon}", f"bold {style}"), inert(rest))
    put(console, beside(console, Text(f"{icon} ", style), said))
    console.print()
    facts(console, *_rows(report, reader, checkpoint))
    if report.state == "unanchored":
        console.print()
        facts(
            console,
            ("to anchor", "saferun ledger checkpoint > FILE   and keep FILE out of reach"),
            ("to verify", "saferun ledger verify --checkpoint FILE"),
        )
    elif checkpoint is not None and vkey is None:
        why = (
            "The key that lies beside the store was used. One that was kept outside proves more: "
            "saferun ledger vkey > KEY, and verify with --vkey KEY."
        )
        console.print()
        put(console, beside(console, Text(), Text(why, "dim")))


def _rows(report: "Report", reader: "Reader", checkpoint: Path | None) -> Iterator[tuple[str, str]]:
    yield "ledger", inert(reader.origin)
    if report.problem is not None:
        seq = report.problem.seq
        yield "first bad", f"entry {seq:,}" if seq is not None else "no single entry"
        yield "before it", counted(report.entries, "sound entry", "sound entries")
        return
    yield "entries", f"{report.entries:,}"
    if report.anchored:
        yield "anchored", f"{report.anchored:,} by {inert(str(checkpoint))}"
        yield "past it", counted(report.unanchored, "entry", "entries")
    yield "root", base64.b64encode(report.root).decode()
    if report.dangling:
        yield "open", f"{report.dangling:,} without an outcome so far"
    if report.unknown:
        yield "unknown", f"{report.unknown:,} whose outcome nobody knows"
    if report.blobs_missing:
        yield "missing", counted(report.blobs_missing, "large value")
