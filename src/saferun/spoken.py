"""Calls as models speak of them, without what policy keeps out of the ledger.

A model names the arguments of a call before the call is made, and is told its result afterwards.
What a policy redacts or seals in the call would stand there in clear. So where an answer or a
message has the shape of a call or of its result, in the words of any provider, the same paths are
blanked. What is sealed in the call is blanked here: it is kept once, where it can be erased.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from saferun import plain, redact
from saferun.policy import Policy
from saferun.written import under

Paths: TypeAlias = tuple[tuple[str, ...], ...]

MAX_CALLS = 10_000
"""Calls of a run whose tool is remembered; the result of one that was forgotten is blanked."""

_ARGUMENTS = ("arguments", "input")
_RESULTS = ("content", "output")
_OF_CALL = ("tool_call_id", "tool_use_id", "call_id")


class _Hidden(NamedTuple):
    """The paths that lead to what is hidden of one tool's arguments and results."""

    args: Paths = ()
    result: Paths = ()


class _Secrets(NamedTuple):
    """What a policy hides, by the name of the tool, and by what its name begins with."""

    tools: Mapping[str, _Hidden]
    prefixes: Mapping[str, _Hidden]
    results: bool

    def of(self, tool: str) -> _Hidden:
        """All that any entry for the tool hides, whomever the entry is for."""
        found = self.tools.get(tool, _Hidden())
        for prefix, hidden in self.prefixes.items():
            if tool.startswith(prefix):
                found = _Hidden(found.args + hidden.args, found.result + hidden.result)
        return found


@functools.lru_cache(maxsize=64)
def _secrets(policy: Policy) -> _Secrets | None:
    tools: dict[str, _Hidden] = {}
    prefixes: dict[str, _Hidden] = {}
    for tool in policy.document.tools:
        paths = (*tool.redact, *tool.sensitive)
        if not paths:
            continue
        held, name = (tools, tool.name) if tool.prefix is None else (prefixes, tool.prefix)
        before = held.get(name, _Hidden())
        held[name] = _Hidden(
            before.args + under(paths, "args"), before.result + under(paths, "result")
        )
    if not tools and not prefixes:
        return None
    every = (*tools.values(), *prefixes.values())
    return _Secrets(tools, prefixes, any(each.result for each in every))


def hides(policy: Policy | None) -> bool:
    """Whether a policy hides anything of any call."""
    return policy is not None and _secrets(policy) is not None


def without(value: Any, policy: Policy, calls: dict[str, str]) -> Any:
    """What was said, as plain values without what the policy hides of calls.

    `calls` are the tools of the calls that were spoken of so far, by the ids of the calls, and
    learns of those in `value`.
    """
    secrets = _secrets(policy)
    if secrets is None:
        return value
    try:
        return _walk(msgspec.json.decode(plain.encode_result(value)), secrets, calls)
    except RecursionError:
        return {"$omitted": "nested too deeply to be redacted"}


def _walk(value: Any, secrets: _Secrets, calls: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_walk(item, secrets, calls) for item in value]
    if not isinstance(value, dict):
        return value
    function = value.get("function")
    name = function.get("name") if isinstance(function, dict) else value.get("name")
    if isinstance(name, str):
        for own in (value.get("id"), value.get("call_id")):
            if isinstance(own, str):
                if len(calls) >= MAX_CALLS:
                    calls.clear()
                calls[own] = name
    answers = next((each for each in _OF_CALL if isinstance(value.get(each), str)), None)
    told = {}
    for key, item in value.items():
        if isinstance(value.get("name"), str) and key in _ARGUMENTS:
            told[key] = _blanked(item, secrets.of(value["name"]).args)
        elif answers is not None and key in _RESULTS:
            tool = calls.get(value[answers])
            told[key] = _result(item, secrets, tool)
        else:
            told[key] = _walk(item, secrets, calls)
    return told


def _result(value: Any, secrets: _Secrets, tool: str | None) -> Any:
    if tool is None:
        # It may be that of any tool.
        return redact.placeholder("by policy") if secrets.results else value
    paths = secrets.of(tool).result
    if not paths:
        return value
    if isinstance(value, list) and all(isinstance(item, dict) and "type" in item for item in value):
        # Parts of a message, of which only text says something.
        return [
            {key: _blanked(part, paths) if key != "type" else part for key, part in item.items()}
            for item in value
        ]
    return _blanked(value, paths)


def _blanked(value: Any, paths: Paths) -> Any:
    """A value, or JSON in text, without what lies at the paths; other text goes whole."""
    if not paths:
        return value
    if not isinstance(value, str):
        return redact.blanked(value, paths)
    try:
        held = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        held = None
    if not isinstance(held, dict | list):
        return redact.placeholder("by policy")
    return msgspec.json.encode(redact.blanked(held, paths)).decode()
