"""Threads and tasks that go on when the block in which they began is over."""

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Leftover(Generic[T]):
    """What holds for threads and tasks that began in a block, for as long as they live."""

    def __init__(self, name: str) -> None:
        self._threads: WeakKeyDictionary[threading.Thread, T] = WeakKeyDictionary()
        # A task has the context of where it was made, and so has what is called back later.
        self._within: ContextVar[T | None] = ContextVar(name, default=None)

    def behind(self) -> T | None:
        """What holds here, None for what began elsewhere."""
        within = self._within.get()
        if within is None and self._threads:
            return self._threads.get(threading.current_thread())
        return within

    @contextlib.contextmanager
    def stay(self, what: T) -> Iterator[None]:
        """Have it hold, after the block, for the threads and tasks that began in it."""
        before = frozenset(threading.enumerate())
        token = self._within.set(what)
        try:
            yield
        finally:
            # A block may be left in another context than it was entered in.
            with contextlib.suppress(ValueError):
                self._within.reset(token)
            for thread in threading.enumerate():
                if thread not in before:
                    self._threads[thread] = what
