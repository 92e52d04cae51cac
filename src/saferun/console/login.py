"""How somebody says who they are: with their own secret, or by whatever else can identify them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from saferun.config import Config
from saferun.console.session import Who
from saferun.errors import SafeRunError
from saferun.store import Store, Vouch, WrongSecretError

MAX_NAME = 64
MAX_SECRET = 200


class LoginError(SafeRunError):
    """Nobody is logged in by that: a sentence on why, and the status that says so by HTTP."""

    def __init__(self, why: str, status: int = 401) -> None:
        super().__init__(why)
        self.status = status


class Login(Protocol):
    """A way to find out who somebody is."""

    def identify(self, said: Mapping[str, str], address: str) -> Who:
        """Who it is that has sent these fields from that address. Raises LoginError.

        `said` are the fields of a form, or the parameters with which an identity provider has
        sent them back.
        """
        ...


class Tries:
    """Logins that have failed of late, by whatever they are counted for. Thread-safe.

    A secret has 256 bits and is not found by trying; this keeps the store from being asked as
    often as anybody likes.
    """

    WITHIN = 900.0
    """Seconds for which a failure counts."""

    MOST = 10_000
    """Names and addresses that are remembered; of more, those that failed first are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[str, deque[float]] = {}

    def wait(self, key: str, most: int) -> float:
        """Seconds until one more try is allowed of `most` within the time."""
        with self._lock:
            failed, now = self._failed.get(key, deque()), self._clock()
            while failed and failed[0] <= now - self.WITHIN:
                failed.popleft()
            return failed[-most] + self.WITHIN - now if len(failed) >= most else 0.0

    def failed(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                times = self._failed.pop(key, deque(maxlen=100))
                times.append(self._clock())
                self._failed[key] = times
            while len(self._failed) > self.MOST:
                del self._failed[next(iter(self._failed))]

    def forget(self, key: str) -> None:
        with self._lock:
            self._failed.pop(key, None)


class Secret:
    """Login with the secret that `saferun login` has made, which the store knows by its digest."""

    PERSON = 10
    """Failures of one person from one address, within the time, before they have to wait."""

    EVERYWHERE = 100
    """Failures of one person from anywhere."""

    ADDRESS = 50
    """Failures from one address, whoever it says to be."""

    def __init__(self, store: Store, settings: Config, tries: Tries | None = None) -> None:
        self._store = store
        self._people = settings.people
        self._tries = tries or Tries()

    def identify(self, said: Mapping[str, str], address: str) -> Who:
        name = said.get("person", "").strip()[:MAX_NAME]
        secret = said.get("secret", "").strip()
        here, everywhere, from_there = f"{name}\0{address}", f"{name}\0", f"\0{address}"
        waits = (
            self._tries.wait(here, self.PERSON),
            self._tries.wait(everywhere, self.EVERYWHERE),
            self._tries.wait(from_there, self.ADDRESS),
        )
        if any(waits):
            minutes = int(max(waits) // 60) + 1
            raise LoginError(f"That has failed too often; try again in {minutes} min.", 429)
        if not name or not 0 < len(secret) <= MAX_SECRET:
            raise LoginError("Say who you are, and your secret.")
        credential = self._store.credential(name, secret)
        try:
            self._store.commit(Vouch(name, credential))
        except WrongSecretError:
            self._tries.failed(here, everywhere, from_there)
            raise LoginError("That name and secret do not belong together.") from None
        self._tries.forget(here)
        # Known to the store alone: they may look, and the configuration says who may answer.
        known = self._people.get(name)
        return Who(name, "viewer" if known is None else known.role, credential)
