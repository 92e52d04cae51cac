"""Whether a value of now is the one that the record has, as far as the record shows it. Pure.

What is compared went through the same redaction, so a secret is compared as the placeholder that
stands for it. Where the record shows nothing, any value is the same: of what a policy keeps out,
or what was sealed and cannot be opened, nobody can tell.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from saferun import plain, redact
from saferun.call import canonical
from saferun.replay.rerun.steps import VEILS

DEPTH = 100


def shown(value: Any) -> Any:
    """A value as an entry would hold it, but for what only a policy keeps out."""
    return msgspec.json.decode(redact.encoded(plain.encode_result(value)))


def key(args: Any) -> bytes:
    """What a call's arguments are looked up by: their canonical form, without secrets."""
    data = canonical.encode(args)
    if len(data) > plain.MAX_BYTES:
        return canonical.encode({"$omitted": f"{len(data):,} bytes", "digest": None})
    return redact.encoded(data)


def alike(recorded: Any, now: Any, depth: int = 0) -> bool:
    """Whether two values are the same, where the record shows one."""
    if isinstance(recorded, str):
        return recorded in VEILS or recorded == now or _veiled(recorded, now, depth)
    if depth > DEPTH:
        return bool(recorded == now)
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        if "$omitted" in recorded:
            return True
        return recorded.keys() == now.keys() and all(
            alike(item, now[name], depth + 1) for name, item in recorded.items()
        )
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(
            alike(one, other, depth + 1) for one, other in zip(recorded, now, strict=True)
        )
    return type(recorded) is type(now) and bool(recorded == now)


def alike_spoken(recorded: Any, now: Any, depth: int = 0) -> bool:
    """`alike` for messages: with no heed to members that hold nothing, and to JSON in texts.

    An answer that a rerun has put together anew may lack a member that holds null or an empty
    list, and write the arguments of a call with other spaces than the model did.
    """
    if depth > DEPTH:
        return bool(recorded == now)
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        one, other = _said(recorded), _said(now)
        return one.keys() == other.keys() and all(
            alike_spoken(item, other[name], depth + 1) for name, item in one.items()
        )
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(
            alike_spoken(one, other, depth + 1) for one, other in zip(recorded, now, strict=True)
        )
    if alike(recorded, now, depth):
        return True
    one, other = _json(recorded), _json(now)
    return one is not None and other is not None and alike(one, other, depth + 1)


def _said(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None and item != []}


def _json(value: Any) -> Any:
    """An object or a list that a text holds, None where it holds none."""
    if not isinstance(value, str):
        return value if isinstance(value, Mapping | list) else None
    if value[:1] not in ("{", "["):
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _veiled(recorded: str, now: Any, depth: int) -> bool:
    """Whether a text that is JSON with something left out is the same but for that."""
    if not isinstance(now, str) or not any(each in recorded for each in VEILS):
        return False
    one, other = _json(recorded), _json(now)
    return one is not None and other is not None and alike(one, other, depth + 1)
