"""Whether what the tools did is what was decided, and whether the ledger can prove it."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from saferun.call import Decision
from saferun.demo.world import State, World
from saferun.store import Store, checkpoint


def expected(decided: Sequence[Decision], *, edited: bool, answer: bool | None) -> State:
    """What the tools must have done.

    Under the demo's own policy that is known beforehand, but for the refund that is asked
    about: it follows `answer`, or what was decided where that is a person's to say (None).
    Under an edited policy it is what was allowed, no less and no more.
    """
    allowed = [decision for decision in decided if decision.allowed]
    if edited:
        return State(
            refunds=[(d.args["order_id"], d.args["amount"]) for d in allowed if d.tool == "refund"],
            mails=sorted(d.args["to"] for d in allowed if d.tool == "send_email"),
            files=sorted({d.args["name"] for d in allowed if d.tool == "save_file"}),
        )
    if answer is None:
        answer = any(decision.approval_id is not None for decision in allowed)
    return State(
        refunds=[("A-1017", 4_000), ("A-1031", 25_000)] if answer else [("A-1017", 4_000)],
        mails=["dana@maple.test"] * 12,
        files=["hand-over.md"],
    )


def differences(found: State, wanted: State) -> list[str]:
    """What differs between two states, a sentence for each kind of effect."""
    return [
        f"{what}: there should be {_listed(should)}, and there is {_listed(there)}."
        for what, should, there in (
            ("refunds", _paid(wanted), _paid(found)),
            ("mails", wanted.mails, found.mails),
            ("files", wanted.files, found.files),
        )
        if should != there
    ]


def _paid(state: State) -> list[str]:
    return [f"{amount} cents on {order}" for order, amount in state.refunds]


def _listed(items: Sequence[str]) -> str:
    times = Counter(items).items()
    return ", ".join(item if many == 1 else f"{item} ({many})" for item, many in times) or "nothing"


class Kept(NamedTuple):
    """A checkpoint of the ledger and the key to check it with, kept apart from both."""

    checkpoint: Path
    vkey: Path


def keep(store: Store, world: World) -> Kept:
    """Take a checkpoint of what the ledger holds now and keep it outside the store's folder."""
    kept = Kept(world.outside / "checkpoint", world.outside / "vkey")
    signer = store.signer()
    kept.checkpoint.write_bytes(checkpoint(store.path, signer))
    kept.vkey.write_text(f"{signer.vkey()}\n", encoding="utf-8")
    return kept


class Verified(NamedTuple):
    """What `saferun ledger verify` said, line by line, and its exit code."""

    said: list[str]
    code: int


def verify(arguments: Sequence[str], world: World) -> Verified:
    """Run the `saferun` command as a user would, in a process that knows nothing of this one."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SAFERUN_")
    }
    # Nothing that happens to be configured where the user stands counts for the demo.
    environment |= {"SAFERUN_CONFIG": str(world.folder / "saferun.toml"), "COLUMNS": "78"}
    done = subprocess.run(  # noqa: S603 - this very program, with paths that the demo made
        [sys.executable, "-m", "saferun", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=120,
        check=False,
    )
    return Verified([line for line in done.stdout.splitlines() if line.strip()], done.returncode)
