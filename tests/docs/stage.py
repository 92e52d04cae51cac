"""Where the examples of one page run: one after the other, in one folder, as a reader would."""

import ast
import asyncio
import contextlib
import fcntl
import inspect
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

# Far beyond what any example takes: it ends one that waits for something that never comes.
PATIENCE = 60

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07")
_QUESTION = re.compile(r"\[y/n\] $")

_WITH_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp('bash', ['bash', '-ec', sys.argv[1]])\n"
)
"""Run in a session of its own, this makes standard input its controlling terminal."""


class Stage:
    """One page's folder, and what its Python examples have defined so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "example"}
        self._written: dict[str, str] = {}

    def write(self, path: str, text: str) -> None:
        file = (self.folder / path).resolve()
        assert file.is_relative_to(self.folder.resolve()), f"{path} lies outside the page's folder"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def python(self, source: str, name: str) -> str:
        """Run an example in this process; returns what it printed."""
        printed = io.StringIO()
        code = compile(source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(printed):
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(self._awaited(code))
            else:
                exec(code, self.names)
        return printed.getvalue()

    async def _awaited(self, code: Any) -> None:
        await eval(code, self.names)

    def shell(self, script: str, status: int) -> str:
        """Run commands without a terminal; returns what they printed, errors among it."""
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )
        assert done.returncode == status, f"exit {done.returncode}, not {status}:\n{done.stdout}"
        return done.stdout

    def terminal(self, script: str, keys: list[str], status: int) -> str:
        """Run commands in a terminal of 80 columns, typing a key at each question."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        with subprocess.Popen(
            [sys.executable, "-c", _WITH_TERMINAL, script],
            cwd=self.folder,
            env=self._environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            try:
                said = _conversation(ours, keys)
            except BaseException:
                process.kill()
                raise
            finally:
                os.close(ours)
        assert process.returncode == status, f"exit {process.returncode}, not {status}:\n{said}"
        return said

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("LANG", "TMPDIR") if key in os.environ}
        here = str(Path(sys.executable).parent)
        return {
            **kept,
            # What a person has there is not the examples', and what they leave not the person's.
            "HOME": str(self.folder.with_name("home")),
            "PATH": os.pathsep.join((here, os.environ.get("PATH", os.defpath))),
            "PYTHONPATH": str(self.folder),
            "PYTHONUTF8": "1",
            "LOGNAME": "alice",
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "TERM": "xterm",
        }


def _conversation(terminal: int, keys: list[str]) -> str:
    left = list(keys)
    said = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, f"the example waits for something that never comes:\n{said.decode()}"
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            # Linux says EIO where the other side is closed.
            part = b""
        if not part:
            break
        said += part
        if left and _QUESTION.search(_shown(said)):
            os.write(terminal, left.pop(0).encode() + b"\n")
    assert not left, f"nobody asked for {left}:\n{_shown(said)}"
    return _shown(said)


def _shown(said: bytes) -> str:
    return _ESCAPE.sub("", said.decode(errors="replace")).replace("\r\n", "\n")


def matches(printed: str, expected: str) -> bool:
    """Whether a page shows what was printed.

    Times, spans, hashes and keys are each taken for any other of their kind, since they
    differ each time; `…` stands for any text within a line, or alone on its line for any lines.
    """
    lines = []
    for line in _settled(expected).split("\n"):
        if line.strip() == "…":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(r"[^\n]*".join(map(re.escape, line.split("…"))) + r"\n")
    return re.fullmatch("".join(lines), _settled(printed) + "\n") is not None


_VOLATILE = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?", "TIME"),
    (r"\b\d+(?:\.\d+)? (?:µs|ms|s|min)\b", "SPAN"),
    (r"\b[0-9a-f]{16,}\b", "HEX"),
    # The id of a key.
    (r"(?<=\bkey )[0-9a-f]{8}\b", "ID"),
    (r"[A-Za-z0-9+/]{40,}={0,2}", "BASE64"),
    # What differs in length moves the columns beside it.
    (r"[ \t]+", " "),
    (r" +$", ""),
)


def _settled(text: str) -> str:
    for pattern, name in _VOLATILE:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text.rstrip()
