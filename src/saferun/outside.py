"""Calls outside of any run: what one thread or task does without saying what it belongs to."""

import os
import sys
import threading
import time
from contextvars import ContextVar
from typing import NamedTuple

from saferun.store import Followed, Store

QUIET = 60.0
"""Seconds after which what a thread or task did outside of any run is forgotten."""

_around: ContextVar["_Around | None"] = ContextVar("saferun_around", default=None)


class _Around(NamedTuple):
    """The calls without a run that one thread or task makes, one soon after the other."""

    whose: tuple[object, ...]
    followed: Followed
    since: float


def here(store: Store) -> Followed:
    """What the calls without a run have in common that one thread or task makes.

    Nothing says that they are one task of one agent, so it is short-lived: a server's thread has
    another request at hand a minute later.
    """
    around = _around.get()
    whose = (store, os.getpid(), threading.get_ident(), _task())
    now = time.monotonic()
    if around is None or around.whose != whose or now - around.since > QUIET:
        around = _Around(whose, store.trails.here(), now)
    else:
        around = around._replace(since=now)
    _around.set(around)
    return around.followed


def _task() -> object:
    """The task that this code is part of, None where there is none."""
    # Where nobody has imported it, nobody runs a loop, and nobody has to wait for its import.
    asyncio = sys.modules.get("asyncio")
    try:
        return None if asyncio is None else asyncio.current_task()
    except RuntimeError:
        return None
