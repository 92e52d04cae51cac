"""`saferun ledger export`: the history for auditors, web servers, a SIEM and spreadsheets."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.history import ArchiveOption, opened
from saferun.cli.ledger import filters
from saferun.cli.ledger.note import own_key, signer_at_hand
from saferun.cli.options import CannotError, JsonOption, StoreOption, near
from saferun.cli.screen import ALLOWED, counted, document, facts, progress, put, screen

if TYPE_CHECKING:
    from saferun.export import Piece
    from saferun.store import Reader
    from saferun.store.index import Index, Query


class Format(StrEnum):
    """The forms that a ledger is exported in."""

    JSONL = "jsonl"
    TILES = "tiles"
    OCSF = "ocsf"
    CSV = "csv"


@filters.filtered
def export(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file, or the folder of tiles.")],
    form: Annotated[Format, typer.Option("--format", help="Which form.", show_default=False)],
    text: Annotated[
        str, typer.Option("--text", metavar="TEXT", help='Words in it; "several words" in a row.')
    ] = "",
    chosen: filters.Filters = filters.ALL,
    archive: ArchiveOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take the history elsewhere, all of it or some.

    jsonl is the ledger's own bytes with a checkpoint beside them, and tiles a C2SP tiled log for
    any web server: both can be verified. ocsf is for a SIEM, and csv for people. The same command
    again adds what is new; one that was interrupted goes on.
    """
    from saferun.export import jsonl, tiles
    from saferun.store.index import Index
    from saferun.store.own import spare

    some = bool(text) or any(chosen)
    if some and form is Format.TILES:
        raise CannotError("Tiles are of the whole ledger; leave the other options away.")
    with opened(store, archive) as reader:
        spare(reader.path, path)
        if some or form in (Format.OCSF, Format.CSV):
            about = {"text": text, "since": chosen.since or "", "until": chosen.until or ""}
            about |= {name: "\n".join(values) for name, values in chosen.facets.items()}
            with Index(reader) as index:
                query = filters.asked(reader, text, chosen)
                size, new = _lines(index, path, form, query if some else None, about)
        else:
            note = _vouched(reader, store)
            size = tiles.stated(note).size
            with progress("exporting", size) as done:
                if form is Format.TILES:
                    new = tiles.export(path, note, _bodies(reader), done)
                else:
                    new = jsonl.export(path, note, _about(reader, form, {}), _bodies(reader), done)
    verifiable = not some and form in (Format.JSONL, Format.TILES)
    if as_json:
        document(
            {
                "format": form.value,
                "path": str(path),
                "upto": size,
                "new": new,
                "verifiable": verifiable,
            }
        )
    else:
        _print(path, form, size, new, some=some, verifiable=verifiable)
    return 0


def _print(path: Path, form: Format, size: int, new: int, *, some: bool, verifiable: bool) -> None:
    from rich.text import Text

    console = screen()
    many = counted(new, "entry", "entries")
    said = f"{many} new in {inert(near(path))}" if new else f"Nothing new for {inert(near(path))}"
    put(console, [Text.assemble((f"{ALLOWED.icon} ", ALLOWED.style), said)])
    if not verifiable:
        why = "a choice of entries" if some else f"{form.value} is made of the entries"
        said = f"by nothing: {why}; export all of it as jsonl or tiles for that"
    elif form is Format.TILES:
        said = f"by {inert(near(path / 'checkpoint'))}"
    else:
        said = f"by {inert(near(path))}.checkpoint"
    console.print()
    facts(console, ("up to", f"entry {size - 1:,}"), ("vouched for", said))


def _lines(
    index: "Index", path: Path, form: Format, query: "Query | None", about: dict[str, str]
) -> tuple[int, int]:
    """Bring a file of lines up to the newest entry: how many there are, and how many were new."""
    from saferun.export import matching, pieces
    from saferun.export.lines import grow

    reader = index.reader
    text, head = _form(reader, form)
    size = reader.head().size
    if query is not None:
        with progress("indexing", size) as done:
            index.build(done)

    def found(first: int) -> "Iterator[Piece]":
        if query is None:
            return pieces(reader, first, size)
        return matching(index, query, first, size)

    with progress("exporting", size) as done:
        return size, grow(path, _about(reader, form, about), size, found, text, head, done)


def _form(reader: "Reader", form: Format) -> "tuple[Callable[[Piece], bytes], bytes]":
    """What makes a line of an entry, and what stands at the head of the file."""
    from saferun.export import ocsf, sheet

    match form:
        case Format.CSV:
            return sheet.line, sheet.head()
        case Format.OCSF:
            from importlib import metadata

            version = metadata.version("saferun-sdk")
            return (lambda piece: ocsf.line(piece, reader.origin, version)), b""
    return (lambda piece: piece.body + b"\n"), b""


def _about(reader: "Reader", form: Format, chosen: dict[str, str]) -> dict[str, str]:
    """What a file is an export of, so that it is never gone on with as another."""
    first = reader.row(0)
    leaf = first[1].hex() if first is not None and isinstance(first[1], bytes) else ""
    return {
        "format": form.value,
        "first": leaf,
        **{key: said for key, said in chosen.items() if said},
    }


def _bodies(reader: "Reader") -> Callable[[int, int], Iterator[tuple[int, bytes]]]:
    from saferun.export import bodies

    return lambda first, size: bodies(reader, first, size)


def _vouched(reader: "Reader", store: str | None) -> bytes:
    """The checkpoint that an export is brought up to: the newest, made where the key is here."""
    from saferun.store import checkpoint
    from saferun.store.checkpoints import newest_checkpoint

    kept = newest_checkpoint(reader)
    if kept is not None and signer_at_hand(reader, store) is None:
        return kept
    return checkpoint(reader.path, own_key(reader, store))
