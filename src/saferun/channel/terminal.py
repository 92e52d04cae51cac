"""The terminal channel: a question to the person in front of the running process.

It speaks to the controlling terminal and not to standard input, so it works where the
agent's input and output are pipes. Where there is no terminal, or this process is not in
its foreground, nobody can be asked and the call is denied at once; it never waits for a
person who is not there.

It does not know who is at the keyboard: it takes the user of the operating system for the
person of that name. That is right for development and for an operator at a console, and for
nothing else.
"""

import contextlib
import getpass
import json
import os
import select
import termios
import threading
from typing import TextIO

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from saferun.approval.channel import Desk
from saferun.approval.inert import inert
from saferun.approval.question import Request
from saferun.approval.shown import others
from saferun.call import Demand

_DEVICE = "/dev/tty"
_NAME = 80
_MANY = 100
_FIGURES = 400
_LOOK = 0.2
"""Seconds between two looks whether somebody else has answered."""

_VALUE = 2_000
"""Characters of one argument that fit a screen. A longer one cannot be approved here."""


class Terminal:
    """Asks y or n. Questions of several threads come one after the other."""

    name = "terminal"
    stays = True

    def __init__(self, device: str = _DEVICE) -> None:
        self._device = device
        self._one_at_a_time = threading.Lock()

    def unreachable(self) -> str | None:
        try:
            fd = os.open(self._device, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return "this process has no terminal to ask in"
        try:
            if not os.isatty(fd):
                return "this process has no terminal to ask in"
            with contextlib.suppress(OSError):
                # Reading from the background would stop the whole process (SIGTTIN).
                if os.tcgetpgrp(fd) != os.getpgrp():
                    return "this process is not in the foreground of its terminal"
        finally:
            os.close(fd)
        return None

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        """Ask, once a revision, and wait for the answer for as long as the request is open."""
        asked = f"asked {request.revision}"
        if receipt == asked or not request.open:
            # Whoever sits here has had the question; how it ended, they see by what runs.
            return receipt
        with self._one_at_a_time:
            if not _still(desk, request) or self.unreachable() is not None:
                return receipt or "gone"
            fd = os.open(self._device, os.O_RDWR | os.O_NOCTTY)
            try:
                with os.fdopen(fd, "w", encoding="utf-8", closefd=False) as screen:
                    _ask(request, desk, fd, screen)
            finally:
                os.close(fd)
        return asked


def _still(desk: Desk, request: Request) -> bool:
    """Whether the question still stands as it was shown."""
    now = desk.stands(request.id)
    return now is not None and now.open and now.revision == request.revision


def _ask(request: Request, desk: Desk, fd: int, screen: TextIO) -> None:
    console = Console(file=screen, force_terminal=True)
    whole = _show(console, request)
    if not whole:
        # Nobody can approve what they cannot see.
        console.print(
            "[yellow]Not every argument can be shown whole, so it cannot be approved here.[/]"
        )
        elsewhere = [each for each in request.question.channels if each != Terminal.name]
        if elsewhere:
            # Whoever is asked there may see all of it, and nobody here has said no.
            console.print(Text(f"It is asked about by {inert(', '.join(elsewhere), 80)} too."))
            return
        _vote(request, desk, console, approved=False, reason="an argument cannot be shown whole")
        return
    # What was typed before the question stood there is no answer to it.
    termios.tcflush(fd, termios.TCIFLUSH)
    while True:
        screen.write("Let it run? [y/n] ")
        screen.flush()
        ready: list[int] = []
        while not ready:
            ready, _, _ = select.select([fd], [], [], _LOOK)
            if not ready and not _still(desk, request):
                _say_over(request, desk, screen)
                return
        answer = os.read(fd, 1024)
        if not answer:
            return
        word = answer.decode(errors="replace").strip().casefold()
        if word in ("y", "yes", "n", "no"):
            _vote(request, desk, console, approved=word in ("y", "yes"))
            return


def _vote(
    request: Request, desk: Desk, console: Console, *, approved: bool, reason: str | None = None
) -> None:
    answered = desk.vote(
        request.id,
        by=_user(),
        approved=approved,
        channel=Terminal.name,
        revision=request.revision,
        reason=reason,
    )
    if not answered.counted:
        console.print(Text(f"That does not count: {inert(answered.why or '', 400)}.", "yellow"))
    elif answered.request.open:
        console.print(Text("Noted; it takes more people than you.", "yellow"))


def _say_over(request: Request, desk: Desk, screen: TextIO) -> None:
    now = desk.stands(request.id)
    if now is not None and now.open:
        screen.write("\nIts arguments were changed meanwhile, so it is asked about anew.\n")
    elif now is not None and now.state == "cancelled":
        screen.write("\nToo late: whoever asked has withdrawn the question.\n")
    elif now is None or now.state == "expired":
        screen.write("\nToo late: the question has expired.\n")
    else:
        screen.write(f"\n{inert(now.by or 'somebody', 80)} has answered it: {now.state}.\n")


def _show(console: Console, request: Request) -> bool:
    """Draw the question; whether every argument is shown whole."""
    question = request.question
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if question.run is not None:
        run = question.run
        who = " for ".join(part for part in (run.agent, run.user_id) if part)
        table.add_row("agent", Text(inert(who or run.run_id, 200)))
        if run.prompt:
            table.add_row("asked to", Text(inert(run.prompt, 400)))
    whole = len(question.args) <= _MANY
    for name, value in list(question.args.items())[:_MANY]:
        # As JSON, so that the text "5" and the number 5 look like two things.
        text = json.dumps(value, ensure_ascii=False)
        whole = whole and len(text) <= _VALUE and len(name) <= _NAME and name not in question.hidden
        table.add_row(Text(inert(name, _NAME)), Text(inert(text, _VALUE), style="bold"))
    for reason in question.reasons:
        table.add_row("because", Text(inert(f"{reason.message} ({reason.id})", 400)))
        if reason.measure is not None:
            # Whoever lets a call go beyond a limit has to know how far.
            table.add_row("", Text(inert(reason.measure.said(), _FIGURES)))
        for said in question.why(reason):
            table.add_row("", Text(inert(said, _FIGURES)))
    for demand in question.demands:
        if demand.of or demand.approvals > 1:
            table.add_row("needs", Text(inert(_demanded(demand), 200)))
    also = others(request)
    if also is not None:
        table.add_row("also", Text(also))
    title = Text(f" {inert(question.tool, 80)} asks for approval ", style="bold yellow")
    console.print()
    console.print(Panel(table, title=title, title_align="left", border_style="yellow"))
    return whole


def _demanded(demand: Demand) -> str:
    whom = ", ".join(demand.of) or "anybody"
    return whom if demand.approvals == 1 else f"{demand.approvals} of {whom}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
