"""`saferun run verify`: is an incident file the one that was written, and who vouches for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saferun.approval.inert import inert
from saferun.cli.ledger.kept import keys_in
from saferun.cli.options import CannotError, JsonOption
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    facts,
    headline,
    moment,
    put,
    screen,
)

if TYPE_CHECKING:
    from saferun.incident import Incident

NOT_PROVEN = (
    "That these are all entries of the run that mattered, and anything of before they were "
    "written: a signature vouches for what was there when it was made."
)
"""What no file can prove, said wherever one is verified."""

VkeyOption = Annotated[
    Path | None,
    typer.Option(
        "--vkey", metavar="FILE", help="The ledger's keys, as they were kept outside, one a line."
    ),
]


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An incident file.")],
    vkey: VkeyOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify an incident file, without the ledger.

    Exits 0 where a key from outside vouches for all of it, 1 where it was changed, is no incident
    file, or was signed by another key, and 2 where it is whole and nothing from outside vouches
    for it, or nobody has signed the file itself.
    """
    from saferun.incident import IncidentError, NewerError, examine

    trusted = () if vkey is None else keys_in(vkey)
    try:
        found = examine(file, trusted)
    except NewerError:
        raise
    except IncidentError as problem:
        if as_json:
            document({"state": "refused", "summary": str(problem), "file": str(file)})
        else:
            headline(screen(), DENIED.icon, DENIED.style, f"Refused: {problem}")
        return 1
    except OSError as problem:
        raise CannotError(f"{file} cannot be read: {problem.strerror}.") from None
    if as_json:
        document({**told(found), "file": str(file)})
    else:
        _print(found, given=vkey is not None)
    return found.exit_code


def told(found: "Incident") -> dict[str, Any]:
    """What was found in a file, for programs."""
    said = found.manifest
    return {
        "state": found.state,
        "summary": found.summary,
        "run": said.run,
        "runs": said.runs,
        "origin": said.origin,
        "size": said.size,
        "root": said.root,
        "entries": said.entries,
        "proven": found.proven,
        "redacted": len(said.redacted),
        "left_out": said.left_out,
        "reruns": found.reruns,
        "covered": found.covered,
        "signed": found.signed,
        "key": found.by,
        "values": found.values,
        "missing": found.missing,
        "sealed": found.sealed,
        "policies": found.policies,
        "began": found.began,
        "ended": found.ended,
        "manifest": found.sha256,
    }


def _print(found: "Incident", *, given: bool) -> None:
    from rich.text import Text

    mark, style = (ALLOWED.icon, ALLOWED.style) if found.by is not None else ("!", "yellow")
    console = screen()
    headline(console, mark, style, found.summary)
    facts(console, *_rows(found))
    console.print()
    facts(console, ("not proven", Text(NOT_PROVEN, "dim")))
    if found.by is None and not given:
        why = (
            "Ask whoever has the ledger for its key, by another way than this file came by "
            "(saferun ledger vkey > KEY), and verify with --vkey KEY."
        )
        console.print()
        put(console, beside(console, Text(), Text(why, "dim")))


def _rows(found: "Incident") -> Iterator[tuple[str, str]]:
    said = found.manifest
    yield "run", inert(said.run, 200)
    if len(said.runs) > 1:
        yield (
            "with it",
            counted(len(said.runs) - 1, "run that began in it", "runs that began in it"),
        )
    yield "written", f"{moment(found.began)} to {moment(found.ended)}"
    yield "entries", f"{said.entries:,} of {said.size:,} in the ledger {inert(said.origin)}"
    if said.redacted:
        by = "the file's signature alone" if found.signed else "nobody"
        yield "redacted", f"{len(said.redacted):,} of them, whose words {by} vouches for"
    if said.left_out:
        yield "left out", counted(said.left_out, "entry of the run", "entries of the run")
    if not found.reruns:
        yield "to rerun", "not with this file: run rerun takes a run as it was"
    if found.policies:
        yield "policies", counted(found.policies, "version that decided", "versions that decided")
    if found.values:
        yield "beside it", counted(found.values, "large value")
    if found.missing:
        yield "missing", counted(found.missing, "large value")
    if found.sealed:
        yield "sealed", f"{counted(found.sealed, 'value')} that nothing here opens"
    yield "checkpoint", f"of {said.size:,} entries" if found.covered else "none covers them"
    # Nobody can tell a file that was never signed from one whose signature was taken off.
    unsigned = "no: whoever passed it on may have taken entries out of it, or the signature"
    yield "signed", "yes" if found.signed else unsigned
    yield "made with", f"SafeRun {inert(said.environment.saferun, 40)}"
