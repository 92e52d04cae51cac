"""A command that keeps checkpoints: it gets the note on its standard input, and exits with 0.

The command stands in the configuration as a list of arguments, so nothing that a ledger, a
model or a tool has said is ever read by a shell. Whoever can write the configuration has a
command run by whoever anchors; so it runs only where that is nobody else.
"""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from saferun.anchor.place import AnchorError, Kind, Offered, Patience, RefusedError
from saferun.errors import ConfigError

_MOST_SAID = 4_096
"""Bytes of what a command says on standard error that are kept."""

_POLL = 0.05
"""Seconds between two looks at a command that runs. The end of the patience may move meanwhile."""


class CommandPlace:
    """One command. `{ledger}` and `{size}` in its arguments are those of the checkpoint."""

    kind: Kind = "command"

    def __init__(self, name: str, command: Sequence[str], seconds: float, file: Path) -> None:
        """`file` is the configuration that names it, and its folder is where the command runs.

        Raises ConfigError where others may write that file.
        """
        self.name = name
        self.seconds = seconds
        self._command = tuple(command)
        self._file = file
        check_owner(file)

    def take(self, offered: Offered, last: int, patience: Patience) -> bytes:
        """See `Place`. A checkpoint that the command has kept already is not brought again."""
        size = offered.checkpoint.size
        if last > size:
            raise RefusedError(
                f"It has kept a checkpoint over {last:,} entries, and this ledger has {size:,}: "
                "the tail was cut off, or an older copy was put back."
            )
        if last == size:
            return offered.note
        said: list[bytes] = []
        with tempfile.TemporaryFile() as note:
            note.write(offered.note)
            note.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - a list from a file that is checked
                    [self._program(), *self._arguments(offered)],
                    cwd=self._file.parent,
                    stdin=note,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    # Its own group, so that what it has started ends with it.
                    start_new_session=True,
                )
            except (OSError, ValueError) as problem:
                raise AnchorError(f"{self._command[0]} cannot be started: {problem}.") from None
        assert process.stderr is not None
        listener = threading.Thread(
            target=_listen, args=(process.stderr, said), name="anchor-command", daemon=True
        )
        listener.start()
        code = _ended(process, patience)
        listener.join(1.0)
        if code is None:
            raise AnchorError(f"{self._command[0]} was ended: it took longer than it may.")
        if code != 0:
            words = b"".join(said).decode("utf-8", "replace").strip()
            why = f": {words.splitlines()[-1][:300]}" if words else ", and said nothing"
            raise AnchorError(f"{self._command[0]} ended with {code}{why}.")
        return offered.note

    def _program(self) -> str:
        """The file to run: on the path by its name, or else from the configuration's folder."""
        named = self._command[0]
        if "/" in named:
            return str(self._file.parent / named)
        # An empty or relative part of the path would mean the working folder.
        parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
        path = os.pathsep.join(part for part in parts if Path(part).is_absolute())
        found = shutil.which(named, path=path)
        if found is None:
            raise AnchorError(f"There is no command {named!r} on the PATH; install it.")
        return found

    def _arguments(self, offered: Offered) -> list[str]:
        size = str(offered.checkpoint.size)
        return [
            each.replace("{ledger}", offered.slug).replace("{size}", size)
            for each in self._command[1:]
        ]


def check_owner(file: Path) -> None:
    """Raises ConfigError where others than this user and root may write a configuration."""
    for path, what in ((file, "it"), (file.parent, "its folder")):
        found = path.stat()
        mine = found.st_uid in (os.geteuid(), 0)
        shared = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if not mine or (shared and not found.st_mode & stat.S_ISVTX):
            raise ConfigError(
                f"{file}: it names commands under [anchors], and others may write {what}; "
                f"let nobody else: chmod go-w {path}"
            )


def _listen(stream: IO[bytes], said: list[bytes]) -> None:
    room = _MOST_SAID
    with contextlib.suppress(OSError, ValueError), stream:
        # Read to the end whatever it is: a command must not hang because nobody listens.
        while data := stream.read1(_MOST_SAID):  # type: ignore[attr-defined]
            if room > 0:
                said.append(data[:room])
                room -= len(data)


def _ended(process: subprocess.Popen[bytes], patience: Patience) -> int | None:
    """The command's exit code, None where it was killed for taking too long."""
    while True:
        try:
            return process.wait(min(_POLL, patience.left()))
        except subprocess.TimeoutExpired:
            if patience.left() > 0:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None
