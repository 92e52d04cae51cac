"""`saferun ledger anchor`: take a checkpoint to the places outside, once and now."""

from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, meant, settings
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    moment,
    progress,
    put,
    screen,
)
from saferun.config import Config, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from saferun.anchor import Place, Round
    from saferun.store import Anchored


def anchor(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Some of the places alone.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take a checkpoint to the places outside.

    Those are all under [anchors] in the configuration, or the ones that are named.

    Exits 0 where all have it, or as many witnesses as the quorum asks for; 1 where one has seen
    something else than this ledger; and 2 where one could not be reached.
    """
    from saferun.anchor import go_round, places

    chosen = settings(store)
    wanted = _wanted(places(chosen), names or [], chosen)
    with progress("anchoring", len(wanted)) as done:
        found = go_round(sqlite_path(chosen.store), wanted, signing=chosen.signing, progress=done)
    quorum = chosen.anchors.quorum
    if as_json:
        document(told(found, quorum))
    else:
        _print(found)
    return 1 if found.against else 0 if found.done(quorum) else 2


def told(found: "Round", quorum: int | None) -> dict[str, object]:
    """A round for programs. Times are microseconds since 1970, UTC."""
    return {
        "origin": found.origin,
        "size": found.size,
        "done": found.done(quorum) and not found.against,
        "quorum": quorum,
        "places": [
            {
                "name": place.name,
                "kind": place.kind,
                "size": kept.size,
                "time": kept.time or None,
                "failed": kept.failed,
                "against": kept.against,
            }
            for place, kept in found.places
        ],
    }


def line(place: "Place", kept: "Anchored") -> "tuple[Text, Text]":
    """What became of one place, as a mark and a sentence."""
    from rich.text import Text

    name = f"{place.kind} {place.name}"
    if kept.failed is None:
        return Text(f"{ALLOWED.icon} ", ALLOWED.style), Text(f"{name} has {_entries(kept.size)}")
    mark, style = (DENIED.icon, DENIED.style) if kept.against else ("!", "yellow")
    said = f"{name}: {inert(kept.failed, 600)}"
    if kept.size:
        said += f" It has had {_entries(kept.size)} since {moment(kept.time)}."
    return Text(f"{mark} ", style), Text(said)


def _entries(size: int) -> str:
    return counted(size, "entry", "entries")


def _wanted(known: "Sequence[Place]", names: list[str], chosen: Config) -> "list[Place]":
    """The places that are meant. Raises CannotError."""
    if not known:
        raise CannotError(
            f"No place to take checkpoints to is configured; name one under [anchors] in "
            f"{chosen.file or 'saferun.toml'}."
        )
    by_name = {place.name: place for place in known}
    for name in names:
        if name not in by_name:
            raise CannotError(f"There is no place {name!r}{meant(name, list(by_name))}")
    return [by_name[name] for name in dict.fromkeys(names or by_name)]


def _print(found: "Round") -> None:
    from rich.text import Text

    console = screen()
    console.print(Text(f"{_entries(found.size)} of {inert(found.origin)}", "bold"))
    console.print()
    kinds = max(len(place.kind) for place, _ in found.places)
    names = max(len(place.name) for place, _ in found.places)
    for place, kept in found.places:
        icon, style = (ALLOWED.icon, ALLOWED.style)
        if kept.failed is not None:
            icon, style = (DENIED.icon, DENIED.style) if kept.against else ("!", "yellow")
        lead = Text.assemble(
            (f"{icon} ", style), (f"{place.kind:{kinds}}  ", "dim"), f"{place.name:{names}}  "
        )
        when = f"{_entries(kept.size)}, {moment(kept.time)}" if kept.size else "nothing yet"
        said = Text(when)
        if kept.failed is not None:
            said.append(f"\n{inert(kept.failed, 600)}", style)
        put(console, beside(console, lead, said))
