"""A watched client in a rerun: it gets its answers from the record, over no network.

Clients change every week, and what they give has types of their own. So the client itself makes
the answer out of what would have come from the provider: only `send` of its HTTP client is
replaced, on that one client and as long as the rerun goes on. Each request bears the number of the
turn that it asks for in a header; one without a number is refused, and nothing is ever sent.
"""

import functools
import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from saferun.adapters.turn import Asked, Talk, given_by
from saferun.recall import Answers, Spoken
from saferun.run import current

HEADER = "x-saferun-turn"

_SENDS = "__saferun_sends__"

_STATUS = re.compile(r"\((\d{3})\)\Z")

_numbers = itertools.count(1)
_asked: dict[str, "_Asking"] = {}


class _Asking(NamedTuple):
    """A request that is about to be made, and how the record is asked for its answer."""

    talk: Talk
    stream: bool
    spoken: Callable[[], Spoken]


def answered(answers: Answers, talk: Talk, ask: Callable[..., Any], asked: Asked) -> Any:
    """What a method of a client gives, answered from the record."""
    asking = _asking(answers, talk, asked)
    client = getattr(getattr(ask, "__self__", None), "_client", None)
    http = getattr(client, "_client", None)
    if client is None or not callable(getattr(http, "send", None)):
        return _shaped(answers, ask, asking)
    _hold(answers, client, http)
    number = f"{next(_numbers)}"
    _asked[number] = asking
    headers = {**dict(asked.get("extra_headers") or {}), HEADER: number}
    return ask(**{**asked, "extra_headers": headers})


def _asking(answers: Answers, talk: Talk, asked: Asked) -> _Asking:
    run = current()
    given = None if run is None else given_by(talk, run, asked)
    return _Asking(talk, asked.get("stream") is True, lambda: answers.spoken(run, given))


def _hold(answers: Answers, client: Any, http: Any) -> None:
    """Have nothing that a client sends leave this process, until the rerun is over."""
    if client.max_retries:
        # A failure that is recorded was one after all tries.
        answers.afterwards(functools.partial(setattr, client, "max_retries", client.max_retries))
        client.max_retries = 0
    if getattr(http.send, _SENDS, False):
        return
    send = http.send

    def found(request: Any) -> Any:
        asking = _asked.pop(request.headers.get(HEADER, ""), None)
        if asking is None:
            raise answers.refuse(
                f"a client of a model asks for {request.method} {request.url.path}"
            )
        return _response(asking, request)

    async def sends_async(request: Any, **_: Any) -> Any:
        return found(request)

    def sends_now(request: Any, **_: Any) -> Any:
        return found(request)

    sends: Any = sends_async if inspect.iscoroutinefunction(send) else sends_now
    setattr(sends, _SENDS, True)
    http.send = sends
    answers.afterwards(functools.partial(delattr, http, "send"))


def _response(asking: _Asking, request: Any) -> Any:
    """What the provider would have sent. Raises what the network would have."""
    spoken = asking.spoken()
    library = sys.modules[type(request).__module__.partition(".")[0]]
    wire = asking.talk.wire
    if spoken.error is not None and spoken.output is None:
        status = _STATUS.search(spoken.error)
        if status is not None:
            body = {"error": {"message": f"recorded: {spoken.error}", "type": "recorded"}}
            return library.Response(int(status[1]), json=body, request=request)
        raise _failure(library, spoken.error, request)
    own = spoken.answer if wire.kind(spoken.answer) else wire.whole(spoken)
    streams = asking.stream or b'"stream":true' in request.content.replace(b" ", b"")
    if not streams:
        return library.Response(200, json=own, request=request)
    told = b"".join(map(_event, wire.events(own))) + wire.ends
    headers = {"content-type": "text/event-stream"}
    return library.Response(200, headers=headers, content=told, request=request)


def _event(event: Mapping[str, Any]) -> bytes:
    named = f"event: {event['type']}\n" if "type" in event else ""
    return f"{named}data: {json.dumps(event)}\n\n".encode()


def _failure(library: Any, error: str, request: Any) -> Exception:
    kind = library.ReadTimeout if "Timeout" in error else library.ConnectError
    failed: Exception = kind(f"recorded: {error}", request=request)
    return failed


def _shaped(answers: Answers, ask: Callable[..., Any], asking: _Asking) -> Any:
    """An answer of a client of the same shape that has no HTTP client: by its attributes alone."""
    if asking.stream:
        raise answers.refuse("a stream of a client that is neither of openai nor of anthropic")

    def answer() -> Any:
        spoken = asking.spoken()
        if spoken.error is not None and spoken.output is None:
            raise RuntimeError(f"recorded: {spoken.error}")
        wire = asking.talk.wire
        own = spoken.answer if wire.kind(spoken.answer) else wire.whole(spoken)
        return json.loads(json.dumps(own), object_hook=lambda members: SimpleNamespace(**members))

    async def awaited() -> Any:
        return answer()

    return awaited() if inspect.iscoroutinefunction(ask) else answer()
