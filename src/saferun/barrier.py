"""Shut: a process that may think, and do nothing to the world.

While something keeps it shut, connections, other processes and writes outside of some folders are
refused by an audit hook (`sys.addaudithook`), which sees them whatever library they come from.
A hook cannot be taken away again; where nothing is shut, this one does nothing.

It holds back code that does not know of it. Code that means to get past it can, as it can past
anything in its own process: an extension in C that tells Python nothing is not seen.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MOST = 100
"""Refusals that are remembered."""


class Refused(NamedTuple):
    """What was to be done, as the audit event calls it, and to what."""

    event: str
    target: str


class ShutError(PermissionError):
    """Something was to be done to the world while nothing may be."""


_OUT = frozenset(
    {
        *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
        *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
        *("os.fork", "os.forkpty", "pty.spawn", "os.kill", "os.startfile"),
    }
)
"""Events that are refused whatever they are about."""

_CHANGES = frozenset(
    {
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link"),
        *("os.symlink", "os.chmod", "os.chown", "shutil.rmtree", "shutil.move"),
    }
)
"""Events that change a file system at the paths that they name."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


class _Shut:
    def __init__(self, folders: Sequence[Path]) -> None:
        self.refused: list[Refused] = []
        self._folders = tuple(
            {os.path.realpath(each) for each in folders} | {os.path.realpath("/dev")}
        )
        # To find out what a path is may open files itself.
        self.looking = threading.local()

    def look(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _OUT:
            self._refuse(event, args)
        elif event == "open":
            path, mode, flags = args
            writes = bool(flags & _WRITES) if isinstance(flags, int) else False
            if isinstance(mode, str) and any(each in mode for each in "wax+"):
                writes = True
            if writes and not self._within(path):
                self._refuse(event, (path,))
        elif event == "sqlite3.connect":
            if args[0] not in (":memory:", "") and not self._within(args[0]):
                self._refuse(event, args)
        elif event in _CHANGES:
            paths = [each for each in args[:2] if isinstance(each, str | bytes | os.PathLike)]
            if not all(map(self._within, paths)):
                self._refuse(event, paths)

    def _within(self, path: Any) -> bool:
        if isinstance(path, int):
            # It was opened before.
            return True
        whole = os.path.realpath(os.fsdecode(path))
        return any(whole == each or whole.startswith(each + os.sep) for each in self._folders)

    def _refuse(self, event: str, args: Sequence[Any]) -> None:
        target = next((f"{each!r}" for each in reversed(args) if _tells(each)), "")[:200]
        if len(self.refused) < MOST:
            self.refused.append(Refused(event, target))
        raise ShutError(f"A rerun does nothing to the world: {event} {target} is refused.")


def _tells(value: Any) -> bool:
    return isinstance(value, str | bytes | tuple | os.PathLike)


@contextlib.contextmanager
def only_looking() -> Iterator[None]:
    """Let something through, for a block, that opens what it will not change."""
    held = _shut
    if held is None:
        yield
        return
    before = getattr(held.looking, "now", False)
    held.looking.now = True
    try:
        yield
    finally:
        held.looking.now = before


_shut: _Shut | None = None
_hooked = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    held = _shut
    if held is None or (event not in _SEEN) or getattr(held.looking, "now", False):
        return
    held.looking.now = True
    try:
        held.look(event, args)
    finally:
        held.looking.now = False


_SEEN = _OUT | _CHANGES | {"open", "sqlite3.connect"}


@contextlib.contextmanager
def shut(*folders: Path) -> Iterator[list[Refused]]:
    """Refuse all that is done to the world, for a block; only in `folders` may be written.

    Has what was refused so far.
    """
    global _shut, _hooked  # noqa: PLW0603 - a hook is the process's
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    before, held = _shut, _Shut(folders)
    _shut = held
    try:
        yield held.refused
    finally:
        _shut = before
