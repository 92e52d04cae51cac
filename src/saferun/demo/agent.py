"""The agent: the wrap, and a loop like that of every agent. This is the file to copy from."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import saferun
from saferun import Decision, Denied, Gate, guard
from saferun.approval import Desk, Request
from saferun.demo.stage import Stage
from saferun.demo.tools import Shop
from saferun.demo.transcript import Transcript
from saferun.run import current


def guarded(shop: Shop, gate: Gate) -> dict[str, Callable[..., Any]]:
    """The shop's tools by name, none of which can be called past the gate any more.

    The demo brings a folder of its own along and says so by a gate of its own. In an
    application, whose `saferun.toml` is found by itself, the same line is
    `guard(shop.refund, policy="support", approval="terminal")`.
    """
    return {
        "look_up_order": guard(shop.look_up_order, gate=gate),
        "refund": guard(shop.refund, gate=gate),
        "send_email": guard(shop.send_email, gate=gate),
        "save_file": guard(shop.save_file, gate=gate),
    }


def work(
    transcript: Transcript, tools: Mapping[str, Callable[..., Any]], gate: Gate, stage: Stage
) -> list[Decision]:
    """Play the model's turns and make every call that they ask for; returns what was decided."""
    decided: list[Decision] = []
    run = saferun.run(
        agent=transcript.agent,
        user=transcript.user,
        prompt=transcript.prompt,
        run_id=transcript.run_id,
        recorder=gate.recorder,
    )

    @saferun.on_decision
    def watch(decision: Decision) -> None:
        # Told before the tool starts, and of every run in this process.
        if current() is run:
            decided.append(decision)
            stage.decided(decision)

    with run:
        for turn in transcript.turns():
            stage.speaks(turn)
            run.model(turn.content)
            for call in turn.tool_calls:
                try:
                    tools[call.name](**call.arguments)
                except Denied:
                    # A live model would now be told `denied.for_model`; this one was, when it
                    # was recorded, and its next turn shows it.
                    continue
                except (OSError, sqlite3.Error) as problem:
                    stage.failed(call.name, problem)
    return decided


class AlwaysYes:
    """A channel with nobody behind it, for scripts: whatever is asked, the answer is yes."""

    name = "demo --yes"

    def unreachable(self) -> None:
        """There is always somebody, in a manner of speaking."""

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        """Say yes, that is what --yes means."""
        if request.open:
            desk.vote(
                request.id,
                by=self.name,
                approved=True,
                channel=self.name,
                revision=request.revision,
            )
        return receipt
