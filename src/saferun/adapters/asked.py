"""What a model is asked with beside its messages: its name, its temperature, the tools it may call.

A rerun compares it, and people read which of it differs. So numbers and names stand there as they
are, and all that may be long or tell something, such as a schema, by a short digest.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from saferun import plain, redact
from saferun.call import canonical

MAX_PARTS = 40
"""Parameters, and names of tools, that are taken down."""

MAX_NAME = 80

_MESSAGES = ("messages", "input", "instructions", "system")
"""What is given: see `saferun.conversation`."""

_ASIDE = (
    *("extra_headers", "extra_query", "timeout", "stream", "stream_options"),
    *("user", "safety_identifier", "metadata", "prompt_cache_key", "idempotency_key"),
)
"""How it is sent and for whom, which the answer does not depend on."""

_LEFT_OUT = ("NotGiven", "Omit", "NoneType")
"""Types of what stands for a parameter that is not there."""

_DIGEST = 4
"""Bytes, which tell two schemas apart and are no proof of either."""


def parameters(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request, small and without secrets."""
    told: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for key in sorted(asked)[:MAX_PARTS]:
        value = asked[key]
        if key in _MESSAGES or key in _ASIDE or type(value).__name__ in _LEFT_OUT:
            continue
        if type(value) in (int, float, bool):
            told[key[:MAX_NAME]] = value
        elif key == "model" and isinstance(value, str):
            told[key] = redact.text(value)[:MAX_NAME]
        else:
            digests[key[:MAX_NAME]] = _digest(value)
            if key == "tools" and isinstance(value, Sequence):
                told[key] = [_name(each) for each in value[:MAX_PARTS]]
    return {**told, "digests": digests} if digests else told


def _digest(value: Any) -> str:
    data = canonical.encode(msgspec.json.decode(plain.encode_result(value)))
    return blake2b(data, digest_size=_DIGEST).hexdigest()


def _name(tool: Any) -> str | None:
    """The name of a tool as either provider has it: its own, its function's, or its kind."""
    if not isinstance(tool, Mapping):
        return None
    inner = tool.get("function")
    name = (inner if isinstance(inner, Mapping) else tool).get("name") or tool.get("type")
    return redact.text(name)[:MAX_NAME] if isinstance(name, str) else None
