"""`saferun ledger rotate`: from now on, another key signs the checkpoints."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from saferun.cli.ledger.acting import ReasonOption, reason_of
from saferun.cli.login import credential
from saferun.cli.options import JsonOption, StoreOption, near, settings
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import ALLOWED, beside, document, facts, put, screen, told


def rotate(
    person: AsOption = None,
    reason: ReasonOption = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="A configuration whose [signing] names the next key."
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have another key sign the checkpoints from now on.

    The old key signs that it hands over, in an entry of the ledger. Exits 0 where another key
    signs now, and 1 where the secret is not yours.
    """
    from rich.text import Text

    from saferun import config
    from saferun.store import Store, WrongSecretError
    from saferun.store.succession import rotate as rotated

    chosen = settings(store)
    given = None if to is None else config.signing(to)
    # Each step has to be on disk before the next, whatever calls may risk.
    opened = Store(chosen.store, ledger=chosen.ledger, signing=chosen.signing, checkpoints=False)
    with contextlib.closing(opened):
        by, secret = credential(person, opened)
        try:
            done = rotated(opened, by, secret, reason_of(reason), given)
        except WrongSecretError as problem:
            told(str(problem))
            return 1
    if as_json:
        document({"seq": done.seq, "by": by, "vkey": done.vkey, "before": done.before})
        return 0
    console = screen()
    # By its id alone: the whole key is longer than a line, and has a command of its own.
    key_id = done.vkey.split("+")[1]
    said = f"in entry {done.seq:,}; the old key has signed that key {key_id} follows"
    put(console, beside(console, Text(f"{ALLOWED.icon} rotated  ", ALLOWED.style), said))
    console.print()
    if to is not None:
        facts(
            console,
            ("next", f"Make [signing] of {near(to)} the configuration; until then nothing is"),
            ("", "signed. Calls go on."),
        )
    facts(
        console,
        ("keep", "saferun ledger vkey --all > FILE   and give it to whoever verifies"),
    )
    return 0
