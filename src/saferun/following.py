"""Which version of a policy decides at this moment, in a process that never restarts.

A gate asks at every call, and at most every half second somebody looks: at the files that the
policy was read from, or at what was published to the store. What is new is read whole before
it takes the place of the old in one step. Whatever is wrong with it, a file that is gone or
cannot be read as a policy, a version that was changed, a signature that is not there, leaves the
last good one in force and is said once. A file is only followed as far as its writer is trusted:
one that stops half way, at a place where what is there is a policy, has written that policy.
Whoever renames a finished file into place, or publishes, never shows half of one.
"""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from saferun import policy as policies
from saferun.call import PolicyRef
from saferun.config import Config
from saferun.errors import ConfigError, PolicyError, SafeRunError
from saferun.ledger import NoteError, Verifier
from saferun.policy import Policy, assignment
from saferun.policy.assignment import Assignment
from saferun.store import Reader
from saferun.store.versions import assignment_of, kept_version

log = logging.getLogger("saferun")

EVERY = 0.5
"""Seconds between two looks, so that what was published holds within one second."""

SETTLED = 0.2
"""Seconds since a file's last change after which it counts as written to its end.

A policy that is cut off in the middle may be a sound one that forbids less.
"""

_LOOK_AGAIN = 0.1
"""Seconds until the next look at a file that is being written."""

Clock: TypeAlias = Callable[[], float]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What decides now: the live version, the candidate beside it, and how that is tried.

    `serial` rises with every change, and `floor` is the serial of the last one that was urgent.
    `said` is None for a policy that was not published. `keeps` says that runs keep the version
    that they began with.
    """

    live: Policy
    candidate: Policy | None = None
    said: Assignment | None = None
    serial: int = 0
    floor: int = 0
    keeps: bool = True


class Following(Protocol):
    """One policy's versions. Thread-safe, and never raises once it is there."""

    @property
    def standing(self) -> Standing:
        """What decides, as of the last look."""
        ...

    def now(self) -> Standing:
        """What decides now; looks where it is time to."""
        ...


class Fixed:
    """A policy that the application has loaded itself. Nothing takes its place."""

    def __init__(self, policy: Policy) -> None:
        self.standing = Standing(live=policy, keeps=False)

    def now(self) -> Standing:
        return self.standing


class _Looking:
    """Looks every so often, one thread at a time; all others go on with what they have."""

    standing: Standing

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = clock() + EVERY
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._told: str | None = None

    def now(self) -> Standing:
        if self._clock() >= self._next:
            self._take_a_look()
        return self.standing

    def _take_a_look(self) -> None:
        if self._process != os.getpid():
            # The thread that may have held it is the parent's.
            self._process, self._lock = os.getpid(), threading.Lock()
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._next = self._clock() + EVERY
            self._look()
            self._told = None
        except Exception as problem:  # noqa: BLE001 - whatever it is, the last good one holds
            self._complain(problem)
        finally:
            self._lock.release()

    def _look(self) -> None:
        raise NotImplementedError

    def _complain(self, problem: Exception) -> None:
        said = str(problem)
        if said != self._told:
            self._told = said
            live = self.standing.live
            log.error(
                "saferun goes on with %s @ %s, the last good version: %s",
                *(live.name, live.version[:12], said),
            )

    def _changed(self, standing: Standing) -> None:
        before, self.standing = self.standing, standing
        if (before.live.version, before.said) != (standing.live.version, standing.said):
            live = standing.live
            log.info("saferun follows %s to version %s", live.name, live.version[:12])


Stamp: TypeAlias = tuple[int, int, int] | None
"""When a file was last changed (ns), its size and its number; None where it is not there."""


class FollowedFile(_Looking):
    """A policy in a file, with all the files that it includes.

    Its serials are the moments at which versions were taken up, in microseconds since 1970, so
    that they rise in all processes alike.

    Raises PolicyError where the policy cannot be used to begin with.
    """

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._path = path
        self._files, self._good, live = _loaded(path)
        self._bad: tuple[tuple[Stamp, ...], SafeRunError] | None = None
        self._unsettled: tuple[Stamp, ...] | None = None
        self.standing = _of_file(live, floor=0)

    def _look(self) -> None:
        seen = _stamps(self._files)
        if seen == self._good:
            return
        if self._bad is not None and seen == self._bad[0]:
            raise self._bad[1].with_traceback(None)
        if seen != self._unsettled and not _settled(seen):
            self._unsettled = seen
            self._next = self._clock() + _LOOK_AGAIN
            return
        try:
            files, good, live = _loaded(self._path)
        except SafeRunError as problem:
            self._bad = (seen, problem)
            raise
        self._files, self._good, self._bad = files, good, None
        if live.version != self.standing.live.version:
            self._changed(_of_file(live, self.standing.floor))


def _of_file(live: Policy, floor: int) -> Standing:
    serial = time.time_ns() // 1000
    return Standing(live=live, serial=serial, floor=serial if live.document.urgent else floor)


def _loaded(path: Path) -> tuple[tuple[Path, ...], tuple[Stamp, ...], Policy]:
    """A policy, the files that it was read from, and how each was before it was read.

    A change while they are being read is therefore one that the next look will find.
    """
    from saferun.policy.gather import reader

    stamps = {path: _stamp(path)}
    contents = reader(path.parent)

    def noted(name: str) -> bytes:
        file = path.parent / name
        stamps.setdefault(file, _stamp(file))
        return contents(name)

    live = policies.load(path, noted)
    return tuple(stamps), tuple(stamps.values()), live


def _stamps(files: tuple[Path, ...]) -> tuple[Stamp, ...]:
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> Stamp:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _settled(stamps: tuple[Stamp, ...]) -> bool:
    """Whether all files are there and were last changed a while ago, by the host's clock.

    Where that clock has jumped, two looks that find the same say it as well.
    """
    now = time.time_ns()
    return all(stamp is not None and stamp[0] <= now - SETTLED * 1e9 for stamp in stamps)


class Published(_Looking):
    """A policy as it was published to a store.

    Raises PolicyError where nothing was, or what was cannot be used, to begin with.
    """

    def __init__(
        self, name: str, settings: Config, store: Path, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._name = name
        self._store = store
        self._verifier = _verifier(settings)
        self._note: bytes | None = None
        try:
            with Reader(store) as reader:
                self._take(reader, None)
        except SafeRunError as problem:
            raise PolicyError(
                f"{str(problem).rstrip('.')}; no tool can be wrapped under {name!r} until "
                "saferun policy publish has put a version there that this worker accepts"
            ) from None

    def _look(self) -> None:
        with Reader(self._store) as reader:
            self._take(reader, self.standing)

    def _take(self, reader: Reader, before: Standing | None) -> None:
        note = assignment_of(reader, self._name)
        if note is None:
            raise PolicyError(f"nothing is published under {self._name!r} in {self._store}")
        if note == self._note:
            return
        said = assignment.read(
            note,
            name=self._name,
            origin=reader.origin,
            former=reader.former,
            verifier=self._verifier,
        )
        if before is not None and said.serial <= before.serial:
            raise PolicyError(
                f"what decides for {self._name!r} has the number {said.serial}, and "
                f"{before.serial} was in force already; to go back, use saferun policy rollback"
            )
        candidate = said.candidate
        standing = Standing(
            live=self._version(reader, said.live, before),
            candidate=None if candidate is None else self._version(reader, candidate, before),
            said=said,
            serial=said.serial,
            floor=said.floor,
        )
        self._note = note
        if before is None:
            self.standing = standing
        else:
            self._changed(standing)

    def _version(self, reader: Reader, version: str, before: Standing | None) -> Policy:
        for known in (before.live, before.candidate) if before is not None else ():
            if known is not None and known.version == version:
                return known
        return restored(reader, self._name, version)


def restored(reader: Reader, name: str, version: str) -> Policy:
    """A version that the store has kept. Raises StoreError or PolicyError where it has not."""
    found = policies.restore(kept_version(reader, version))
    if found.ref != PolicyRef(name=name, version=version):
        raise PolicyError(f"version {version[:12]} is one of {found.name!r} and not of {name!r}")
    return found


@functools.lru_cache(maxsize=16)
def kept(store: Path, name: str, version: str) -> Policy:
    """The version that a run keeps, from the store. What has a hash for its name never changes."""
    with Reader(store) as reader:
        return restored(reader, name, version)


def follow(
    policy: str | Path | Policy | None, settings: Config, store: Callable[[], Path]
) -> Following | None:
    """How the policy that a gate was given is followed, None where there is none at all.

    `store` says where the store lies, and is only asked where policies are published.

    Raises PolicyError where it cannot be found or used, and ConfigError for a wrong key.
    """
    if isinstance(policy, Policy):
        return Fixed(policy)
    named = policy if policy is not None else settings.policy
    if named is None:
        return None
    if settings.published and Path(named).suffix not in (".yaml", ".yml"):
        return Published(str(named), settings, store())
    return FollowedFile(settings.policy_file(named))


def _verifier(settings: Config) -> Verifier | None:
    if settings.policy_key is None:
        return None
    try:
        return Verifier(settings.policy_key.strip())
    except NoteError as problem:
        raise ConfigError(f"`policy_key` cannot be used: {problem}") from None
