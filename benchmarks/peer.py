"""Peers on the same work: Microsoft's Agent Governance Toolkit, and Cedar as `cedarpy` has it.

The toolkit pins a version of `cryptography` that SafeRun does not use, and where one of the two
cannot be installed, the other can be measured still. So each gets an environment of its own, made
here once, and runs in a process of its own that takes its turn like every other case.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import cedar, engine, govern
from benchmarks.measure import Round


class Package(NamedTuple):
    """What a peer is installed from, and the names of its cases: bare decisions, whole calls."""

    name: str
    requirement: str
    deciding: Sequence[str]
    guarding: Sequence[str]

    @property
    def folder(self) -> Path:
        return Path(__file__).parent / f".venv-{self.name}"

    @property
    def stamp(self) -> Path:
        return self.folder / ".ready"

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")


PACKAGES = (
    Package(
        "agt", "agent-governance-toolkit-core==5.0.0", tuple(engine.CASES), tuple(govern.CASES)
    ),
    Package("cedar", "cedarpy==4.12.2", tuple(cedar.CASES), ()),
)


class PeerError(Exception):
    """The peer cannot be measured here, with the reason as one line."""


class Peer:
    """The other environment's process, which makes calls when it is told to."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._process = subprocess.Popen(
            [package.python, "-m", "benchmarks.turns", package.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def deciding(self) -> "list[Usage]":
        return [Usage(name, self) for name in self._package.deciding]

    def guarding(self) -> "list[Usage]":
        return [Usage(name, self) for name in self._package.guarding]

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


class Usage:
    """One way of using a peer."""

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self._peer = peer

    def run(self, calls: int) -> Round:
        spent = self._peer.ask(self.name, calls)
        return Round(spent, sum(spent))


def ready(package: Package, *, install: bool) -> Peer:
    """The peer, installed first where it is not there yet and `install` allows it.

    Raises PeerError.
    """
    if not package.stamp.exists():
        if not install:
            raise PeerError("it is not installed, and a quick run installs nothing")
        _installed(package)
    peer = Peer(package)
    for case in (*peer.deciding(), *peer.guarding()):
        case.run(1)
    return peer


def _installed(package: Package) -> None:
    folder = package.folder
    print(f"Installing {package.requirement} into {folder.name} (once) ...", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    pip = [package.python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*pip, package.requirement], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise PeerError(f"it cannot be installed: {said[-1] if said else 'pip failed'}")
    package.stamp.touch()
