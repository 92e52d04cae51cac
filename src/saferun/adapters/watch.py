"""`saferun.watch`: a client of a model whose turns the current run records.

    client = saferun.watch(openai.OpenAI())

The client's methods are replaced on the client itself, so whoever holds it is watched, and its
type stays. Requests for raw responses go through unseen: nobody reads those but their caller.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from saferun.adapters import anthropic, openai
from saferun.adapters.stream import heard, managed
from saferun.adapters.turn import Asked, Talk, Turn, begin
from saferun.recall import Answers
from saferun.run import answering

C = TypeVar("C")

_WATCHED = "__saferun_watched__"

_RAW = "x-stainless-raw-response"
"""The header by which both clients mark requests whose response is to be raw."""


def watch(client: C, /) -> C:
    """Have every turn of a model that is asked through this client recorded by its run.

    Args:
        client: a client of `openai` or `anthropic`, sync or async, or one of the same shape:
            `chat.completions`, `responses` or `messages`. Watching it twice is watching it once.
            What `copy` and `with_options` make of it is watched too.

    Returns:
        The same client. Outside of any run, it does what it did before.

    Raises:
        TypeError: it is no such client.

    """
    talks = [(talk, found) for talk in openai.TALKS if (found := _at(client, talk.path))]
    if not talks:
        # A client of the other kind is not asked: what it has is imported when it is looked at.
        talks = [(talk, found) for talk in anthropic.TALKS if (found := _at(client, talk.path))]
    if not talks:
        raise TypeError(
            f"saferun.watch takes a client of openai or anthropic, and {type(client).__name__} has "
            "no chat.completions, responses or messages; record its turns with run.model(...)"
        )
    for talk, resource in talks:
        for name in talk.methods:
            _replace(resource, name, functools.partial(_asking, talk))
        for name in talk.managers:
            _replace(resource, name, functools.partial(_managing, talk))
    for name in ("copy", "with_options"):
        _replace(client, name, _copying)
    return client


def _at(client: Any, path: str) -> Any:
    """What has a method `create` there, None where nothing has."""
    for step in path.split("."):
        client = getattr(client, step, None)
    return client if callable(getattr(client, "create", None)) else None


def _replace(holder: Any, name: str, by: Callable[[Any], Any]) -> None:
    method = getattr(holder, name, None)
    if not callable(method) or getattr(method, _WATCHED, False):
        return
    replaced = functools.wraps(method)(by(method))
    setattr(replaced, _WATCHED, True)
    setattr(holder, name, replaced)


def _copying(copy: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: watch(copy(*args, **options))


def _raw(asked: Asked) -> bool:
    headers: Any = asked.get("extra_headers") or ()
    return any(str(name).lower() == _RAW for name in headers)


def _again(answers: Answers, talk: Talk, ask: Callable[..., Any], *args: Any, **asked: Any) -> Any:
    if _raw(asked) or args:
        raise answers.refuse("a model is asked for its raw response")
    from saferun.adapters import again

    return again.answered(answers, talk, ask, asked)


def _asking(talk: Talk, ask: Callable[..., Any]) -> Callable[..., Any]:
    """A method that answers, watched."""

    def asking(*args: Any, **asked: Any) -> Any:
        answers = answering()
        if answers is not None:
            return _again(answers, talk, ask, *args, **asked)
        turn = None if _raw(asked) else begin(talk, asked)
        if turn is None:
            return ask(*args, **asked)
        try:
            answer = ask(*args, **asked)
        except BaseException as problem:
            turn.failed(problem)
            raise
        if inspect.isawaitable(answer):
            return _awaited(answer, turn, stream=_streams(asked))
        return _answered(answer, turn, stream=_streams(asked))

    return asking


async def _awaited(answer: Awaitable[Any], turn: Turn, *, stream: bool) -> Any:
    turn.begin()
    try:
        found = await answer
    except BaseException as problem:
        turn.failed(problem)
        raise
    return _answered(found, turn, stream=stream)


def _answered(answer: Any, turn: Turn, *, stream: bool) -> Any:
    if stream:
        return heard(answer, turn)
    turn.answered(answer)
    return answer


def _streams(asked: Asked) -> bool:
    return asked.get("stream") is True


def _managing(talk: Talk, ask: Callable[..., Any]) -> Callable[..., Any]:
    """A method that gives a context manager around a stream, watched."""

    def managing(*args: Any, **asked: Any) -> Any:
        answers = answering()
        if answers is not None:
            return _again(answers, talk, ask, *args, **asked)
        turn = None if _raw(asked) else begin(talk, asked)
        manager = ask(*args, **asked)
        return manager if turn is None else managed(manager, turn)

    return managing
