"""Shut: a process that may think, and do nothing to the world.

While something keeps it shut, connections, other processes and writes outside of some folders are
refused by an audit hook (`sys.addaudithook`), which sees them whatever library they come from.
A hook cannot be taken away again; where nothing is shut, this one does nothing. A thread or task
that began while it was shut, and goes on afterwards, stays shut for as long as it lives.

It holds back code that does not know of it. Code that means to get past it can, as it can past
anything in its own process: an extension in C that tells Python nothing is not seen.
"""

import _posixsubprocess
import contextlib
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakSet

from saferun.leftover import Leftover

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
        "socket.getnameinfo",
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
        *("os.fork", "os.forkpty", "pty.spawn", "os.kill", "os.killpg", "os.startfile"),
        *("socket.sethostname", "syslog.openlog", "syslog.syslog"),
    }
)
"""Events that are refused whatever they are about."""


class _Path(NamedTuple):
    """Where an event names a path and, behind it, the folder that it is relative to.

    `follows` says that of a link, what it leads to is changed, and not the link.
    """

    at: int
    folder: int | None = None
    follows: bool = False


_CHANGES: Mapping[str, tuple[_Path, ...]] = MappingProxyType(
    {
        "os.remove": (_Path(0, 1),),
        "os.rename": (_Path(0, 2), _Path(1, 3)),
        "os.rmdir": (_Path(0, 1),),
        "os.mkdir": (_Path(0, 2),),
        # By a link that is not symbolic, what lies elsewhere could be written to.
        "os.link": (_Path(0, 2, follows=True), _Path(1, 3)),
        # A symbolic one does nothing to what it leads to.
        "os.symlink": (_Path(1, 2),),
        "os.truncate": (_Path(0, follows=True),),
        "os.chmod": (_Path(0, 2, follows=True),),
        "os.chown": (_Path(0, 3, follows=True),),
        "os.utime": (_Path(0, 3, follows=True),),
        "os.setxattr": (_Path(0, follows=True),),
        "os.removexattr": (_Path(0, follows=True),),
        "os.chflags": (_Path(0, follows=True),),
        "shutil.rmtree": (_Path(0, 1),),
        "shutil.move": (_Path(0), _Path(1)),
    }
)
"""Events that change a file system, and where they name what they change (PEP 578)."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC

_ATTACH, _DENIED = 24, 1
"""What SQLite calls it when a statement opens a further file, and what keeps it from that."""

_DEVICES = os.path.realpath("/dev")


class _Shut:
    def __init__(self, folders: Sequence[Path]) -> None:
        self.refused: list[Refused] = []
        self._folders = tuple({os.path.realpath(each) for each in folders})
        # What was at work before, such as a debugger, goes on with the connections that it has.
        self._others = WeakSet(threading.enumerate()) - {threading.current_thread()}
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
            if not self._keeps(args[0]):
                self._refuse(event, args)
        elif event in _CHANGES:
            for place in _CHANGES[event]:
                path = args[place.at]
                if not self._within(path, _folder(args, place.folder), follows=place.follows):
                    self._refuse(event, (path,))

    def _keeps(self, name: Any) -> bool:
        """Whether a database of that name is in memory, only read, or lies where may be written."""
        name = os.fsdecode(name)
        if name.startswith("file:"):
            at = urlsplit(name)
            modes = parse_qs(at.query).get("mode", [])
            if modes in (["ro"], ["memory"]) or at.path == ":memory:":
                return True
            name = unquote(at.path)
        return name in (":memory:", "") or self._within(name)

    def attaches(self, name: str | None) -> int:
        """What SQLite is told of a statement that opens a further file, as `VACUUM INTO` does."""
        # One that is given apart from the statement is not told.
        if name is not None and self._keeps(name):
            return 0
        self._remember("sqlite3.connect", repr(name or "a database that is attached"))
        return _DENIED

    def _within(self, path: Any, folder: str | None = None, *, follows: bool = True) -> bool:
        if isinstance(path, int):
            # It was opened before.
            return True
        named = os.path.join(folder or "", os.fsdecode(path))  # noqa: PTH118 - it may have links
        if follows:
            whole = os.path.realpath(named)
        else:
            above, own = os.path.split(named.rstrip(os.sep))
            whole = os.path.join(os.path.realpath(above), own)  # noqa: PTH118
            if own in ("", ".", ".."):
                whole = os.path.realpath(named)
        if any(whole == each or whole.startswith(each + os.sep) for each in self._folders):
            return True
        return whole.startswith(_DEVICES + os.sep) and _is_device(whole)

    def _refuse(self, event: str, args: Sequence[Any]) -> None:
        target = next((f"{each!r}" for each in reversed(args) if _tells(each)), "")[:200]
        self._remember(event, target)
        raise ShutError(f"A rerun does nothing to the world: {event} {target} is refused.")

    def _remember(self, event: str, target: str) -> None:
        if len(self.refused) < MOST:
            self.refused.append(Refused(event, target[:200]))

    def starts(self, args: Sequence[Any], *_: Any) -> int:
        """In place of what starts programs for `multiprocessing`, which tells no hook of it."""
        self._refuse("subprocess.Popen", (os.fsdecode(args[0]) if args else "",))
        return -1

    def opens(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """In place of what opens files, and tells no hook of the folder that a path is within."""

        def opens(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> Any:
            if dir_fd is None or not flags & _WRITES:
                return real(path, flags, mode, dir_fd=dir_fd)
            if not self._within(path, _folder((dir_fd,), 0)):
                self._refuse("open", (path,))
            with only_looking():
                return real(path, flags, mode, dir_fd=dir_fd)

        return opens

    def connects(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """In place of what opens a database, of which statements may open others."""

        def connects(*args: Any, **named: Any) -> Any:
            connection = real(*args, **named)
            connection.set_authorizer(_attaches)
            return connection

        return connects

    def makes(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """In place of what makes other things than files, and tells no hook of it."""

        def makes(path: Any, *args: Any, dir_fd: int | None = None, **named: Any) -> Any:
            if not self._within(path, _folder((dir_fd,), 0)):
                self._refuse("open", (path,))
            return real(path, *args, dir_fd=dir_fd, **named)

        return makes

    def signals(self, *args: Any, **_: Any) -> None:
        """In place of what sends a signal to a process by its descriptor."""
        self._refuse("os.kill", args)

    def sends(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """In place of what sends over a connection that was there before, and tells no hook."""

        def send(sock: socket.socket, *args: Any, **named: Any) -> Any:
            # Loops wake themselves by sockets of other families, which lead nowhere.
            leads_out = sock.family in (socket.AF_INET, socket.AF_INET6)
            if leads_out and threading.current_thread() not in self._others:
                self._refuse("socket.send", (_peer(sock),))
            return real(sock, *args, **named)

        return send


def _peer(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return ""


def _folder(args: Sequence[Any], at: int | None) -> str | None:
    """The folder that a path is relative to, None for the one that the process is in."""
    descriptor = args[at] if at is not None and at < len(args) else None
    if not isinstance(descriptor, int) or descriptor < 0:
        return None
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return f"/proc/self/fd/{descriptor}"


def _is_device(path: str) -> bool:
    """Whether it is a terminal, or what swallows all: under /dev lies memory that others share."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)  # noqa: PTH116 - a path as it was resolved
    except OSError:
        return False


def _tells(value: Any) -> bool:
    return isinstance(value, str | bytes | tuple | os.PathLike)


@contextlib.contextmanager
def only_looking() -> Iterator[None]:
    """Let something through, for a block, that opens what it will not change."""
    held = _holds()
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
_left = Leftover[_Shut]("saferun_shut")
_hooked = False

_SEEN = _OUT | _CHANGES.keys() | {"open", "sqlite3.connect"}


def _holds() -> _Shut | None:
    """What keeps this thread shut."""
    return _shut or _left.behind()


def _attaches(action: int, name: str | None, *_: Any) -> int:
    """Let SQLite do what it is to do, but for opening further files while something is shut."""
    held = _holds() if action == _ATTACH else None
    return 0 if held is None else held.attaches(name)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event not in _SEEN:
        return
    held = _holds()
    if held is None or getattr(held.looking, "now", False):
        return
    held.looking.now = True
    try:
        held.look(event, args)
    finally:
        held.looking.now = False


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
    untold = _untold(held)
    with _left.stay(held):
        _shut = held
        for where, name, _, refuses in untold:
            setattr(where, name, refuses)
        try:
            yield held.refused
        finally:
            _shut = before
            for where, name, real, _ in untold:
                setattr(where, name, real)


def _untold(held: _Shut) -> list[tuple[Any, str, Any, Any]]:
    """What does something to the world and tells no hook: where it stands, and what refuses it."""
    starts = _posixsubprocess.fork_exec
    found: list[tuple[Any, str, Any, Any]] = [(_posixsubprocess, "fork_exec", starts, held.starts)]
    found.append((os, "open", os.open, held.opens(os.open)))
    for name in ("mkfifo", "mknod"):
        if hasattr(os, name):
            real = getattr(os, name)
            found.append((os, name, real, held.makes(real)))
    if hasattr(signal, "pidfd_send_signal"):
        found.append((signal, "pidfd_send_signal", signal.pidfd_send_signal, held.signals))
    sqlite = [sys.modules[each] for each in ("sqlite3", "sqlite3.dbapi2") if each in sys.modules]
    found += ((each, "connect", each.connect, held.connects(each.connect)) for each in sqlite)
    ssl = sys.modules.get("ssl")
    kinds: list[tuple[Any, tuple[str, ...]]] = [(socket.socket, ("send", "sendall"))]
    if ssl is not None:
        kinds.append((ssl.SSLSocket, ("send", "sendall", "write")))
    for kind, names in kinds:
        for name in names:
            real = getattr(kind, name)
            found.append((kind, name, real, held.sends(real)))
    return found
