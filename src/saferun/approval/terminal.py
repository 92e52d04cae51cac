"""The terminal channel: a question to the person in front of the running process.

It speaks to the controlling terminal and not to standard input, so it works where the
agent's input and output are pipes. Where there is no terminal, or this process is not in
its foreground, nobody can be asked and the call is denied at once; it never waits for a
person who is not there.

It does not know who is at the keyboard: it records the user of the operating system. That
is right for development and for an operator at a console, and for nothing else.
"""

import contextlib
import getpass
import os
import select
import termios
import threading
import time
from typing import TextIO

import msgspec
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from saferun.approval.inert import inert
from saferun.approval.question import Question, Vote

_DEVICE = "/dev/tty"
_NAME = 80
_FIGURES = 400
_VALUE = 2_000
"""Characters of one argument that fit a screen. A longer one cannot be approved here."""


class Terminal:
    """Asks y or n. Questions of several threads come one after the other."""

    name = "terminal"

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

    def ask(self, question: Question) -> Vote | None:
        until = time.monotonic() + question.seconds
        with self._one_at_a_time:
            if not question.still_open() or self.unreachable() is not None:
                return None
            fd = os.open(self._device, os.O_RDWR | os.O_NOCTTY)
            try:
                with os.fdopen(fd, "w", encoding="utf-8", closefd=False) as screen:
                    return _asked(question, fd, screen, until)
            finally:
                os.close(fd)


def _asked(question: Question, fd: int, screen: TextIO, until: float) -> Vote | None:
    console = Console(file=screen, force_terminal=True)
    whole = _show(console, question)
    by = _user()
    if not whole:
        # Nobody can approve what they cannot see.
        console.print(
            "[yellow]Not every argument can be shown whole, so it cannot be approved here.[/]"
        )
        return Vote(approved=False, by=by, reason="an argument cannot be shown whole")
    # What was typed before the question stood there is no answer to it.
    termios.tcflush(fd, termios.TCIFLUSH)
    while True:
        screen.write("Let it run? [y/n] ")
        screen.flush()
        ready, _, _ = select.select([fd], [], [], max(until - time.monotonic(), 0))
        if not ready:
            screen.write("\nToo late: the question has expired.\n")
            return None
        answer = os.read(fd, 1024)
        if not answer:
            return None
        word = answer.decode(errors="replace").strip().casefold()
        if word in ("y", "yes"):
            return Vote(approved=True, by=by)
        if word in ("n", "no"):
            return Vote(approved=False, by=by)


def _show(console: Console, question: Question) -> bool:
    """Draw the question; whether every argument is shown whole."""
    whole = True
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if question.run is not None:
        run = question.run
        who = " for ".join(part for part in (run.agent, run.user_id) if part)
        table.add_row("agent", Text(inert(who or run.run_id, 200)))
        if run.prompt:
            table.add_row("asked to", Text(inert(run.prompt, 400)))
    for name, value in question.args.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        whole = whole and len(text) <= _VALUE and len(name) <= _NAME and name not in question.hidden
        table.add_row(Text(inert(name, _NAME)), Text(inert(text, _VALUE), style="bold"))
    for reason in question.reasons:
        table.add_row("because", Text(inert(f"{reason.message} ({reason.id})", 400)))
        if reason.measure is not None:
            # Whoever lets a call go beyond a limit has to know how far.
            table.add_row("", Text(inert(reason.measure.said(), _FIGURES)))
    if question.groups:
        table.add_row("needs", Text(inert(", ".join(question.groups), 200)))
    title = Text(f" {inert(question.tool, 80)} asks for approval ", style="bold yellow")
    console.print()
    console.print(Panel(table, title=title, title_align="left", border_style="yellow"))
    return whole


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
