"""Who is here: sessions of people who have logged in, and the one-time link of who has started it.

All of it is in memory, and tokens only as their digests: a server that is started anew knows
nobody, and a dump of its memory holds nothing that one could log in with.
"""

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from saferun.config import Role

LASTS = 12 * 3600.0
"""Seconds that a session holds."""

LINK_LASTS = 300.0
"""Seconds that a one-time link holds."""

MOST = 10_000
"""Sessions at the same time; the oldest ends for one more."""


class Who(NamedTuple):
    """Somebody who is logged in, and the keyed digest of the secret that they are known by.

    `person` is None for whoever may look and is nobody in particular.
    """

    person: str | None
    role: Role = "viewer"
    credential: bytes | None = None

    @property
    def answers(self) -> bool:
        """Whether they may answer at all; whether they may answer this, the store says."""
        return self.person is not None and self.role != "viewer"


NOBODY = Who(None)


class Session:
    """One browser. `csrf` stands in each of its forms, and `said` is what its next page tells.

    `over` is for whoever holds it for long: that it was ended meanwhile. `live` counts its pages
    that are told what happens as it does, in the one event loop that tells them.
    """

    __slots__ = ("csrf", "live", "over", "said", "until", "who")

    def __init__(self, who: Who, until: float) -> None:
        self.who = who
        self.until = until
        self.csrf = secrets.token_urlsafe(32)
        self.said: tuple[str, str] | None = None
        self.over = False
        self.live = 0

    def sent(self, token: str) -> bool:
        """Whether a form comes from a page of this session, compared in constant time."""
        return hmac.compare_digest(self.csrf.encode(), token.encode())

    def told(self) -> tuple[str, str] | None:
        """What is to be told once: whether it went well, and the sentence."""
        said, self.said = self.said, None
        return said


class Sessions:
    """The sessions of one server. Thread-safe. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[bytes, Session] = {}
        self._links: dict[bytes, tuple[float, Who]] = {}

    def begin(self, who: Who) -> str:
        """The token of a new session: 256 random bits, for a cookie."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            for key in [key for key, each in self._open.items() if each.until <= now]:
                self._close(key)
            while len(self._open) >= MOST:
                self._close(next(iter(self._open)))
            self._open[_digest(token)] = Session(who, now + LASTS)
        return token

    def of(self, token: str | None) -> Session | None:
        """The session of a token, None where there is none or it is over."""
        if not token or len(token) > 100:
            return None
        with self._lock:
            found = self._open.get(_digest(token))
            if found is not None and found.until <= self._clock():
                self._close(_digest(token))
                return None
            return found

    def end(self, token: str | None) -> None:
        with self._lock:
            self._close(_digest(token or ""))

    def _close(self, key: bytes) -> None:
        found = self._open.pop(key, None)
        if found is not None:
            found.over = True

    def link(self, who: Who) -> str:
        """A code that logs somebody in, once and soon."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            self._links[_digest(code)] = (self._clock() + LINK_LASTS, who)
        return code

    def enter(self, code: str) -> Who | None:
        """Whom a code logs in. It is used up by that."""
        with self._lock:
            until, who = self._links.pop(_digest(code[:100]), (0.0, NOBODY))
            return who if until and self._clock() < until else None


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="replace")).digest()
