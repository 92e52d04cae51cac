"""`saferun demo`: an agent at work on real tools, and SafeRun in front of them.

What happens, in this order:

1. `world` makes a folder with a database of orders, a mail server and a place for files;
2. `agent` wraps the `tools`, one `guard` each, and works through the `transcript`;
3. `stage` draws every call the moment it is decided;
4. the tools themselves are asked what they have done, and `proof` holds that against what
   they must have done;
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
from saferun.channel.terminal import Terminal
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

    0 where the tools have done exactly what they must have and the ledger verifies, 1 where
    anything differs, 69 (EX_UNAVAILABLE) where the extra `demo` is not installed.

    Args:
        yes: answer every question with yes. Otherwise the person at the terminal is asked,
            and where there is none the call is denied at once and the demo goes on.
        folder: where to leave what the demo makes; `demo-out` by default. Of an earlier
            demo there, only the policy is kept, since that is the user's to edit.
        console: where to draw.

    Raises:
        SafeRunError: the folder, or the policy in it, cannot be used, with the reason.

    """
    if find_spec("aiosmtpd") is None:
        console.print(Text("The demo needs a mail server: pip install 'saferun-sdk[demo]'"))
        return os.EX_UNAVAILABLE

    world = World.make(folder or Path("demo-out"))
    people = AlwaysYes() if yes else Terminal()
    gate = Gate(policy="support", approvals=people, settings=config.load(world.folder, environ={}))
    transcript = read()
    nobody = people.unreachable()

    stage = Stage(console)
    stage.opens(
        ("agent", f"{transcript.agent}, for {transcript.user}"),
        ("task", transcript.prompt),
        ("policy", shown(world.policy) + (", as you have edited it" if world.edited else "")),
        ("asks", _who(yes=yes, nobody=nobody)),
    )
    with world.mail_server() as port:
        tools = guarded(Shop(world.orders, port, world.files), gate)
        decided = work(transcript, tools, gate, stage)
    gate.close()

    state = world.state()
    stage.shows(state)

    kept = keep(gate.store, world)
    program = _program()
    store = ("--store", f"sqlite:///{shown(gate.store.path)}")
    outside = ("--checkpoint", shown(kept.checkpoint), "--vkey", shown(kept.vkey))
    verified = verify(("ledger", "verify", *store, *outside), world)
    stage.verified((*program, "ledger", "verify", *store, *outside), verified)

    again = () if folder is None else ("--folder", shown(world.folder))
    stage.closes(
        world,
        (*program, "run", "list", *store),
        (*program, "run", "show", transcript.run_id, *store),
        (*program, "demo", *again, "# after a change in the policy"),
    )
    answer = None if nobody is None and not yes else yes
    found = differences(state, expected(decided, edited=world.edited, answer=answer))
    if verified.code != 0:
        found.append(f"`saferun ledger verify` exited with {verified.code}, and not with 0.")
    stage.differs(found)
    return 1 if found else 0


def _who(*, yes: bool, nobody: str | None) -> str:
    """Whom the questions of this demo go to."""
    if yes:
        return "nobody: --yes says yes"
    return "you, in this terminal" if nobody is None else f"nobody, since {nobody}"


def _program() -> tuple[str, ...]:
    """How this program is called here, so that what is printed can be copied."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return ("python", "-m", "saferun")
    if called.name != "saferun" or not called.exists():
        return ("saferun",)
    found = shutil.which("saferun")
    on_path = found is not None and called.samefile(found)
    return ("saferun",) if on_path else (shown(called.absolute()),)
