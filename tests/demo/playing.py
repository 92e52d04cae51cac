"""Plays the demo as its users do: the command, in a process and a folder of its own."""

import mailbox
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

DEMO = (sys.executable, "-m", "saferun", "demo")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("SAFERUN_") and name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")
}


class Played(NamedTuple):
    """One demo: its exit code, what was printed, and the folder that it left."""

    code: int
    said: str
    folder: Path

    @property
    def refunds(self) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(self.folder / "shop/orders.db")) as db:
            return db.execute("SELECT order_id, amount FROM refunds ORDER BY refund").fetchall()

    @property
    def mails(self) -> list[tuple[str, str, str]]:
        """Recipient, subject and text of every mail that was delivered."""
        delivered = mailbox.Maildir(self.folder / "shop/mail", create=False)
        return [(m["To"], m["Subject"], m.get_payload()) for m in delivered]

    def row(self, number: int) -> str:
        """The row of a call in the table, with the lines that belong to it."""
        lines = self.said.splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith(f" {number:3}  "))
        end = next(
            at
            for at, line in enumerate(lines[first + 1 :], start=first + 1)
            if line[:5].strip() or "◇ model" in line or not line
        )
        return "\n".join(lines[first:end])


def play(where: Path, *arguments: str) -> Played:
    """The demo in `where`, with nobody at any terminal: a session of its own has none."""
    done = subprocess.run(
        [*DEMO, *arguments],
        cwd=where,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
        timeout=120,
    )
    return Played(done.returncode, done.stdout, where / "demo-out")
