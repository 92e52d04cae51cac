"""A peer on the same work: `govern(fn, policy=...)` of Microsoft's Agent Governance Toolkit.

It pins a version of `cryptography` that SafeRun does not use, so it gets an environment of its
own, made here once, and runs in a process of its own that takes its turn like every other case.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.govern import CASES
from benchmarks.measure import Round

PACKAGE = "agent-governance-toolkit-core==5.0.0"

_FOLDER = Path(__file__).parent / ".venv-agt"
_READY = _FOLDER / ".ready"


class PeerError(Exception):
    """The peer cannot be measured here, with the reason as one line."""


class Peer:
    """The other environment's process, which makes calls when it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [_python(), "-m", "benchmarks.govern"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def cases(self) -> "list[Governed]":
        return [Governed(name, self) for name in CASES]

    def ask(self, name: str, calls: int) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps([name, calls]), file=self._process.stdin, flush=True)
            spent: list[int] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            raise PeerError(f"its process ended: {self._last_words()}") from None
        return spent

    def close(self) -> None:
        self._process.communicate()

    def _last_words(self) -> str:
        said = self._process.communicate()[1].strip().splitlines()
        return said[-1] if said else "without a word"


class Governed:
    """One way of using the peer."""

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self._peer = peer

    def run(self, calls: int) -> Round:
        spent = self._peer.ask(self.name, calls)
        return Round(spent, sum(spent))


def ready(*, install: bool) -> Peer:
    """The peer, installed first where it is not there yet and `install` allows it.

    Raises PeerError.
    """
    if not _READY.exists():
        if not install:
            raise PeerError("it is not installed, and a quick run installs nothing")
        _installed()
    peer = Peer()
    for case in peer.cases():
        case.run(1)
    return peer


def _installed() -> None:
    print(f"Installing {PACKAGE} into {_FOLDER.name} (once) ...", file=sys.stderr)
    venv.create(_FOLDER, clear=True, with_pip=True)
    pip = [_python(), "-m", "pip", "install", "-q", "--disable-pip-version-check", PACKAGE]
    done = subprocess.run(pip, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise PeerError(f"it cannot be installed: {said[-1] if said else 'pip failed'}")
    _READY.touch()


def _python() -> str:
    return str(_FOLDER / "bin" / "python")
