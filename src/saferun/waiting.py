"""Waiting for what blocks: no longer than it is given, or beside an event loop.

Whoever waits for a tool that takes longer is told so. The tool itself cannot be stopped where it
runs in a thread: it may do its work yet, and nobody knows.
"""

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import Future

T = TypeVar("T")


class OverdueError(TimeoutError):
    """A tool has taken longer than its policy lets it. Whether it has done its work is unknown."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the tool took longer than the {seconds:g} s that its policy gives it; "
            "it may still do its work, so do not simply call it again"
        )


class Apart(Generic[T]):
    """A function at work in a thread of its own, in a copy of the caller's context.

    A tool that is bound to its thread, as a database connection can be, must not be given a
    time.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self.over = False
        self._ended: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._call = call
        self._context = copy_context()
        # A daemon: a tool that never comes back must not keep the process from ending.
        threading.Thread(target=self._work, name="saferun-tool", daemon=True).start()

    def result(self, seconds: float) -> T:
        """What it returns or raises, if it does so in time. Raises OverdueError."""
        try:
            fine, result = self._ended.get(timeout=seconds)
        except Empty:
            raise OverdueError(seconds) from None
        self.over = True
        if fine:
            found: T = result
            return found
        try:
            raise result
        finally:
            # Its traceback holds this frame, and this frame would hold it.
            del result

    def _work(self) -> None:
        try:
            self._ended.put((True, self._context.run(self._call)))
        except BaseException as problem:  # noqa: BLE001 - whatever it is, it is the caller's
            self._ended.put((False, problem))


async def awaited_within(seconds: float, source: Awaitable[T]) -> T:
    """What an awaitable gives or raises, if it does so in time. Raises OverdueError.

    It is cancelled when its time is up, and may end its work or undo it.
    """
    # Whoever awaits has asyncio already; the others are spared its import.
    from asyncio import timeout

    bound = timeout(seconds)
    try:
        async with bound:
            return await source
    except TimeoutError:
        # The tool may have had a time of its own, and said so.
        if bound.expired():
            raise OverdueError(seconds) from None
        raise


async def aside(call: Callable[[], T]) -> T:
    """What a function that blocks returns or raises, while the loop goes on.

    In a thread of its own, and not in one of the loop's: people who think for a quarter of an
    hour would leave the application none.
    """
    from asyncio import get_running_loop

    loop = get_running_loop()
    future: Future[tuple[bool, Any]] = loop.create_future()
    context = copy_context()

    def tell(fine: bool, result: Any) -> None:
        # Not where whoever waited was cancelled. As a result in either case: there are
        # exceptions that a future does not take.
        if not future.done():
            future.set_result((fine, result))

    def work() -> None:
        said: tuple[bool, object]
        try:
            said = (True, context.run(call))
        except BaseException as problem:  # noqa: BLE001 - whatever it is, it is the caller's
            said = (False, problem)
        # The loop may be gone by now, and with it everybody who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, *said)

    threading.Thread(target=work, name="saferun-aside", daemon=True).start()
    fine, result = await future
    if not fine:
        raise result
    found: T = result
    return found
