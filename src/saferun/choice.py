"""Which version of its policy decides on a call: the run's own, and which other it is held against.

A run goes on under the version that it began with, in every process that it is in, so the
store has the last word. Nobody waits for it: a call of a run that is new here is decided by
what holds now, and the admission finds out, in the transaction that it needs anyway, whether
the run began with another version. Then nothing was decided, and the call comes back with it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from saferun.call import RunRef
from saferun.following import Following, Standing, kept
from saferun.policy import Policy, assignment
from saferun.store import Pin, Pinned, Store, Version

MAX_RUNS = 1_000
"""Runs whose version is kept at hand; one that was forgotten is asked about again."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Who decides on one call.

    `other` is the version that is compared, if one is. `pin` has to be put to the store where
    it is not known yet what the run began with, and `keeps` where it may not have the version.
    """

    policy: Policy
    other: Policy | None = None
    serial: int = 0
    pin: Pin | None = None
    keeps: tuple[Version, ...] = ()

    @property
    def new(self) -> bool:
        """Whether the store is still to be told, or asked, something of it."""
        return self.pin is not None or bool(self.keeps)

    @property
    def asks_past(self) -> bool:
        """Whether either version looks at what the run has done before."""
        return self.policy.asks_past or (self.other is not None and self.other.asks_past)


class _Held(NamedTuple):
    """What a run keeps: `until` is on the host's monotonic clock, in seconds."""

    pinned: Pinned
    until: float
    standing: Standing
    choice: Choice


class Choices:
    """The choices of one gate. Thread-safe: what is remembered is only ever replaced whole."""

    def __init__(self, following: Following, store: Callable[[], Path]) -> None:
        self.following = following
        self._store = store
        self._current: tuple[Standing, Choice] | None = None
        self._held: dict[str, _Held] = {}
        self._kept: frozenset[str] = frozenset()

    def of(self, run: RunRef | None, store: Store) -> Choice:
        """Who decides on a call of that run, or on one that belongs to none.

        Raises StoreError or PolicyError where the version that the run keeps cannot be read.
        """
        standing = self.following.now()
        if run is None or not standing.keeps:
            current = self._current
            if current is not None and current[0] is standing:
                return current[1]
            choice = self._choice(standing, standing.live, standing.serial)
            self._current = (standing, choice)
            return choice
        held = self._held.get(run.root)
        if held is not None and time.monotonic() < held.until:
            if held.standing is standing:
                return held.choice
            if held.pinned.serial >= standing.floor:
                return self._hold(run.root, held.pinned, held.until, standing, held.choice.policy)
        policy = self._beginning(standing, run.root, store)
        pin = Pin(run.root, policy.name, policy.version, standing.serial, standing.floor)
        return msgspec.structs.replace(self._choice(standing, policy, standing.serial), pin=pin)

    def recorded(self, run: RunRef | None, choice: Choice, pinned: Pinned | None, now: int) -> None:
        """A choice has been to the store, which has said what the run keeps.

        `now` is in microseconds since 1970, UTC. Raises as `of` does.
        """
        if choice.keeps:
            self._kept |= {each.version for each in choice.keeps}
            self._current = None
        if pinned is not None and run is not None:
            self._kept |= {pinned.version}
            standing = self.following.standing
            until = time.monotonic() + (pinned.until - now) / 1e6
            # Something urgent may have come between the choice and the store's answer.
            if pinned.serial >= standing.floor:
                self._hold(run.root, pinned, until, standing, choice.policy)

    def superseded(self, choice: Choice) -> bool:
        """Whether an urgent version has come since, for runs as well that began before it."""
        standing = self.following.now()
        live = standing.live.version
        return standing.floor > choice.serial and live != choice.policy.version

    def _beginning(self, standing: Standing, root: str, store: Store) -> Policy:
        """The version that a run begins with now."""
        said, candidate = standing.said, standing.candidate
        if said is None or candidate is None or said.trial != "canary":
            return standing.live
        bucket = store.keys.digest(assignment.bucket_of(said, root))
        return candidate if assignment.canary(said, bucket) else standing.live

    def _hold(
        self, root: str, pinned: Pinned, until: float, standing: Standing, last: Policy
    ) -> Choice:
        # Who decided last is at hand: a call that has been admitted needs nothing more.
        policy = next(
            (
                known
                for known in (last, standing.live, standing.candidate)
                if known is not None and known.version == pinned.version
            ),
            None,
        ) or kept(self._store(), standing.live.name, pinned.version)
        choice = self._choice(standing, policy, pinned.serial)
        if len(self._held) >= MAX_RUNS:
            self._held.clear()
        self._held[root] = _Held(pinned, until, standing, choice)
        return choice

    def _choice(self, standing: Standing, policy: Policy, serial: int) -> Choice:
        new = policy.version not in self._kept
        return Choice(
            policy=policy,
            other=_compared(standing, policy),
            serial=serial,
            keeps=(Version(policy.name, policy.version, policy.canonical),) if new else (),
        )


def _compared(standing: Standing, policy: Policy) -> Policy | None:
    """The version that one is held against: candidate and live are, and no third one."""
    if standing.candidate is None:
        return None
    if policy.version == standing.live.version:
        return standing.candidate
    return standing.live if policy.version == standing.candidate.version else None
