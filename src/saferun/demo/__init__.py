"""`saferun demo`: an agent at work on real tools, and SafeRun in front of them.

What happens, in this order:

1. `world` makes a folder with a database of orders, a mail server and a place for files;
2. `agent` wraps the `tools`, one `guard` each, and works through the `transcript`;
3. `stage` draws every call the moment it is decided;
4. the tools themselves are asked what has been done, and `proof` holds that against what
   must have been;
5. a checkpoint of the ledger goes outside the store's folder, and `saferun ledger verify`
   is run against it.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.text import Text

from saferun import config
from saferun.approval import channel
from saferun.demo.agent import AlwaysYes, guarded, work
from saferun.demo.proof import differences, expected, keep, verify
from saferun.demo.stage import Stage, shown
from saferun.demo.tools import Shop
from saferun.demo.transcript import read
from saferun.demo.world import World
from saferun.gate import Gate

__all__ = ["play"]


def play(*, yes: bool, folder: Path | None, console: Console) -> int:
    """Play the demo and return its exit code.

    0 where the tools have done exactly what they were allowed to and the ledger verifies,
    1 where anything differs, 69 (EX_UNAVAILABLE) where the extra `demo` is not installed.

    Args:
        yes: answer every question with yes. Otherwise the person at the terminal is asked,
            and where there is none the call is denied and the demo goes on.
        folder: where to leave what the demo makes; `demo-out` by default. Of an earlier
            demo there, only the policy is kept, since that is for the user to edit.
        console: where to draw.

    Raises:
        SafeRunError: the folder or the policy in it cannot be used, with the reason.

    """
    if find_spec("aiosmtpd") is None:
        missing = "The demo's mail server is not installed: pip install 'saferun-sdk[demo]'"
        console.print(Text(missing))
        return os.EX_UNAVAILABLE

    world = World.make(folder or Path("demo-out"))
    asks = AlwaysYes() if yes else channel("terminal")
    gate = Gate(policy="support", approvals=asks, settings=config.load(world.folder, environ={}))
    transcript = read()
    stage = Stage(console)

    nobody = asks.unreachable()
    stage.opens(
        ("agent", f"{transcript.agent}, for {transcript.user}"),
        ("task", transcript.prompt),
        ("policy", shown(world.policy) + (", as you have edited it" if world.edited else "")),
        ("asks", "nobody: --yes says yes" if yes else nobody or "you, in this terminal"),
    )
    with world.mail_server() as port:
        tools = guarded(Shop(world.orders, port, world.files), gate)
        decided = work(transcript, tools, gate, stage)
    gate.close()

    state = world.state()
    stage.shows(state)

    kept = keep(gate.store, world)
    store = ("--store", f"sqlite:///{shown(gate.store.path)}")
    arguments = ("ledger", "verify", *store, "--checkpoint", shown(kept.checkpoint))
    arguments = (*arguments, "--vkey", shown(kept.vkey))
    verified = verify(arguments, world)
    program = _program()
    stage.verified((*program, *arguments), verified)

    again = () if folder is None else ("--folder", shown(world.folder))
    stage.closes(
        [
            (shown(world.policy), "the policy: edit it, and run the demo again"),
            (shown(gate.store.path), "decisions, outcomes and the ledger"),
            (shown(world.orders), "orders and refunds"),
            (shown(world.mail), "the mails, one file each"),
            (shown(world.files), "the notes"),
            (shown(world.outside), "the checkpoint, and the key to check it with"),
        ],
        [
            (*program, "run", "list", *store),
            (*program, "run", "show", transcript.run_id, *store),
            (*program, "demo", *again),
        ],
    )
    found = differences(state, expected(decided, edited=world.edited))
    if yes and not world.edited and len(state.refunds) < 2:
        found.append("The refund of $250 was to be approved, and was not made.")
    if verified.code != 0:
        found.append(f"`saferun ledger verify` exited with {verified.code} instead of 0.")
    stage.differs(found)
    return 1 if found else 0


def _program() -> tuple[str, ...]:
    """How the user calls this program here, so that what is printed can be copied."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return ("python", "-m", "saferun")
    found = shutil.which("saferun")
    if called.name != "saferun" or (found is not None and Path(found).samefile(called)):
        return ("saferun",)
    return (shown(called.absolute()),)
