"""Forks: no file of a store is being read while its process forks.

SQLite keeps locks of the whole process, and a child that is forked while another thread holds one
finds it held for good. And a connection that crosses a fork takes its place in the child without
the locks on the file that went with it, so that another process may cut the shared memory from
under the child's feet. So whoever forks waits for those who read, and whoever wants to read waits
for the fork. Writers have their own locks for that, in `writer`.
"""

import logging
import sqlite3
import threading
import time
import weakref
from typing import Any

log = logging.getLogger("saferun")

PATIENCE = 2.0
"""Seconds that a fork waits for those who read. What reads for longer is no call's reading."""

_LOOK = 0.05
"""Seconds between two looks; a connection that was dropped without being closed tells nobody."""

_turn = threading.Condition()
_forking = 0
_open: "weakref.WeakSet[Reading]" = weakref.WeakSet()


class Reading(sqlite3.Connection):
    """A connection that forks wait for."""

    def __init__(self, *given: Any, **more: Any) -> None:
        self.thread = threading.get_ident()
        with _turn:
            # Who reads already goes on: the fork waits for them, and not they for the fork.
            while _forking and not any(each.thread == self.thread for each in _open):
                _turn.wait(_LOOK)
            super().__init__(*given, **more)
            _open.add(self)

    def close(self) -> None:
        with _turn:
            super().close()
            _open.discard(self)
            _turn.notify_all()


def before() -> None:
    """Wait until no other thread reads. Before the locks of writers, which readers may want."""
    global _forking  # noqa: PLW0603
    me, until = threading.get_ident(), time.monotonic() + PATIENCE
    with _turn:
        _forking += 1
        while any(each.thread != me for each in _open):
            if time.monotonic() > until:
                log.warning(
                    "saferun: forked while another thread was reading a store for longer than "
                    "%.0f s; the child may hang at its first guarded call. Fork before you read.",
                    PATIENCE,
                )
                return
            _turn.wait(_LOOK)


def after_in_parent() -> None:
    global _forking  # noqa: PLW0603
    with _turn:
        _forking -= 1
        _turn.notify_all()


def after_in_child() -> None:
    # Those who held it, and those who read, are the parent's.
    global _turn, _forking, _open
    _turn, _forking, _open = threading.Condition(), 0, weakref.WeakSet()
