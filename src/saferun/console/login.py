"""How somebody says who they are: with their own secret, or by whatever else can identify them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from saferun.console.session import Who
from saferun.errors import SafeRunError
from saferun.roster import Roster
from saferun.store import Reader, Store
from saferun.store.versions import is_vouched

MAX_NAME = 64
MAX_SECRET = 200


class LoginError(SafeRunError):
    """Nobody is logged in by that: a sentence on why, and the status that says so by HTTP.

    `tried` is what the ledger is to have of it, without what was sent; None for nothing.
    """

    def __init__(self, why: str, status: int = 401, *, tried: str | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.tried = tried


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

    A secret has 256 bits and is not found by trying. So whoever has the right one is let in,
    whatever others have failed at: nobody locks somebody else out.
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
                times = self._failed.pop(key, deque(maxlen=1_000))
                times.append(self._clock())
                self._failed[key] = times
            while len(self._failed) > self.MOST:
                del self._failed[next(iter(self._failed))]


class Secret:
    """Login with the secret that `saferun login` has made, which the store knows by its digest."""

    ADDRESS = 20
    """Failures from one address, within the time, before it has to wait."""

    ALL = 200
    """Failures from anywhere, likewise."""

    def __init__(self, store: Store, roster: Roster, tries: Tries | None = None) -> None:
        self._store = store
        self._roster = roster
        self._tries = tries or Tries()

    def identify(self, said: Mapping[str, str], address: str) -> Who:
        name = said.get("person", "").strip()[:MAX_NAME]
        secret = said.get("secret", "").strip()
        if not name or not 0 < len(secret) <= MAX_SECRET:
            raise LoginError("Say who you are, and your secret.")
        credential = self._store.credential(name, secret)
        # A read: failures take no turn with those who write.
        with Reader(self._store.path) as reader:
            right = is_vouched(reader, name, credential)
        roster = self._roster.now()
        if not right or name in roster.gone:
            raise self._refused(address, name if name in roster.people else "somebody")
        # Known to the store alone: they may look, and the configuration says who may answer.
        known = roster.people.person(name)
        return Who(name, "viewer" if known is None else known.role, credential)

    def _refused(self, address: str, whom: str) -> LoginError:
        """What a failure is told. Only failures are counted, and only they have to wait.

        Secrets are entered where a name is expected, too: `whom` is one that is known, or nobody.
        """
        waits = (
            self._tries.wait(f"from {address}", self.ADDRESS),
            self._tries.wait("all", self.ALL),
        )
        if any(waits):
            minutes = int(max(waits) // 60) + 1
            return LoginError(
                f"That has failed too often; try again in {minutes} min.",
                429,
                tried=f"a log-in from {address} after too many",
            )
        self._tries.failed(f"from {address}", "all")
        return LoginError(
            "That name and secret do not belong together.",
            tried=f"a log-in as {whom} from {address} with another secret",
        )
