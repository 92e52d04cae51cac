"""What came of a call, given again: its result in the type that it had, or its error.

A record holds JSON. Where the tool says what it returns, and that is a dataclass, a date or another
type that can be read from JSON, the value comes back as that; else as JSON has it. `restore` of
`saferun.rerun` does it for all other types.
"""

import ast
import asyncio
import builtins
import functools
import inspect
import sys
import typing
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import msgspec

from saferun.errors import Unanswered
from saferun.replay.rerun.steps import Step

Restore: TypeAlias = Callable[[str, Any], Any]
"""Makes of a tool's name and its result, as JSON has it, the value that the tool gave. What it
answers with `NotImplemented` is restored as without it."""

_PLAIN = (Any, str, int, float, bool, type(None), None, dict, list, object)


class RecordedError(Exception):
    """An error of a type that is not at hand here, as the record names it."""


def restored(
    step: Step,
    raw: Callable[..., Any],
    restore: Restore | None,
    one_by_one: Callable[[], Iterator[Any]],
) -> Any:
    """The result of a call that went well, or of a stream: `one_by_one` has what it gave.

    Raises Unanswered where the record does not have it.
    """
    value = _result(step)
    if restore is not None:
        found = restore(step.name or "", value)
        if found is not NotImplemented:
            return found
    if _foreign(value):
        raise _unanswered(
            step,
            f"it gave a {value['$type']}, of which the record has nothing but its type; "
            "give it back by `restore`",
        )
    said = _returns(raw)
    if _streamed(value):
        kind = typing.get_origin(said) or said
        waited = isinstance(kind, type) and issubclass(kind, AsyncIterable)
        return _awaited(one_by_one()) if waited else one_by_one()
    if said in _PLAIN or value is None:
        return value
    try:
        read = getattr(said, "model_validate", None)
        return msgspec.convert(value, type=said) if read is None else read(value)
    except Exception:  # noqa: BLE001 - what a tool says that it returns need not be so
        return value


def streams(step: Step) -> bool:
    """Whether the record has what a stream gave, all of it or until it failed or was left."""
    return _streamed((step.outcome or {}).get("result"))


def items(step: Step, raw: Callable[..., Any] | None) -> Iterator[Any]:
    """What a stream gave one by one, and then the error with which it ended.

    Raises Unanswered where not all of it was kept, or the code wants more than it once took.
    """
    ended = (step.outcome or {}).get("status") == "ok"
    if not ended and not streams(step):
        raise failure(step, raw)
    value = _result(step)
    yield from _items(step, value) if _streamed(value) else [value]
    if not ended:
        raise failure(step, raw)


def failure(step: Step, raw: Callable[..., Any] | None) -> BaseException:
    """The error with which a call ended. Raises Unanswered where nobody knows it.

    It is of its own type where that is built in, or known where the tool was defined; else a
    `RecordedError` of that name.
    """
    outcome = step.outcome or {}
    told = outcome.get("error")
    if "error" in step.lost:
        raise _unanswered(step, f"it failed, and of its error {step.lost['error']}")
    if not isinstance(told, str):
        if outcome.get("status") == "timeout":
            return TimeoutError("recorded")
        raise _unanswered(step, "nobody knows how it ended")
    name, _, text = told.partition(": ")
    if name == "GeneratorExit":
        if streams(step):
            taken = outcome["result"]["streamed"]
            raise _unanswered(step, f"it was left after {taken:,} of what it gave one by one")
        raise _unanswered(step, "what it gave one by one was left before its end, and not kept")
    return error_of(name, text, getattr(inspect.unwrap(raw), "__globals__", {}) if raw else {})


def error_of(name: str, text: str, known: Mapping[str, Any]) -> BaseException:
    """An error by the name of its type, which is looked for among `known` names too."""
    if name == "OverdueError":
        return TimeoutError(text)
    kind = asyncio.CancelledError if name == "CancelledError" else _kind(name, known)
    if kind is None:
        return (
            type(name, (RecordedError,), {})(text) if name.isidentifier() else RecordedError(text)
        )
    made = _made(kind, _key(text) if kind is KeyError else text)
    if _says(made, text):
        return made
    # It makes its words of what the record does not have, and they are what the code goes by.
    return _made(type(name, (kind,), {"__str__": lambda _: text}), text)


def _kind(name: str, known: Mapping[str, Any]) -> type[BaseException] | None:
    """The type of errors of that name: a built-in one, one of the tool's, or of what that uses."""
    used = [each.__name__ for each in list(known.values()) if isinstance(each, ModuleType)]
    below = tuple(f"{each}." for each in used)
    modules = list(sys.modules.items())
    for places in (
        [vars(builtins)],
        [known],
        [vars(each) for of, each in modules if of in used],
        [vars(each) for of, each in modules if of.startswith(below) and each is not None],
    ):
        found = {each for place in places if _is_error(each := place.get(name))}
        if found:
            # Of several that are called so, nobody can tell which one it was.
            return found.pop() if len(found) == 1 else None
    return None


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _made(kind: type[BaseException], said: Any) -> BaseException:
    if issubclass(kind, BaseExceptionGroup):
        return kind(said, [RecordedError("what it held is not on record")])
    try:
        return kind(said)
    except Exception:  # noqa: BLE001 - it takes what the record does not have
        made = kind.__new__(kind)
        made.args = (said,)
        return made


def _says(error: BaseException, text: str) -> bool:
    try:
        return str(error) == text
    except Exception:  # noqa: BLE001 - of what the record does not have
        return False


def _key(text: str) -> Any:
    """What was looked for and not there, as its error says it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _result(step: Step) -> Any:
    outcome = step.outcome or {}
    if "result" in step.lost:
        raise _unanswered(step, f"of its result {step.lost['result']}")
    value = outcome.get("result")
    if isinstance(value, Mapping) and value.keys() == {"$omitted", "digest"}:
        raise _unanswered(step, f"its result had {value['$omitted']} and was not kept")
    return value


def _foreign(value: Any) -> bool:
    return isinstance(value, Mapping) and "$type" in value and value.keys() <= {"$type", "$why"}


def _streamed(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() == {"streamed", "items"}
        and isinstance(value["items"], list)
    )


def _items(step: Step, value: Mapping[str, Any]) -> list[Any]:
    kept: list[Any] = value["items"]
    joined = len(kept) == 1 and isinstance(kept[0], str) and "[redacted" in kept[0]
    if value["streamed"] != len(kept) and not joined:
        raise _unanswered(
            step, f"it gave {value['streamed']:,} items, of which {len(kept):,} were kept"
        )
    return kept


async def _awaited(kept: Iterator[Any]) -> AsyncIterator[Any]:
    for item in kept:
        yield item


@functools.lru_cache(maxsize=1_024)
def _returns(raw: Callable[..., Any]) -> Any:
    """What a tool says that it returns, Any where it says nothing that can be read."""
    while isinstance(raw, functools.partial):
        raw = raw.func
    try:
        return typing.get_type_hints(raw).get("return", Any)
    except Exception:  # noqa: BLE001 - annotations may name what is not there
        return Any


def _unanswered(step: Step, why: str) -> Unanswered:
    where = f"Frame {step.frame} of run {step.run}"
    return Unanswered(
        f"{where} cannot be answered: {step.name} was called, and {why}.",
        step.run,
        step.frame,
    )
