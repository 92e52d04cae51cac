"""`saferun ledger restart`: go on with a store that has lost its newest entries."""

import contextlib
import sys
from typing import Annotated

import typer

from saferun.cli.ledger.acting import reason_of
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, near, settings, store_file
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import ALLOWED, beside, counted, document, facts, put, screen, told


def restart(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="What has happened; for people.")
    ],
    person: AsOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Go on under a new name after a loss, and record it.

    Put the newest store back instead, if there is one. Requests to people that were open are
    void. Exits 0 where it goes on, and 1 where you said no or the secret is not yours.
    """
    from saferun.store import Store, WrongSecretError
    from saferun.store.succession import loss
    from saferun.store.succession import restart as restarted

    chosen, why = settings(store), reason_of(reason)
    assert why is not None
    path = store_file(store)
    if not path.exists():
        raise CannotError(f"There is no store at {path}; put a backup there first.")
    opened = Store(chosen.store, ledger=chosen.ledger, signing=chosen.signing, behind=True)
    with contextlib.closing(opened):
        by, secret = credential(person, opened)
        mark, entries = loss(opened).checkpoint, opened.size()
        told(
            f"{near(path)} has {counted(entries, 'entry', 'entries')}, and its last checkpoint "
            f"vouches for {mark.size:,}"
        )
        if not yes and not _sure():
            return 1
        try:
            done = restarted(opened, by, secret, why)
        except WrongSecretError as problem:
            told(str(problem))
            return 1
    if as_json:
        document({**done._asdict(), "by": by})
        return 0
    from rich.text import Text

    console = screen()
    said = (
        f"in entry {done.seq:,}, with {counted(done.lost, 'entry', 'entries')} lost. What was "
        "open is void: requests to people, and calls whose end nobody knows."
    )
    put(console, beside(console, Text(f"{ALLOWED.icon} restarted  ", ALLOWED.style), said))
    console.print()
    facts(
        console,
        ("was", done.was),
        ("is", done.origin),
        ("keep", "saferun ledger vkey --all > FILE   and give it to whoever verifies"),
    )
    return 0


def _sure() -> bool:
    if not sys.stdin.isatty():
        raise CannotError("Nobody is there to be asked; say --yes where the loss is to be taken.")
    return typer.confirm("Go on without what is lost?", err=True)
