"""`saferun ledger archive`: old entries to a folder, with what proves them; and is it still whole.

The folder is for people to keep: on another disk, in a bucket, with an auditor. What stays in
the store is enough to prove any of it again, given the folder.
"""

import contextlib
import re
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.call import size
from saferun.cli.ledger.kept import keys_in
from saferun.cli.ledger.note import own_key
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
from saferun.cli.policy.rollout import AsOption
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
    told,
)
from saferun.config import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from saferun.store.archive import Checked
    from saferun.store.archiving import Done, Plan

_SPAN = re.compile(r"([1-9][0-9]{0,4})([dw])")
_DAYS = {"d": 1, "w": 7}


class By(StrEnum):
    """How old entries are cut into segments."""

    MONTH = "month"
    ALL = "all"


def archive(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the segments go.")],
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="DATE", help="What is older than that, in UTC."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="SPAN", help="What is older than so long: 90d, 12w."),
    ] = None,
    by: Annotated[
        By, typer.Option("--by", help="A segment for each whole month, or one for all.")
    ] = By.MONTH,
    person: AsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and stop.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Verify the archive in FOLDER, without any store.")
    ] = False,
    vkey: Annotated[
        Path | None,
        typer.Option("--vkey", metavar="FILE", help="With --check: the keys, as they were kept."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Move old entries out, and keep here what proves them.

    Exits 0 where it is done, and 1 where the secret is not yours. With --check: 0 where the key
    vouches for all of it, 1 where something was changed or is missing, 2 where no key is given.
    """
    if check:
        if before or keep or dry_run or person or store:
            raise CannotError("--check looks at the folder alone; it goes with --vkey and --json.")
        return _check(folder, vkey, as_json=as_json)
    if vkey is not None:
        raise CannotError("--vkey goes with --check.")
    cut = _cut(before, keep)
    path = sqlite_path(settings(store).store)
    if not path.exists():
        raise CannotError(f"There is no store at {path} yet, so there is nothing to archive.")
    if dry_run:
        return _foretell(path, folder, cut, by, as_json=as_json)
    return _archive(path, store, folder, cut, by, person, as_json=as_json)


def _cut(before: str | None, keep: str | None) -> int:
    """The time before which entries are old, in microseconds since 1970. Raises CannotError."""
    if (before is None) == (keep is None):
        raise CannotError("Say what is old: one of --before DATE and --keep SPAN.")
    if keep is not None:
        found = _SPAN.fullmatch(keep)
        if found is None:
            raise CannotError(f"--keep {keep!r} is no span; write days or weeks, as 90d or 12w.")
        return time.time_ns() // 1000 - int(found[1]) * _DAYS[found[2]] * 86_400_000_000
    assert before is not None
    try:
        moment = datetime.fromisoformat(before)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError):
        raise CannotError(
            f"--before {before!r} is no date; write 2026-01-31, or 2026-01-31T09:00."
        ) from None


def _archive(
    path: Path,
    store: str | None,
    folder: Path,
    cut: int,
    by: By,
    person: str | None,
    *,
    as_json: bool,
) -> int:
    from saferun.store import Reader, WrongSecretError
    from saferun.store.archiving import Archiving
    from saferun.store.shared import shared_store
    from saferun.store.sizes import extent_of

    chosen = settings(store)
    with Reader(path) as reader:
        signer = own_key(reader, store)
    opened = shared_store(chosen.store, chosen)
    who, secret = credential(person, opened)
    with _Stages() as stages:
        try:
            planned, done = Archiving(opened, folder, signer, who, secret).run(
                cut, by.value, stages.tell
            )
        except WrongSecretError as problem:
            told(str(problem))
            return 1
    with Reader(path) as reader:
        reusable = extent_of(reader).reusable
    if as_json:
        document(_said(folder, planned, done, reusable))
    else:
        _print(folder, planned, done, reusable)
    return 0


class _Stages(contextlib.ExitStack):
    """A bar for each thing that is done, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._stage = ("", 0)
        self._bar: Callable[[int], None] = lambda _: None

    def tell(self, what: str, done: int, total: int) -> None:
        if self._stage != (what, total):
            self.close()
            self._stage = (what, total)
            self._bar = self.enter_context(progress(what, total))
        self._bar(done)


def _foretell(path: Path, folder: Path, cut: int, by: By, *, as_json: bool) -> int:
    from saferun.store import Reader
    from saferun.store.archiving import plan

    with Reader(path) as reader:
        planned = plan(reader, cut, by.value, reader.now())
        rows = [
            (each.name, each.size - each.first, reader.time(each.first), reader.time(each.size - 1))
            for each in planned.stretches
        ]
    if as_json:
        segments = [
            {"name": name, "entries": many, "since": since, "until": until}
            for name, many, since, until in rows
        ]
        document({"dry_run": True, "segments": segments, "old": planned.old, "held": planned.held})
        return 0
    console = screen()
    if rows:
        total = counted(sum(many for _, many, _, _ in rows), "entry", "entries")
        console.print(f"{total} would go to {inert(str(folder))}:", soft_wrap=True)
        facts(console, *((name, _line(many, since, until)) for name, many, since, until in rows))
    _leave(planned, any_made=bool(rows))
    return 0


def _said(folder: Path, planned: "Plan", done: "Done", reusable: int) -> dict[str, object]:
    return {
        "dry_run": False,
        "segments": [
            {
                "name": made.manifest.name,
                "folder": str(folder / made.manifest.name),
                "entries": made.manifest.size - made.manifest.first,
                "since": made.manifest.since,
                "until": made.manifest.until,
                "bytes": made.manifest.entries.bytes,
                "blobs": made.manifest.blobs,
                "seq": made.seq,
            }
            for made in done.made
        ],
        "old": planned.old,
        "held": planned.held,
        "emptied": done.emptied,
        "reusable": reusable,
    }


def _print(folder: Path, planned: "Plan", done: "Done", reusable: int) -> None:
    from rich.text import Text

    console = screen()
    if done.made:
        entries = sum(each.manifest.size - each.manifest.first for each in done.made)
        said = (
            f"{counted(entries, 'entry', 'entries')} in {counted(len(done.made), 'segment')} "
            f"at {inert(str(folder))}"
        )
        put(console, beside(console, Text(f"{ALLOWED.icon} archived  ", ALLOWED.style), said))
        console.print()
        rows = []
        for each in done.made:
            held = each.manifest
            line = _line(held.size - held.first, held.since, held.until)
            beside_it = f", {counted(held.blobs, 'large value')}" if held.blobs else ""
            rows.append((held.name, f"{line}, {size(held.entries.bytes)}{beside_it}"))
        facts(console, *rows, ("reusable", f"{size(reusable)} of the database, by what comes next"))
        console.print()
        put(
            console,
            beside(
                console,
                Text(),
                Text(
                    "Keep the folder: without it these entries are proven to have been there, "
                    "and cannot be read.",
                    "dim",
                ),
            ),
        )
    elif done.emptied:
        said = f"{counted(done.emptied, 'entry', 'entries')} that an earlier run had left"
        put(console, beside(console, Text(f"{ALLOWED.icon} emptied  ", ALLOWED.style), said))
    _leave(planned, any_made=bool(done.made or done.emptied))


def _line(many: int, since: int, until: int) -> str:
    return f"{counted(many, 'entry', 'entries')}, {_day(since)} to {_day(until)}"


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d")


def _leave(planned: "Plan", *, any_made: bool) -> None:
    """Say what is old and stays, and why."""
    from rich.text import Text

    console = screen()
    if planned.held is not None:
        said = f"what came after is kept: {inert(planned.held, 200)}"
    elif not any_made and planned.old:
        said = "nothing goes: no whole month is that old yet; --by all waits for none"
    elif not any_made:
        said = "nothing is that old and still here"
    else:
        return
    put(console, beside(console, Text("! ", "yellow"), said))


def _check(folder: Path, vkey: Path | None, *, as_json: bool) -> int:
    from saferun.store.archive import Archive
    from saferun.store.archive import check as checked

    if not folder.is_dir():
        raise CannotError(f"There is no folder {folder}.")
    keys = () if vkey is None else keys_in(vkey)
    with Archive(folder) as opened:
        entries = sum(each.manifest.size - each.manifest.first for each in opened.segments)
        with progress("verifying", entries) as bar:
            found = checked(opened, keys, bar)
    if as_json:
        document(
            {
                "state": found.state,
                "summary": found.sentence,
                "segments": found.segments,
                "first": found.first,
                "entries": found.entries,
                "blobs": found.blobs,
                "missing": found.missing,
            }
        )
    else:
        _print_check(folder, found)
    return found.exit_code


def _print_check(folder: Path, found: "Checked") -> None:

    icon, style = {
        "verified": (ALLOWED.icon, ALLOWED.style),
        "changed": (DENIED.icon, DENIED.style),
        "unvouched": ("!", "yellow"),
    }[found.state]
    console = screen()
    headline(console, icon, style, found.sentence)
    rows = [("archive", inert(str(folder)))]
    if found.state == "changed":
        whole = counted(found.segments, "whole segment")
        sound = counted(found.entries, "sound entry", "sound entries")
        rows.append(("before it", f"{whole}, {sound} from entry {found.first:,} on"))
    else:
        rows.append(("segments", f"{found.segments:,}"))
        rows.append(("entries", f"{found.entries:,}, from entry {found.first:,} on"))
    if found.blobs or found.missing:
        gone = f", and {found.missing:,} were gone before" if found.missing else ""
        rows.append(("values", f"{counted(found.blobs, 'large value')}{gone}"))
    facts(console, *rows)
