"""`saferun ledger erase`: what was kept of a person can be read no more, and no proof breaks.

A person does it, with the secret that `saferun login` keeps, and the ledger says who and why. It
cannot be taken back, so it is asked once more, unless `--yes` says so already.
"""

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from saferun.approval.inert import inert
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings, spelled
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import ALLOWED, beside, counted, document, progress, put, screen
from saferun.config import sqlite_path
from saferun.control import MAX_NAME, MAX_REASON

if TYPE_CHECKING:
    from saferun.store import Store
    from saferun.store.erasing import Erased

EVERYBODY = "*"
"""Whose values they are where all are meant, as the ledger has it."""


def erase(
    subject: Annotated[
        list[str] | None,
        typer.Option(
            "--subject",
            metavar="ID",
            help="Whose data: a user's id, or the value of a policy's `subject`. May be repeated.",
        ),
    ] = None,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Everything that is kept of anybody.")
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why; for people, and kept in clear."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose runs; none by default.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask once more.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is kept, and erase nothing.")
    ] = False,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Erase what is kept of somebody as sensitive, for good.

    Exits 0 where they are erased, and 1 where nothing was kept of them.
    """
    from saferun.store.erasing import Kept
    from saferun.store.shared import shared_store

    if everybody is bool(subject) or (everybody and tenant is not None):
        raise CannotError("Say whose: --subject ID, or --everybody in all tenants.")
    for each in subject or ():
        if len(spelled("--subject", each)) > MAX_NAME or "\0" in each:
            raise CannotError(f"--subject takes at most {MAX_NAME:,} characters.")
    spelled("--tenant", tenant or "")
    chosen = settings(store)
    if not sqlite_path(chosen.store).exists():
        raise CannotError(f"There is no store at {sqlite_path(chosen.store)}.")
    opened: Store = shared_store(chosen.store, chosen)
    ids = None if subject is None else [opened.subject(tenant, each) for each in subject]
    kept = dict(zip(subject or [EVERYBODY], opened.commit(Kept(ids)), strict=True))
    if dry_run:
        _say(_Done(kept, tenant, None, _openable(opened)), as_json=as_json)
        return 0 if any(kept.values()) else 1
    if reason is None or not 0 < len(spelled("--reason", reason)) <= MAX_REASON:
        raise CannotError(f"Say why with --reason TEXT, of at most {MAX_REASON:,} characters.")
    by, secret = credential(person, opened)
    if any(kept.values()) and not yes:
        _ask(kept)
    done = _Done(kept, tenant, _erase(opened, subject, tenant, by, secret, reason))
    _say(done, as_json=as_json)
    return 0 if done.result is not None and done.result.erased else 1


class _Result(NamedTuple):
    """What was erased, and what is still due of it: see `store.erase`."""

    erased: "list[Erased]"
    due: str | None


class _Done(NamedTuple):
    """How many values were kept of each subject, and what came of it; None where that is all.

    `openable` says whether anything here can open them.
    """

    kept: dict[str, int]
    tenant: str | None
    result: _Result | None
    openable: bool = True


def _openable(opened: "Store") -> bool:
    """Whether the key is here that all of it is kept under."""
    from saferun.store import Reader
    from saferun.store.openings import Openings

    with Reader(opened.path) as reader:
        return Openings(reader).reaches()


def _erase(
    opened: "Store",
    subjects: list[str] | None,
    tenant: str | None,
    by: str,
    secret: bytes,
    reason: str,
) -> _Result:
    from saferun import redact
    from saferun.store import Reader
    from saferun.store.erasing import erase as destroy
    from saferun.store.openings import Openings

    with Reader(opened.path) as reader:
        others = Openings(reader).subjects()
    with progress("renewing keys", others) as done:
        erased, due = destroy(
            opened,
            subjects,
            tenant=tenant,
            by=by,
            credential=secret,
            reason=redact.text(reason),
            progress=done,
        )
    return _Result(erased, due)


def _ask(kept: dict[str, int]) -> None:
    if not sys.stdin.isatty():
        raise CannotError("It cannot be taken back; say --yes where nobody can be asked.")
    for subject, values in kept.items():
        typer.echo(f"{_who(subject)}: {counted(values, 'value')}", err=True)
    if not typer.confirm("Erase them for good?", err=True):
        raise CannotError("Nothing was erased.")


def _say(done: _Done, *, as_json: bool) -> None:
    from rich.text import Text

    erased = done.result.erased if done.result is not None else []
    due = done.result.due if done.result is not None else None
    if as_json:
        document(
            {
                "erased": bool(erased),
                "tenant": done.tenant,
                "kept": done.kept,
                "entries": [each.seq for each in erased],
                "openable": done.openable,
                "openings": sum(each.openings for each in erased),
                "due": due,
            }
        )
        return
    console = screen()
    for subject, values in done.kept.items():
        who = _who(subject)
        if done.result is None and values:
            lead, said = Text("· "), f"{counted(values, 'value')} kept of {who}"
        elif not values:
            of = "anybody" if subject == EVERYBODY else f"{who}{_within(done.tenant)}"
            lead, said = Text("! ", "yellow"), f"nothing is kept of {of}"
        else:
            lead = Text(f"{ALLOWED.icon} erased  ", ALLOWED.style)
            said = f"{counted(values, 'value')} of {who}"
        put(console, beside(console, lead, said))
    if not done.openable and any(done.kept.values()):
        said = "The key that they are kept under is not here, so nothing here can open them."
        put(console, beside(console, Text("! ", "yellow"), said))
    if erased:
        which = ", ".join(f"{each.seq:,}" for each in erased)
        said = f"The ledger says so in entry {which}. Proofs are as they were."
        put(console, beside(console, Text("  "), Text(said, "dim")))
    if due is not None:
        said = (
            "Somebody is reading the store, so its log could not be cut yet: what it holds cannot "
            "be decrypted any more, and is gone at the next opening of the store."
        )
        put(console, beside(console, Text("! ", "yellow"), said))


def _who(subject: str) -> str:
    return "everybody" if subject == EVERYBODY else inert(subject, 80) or "calls that name nobody"


def _within(tenant: str | None) -> str:
    if tenant is None:
        return " in runs without a tenant; --tenant NAME looks in those of one"
    return f" in runs of {inert(tenant, 80)}"
