"""Streams that are listened to while somebody else reads them.

A stream stays the object that it was and an instance of its class; only what comes out of it is
heard on the way. It is taken for ended when it has no more to say or raises, and for left when it
is closed or dropped. Nothing but the public protocol of iterators and context managers is used,
since that is what versions of a client have in common.
"""

import functools
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from saferun.adapters.turn import Turn

T = TypeVar("T")

_TURN = "_saferun_turn"


def listened(stream: T, turn: Turn) -> T:
    """The stream, which `turn` hears from here on. Raises TypeError where it is none."""
    kind: Any = type(stream)
    if hasattr(kind, "__anext__"):
        of = _read_async(kind)
    elif hasattr(kind, "__next__"):
        of = _read(kind)
    else:
        raise TypeError(f"{kind.__name__} is no stream")
    _become(stream, of, turn)
    # A stream that was broken off and dropped was left then. At the end of the process, the
    # store may be closed already.
    weakref.finalize(stream, turn.ended).atexit = False
    return stream


def managed(manager: T, turn: Turn) -> T:
    """A context manager, whose stream is listened to once it is entered."""
    kind: Any = type(manager)
    _become(manager, (_entered_async if hasattr(kind, "__aenter__") else _entered)(kind), turn)
    return manager


def _become(value: Any, kind: type[Any], turn: Turn) -> None:
    value.__class__ = kind
    vars(value)[_TURN] = turn


def _named_as(kind: type[Any], made: type[Any]) -> type[Any]:
    made.__name__, made.__qualname__, made.__module__ = (
        kind.__name__,
        kind.__qualname__,
        kind.__module__,
    )
    return made


@functools.cache
def _read(kind: Any) -> type[Any]:
    class Listened(kind):  # type: ignore[misc] # a class of the client's
        def __next__(self) -> Any:
            turn: Turn = vars(self)[_TURN]
            try:
                event = super().__next__()
            except StopIteration:
                turn.exhausted()
                raise
            except BaseException as problem:
                turn.failed(problem)
                raise
            turn.hear(event)
            return event

        def __iter__(self) -> Iterator[Any]:
            turn: Turn = vars(self)[_TURN]
            try:
                for event in super().__iter__():
                    turn.hear(event)
                    yield event
            except GeneratorExit:
                # Whoever has broken off may read on, close it or drop it.
                raise
            except BaseException as problem:
                turn.failed(problem)
                raise
            turn.exhausted()

        def close(self) -> Any:
            try:
                return super().close()
            finally:
                vars(self)[_TURN].ended()

    return _named_as(kind, Listened)


@functools.cache
def _read_async(kind: Any) -> type[Any]:
    class Listened(kind):  # type: ignore[misc] # a class of the client's
        async def __anext__(self) -> Any:
            turn: Turn = vars(self)[_TURN]
            try:
                event = await super().__anext__()
            except StopAsyncIteration:
                turn.exhausted()
                raise
            except BaseException as problem:
                turn.failed(problem)
                raise
            turn.hear(event)
            return event

        async def __aiter__(self) -> AsyncIterator[Any]:
            turn: Turn = vars(self)[_TURN]
            try:
                async for event in super().__aiter__():
                    turn.hear(event)
                    yield event
            except GeneratorExit:
                raise
            except BaseException as problem:
                turn.failed(problem)
                raise
            turn.exhausted()

        async def close(self) -> Any:
            try:
                return await super().close()
            finally:
                vars(self)[_TURN].ended()

    return _named_as(kind, Listened)


@functools.cache
def _entered(kind: Any) -> type[Any]:
    class Managed(kind):  # type: ignore[misc] # a class of the client's
        def __enter__(self) -> Any:
            turn: Turn = vars(self)[_TURN]
            turn.begin()
            try:
                stream = super().__enter__()
            except BaseException as problem:
                turn.failed(problem)
                raise
            return heard(stream, turn)

    return _named_as(kind, Managed)


@functools.cache
def _entered_async(kind: Any) -> type[Any]:
    class Managed(kind):  # type: ignore[misc] # a class of the client's
        async def __aenter__(self) -> Any:
            turn: Turn = vars(self)[_TURN]
            turn.begin()
            try:
                stream = await super().__aenter__()
            except BaseException as problem:
                turn.failed(problem)
                raise
            return heard(stream, turn)

    return _named_as(kind, Managed)


def heard(stream: T, turn: Turn) -> T:
    """As `listened`; a stream that cannot be listened to is recorded as one that was left."""
    try:
        return listened(stream, turn)
    except TypeError:
        turn.ended()
        return stream
