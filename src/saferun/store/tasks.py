"""The asyncio side of the writer: what the tasks of one turn of the loop ask for goes together.

A commit a task would leave most of the loop's time to SQLite; a commit a turn serves all
tasks that were ready in it. With `process` durability nothing waits for the disk, so the
loop commits by itself unless somebody else is writing; with `full`, and in a crowd, the
keeper thread does, and the loop goes on.
"""

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from saferun.store.writer import Item, Work, Writer

T = TypeVar("T")


_Waiter: TypeAlias = tuple[Item[object], "asyncio.Future[None]", Callable[[object], None] | None]


class Turn:
    """What the tasks of one event loop have asked for in its present turn."""

    def __init__(self, writer: Writer, loop: asyncio.AbstractEventLoop, *, inline: bool) -> None:
        self._writer = writer
        self._loop = loop
        self._inline = inline
        self._waiting: list[_Waiter] = []

    async def commit(self, work: Work[T], unwanted: Callable[[T], None] | None = None) -> T:
        """Have work done and durable; see `Writer.commit`.

        A task that is cancelled meanwhile cannot take the work back. Where it was done after
        all, `unwanted` is told, on the loop's thread.
        """
        item: Item[T] = Item(work)
        done = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append((item, done, unwanted))  # type: ignore[arg-type]
        try:
            await done
        except asyncio.CancelledError:
            # Cancelled before the work was done, it is for `_resolve` to tell.
            if not done.cancelled():
                _tell(item, unwanted)
            raise
        return item.answer()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        items = [item for item, _, _ in waiting]
        try:
            for item in items:
                self._writer.enqueue(item)
        except Exception as problem:  # noqa: BLE001 - a closed store is every waiter's answer
            for item in items:
                item.error = item.error or problem
            _resolve(waiting)
            return
        if self._inline and self._writer.try_now(items):
            _resolve(waiting)
            return

        def done() -> None:
            # A loop that was closed meanwhile has no waiters left; what was admitted for them
            # and never started is found by recovery.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_resolve, waiting)

        self._writer.later(items, done)


class Turns:
    """The turns of a process's loops, of which it nearly always has one."""

    def __init__(self, writer: Writer, *, inline: bool) -> None:
        self._writer = writer
        self._inline = inline
        self._of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turn]
        self._of = weakref.WeakKeyDictionary()

    def now(self) -> Turn:
        """The turn of the loop that is running."""
        loop = asyncio.get_running_loop()
        turn = self._of.get(loop)
        if turn is None:
            turn = self._of[loop] = Turn(self._writer, loop, inline=self._inline)
        return turn


def _resolve(waiting: list[_Waiter]) -> None:
    for item, done, unwanted in waiting:
        if done.cancelled():
            _tell(item, unwanted)
        else:
            done.set_result(None)


def _tell(item: Item[T], unwanted: Callable[[T], None] | None) -> None:
    if unwanted is not None and item.error is None:
        unwanted(item.answer())
