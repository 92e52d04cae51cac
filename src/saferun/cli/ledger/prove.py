"""`saferun ledger prove`, `check` and `consistency`: proofs for somebody who has no ledger."""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, opened
from saferun.cli.ledger.kept import checkpoint_in, keys_in
from saferun.cli.ledger.note import own_key
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, store_file
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    Mark,
    beside,
    document,
    facts,
    moment,
    progress,
    put,
    raw,
    screen,
)

if TYPE_CHECKING:
    from saferun.ledger.receipt import Proven
    from saferun.store import Reader

_SHOWN = 300
"""Characters of a value that are shown to people."""


def prove(
    seq: Annotated[int, typer.Argument(metavar="SEQ", help="The number of an entry.", min=0)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it to."),
    ] = None,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a receipt for one entry.

    It holds the entry itself, and the proof that it is in the ledger. Whoever has the ledger's
    key can check it anywhere, with `saferun ledger check` or without SafeRun. A checkpoint is
    made where the newest one does not cover the entry.
    """
    from saferun.store import checkpoint as newest
    from saferun.store.own import spare
    from saferun.store.proving import covering, receipt

    with opened(store, archive) as reader:
        # What has lost its end proves nothing: it is not the ledger any more.
        reader.hold()
        path, size = reader.path, reader.head().size
        if output is not None:
            spare(path, output)
        if seq >= size:
            raise CannotError(f"There is no entry {seq} in {path}, which has {size:,} entries.")
        held = covering(reader, seq)
        if held is None:
            from saferun.ledger.succession import stated

            note = newest(path, own_key(reader, store))
            held = note, stated(note)
        with progress("building the tree", size) as done:
            made = receipt(
                path, seq, *held, archive=reader.archive, progress=lambda at, _: done(at)
            )
    data = made.encode()
    if output is not None:
        _write(output, data)
    if as_json:
        document({"seq": seq, "size": held[1].size, "receipt": data.decode()})
    elif output is None:
        raw(data)
    else:
        where = inert(str(output))
        _say(ALLOWED, "Written:", f" {where} proves entry {seq:,} of {held[1].size:,}.")
        screen().print()
        facts(screen(), ("to check", f"saferun ledger check {where} --vkey FILE"))
    return 0


def check(
    file: Annotated[Path, typer.Argument(metavar="RECEIPT", help="A receipt.")],
    vkey: Annotated[
        Path,
        typer.Option(
            "--vkey", metavar="FILE", help="The ledger's keys, as they were kept outside."
        ),
    ],
    as_json: JsonOption = False,
) -> int:
    """Check a receipt, without the ledger.

    That takes nothing but the ledger's key, and tells what the entry says. Exits 0 where the
    entry is proven to be in the ledger, and 1 where it is not.
    """
    from saferun.ledger.receipt import MAX_RECEIPT, ReceiptError, open_receipt

    keys = keys_in(vkey)
    try:
        proven = open_receipt(contents(file, MAX_RECEIPT), *keys)
    except ReceiptError as problem:
        if as_json:
            document({"proven": False, "problem": str(problem)})
        else:
            _say(DENIED, "Not proven:", f" {inert(str(problem))}")
        return 1
    if as_json:
        entry, checkpoint = proven
        document(
            {
                "proven": True,
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": base64.b64encode(checkpoint.root).decode(),
                "seq": entry.seq,
                "time": entry.time,
                "kind": entry.kind,
                "fields": entry.fields,
            }
        )
    else:
        _show(proven)
    return 0


def consistency(
    old: Annotated[str, typer.Argument(metavar="A", help="A size, or a file with a checkpoint.")],
    new: Annotated[str, typer.Argument(metavar="B", help="A later size or checkpoint.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Prove that the ledger has only grown.

    The proof, that of RFC 6962, shows that the first A entries are the beginning of the
    first B. Where a file with a checkpoint is named, the ledger is held against it first.
    """
    from saferun.store import Reader
    from saferun.store.proving import grown

    path = store_file(store)
    with Reader(path) as reader:
        reader.hold()
        size = reader.head().size
        (before, before_root), (after, after_root) = (_size(reader, each) for each in (old, new))
    with progress("building the tree", size) as done:
        proof = grown(
            path,
            before,
            after,
            roots=(before_root, after_root),
            progress=lambda at, _: done(at),
        )
    coded = [base64.b64encode(each).decode() for each in proof]
    if as_json:
        document({"proof": coded})
        return 0
    _say(
        ALLOWED,
        "Consistent:",
        f" the first {before:,} entries are the beginning of the first {after:,}.",
    )
    if coded:
        screen().print()
        facts(screen(), *(("proof" if at == 0 else "", line) for at, line in enumerate(coded)))
    return 0


def _size(reader: "Reader", given: str) -> tuple[int, bytes | None]:
    if given.isascii() and given.isdecimal() and len(given) <= 18:
        return int(given), None
    # Under a former name it vouches for the same entries, up to where that name ends.
    names = (reader.origin, *reader.former)
    _, said = checkpoint_in(Path(given), names)
    if said.origin not in names:
        raise CannotError(
            f"The checkpoint in {given} is of the ledger {said.origin!r}, and this store holds "
            f"{reader.origin!r}."
        )
    return said.size, said.root


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as problem:
        raise CannotError(f"{file} cannot be written: {problem.strerror}.") from None


def _say(mark: Mark, word: str, rest: str) -> None:
    from rich.text import Text

    console = screen()
    said = Text.assemble((word, f"bold {mark.style}"), rest)
    put(console, beside(console, Text(f"{mark.icon} ", mark.style), said))


def _show(proven: "Proven") -> None:
    entry, checkpoint = proven
    _say(
        ALLOWED,
        "Proven:",
        f" entry {entry.seq:,} is one of {checkpoint.size:,} that the ledger's key vouches for.",
    )
    screen().print()
    facts(
        screen(),
        ("ledger", inert(checkpoint.origin)),
        ("entry", f"{entry.seq:,}"),
        ("time", moment(entry.time)),
        ("kind", inert(entry.kind)),
        *((inert(name, 40), _shown(value)) for name, value in entry.fields.items() if value != ""),
    )


def _shown(value: object) -> str:
    return inert(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _SHOWN)
